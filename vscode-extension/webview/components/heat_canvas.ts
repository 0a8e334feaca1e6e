/** Draws a window of values as cells. */

import { valueAt, wraps, type Cells, type Cursor, type Place, type Window } from "../../shared/values";
import type { HeatColours } from "./heat_colours";

export interface HeatDrawing {
  readonly shape: readonly number[];
  readonly cells: Cells;
  readonly place: Place;
  readonly window: Window | null;
  readonly limit: number;
  readonly cursor: Cursor | null;
}

/** Draws in device pixels, so that gaps are even at every zoom. */
export function drawHeat(canvas: HTMLCanvasElement, drawing: HeatDrawing, colours: HeatColours): void {
  const { cells } = drawing;
  const pitch = cells.size * devicePixelRatio;
  canvas.width = Math.round(cells.columns * pitch);
  canvas.height = Math.round(cells.rows * pitch);
  const context = canvas.getContext("2d");
  if (!context) return;
  context.clearRect(0, 0, canvas.width, canvas.height);
  for (let y = 0; y < cells.rows; y++) {
    for (let x = 0; x < cells.columns; x++) drawCell(context, drawing, colours, { x, y, pitch });
  }
}

interface Spot {
  readonly x: number;
  readonly y: number;
  readonly pitch: number;
}

function drawCell(context: CanvasRenderingContext2D, drawing: HeatDrawing, colours: HeatColours, spot: Spot): void {
  const cell = cursorAt(drawing, spot.x, spot.y);
  if (!cell) return;
  const value = drawing.window ? valueAt(drawing.window, drawing.place.index, cell) : undefined;
  const left = Math.round(spot.x * spot.pitch);
  const top = Math.round(spot.y * spot.pitch);
  const gap = Math.max(1, Math.round(0.6 * devicePixelRatio));
  const size = Math.round((spot.x + 1) * spot.pitch) - left - gap;
  const height = Math.round((spot.y + 1) * spot.pitch) - top - gap;
  if (value === undefined) fill(context, colours.empty, 0.4, [left, top, size, height]);
  else if (Number.isFinite(value)) fill(context, colours.scale.colour(value, drawing.limit), 1, [left, top, size, height]);
  else drawNotFinite(context, colours.notFinite, Number.isNaN(value), { left, top, size });
  const { cursor } = drawing;
  if (cursor && cursor.row === cell.row && cursor.column === cell.column) outline(context, colours, { left, top, size });
}

function fill(context: CanvasRenderingContext2D, colour: string, alpha: number, box: [number, number, number, number]): void {
  context.globalAlpha = alpha;
  context.fillStyle = colour;
  context.fillRect(...box);
  context.globalAlpha = 1;
}

interface Square {
  readonly left: number;
  readonly top: number;
  readonly size: number;
}

/** The glyphs' shapes: a diamond for NaN, a bow tie for Inf, on bare ground. */
function drawNotFinite(context: CanvasRenderingContext2D, colour: string, isNaN: boolean, { left, top, size }: Square): void {
  const half = size / 2;
  const points = isNaN
    ? [half, 0, size, half, half, size, 0, half]
    : [0, 0.1 * size, half, half, 0, 0.9 * size, size, 0.9 * size, half, half, size, 0.1 * size];
  context.fillStyle = colour;
  context.beginPath();
  for (let i = 0; i < points.length; i += 2) context.lineTo(left + (points[i] ?? 0), top + (points[i + 1] ?? 0));
  context.closePath();
  context.fill();
}

/** Two lines, so that it stands out on every cell. */
function outline(context: CanvasRenderingContext2D, colours: HeatColours, { left, top, size }: Square): void {
  const line = Math.max(1, Math.round(devicePixelRatio));
  context.lineWidth = line;
  context.strokeStyle = colours.background;
  context.strokeRect(left + 1.5 * line, top + 1.5 * line, size - 3 * line, size - 3 * line);
  context.strokeStyle = colours.foreground;
  context.strokeRect(left + line / 2, top + line / 2, size - line, size - line);
}

/** Which value a cell shows; null beyond the tensor's end. */
export function cursorAt(drawing: Pick<HeatDrawing, "shape" | "cells" | "place">, x: number, y: number): Cursor | null {
  const { shape, cells, place } = drawing;
  if (x < 0 || y < 0 || x >= cells.columns || y >= cells.rows) return null;
  if (!wraps(shape)) return { row: place.row + y, column: place.column + x };
  const column = place.column + y * cells.columns + x;
  return column < (shape[0] ?? 0) ? { row: 0, column } : null;
}
