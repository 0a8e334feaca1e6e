/** Two graphs side by side: which node is which, in which order backward reaches them, and how much is told. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as zlib from "node:zlib";
import { describe, expect, it } from "vitest";
import { ComparedGraph, GraphPair } from "../shared/compare_graphs";
import { pairedNames } from "../shared/compare_names";
import { Pace } from "../shared/compare_pace";
import { ComparedSide } from "../shared/compare_side";
import { bestDecompress, type NodeZlib } from "../shared/mcap_zstd";
import { RecordedSession } from "../shared/recorded_session";
import { GOLDEN, MemoryFile } from "./recorded_files";

async function sideOf(name: string): Promise<ComparedSide> {
  const bytes = new Uint8Array(readFileSync(join(GOLDEN, "compare", `${name}.gradwatch`)));
  return ComparedSide.of(await RecordedSession.open(new MemoryFile(bytes), { name, decompress: await bestDecompress(zlib as NodeZlib) }));
}

async function pairOf(a: string, b: string): Promise<GraphPair> {
  const [first, second] = [await sideOf(a), await sideOf(b)];
  const graphs = await Promise.all([first, second].map(async (side) => new ComparedGraph(side, (await side.session.graph(0))!)));
  return GraphPair.of(graphs[0]!, graphs[1]!, pairedNames(first, second), new Pace());
}

const AT = { a: 0, b: 0, backward: 0 };

describe("a pair of graphs", () => {
  it("of one structure pairs nodes by index and differs in nothing", async () => {
    const pair = await pairOf("plain", "same");
    expect(pair.sameStructure).toBe(true);
    expect([...pair.secondOf]).toEqual([...pair.secondOf.keys()]);
    expect(await pair.difference(AT, 9, new Pace())).toBeNull();
  });

  it("of two structures pairs nodes by place", async () => {
    const pair = await pairOf("plain", "deeper");
    expect(pair.sameStructure).toBe(false);
    expect([...pair.secondOf].every((second, first) => pair.a.name(first) === pair.b.name(second) && pair.firstOf[second] === first)).toBe(true);
    const difference = (await pair.difference(AT, 99, new Pace()))!;
    expect(difference.found.only_b.map(({ name, module, parameter }) => module ?? parameter ?? name)).toEqual(["extra.weight", "extra.bias", "extra"]);
    expect([difference.found.only_a, difference.unlisted]).toEqual([[], 0]);
  });

  it("tells no more nodes than it may, and how many are left out", async () => {
    const difference = (await (await pairOf("plain", "deeper")).difference(AT, 1, new Pace()))!;
    expect([difference.found.only_b.length, difference.unlisted]).toEqual([1, 2]);
  });

  it("puts nodes in the order that autograd runs them: a leaf right after the last that gives to it", async () => {
    const pair = await pairOf("plain", "same");
    const position = pair.engineOrder();
    const order = [...position.keys()].sort((x, y) => position[x]! - position[y]!);
    const said = order.map((node) => pair.a.node(node)).map(({ name, parameter }) => parameter ?? name);
    expect(said).toEqual([
      "MeanBackward0", "PowBackward0", "AddmmBackward0", "second.weight", "second.bias", "TanhBackward0", "AddmmBackward0",
      "ExpandBackward0", "first.bias", "TBackward0", "first.weight",
    ]);
  });
});
