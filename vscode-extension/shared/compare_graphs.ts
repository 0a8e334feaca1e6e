/** Which node of one graph is which of another, and what differs between the two graphs. */

import { numbers, type Numbers } from "./answer";
import type { ChangedNode, ComparedNode, GraphDifference, StepPair } from "./compare";
import type { NamePairs } from "./compare_names";
import type { Pace } from "./compare_pace";
import type { ComparedSide } from "./compare_side";
import type { Graph } from "./session";

/** How many nodes are looked at before others get the thread. */
const AT_ONCE = 2048;

/** One backward call in both sessions. */
export interface CallPair extends StepPair {
  readonly backward: number;
}

/** A graph's columns, with what its ids stand for. */
export class ComparedGraph {
  readonly op: Numbers;
  readonly module: Numbers;
  readonly parameter: Numbers;
  readonly source: Numbers;
  readonly target: Numbers;
  readonly #site: Numbers;

  constructor(
    readonly side: ComparedSide,
    readonly record: Graph,
  ) {
    this.op = numbers(record.name);
    this.module = numbers(record.module);
    this.parameter = numbers(record.parameter);
    this.source = numbers(record.edge_source);
    this.target = numbers(record.edge_target);
    this.#site = numbers(record.site);
  }

  get count(): number {
    return this.op.length;
  }

  name(node: number): string {
    return this.record.names[this.op[node]!] ?? "(unknown)";
  }

  /** What tells a node's line from others: its text, or its number where that is not known. */
  lineKey(node: number): string | null {
    const line = this.side.lineOf(this.#site[node]!);
    return line === null ? null : this.side.textOf(this.#site[node]!) || line;
  }

  node(index: number): ComparedNode {
    const site = this.#site[index]!;
    const [, file, line] = /^(.+):(\d+)$/s.exec(this.side.lineOf(site) ?? "") ?? [];
    return {
      index,
      name: this.name(index),
      module: this.side.moduleNames.get(this.module[index]!) || null,
      parameter: this.side.parameterNames.get(this.parameter[index]!) ?? null,
      place: file === undefined ? null : { file, line: Number(line), text: this.side.textOf(site) },
    };
  }
}

/**
 * Two graphs with their nodes paired: by index where names and edges are the same, else by place. A node's place is its
 * name, module and source line's text (its number where the text is not known), and how many like it come before it in
 * forward order; what is then left, by name and module alone.
 */
export class GraphPair {
  /** Index in the other graph of each node; -1 for none. */
  readonly secondOf: Int32Array;
  readonly firstOf: Int32Array;
  #giversA: Links | null = null;
  #giversB: Links | null = null;

  private constructor(
    readonly a: ComparedGraph,
    readonly b: ComparedGraph,
    readonly sameStructure: boolean,
  ) {
    this.secondOf = new Int32Array(a.count).fill(-1);
    this.firstOf = new Int32Array(b.count).fill(-1);
  }

  static async of(a: ComparedGraph, b: ComparedGraph, names: NamePairs, pace: Pace): Promise<GraphPair> {
    const pair = new GraphPair(a, b, sameStructure(a, b));
    if (pair.sameStructure) for (let node = 0; node < a.count; node++) pair.#join(node, node);
    else await pair.#pairByPlace(names, pace);
    return pair;
  }

  /** Nodes that hand their gradient to a node of the first graph. */
  giversA(node: number): readonly number[] {
    return (this.#giversA ??= new Links(this.a.count, this.a.target, this.a.source)).distinctOf(node);
  }

  /** The same of the second graph. */
  giversB(node: number): readonly number[] {
    return (this.#giversB ??= new Links(this.b.count, this.b.target, this.b.source)).distinctOf(node);
  }

  /**
   * Position of each node of the first graph in the order that autograd runs them: latest in forward first, and what
   * accumulates a leaf's gradient as soon as all who give to it have run.
   */
  engineOrder(): Int32Array {
    const { count, parameter, source, target } = this.a;
    const earliest = new Int32Array(count).fill(count);
    for (let edge = 0; edge < target.length; edge++) earliest[target[edge]!] = Math.min(earliest[target[edge]!]!, source[edge]!);
    const leaves: number[][] = [];
    for (let node = 0; node < count; node++) if (parameter[node]! >= 0) (leaves[earliest[node]!] ??= []).push(node);
    const position = new Int32Array(count);
    let next = 0;
    for (let ready = count; ready >= 0; ready--) {
      if (ready < count && parameter[ready]! < 0) position[ready] = next++;
      for (const leaf of leaves[ready] ?? []) position[leaf] = next++;
    }
    return position;
  }

  async difference(at: CallPair, most: number, pace: Pace): Promise<{ readonly found: GraphDifference; readonly unlisted: number } | null> {
    const onlyA = missing(this.secondOf);
    const onlyB = missing(this.firstOf);
    const changed = await this.#changes(pace);
    if (onlyA.length + onlyB.length + changed.length === 0) return null;
    const found: GraphDifference = {
      step: at.a,
      step_b: at.b,
      backward: at.backward,
      nodes_a: this.a.count,
      nodes_b: this.b.count,
      only_a: onlyA.slice(0, most).map((node) => this.a.node(node)),
      only_b: onlyB.slice(0, most).map((node) => this.b.node(node)),
      changed: changed.slice(0, most).map(({ node, what }) => ({ a: this.a.node(node), b: this.b.node(this.secondOf[node]!), what })),
    };
    return { found, unlisted: [onlyA, onlyB, changed].reduce((sum, { length }) => sum + Math.max(0, length - most), 0) };
  }

  async #changes(pace: Pace): Promise<{ readonly node: number; readonly what: ChangedNode["what"] }[]> {
    const inputs = this.sameStructure ? null : ([inputsOf(this.a), inputsOf(this.b)] as const);
    const changed: { node: number; what: ChangedNode["what"] }[] = [];
    for (let node = 0; node < this.a.count; node++) {
      if (node % AT_ONCE === 0) await pace.rest();
      const other = this.secondOf[node]!;
      if (other < 0) continue;
      const what: ("line" | "inputs")[] = this.a.lineKey(node) === this.b.lineKey(other) ? [] : ["line"];
      if (inputs && this.#inputsChanged(inputs[0].of(node), inputs[1].of(other))) what.push("inputs");
      if (what.length > 0) changed.push({ node, what });
    }
    return changed;
  }

  /** Whether a node's next functions are others, not counting those that only one graph has. */
  #inputsChanged(a: readonly number[], b: readonly number[]): boolean {
    const [mapped, kept] = [a.map((node) => this.secondOf[node]!).filter((node) => node >= 0), b.filter((node) => this.firstOf[node]! >= 0)];
    return a.length !== b.length || mapped.length !== kept.length || mapped.some((node, i) => node !== kept[i]);
  }

  /** Ids of the first session are spelled in those of the second; one that the second lacks is like no other. */
  async #pairByPlace(names: NamePairs, pace: Pace): Promise<void> {
    const { a, b } = this;
    const translated = (id: number, into: ReadonlyMap<number, number>): number | string => (id < 0 ? id : (into.get(id) ?? `first only ${id}`));
    const shortA = (node: number): string =>
      JSON.stringify([a.name(node), translated(a.module[node]!, names.module.secondOf), translated(a.parameter[node]!, names.parameter.secondOf)]);
    const shortB = (node: number): string => JSON.stringify([b.name(node), b.module[node], b.parameter[node]]);
    const wholeA = (node: number): string => `${shortA(node)} ${JSON.stringify(a.lineKey(node))}`;
    const wholeB = (node: number): string => `${shortB(node)} ${JSON.stringify(b.lineKey(node))}`;
    await this.#pairInOrder(wholeA, wholeB, pace);
    await this.#pairInOrder(shortA, shortB, pace);
  }

  async #pairInOrder(keyA: (node: number) => string, keyB: (node: number) => string, pace: Pace): Promise<void> {
    const waiting = new Map<string, { readonly nodes: number[]; next: number }>();
    for (let node = 0; node < this.b.count; node++) {
      if (node % AT_ONCE === 0) await pace.rest();
      if (this.firstOf[node]! >= 0) continue;
      const key = keyB(node);
      const known = waiting.get(key);
      if (known) known.nodes.push(node);
      else waiting.set(key, { nodes: [node], next: 0 });
    }
    for (let node = 0; node < this.a.count; node++) {
      if (node % AT_ONCE === 0) await pace.rest();
      const others = this.secondOf[node]! < 0 ? waiting.get(keyA(node)) : undefined;
      if (others && others.next < others.nodes.length) this.#join(node, others.nodes[others.next++]!);
    }
  }

  #join(a: number, b: number): void {
    this.secondOf[a] = b;
    this.firstOf[b] = a;
  }
}

