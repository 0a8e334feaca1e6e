/**
 * What a comparison of two sessions, ranks or steps found: the shape of `gradwatch diff --json`, which
 * kernel_ext/gradwatch/reporters/diff_json.py documents. null is what is not known; bytes are integers.
 */

import type { Run } from "./session";
import type { StatisticName } from "./recorded_curve";

/** One side of a comparison. `session` "" is the one that is shown; a `step` limits it to that one. */
export interface Side {
  readonly session: string;
  readonly rank: number;
  readonly step: number | null;
}

/** JSON has no word for a number that is not finite; `numberOf` reads it. */
export type ComparedNumber = number | "nan" | "inf" | "-inf";

/** What a row of statistics is about, from the finest kind to the coarsest. */
export type ComparedKind = "node" | "module" | "parameter";

/**
 * `parts` is the answer: losses or gradients part, or one session alone has a parameter. Other lengths, graphs and held
 * memory are told, and do not count. Statistics are compared, not values: false says that none sees a difference.
 */
export interface Comparison {
  readonly format: "gradwatch.report";
  readonly version: 1;
  readonly command: "diff";
  readonly parts: boolean;
  readonly a: ComparedSession;
  readonly b: ComparedSession;
  readonly tolerance: ComparedTolerance;
  readonly compared: ComparedCounts;
  /** The first pair of steps that was compared, and the last. */
  readonly first_steps: StepPair;
  readonly last_steps: StepPair;
  /** The first pair of steps whose gradients part; null where none do. */
  readonly gradients: GradientParting | null;
  /** The first pair of steps whose losses part; null where none do. */
  readonly loss: LossParting | null;
  readonly curves: ComparedCurves;
  /** Of the last call that both recorded it of; null where there is none. */
  readonly held: HeldDifference | null;
  /** The first graphs that differ; null where none do. */
  readonly graph: GraphDifference | null;
  readonly only_a: OnlyOne;
  readonly only_b: OnlyOne;
  /** What was left out or could not be compared, each as a sentence. */
  readonly notes: readonly string[];
}

/** One of the two sessions. `path` is what this host calls the file. */
export interface ComparedSession {
  readonly path: string;
  readonly gradwatch_version: string;
  readonly detail: Run["detail"];
  /** ISO 8601, UTC. */
  readonly started: string;
  readonly argv: readonly string[];
  readonly rank: number;
  readonly world_size: number;
  readonly torch_version: string;
  readonly devices: readonly string[];
  readonly git_revision: string | null;
  readonly git_dirty: boolean | null;
  readonly steps: number;
  readonly first_step: number | null;
  readonly last_step: number | null;
  /** null: the recording was not closed. */
  readonly finish_reason: string | null;
  /** Parts of the file that could not be read. */
  readonly gaps: number;
}

/** What counts as the same, see `Tolerance` in compare_tolerance.ts. 0 and 0: exactly. */
export interface ComparedTolerance {
  readonly rtol: number;
  readonly atol: number;
}

/** A step of the first session and the one of the second that it was compared with. */
export interface StepPair {
  readonly a: number;
  readonly b: number;
}

/** What one session alone has. A session may be longer: `steps` do not count as a difference. */
export interface OnlyOne {
  readonly parameters: readonly string[];
  readonly modules: readonly string[];
  readonly steps: readonly number[];
}

/** How much was compared: pairs of steps, and rows of statistics by kind. 0 means that nothing of it was. */
export interface ComparedCounts {
  readonly steps: number;
  readonly parameter: number;
  readonly module: number;
  readonly node: number;
}

/** One statistic in both. `relative` is the distance by the statistic's scale; "inf" where that is 0. */
export interface StatisticGap {
  readonly statistic: StatisticName;
  readonly a: ComparedNumber;
  readonly b: ComparedNumber;
  readonly relative: ComparedNumber;
  readonly parts: boolean;
}

/** A line of the user's source, as it was; `text` is null where it was not recorded. */
export interface ComparedPlace {
  readonly file: string;
  readonly line: number;
  readonly text: string | null;
}

/** A node of an autograd graph, as one of the sessions has it. */
export interface ComparedNode {
  readonly index: number;
  readonly name: string;
  readonly module: string | null;
  readonly parameter: string | null;
  readonly place: ComparedPlace | null;
}

