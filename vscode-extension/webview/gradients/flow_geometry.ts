/** Where things stand in the gradient-flow chart. */

import type { Flow } from "../../shared/gradient_flow";

const MARGIN = { left: 36, right: 6, top: 18, bottom: 34 } as const;
/** Advance of a letter of the axis where no font can be measured; a wide one. */
export const LETTER = 6;
/** Least distance between two labels. */
const GAP = 6;

export interface FlowGeometry {
  readonly width: number;
  readonly height: number;
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
  /** Width of one point's column. */
  readonly column: number;
  readonly x: (point: number) => number;
  /** Clamped to the window: what lies below 1e−12 stands on its edge. */
  readonly y: (norm: number) => number;
  readonly decades: readonly number[];
  /** Labels that fit, with the middle of each: those at the edges are moved inwards. */
  readonly labels: ReadonlyMap<number, number>;
  readonly railAbove: number;
  readonly railBelow: number;
}

export interface FlowSize {
  readonly width: number;
  readonly height: number;
  /** Mean advance of the axis's letters. */
  readonly letter: number;
}

/** Labels of the points in `always` are placed before all others. */
export function flowGeometry(flow: Flow, { width, height, letter }: FlowSize, always: readonly number[]): FlowGeometry {
  const [left, right, top, bottom] = [MARGIN.left, width - MARGIN.right, MARGIN.top, height - MARGIN.bottom];
  const column = (right - left) / Math.max(1, flow.points.length);
  const { lowest, highest } = flow.decades;
  const x = (point: number): number => left + column * (point + 0.5);
  const share = (norm: number): number => (Math.log10(norm) - lowest) / (highest - lowest);
  return {
    width,
    height,
    left,
    right,
    top,
    bottom,
    column,
    x,
    y: (norm) => bottom - Math.min(1, Math.max(0, share(norm))) * (bottom - top),
    decades: decadesToLabel(lowest, highest),
    labels: labelsThatFit(flow.points.map((point) => shortLabel(point.label)), x, { column, width, letter, always }),
    railAbove: 8,
    railBelow: bottom + 11,
  };
}

/** Even ones, or every fourth of a long window. */
function decadesToLabel(lowest: number, highest: number): number[] {
  const every = highest - lowest > 12 ? 4 : 2;
  return Array.from({ length: highest - lowest + 1 }, (_, at) => lowest + at).filter((exponent) => exponent % every === 0);
}

interface LabelRoom {
  readonly column: number;
  readonly width: number;
  readonly letter: number;
  readonly always: readonly number[];
}

/** Those named in `always` first, then from the left, none touching another. */
function labelsThatFit(labels: readonly string[], x: (at: number) => number, { column, width, letter, always }: LabelRoom): Map<number, number> {
  const placed = new Map<number, number>();
  const half = (at: number): number => (labels[at]!.length * letter + GAP) / 2;
  for (const at of [...always.filter((one) => one in labels), ...everyFitting(labels, column, letter)]) {
    const middle = Math.max(half(at), Math.min(x(at), width - half(at) + GAP / 2));
    if (Array.from(placed).every(([other, where]) => Math.abs(where - middle) >= half(other) + half(at))) placed.set(at, middle);
  }
  return placed;
}

/** Names first, since they are what is no number of a block; then numbers at a regular distance. */
function everyFitting(labels: readonly string[], column: number, letter: number): number[] {
  const all = labels.map((_, at) => at);
  const isNumber = (at: number): boolean => /^[\d–]+$/.test(labels[at]!);
  const widest = Math.max(...all.filter(isNumber).map((at) => labels[at]!.length), 1) * letter + GAP;
  const every = Math.max(1, Math.ceil(widest / column));
  const first = all.findIndex((_, at) => isNumber(at));
  return [...all.filter((at) => !isNumber(at)), ...all.filter((at) => isNumber(at) && (at - first) % every === 0)];
}

/** Cut in the middle: the end tells siblings apart. */
export function shortLabel(label: string): string {
  return label.length <= 10 ? label : `${label.slice(0, 4)}…${label.slice(-5)}`;
}
