import { describe, expect, it } from "vitest";
import { earlierOf } from "../shared/gradient_changes";
import { gradientFlow, type Flow } from "../shared/gradient_flow";
import { gradientRows } from "../shared/gradient_rows";
import { gradientTree } from "../shared/gradient_tree";
import { snapshotOf, type Told } from "./gradient_snapshot";

function flowOf(told: readonly Told[], classes: Record<string, string> = {}): Flow {
  const snapshot = snapshotOf(told, {}, { blocks: "ModuleList", ...classes });
  return gradientFlow(gradientTree(snapshot, gradientRows(snapshot, earlierOf(null))));
}

function blocks(count: number, of: (block: number) => Partial<Told> = () => ({})): Told[] {
  return Array.from({ length: count }, (_, at) => ["ln.weight", "ln.bias", "fc.weight", "fc.bias"].map((path) => ({ path: `blocks.${at}.${path}`, ...of(at) }))).flat();
}

describe("gradient flow", () => {
  it("has one point for each block, in order, with its parameters as ticks", () => {
    const { points } = flowOf([{ path: "emb.weight", l2: 3 }, ...blocks(14)]);
    expect(points.map((point) => point.label)).toEqual(["emb", ...Array.from({ length: 14 }, (_, at) => String(at))]);
    expect(points[1]).toMatchObject({ norm: 2, ticks: [1, 1, 1, 1] });
  });

  it("opens the blocks of a small model", () => {
    expect(flowOf(blocks(2)).points.map((point) => point.fullName)).toEqual([
      "model.blocks.0.ln", "model.blocks.0.fc", "model.blocks.1.ln", "model.blocks.1.fc",
    ]);
  });

  it("draws neighbouring blocks of a very deep model as one point, and nothing else with them", () => {
    const deep = flowOf([{ path: "emb.weight" }, ...blocks(100)]).points;
    expect(deep[0]).toMatchObject({ label: "emb" });
    const { points } = flowOf(blocks(100));
    expect(points.length).toBeLessThanOrEqual(48);
    expect(points[0]).toMatchObject({ label: "0–2", fullName: "model.blocks.0–2" });
    expect(points.flatMap((point) => point.nodes)).toHaveLength(100);
  });

  it("stays small for thousands of parameters without modules", () => {
    expect(flowOf(Array.from({ length: 5000 }, (_, at) => ({ path: `p${at}` }))).points.length).toBeLessThanOrEqual(48);
    expect(flowOf([]).points).toEqual([]);
  });

  it("keeps NaN and None on rails beside the finite rest", () => {
    const { points } = flowOf([...blocks(14), { path: "bad.a", nan: 1, l2: 4 }, { path: "bad.b", state: "None" }]);
    expect(points.at(-1)).toMatchObject({ norm: 4, rail: { above: "NaN", none: "None" } });
  });

  it("has no mark where nothing is finite, and none at 0", () => {
    const { points } = flowOf([{ path: "a.x", state: "None" }, { path: "b.x", l2: 0 }, { path: "c.x", state: "unread" }]);
    expect(points.map((point) => [point.norm, point.rail.none])).toEqual([[null, "None"], [null, "zero"], [null, null]]);
  });

  it("keeps the usual decades, opens them to what lies outside and ends at 1e−12", () => {
    expect(flowOf([{ path: "a", l2: 1e-2 }]).decades).toEqual({ lowest: -9, highest: 1 });
    expect(flowOf([{ path: "a", l2: 3e-10 }, { path: "b", l2: 2e4 }]).decades).toEqual({ lowest: -10, highest: 5 });
    expect(flowOf([{ path: "a", l2: 1e-20 }]).decades.lowest).toBe(-12);
  });

  it("knows how far backward has come", () => {
    expect(flowOf(blocks(14, (at) => ({ pending: at < 8 }))).reached).toBe(8);
    expect(flowOf(blocks(14)).reached).toBe(-1);
    expect(flowOf(blocks(14, (at) => ({ pending: at % 2 === 0 }))).reached).toBe(-1);
    expect(flowOf(blocks(14, () => ({ pending: true }))).reached).toBe(14);
  });

  it("draws leaf tensors where there is no module", () => {
    expect(flowOf([{ path: "x", leaf: true }, { path: "w", leaf: true, l2: 2 }]).points.map((point) => point.norm)).toEqual([1, 2]);
  });
});
