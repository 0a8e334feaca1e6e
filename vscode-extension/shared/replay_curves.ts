/** Curves of one gradient over all steps, by name: of ranks, and of other sessions. */

import type { RecordedSession } from "./recorded_session";
import type { Curve, CurveStatistic, ReplayRequests } from "./replay";
import type { RankSessions } from "./replay_rank_norms";
import { unscaledCurve } from "./replay_scale";

type RankCurve = ReplayRequests["rankCurves"]["result"][number];

/** Points of all ranks together in one answer. */
const MOST_POINTS = 1_000_000;

/** Null where the session has nothing of this name. */
export async function curveByName(session: RecordedSession, name: string, statistic: CurveStatistic): Promise<Curve | null> {
  const subject = session.names.subject(name);
  return subject && unscaledCurve(session, await session.curveOf(subject, statistic));
}

/** A curve for each rank that has something of this name. */
export async function rankCurves({ ranks, open, goOn }: RankSessions, name: string, statistic: CurveStatistic): Promise<RankCurve[]> {
  const curves: RankCurve[] = [];
  for (const rank of ranks) {
    goOn();
    const curve = await curveByName(await open(rank), name, statistic);
    if (curve) curves.push({ rank, curve: thinned(curve, pointsOf(ranks.length)) });
  }
  return curves;
}

/** How many points a curve may have where `ranks` of them are sent. */
function pointsOf(ranks: number): number {
  return Math.max(1000, Math.floor(MOST_POINTS / Math.max(1, ranks)));
}

/** At most `most` of the curve's own points: of each stretch the lowest, the highest and the first that is not finite. */
export function thinned(curve: Curve, most: number): Curve {
  const { steps, values, nonfinite } = curve;
  if (steps.length <= most) return curve;
  const stretches = Math.max(1, Math.floor(most / 3));
  const kept: number[] = [];
  for (let stretch = 0; stretch < stretches; stretch++) {
    const [from, to] = [stretch, stretch + 1].map((at) => Math.floor((at * steps.length) / stretches)) as [number, number];
    kept.push(...tellingPoints(curve, from, to));
  }
  const pick = (column: Float64Array): Float64Array => Float64Array.from(kept, (at) => column[at]!);
  return { steps: pick(steps), values: pick(values), nonfinite: pick(nonfinite) };
}

function tellingPoints({ values, nonfinite }: Curve, from: number, to: number): number[] {
  let [low, high, bad] = [from, from, -1];
  for (let at = from; at < to; at++) {
    if (!(values[low]! <= values[at]!)) low = at;
    if (!(values[high]! >= values[at]!)) high = at;
    if (bad < 0 && nonfinite[at]! > 0) bad = at;
  }
  return [...new Set([low, high, bad])].filter((at) => at >= 0).sort((a, b) => a - b);
}
