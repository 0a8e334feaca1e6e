/** Compiled nodes and what they open into: order, wires, marks and sizes. */

import { describe, expect, it } from "vitest";
import { bytesOf, compiledOp, MOST_OPS, regionSummary, shortTarget } from "../shared/graph_compiled";
import { groupGraph, type GraphTree } from "../shared/graph_groups";
import { layOutLanes } from "../shared/graph_lanes";
import { capOpen, MOST_ITEMS } from "../shared/graph_layered_cap";
import { graphModel, opName } from "../shared/graph_model";
import { nodeDetails } from "../shared/graph_node";
import { openAtFirst, openRow, revealPosition } from "../shared/graph_open";
import { buildRows, type OpenKeys } from "../shared/graph_rows";
import { findPositions } from "../shared/graph_search";
import { summarise } from "../shared/graph_summary";
import { rowName, rowSentence } from "../shared/graph_words";
import { unseenCounts } from "../shared/held_unseen";
import type { StepSnapshot } from "../shared/recorded_step";
import type { CompiledRegion, NodeLabel } from "../shared/session";
import { goldenBytes, openSession } from "./recorded_files";
import { column, nodeOf, snapshotOf, Tape } from "./graph_snapshot";

async function golden(): Promise<StepSnapshot> {
  return (await openSession(goldenBytes("regimes"))).snapshotOfStep(0);
}

function treeOf(snapshot: StepSnapshot, withLeaves = false): GraphTree {
  return groupGraph(graphModel(snapshot)!, withLeaves);
}

function compiledKeys(tree: GraphTree): OpenKeys {
  return new Set(tree.groups.filter(({ kind }) => kind === "compiled").map(({ key }) => key));
}

function sentences(tree: GraphTree, open: OpenKeys, byModule = true): string[] {
  return buildRows(tree, open, byModule).rows.map((row) => `${"  ".repeat(row.level - 1)}${rowSentence(tree, row, summarise(tree, row.start, row.end))}`);
}

/** Each op uses the one before it; which ops follow one another does not repeat. */
function chain(id: number, count: number, saved: (op: number) => boolean = () => false): CompiledRegion {
  const ops = Array.from({ length: count }, (_, op) => op);
  const none = column("<i4", ops.map(() => -1));
  return {
    id, name: "forward", backend: "inductor", op_count: count, op_names: ops.map((op) => `op_${op}`), targets: ["aten.sin.default", "aten.exp.default", "mylib.step.default"], shapes: [[4, 2]], dtypes: ["bfloat16"],
    target: column("<i4", ops.map((op) => Math.floor(Math.abs(Math.sin(op)) * 3))), phase: column("|u1", ops.map(() => 0)), site: none, project_site: none, module: none, shape: column("<i4", ops.map(() => 0)),
    dtype: column("<i4", ops.map(() => 0)), saved: column("|u1", ops.map((op) => (saved(op) ? 1 : 0))), recomputed: column("|u1", ops.map(() => 0)), forward_op: none,
    edge_count: count - 1, edge_source: column("<u4", ops.slice(1).map((op) => op - 1)), edge_target: column("<u4", ops.slice(1)),
  };
}

/** Compiled nodes in a row, each with the region of this id. */
function compiledRun(ids: readonly number[], regions: readonly CompiledRegion[], module?: (at: number) => string): StepSnapshot {
  const tape = new Tape();
  ids.forEach((_, at) => tape.op("CompiledFunctionBackward", at === 0 ? [] : [at - 1], { parameters: [`w${at}`], label: "compiled", ...(module ? { module: module(at) } : {}) }));
  tape.op("MeanBackward0", [ids.length - 1]);
  const snapshot = snapshotOf(tape);
  const labels = ids.map((region, at): NodeLabel => ({ node: nodeOf(snapshot, at), label: "compiled", text: "a compiled region", region }));
  return { ...snapshot, graph: { ...snapshot.graph!, labels }, regions };
}

