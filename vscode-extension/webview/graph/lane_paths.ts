/** Where lanes and marks are drawn: pixels from the left of the lanes and the top of the rows. */

import type { Branch, Lanes, Net, RowEdge, Trunk } from "../../shared/graph_lanes";

export const ROW_HEIGHT = 23;
/** Lanes beside the spine, the bundle not counted. */
export const MOST_LANES = 3;
/** How far a lane takes to leave the spine: less than a row, so that it is its own in the next. */
const TURN = 20;

export interface LaneGeometry {
  readonly width: number;
  /** The middle of the spine (0) and of each lane. */
  readonly x: readonly number[];
}

/** Spreads the lanes that are in use over the width there is for them. */
export function laneGeometry(narrow: boolean, lanes: number): LaneGeometry {
  const width = narrow ? 66 : 78;
  const spine = narrow ? 20 : 22;
  const first = narrow ? 16 : 20;
  const step = lanes < 2 ? 0 : Math.min(18, (width - 6 - spine - first) / (lanes - 1));
  return { width, x: [spine, ...Array.from({ length: lanes }, (_, lane) => spine + first + lane * step)] };
}

/** The middle of a row. */
export function middleOf(row: number): number {
  return row * ROW_HEIGHT + ROW_HEIGHT / 2;
}

/** The straight piece of a lane, no further than `[first, last]` rows: a long lane is not drawn where it is not seen. */
export function trunkPath({ x }: LaneGeometry, trunk: Trunk, [first, last]: readonly [number, number]): string {
  const top = middleOf(trunk.top) + (trunk.topEnd ? TURN : 0);
  const bottom = middleOf(trunk.bottom) - (trunk.bottomEnd ? TURN : 0);
  const [from, to] = [Math.max(top, middleOf(first - 1)), Math.min(bottom, middleOf(last + 1))];
  return to > from ? `M${x[trunk.lane]} ${from}V${to}` : "";
}

/** The curve from a row's mark into a lane. */
export function branchPath(geometry: LaneGeometry, { lane, row, down }: Branch): string {
  return `M${geometry.x[0]} ${middleOf(row)}${turn(geometry, lane, row, down ? 1 : -1)}`;
}

function turn({ x }: LaneGeometry, lane: number, row: number, sign: 1 | -1): string {
  const [at, y] = [x[lane]!, middleOf(row)];
  return `C${at} ${y + sign * 6} ${at} ${y + sign * 10} ${at} ${y + sign * TURN}`;
}

/** A whole edge, from mark to mark. */
export function edgePath(geometry: LaneGeometry, edge: RowEdge, lane: number): string {
  const { x } = geometry;
  const [top, bottom] = [middleOf(edge.upper), middleOf(edge.lower)];
  if (lane === 0) return `M${x[0]} ${top}V${bottom}`;
  const at = x[lane]!;
  return `M${x[0]} ${top}${turn(geometry, lane, edge.upper, 1)}V${bottom - TURN}C${at} ${bottom - 10} ${at} ${bottom - 6} ${x[0]} ${bottom}`;
}

/** The edges that touch a row, with their lanes (0: the spine). At most `most`: more cannot be told apart. */
export function edgesAt(lanes: Lanes, row: number, most = 64): { edge: RowEdge; lane: number }[] {
  let above = row - 1;
  while (above >= 0 && !lanes.spine[above]) above--; // headings between have no mark
  const links = [lanes.spine[above], lanes.spine[row]];
  const spine = links.flatMap((edge) => (edge && (edge.upper === row || edge.lower === row) ? [{ edge, lane: 0 }] : []));
  const skips = lanes.nets.filter((net) => net.top <= row && net.bottom >= row).flatMap((net) => edgesOfNet(net, row));
  return [...spine, ...skips].slice(0, most);
}

function edgesOfNet(net: Net, row: number): { edge: RowEdge; lane: number }[] {
  const touching = net.ends.filter((edge) => edge.upper === row || edge.lower === row);
  return touching.map((edge) => ({ edge, lane: net.lane }));
}

/**
 * How thick an edge is: one of the graph 1.4 px, merged ones up to 3.2. What share of a gradient goes along one edge
 * is not known where several end in one node: autograd adds them up before anything can see them.
 */
export function edgeWidth(count: number): number {
  return 1.4 + Math.min(1.8, Math.log2(count) * 0.5);
}

/** The radius of a node: its area in proportion to the bytes it saved. */
export function nodeRadius(bytes: number, most: number): number {
  return bytes <= 0 || most <= 0 ? 2.6 : Math.max(2.6, 8.5 * Math.sqrt(bytes / most));
}
