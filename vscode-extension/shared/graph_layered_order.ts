/** Layers of one group's children, their order in a layer, and where they stand from left to right. */

import { BORDER, type Nest, type Wire } from "./graph_layered_nest";

/** How far something reaches to both sides of its own line, and down. */
export interface Extent {
  readonly left: number;
  readonly right: number;
  readonly height: number;
  /** An open group. */
  readonly box: boolean;
  /** Where a value leaves or enters an open group, from its line; a node is left and entered on its line. */
  readonly portIn: (value: number) => number;
  readonly portOut: (value: number) => number;
}

export interface Layers {
  readonly layers: readonly (readonly number[])[];
  readonly layerOf: ReadonlyMap<number, number>;
}

/** Children side by side at most, and how wide they may be together: what has no order among itself goes on below. */
const MOST_ABREAST = 6;
const MOST_WIDTH = 900;
const BETWEEN = 22;

/** Every child below all that it uses. Children come in an order that respects the wires. */
export function layerNest(nest: Nest, extent: (child: number) => Extent): Layers {
  const wires = nest.wires.filter(({ from, to }) => from !== BORDER && to !== BORDER);
  const layerOf = new Map<number, number>();
  const above = wiresBy(wires, "to");
  const room = new Room();
  for (const child of nest.children) {
    const least = (above.get(child) ?? []).reduce((lowest, { from }) => Math.max(lowest, layerOf.get(from)! + 1), 0);
    layerOf.set(child, room.take(least, widthOf(extent(child))));
  }
  lowerSources(nest, layerOf, above, wiresBy(wires, "from"));
  const layers = compacted(nest.children, layerOf);
  return { layers: ordered(layers, wires), layerOf };
}

function widthOf({ left, right }: Extent): number {
  return left + right + BETWEEN;
}

/** How full layers are. */
class Room {
  readonly #count: number[] = [];
  readonly #width: number[] = [];

