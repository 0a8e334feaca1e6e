/** The nesting of a layered drawing: what stands in each open group, and the wires that run through it. */

import type { LayeredEdge } from "./graph_layered_edges";
import type { GraphRow } from "./graph_rows";

/** The end of a wire at its group's border. */
export const BORDER = -1;
/** The row of the nest that is the whole graph. */
export const WHOLE = -1;

/**
 * A piece of one or more edges inside one group: between two of its children, or a child and the border. All edges of a
 * wire leave the same upper row.
 */
export interface Wire {
  readonly value: number;
  readonly from: number;
  readonly to: number;
  /** Indices of the edges. */
  readonly edges: number[];
}

export interface Nest {
  readonly row: number;
  readonly children: number[];
  readonly wires: Wire[];
}

interface Draft extends Nest {
  readonly known: Map<number, Wire>;
}

/** One nest for each open row and one for the whole graph, by row. */
export function nestRows(rows: readonly GraphRow[], edges: readonly LayeredEdge[]): ReadonlyMap<number, Nest> {
  const nests = new Map<number, Draft>([[WHOLE, emptyNest(WHOLE)]]);
  rows.forEach((row, index) => {
    if (row.kind === "open") nests.set(index, emptyNest(index));
    nests.get(row.parent)!.children.push(index);
  });
  edges.forEach((_, index) => addEdge(rows, nests, edges, index));
  return nests;
}

function emptyNest(row: number): Draft {
  return { row, children: [], wires: [], known: new Map() };
}

/** Out of every group around its upper row, across the group that both stand in, and into those around the lower. */
function addEdge(rows: readonly GraphRow[], nests: ReadonlyMap<number, Draft>, edges: readonly LayeredEdge[], index: number): void {
  const { upper, lower } = edges[index]!;
  const add = (at: number, from: number, to: number): void => addWire(nests.get(at)!, rows.length, { value: upper, from, to, edges: [index] });
  const around = commonParent(rows, upper, lower);
  let from = upper;
  for (; rows[from]!.parent !== around; from = rows[from]!.parent) add(rows[from]!.parent, from, BORDER);
  let to = lower;
  for (; rows[to]!.parent !== around; to = rows[to]!.parent) add(rows[to]!.parent, BORDER, to);
  add(around, from, to);
}

function addWire(nest: Draft, size: number, wire: Wire): void {
  const key = wire.value * (size + 1) + wire.to + 1;
  const known = nest.known.get(key);
  if (known) known.edges.push(...wire.edges);
  else {
    nest.known.set(key, wire);
    nest.wires.push(wire);
  }
}

function commonParent(rows: readonly GraphRow[], a: number, b: number): number {
  let [x, y] = [rows[a]!.parent, rows[b]!.parent];
  while (x !== y) {
    const [dx, dy] = [depth(rows, x), depth(rows, y)];
    if (dx >= dy) x = rows[x]!.parent;
    if (dy >= dx) y = rows[y]!.parent;
  }
  return x;
}

function depth(rows: readonly GraphRow[], row: number): number {
  return row === WHOLE ? 0 : rows[row]!.level;
}
