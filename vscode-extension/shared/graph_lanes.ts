/**
 * Lanes beside the rows: every edge between two visible rows is either a link of the spine (to the next row) or a
 * lane that leaves the spine and comes back. Edges of one end share a lane. What finds no free lane is bundled in
 * one more, so the width is bounded.
 */

import { FIRED, IDLE, RUNNING, type GraphModel } from "./graph_model";
import type { GraphRows } from "./graph_rows";

/** How far gradient has come along an edge, the word that matters most last. */
export const FLOWS = ["passed", "pending", "running", "on path"] as const;
export type Flow = number;
const [PASSED, WAITING, ARRIVING, ON_PATH] = [0, 1, 2, 3] as const;

/** Edges of the graph that join the same two rows. Gradient flows from the lower row to the upper one. */
export interface RowEdge {
  readonly upper: number;
  readonly lower: number;
  count: number;
  flow: Flow;
}

/** Edges that share a lane: from `apex` to each of `ends`, all above it or all below it, nearest first. */
export interface Net {
  readonly apex: number;
  readonly below: boolean;
  readonly ends: readonly RowEdge[];
  readonly top: number;
  readonly bottom: number;
  /** 1 is next to the spine. */
  readonly lane: number;
}

export interface Lanes {
  /** The edge from each row to the next one that has a mark, null where there is none. */
  readonly spine: readonly (RowEdge | null)[];
  readonly nets: readonly Net[];
  /** Lanes in use, the bundle included. */
  readonly count: number;
  /** The lane that overlapping nets share, 0 when all found one of their own. */
  readonly bundle: number;
}

/** Lays out the edges between rows in at most `most` lanes and a bundle. */
export function layOutLanes(rows: GraphRows, most: number): Lanes {
  const mark = marks(rows);
  const spine: (RowEdge | null)[] = rows.rows.map(() => null);
  const skips: RowEdge[] = [];
  for (const edge of rowEdges(rows)) {
    if (mark[edge.lower]! - mark[edge.upper]! === 1) spine[edge.upper] = edge;
    else skips.push(edge);
  }
  return { spine, ...placeNets(netsOf(skips), most) };
}

/** Counts the rows with a mark; headings have none. */
function marks({ rows }: GraphRows): Int32Array {
  let count = 0;
  return Int32Array.from(rows, (row) => (row.kind === "open" ? -1 : count++));
}

function rowEdges(rows: GraphRows): Iterable<RowEdge> {
  const { tree, rowOf } = rows;
  const found = new Map<number, RowEdge>();
  const size = rows.rows.length;
  const node = tree.order.node;
  for (const { edges } of tree.groups) {
    for (let i = 0; i < edges.length; i += 2) {
      const [source, target] = [edges[i]!, edges[i + 1]!];
      const [a, b] = [rowOf[source]!, rowOf[target]!];
      if (a === b) continue;
      const [upper, lower] = a < b ? [a, b] : [b, a];
      const flow = flowOf(tree.model, node[source]!, node[target]!);
      const known = found.get(upper * size + lower);
      if (known) {
        known.count++;
        known.flow = Math.max(known.flow, flow);
      } else found.set(upper * size + lower, { upper, lower, count: 1, flow });
    }
  }
  return found.values();
}

/** How far gradient has come along the edge between two nodes. */
export function flowOf({ state, gradients }: GraphModel, source: number, target: number): Flow {
  if (gradients.trouble[source]! > 0 && gradients.trouble[target] === 1) return ON_PATH;
  if (state[target] === RUNNING) return ARRIVING;
  return state[source] === FIRED || state[source] === IDLE ? PASSED : WAITING;
}

type Unplaced = Omit<Net, "lane">;

/** Each edge joins the net of that of its ends which has more of them: one output used often, or one node of many inputs. */
function netsOf(edges: readonly RowEdge[]): Unplaced[] {
  const [ofUpper, ofLower] = [degrees(edges, "upper"), degrees(edges, "lower")];
  const below = new Map<number, RowEdge[]>();
  const above = new Map<number, RowEdge[]>();
  for (const edge of edges) {
    const fansOut = ofUpper.get(edge.upper)! >= ofLower.get(edge.lower)!;
    push(fansOut ? below : above, fansOut ? edge.upper : edge.lower, edge);
  }
  return [...[...below].map(([apex, ends]) => netBelow(apex, ends)), ...[...above].map(([apex, ends]) => netAbove(apex, ends))];
}

function degrees(edges: readonly RowEdge[], end: "upper" | "lower"): Map<number, number> {
  const found = new Map<number, number>();
  for (const edge of edges) found.set(edge[end], (found.get(edge[end]) ?? 0) + 1);
  return found;
}

function push(lists: Map<number, RowEdge[]>, key: number, edge: RowEdge): void {
  const list = lists.get(key);
  if (list) list.push(edge);
  else lists.set(key, [edge]);
}

function netBelow(apex: number, ends: RowEdge[]): Unplaced {
  ends.sort((a, b) => a.lower - b.lower);
  return { apex, below: true, ends, top: apex, bottom: ends[ends.length - 1]!.lower };
}

