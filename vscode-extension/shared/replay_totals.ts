/** Columns of the timeline that take longer to read than a session takes to open. */

import type { RecordedSession } from "./recorded_session";
import type { RecordedCalls } from "./recorded_steps";
import type { Timeline } from "./replay";

/** One entry per position in `steps`, and every backward call. */
export interface Totals extends Pick<Timeline, "gradientNorm" | "nonfinite" | "heldBytes"> {
  readonly calls: RecordedCalls;
}

/** Asked again after a refresh it reads only what is new. */
export async function totalsOf(session: RecordedSession): Promise<Totals> {
  const { gradientNorm, nonfinite, heldBytes } = await session.totals();
  return { gradientNorm, nonfinite, heldBytes, calls: await session.calls() };
}

/** What stands there until they are read. */
export function totalsUnread(length: number): Omit<Totals, "calls"> {
  const unread = (): Float64Array => new Float64Array(length).fill(Number.NaN);
  return { gradientNorm: unread(), nonfinite: unread(), heldBytes: unread() };
}
