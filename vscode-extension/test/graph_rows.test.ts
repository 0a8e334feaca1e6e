import { describe, expect, it } from "vitest";
import { groupGraph, type GraphTree } from "../shared/graph_groups";
import { graphModel, opName } from "../shared/graph_model";
import { closeRow, openAll, openAtFirst, openRow, revealModule, revealPosition } from "../shared/graph_open";
import { buildRows, type GraphRow, type OpenKeys } from "../shared/graph_rows";
import { summarise } from "../shared/graph_summary";
import { nodeOf, snapshotOf, Tape, transformer, type GraphTest } from "./graph_snapshot";

function treeOf(tape: Tape, test: GraphTest = {}, withLeaves = false): GraphTree {
  return groupGraph(graphModel(snapshotOf(tape, test))!, withLeaves);
}

const CLOSED: OpenKeys = new Set();

function names(tree: GraphTree, open: OpenKeys = CLOSED): string[] {
  return buildRows(tree, open, true).rows.map(text);
}

function text(row: GraphRow): string {
  return `${"  ".repeat(row.level - 1)}${row.name}${row.kind === "fold" ? ` x${row.count}` : row.kind === "open" ? " open" : ""}`;
}

function rowNamed(tree: GraphTree, open: OpenKeys, name: string): GraphRow {
  return buildRows(tree, open, true).rows.find((row) => row.name === name)!;
}

describe("groups", () => {
  it("stand in forward order, closed, with repeated blocks folded", () => {
    expect(names(treeOf(transformer(12)))).toEqual([
      "EmbeddingBackward0",
      "blocks.0–11 x12",
      "NativeLayerNormBackward0",
      "MeanBackward0",
    ]);
  });

  it("name a module of one operation beside that operation", () => {
    const tree = treeOf(transformer(2));
    expect(tree.single.get(0)!.name).toBe("emb.wte");
  });

  it("leave the root module's own name out where there is one root, and show it where there are several", () => {
    const tape = new Tape();
    const a = tape.op("MulBackward0", [], { module: "actor.body" });
    const b = tape.op("AddBackward0", [a], { module: "actor.body" });
    const one = treeOf(tape, { roots: ["actor"] });
    expect(names(one)).toEqual(["body"]);
    tape.op("MulBackward0", [b], { module: "critic" });
    const several = treeOf(tape, { roots: ["actor", "critic"] });
    expect(names(several)).toEqual(["actor.body", "MulBackward0"]);
    expect(several.single.get(2)!.name).toBe("critic");
  });

  it("put a node of no module between the groups, by its sequence", () => {
    const tape = new Tape();
    let x = tape.op("MulBackward0", [], { module: "a" });
    x = tape.op("AddBackward0", [x], { module: "a" });
    x = tape.op("ExpBackward0", [x]);
    x = tape.op("MulBackward0", [x], { module: "b" });
    tape.op("SumBackward0", [x], { module: "b" });
    expect(names(treeOf(tape))).toEqual(["a", "ExpBackward0", "b"]);
  });

  it("make a group of each call of a module that is called again elsewhere", () => {
    const tape = new Tape();
    let x = tape.op("MulBackward0", [], { module: "cell" });
    x = tape.op("AddBackward0", [x], { module: "cell" });
    x = tape.op("ExpBackward0", [x]);
    x = tape.op("LogBackward0", [x], { module: "cell" });
    tape.op("SumBackward0", [x], { module: "cell" });
    const tree = treeOf(tape);
    expect(names(tree)).toEqual(["cell", "ExpBackward0", "cell"]);
    expect(new Set(tree.groups.map((group) => group.key)).size).toBe(3);
  });

  it("tell the module of a node between two of one call where nothing recorded it, and say so", () => {
    const tape = transformer(3, (module) => /qkv|proj|fc|ln|wte/.test(module));
    const tree = treeOf(tape, { recorded: false });
    const open = revealPosition(tree, CLOSED, 5);
    expect(names(tree, open)).toContain("    SoftmaxBackward0");
    expect(tree.estimated[5]).toBe(1);
    expect(treeOf(tape, { recorded: true }).estimated[5]).toBe(0);
  });

  it("give leaves rows before their first user only when asked", () => {
    const tree = treeOf(transformer(1), {}, true);
    const open = openAll(tree);
    const rows = buildRows(tree, open, true).rows.filter((row) => row.name === "AccumulateGrad");
    expect(rows).toHaveLength(15);
    expect(tree.order.node).toHaveLength(tree.model.count);
    const own = treeOf(transformer(1));
    expect(own.order.position[0]).toBe(0);
  });

  it("keep what create_graph made in backward apart", () => {
    const tape = new Tape();
    const x = tape.op("PowBackward0", [], { module: "net" });
    const y = tape.op("MulBackward0", [x], { inBackward: true });
    tape.op("MulBackward0", [y], { inBackward: true });
    const tree = treeOf(tape);
    expect(buildRows(tree, CLOSED, true).rows.map((row) => tree.groups[row.group]!.kind)).toEqual(["graph", "backward"]);
  });

  it("hold every position exactly once, in order, whatever is open", () => {
    const tree = treeOf(transformer(5));
    for (const open of [CLOSED, openAll(tree), revealPosition(tree, CLOSED, 30)]) {
      const marks = buildRows(tree, open, true).rows.filter((row) => row.kind !== "open");
      expect(marks.map((row) => row.start)).toEqual([0, ...marks.slice(0, -1).map((row) => row.end)]);
      expect(marks[marks.length - 1]!.end).toBe(tree.order.node.length);
    }
  });
});

