/** One debugged program: at a stop it is asked once, and an answer counts only while it is still the one wanted. */

import { deliver } from "./conditions";
import type { RootSession } from "./conditions";
import type { DebugAdapter, Frame } from "./debug_adapter";
import { failed, lastStopOf, outcomeOf } from "./outcome";
import { EvaluateRejected, NoLongerWanted, QuestionQueue, understand } from "./question_queue";
import type { Wanted } from "./question_queue";
import { expressionOf, within } from "./questions";
import type { Question, Reply } from "./questions";
import { BEFORE_FIRST_STOP, advance, isStopped } from "./session_state";
import type { Outcome, SessionEvent, SessionState } from "./session_state";
import type { ShippedCopy } from "./shipped_copy";
import { frameOfCaller, rootIn, snapshotQuestion } from "./stop";
import type { ChosenRoot, Detail, SnapshotText, Stop } from "./stop";
import * as texts from "./texts";

/** Longer than the budget by what the transfer and a slow start (importing) may take. */
const GRACE_MS = 5000;
/** An answer that took longer than this is not asked for in the middle of stepping, but once it pauses. */
const SLOW_ANSWER_MS = 150;
const STEPPING_PAUSE_MS = 200;

/** What debuggees are told and tell: `shown` is false while nobody looks, and then nothing is asked. */
export interface Surroundings {
  shown(debuggee: Debuggee): boolean;
  budgetMs(): number;
  changed(debuggee: Debuggee): void;
  answered(debuggee: Debuggee, answer: SnapshotText): void;
}

export class Debuggee {
  readonly adapter: DebugAdapter;
  readonly root: RootSession;
  /** Which version of its root's conditions this process has. */
  conditionsVersion = 0;
  readonly #around: Surroundings;
  readonly #copy: ShippedCopy;
  readonly #queue: QuestionQueue;
  #state: SessionState = BEFORE_FIRST_STOP;
  #stops = 0;
  #stop: Stop | null = null;
  /** Counts what was asked for: an answer to an earlier count is dropped. */
  #wanted = 0;
  #stepping = false;
  #chosen: ChosenRoot | null = null;
  #lastCostMs = 0;
  #answer: SnapshotText | null = null;
  #beforeResume: Outcome = { kind: "not asked" };
  #copyInstalled = false;

  constructor(adapter: DebugAdapter, root: RootSession, copy: ShippedCopy, around: Surroundings) {
    this.adapter = adapter;
    this.root = root;
    this.#queue = new QuestionQueue(adapter);
    this.#copy = copy;
    this.#around = around;
  }

  get id(): string {
    return this.adapter.session.id;
  }

  get state(): SessionState {
    return this.#state;
  }

