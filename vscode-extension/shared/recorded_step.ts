/** What a recorded step adds to the Snapshot that views draw. At a live stop nothing of it is known. */

import type { CompiledRegion, Snapshot } from "./session";

/** What a GradScaler did in the step. */
export interface StepScaling {
  /** What it multiplied the loss with: gradients as accumulated carry it. Null where none did. */
  readonly lossScale: number | null;
  /** Of the step before, whose norms stand in `states.previous_norm`. */
  readonly previousLossScale: number | null;
  /** It found NaN or Inf, and left the parameters as they were. */
  readonly skipped: boolean;
}

/** A Snapshot as views take it: what is not there was not recorded. */
export interface StepSnapshot extends Snapshot {
  readonly scaling?: StepScaling;
  /** What the compiled nodes of the graph open into. */
  readonly regions?: readonly CompiledRegion[];
}

/** What gradients as accumulated are divided by; 1 where no scale is known. */
export function lossScaleOf({ scaling }: StepSnapshot): number {
  return scaling?.lossScale ?? 1;
}
