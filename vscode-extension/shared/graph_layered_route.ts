/** Lanes of one group: where wires that pass over layers run straight down, right or left of all that they pass. */

import { BORDER, type Nest, type Wire } from "./graph_layered_nest";
import type { Extent, Layers } from "./graph_layered_order";

/** Between two lanes, and between a lane and what it passes. */
const STEP = 11;
const CLEAR = 16;
/** Lanes of one side that may lie beside one another; what comes after shares the last. */
const MOST_LANES = 10;
/** A lane changes sides for this much shorter a way. */
const DETOUR = 30;

export interface Routes {
  /** The line of the lane of each value; values whose wires pass over nothing have none. */
  readonly lanes: ReadonlyMap<number, number>;
  /** How far lanes reach to both sides. */
  readonly left: number;
  readonly right: number;
}

interface Net {
  readonly value: number;
  readonly from: number;
  /** The layers that it leaves and ends in; -1 and the number of layers are the borders. */
  readonly top: number;
  readonly bottom: number;
}

/** The layer of a wire's end: the upper border is before the first, the lower one behind the last. */
export function endLayers({ layers, layerOf }: Layers, { from, to }: Wire): readonly [number, number] {
  return [from === BORDER ? -1 : layerOf.get(from)!, to === BORDER ? layers.length : layerOf.get(to)!];
}

/** Gives every value whose wires pass over a layer one lane, the short ones inside the long ones. */
export function routeNest(nest: Nest, layers: Layers, x: ReadonlyMap<number, number>, extent: (child: number) => Extent): Routes {
  const reach = layers.layers.map((layer) => reachOf(layer, x, extent));
  const sides = { left: new Side(reach.map(({ left }) => -left)), right: new Side(reach.map(({ right }) => right)) };
  const lanes = new Map<number, number>();
  for (const net of netsOf(nest, layers)) {
    const start = net.from === BORDER ? 0 : x.get(net.from)! + extent(net.from).portOut(net.value);
    const ownLine = net.from !== BORDER && layers.layers[net.top]!.length > 1;
    const [right, left] = [sides.right.free(net), sides.left.free(net)];
    const goesLeft = ownLine && Math.max(0, start + left) + DETOUR < Math.max(0, right - start);
    const side = goesLeft ? sides.left : sides.right;
    const at = Math.max(goesLeft ? left : right, ownLine ? (goesLeft ? -start : start) : -Infinity);
    side.take(net, at);
    lanes.set(net.value, goesLeft ? -at : at);
  }
  const all = [...lanes.values()];
  return { lanes, left: Math.max(0, ...all.map((at) => -at)), right: Math.max(0, ...all) };
}

function reachOf(layer: readonly number[], x: ReadonlyMap<number, number>, extent: (child: number) => Extent): { left: number; right: number } {
  const [first, last] = [layer[0]!, layer[layer.length - 1]!];
  return { left: x.get(first)! - extent(first).left, right: x.get(last)! + extent(last).right };
}

function netsOf({ wires }: Nest, layers: Layers): Net[] {
  const found = new Map<number, Net>();
  for (const wire of wires) {
    const [top, bottom] = endLayers(layers, wire);
    if (bottom - top < 2) continue;
    const known = found.get(wire.value);
    found.set(wire.value, { value: wire.value, from: wire.from, top, bottom: Math.max(bottom, known?.bottom ?? 0) });
  }
  return [...found.values()].sort((a, b) => a.bottom - a.top - (b.bottom - b.top) || a.value - b.value);
}

/** One side of a group, measured outwards from its line. */
class Side {
  readonly #reach: readonly number[];
  readonly #taken: { readonly net: Net; readonly at: number; readonly depth: number }[] = [];

  constructor(reach: readonly number[]) {
    this.#reach = reach;
  }

  /** The nearest line that is clear of what a net passes and of lanes beside it. */
  free({ top, bottom }: Net): number {
    let at = 0;
    for (let layer = top + 1; layer < bottom; layer++) at = Math.max(at, this.#reach[layer]! + CLEAR);
    for (const one of this.#beside(top, bottom)) if (one.depth < MOST_LANES) at = Math.max(at, one.at + STEP);
    return at;
  }

  take(net: Net, at: number): void {
    const depth = this.#beside(net.top, net.bottom).reduce((deepest, one) => Math.max(deepest, one.depth), 0) + 1;
    this.#taken.push({ net, at, depth });
  }

  #beside(top: number, bottom: number): { readonly at: number; readonly depth: number }[] {
    return this.#taken.filter(({ net }) => net.top < bottom && net.bottom > top);
  }
}