  get isStopped(): boolean {
    return isStopped(this.#state);
  }

  get hasStopped(): boolean {
    return this.#stops > 0;
  }

  /** The last answer with values; its stop may be over. */
  get answer(): SnapshotText | null {
    return this.#answer;
  }

  get inBackward(): boolean {
    const { activity } = this.#state;
    const current = activity.kind === "stopped" && (activity.outcome.kind === "ready" || activity.outcome.kind === "reading");
    return current && this.#answer?.value.stop.in_backward === true;
  }

  // What the debug adapter tells.

  stopped(threadId: number): void {
    this.#stops += 1;
    this.#stop = { number: this.#stops, atMs: performance.now(), afterStep: this.#stepping, threadId, frame: null };
    this.#wanted += 1;
    this.#advance({ type: "stopped" });
    this.readIfShown();
    if (!this.#around.shown(this)) void deliver(this);
  }

  resumed(stepping: boolean): void {
    this.#stepping = stepping;
    if (this.#state.activity.kind === "stopped") this.#beforeResume = this.#state.activity.outcome;
    this.#wanted += 1;
    this.#advance({ type: "resumed" });
    this.#endQuestionInFlight();
  }

  stayed(): void {
    if (this.#stop === null) return;
    const read = this.#beforeResume.kind !== "reading";
    this.#advance({ type: "stayed", outcome: read ? this.#beforeResume : { kind: "not asked" } });
    this.readIfShown();
  }

  frameSelected(frame: Frame): void {
    const stop = this.#stop;
    if (stop === null || !this.isStopped || stop.frame?.id === frame.id) return;
    stop.frame = frame;
    stop.threadId = frame.threadId;
    this.#wanted += 1;
    this.#advance({ type: "stopped" });
    this.readIfShown();
  }

  ended(): void {
    this.#wanted += 1;
    this.#stop = null;
    this.#advance({ type: "ended" });
  }

  // What the panel asks.

  /** Asks when somebody looks and this stop was not asked about yet. */
  readIfShown(): void {
    const { activity } = this.#state;
    if (activity.kind === "stopped" && activity.outcome.kind === "not asked" && this.#around.shown(this)) void this.read();
  }

  /** Null gives the default back. */
  chooseRoot(expression: string | null): void {
    const { frame, number = 0 } = this.#stop ?? {};
    this.#chosen = expression !== null && frame ? { expression, file: frame.file, function: frame.function, stop: number } : null;
    void this.read();
  }

  /** Asks again about the frame that VS Code's call stack shows. */
  refresh(detail: Partial<Detail> = {}): void {
    const selected = this.adapter.selectedFrame();
    if (this.#stop !== null && selected !== null) this.#stop.frame = selected.frame;
    void this.read(detail);
  }

  /** Never rejects: what goes wrong becomes the state, unless something else is wanted by then. */
  async read(detail: Partial<Detail> = {}): Promise<void> {
    const stop = this.#stop;
    if (stop === null || !this.isStopped) return;
    const ticket = ++this.#wanted;
    const wanted: Wanted = () => ticket === this.#wanted;
    const budgetMs = detail.budgetMs ?? this.#around.budgetMs();
    this.#advance({ type: "asked", budgetMs, atMs: Date.now() });
    const overdue = setTimeout(() => wanted() && this.#unanswered(texts.noAnswer(budgetMs + GRACE_MS), budgetMs), budgetMs + GRACE_MS);
    try {
      if (stop.afterStep && this.#lastCostMs > SLOW_ANSWER_MS) await pause(STEPPING_PAUSE_MS);
      await this.#readNow(stop, { ...detail, budgetMs }, wanted, this.#chosen);
    } catch (error) {
      if (wanted() && !(error instanceof NoLongerWanted)) this.#failed(error, budgetMs);
    } finally {
      clearTimeout(overdue);
    }
  }

  async #readNow(stop: Stop, detail: Detail, wanted: Wanted, chosen: ChosenRoot | null): Promise<void> {
    const frame = await this.#frameOf(stop, wanted);
    await deliver(this);
    const askedMs = performance.now();
    const root = rootIn(frame, chosen);
    const text = await this.#queue.ask(snapshotQuestion(stop, frame, root, detail), frame.id, wanted);
    const evaluateMs = performance.now() - askedMs;
    this.#lastCostMs = evaluateMs;
    if (!wanted()) return;
    const reply = understand(text);
    if (reply.kind === "Not importable" && this.root.useShippedCopy && !this.#copyInstalled) {
      await this.#installCopy(frame, wanted);
      return this.#readNow(stop, detail, wanted, chosen);
    }
    // A choice from an earlier stop may name a variable that is not there now: then the default serves.
    if (reply.kind === "Failure" && root !== null && chosen?.stop !== stop.number) return this.#readNow(stop, detail, wanted, null);
    this.#take(reply, { text, stoppedMs: performance.now() - stop.atMs, evaluateMs }, detail.budgetMs);
  }

  async #frameOf(stop: Stop, wanted: Wanted): Promise<Frame> {
    if (stop.frame !== null) return stop.frame;
    const top = await this.#queue.topFrame(stop.threadId, wanted);
    return (stop.frame ??= top);
  }

  #take(reply: Reply, answer: Omit<SnapshotText, "value">, budgetMs: number): void {
    if (reply.kind === "Snapshot") {
      this.#answer = { ...answer, value: reply.value };
      this.root.sawHits(reply.value.conditions ?? []);
      this.root.ableTypes.add(this.adapter.session.type);
      this.#around.answered(this, this.#answer);
    }
    const outcome = outcomeOf(reply, budgetMs);
    const values = reply.kind === "Snapshot" && outcome.kind === "ready" ? lastStopOf(reply.value) : null;
    this.#advance({ type: "answered", outcome, values });
  }

  /** A first question that the adapter rejects means that it does not speak Python. */
  #failed(error: unknown, budgetMs: number): void {
    const message = texts.messageOf(error);
    const notPython = error instanceof EvaluateRejected && !this.#state.able && !texts.isPassing(message);
    if (notPython) this.#advance({ type: "not Python" });
    else this.#unanswered(message, budgetMs);
  }

  #unanswered(reason: string, budgetMs: number): void {
    this.#advance({ type: "unanswered", outcome: failed(reason, budgetMs) });
  }

  /** Another question on the stopped frame. Rejects with a message that can be shown. */
  async askAtStop(question: Question, budgetMs: number): Promise<{ readonly text: string; readonly reply: Reply }> {
    const { stop, wanted } = this.#thisStop();
    const answer = this.#frameOf(stop, wanted).then((frame) => this.#queue.ask(question, frame.id, wanted));
    const text = await within(answer, budgetMs + GRACE_MS, () => texts.noAnswer(budgetMs + GRACE_MS));
    const reply = understand(text);
    if (reply.kind === "Failure") throw new Error(reply.value.message);
    return { text, reply };
  }

  async goOn(): Promise<void> {
    await this.adapter.resume(this.#thisStop().stop.threadId);
  }

  /** Asks about a frame further up this thread's stack, where the debugger lists it; returns it. */
  async selectCaller(depth: number): Promise<Frame> {
    const { stop, wanted } = this.#thisStop();
    const caller = this.#answer?.value.callers?.find((item) => item.depth === depth);
    const frames = await this.#queue.frames(stop.threadId, wanted);
    const frame = caller && frameOfCaller(frames, caller);
    if (frame === undefined) throw new Error(texts.frameHidden(caller?.function ?? String(depth)));
    this.frameSelected(frame);
    return frame;
  }

  #thisStop(): { readonly stop: Stop; readonly wanted: Wanted } {
    const stop = this.#stop;
    if (stop === null || !this.isStopped) throw new Error(texts.notStopped());
    return { stop, wanted: () => this.#stop === stop && this.isStopped };
  }

  async useShippedCopy(): Promise<void> {
    const { stop, wanted } = this.#thisStop();
    await this.#installCopy(await this.#frameOf(stop, wanted), wanted);
    this.root.useShippedCopy = true;
    await this.read();
  }

  async #installCopy(frame: Frame, wanted: Wanted): Promise<void> {
    await this.#copy.install((expression) => this.#queue.evaluate(expression, frame.id, wanted));
    this.#copyInstalled = true;
  }

  /** A question to the process while it runs, on a thread of the debugger: null where that cannot be done. */
  async askBeside(question: Question): Promise<Reply | null> {
    const may = this.#state.activity.kind === "running" && this.root.ableTypes.has(this.adapter.session.type);
    return may ? understand(await this.#queue.ask(question, null, () => true)) : null;
  }

  /** The user steps while an answer is computed: it ends with what it has, so that the step is not delayed. */
  #endQuestionInFlight(): void {
    if (!this.#queue.evaluating || !(this.#state.able || this.#isInPython())) return;
    this.adapter.evaluate(expressionOf({ question: "enough" }), null).catch(() => undefined);
  }

  /** Before the first answer, the slowest one: whether the question went to a frame of a Python file. */
  #isInPython(): boolean {
    return this.#stop?.frame?.file.endsWith(".py") ?? false;
  }

  #advance(event: SessionEvent): void {
    this.#state = advance(this.#state, event);
    this.#around.changed(this);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
