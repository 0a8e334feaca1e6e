/** A host under test: fake sessions with a Python that answers as told, and an onlooker that can look away. */

import * as vscode from "./fake_vscode";
import { watchDebugAdapters } from "../src/debug_adapter";
import type { SnapshotText } from "../src/stop";
import { Sessions } from "../src/sessions";
import { ShippedCopy } from "../src/shipped_copy";

export type Question = Record<string, unknown> & { question: string };

/** The request in an expression of the host. */
export function questionIn(expression: string): Question {
  const literal = expression.slice(expression.lastIndexOf("})(") + 3, -1);
  return JSON.parse(JSON.parse(literal) as string) as Question;
}

export function snapshotText(value: Record<string, unknown> = {}): string {
  const run = { rank: 2, world_size: 4, pid: 77 };
  const stop = { number: 1, step: 4, function: "train", in_backward: false };
  return JSON.stringify({ kind: "Snapshot", value: { state: "ready", run, stop, ...value } });
}

export const CONDITIONS = JSON.stringify({ kind: "Conditions", value: [] });
export const NOT_IMPORTABLE = JSON.stringify({ kind: "Not importable", value: { executable: "/venv/bin/python", version: "3.12.1" } });

export type Replies = (question: Question, frameId: number | undefined) => string | Promise<string>;

export const usual: Replies = ({ question }) => (question === "snapshot" ? snapshotText() : CONDITIONS);

/** An adapter that has one frame a thread, with the thread's number times ten as its id. */
export function python(replies: Replies = usual, install: (expression: string) => string = () => '{"done": true}') {
  return (command: string, args: Record<string, unknown>): unknown => {
    if (command === "stackTrace") return { stackFrames: stackFrames(Number(args["threadId"])) };
    if (command === "threads") return { threads: [{ id: 1, name: "MainThread" }] };
    if (command !== "evaluate") return {};
    const expression = String(args["expression"]);
    if (!expression.includes('space["door"]')) return { result: install(expression) };
    return Promise.resolve(replies(questionIn(expression), args["frameId"] as number | undefined)).then((result) => ({ result }));
  };
}

export function stackFrames(threadId: number): unknown[] {
  const frame = (id: number, name: string, line: number): unknown => ({ id, name, line, source: { path: "/home/me/train.py" } });
  return [frame(10 * threadId, "train", 11), frame(10 * threadId + 1, "main", 30)];
}

export class World {
  looking = true;
  readonly budgetMs = 2000;
  changes = 0;
  readonly answers: { session: string; text: string }[] = [];
  readonly forgotten: string[] = [];
  readonly sessions: Sessions;
  readonly #watching: { dispose(): unknown };

  constructor(folder = "/extension/dist/python") {
    vscode.resetVscode();
    const answered = (debuggee: { id: string }, { text }: SnapshotText): number => this.answers.push({ session: debuggee.id, text });
    const world = this;
    this.sessions = new Sessions(new ShippedCopy(folder), {
      get looking() {
        return world.looking;
      },
      budgetMs: this.budgetMs,
      changed: () => void world.changes++,
      answered,
      forget: (session) => void world.forgotten.push(session),
    });
    this.#watching = watchDebugAdapters(this.sessions);
  }

  start(id = "train", replies: Replies = usual, parent?: vscode.FakeSession): vscode.FakeSession {
    return new vscode.FakeSession(id, python(replies), parent);
  }

  get activity(): string {
    const { activity } = this.sessions.selected?.state ?? { activity: { kind: "none" as const } };
    return activity.kind === "stopped" ? activity.outcome.kind : activity.kind;
  }

  dispose(): void {
    this.#watching.dispose();
  }
}

export function stop(session: vscode.FakeSession, threadId = 1): void {
  session.event("stopped", { threadId, reason: "breakpoint", allThreadsStopped: true });
}

export function evaluations(session: vscode.FakeSession): Question[] {
  const expressions = session.requests.filter(({ command }) => command === "evaluate").map(({ args }) => String(args["expression"]));
  return expressions.filter((text) => text.includes('space["door"]')).map(questionIn);
}

/** VS Code shows a frame as selected, after it has fetched the stack itself. */
export function selectFrame(session: vscode.FakeSession, threadId: number, frameId: number): void {
  const seq = session.will("stackTrace", { threadId });
  session.respond(seq, "stackTrace", true, { stackFrames: stackFrames(threadId) });
  vscode.debug.activeStackItem = new vscode.DebugStackFrame(session, threadId, frameId);
  vscode.activeStackItemChanged.fire(vscode.debug.activeStackItem);
}

/** Lets promises that are ready run. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 200; i++) await Promise.resolve();
}

/** A promise with its resolve outside. */
export function held<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
