/**
 * The layered drawing of a graph: inputs at the top, the loss at the bottom. Each open group is laid out by itself and
 * then stands in its parent as one box, so boxes hold what is theirs and never meet, whatever a file says. Linear in rows and
 * wires but for lanes that lie side by side.
 */

import type { LayeredEdge } from "./graph_layered_edges";
import { BORDER, nestRows, WHOLE, type Nest, type Wire } from "./graph_layered_nest";
import { layerNest, placeChildren, type Extent, type Layers } from "./graph_layered_order";
import { endLayers, routeNest, type Routes } from "./graph_layered_route";
import type { GraphRow } from "./graph_rows";

/** A row that is drawn as a mark with its label on one side. `x`, `y`: its middle. */
export interface LayoutMark {
  readonly row: number;
  readonly key: string;
  readonly x: number;
  readonly y: number;
  readonly side: "left" | "right";
  /** Room for the label in px. */
  readonly room: number;
}

/** An open group. */
export interface LayoutBox {
  readonly row: number;
  readonly key: string;
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** A wire: from (x0, y0) straight to `bend0`, over to its lane or its end, from `bend1` straight to (x1, y1). */
export interface LayoutWire {
  readonly key: string;
  readonly x0: number;
  readonly y0: number;
  readonly bend0: number;
  /** NaN: it has none. */
  readonly lane: number;
  readonly bend1: number;
  readonly x1: number;
  readonly y1: number;
  /** Whether there are labels beside its ends: it bends between the rows, not along them. */
  readonly steep0: boolean;
  readonly steep1: boolean;
  readonly upper: number;
  /** Indices of the edges that it is a piece of. */
  readonly edges: readonly number[];
}

export interface Layout {
  readonly width: number;
  readonly height: number;
  /** In the order of rows. */
  readonly marks: readonly LayoutMark[];
  readonly boxes: readonly LayoutBox[];
  readonly wires: readonly LayoutWire[];
}

/** What the layout must know of a row that is drawn as a mark, or the title of one that is a box. */
export interface LayoutSize {
  readonly half: number;
  readonly label: number;
}

export const MARK_HEIGHT = 22;
const LAYER_GAP = 8;
const BOX_GAP = 18;
export const HEAD_HEIGHT = 20;
const BOX_PAD = 14;
const LABEL_GAP = 6;
const MARGIN = 16;
/** Room beside a lane for its number. */
const LANE_ROOM = 34;
/** How far a wire takes into its lane. */
const TURN = 26;

/** A group laid out about its own line (x 0), from its upper border (y 0). */
interface Arranged extends Extent {
  readonly nest: Nest;
  readonly layers: Layers;
  readonly x: ReadonlyMap<number, number>;
  readonly tops: readonly number[];
  readonly heights: readonly number[];
  readonly routes: Routes;
  readonly side: (child: number) => "left" | "right";
}

/** Lays out the rows and the edges between them. Equal for equal input. */
export function layOut(rows: readonly GraphRow[], edges: readonly LayeredEdge[], sizeOf: (row: number) => LayoutSize): Layout {
  const nests = nestRows(rows, edges);
  const arranged = new Map<number, Arranged>();
  // Groups stand behind the one they are in, so from the last to the first every group finds its own laid out.
  for (const row of [...nests.keys()].sort((a, b) => b - a)) arranged.set(row, arrange(nests.get(row)!, arranged, sizeOf));
  return collect(rows, arranged, sizeOf);
}

function arrange(nest: Nest, inner: ReadonlyMap<number, Arranged>, sizeOf: (row: number) => LayoutSize): Arranged {
  const bySide = (side: "left" | "right") => (child: number) => inner.get(child) ?? markExtent(sizeOf(child), side);
  // Labels are as wide on either side: layers do not depend on it.
  const layers = layerNest(nest, bySide("left"));
  const leftmost = new Set(layers.layers.map((layer) => layer[0]!));
  const side = (child: number): "left" | "right" => (leftmost.has(child) ? "left" : "right");
  const extent = (child: number): Extent => bySide(side(child))(child);
  const x = placeChildren(nest, layers, extent);
  const routes = routeNest(nest, layers, x, extent);
  const heights = layers.layers.map((layer) => layer.reduce((most, child) => Math.max(most, extent(child).height), 0));
  const tops = stack(heights, nest.row === WHOLE ? 0 : HEAD_HEIGHT + 4);
  return { nest, layers, x, tops, heights, routes, side, ...outline(nest, { layers, x, tops, heights, routes, extent }, sizeOf) };
}

function markExtent({ half, label }: LayoutSize, side: "left" | "right"): Extent {
  const beside = half + LABEL_GAP + label;
  return { left: side === "left" ? beside : half, right: side === "right" ? beside : half, height: MARK_HEIGHT, box: false, portIn: onLine, portOut: onLine };
}

function onLine(): number {
  return 0;
}

function stack(heights: readonly number[], first: number): number[] {
  const tops: number[] = [];
  heights.forEach((height, i) => {
    const above = heights[i - 1];
    const gap = above === undefined ? 0 : Math.max(above, height) > MARK_HEIGHT ? BOX_GAP : LAYER_GAP;
    tops.push(above === undefined ? first : tops[i - 1]! + above + gap);
  });
  return tops;
}

interface Inside {
  readonly layers: Layers;
  readonly x: ReadonlyMap<number, number>;
  readonly tops: readonly number[];
  readonly heights: readonly number[];
  readonly routes: Routes;
  readonly extent: (child: number) => Extent;
}

function outline(nest: Nest, inside: Inside, sizeOf: (row: number) => LayoutSize): Extent {
  const { x, tops, heights, routes, extent } = inside;
  const laneRoom = routes.lanes.size > 0 ? LANE_ROOM : 0;
  const title = nest.row === WHOLE ? 0 : sizeOf(nest.row).label;
  const left = Math.max(0, title + 14, routes.left > 0 ? routes.left + laneRoom : 0, ...nest.children.map((child) => extent(child).left - x.get(child)!));
  const right = Math.max(0, routes.right > 0 ? routes.right + laneRoom : 0, ...nest.children.map((child) => extent(child).right + x.get(child)!));
  const last = tops.length - 1;
  const bottom = last < 0 ? HEAD_HEIGHT : tops[last]! + heights[last]!;
  const [into, out] = [ports(nest, inside, "from"), ports(nest, inside, "to")];
  return {
    left: left + BOX_PAD,
    right: right + BOX_PAD,
    height: bottom + (nest.row === WHOLE ? 0 : 10),
    box: true,
    portIn: (value) => into.get(value) ?? 0,
    portOut: (value) => out.get(value) ?? 0,
  };
}

/** Where values cross the border: above what they enter first, or in their lane. */
function ports(nest: Nest, { layers, x, routes, extent }: Inside, border: "from" | "to"): ReadonlyMap<number, number> {
  const direct = new Map<number, number[]>();
  const found = new Map<number, number>();
  for (const wire of nest.wires) {
    if (wire[border] !== BORDER) continue;
    const [top, bottom] = endLayers(layers, wire);
    if (bottom - top > 1) found.set(wire.value, routes.lanes.get(wire.value)!);
    else {
      const child = border === "from" ? wire.to : wire.from;
      const at = x.get(child)! + (border === "from" ? extent(child).portIn(wire.value) : extent(child).portOut(wire.value));
      direct.set(wire.value, [...(direct.get(wire.value) ?? []), at]);
    }
  }
  direct.forEach((all, value) => found.set(value, all.reduce((sum, at) => sum + at, 0) / all.length));
  return found;
}

interface Collected {
  readonly marks: LayoutMark[];
  readonly boxes: LayoutBox[];
  readonly wires: LayoutWire[];
}

function collect(rows: readonly GraphRow[], arranged: ReadonlyMap<number, Arranged>, sizeOf: (row: number) => LayoutSize): Layout {
  const whole = arranged.get(WHOLE)!;
  const found: Collected = { marks: [], boxes: [], wires: [] };
  const waiting = [{ group: whole, x: whole.left + MARGIN, y: MARGIN }];
  for (let at = waiting.pop(); at; at = waiting.pop()) {
    const { group, x, y } = at;
    for (const child of group.nest.children) {
      const layer = group.layers.layerOf.get(child)!;
      const line = x + group.x.get(child)!;
      const middle = y + group.tops[layer]! + group.heights[layer]! / 2;
      const box = arranged.get(child);
      if (!box) {
        found.marks.push({ row: child, key: rows[child]!.key, x: line, y: middle, side: group.side(child), room: sizeOf(child).label });
        continue;
      }
      const top = middle - box.height / 2;
      found.boxes.push({ row: child, key: rows[child]!.key, x: line - box.left, y: top, width: box.left + box.right, height: box.height });
      waiting.push({ group: box, x: line, y: top });
    }
    for (const wire of group.nest.wires) found.wires.push(drawWire(group, arranged, wire, x, y));
  }
  found.marks.sort((a, b) => a.row - b.row);
  found.boxes.sort((a, b) => a.row - b.row);
  return { width: whole.left + whole.right + 2 * MARGIN, height: whole.height + 2 * MARGIN, ...found };
}

interface End {
  readonly x: number;
  readonly y: number;
  /** How far from its layer's edge the wire may bend. */
  readonly bend: number;
}

function drawWire(group: Arranged, arranged: ReadonlyMap<number, Arranged>, wire: Wire, x: number, y: number): LayoutWire {
  const [top, bottom] = endLayers(group.layers, wire);
  const from = endOf(group, arranged, wire, "from");
  const to = endOf(group, arranged, wire, "to");
  const passes = bottom - top > 1;
  const lane = passes ? x + group.routes.lanes.get(wire.value)! : Number.NaN;
  const { value, edges } = wire;
  return {
    key: `${group.nest.row} ${value} ${wire.to}`,
    x0: x + from.x,
    y0: y + from.y,
    bend0: y + from.bend,
    lane,
    bend1: y + to.bend,
    x1: x + to.x,
    y1: y + to.y,
    steep0: (group.layers.layers[top]?.length ?? 0) > 1,
    steep1: (group.layers.layers[bottom]?.length ?? 0) > 1,
    upper: value,
    edges,
  };
}

function endOf(group: Arranged, arranged: ReadonlyMap<number, Arranged>, wire: Wire, end: "from" | "to"): End {
  const child = wire[end];
  const upper = end === "from";
  if (child === BORDER) {
    const at = upper ? { x: group.portIn(wire.value), y: 0 } : { x: group.portOut(wire.value), y: group.height };
    return { ...at, bend: at.y };
  }
  const layer = group.layers.layerOf.get(child)!;
  const [top, height] = [group.tops[layer]!, group.heights[layer]!];
  const middle = top + height / 2;
  const line = group.x.get(child)!;
  const box = arranged.get(child);
  const y = middle + (box ? (box.height / 2) * (upper ? 1 : -1) : 0);
  const inset = box ? 0 : MARK_HEIGHT / 2;
  const bend = upper ? top + height - inset : top + inset;
  return { x: line + (box ? (upper ? box.portOut(wire.value) : box.portIn(wire.value)) : 0), y, bend };
}

/** The path of a wire: vertical where it crosses a border, so that pieces join smoothly. */
export function wirePath({ x0, y0, bend0, lane, bend1, x1, y1, steep0, steep1 }: LayoutWire): string {
  const start = `M${round(x0)} ${round(y0)}${bend0 > y0 ? `V${round(bend0)}` : ""}`;
  const end = bend1 < y1 ? `V${round(y1)}` : "";
  if (Number.isNaN(lane)) return start + curve([x0, bend0], [x1, bend1]) + end;
  const turn = Math.min(TURN, (bend1 - bend0) * 0.45);
  const [top, bottom] = [bend0 + turn, bend1 - turn];
  const into = steep0 ? curve([x0, bend0], [lane, top]) : through(lane, [bend0 + turn * 0.3, bend0 + turn * 0.4], [lane, top]);
  const outOf = steep1 ? curve([lane, bottom], [x1, bend1]) : through(lane, [bend1 - turn * 0.4, bend1 - turn * 0.3], [x1, bend1]);
  return `${start}${into}V${round(bottom)}${outOf}${end}`;
}

type Place = readonly [x: number, y: number];

/** Straight down at both ends. */
function curve([x0, y0]: Place, [x1, y1]: Place): string {
  if (Math.abs(x0 - x1) < 0.5) return `V${round(y1)}`;
  const middle = round((y0 + y1) / 2);
  return `C${round(x0)} ${middle} ${round(x1)} ${middle} ${round(x1)} ${round(y1)}`;
}

/** Leaves its node at once, as what branches off, and runs in its lane. */
function through(lane: number, [first, second]: Place, [x, y]: Place): string {
  return `C${round(lane)} ${round(first)} ${round(lane)} ${round(second)} ${round(x)} ${round(y)}`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
