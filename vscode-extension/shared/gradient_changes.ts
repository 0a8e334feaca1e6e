/** What a parameter's gradient was at the previous stop, found by name: ids belong to one snapshot. */

import { parameterStatistics, type GradientStatistics } from "./gradient_statistics";
import type { Parameter, Snapshot } from "./session";

/** The statistics a parameter had at the stop before; null where it was not there, not read, or None. */
export type Earlier = (parameter: Parameter) => GradientStatistics | null;

const READ = new WeakMap<Snapshot, Map<string, GradientStatistics>>();

/** Reads the previous snapshot when first asked. */
export function earlierOf(previous: Snapshot | null): Earlier {
  if (previous === null) return () => null;
  return (parameter) => statisticsByName(previous).get(identity(parameter)) ?? null;
}

function statisticsByName(snapshot: Snapshot): Map<string, GradientStatistics> {
  const known = READ.get(snapshot);
  if (known !== undefined) return known;
  const statistics = parameterStatistics(snapshot);
  const found = new Map<string, GradientStatistics>();
  for (const parameter of snapshot.parameters ?? []) {
    const one = statistics.get(parameter.id);
    if (one !== undefined) found.set(identity(parameter), one);
  }
  READ.set(snapshot, found);
  return found;
}

/** The shape belongs to it: another model may have come under the same name. */
function identity(parameter: Parameter): string {
  return `${parameter.root}\n${parameter.path}\n${parameter.shape.join()}`;
}

/** "Stop 3", or "step 811" where steps are known: what a value from before is labelled with. */
export function stopName(snapshot: Snapshot): string {
  return snapshot.stop.step >= 0 ? `step ${snapshot.stop.step}` : `stop ${snapshot.stop.number}`;
}