describe("a compiled node", () => {
  it("is closed at first, and says that it is compiled and how many ops it has", async () => {
    const tree = treeOf(await golden());
    expect(sentences(tree, openAtFirst(tree, -1))).toEqual([
      "CompiledFunction, 8 ops, compiled, 128 B saved, gradient 4.00e0",
      "SumBackward0, loss = torch.compile(Wave())(x).sum(), gradient 1.00e0",
    ]);
  });

  it("opens into the forward's ops in their order, by module, with what is saved and what is recomputed", async () => {
    const tree = treeOf(await golden());
    const open = new Set([...compiledKeys(tree), ...tree.groups.filter(({ name }) => name === "fc").map(({ key }) => key)]);
    expect(sentences(tree, open)).toEqual([
      "CompiledFunction, 8 ops, compiled, 128 B saved, gradient 4.00e0",
      "  input, primals_1 · 2×2 f32",
      "  input, primals_2 · 2 f32",
      "  input, primals_3 · 8×2 f32, 64 B saved for backward",
      "  fc, 2 ops",
      "    permute, 2×2 f32, scaled.py line 10",
      "    addmm, 8×2 f32, 64 B saved for backward, scaled.py line 10",
      "  sin, 8×2 f32, recomputed in backward, scaled.py line 11",
      "  cos, 8×2 f32, recomputed in backward, scaled.py line 11",
      "  mul.Tensor, 8×2 f32, scaled.py line 11",
      "  CompiledFunctionBackward, weight, bias, compiled, 128 B saved, gradient 4.00e0",
      "SumBackward0, loss = torch.compile(Wave())(x).sum(), gradient 1.00e0",
    ]);
  });

  it("opens in the list without groups too, and only there where it is asked to", async () => {
    const tree = treeOf(await golden());
    expect(sentences(tree, new Set(), false).map((one) => one.split(",")[0])).toEqual(["CompiledFunction", "SumBackward0"]);
    expect(sentences(tree, compiledKeys(tree), false)).toHaveLength(10);
  });

  it("whose graph was not seen is a node as any other, which says why", async () => {
    const snapshot = await golden();
    const labels = snapshot.graph!.labels!.map((label) => ({ ...label, region: -1, text: "its graph was not seen" }));
    const tree = treeOf({ ...snapshot, graph: { ...snapshot.graph!, labels } });
    expect(tree.model.inside).toBeNull();
    expect(nodeDetails(tree, 2).label!.text).toBe("its graph was not seen");
    expect(buildRows(tree, new Set(), true).rows.map(({ expanded }) => expanded)).toEqual([null, null]);
  });

  it("keeps its leaves in front of its ops, where leaves have rows", async () => {
    const tree = treeOf(await golden(), true);
    const names = buildRows(tree, compiledKeys(tree), true).rows.map((row) => rowName(tree, row, false));
    expect(names.slice(0, 4)).toEqual(["fc.weight", "fc.bias", "CompiledFunction", "input"]);
  });

  it("is not opened by being selected", async () => {
    const tree = treeOf(await golden());
    const open: OpenKeys = new Set();
    expect(revealPosition(tree, open, tree.order.position[2]!)).toBe(open);
    const op = tree.order.position[4 + 5]!;
    expect([...revealPosition(tree, open, op)]).toEqual([...compiledKeys(tree)]);
  });

  it("changes neither what the graph counts nor where gradients go", async () => {
    const { regions, ...snapshot } = await golden();
    const [opened, plain] = [treeOf({ ...snapshot, graph: { ...snapshot.graph! }, regions: regions! }), treeOf({ ...snapshot, graph: { ...snapshot.graph! } })];
    const all = (tree: GraphTree) => summarise(tree, 0, tree.order.node.length);
    expect(all(opened)).toMatchObject({ nodes: all(plain).nodes, held: all(plain).held, norm: all(plain).norm });
    for (const node of [0, 1, 2, 3]) {
      expect(nodeDetails(opened, node).to).toEqual(nodeDetails(plain, node).to);
      expect(nodeDetails(opened, node).from).toEqual(nodeDetails(plain, node).from);
    }
    expect(unseenCounts(snapshot)).toEqual(new Map([["compiled", 1]]));
  });

  it("of every block folds with its like, and goes by its module", () => {
    const tree = treeOf(compiledRun([0, 0, 0, 0], [chain(0, 5)], (at) => `blocks.${at}`));
    expect(sentences(tree, new Set())).toEqual(["blocks.0, 5 ops, compiled", "blocks.1–3, ×3, 6 nodes, compiled", "MeanBackward0"]);
  });
});

