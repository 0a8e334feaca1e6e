/** Finds nodes by op, module, line, source text or parameter; every word of the query must be found. */

import { matchesFuzzy } from "./gradient_fuzzy";
import { compiledOp } from "./graph_compiled";
import { moduleAt, type GraphTree } from "./graph_groups";
import { leafName, opName, siteOf, type GraphModel } from "./graph_model";
import { TROUBLES } from "./graph_gradients";
import { leavesAt } from "./graph_order";
import { troubleByPosition } from "./graph_summary";
import { compiledText } from "./text";

/** Positions of the nodes that match, in forward order. Beside words it knows `:trouble` and `:held>50MiB`. */
export function findPositions(tree: GraphTree, query: string): Int32Array {
  const words = query.trim().split(/\s+/).filter(Boolean);
  if (words.length === 0) return new Int32Array(0);
  const tests = words.map((word) => testOf(tree, word));
  const all = Int32Array.from(tree.order.node, (_, position) => position);
  return all.filter((position) => tests.every((test) => test(position)));
}

type Test = (position: number) => boolean;

function testOf(tree: GraphTree, word: string): Test {
  const { model, order } = tree;
  if (word === ":trouble") return (position) => troubleByPosition(tree)[position]! > 0;
  const limit = heldLimit(word);
  if (limit !== null) return (position) => (model.held[order.node[position]!] ?? 0) > limit;
  return textTest(textsOf(tree), word);
}

const UNITS = { "": 1, B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 } as const;

function heldLimit(word: string): number | null {
  const [, size, unit] = /^:held>([\d.]+)(|B|[KMG]iB)$/.exec(word) ?? [];
  return size === undefined ? null : Number(size) * UNITS[unit as keyof typeof UNITS];
}

/** A word is looked for as it stands; only where no node has it, fuzzily in names. */
function textTest(texts: NodeTexts, word: string): Test {
  const wanted = word.toLowerCase();
  const plain = texts.all.map((text) => text.includes(wanted));
  if (plain.includes(true)) return (position) => plain[texts.index[position]!]!;
  const fuzzy = texts.names.map((names) => names.some((name) => matchesFuzzy(word, name)));
  return (position) => fuzzy[texts.index[position]!]!;
}

/** The distinct texts of nodes: ten thousand nodes of a model have a few hundred. */
interface NodeTexts {
  readonly index: Int32Array;
  readonly all: readonly string[];
  readonly names: readonly (readonly string[])[];
}

const textsOfTree = new WeakMap<GraphTree, NodeTexts>();

function textsOf(tree: GraphTree): NodeTexts {
  const known = textsOfTree.get(tree);
  if (known) return known;
  const ids = new Map<string, number>();
  const names: string[][] = [];
  const index = Int32Array.from(tree.order.node, (node, position) => {
    const [own, place] = [namesOf(tree, node, position), placeOf(tree.model, node)];
    const text = [...own, place].join("\u0000").toLowerCase();
    const found = ids.get(text) ?? ids.size;
    if (found === ids.size) {
      ids.set(text, found);
      names.push(own);
    }
    return found;
  });
  const texts = { index, all: [...ids.keys()], names };
  textsOfTree.set(tree, texts);
  return texts;
}

function namesOf(tree: GraphTree, node: number, position: number): string[] {
  const { model } = tree;
  const module = moduleAt(tree, position);
  const leaves = leavesAt(model, tree.order, position);
  const label = model.labels.get(node)?.label ?? "";
  const inner = compiledOp(model.inside, node);
  if (inner) return [opName(model, node), inner.name, inner.target, module ? `${module.root}.${module.path}` : "", inner.saved ? compiledText.saved : "", inner.recomputedAs.length > 0 ? compiledText.recomputed : ""];
  return [opName(model, node), module ? `${module.root}.${module.path}` : "", ...leaves.map((leaf) => leafName(model, leaf)), label];
}

function placeOf(model: GraphModel, node: number): string {
  const site = siteOf(model, node);
  if (!site) return "";
  return `${site.file.replace(/^.*[\\/]/, "")}:${site.line}\u0000${model.siteTexts.get(site.id) ?? ""}`;
}

/** The match after (or before) a position, around the end; -1 for none. */
export function nextMatch(matches: Int32Array, position: number, step: 1 | -1): number {
  if (matches.length === 0) return -1;
  if (step > 0) return matches.find((match) => match > position) ?? matches[0]!;
  return matches[matches.filter((match) => match < position).length - 1] ?? matches[matches.length - 1]!;
}

/** Positions whose gradient is NaN or Inf; where none is, those on the path of one. */
export function troublePositions(tree: GraphTree): Int32Array {
  const all = findPositions(tree, ":trouble");
  const worst = all.filter((position) => TROUBLES[troubleByPosition(tree)[position]!] !== "on path");
  return worst.length > 0 ? worst : all;
}

/** How many of the ascending `matches` are from `start` to `end - 1`. */
export function countBetween(matches: Int32Array, start: number, end: number): number {
  return lowerBound(matches, end) - lowerBound(matches, start);
}

function lowerBound(values: Int32Array, wanted: number): number {
  let [low, high] = [0, values.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle]! < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}