/** Nodes at the other end of each node's edges, in the order of the edges. */
class Links {
  readonly #starts: Uint32Array;
  readonly #ends: Uint32Array;

  constructor(count: number, from: Numbers, to: Numbers) {
    this.#starts = new Uint32Array(count + 1);
    for (const node of from) this.#starts[node + 1]!++;
    for (let node = 0; node < count; node++) this.#starts[node + 1]! += this.#starts[node]!;
    const next = this.#starts.slice();
    this.#ends = new Uint32Array(from.length);
    for (let edge = 0; edge < from.length; edge++) this.#ends[next[from[edge]!]!++] = to[edge]!;
  }

  of(node: number): readonly number[] {
    return [...this.#ends.subarray(this.#starts[node], this.#starts[node + 1])];
  }

  /** Ascending, each once. */
  distinctOf(node: number): readonly number[] {
    return [...new Set(this.of(node))].sort((x, y) => x - y);
  }
}

/** Next functions of each node in the order of its slots. */
function inputsOf({ count, record, source, target }: ComparedGraph): Links {
  const slot = numbers(record.edge_slot);
  const compare = (x: number, y: number): number => source[x]! - source[y]! || slot[x]! - slot[y]! || target[x]! - target[y]!;
  let inOrder = true;
  for (let edge = 1; edge < source.length && inOrder; edge++) inOrder = compare(edge - 1, edge) <= 0;
  if (inOrder) return new Links(count, source, target);
  const order = Uint32Array.from(source, (_, edge) => edge).sort(compare);
  return new Links(count, Uint32Array.from(order, (edge) => source[edge]!), Uint32Array.from(order, (edge) => target[edge]!));
}

function sameStructure(a: ComparedGraph, b: ComparedGraph): boolean {
  if (a.count !== b.count || a.record.edge_count !== b.record.edge_count) return false;
  for (let node = 0; node < a.count; node++) if (a.name(node) !== b.name(node)) return false;
  return (["edge_source", "edge_slot", "edge_target", "edge_input_nr"] as const).every((name) => sameNumbers(numbers(a.record[name]), numbers(b.record[name])));
}

function sameNumbers(a: Numbers, b: Numbers): boolean {
  return a.length === b.length && a.every((value: number, at: number) => value === b[at]);
}

function missing(others: Int32Array): number[] {
  const found: number[] = [];
  others.forEach((other, node) => {
    if (other < 0) found.push(node);
  });
  return found;
}
