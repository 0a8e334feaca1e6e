/** Every message between the panel and its host. Requests can fail; nothing else crosses. */

import type { Condition, Subject } from "./session";
import type { PanelState, SessionItem } from "./state";

/** Settings that the panel follows. */
export interface PanelSettings {
  readonly decorations: boolean;
  readonly budgetMs: number;
}

/** Keys that VS Code owns are commands there and arrive as one of these names. */
export type PanelCommand =
  | "gradients"
  | "graph"
  | "held"
  | "filter"
  | "nextTrouble"
  | "previousTrouble"
  | "breakHere"
  | "stepToNextNode"
  | "refresh"
  | "showAsTable"
  | "why";

/**
 * Host to panel. `snapshot` carries the debuggee's JSON as it came, in UTF-8: it is parsed once, in the panel, and VS Code
 * hands bytes to a webview far sooner than a long string.
 */
export type ToPanel =
  | { readonly type: "sessions"; readonly items: readonly SessionItem[]; readonly selected: string | null }
  | { readonly type: "state"; readonly session: string | null; readonly state: PanelState }
  | {
      readonly type: "snapshot";
      readonly session: string;
      readonly json: Uint8Array;
      /** From the `stopped` event, and from sending the question, to the answer. */
      readonly stoppedMs: number;
      readonly evaluateMs: number;
    }
  | { readonly type: "forget"; readonly session: string }
  | { readonly type: "conditions"; readonly session: string; readonly conditions: readonly Condition[] }
  | { readonly type: "settings"; readonly settings: PanelSettings }
  | { readonly type: "command"; readonly name: PanelCommand }
  | { readonly type: "response"; readonly id: number; readonly ok: true; readonly value: unknown }
  | { readonly type: "response"; readonly id: number; readonly ok: false; readonly error: string };

/** What the panel may ask: parameters and result of each request. */
export interface Requests {
  /** The debuggee's JSON: `parseValues` reads it. */
  values: { params: ValuesRequest; result: string };
  /** Lines `first` to `first + lines.length - 1` around a line, as the host can read them. */
  sourceLines: { params: { file: string; line: number; around: number }; result: SourceLines };
  openSource: { params: { file: string; line: number; focus: boolean }; result: null };
  setConditions: { params: { conditions: readonly Condition[] }; result: null };
  stepToNextNode: { params: Record<string, never>; result: null };
  /** The variable whose graph is shown; null gives the default back. */
  chooseRoot: { params: { expression: string | null }; result: null };
  selectSession: { params: { session: string }; result: null };
  selectCaller: { params: { depth: number }; result: null };
  /** Ask again, with another budget or less detail. */
  retry: { params: { budgetMs: number; parts: readonly SnapshotPart[] }; result: null };
  useShippedCopy: { params: Record<string, never>; result: null };
  copyText: { params: { text: string }; result: null };
  /** Why a parameter's gradient is as it is, in words: Python is asked about the recording that runs. */
  why: { params: { name: string }; result: string };
  pause: { params: Record<string, never>; result: null };
  openSession: { params: Record<string, never>; result: null };
  startDebugging: { params: Record<string, never>; result: null };
}

export interface SourceLines {
  readonly first: number;
  readonly lines: readonly string[];
  /** Of a recorded session: whether they are the lines that ran, or those of a file that still has the same text. */
  readonly from?: "recorded" | "workspace" | "none";
}

export type SnapshotPart = "gradients" | "histograms" | "graph" | "held";

/** A window of a tensor: at most 4,096 values come back. */
export interface ValuesRequest {
  readonly subject: Subject;
  readonly index: readonly number[];
  readonly row: number;
  readonly column: number;
  readonly rows: number;
  readonly columns: number;
  readonly findNonFinite: boolean;
}

export type Method = keyof Requests;

/** Panel to host. `painted` ends a measurement: milliseconds from the message's arrival to each point. */
export type ToHost =
  | { readonly type: "ready" }
  | { readonly type: "painted"; readonly session: string; readonly stop: number; readonly parts: PaintParts }
  /** Whether letters are commands now: the panel has the focus, and none of its text fields has it. */
  | { readonly type: "focus"; readonly keys: boolean }
  | RequestMessage;

export interface PaintParts {
  readonly parseMs: number;
  readonly modelMs: number;
  readonly layoutMs: number;
  readonly paintMs: number;
}

export type RequestMessage = {
  [M in Method]: { readonly type: "request"; readonly id: number; readonly method: M; readonly params: Requests[M]["params"] };
}[Method];