  /** The first layer from `least` on with room. */
  take(least: number, width: number): number {
    let layer = least;
    while (!this.#has(layer, width)) layer++;
    this.#count[layer] = (this.#count[layer] ?? 0) + 1;
    this.#width[layer] = (this.#width[layer] ?? 0) + width;
    return layer;
  }

  #has(layer: number, width: number): boolean {
    const count = this.#count[layer] ?? 0;
    return count === 0 || (count < MOST_ABREAST && this.#width[layer]! + width <= MOST_WIDTH);
  }
}

/** What uses nothing in the group, nor anything from outside, stands right above its first user. */
function lowerSources(nest: Nest, layerOf: Map<number, number>, above: Wires, below: Wires): void {
  const entered = new Set(nest.wires.filter(({ from }) => from === BORDER).map(({ to }) => to));
  const count = new Map<number, number>();
  for (const layer of layerOf.values()) count.set(layer, (count.get(layer) ?? 0) + 1);
  for (const child of [...nest.children].reverse()) {
    if (above.has(child) || entered.has(child) || !below.has(child)) continue;
    const wanted = below.get(child)!.reduce((least, { to }) => Math.min(least, layerOf.get(to)!), Infinity) - 1;
    const own = layerOf.get(child)!;
    if (wanted <= own || (count.get(wanted) ?? 0) >= MOST_ABREAST) continue;
    layerOf.set(child, wanted);
    count.set(wanted, (count.get(wanted) ?? 0) + 1);
    count.set(own, count.get(own)! - 1);
  }
}

type Wires = ReadonlyMap<number, readonly Wire[]>;

function wiresBy(wires: readonly Wire[], end: "from" | "to"): Map<number, Wire[]> {
  const found = new Map<number, Wire[]>();
  for (const wire of wires) {
    const list = found.get(wire[end]);
    if (list) list.push(wire);
    else found.set(wire[end], [wire]);
  }
  return found;
}

/** Layers in order without empty ones; `layerOf` is renumbered. */
function compacted(children: readonly number[], layerOf: Map<number, number>): number[][] {
  const used = [...new Set(layerOf.values())].sort((a, b) => a - b);
  const place = new Map(used.map((layer, at) => [layer, at]));
  const layers: number[][] = used.map(() => []);
  for (const child of children) {
    const layer = place.get(layerOf.get(child)!)!;
    layerOf.set(child, layer);
    layers[layer]!.push(child);
  }
  return layers;
}

const SWEEPS = 3;

/** Each layer in the order of the middle of what it is joined to, above and below in turn; ties stay as they were. */
function ordered(layers: number[][], wires: readonly Wire[]): number[][] {
  if (layers.every((layer) => layer.length === 1)) return layers;
  const place = new Map<number, number>();
  const settle = (layer: number[]): void => layer.forEach((child, at) => place.set(child, at - (layer.length - 1) / 2));
  layers.forEach(settle);
  const [above, below] = [wiresBy(wires, "to"), wiresBy(wires, "from")];
  const sweep = (layer: number[], joined: Wires, end: "from" | "to"): void => {
    if (layer.length < 2) return;
    const key = new Map(layer.map((child) => [child, middle(joined.get(child) ?? [], end, place) ?? place.get(child)!]));
    layer.sort((a, b) => key.get(a)! - key.get(b)! || a - b);
    settle(layer);
  };
  for (let i = 0; i < SWEEPS; i++) {
    for (const layer of layers) sweep(layer, above, "from");
    for (const layer of [...layers].reverse()) sweep(layer, below, "to");
  }
  for (const layer of layers) sweep(layer, above, "from");
  return layers;
}

function middle(wires: readonly Wire[], end: "from" | "to", place: ReadonlyMap<number, number>): number | null {
  if (wires.length === 0) return null;
  return wires.reduce((sum, wire) => sum + place.get(wire[end])!, 0) / wires.length;
}

const ROUNDS = 6;

/**
 * Where each child's line is. A child alone in its layer stands on the group's line, unless a branch runs beside it: then
 * it stays below its own branch.
 */
export function placeChildren(nest: Nest, { layers, layerOf }: Layers, ownExtent: (child: number) => Extent): ReadonlyMap<number, number> {
  const x = new Map<number, number>();
  const wires = nest.wires.filter(({ from, to }) => from !== BORDER && to !== BORDER);
  const [above, below] = [wiresBy(wires, "to"), wiresBy(wires, "from")];
  const chains = chainsOf(layers, { above, below, layerOf, extent: ownExtent });
  const extent = asWideAsChain(chains, ownExtent);
  for (const layer of layers) spread(layer, extent).forEach((at, i) => x.set(layer[i]!, at));
  if (layers.every((layer) => layer.length === 1)) return x;
  const onLine = alone(layers, layerOf, wires);
  const around: Around = { above, below, layerOf, x, extent };
  const settle = (index: number): void => {
    const layer = layers[index]!;
    if (onLine[index]) return;
    inOrder(layer.map((child) => wantedAt(child, around)), gapsOf(layer, extent)).forEach((at, i) => x.set(layer[i]!, at));
  };
  for (let round = 0; round < ROUNDS; round++) {
    for (let i = 0; i < layers.length; i++) settle(round % 2 === 0 ? i : layers.length - 1 - i);
  }
  straighten(chains, layers, x, ownExtent);
  layers.forEach(([child], i) => {
    const straight = layers[i]!.length === 1 && !onLine[i] ? rightBelow(child!, around) : null;
    if (straight !== null) x.set(child!, straight);
  });
  return x;
}

function gapsOf(layer: readonly number[], extent: (child: number) => Extent): number[] {
  return layer.slice(1).map((child, i) => extent(layer[i]!).right + extent(child).left + BETWEEN);
}

/** Nodes below one another with nothing else between: each branch of several is one or more of these. */
function chainsOf(layers: Layers["layers"], { above, below, layerOf, extent }: Omit<Around, "x">): readonly number[][] {
  const next = (wires: readonly Wire[] | undefined, end: "from" | "to", child: number): number[] =>
    (wires ?? []).map((wire) => wire[end]).filter((other) => Math.abs(layerOf.get(other)! - layerOf.get(child)!) === 1);
  const chainOf = new Map<number, number[]>();
  for (const layer of layers) {
    for (const child of layer) {
      const [up, ...more] = next(above.get(child), "from", child);
      const joins = up !== undefined && more.length === 0 && next(below.get(up), "to", up).length === 1 && !extent(up).box && !extent(child).box;
      const chain = layer.length > 1 && joins && layers[layerOf.get(up)!]!.length > 1 ? chainOf.get(up)! : [];
      chain.push(child);
      chainOf.set(child, chain);
    }
  }
  return [...new Set(chainOf.values())].filter((chain) => chain.length > 1);
}

/** In a chain all need the same room, so that its neighbours leave it the same way down. */
function asWideAsChain(chains: readonly number[][], extent: (child: number) => Extent): (child: number) => Extent {
  const wide = new Map<number, Extent>();
  for (const chain of chains) {
    const all = chain.map(extent);
    const [left, right] = [Math.max(...all.map((one) => one.left)), Math.max(...all.map((one) => one.right))];
    chain.forEach((child, i) => wide.set(child, { ...all[i]!, left, right }));
  }
  return (child) => wide.get(child) ?? extent(child);
}

/** Puts each chain on one line, but for those that would come too near to a neighbour. */
function straighten(chains: readonly number[][], layers: Layers["layers"], x: Map<number, number>, extent: (child: number) => Extent): void {
  if (chains.length === 0) return;
  const bent = new Map(x);
  for (const chain of chains) {
    const at = chain.reduce((sum, child) => sum + x.get(child)!, 0) / chain.length;
    for (const child of chain) x.set(child, at);
  }
  const meet = layers.some((layer) => gapsOf(layer, extent).some((gap, i) => x.get(layer[i + 1]!)! - x.get(layer[i]!)! < gap - 1e-6));
  if (meet) bent.forEach((at, child) => x.set(child, at));
}

/** Right below what it is joined to in the layer above: a branch runs straight down. Null where nothing is. */
function rightBelow(child: number, { above, layerOf, x, extent }: Omit<Around, "below">): number | null {
  const next = (above.get(child) ?? []).filter(({ from }) => layerOf.get(from) === layerOf.get(child)! - 1);
  if (next.length === 0) return null;
  return next.reduce((sum, { from, value }) => sum + x.get(from)! + extent(from).portOut(value) - extent(child).portIn(value), 0) / next.length;
}

/** Side by side, about the group's line. */
function spread(layer: readonly number[], extent: (child: number) => Extent): number[] {
  const at: number[] = [];
  layer.forEach((child, i) => at.push(i === 0 ? 0 : at[i - 1]! + extent(layer[i - 1]!).right + extent(child).left + BETWEEN));
  const centre = (at[0]! + at[at.length - 1]!) / 2;
  return at.map((value) => value - centre);
}

/** Which layers hold one child and lie beside no branch. */
function alone(layers: readonly (readonly number[])[], layerOf: ReadonlyMap<number, number>, wires: readonly Wire[]): boolean[] {
  const single = layers.map((layer) => layer.length === 1);
  const onLine = [...single];
  for (const { from, to } of wires) {
    const [a, b] = [layerOf.get(from)!, layerOf.get(to)!];
    if (!single[a]) for (let layer = a + 1; layer < b; layer++) onLine[layer] = false;
  }
  return onLine;
}

interface Around {
  readonly above: Wires;
  readonly below: Wires;
  readonly layerOf: ReadonlyMap<number, number>;
  readonly x: ReadonlyMap<number, number>;
  readonly extent: (child: number) => Extent;
}

interface Wanted {
  readonly at: number;
  readonly weight: number;
}

/** Below or above what it is joined to: a neighbour counts more than what is far. */
function wantedAt(child: number, { above, below, layerOf, x, extent }: Around): Wanted {
  let [sum, weight] = [0, 0.02];
  const own = extent(child);
  const add = (at: number, other: number): void => {
    const pull = Math.abs(layerOf.get(other)! - layerOf.get(child)!) === 1 ? 1 : 0.1;
    sum += at * pull;
    weight += pull;
  };
  for (const { from, value } of above.get(child) ?? []) add(x.get(from)! + extent(from).portOut(value) - own.portIn(value), from);
  for (const { to, value } of below.get(child) ?? []) add(x.get(to)! + extent(to).portIn(value) - own.portOut(value), to);
  return { at: sum / weight, weight };
}

interface Block {
  at: number;
  weight: number;
  count: number;
}

/**
 * The places nearest to those wanted (least squares) that keep the order and the gaps: neighbours that would meet move
 * as one block.
 */
export function inOrder(wanted: readonly Wanted[], gaps: readonly number[]): number[] {
  const offset = [0];
  for (const gap of gaps) offset.push(offset[offset.length - 1]! + gap);
  const blocks: Block[] = [];
  wanted.forEach(({ at, weight }, i) => {
    let block: Block = { at: at - offset[i]!, weight, count: 1 };
    for (let last = blocks[blocks.length - 1]; last && last.at >= block.at; last = blocks[blocks.length - 1]) {
      const weights = last.weight + block.weight;
      block = { at: (last.at * last.weight + block.at * block.weight) / weights, weight: weights, count: last.count + block.count };
      blocks.pop();
    }
    blocks.push(block);
  });
  return blocks.flatMap(({ at, count }) => Array.from({ length: count }, () => at)).map((at, i) => at + offset[i]!);
}