describe("an op of a compiled region", () => {
  it("is found by its op, its name in the graph, and by what becomes of it", async () => {
    const tree = treeOf(await golden());
    const found = (query: string): string[] => Array.from(findPositions(tree, query), (at) => compiledOp(tree.model.inside, tree.order.node[at]!)?.name ?? "");
    expect(found("addmm")).toEqual(["addmm"]);
    expect(found("recomputed")).toEqual(["sin", "cos"]);
    expect(found("saved")).toEqual(["primals_3", "addmm"]);
  });

  it("is wired to what it uses and what uses it", async () => {
    const tree = treeOf(await golden());
    const addmm = Array.from({ length: 8 }, (_, op) => 4 + op).find((node) => compiledOp(tree.model.inside, node)!.name === "addmm")!;
    const { from, to } = nodeDetails(tree, addmm);
    expect([from.map(({ name }) => name), to.map(({ name }) => name)]).toEqual([["sin", "cos"], ["input", "input", "permute"]]);
    expect(opName(tree.model, nodeDetails(tree, 4 + 7).from[0]!.node)).toBe("CompiledFunctionBackward");
  });

  it("that uses what comes after it, as in a damaged file, is not wired to it", () => {
    const region = { ...chain(0, 4), edge_source: column("<u4", [3, 1, 2]), edge_target: column("<u4", [1, 1, 3]) };
    const tree = treeOf(compiledRun([0], [region]));
    expect(tree.groups.flatMap(({ edges }) => edges).every((end) => end >= 0)).toBe(true);
    expect(layOutLanes(buildRows(tree, compiledKeys(tree), true), 6).count).toBeLessThanOrEqual(7);
  });

  it.each([
    [[8, 2], "float32", 64],
    [[8, 2], "torch.bfloat16", 32],
    [[], "float64", 8],
    [[3], "bool", 3],
    [[4], "float8_e4m3fn", 4],
    [[2], "complex64", 16],
    [[0, 5], "int64", 0],
    [[-1, 5], "int64", Number.NaN],
    [null, "float32", Number.NaN],
    [[2], "something", Number.NaN],
  ] as const)("of shape %j and dtype %s has %d bytes", (shape, dtype, bytes) => {
    expect(bytesOf(shape, dtype)).toBe(bytes);
  });

  it.each([["aten.addmm.default", "addmm"], ["aten.add.Tensor", "add.Tensor"], ["mylib.step.default", "mylib.step"], ["input", "input"], ["aten.", "aten."]])("called %s is shown as %s", (target, shown) => {
    expect(shortTarget(target)).toBe(shown);
  });
});

describe("a region", () => {
  it("is counted without its inputs", async () => {
    expect(regionSummary((await golden()).regions![0]!)).toEqual({ forward: 5, backward: 8, saved: 2, savedBytes: 128, unsized: 0, recomputed: 2 });
  });

  it("of thousands of ops is drawn as rows, not as a drawing", () => {
    const tree = treeOf(compiledRun([0], [chain(0, 5000, (op) => op % 7 === 0)]));
    const { rows } = buildRows(tree, compiledKeys(tree), true);
    expect(rows.length).toBeGreaterThan(MOST_ITEMS);
    expect(rows.at(-1)!.setSize).toBe(2);
    const capped = capOpen(tree, compiledKeys(tree));
    expect([capped.drawable, [...capped.open]]).toEqual([true, []]);
  });

  it("that would make too many ops leaves its node closed", () => {
    const tree = treeOf(compiledRun([0, 1, 0], [chain(0, 9000), chain(1, MOST_OPS)]));
    expect([...tree.model.inside!.regions.values()].map(({ region }) => region.id)).toEqual([0, 0]);
    expect(tree.model.count).toBe(tree.model.nodes + 18_000);
  });

  it("is read once for all steps of a graph", async () => {
    const snapshot = await golden();
    const again: StepSnapshot = { ...snapshot };
    expect(graphModel(again)!.graph).toBe(graphModel(snapshot)!.graph);
  });

  it("opens one row at a time", async () => {
    const tree = treeOf(await golden());
    const [closed] = buildRows(tree, new Set(), true).rows;
    expect(closed).toMatchObject({ kind: "closed", expanded: false });
    expect(buildRows(tree, openRow(new Set(), closed!), true).rows.map(({ level }) => level)).toEqual([1, 2, 2, 2, 2, 2, 2, 2, 2, 1]);
  });
});
