import { describe, expect, it } from "vitest";
import { groupGraph, type GraphTree } from "../shared/graph_groups";
import { FLOWS, layOutLanes, piecesBetween, type Lanes } from "../shared/graph_lanes";
import { graphModel } from "../shared/graph_model";
import { openAll, revealPosition } from "../shared/graph_open";
import { buildRows, type GraphRows, type OpenKeys } from "../shared/graph_rows";
import { snapshotOf, Tape, transformer, type GraphTest } from "./graph_snapshot";

function treeOf(tape: Tape, test: GraphTest = {}): GraphTree {
  return groupGraph(graphModel(snapshotOf(tape, test))!, false);
}

/** Every pair of visible rows that an edge of the graph joins, and what the lanes join. */
function joined(rows: GraphRows): Set<string> {
  const { tree, rowOf } = rows;
  const { edges, isLeaf } = tree.model;
  const pairs = new Set<string>();
  for (let edge = 0; edge < edges.count; edge++) {
    if (isLeaf[edges.target[edge]!]) continue;
    const [a, b] = [rowOf[tree.order.position[edges.source[edge]!]!]!, rowOf[tree.order.position[edges.target[edge]!]!]!];
    if (a !== b) pairs.add(`${Math.min(a, b)}-${Math.max(a, b)}`);
  }
  return pairs;
}

function drawn(lanes: Lanes): Set<string> {
  const links = lanes.spine.flatMap((edge) => (edge ? [edge] : []));
  return new Set([...links, ...lanes.nets.flatMap((net) => net.ends)].map((edge) => `${edge.upper}-${edge.lower}`));
}

/** A random directed acyclic graph with modules; the same for the same seed. */
function randomTape(seed: number): Tape {
  let state = seed * 2654435761;
  const random = (below: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const tape = new Tape();
  const size = 5 + random(60);
  for (let op = 0; op < size; op++) {
    const inputs = Array.from({ length: op === 0 ? 0 : 1 + random(3) }, () => random(2) ? op - 1 : random(op));
    const block = Math.floor(op / 7);
    const module = random(4) ? `blocks.${block}${random(3) ? ".inner" : ""}` : undefined;
    tape.op(["Mul", "Add", "Exp"][random(3)]! + "Backward0", inputs, { module });
  }
  return tape;
}

describe("lanes", () => {
  it("draw every edge between visible rows and no other, in random graphs, open and closed", () => {
    for (let seed = 1; seed <= 60; seed++) {
      const tree = treeOf(randomTape(seed));
      const opens: OpenKeys[] = [new Set(), openAll(tree), revealPosition(tree, new Set(), tree.order.node.length >> 1)];
      for (const open of opens) {
        const rows = buildRows(tree, open, true);
        expect(drawn(layOutLanes(rows, 3)), `seed ${seed}`).toEqual(joined(rows));
      }
    }
  });

  it("never let two nets overlap in one lane, but for the bundle", () => {
    for (let seed = 1; seed <= 60; seed++) {
      const rows = buildRows(treeOf(randomTape(seed)), new Set(), false);
      const { nets, bundle, count } = layOutLanes(rows, 3);
      expect(count).toBeLessThanOrEqual(4);
      for (const a of nets) {
        for (const b of nets) {
          if (a !== b && a.lane === b.lane && a.lane !== bundle) expect(a.bottom <= b.top || b.bottom <= a.top).toBe(true);
        }
      }
    }
  });

  it("show in a window what of every lane passes through it", () => {
    for (let seed = 1; seed <= 20; seed++) {
      const rows = buildRows(treeOf(randomTape(seed)), new Set(), false);
      const lanes = layOutLanes(rows, 3);
      const middle = rows.rows.length >> 1;
      const { trunks, branches } = piecesBetween(lanes, middle, middle);
      for (const net of lanes.nets) {
        const passes = net.top < middle && net.bottom > middle;
        if (passes) expect(trunks.some((trunk) => trunk.lane === net.lane && trunk.top <= middle && trunk.bottom >= middle)).toBe(true);
      }
      for (const net of lanes.nets) {
        const ends = [net.apex, ...net.ends.map((edge) => (net.below ? edge.lower : edge.upper))];
        if (ends.includes(middle)) expect(branches.some((branch) => branch.lane === net.lane && branch.row === middle)).toBe(true);
      }
    }
  });

  it("share one lane among the users of one output", () => {
    const tape = new Tape();
    const memory = tape.op("LayerNormBackward0");
    let x = tape.op("EmbeddingBackward0");
    for (let i = 0; i < 12; i++) x = tape.op("BmmBackward0", [x, memory]);
    const { nets, count } = layOutLanes(buildRows(treeOf(tape), new Set(), false), 3);
    expect(count).toBe(1);
    expect(nets[0]!.ends).toHaveLength(12);
  });

  it("merge the edges of closed groups and count them", () => {
    const tree = treeOf(transformer(3));
    const rows = buildRows(tree, new Set(), true);
    const lanes = layOutLanes(rows, 3);
    expect(rows.rows.map((row) => row.name)).toContain("blocks.0–2");
    expect(lanes.spine[0]).toMatchObject({ upper: 0, lower: 1, count: 2 });
    expect(lanes.nets).toEqual([]);
  });

  it("leave the lanes of other rows where they are when a group is opened below them", () => {
    const tape = transformer(4);
    const tree = treeOf(tape);
    const open = revealPosition(tree, new Set(), 5);
    const before = layOutLanes(buildRows(tree, open, true), 3);
    const after = layOutLanes(buildRows(tree, revealPosition(tree, open, 50), true), 3);
    const ofFirst = (lanes: Lanes): string[] => lanes.nets.filter((net) => net.bottom < 15).map((net) => `${net.top}-${net.bottom}: ${net.lane}`);
    expect(ofFirst(before).length).toBeGreaterThan(0);
    expect(ofFirst(after)).toEqual(ofFirst(before));
  });

  it("say how far gradient has come along each edge", () => {
    const tape = transformer(2);
    const running = 6;
    const rows = buildRows(treeOf(tape, { running, norms: new Map([[running, 1]]), nan: [running] }), new Set(), false);
    const { spine } = layOutLanes(rows, 3);
    expect(FLOWS[spine[running + 1]!.flow]).toBe("passed");
    expect(FLOWS[spine[running]!.flow]).toBe("running");
    expect(FLOWS[spine[running - 1]!.flow]).toBe("on path");
  });

  it("mark the edge that reaches the running node", () => {
    const tape = transformer(1);
    const rows = buildRows(treeOf(tape, { running: 10 }), new Set(), false);
    const { spine, nets } = layOutLanes(rows, 3);
    expect(FLOWS[spine[10]!.flow]).toBe("running");
    expect(FLOWS[spine[9]!.flow]).toBe("pending");
    expect(nets.some((net) => net.ends.some((edge) => FLOWS[edge.flow] === "running"))).toBe(true);
  });
});
