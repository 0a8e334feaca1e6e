import { describe, expect, it } from "vitest";
import { groupGraph, type GraphTree } from "../shared/graph_groups";
import { graphModel, opName, shortName } from "../shared/graph_model";
import { follow, nodeDetails } from "../shared/graph_node";
import { findPositions, nextMatch } from "../shared/graph_search";
import { summarise } from "../shared/graph_summary";
import { nodeOf, snapshotOf, Tape, transformer, type GraphTest } from "./graph_snapshot";

const MIB = 1024 ** 2;

function treeOf(tape: Tape, test: GraphTest = {}): GraphTree {
  return groupGraph(graphModel(snapshotOf(tape, test))!, false);
}

function found(tree: GraphTree, query: string): string[] {
  return [...findPositions(tree, query)].map((position) => opName(tree.model, tree.order.node[position]!));
}

describe("search", () => {
  const tree = treeOf(transformer(4), { norms: new Map([[20, 1]]), nan: [20] });

  it("finds an op in any case", () => {
    expect(found(tree, "softmax")).toEqual(Array.from({ length: 4 }, () => "SoftmaxBackward0"));
  });

  it("finds by module, line, source text and parameter, every word of it", () => {
    expect(found(tree, "blocks.2 softmax")).toEqual(["SoftmaxBackward0"]);
    expect(found(tree, "model.py:67")).toEqual(Array.from({ length: 4 }, () => "GeluBackward0"));
    expect(found(tree, "F.gelu(h) blocks.0")).toEqual(["GeluBackward0"]);
    expect(found(tree, "blocks.3.mlp.fc2.bias")).toEqual(["AddmmBackward0"]);
  });

  it("finds fuzzily where nothing has the word as it stands", () => {
    expect(found(tree, "b3qkv")).toEqual(["AddmmBackward0"]);
    expect(found(tree, "nonsense")).toEqual([]);
  });

  it("finds trouble and what holds more than a size", () => {
    expect(findPositions(tree, ":trouble")).toContain(20);
    expect(found(tree, ":held>50MiB")).toEqual(Array.from({ length: 4 }, () => "SoftmaxBackward0"));
  });

  it("goes around the end in both directions", () => {
    const matches = Int32Array.of(3, 9, 14);
    expect([3, 14, -1].map((at) => nextMatch(matches, at, 1))).toEqual([9, 3, 3]);
    expect([9, 3].map((at) => nextMatch(matches, at, -1))).toEqual([3, 14]);
    expect(nextMatch(new Int32Array(0), 4, 1)).toBe(-1);
  });
});

describe("what a closed group shows", () => {
  it("adds up bytes, counts leaves as nodes, and gives the norm that backward reached last", () => {
    const tree = treeOf(transformer(2), { norms: new Map([[4, 0.5], [6, 0.25]]), running: 4 });
    const group = tree.groups.find((one) => one.key.endsWith("blocks.0"))!;
    const summary = summarise(tree, group.start, group.end);
    expect(summary.nodes).toBe(15 + 12);
    expect(summary.held + summary.released).toBe(MIB * (12 + 24 + 96 + 24 + 12 + 15 + 12 + 48 + 48 + 15));
    expect(summary.norm).toMatchObject({ norm: 0.5, from: "now" });
    expect(summary.state).toBe("running");
  });

  it("takes parameters' .grad where the nodes' gradients were not seen, and says when it is from before", () => {
    const test = { parameterNorms: new Map([["emb.wte.weight", 3]]), pendingParameters: ["emb.wte.weight"] };
    const tree = treeOf(transformer(1), test);
    expect(summarise(tree, 0, 1).norm).toEqual({ norm: 3, from: "before", nonFinite: null });
    expect(summarise(tree, 1, 2).norm).toBeNull();
  });

  it("knows what will get a NaN: only what lies before the node that has it", () => {
    const tape = transformer(2);
    const snapshot = snapshotOf(tape, { running: 21, norms: new Map([[21, 1], [25, 1]]), nan: [21] });
    const tree = groupGraph(graphModel(snapshot)!, false);
    expect(summarise(tree, 21, 22).trouble).toBe("NaN");
    expect(summarise(tree, 2, 3).trouble).toBe("on path");
    expect(summarise(tree, 22, 23).trouble).toBeNull();
  });
});

describe("a node", () => {
  const tape = transformer(2);
  const snapshot = snapshotOf(tape, { running: 20 });
  const tree = groupGraph(graphModel(snapshot)!, false);
  const soft = nodeOf(snapshot, tape.nodes.findIndex((node) => node.name === "SoftmaxBackward0"));

  it("names its module, line, neighbours and what it saved", () => {
    const details = nodeDetails(tree, soft);
    expect(details.module).toEqual({ root: "model", path: "blocks.0.attn", estimated: false });
    expect([details.site?.line, details.siteText]).toEqual([51, "att = scores.softmax(-1)"]);
    expect(details.from.map((link) => link.name)).toEqual(["BmmBackward0"]);
    expect(details.to.map((link) => link.name)).toEqual(["BmmBackward0"]);
    expect(details.saved.map((row) => row.bytes)).toEqual([96 * MIB]);
  });

  it("is followed along next_functions to operations before leaves, and back", () => {
    const qkv = nodeOf(snapshot, 1);
    expect(follow(tree, soft, "next")).toBe(soft - 1);
    expect(opName(tree.model, follow(tree, qkv, "next"))).toBe("EmbeddingBackward0");
    expect(opName(tree.model, follow(tree, nodeOf(snapshot, 0), "next"))).toBe("AccumulateGrad");
    expect(follow(tree, tree.model.count - 1, "back")).toBe(-1);
  });

  it("loses its suffix where there is little room, and never its whole name", () => {
    expect(["AddmmBackward0", "AddBackward1", "Backward", "AccumulateGrad"].map(shortName)).toEqual([
      "Addmm",
      "AddBackward1",
      "Backward",
      "AccumulateGrad",
    ]);
  });
});
