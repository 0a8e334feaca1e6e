/** Where the timeline's rows stand, by the page's width and height. */

export type RowName = "loss" | "norm" | "held";

export interface TimelineRow {
  readonly name: RowName;
  readonly top: number;
  readonly height: number;
}

export interface TimelineGeometry {
  readonly width: number;
  readonly height: number;
  /** The steps' own area. */
  readonly left: number;
  readonly right: number;
  readonly marksY: number;
  readonly rows: readonly TimelineRow[];
  /** Bottom of the last row. */
  readonly bottom: number;
  /** The row's name and number stand above it, not beside it. */
  readonly captions: boolean;
}

const ROWS: readonly RowName[] = ["loss", "norm", "held"];

export function timelineGeometry(width: number, compact: boolean, narrow: boolean): TimelineGeometry {
  const pad = narrow ? 10 : 16;
  const caption = narrow ? 14 : 0;
  const height = compact ? 22 : 40;
  const gap = narrow ? 4 : compact ? 7 : 10;
  const top = 20;
  const rows = ROWS.map((name, at) => ({ name, top: top + caption + at * (height + gap + caption), height }));
  const bottom = rows[rows.length - 1]!.top + height;
  return {
    width,
    height: bottom + 22,
    left: pad + (narrow ? 38 : 92),
    right: width - (narrow ? pad : 196),
    marksY: 9,
    rows,
    bottom,
    captions: narrow,
  };
}
