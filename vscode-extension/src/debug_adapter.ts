/**
 * The one file that speaks DAP: what passes between VS Code and every debug adapter, and what is asked besides.
 * No adapter is known by its type; which of them speak Python shows when they answer.
 */

import * as vscode from "vscode";

export interface Frame {
  readonly id: number;
  readonly threadId: number;
  readonly file: string;
  readonly line: number;
  readonly function: string;
}

export interface DebugEvents {
  started(adapter: DebugAdapter): void;
  stopped(adapter: DebugAdapter, threadId: number): void;
  /** The user asked to go on, or the program did. `stepping`: another stop is likely soon. */
  resumed(adapter: DebugAdapter, stepping: boolean): void;
  /** A request to go on was refused: the program still stands. */
  stayed(adapter: DebugAdapter): void;
  frameSelected(adapter: DebugAdapter, frame: Frame): void;
  ended(adapter: DebugAdapter): void;
}

const STEPS = new Set(["next", "stepIn", "stepOut", "stepBack"]);
const RESUMING = new Set([...STEPS, "continue", "reverseContinue", "goto", "restartFrame", "restart", "disconnect", "terminate"]);

/** Watches every debug session, those of subprocesses included. Sessions that began earlier are not seen. */
export function watchDebugAdapters(events: DebugEvents): vscode.Disposable {
  const adapters = new Map<string, DebugAdapter>();
  const factory: vscode.DebugAdapterTrackerFactory = {
    createDebugAdapterTracker(session) {
      const adapter = new DebugAdapter(session, events);
      adapters.set(session.id, adapter);
      events.started(adapter);
      return adapter;
    },
  };
  return vscode.Disposable.from(
    vscode.debug.registerDebugAdapterTrackerFactory("*", factory),
    vscode.debug.onDidChangeActiveStackItem(() => {
      const item = vscode.debug.activeStackItem;
      const frame = item && adapters.get(item.session.id)?.selectedFrame();
      if (item && frame) events.frameSelected(frame.adapter, frame.frame);
    }),
    vscode.debug.onDidTerminateDebugSession((session) => {
      const adapter = adapters.get(session.id);
      if (adapter && adapters.delete(session.id)) events.ended(adapter);
    }),
  );
}

/** One debug session: a tracker of its messages, and the requests that this extension makes. */
export class DebugAdapter implements vscode.DebugAdapterTracker {
  readonly session: vscode.DebugSession;
  readonly #events: DebugEvents;
  /** Frames of this stop, as any stackTrace response told them: an id from an earlier stop is not among them. */
  readonly #frames = new Map<number, Frame>();
  readonly #stackTraces = new Map<number, number>();
  readonly #resuming = new Set<number>();
  #thread = -1;
  #stepping = false;

  constructor(session: vscode.DebugSession, events: DebugEvents) {
    this.session = session;
    this.#events = events;
  }

  onWillReceiveMessage(message: unknown): void {
    if (field(message, "type") !== "request") return;
    const command = text(field(message, "command"));
    const seq = integer(field(message, "seq"));
    const argument = field(message, "arguments");
    if (command === "stackTrace") this.#stackTraces.set(seq, integer(field(argument, "threadId")));
    if (!RESUMING.has(command) || this.#leavesThisThread(argument, "singleThread", true)) return;
    this.#resuming.add(seq);
    this.#stepping = STEPS.has(command);
    this.#forgetFrames();
    this.#events.resumed(this, this.#stepping);
  }

  onDidSendMessage(message: unknown): void {
    const type = field(message, "type");
    if (type === "event") this.#onEvent(text(field(message, "event")), field(message, "body"));
    else if (type === "response") this.#onResponse(message);
  }

  #onEvent(event: string, body: unknown): void {
    if (event === "stopped") {
      this.#thread = integer(field(body, "threadId"));
      this.#resuming.clear();
      this.#forgetFrames();
      this.#events.stopped(this, this.#thread);
    } else if (event === "continued" && !this.#leavesThisThread(body, "allThreadsContinued", false)) {
      this.#forgetFrames();
      this.#events.resumed(this, this.#stepping);
    } else if (event === "terminated" || event === "exited") {
      this.#events.resumed(this, false);
    }
  }

