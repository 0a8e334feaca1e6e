/** One stop of one program, and what is asked about it. */

import type { SnapshotPart } from "../shared/messages";
import type { Caller } from "../shared/session";
import type { Frame } from "./debug_adapter";
import type { SnapshotReply } from "./outcome";
import type { Question } from "./questions";

const ALL_PARTS: readonly SnapshotPart[] = ["gradients", "histograms", "graph", "held"];

/** Thread and frame change when the user selects others; the stop stays the same. */
export interface Stop {
  /** Counts the `stopped` events of the debug session. */
  readonly number: number;
  readonly atMs: number;
  readonly afterStep: boolean;
  threadId: number;
  frame: Frame | null;
}

/** The variable whose graph the user chose: it holds in the function where it was chosen. */
export interface ChosenRoot {
  readonly expression: string;
  readonly file: string;
  readonly function: string;
  readonly stop: number;
}

/** What a snapshot is asked for; what is left out is the setting's budget, and every part. */
export interface Detail {
  readonly budgetMs: number;
  readonly parts?: readonly SnapshotPart[];
}

/** An answer as it came, with how long it took since the `stopped` event and since it was asked for. */
export interface SnapshotText {
  readonly text: string;
  readonly value: SnapshotReply;
  readonly stoppedMs: number;
  readonly evaluateMs: number;
}

export function snapshotQuestion(stop: Stop, frame: Frame, root: string | null, { budgetMs, parts = ALL_PARTS }: Detail): Question {
  const { file, line, function: name } = frame;
  return { question: "snapshot", stop: stop.number, budget_ms: budgetMs, root, parts, frame: { file, line, function: name } };
}

export function rootIn(frame: Frame, chosen: ChosenRoot | null): string | null {
  return chosen !== null && chosen.file === frame.file && chosen.function === frame.function ? chosen.expression : null;
}

/** The debugger's frame of a caller that the debuggee named: both know its line, and its file by that name. */
export function frameOfCaller(frames: readonly Frame[], { file, line }: Caller): Frame | undefined {
  return frames.find((frame) => frame.line === line && baseName(frame.file) === baseName(file));
}

function baseName(file: string): string {
  return file.replace(/^.*[\\/]/, "");
}