function netAbove(apex: number, ends: RowEdge[]): Unplaced {
  ends.sort((a, b) => b.upper - a.upper);
  return { apex, below: false, ends, top: ends[ends.length - 1]!.upper, bottom: apex };
}

/** Shortest first, so that a long skip runs outside the short ones it passes, whatever else is opened or closed. */
function placeNets(unplaced: Unplaced[], most: number): Pick<Lanes, "nets" | "count" | "bundle"> {
  unplaced.sort((a, b) => a.bottom - a.top - (b.bottom - b.top) || a.top - b.top);
  const taken = Array.from({ length: most }, () => new Intervals());
  const free = unplaced.map(({ top, bottom }) => taken.findIndex((lane) => lane.add(top, bottom)) + 1);
  const used = free.reduce((widest, lane) => Math.max(widest, lane), 0);
  const bundle = free.includes(0) ? used + 1 : 0;
  const nets = unplaced.map((net, i) => ({ ...net, lane: free[i] || bundle }));
  return { nets, count: bundle || used, bundle };
}

/** Disjoint spans of one lane. Two may meet in a row: one ends there, the other begins. */
class Intervals {
  private readonly tops: number[] = [];
  private readonly bottoms: number[] = [];

  /** False, and nothing added, where the span overlaps one that is there. */
  add(top: number, bottom: number): boolean {
    let [low, high] = [0, this.tops.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.tops[middle]! < top) low = middle + 1;
      else high = middle;
    }
    if ((this.bottoms[low - 1] ?? -1) > top || (this.tops[low] ?? Infinity) < bottom) return false;
    this.tops.splice(low, 0, top);
    this.bottoms.splice(low, 0, bottom);
    return true;
  }
}

/** A straight piece of a lane between two rows. At an end of its lane it begins or ends in the branch's curve. */
export interface Trunk {
  readonly lane: number;
  readonly top: number;
  readonly bottom: number;
  readonly topEnd: boolean;
  readonly bottomEnd: boolean;
  readonly count: number;
  readonly flow: Flow;
}

/** The curve from a row's mark to a lane, which goes on downwards or upwards from there. */
export interface Branch {
  readonly lane: number;
  readonly row: number;
  readonly down: boolean;
  readonly count: number;
  readonly flow: Flow;
}

/** What of the lanes can be seen between two rows. */
export interface LanePieces {
  readonly trunks: readonly Trunk[];
  readonly branches: readonly Branch[];
}

/** Cuts the lanes to the rows `first` to `last`: as many pieces as there are rows and lanes, not as edges. */
export function piecesBetween(lanes: Lanes, first: number, last: number): LanePieces {
  const trunks: Trunk[] = [];
  const branches = new Map<number, Branch>();
  for (const net of lanes.nets) {
    if (net.bottom < first || net.top > last) continue;
    cutNet(net, [first, last], trunks, branches);
  }
  return { trunks: merged(trunks, lanes.bundle), branches: [...branches.values()] };
}

function cutNet(net: Net, [first, last]: [number, number], trunks: Trunk[], branches: Map<number, Branch>): void {
  const { lane, below, apex, ends } = net;
  let flow: Flow = PASSED;
  let count = 0;
  for (let i = ends.length - 1; i >= 0; i--) {
    const edge = ends[i]!;
    const row = below ? edge.lower : edge.upper;
    const nearer = i > 0 ? (below ? ends[i - 1]!.lower : ends[i - 1]!.upper) : apex;
    flow = Math.max(flow, edge.flow);
    count += edge.count;
    addBranch(branches, { lane, row, down: !below, count: edge.count, flow: edge.flow }, first, last);
    const [top, bottom] = below ? [nearer, row] : [row, nearer];
    const atEnd = { topEnd: top === net.top, bottomEnd: bottom === net.bottom };
    if (bottom >= first && top <= last) trunks.push({ lane, top, bottom, ...atEnd, count, flow });
  }
  addBranch(branches, { lane, row: apex, down: below, count, flow }, first, last);
}

function addBranch(branches: Map<number, Branch>, branch: Branch, first: number, last: number): void {
  if (branch.row < first || branch.row > last) return;
  const key = (branch.row * 16 + branch.lane) * 2 + (branch.down ? 1 : 0);
  const known = branches.get(key);
  const joined = known && { ...known, count: known.count + branch.count, flow: Math.max(known.flow, branch.flow) };
  branches.set(key, joined ?? branch);
}

/** In the bundle pieces lie over one another: where they overlap they are one. */
function merged(trunks: readonly Trunk[], bundle: number): Trunk[] {
  const alone = trunks.filter((trunk) => trunk.lane !== bundle);
  const together = trunks.filter((trunk) => trunk.lane === bundle).sort((a, b) => a.top - b.top);
  for (const trunk of together) {
    const last = alone[alone.length - 1];
    if (last?.lane === bundle && trunk.top < last.bottom) {
      const { bottom, bottomEnd } = trunk.bottom > last.bottom ? trunk : last;
      const flow = Math.max(last.flow, trunk.flow);
      alone[alone.length - 1] = { ...last, bottom, bottomEnd, count: last.count + trunk.count, flow };
    } else alone.push(trunk);
  }
  return alone;
}
