/**
 * What a recorded session tells the page that replays it, and what the page may ask: plain data and typed arrays, for it
 * crosses to a webview (which carries no bigint). In VS Code the extension host answers; in a notebook or an exported
 * page the same `ReplaySource` answers next door.
 */

import type { Comparison, Side } from "./compare";
import type { PlacedFinding } from "./findings";
import type { GlyphId } from "./glyphs";
import type { GradientSubject } from "./recorded_names";
import type { Finish, Held, Notice, Run, Snapshot } from "./session";

/** A recorded moment: the end of a step, or a stop of a debugger. `rank` names the file. */
export type Moment =
  | { readonly kind: "step"; readonly rank: number; readonly step: number }
  | { readonly kind: "stop"; readonly rank: number; readonly stop: number };

/** One file of a session; a folder of ranks has several. `failure` says why it could not be opened. */
export interface RankItem {
  readonly rank: number;
  readonly name: string;
  readonly bytes: number;
  readonly finished: boolean;
  readonly failure: string | null;
}

export type MarkKind = "nonfinite" | "stop" | "interrupted" | "skipped" | "gap" | "variant" | "finding";

/** Something to jump to. `stop` is the number of a recorded stop, else -1. */
export interface Mark {
  readonly kind: MarkKind;
  readonly step: number;
  readonly stop: number;
  readonly text: string;
  /** The glyph of a finding. */
  readonly glyph?: GlyphId;
}

/** Steps from..to (inclusive) whose backward had graph `letter`: "A" is the first structure that was recorded. */
export interface VariantSpan {
  readonly letter: string;
  readonly graph: number;
  readonly from: number;
  readonly to: number;
}

/** Steps from..to (inclusive) of which something could not be read. */
export interface GapSpan {
  readonly from: number;
  readonly to: number;
  readonly text: string;
}

/** One entry per step in each. NaN: not recorded, except that a loss or a norm may be NaN itself (`lossSeen`, `nonfinite`). */
export interface Timeline {
  readonly steps: Float64Array;
  readonly loss: Float64Array;
  /** 1 where a loss was seen, whatever its value. */
  readonly lossSeen: Uint8Array;
  /** L2 norm over the finite gradients of all parameters, divided by the loss scale where there is one. */
  readonly gradientNorm: Float64Array;
  /** NaN where a step has none; absent where no step has one. */
  readonly lossScale?: Float64Array;
  /** How many parameters had a NaN or Inf in their gradient. */
  readonly nonfinite: Float64Array;
  /** Most bytes that a backward call of the step found held. */
  readonly heldBytes: Float64Array;
}

/** What stands beside the timeline, and is sent whole each time. */
export interface SessionFacts {
  /** Of the file, or of the folder of ranks. */
  readonly name: string;
  readonly bytes: number;
  /** Ascending; a single file is one. */
  readonly ranks: readonly RankItem[];
  /** The rank that facts and timeline are of. */
  readonly rank: number;
  readonly run: Run;
  /** False while it is written, and for good where its process was killed. */
  readonly finished: boolean;
  readonly finish: Finish | null;
  /** Share of the run's time that recording took, 0 to 1; NaN where it is not known. */
  readonly cost: number;
  readonly marks: readonly Mark[];
  readonly variants: readonly VariantSpan[];
  readonly gaps: readonly GapSpan[];
  readonly notices: readonly Notice[];
  /** The worst first. Empty until the recording is closed: then it is asked what is wrong. */
  readonly findings: readonly PlacedFinding[];
}

export interface Overview {
  readonly facts: SessionFacts;
  readonly timeline: Timeline;
}

/** The statistics that a curve is kept of. */
export type CurveStatistic = "l2" | "min" | "max";

/** One gradient over all steps; NaN: not recorded. `nonfinite` counts NaN and Inf elements. */
export interface Curve {
  readonly steps: Float64Array;
  readonly values: Float64Array;
  readonly nonfinite: Float64Array;
}

/** Norms of every parameter over the last steps up to one, parameter-major: sparklines, and the band of the flow chart. */
export interface RecentNorms {
  /** Ascending; the last is the step asked for. */
  readonly steps: Float64Array;
  /** Parameter ids. */
  readonly parameters: Uint32Array;
  /** `parameters.length` rows of `steps.length` norms; NaN: not recorded. */
  readonly norms: Float32Array;
}

/** Norms at one step, rank-major: `norms[rank * names.length + parameter]`; NaN where a rank has none. */
export interface RankNorms {
  readonly step: number;
  /** Before they were reduced over the ranks. */
  readonly local: boolean;
  /** Whether any rank has those of the step. */
  readonly hasLocal: boolean;
  readonly ranks: readonly number[];
  /** Names of parameters that any rank has, in model order. */
  readonly names: readonly string[];
  readonly norms: Float64Array;
  readonly nonfinite: Float64Array;
  /** Ranks that part from the others at this step by more than the tolerance of a comparison, with a sentence how. */
  readonly parting: readonly { readonly rank: number; readonly text: string }[];
  /** How many of the parameters are sharded: of these ranks hold different numbers, and do not part. */
  readonly sharded: number;
  /** What else is to be said of how ranks part, or do not. */
  readonly notes: readonly string[];
}

/** Lines of a file as they were when they ran, or as the host reads them now. */
export interface ReplayLines {
  readonly first: number;
  readonly lines: readonly string[];
  readonly from: "recorded" | "workspace" | "none";
}

