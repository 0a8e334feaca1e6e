/** The glyph of every state: one drawing in a 10 px box for tables, charts, graph and timeline alike. */

/** Shapes drawn with `currentColor`: filled areas, and lines of one width with an optional dash. */
export interface GlyphShape {
  readonly fill?: string;
  readonly stroke?: string;
  readonly width?: number;
  readonly dash?: string;
}

/** Colour classes of the stylesheet: `c-nan` and so on. */
export type GlyphToken = "dim" | "none" | "nan" | "explode" | "vanish" | "accent" | "mid";

export interface Glyph extends GlyphShape {
  readonly token: GlyphToken;
  /** The word beside it and in every accessible name; "" where a quiet state has none. */
  readonly word: string;
}

export type GlyphId =
  | "NaN"
  | "Inf"
  | "None"
  | "exploding"
  | "vanishing"
  | "on path"
  | "stale"
  | "zero"
  | "pending"
  | "unread"
  | "finite"
  | "frozen"
  | "fired"
  | "changed"
  | "running"
  | "folded"
  | "unseen"
  | "stop"
  | "variant"
  | "play"
  | "next"
  | "warning"
  | "skipped"
  | "idle"
  | "bytes"
  | "break";

const DOT = circle(2);
const HATCH = "M1 1H9V9H1ZM1 4 4 1M1 7 7 1M2 9 9 2M5 9 9 5";

/** The states of ui.md, and the few marks of the header and the state pages. */
export const GLYPHS: Readonly<Record<GlyphId, Glyph>> = {
  NaN: { fill: "M5 0 10 5 5 10 0 5Z", token: "nan", word: "NaN" },
  Inf: { fill: "M0 1 5 5 0 9ZM10 1 5 5 10 9Z", token: "nan", word: "Inf" },
  None: { stroke: `${circle(4)}M2.2 7.8 7.8 2.2`, width: 1.5, token: "none", word: "None" },
  exploding: { fill: "M5 .8 10 9.5H0Z", token: "explode", word: "exploding" },
  vanishing: { stroke: "M.8 1.2H9.2L5 8.8Z", width: 1.5, token: "vanish", word: "vanishing" },
  "on path": { stroke: "M5 .8 9.2 5 5 9.2 .8 5Z", width: 1.1, dash: "2 1.2", token: "nan", word: "on path" },
  stale: { stroke: circle(3.6), width: 1.2, fill: "M5 1.4A3.6 3.6 0 0 1 5 8.6Z", token: "dim", word: "stale" },
  zero: { stroke: circle(3.6), width: 1.3, token: "dim", word: "zero" },
  pending: { stroke: circle(2.2), width: 1, token: "dim", word: "pending" },
  unread: { stroke: HATCH, width: 0.9, token: "mid", word: "not read" },
  finite: { fill: DOT, token: "dim", word: "" },
  frozen: { stroke: "M2.5 5H7.5", width: 1.2, token: "dim", word: "frozen" },
  fired: { fill: DOT, token: "mid", word: "fired" },
  changed: { fill: "M0 2H4V8H0Z", token: "accent", word: "changed" },
  running: { stroke: circle(3.6), width: 1.6, token: "accent", word: "running" },
  folded: { stroke: "M3 3V1H9V7H7M1 3H7V9H1Z", width: 1, token: "mid", word: "folded" },
  unseen: { stroke: HATCH, width: 0.9, token: "mid", word: "not observable" },
  stop: { fill: "M2 1H4.4V9H2ZM5.8 1H8.2V9H5.8Z", token: "accent", word: "stop" },
  variant: { stroke: "M2 0V10M2 5Q8 5 8 0", width: 1.3, token: "dim", word: "graph" },
  play: { fill: "M2 .8 9 5 2 9.2Z", token: "accent", word: "running" },
  next: { fill: "M0 1 5 5 0 9ZM6 1H8V9H6Z", token: "dim", word: "" },
  warning: { stroke: "M5 .8 9.6 9.2H.4ZM5 3.7V6.4M5 7.3V8.2", width: 1.2, token: "none", word: "warning" },
  skipped: { stroke: "M1 6.4A3.9 3.9 0 0 1 8.4 5.2M8.9 2V5.5H5.5M3.4 8.9H6.2", width: 1.3, token: "none", word: "skipped" },
  idle: { stroke: circle(4), width: 1.2, token: "dim", word: "" },
  bytes: { stroke: "M1 2.2H9M1 5H9M1 7.8H6", width: 1.6, token: "mid", word: "held" },
  break: { fill: circle(4), token: "nan", word: "break" },
};

/** Worst first: a row shows the worst of its states, a closed module its worst child. */
export const STATE_RANK = ["NaN", "Inf", "None", "exploding", "vanishing", "on path", "stale", "zero", "pending", "unread", "finite", "frozen"] as const satisfies readonly GlyphId[];

/** The states that are counted in the header and walked by "next trouble". */
export const TROUBLE = ["NaN", "Inf", "None", "exploding", "vanishing"] as const satisfies readonly GlyphId[];

/** The word of a state; a stale one says since when: "stale 3". */
export function glyphWord(id: GlyphId, since = 0): string {
  const { word } = GLYPHS[id];
  return id === "stale" && since > 0 ? `${word} ${since}` : word;
}

/** The class that gives a glyph and its word their colour. */
export function glyphClass(id: GlyphId): string {
  return `c-${GLYPHS[id].token}`;
}

function circle(radius: number): string {
  return `M${5 - radius} 5a${radius} ${radius} 0 1 0 ${2 * radius} 0a${radius} ${radius} 0 1 0 ${-2 * radius} 0Z`;
}
