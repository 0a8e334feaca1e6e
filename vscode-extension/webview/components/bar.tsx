/** A quantity that starts at zero, as a thin line under its row or beside its number. */

import type { JSX } from "preact";

export interface BarProps {
  /** 0 to 1 of the longest. */
  readonly share: number;
  /** `outlined`: of an earlier state, such as bytes that were released. */
  readonly outlined?: boolean;
  readonly class?: string;
}

/** Decoration: the number beside it says the same. Anything above nothing is at least one pixel long. */
export function Bar({ share, outlined = false, class: more = "" }: BarProps): JSX.Element {
  const width = `${(100 * Math.min(1, Math.max(0, share))).toFixed(2)}%`;
  return (
    <span class={`bar-track ${more}`} aria-hidden="true">
      {share > 0 && <i class={outlined ? "bar-line outlined" : "bar-line"} style={{ width }} />}
    </span>
  );
}