/** Where a node stands in both graphs, and the nodes that gave it its gradient. */
export interface NodeParting {
  readonly a: ComparedNode;
  readonly b: ComparedNode;
  readonly givers_a: readonly ComparedNode[];
  readonly givers_b: readonly ComparedNode[];
  /** They are the same nodes in both. */
  readonly same_givers: boolean;
  /** They are, and what they were given agrees: then what they saved, or computed from it, differs. */
  readonly givers_agree: boolean;
}

/** A gradient that parts. `gaps` has every statistic, those that part first; of a node they are of its outputs' gradient. */
export interface Parting {
  readonly kind: ComparedKind;
  /** Index of the backward call in the step. */
  readonly backward: number;
  readonly name: string;
  readonly name_b: string;
  /** The largest relative gap of a statistic that parts; "inf" where only one side has a gradient. */
  readonly relative: ComparedNumber;
  /** The session that has it, where the other has none. */
  readonly only: "a" | "b" | null;
  readonly gaps: readonly StatisticGap[];
  /** null for what is no node. */
  readonly node: NodeParting | null;
}

/** The first pair of steps whose gradients part: `first`, and every one that does, as backward reaches them. */
export interface GradientParting {
  readonly step: number;
  readonly step_b: number;
  readonly first: Parting;
  readonly nodes: readonly Parting[];
  readonly modules: readonly Parting[];
  readonly parameters: readonly Parting[];
}

/** The first pair of steps whose losses part. */
export interface LossParting {
  readonly step: number;
  readonly step_b: number;
  readonly a: ComparedNumber;
  readonly b: ComparedNumber;
  readonly relative: ComparedNumber;
}

/** Both sessions over the compared steps, thinned to CURVE_POINTS; of a stretch the step that differs most. */
export interface ComparedCurves {
  readonly steps: readonly number[];
  readonly steps_b: readonly number[];
  readonly loss_a: readonly (ComparedNumber | null)[];
  readonly loss_b: readonly (ComparedNumber | null)[];
  /** L2 norm over the parameters that both have, after the step's last call. */
  readonly norm_a: readonly (ComparedNumber | null)[];
  readonly norm_b: readonly (ComparedNumber | null)[];
  /** The largest relative gap of any statistic of any parameter. */
  readonly difference: readonly (ComparedNumber | null)[];
  /** The most that a backward call held, bytes. */
  readonly held_a: readonly (number | null)[];
  readonly held_b: readonly (number | null)[];
}

/** Bytes under one label in both: null and 0 where one has nothing there. `delta` is b - a. */
export interface HeldChange {
  readonly label_a: string | null;
  readonly label_b: string | null;
  readonly bytes_a: number;
  readonly bytes_b: number;
  readonly delta: number;
  /** The line's text, where it was recorded. */
  readonly text: string | null;
}

/** What one backward call held when it began, in both; the rows with the largest change first. */
export interface HeldDifference {
  readonly step: number;
  readonly step_b: number;
  readonly backward: number;
  readonly total_a: number;
  readonly total_b: number;
  readonly peak_a: number | null;
  readonly peak_b: number | null;
  readonly by_line: readonly HeldChange[];
  readonly by_module: readonly HeldChange[];
}

/** A node that both graphs have, and what of it is another: its source line, its next functions ("inputs"). */
export interface ChangedNode {
  readonly a: ComparedNode;
  readonly b: ComparedNode;
  readonly what: readonly ("line" | "inputs")[];
}

/** The first graphs of one backward call that differ. */
export interface GraphDifference {
  readonly step: number;
  readonly step_b: number;
  readonly backward: number;
  readonly nodes_a: number;
  readonly nodes_b: number;
  readonly only_a: readonly ComparedNode[];
  readonly only_b: readonly ComparedNode[];
  readonly changed: readonly ChangedNode[];
}

/** The number that a comparison spells; NaN for null. */
export function numberOf(spelled: ComparedNumber | null): number {
  switch (spelled) {
    case null:
    case "nan": return Number.NaN;
    case "inf": return Infinity;
    case "-inf": return -Infinity;
    default: return spelled;
  }
}

/** A number as a comparison spells it. */
export function spelled(number: number): ComparedNumber {
  if (Number.isNaN(number)) return "nan";
  return Number.isFinite(number) ? number : number > 0 ? "inf" : "-inf";
}
