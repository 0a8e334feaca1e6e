/**
 * The order of rows: positions in forward order. An AccumulateGrad is a place where a gradient ends, and `weight.t()`
 * or a cast of a weight only leads there: unless they are asked for, they have no row of their own, and belong to the
 * first operation that uses the tensor. So rows read as the program's operations, and are about half as many.
 */

import type { GraphModel } from "./graph_model";

export interface GraphOrder {
  readonly withLeaves: boolean;
  /** The node at each position. */
  readonly node: Int32Array;
  /** The position of each node; of one without a row, that of the operation it belongs to. */
  readonly position: Int32Array;
  /** Nodes without a row, by the position that they belong to. */
  readonly folded: ReadonlyMap<number, readonly number[]>;
}

/** Orders the nodes of a graph. */
export function orderOf(model: GraphModel, withLeaves: boolean): GraphOrder {
  const users = usersOf(model);
  const node = withLeaves ? leavesBeforeUsers(model, users) : operations(model, users);
  const position = new Int32Array(model.count).fill(-1);
  node.forEach((n, at) => (position[n] = at));
  const folded = new Map<number, number[]>();
  for (let n = model.count - 1; n >= 0; n--) {
    if (position[n]! >= 0) continue;
    position[n] = position[lastUser(users, n)]!;
    push(folded, position[n]!, n);
  }
  return { withLeaves, node, position, folded };
}

/** Operations that only show a tensor in another shape or dtype. */
const VIEWS = /^(T|Transpose|Permute|View|UnsafeView|Expand|Unsqueeze|Squeeze|Reshape|ToCopy|Alias)Backward\d+$/;

/** Views of a view of a leaf, and so on, that have no row of their own at most. */
const MOST_VIEWS = 32;

/** Per leaf, or view of a leaf, the first node that uses it; -1 for operations. */
function usersOf(model: GraphModel): Int32Array {
  const users = new Int32Array(model.count).fill(-1);
  const depth = new Uint8Array(model.count);
  const views = model.graph.names.map((name) => VIEWS.test(name));
  for (let node = 0; node < model.count; node++) {
    const shown = views[model.name[node]!] ? viewed(model, users, node) : -1;
    if (shown >= 0) depth[node] = depth[shown]! + 1;
    if (model.isLeaf[node] || (shown >= 0 && depth[node]! <= MOST_VIEWS)) users[node] = firstUser(model, node);
  }
  return users;
}

/** The leaf, or view of one, that a view shows; -1 where it is of something else. Nodes come after what they use. */
function viewed({ edges: { next, target } }: GraphModel, users: Int32Array, node: number): number {
  const [first, end] = [next.start[node]!, next.start[node + 1]!];
  const shown = target[next.order[first]!] ?? -1;
  return end - first === 1 && shown < node && users[shown]! >= 0 ? shown : -1;
}

/** Of nodes after it: an edge that leads back, as in a damaged file, would go round. */
function firstUser({ edges: { previous, source } }: GraphModel, node: number): number {
  let first = -1;
  for (let i = previous.start[node]!; i < previous.start[node + 1]!; i++) {
    const user = source[previous.order[i]!]!;
    if (user > node && (first < 0 || user < first)) first = user;
  }
  return first;
}

function lastUser(users: Int32Array, node: number): number {
  while (users[node]! >= 0) node = users[node]!;
  return node;
}

function operations(model: GraphModel, users: Int32Array): Int32Array {
  return model.forward.filter((node) => users[node]! < 0);
}

function leavesBeforeUsers(model: GraphModel, users: Int32Array): Int32Array {
  const before = new Map<number, number[]>();
  users.forEach((user, node) => {
    // In front of what its user opens into, too.
    if (user >= 0 && model.isLeaf[node]) push(before, model.inside?.regions.get(user)?.first ?? user, node);
  });
  const order: number[] = [];
  for (const node of model.forward) {
    if (!model.isLeaf[node] || users[node]! < 0) order.push(...(before.get(node) ?? []), node);
  }
  return Int32Array.from(order);
}

function push(lists: Map<number, number[]>, key: number, value: number): void {
  const list = lists.get(key);
  if (list) list.push(value);
  else lists.set(key, [value]);
}

/** The leaves that the operation at a position uses, directly or through views of them, in the order of its inputs. */
export function leavesAt(model: GraphModel, order: GraphOrder, position: number): number[] {
  const found: number[] = [];
  const node = order.node[position]!;
  if (model.isLeaf[node]) found.push(node);
  else if (!order.withLeaves) visitLeaves(model, order, node, (leaf) => found.push(leaf));
  return found;
}

/** How many leaves `leavesAt` finds. */
export function leafCount(model: GraphModel, order: GraphOrder, position: number): number {
  let count = 0;
  const node = order.node[position]!;
  if (!order.withLeaves && !model.isLeaf[node]) visitLeaves(model, order, node, () => count++);
  return model.isLeaf[node] ? 1 : count;
}

function visitLeaves(model: GraphModel, order: GraphOrder, node: number, visit: (leaf: number) => void): void {
  const { next, target: ends } = model.edges;
  for (let i = next.start[node]!; i < next.start[node + 1]!; i++) {
    const target = ends[next.order[i]!]!;
    if (model.isLeaf[target]) visit(target);
    else if (order.node[order.position[target]!] !== target) visitLeaves(model, order, target, visit);
  }
}
