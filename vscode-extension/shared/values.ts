/** Windows of a tensor's values: what to ask for, where keys lead, what came, and how it is written. */

import { numbers, parseAnswer } from "./answer";
import type { ValuesRequest } from "./messages";
import type { Subject, Values } from "./session";

/** The debuggee answers no more values than this at once. */
export const MOST_VALUES = 4096;
const SMALLEST_CELL = 8;
const LARGEST_CELL = 22;

/** Reads the answer to `values`. Throws an Error whose message can be shown. */
export function parseValues(text: string): Values {
  const answer = parseAnswer(text);
  if (answer.kind === "Values") return answer.value;
  if (answer.kind === "Failure") throw new Error(answer.value.message);
  throw new Error(`The debuggee answered ${answer.kind} where Values was asked for.`);
}

/** How many cells are drawn, and their pitch in px. */
export interface Cells {
  readonly size: number;
  readonly rows: number;
  readonly columns: number;
}

/** The corner of the window: leading indices, and where the last two dimensions begin. */
export interface Place {
  readonly index: readonly number[];
  readonly row: number;
  readonly column: number;
}

/** One value, by its place in the last two dimensions. A vector has the row 0. */
export interface Cursor {
  readonly row: number;
  readonly column: number;
}

/** The last two dimensions; a vector is one row, a scalar one value. */
export function planeOf(shape: readonly number[]): { readonly rows: number; readonly columns: number } {
  return { rows: shape.length > 1 ? (shape.at(-2) ?? 1) : 1, columns: shape.at(-1) ?? 1 };
}

/** The dimensions that a slice fixes. */
export function leadingOf(shape: readonly number[]): readonly number[] {
  return shape.slice(0, Math.max(0, shape.length - 2));
}

/** True where one long row is drawn over several lines. */
export function wraps(shape: readonly number[]): boolean {
  return shape.length === 1;
}

/** The start of a tensor. */
export function firstPlace(shape: readonly number[]): Place {
  return { index: leadingOf(shape).map(() => 0), row: 0, column: 0 };
}

/** Cells for an area: as large as all values allow, never under 8 px, never more than one answer holds. */
export function fitCells(shape: readonly number[], width: number, height: number): Cells {
  const { rows, columns } = planeOf(shape);
  for (let size = LARGEST_CELL; size > SMALLEST_CELL; size--) {
    const across = Math.max(1, Math.floor(width / size));
    const down = Math.max(1, Math.floor(height / size));
    const fits = wraps(shape) ? columns <= across * down : columns <= across && rows <= down;
    if (fits) return bounded(shape, { size, columns: across, rows: down });
  }
  const size = SMALLEST_CELL;
  return bounded(shape, {
    size,
    columns: Math.max(1, Math.floor(width / size)),
    rows: Math.max(1, Math.floor(height / size)),
  });
}

function bounded(shape: readonly number[], cells: Cells): Cells {
  const { rows, columns } = planeOf(shape);
  const across = Math.max(1, Math.min(cells.columns, columns, MOST_VALUES));
  const down = wraps(shape) ? Math.ceil(columns / across) : rows;
  return {
    size: cells.size,
    columns: across,
    rows: Math.max(1, Math.min(cells.rows, down, Math.floor(MOST_VALUES / across))),
  };
}

/** The corner moved back inside the tensor, so that the window is as full as it can be. */
export function clampPlace(shape: readonly number[], cells: Cells, place: Place): Place {
  const { rows, columns } = planeOf(shape);
  const leading = leadingOf(shape);
  const index = leading.map((size, i) => clamp(place.index[i] ?? 0, 0, size - 1));
  if (!wraps(shape)) {
    return { index, row: clamp(place.row, 0, rows - cells.rows), column: clamp(place.column, 0, columns - cells.columns) };
  }
  const lines = Math.ceil(columns / cells.columns);
  const line = clamp(Math.floor(place.column / cells.columns), 0, lines - cells.rows);
  return { index, row: 0, column: line * cells.columns };
}

function clamp(value: number, low: number, high: number): number {
  return Math.max(low, Math.min(value, Math.max(low, high)));
}

/** What to ask for a window. */
export function windowRequest(subject: Subject, shape: readonly number[], cells: Cells, place: Place): ValuesRequest {
  const { rows, columns } = planeOf(shape);
  const long = wraps(shape);
  return {
    subject,
    index: place.index,
    row: place.row,
    column: place.column,
    rows: long ? 1 : Math.min(cells.rows, rows - place.row),
    columns: Math.min(long ? cells.rows * cells.columns : cells.columns, columns - place.column),
    findNonFinite: false,
  };
}

export type Direction = "up" | "down" | "left" | "right" | "pageUp" | "pageDown" | "rowStart" | "rowEnd" | "start" | "end";

/** Where a key takes the cursor; it stays inside the tensor. */
export function moveCursor(shape: readonly number[], cells: Cells, cursor: Cursor, direction: Direction): Cursor {
  return wraps(shape) ? moveAlong(shape, cells, cursor, direction) : moveOver(shape, cells, cursor, direction);
}

function moveOver(shape: readonly number[], cells: Cells, { row, column }: Cursor, direction: Direction): Cursor {
  const plane = planeOf(shape);
  const moved: Record<Direction, Cursor> = {
    up: { row: row - 1, column },
    down: { row: row + 1, column },
    left: { row, column: column - 1 },
    right: { row, column: column + 1 },
    pageUp: { row: row - cells.rows, column },
    pageDown: { row: row + cells.rows, column },
    rowStart: { row, column: 0 },
    rowEnd: { row, column: plane.columns - 1 },
    start: { row: 0, column: 0 },
    end: { row: plane.rows - 1, column: plane.columns - 1 },
  };
  const to = moved[direction];
  return { row: clamp(to.row, 0, plane.rows - 1), column: clamp(to.column, 0, plane.columns - 1) };
}

