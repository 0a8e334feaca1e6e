/** A state's glyph, in a row or inside a larger drawing. Its word is its name unless the word stands beside it. */

import type { JSX } from "preact";
import { GLYPHS, glyphClass, glyphWord, type GlyphId } from "../../shared/glyphs";

export interface GlyphProps {
  readonly id: GlyphId;
  /** Said by screen readers and shown as a tooltip; "" where the same word stands in the text beside it. */
  readonly label?: string;
  /** Another colour than the state's own: a class such as `c-accent`. */
  readonly color?: string;
}

/** In text: a 10 px box that sits on the line. */
export function Glyph({ id, label = glyphWord(id), color = glyphClass(id) }: GlyphProps): JSX.Element {
  const name = label === "" ? { "aria-hidden": true as const } : { role: "img" as const, "aria-label": label };
  return (
    <svg class={`gl ${color}`} viewBox="0 0 10 10" {...name}>
      {label !== "" && <title>{label}</title>}
      <GlyphPath id={id} />
    </svg>
  );
}

export interface GlyphAtProps {
  readonly id: GlyphId;
  readonly x: number;
  readonly y: number;
  readonly size?: number;
  readonly color?: string;
}

/** In a drawing: centred on a point. The drawing has the accessible name. */
export function GlyphAt({ id, x, y, size = 10, color = glyphClass(id) }: GlyphAtProps): JSX.Element {
  return (
    <svg class={color} x={x - size / 2} y={y - size / 2} width={size} height={size} viewBox="0 0 10 10" aria-hidden="true">
      <GlyphPath id={id} />
    </svg>
  );
}

function GlyphPath({ id }: { readonly id: GlyphId }): JSX.Element {
  const { fill, stroke, width = 1, dash } = GLYPHS[id];
  return (
    <>
      {stroke && <path d={stroke} fill="none" stroke="currentColor" stroke-width={width} stroke-dasharray={dash} />}
      {fill && <path d={fill} fill="currentColor" />}
    </>
  );
}

/** The arrow before a row with children: `open` null leaves its place empty, so that names line up. */
export function Twistie({ open, onClick }: { readonly open: boolean | null; readonly onClick?: (event: MouseEvent) => void }): JSX.Element {
  return (
    <span class="tw" aria-hidden="true" onClick={open === null ? undefined : onClick}>
      {open !== null && (
        <svg viewBox="0 0 8 8">
          <path d={open ? "M1 2.5 4 5.5 7 2.5" : "M2.5 1 5.5 4 2.5 7"} />
        </svg>
      )}
    </span>
  );
}