/** Another session that was opened beside this one to compare with. */
export interface OtherSession {
  readonly id: string;
  readonly overview: Overview;
}

/** What the page may ask: parameters and result of each request. All may fail with a sentence. */
export interface ReplayRequests {
  /** Also makes `rank` the one that `grown` speaks of. */
  overview: { params: { rank: number }; result: Overview };
  snapshot: { params: { at: Moment }; result: Snapshot };
  /** How what was held was let go: of the step's last backward call with a ledger; null where none was recorded. */
  held: { params: { at: Moment }; result: Held | null };
  curve: { params: { rank: number; subject: GradientSubject; statistic: CurveStatistic }; result: Curve };
  /** The curve of the parameter of the same name in another session; null where it has none. */
  otherCurve: { params: { other: string; name: string; statistic: CurveStatistic }; result: Curve | null };
  recentNorms: { params: { rank: number; step: number; count: number }; result: RecentNorms };
  rankNorms: { params: { step: number; local?: boolean }; result: RankNorms };
  /** One curve per rank that has a parameter of this name. */
  rankCurves: { params: { name: string; statistic: CurveStatistic }; result: readonly { readonly rank: number; readonly curve: Curve }[] };
  compare: { params: { a: Side; b: Side; tolerance: number | null }; result: Comparison };
  sourceLines: { params: { rank: number; file: string; line: number; around: number }; result: ReplayLines };
  openSource: { params: { rank: number; file: string; line: number; focus: boolean }; result: null };
  /** Lets the user choose a session; null when nothing was chosen. */
  chooseOther: { params: Record<string, never>; result: OtherSession | null };
  replayStep: { params: { rank: number; step: number }; result: null };
  /** Why a parameter's gradient is as it is, in words: what Python answers that can read more than is in the findings. */
  why: { params: { rank: number; name: string }; result: string };
  copyText: { params: { text: string }; result: null };
}

export type ReplayMethod = keyof ReplayRequests;

/** Asks whoever has the session. Rejects with an Error whose message can be shown. */
export type ReplayAsk = <M extends ReplayMethod>(method: M, params: ReplayRequests[M]["params"]) => Promise<ReplayRequests[M]["result"]>;

/** What this host offers; the page leaves out what it does not. */
export interface ReplayOffers {
  /** `openSource` opens an editor. */
  readonly openSource: boolean;
  readonly chooseOther: boolean;
  readonly replayStep: boolean;
  /** Python can be asked; absent where it cannot. */
  readonly why?: boolean;
  /** The host binds the page's keys, so that they can be rebound, and sends `command` messages for them. */
  readonly bindsKeys: boolean;
}

/** Keys that VS Code owns are commands there and arrive as one of these names. */
export type ReplayCommand =
  | "gradients"
  | "graph"
  | "held"
  | "filter"
  | "nextTrouble"
  | "previousTrouble"
  | "showAsTable"
  | "why"
  | "nextStep"
  | "previousStep"
  | "forwardSteps"
  | "backSteps"
  | "firstStep"
  | "lastStep"
  | "nextMark"
  | "previousMark"
  | "play"
  | "follow"
  | "compare"
  | "replayStep";

/**
 * Host to page. `grown` replaces the timeline from position `from` on, so that a long run is not sent again for each step.
 * `opened` comes first, or `failed`, or `loading` before either.
 */
export type ToReplay =
  | { readonly type: "loading"; readonly name: string; readonly share: number }
  | { readonly type: "opened"; readonly overview: Overview; readonly offers: ReplayOffers }
  | { readonly type: "grown"; readonly from: number; readonly timeline: Timeline; readonly facts: SessionFacts }
  | { readonly type: "failed"; readonly title: string; readonly reason: string }
  | { readonly type: "go"; readonly at: Moment }
  | { readonly type: "command"; readonly name: ReplayCommand }
  | { readonly type: "response"; readonly id: number; readonly ok: true; readonly value: unknown }
  | { readonly type: "response"; readonly id: number; readonly ok: false; readonly error: string };

/** Page to host. */
export type FromReplay =
  | { readonly type: "ready" }
  /** Whether letters are commands now: the page has the focus, and none of its text fields has it. */
  | { readonly type: "focus"; readonly keys: boolean }
  | { readonly type: "painted"; readonly step: number; readonly ms: number }
  | ReplayRequestMessage;

export type ReplayRequestMessage = {
  [M in ReplayMethod]: { readonly type: "request"; readonly id: number; readonly method: M; readonly params: ReplayRequests[M]["params"] };
}[ReplayMethod];

/** What answers without the user's machine, and what the host must do for it. */
export interface ReplayDoors {
  readonly offers: ReplayOffers;
  /** Lines of the user's file where its text is the recorded one; null where the host cannot read files. */
  readonly workspaceLines: ((file: string, recorded: string | null) => Promise<readonly string[] | null>) | null;
  openSource(file: string, line: number, focus: boolean, recorded: string | null): Promise<void>;
  chooseOther(): Promise<readonly SessionSource[] | null>;
  replayStep(file: string, step: number): Promise<void>;
  /** Asks Python why; absent where there is none to ask. */
  why?(place: string, name: string): Promise<string>;
  copyText(text: string): Promise<void>;
}

/** A file to open: `name` is what the user calls it, `place` what a command line would. */
export interface SessionSource {
  readonly name: string;
  readonly place: string;
  readonly source: import("./mcap_bytes").ReadAt;
}
