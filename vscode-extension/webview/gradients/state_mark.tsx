/** The glyph and word of a gradient's state. What is no trouble has no colour. */

import type { JSX } from "preact";
import { glyphClass, glyphWord } from "../../shared/glyphs";
import type { GradientSummary } from "../../shared/gradient_summary";
import { gradientsText as text } from "../../shared/text";
import { Glyph, GlyphAt } from "../components/glyph";

type Marked = Pick<GradientSummary, "state" | "trouble">;

/** "" for a finite gradient: quiet until something is wrong. */
export function stateWord({ state, stale }: Pick<GradientSummary, "state" | "stale">): string {
  return glyphWord(state, stale);
}

/** A None is a warning only beside gradients that are there. */
function colorOf({ state, trouble }: Marked): string {
  return state === "None" && !trouble ? "c-dim" : glyphClass(state);
}

/** In a row: the word stands beside it, or in the row's name. */
export function StateGlyph({ summary }: { readonly summary: Marked }): JSX.Element {
  return <Glyph id={summary.state} label="" color={colorOf(summary)} />;
}

/** In a row at full width, coloured as its glyph. */
export function StateWord({ summary }: { readonly summary: GradientSummary }): JSX.Element {
  return <span class={`word ${colorOf(summary)}`}>{stateWord(summary)}</span>;
}

export interface StateMarkProps {
  readonly summary: Marked;
  readonly x: number;
  readonly y: number;
  readonly size: number;
}

/** In the chart. */
export function StateMark({ summary, x, y, size }: StateMarkProps): JSX.Element {
  return <GlyphAt id={summary.state} x={x} y={y} size={size} color={colorOf(summary)} />;
}

export interface StateLineProps {
  readonly summary: GradientSummary;
  readonly unit: "steps" | "stops";
}

/** In the dock: glyph, word in full, and on hover what it means. */
export function StateLine({ summary, unit }: StateLineProps): JSX.Element {
  const words = summary.state === "stale" ? text.staleLong(summary.stale, unit) : stateWord(summary) || text.finite;
  return (
    <span class={`state-line ${summary.trouble ? colorOf(summary) : ""}`} title={text.stateMeaning[summary.state]}>
      <StateGlyph summary={summary} /> {words}
    </span>
  );
}