function moveAlong(shape: readonly number[], cells: Cells, { column }: Cursor, direction: Direction): Cursor {
  const last = planeOf(shape).columns - 1;
  const across = cells.columns;
  const line = Math.floor(column / across) * across;
  const moved: Record<Direction, number> = {
    up: column - across,
    down: column + across,
    left: column - 1,
    right: column + 1,
    pageUp: column - across * cells.rows,
    pageDown: column + across * cells.rows,
    rowStart: line,
    rowEnd: line + across - 1,
    start: 0,
    end: last,
  };
  const to = moved[direction];
  const stays = (to < 0 || to > last) && (direction === "up" || direction === "down");
  return { row: 0, column: stays ? column : clamp(to, 0, last) };
}

/** The corner that shows the cursor: the same where it is inside, else moved by half a window or more. */
export function placeFor(shape: readonly number[], cells: Cells, place: Place, cursor: Cursor): Place {
  if (wraps(shape)) {
    const line = Math.floor(cursor.column / cells.columns);
    const first = Math.floor(place.column / cells.columns);
    return clampPlace(shape, cells, { ...place, column: scrolled(first, cells.rows, line) * cells.columns });
  }
  return clampPlace(shape, cells, {
    index: place.index,
    row: scrolled(place.row, cells.rows, cursor.row),
    column: scrolled(place.column, cells.columns, cursor.column),
  });
}

function scrolled(first: number, count: number, at: number): number {
  const half = Math.floor(count / 2);
  if (at < first) return Math.max(0, at - half);
  return at >= first + count ? at - Math.max(0, count - 1 - half) : first;
}

/** Corner and cursor for a full index. */
export function placeOfIndex(shape: readonly number[], cells: Cells, full: readonly number[]): { place: Place; cursor: Cursor } {
  const cursor = { row: shape.length > 1 ? (full.at(-2) ?? 0) : 0, column: full.at(-1) ?? 0 };
  const start = { index: full.slice(0, leadingOf(shape).length), row: 0, column: 0 };
  return { place: placeFor(shape, cells, start, cursor), cursor };
}

/** The values that came, with their largest finite magnitude and how many are not finite. */
export interface Window {
  readonly values: Values;
  readonly numbers: ArrayLike<number>;
  readonly limit: number;
  readonly nonFinite: number;
}

/** Reads the column of an answer once. */
export function readWindow(values: Values): Window {
  const column = numbers(values.values);
  let limit = 0;
  let nonFinite = 0;
  for (const value of column) {
    if (!Number.isFinite(value)) nonFinite++;
    else if (Math.abs(value) > limit) limit = Math.abs(value);
  }
  return { values, numbers: column, limit, nonFinite };
}

/** The value at a place, undefined where the window does not hold it. */
export function valueAt(window: Window, index: readonly number[], cursor: Cursor): number | undefined {
  const { values } = window;
  if (index.some((at, i) => at !== values.index[i])) return undefined;
  const row = cursor.row - values.row;
  const column = cursor.column - values.column;
  if (row < 0 || column < 0 || row >= values.rows || column >= values.columns) return undefined;
  return window.numbers[row * values.columns + column];
}

/** The ends of the legend over one shared exponent: −8.9, +8.9 and ×1e−5 ("" for ×1). */
export interface LegendEnds {
  readonly low: string;
  readonly high: string;
  readonly exponent: string;
}

/** Legend texts of a symmetric scale. */
export function legendEnds(limit: number): LegendEnds {
  const [mantissa = "0", exponent = "0"] = limit.toExponential(1).split("e");
  const power = exponent.replace("+", "").replace("-", "−");
  return { low: `−${mantissa}`, high: `+${mantissa}`, exponent: power === "0" ? "" : `×1e${power}` };
}

/** Dtypes that a float32 cannot hold exactly. */
const WIDER: ReadonlySet<string> = new Set(["float64", "int64", "int32", "uint32", "uint64"]);

/** True where values came rounded to float32. */
export function isRounded(dtype: string): boolean {
  return WIDER.has(dtype);
}

/** A value with every digit that its float32 has, "NaN", "Inf" and "−Inf" in words. */
export function exactText(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "Inf" : "−Inf";
  const exact = shortest(value);
  const size = Math.abs(exact);
  return minus(size > 0 && (size < 1e-3 || size >= 1e9) ? exact.toExponential() : String(exact));
}

/** The number of fewest digits that a float32 reads as the same value. */
function shortest(value: number): number {
  for (let digits = 6; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return Number(value.toPrecision(9));
}

function minus(text: string): string {
  return text.replace(/-/g, "−").replace("e+", "e");
}

/** A slice as it is written: [3, 0, 0:6, 0:27]. */
export function sliceText(shape: readonly number[], cells: Cells, place: Place): string {
  const { rows, columns } = planeOf(shape);
  const span = (first: number, count: number, size: number): string => `${first}:${Math.min(size, first + count)}`;
  const parts = place.index.map(String);
  if (shape.length > 1) parts.push(span(place.row, cells.rows, rows));
  if (shape.length > 0) parts.push(span(place.column, wraps(shape) ? cells.rows * cells.columns : cells.columns, columns));
  return `[${parts.join(", ")}]`;
}

/** An index as it is written: [3, 0, 37, 0]. */
export function indexText(shape: readonly number[], index: readonly number[], cursor: Cursor): string {
  const last = shape.length > 1 ? [cursor.row, cursor.column] : shape.length === 1 ? [cursor.column] : [];
  return `[${[...index, ...last].join(", ")}]`;
}
