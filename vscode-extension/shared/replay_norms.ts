/** Gradient norms of every parameter over the last steps, without the loss scale. */

import type { RecordedSession } from "./recorded_session";
import type { RecentNorms } from "./replay";
import type { KeptStepNorms } from "./replay_step_norms";
import { replaySourceText as text } from "./text";

/** More steps are not asked for at once. */
export const MOST_RECENT = 200;
/** Norms in one answer; where there are more parameters, it has fewer steps. */
const MOST_NORMS = 4_000_000;

/** `count` steps up to `step`, fewer at the beginning. Throws for a step that is not there. */
export async function recentNorms(kept: KeptStepNorms, session: RecordedSession, step: number, count: number): Promise<RecentNorms> {
  const last = session.steps.position(step);
  if (last < 0) throw new RangeError(text.noStep(step));
  const parameters = Uint32Array.from(session.parameters, ({ id }) => id);
  const most = Math.min(MOST_RECENT, Math.max(1, Math.floor(MOST_NORMS / Math.max(1, parameters.length))));
  const first = Math.max(0, last + 1 - Math.min(Math.max(1, count), most));
  const steps = Float64Array.from({ length: last + 1 - first }, (_, i) => session.steps.number(first + i));
  const norms = new Float32Array(parameters.length * steps.length).fill(Number.NaN);
  const rows = new Map(Array.from(parameters, (id, row) => [id, row]));
  for (const [at, found] of (await kept.read(session, first, last)).entries()) {
    const scale = session.steps.lossScale(first + at) ?? 1;
    found.ids.forEach((id, i) => {
      const row = rows.get(id);
      if (row !== undefined) norms[row * steps.length + at] = found.norms[i]! / scale;
    });
  }
  return { steps, parameters, norms };
}