  #onResponse(message: unknown): void {
    const seq = integer(field(message, "request_seq"));
    const thread = this.#stackTraces.get(seq);
    if (thread !== undefined && this.#stackTraces.delete(seq)) this.#rememberFrames(field(message, "body"), thread);
    const refused = field(message, "success") === false && this.#resuming.delete(seq);
    if (refused) this.#events.stayed(this);
  }

  /** Some adapters let one thread go while the others stand. */
  #leavesThisThread(body: unknown, flag: string, value: boolean): boolean {
    return field(body, flag) === value && integer(field(body, "threadId")) !== this.#thread;
  }

  #forgetFrames(): void {
    this.#frames.clear();
    this.#stackTraces.clear();
  }

  #rememberFrames(body: unknown, threadId: number): readonly Frame[] {
    const list = field(body, "stackFrames");
    const frames = Array.isArray(list) ? list.map((item: unknown) => readFrame(item, threadId)) : [];
    for (const frame of frames) this.#frames.set(frame.id, frame);
    return frames;
  }

  /** The frame that VS Code's call stack shows as selected, where it is one of this session's present stop. */
  selectedFrame(): { readonly adapter: DebugAdapter; readonly frame: Frame } | null {
    const item = vscode.debug.activeStackItem;
    if (!(item instanceof vscode.DebugStackFrame) || item.session.id !== this.session.id) return null;
    const frame = this.#frames.get(item.frameId);
    return frame ? { adapter: this, frame } : null;
  }

  async frames(threadId: number, levels: number): Promise<readonly Frame[]> {
    const body: unknown = await this.session.customRequest("stackTrace", { threadId, startFrame: 0, levels });
    return this.#rememberFrames(body, threadId);
  }

  /** Throws where the thread has no Python frame. */
  async topFrame(threadId: number): Promise<Frame> {
    const [frame] = await this.frames(threadId, 1);
    if (frame === undefined) throw new Error(vscode.l10n.t("Thread {0} has no stack frame.", threadId));
    return frame;
  }

  /**
   * The text of a Python string that the expression gives. "watch" with rawString is the one way to get text of
   * any length unquoted, with errors as rejections. Without a frame it runs beside the program (debugpy only).
   */
  async evaluate(expression: string, frameId: number | null): Promise<string> {
    const body: unknown = await this.session.customRequest("evaluate", {
      expression,
      context: "watch",
      format: { rawString: true },
      ...(frameId === null ? {} : { frameId }),
    });
    return text(field(body, "result"));
  }

  /** Through VS Code's own command where this thread is the one in focus, so that its buttons follow. */
  async resume(threadId: number): Promise<void> {
    const item = vscode.debug.activeStackItem;
    const focused = item?.session.id === this.session.id && item.threadId === threadId;
    if (focused) await vscode.commands.executeCommand("workbench.action.debug.continue");
    else await this.session.customRequest("continue", { threadId });
  }

  async pause(): Promise<void> {
    const body: unknown = await this.session.customRequest("threads");
    const threads = field(body, "threads");
    const first: unknown = Array.isArray(threads) ? threads[0] : undefined;
    await this.session.customRequest("pause", { threadId: integer(field(first, "id")) });
  }
}

function readFrame(item: unknown, threadId: number): Frame {
  return {
    id: integer(field(item, "id")),
    threadId,
    file: text(field(field(item, "source"), "path")),
    line: integer(field(item, "line")),
    function: text(field(item, "name")),
  };
}

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function integer(value: unknown): number {
  return typeof value === "number" ? value : -1;
}