describe("folds", () => {
  it("compare structure: a block with another operation inside is not folded, though named alike", () => {
    const tape = transformer(2);
    let x = tape.nodes.length - 1;
    for (let i = 2; i < 4; i++) {
      x = tape.op("AddmmBackward0", [x], { module: `blocks.${i}.fc` });
      x = tape.op(i === 2 ? "TanhBackward0" : "ReluBackward0", [x], { module: `blocks.${i}` });
    }
    expect(names(treeOf(tape)).slice(-2)).toEqual(["blocks.2", "blocks.3"]);
  });

  it("compare wiring: the same operations connected otherwise are not folded", () => {
    const tape = new Tape();
    let x = tape.op("MulBackward0");
    for (let i = 0; i < 3; i++) {
      const a = tape.op("ExpBackward0", [x], { module: `blocks.${i}` });
      const b = tape.op("SinBackward0", [a], { module: `blocks.${i}` });
      x = tape.op("AddBackward0", [i === 1 ? a : b, i === 1 ? b : a], { module: `blocks.${i}` });
    }
    expect(names(treeOf(tape))).toEqual(["MulBackward0", "blocks.0", "blocks.1", "blocks.2"]);
  });

  it("do not join siblings of other names", () => {
    const tape = new Tape();
    let x = tape.op("MulBackward0");
    for (const name of ["query", "key", "value"]) {
      x = tape.op("AddBackward0", [x], { module: name });
      x = tape.op("ExpBackward0", [x], { module: name });
    }
    expect(names(treeOf(tape)).slice(1)).toEqual(["query", "key", "value"]);
  });

  it("take loose operations behind a block with it", () => {
    const tape = new Tape();
    let x = tape.op("EmbeddingBackward0");
    for (let i = 0; i < 6; i++) {
      const a = tape.op("AddmmBackward0", [x], { module: `blocks.${i}` });
      const b = tape.op("GeluBackward0", [a], { module: `blocks.${i}` });
      x = tape.op("AddBackward0", [x, b]);
    }
    const tree = treeOf(tape);
    expect(names(tree)).toEqual(["EmbeddingBackward0", "blocks.0–5 x6"]);
    expect(summarise(tree, 1, 19).nodes).toBe(18);
  });

  it("find a loop of operations of no module", () => {
    const tape = new Tape();
    let x = tape.op("EmbeddingBackward0");
    for (let i = 0; i < 100; i++) x = tape.op("TanhBackward0", [tape.op("AddBackward0", [tape.op("MmBackward0", [x]), x])]);
    expect(names(treeOf(tape))).toEqual(["EmbeddingBackward0", "Mm, Add, Tanh x100"]);
  });

  it("split where one is opened, and close again", () => {
    const tree = treeOf(transformer(12));
    let open = openRow(CLOSED, rowNamed(tree, CLOSED, "blocks.0–11"));
    expect(names(tree, open).slice(1, 13)).toEqual(Array.from({ length: 12 }, (_, i) => `blocks.${i}`));
    open = openRow(open, rowNamed(tree, open, "blocks.7"));
    expect(names(tree, open).filter((name) => name.startsWith("blocks"))).toEqual([
      "blocks.0–6 x7",
      "blocks.7 open",
      "blocks.8–11 x4",
    ]);
    open = closeRow(open, rowNamed(tree, open, "blocks.7"));
    expect(names(tree, open)).toEqual(names(tree));
  });

  it("fold again from a unit that was shown alone", () => {
    const tree = treeOf(transformer(4));
    const listed = openRow(CLOSED, rowNamed(tree, CLOSED, "blocks.0–3"));
    expect(names(tree, closeRow(listed, rowNamed(tree, listed, "blocks.2")))).toEqual(names(tree));
    const alone = revealModule(tree, CLOSED, "model", "blocks.2");
    expect(names(tree, alone).slice(1, 4)).toEqual(["blocks.0–1 x2", "blocks.2", "blocks.3"]);
    expect(names(tree, closeRow(alone, rowNamed(tree, alone, "blocks.2")))).toEqual(names(tree));
  });

  it("open just enough for a node to have its own row", () => {
    const tape = transformer(12);
    const tree = treeOf(tape);
    const soft = tape.nodes.findIndex((node) => node.name === "SoftmaxBackward0" && node.module === "blocks.7.attn");
    const open = revealPosition(tree, CLOSED, soft);
    const { rows, rowOf } = buildRows(tree, open, true);
    expect(rows[rowOf[soft]!]!.kind).toBe("op");
    expect(names(tree, open).filter((name) => / open| x\d/.test(name))).toEqual([
      "blocks.0–6 x7",
      "blocks.7 open",
      "  attn open",
      "blocks.8–11 x4",
    ]);
  });

  it("open around the running node at a stop in backward", () => {
    const snapshot = snapshotOf(transformer(6), { running: 40 });
    const tree = groupGraph(graphModel(snapshot)!, false);
    const open = openAtFirst(tree, nodeOf(snapshot, 40));
    const { rows, rowOf } = buildRows(tree, open, true);
    expect(rows[rowOf[40]!]!.kind).toBe("op");
    expect(rows.length).toBeLessThan(25);
  });
});

describe("the flat list", () => {
  it("has one row a node, in sequence, with nothing folded", () => {
    const tree = treeOf(transformer(3));
    const { rows } = buildRows(tree, CLOSED, false);
    expect(rows.map((row) => row.name)).toEqual([...tree.order.node].map((node) => opName(tree.model, node)));
    expect(rows.every((row) => row.level === 1 && row.kind === "op")).toBe(true);
  });
});

describe("tree positions", () => {
  it("count the siblings of each row", () => {
    const tree = treeOf(transformer(4));
    const open = revealPosition(tree, CLOSED, 5);
    for (const row of buildRows(tree, open, true).rows) {
      expect(row.posInSet).toBeGreaterThan(0);
      expect(row.posInSet).toBeLessThanOrEqual(row.setSize);
    }
    const top = buildRows(tree, open, true).rows.filter((row) => row.level === 1);
    expect(top.map((row) => row.posInSet)).toEqual(top.map((_, i) => i + 1));
    expect(top[0]!.setSize).toBe(top.length);
  });
});
