import { describe, expect, it } from "vitest";
import { groupGraph, type GraphTree } from "../shared/graph_groups";
import { layOutLanes } from "../shared/graph_lanes";
import { graphModel } from "../shared/graph_model";
import { nodeDetails } from "../shared/graph_node";
import { partsOf } from "../shared/graph_paths";
import { buildRows, type GraphRow } from "../shared/graph_rows";
import { troublePositions } from "../shared/graph_search";
import { summarise } from "../shared/graph_summary";
import { moduleName, rowCopy, rowDetail, rowName, rowSentence } from "../shared/graph_words";
import { branchPath, edgesAt, edgeWidth, laneGeometry, nodeRadius, trunkPath } from "../webview/graph/lane_paths";
import { snapshotOf, Tape, transformer, type GraphTest } from "./graph_snapshot";

function treeOf(tape: Tape, test: GraphTest = {}): GraphTree {
  return groupGraph(graphModel(snapshotOf(tape, test))!, false);
}

function rowsOf(tree: GraphTree, byModule = true): readonly GraphRow[] {
  return buildRows(tree, new Set(), byModule).rows;
}

describe("module paths", () => {
  it("join an index with its list, and a bare index with the variable that holds it", () => {
    const names = (path: string): string[] => partsOf({ root: "model", path }, false).map((part) => part.name);
    expect(names("encoder.layers.3.attn")).toEqual(["encoder", "layers.3", "attn"]);
    expect(names("features.0.1")).toEqual(["features.0", "1"]);
    expect(names("4")).toEqual(["model.4"]);
    expect(names("")).toEqual([]);
    expect(partsOf({ root: "actor", path: "body" }, true).map((part) => part.name)).toEqual(["actor", "body"]);
  });

  it("are keys without a space, as they are ids of elements", () => {
    expect(partsOf({ root: "models['a b']", path: "body" }, true).some((part) => /\s/.test(part.key))).toBe(false);
  });

  it("are told with their root where they say nothing without it", () => {
    expect([moduleName({ root: "net", path: "" }), moduleName({ root: "net", path: "0.fc" }), moduleName({ root: "net", path: "fc" })]).toEqual(["net", "net.0.fc", "fc"]);
  });
});

describe("what a row says", () => {
  const tree = treeOf(transformer(7), { running: 60, norms: new Map([[60, 0.25]]), nan: [] });

  it("names the module of an operation beside it, and its whole path in the flat list", () => {
    const flat = rowsOf(tree, false)[1]!;
    expect(rowDetail(tree, flat, summarise(tree, 1, 2))).toBe("qkv");
    expect(rowDetail(tree, flat, summarise(tree, 1, 2), true)).toBe("blocks.0.attn.qkv");
    expect(rowName(tree, flat, true)).toBe("Addmm");
  });

  it("has the state, times, bytes and gradient of a fold in one sentence", () => {
    const fold = rowsOf(tree).find((row) => row.kind === "fold")!;
    const sentence = rowSentence(tree, fold, summarise(tree, fold.start, fold.end));
    expect(sentence).toBe("blocks.0–6, ×7, 189 nodes, running, 1.20 GiB saved, 918 MiB released, gradient 2.50e−1");
  });

  it("is copied in full precision with its place", () => {
    const row = rowsOf(tree, false)[60]!;
    const [name, module, place, held, , norm] = rowCopy(tree, row, summarise(tree, 60, 61)).split("\t");
    expect([name, module, place, norm]).toEqual(["NativeLayerNormBackward0", "blocks.3.ln2", "/home/someone/model.py:89", "0.25"]);
    expect(Number(held)).toBe(15 * 1024 ** 2);
  });
});

describe("trouble", () => {
  it("is what is not finite; where nothing is, what lies on the path of it", () => {
    const bad = treeOf(transformer(2), { running: 20, norms: new Map([[20, 1]]), nan: [20] });
    expect([...troublePositions(bad)]).toEqual([20]);
    expect([...troublePositions(treeOf(transformer(2)))]).toEqual([]);
  });
});

describe("what a node computed", () => {
  it("is known where all it goes to was reached by it alone", () => {
    const tape = transformer(1);
    const snapshot = snapshotOf(tape, { running: 4, norms: new Map([[8, 3], [7, 0.5], [6, 2], [4, 1.5]]) });
    const tree = groupGraph(graphModel(snapshot)!, false);
    const first = snapshot.parameters!.length;
    expect(nodeDetails(tree, first + 8).gradientOut).toMatchObject({ norm: 0.5, count: 64 });
    expect(nodeDetails(tree, first + 7).gradientOut!.norm).toBeCloseTo(2.5);
    expect(nodeDetails(tree, first + 9).gradientOut).toBeNull();
  });
});

describe("lane geometry", () => {
  it("keeps all lanes inside their column, wide and narrow, spine first", () => {
    for (const narrow of [false, true]) {
      for (let lanes = 0; lanes <= 4; lanes++) {
        const { x, width } = laneGeometry(narrow, lanes);
        expect(x).toHaveLength(lanes + 1);
        expect([...x].sort((a, b) => a - b)).toEqual(x);
        expect(Math.max(...x)).toBeLessThan(width);
      }
    }
  });

  it("does not draw a lane beyond the rows in view", () => {
    const geometry = laneGeometry(false, 1);
    const trunk = { lane: 1, top: 0, bottom: 9000, topEnd: true, bottomEnd: true, count: 1, flow: 0 };
    const [from, to] = trunkPath(geometry, trunk, [100, 140]).match(/ ([\d.]+)V([\d.]+)/)!.slice(1).map(Number);
    expect([from! >= 99 * 23, to! <= 142 * 23]).toEqual([true, true]);
    expect(trunkPath(geometry, { ...trunk, bottom: 20 }, [100, 140])).toBe("");
  });

  it("curves a branch the way that its lane goes on", () => {
    const geometry = laneGeometry(false, 1);
    const y = (down: boolean): number => Number(branchPath(geometry, { lane: 1, row: 4, down, count: 1, flow: 0 }).split(" ").pop());
    expect(y(true)).toBeGreaterThan(4.5 * 23);
    expect(y(false)).toBeLessThan(4.5 * 23);
  });

  it("finds every edge of a row, over headings too", () => {
    const tree = treeOf(transformer(2));
    const open = new Set(["model:blocks.1"]);
    const rows = buildRows(tree, open, true);
    const lanes = layOutLanes(rows, 3);
    const heading = rows.rows.findIndex((row) => row.kind === "open");
    const ends = edgesAt(lanes, heading + 1).map(({ edge }) => [edge.upper, edge.lower]);
    expect(ends).toContainEqual([heading - 1, heading + 1]);
  });

  it("gives area to bytes, from a least size on, and no edge more than 3.2 px", () => {
    expect(nodeRadius(0, 100)).toBe(nodeRadius(1, 100));
    expect(nodeRadius(100, 100) / nodeRadius(25, 100)).toBeCloseTo(2);
    expect([edgeWidth(1), edgeWidth(100_000)]).toEqual([1.4, 3.2]);
  });
});
