/** A magnitude with its exponent dim and in its own column, so that mantissas line up down a table. */

import type { JSX } from "preact";
import { fullPrecision, magnitude } from "../../shared/format";

export interface MagnitudeProps {
  readonly value: number | null | undefined;
  /** Replaces the full-precision tooltip. */
  readonly title?: string;
}

export function MagnitudeText({ value, title }: MagnitudeProps): JSX.Element {
  const { mantissa, exponent } = magnitude(value);
  const known = value !== null && value !== undefined;
  const tone = !known ? "mag dim" : Number.isFinite(value) ? "mag" : "mag c-nan";
  return (
    <span class={tone} title={title ?? (known ? fullPrecision(value) : undefined)}>
      {mantissa}
      <i>{exponent}</i>
    </span>
  );
}
