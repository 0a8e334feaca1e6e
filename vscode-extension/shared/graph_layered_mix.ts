/** Positions between two layouts, for the moment after something was opened or closed. */

import type { Layout, LayoutBox, LayoutMark, LayoutWire } from "./graph_layered_layout";
import type { GraphRow } from "./graph_rows";

/** A layout with the rows that it is of. */
export interface RowsLayout {
  readonly rows: readonly GraphRow[];
  readonly layout: Layout;
}

interface Point {
  readonly x: number;
  readonly y: number;
}

/** `share` 0 is where things were, 1 where they are. What is new comes from what stood for it before. */
export function mixLayouts(before: RowsLayout, after: RowsLayout, share: number): Layout {
  if (share >= 1) return after.layout;
  const origin = origins(before);
  const from = (row: number): Point | null => origin(after.rows[row]!);
  const mix = (a: number, b: number): number => a + (b - a) * share;
  const wires = new Map(before.layout.wires.map((wire) => [wireKey(before.rows, wire), wire]));
  return {
    ...after.layout,
    marks: after.layout.marks.map((mark) => mixPoint(mark, from(mark.row), mix)),
    boxes: after.layout.boxes.map((box) => mixBox(box, before, from(box.row), mix)),
    wires: after.layout.wires.map((wire) => mixWire(wire, wires.get(wireKey(after.rows, wire)), mix)),
  };
}

/** Rows are numbered anew with each layout; their keys stay. */
function wireKey(rows: readonly GraphRow[], { key }: LayoutWire): string {
  return key
    .split(" ")
    .map((row) => rows[Number(row)]?.key ?? "")
    .join(" ");
}

type Mix = (a: number, b: number) => number;

function mixPoint(mark: LayoutMark, from: Point | null, mix: Mix): LayoutMark {
  return from ? { ...mark, x: mix(from.x, mark.x), y: mix(from.y, mark.y) } : mark;
}

function mixBox(box: LayoutBox, before: RowsLayout, from: Point | null, mix: Mix): LayoutBox {
  const known = before.layout.boxes.find((one) => one.key === box.key);
  const was = known ?? (from && { x: from.x, y: from.y, width: 0, height: 0 });
  if (!was) return box;
  return { ...box, x: mix(was.x, box.x), y: mix(was.y, box.y), width: mix(was.width, box.width), height: mix(was.height, box.height) };
}

function mixWire(wire: LayoutWire, was: LayoutWire | undefined, mix: Mix): LayoutWire {
  if (!was || Number.isNaN(was.lane) !== Number.isNaN(wire.lane)) return wire;
  const at = (name: "x0" | "y0" | "bend0" | "lane" | "bend1" | "x1" | "y1"): number => mix(was[name], wire[name]);
  return { ...wire, x0: at("x0"), y0: at("y0"), bend0: at("bend0"), lane: at("lane"), bend1: at("bend1"), x1: at("x1"), y1: at("y1") };
}

/** Where a row was drawn, or what stood for its first position. */
function origins({ rows, layout }: RowsLayout): (row: GraphRow) => Point | null {
  const byKey = new Map<string, Point>(layout.boxes.map((box) => [box.key, { x: box.x + box.width / 2, y: box.y }]));
  for (const mark of layout.marks) byKey.set(mark.key, mark);
  const spans = layout.marks.map((mark) => ({ mark, row: rows[mark.row]! })).sort((a, b) => a.row.start - b.row.start);
  return (row) => byKey.get(row.key) ?? holding(spans, row.start);
}

function holding(spans: readonly { readonly mark: LayoutMark; readonly row: GraphRow }[], position: number): Point | null {
  let [low, high] = [0, spans.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (spans[middle]!.row.end <= position) low = middle + 1;
    else high = middle;
  }
  return spans[low]?.mark ?? null;
}

/**
 * How far the drawing moved under a row, or under what is nearest to a point: what the user looks at stays where it is.
 */
export function shiftBetween(before: RowsLayout, after: RowsLayout, key: string | null, at: Point): Point {
  const row = before.rows.find((one) => one.key === key) ?? nearest(after, before, at);
  const [was, is] = row ? [origins(before)(row), origins(after)(row)] : [null, null];
  return was && is ? { x: is.x - was.x, y: is.y - was.y } : { x: 0, y: 0 };
}

function nearest(after: RowsLayout, before: RowsLayout, at: Point): GraphRow | undefined {
  const far = (mark: LayoutMark): number => Math.abs(mark.y - at.y) + Math.abs(mark.x - at.x) / 4;
  const [first] = before.layout.marks.filter((mark) => after.rows.some(({ key }) => key === mark.key)).sort((a, b) => far(a) - far(b));
  return first && before.rows[first.row];
}

/** Slows down towards the end. */
export function easeOut(share: number): number {
  return 1 - (1 - share) ** 3;
}
