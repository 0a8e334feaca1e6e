/** Draws norms by rank and parameter, in device pixels. */

import type { RankNorms } from "../../shared/replay";
import { mix, parseColour, type Rgb } from "../../shared/values_colours";
import { heatColours } from "../components/heat_colours";

/** Height of a rank, CSS px. */
export const ROW = 14;
/** Decades of the colours, as everywhere. */
export const [LOWEST, HIGHEST] = [-12, 1];

export interface RankPlace {
  readonly rank: number;
  readonly parameter: number;
}

/** One colour a decade from background to accent; NaN and Inf in red, with a mark; unseen hatched. */
export function drawRanks(canvas: HTMLCanvasElement, norms: RankNorms, inner: number, cursor: RankPlace): void {
  const { ranks, names } = norms;
  const ratio = devicePixelRatio || 1;
  canvas.width = Math.round(inner * ratio);
  canvas.height = Math.round(ranks.length * ROW * ratio);
  const context = canvas.getContext("2d");
  if (!context) return;
  const colours = heatColours(canvas.parentElement ?? canvas);
  const style = getComputedStyle(canvas);
  const [background, accent]: [Rgb, Rgb] = [parseColour(colours.background) ?? [1, 1, 1], parseColour(style.color) ?? [0, 0.4, 0.8]];
  const ramp = Array.from({ length: HIGHEST - LOWEST + 1 }, (_, at) => cssOf(mix(background, accent, 0.08 + (0.84 * at) / (HIGHEST - LOWEST))));
  const cell = canvas.width / Math.max(1, names.length);
  for (let rank = 0; rank < ranks.length; rank++) {
    for (let at = 0; at < names.length; at++) {
      const place = rank * names.length + at;
      const left = Math.floor(at * cell);
      const box = [left, rank * ROW * ratio, Math.max(1, Math.floor((at + 1) * cell) - left - (cell > 4 ? 1 : 0)), ROW * ratio - 1] as const;
      fillCell(context, box, norms.norms[place]!, norms.nonfinite[place]! > 0, ramp, colours.notFinite);
    }
  }
  context.strokeStyle = colours.foreground;
  context.lineWidth = ratio;
  context.strokeRect(cursor.parameter * cell + 0.5, cursor.rank * ROW * ratio + 0.5, Math.max(3, cell - 1), ROW * ratio - 2);
}

type Box = readonly [left: number, top: number, width: number, height: number];

function fillCell(context: CanvasRenderingContext2D, [left, top, width, height]: Box, norm: number, bad: boolean, ramp: readonly string[], red: string): void {
  if (bad) {
    context.fillStyle = red;
    if (width >= height) diamond(context, [left, top, width, height]);
    else context.fillRect(left, top, width, height);
  } else if (!Number.isNaN(norm)) {
    const decade = norm > 0 ? Math.max(LOWEST, Math.min(HIGHEST, Math.floor(Math.log10(norm)))) : LOWEST;
    context.fillStyle = ramp[decade - LOWEST]!;
    context.fillRect(left, top, width, height);
  } else {
    context.strokeStyle = ramp[5]!;
    context.beginPath();
    context.moveTo(left, top + height);
    context.lineTo(left + width, top);
    context.stroke();
  }
}

/** The glyph of NaN, where there is room for its shape: it is told without its colour. */
function diamond(context: CanvasRenderingContext2D, [left, top, width, height]: Box): void {
  const [x, y, half] = [left + width / 2, top + height / 2, height / 2];
  context.beginPath();
  context.moveTo(x, y - half);
  context.lineTo(x + half, y);
  context.lineTo(x, y + half);
  context.lineTo(x - half, y);
  context.closePath();
  context.fill();
}

function cssOf(colour: Rgb): string {
  return `rgb(${colour.map((part) => Math.round(part * 255)).join(", ")})`;
}
