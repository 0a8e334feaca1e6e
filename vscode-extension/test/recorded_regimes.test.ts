/** The golden session of a compiled, scaled and distributed program: what was worked out by hand is what is read. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { numbers } from "../shared/answer";
import { gradientModel } from "../shared/gradient_model";
import { opsOf } from "../shared/graph_compiled";
import type { Moment } from "../shared/replay";
import { marksOf } from "../shared/replay_marks";
import { GOLDEN, goldenBytes, MemoryFile, openSession, openWithout } from "./recorded_files";
import { goldenSource, memorySource, openedReplay } from "./replay_fake";
import { finish, parameters, RUN, sessionBytes, stepRecords, type StepOptions, type Written } from "./session_builder";

interface Expected {
  readonly scaled: readonly { readonly number: number; readonly loss_scale: number; readonly skipped: boolean }[];
  readonly local: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly compiled: {
    readonly node: number;
    readonly name: string;
    readonly backend: string;
    readonly ops: readonly string[];
    readonly forward: number;
    readonly saved: readonly string[];
    readonly saved_bytes: readonly number[];
    readonly recomputed: readonly string[];
    readonly lines: Readonly<Record<string, string | null>>;
  };
}

const EXPECTED = JSON.parse(readFileSync(join(GOLDEN, "regimes.json"), "utf8")) as Expected;
const AT = (step: number): Moment => ({ kind: "step", rank: 0, step });

describe("a step that a GradScaler scaled", () => {
  it.each([["with", false], ["without", true]])("has its loss scale, and whether its update was skipped, %s the totals", async (_, plain) => {
    const { steps } = plain ? await openWithout(goldenBytes("regimes"), "/totals") : await openSession(goldenBytes("regimes"));
    const found = Array.from({ length: steps.length }, (_, at) => ({ number: steps.number(at), loss_scale: steps.lossScale(at), skipped: steps.skipped(at) }));
    expect(found).toEqual(EXPECTED.scaled);
    expect([...steps.lossScales()!]).toEqual(EXPECTED.scaled.map(({ loss_scale: scale }) => scale));
  });

  it("has a mark in the words of the field where the update was skipped", async () => {
    const session = await openSession(goldenBytes("regimes"));
    const timeline = { steps: session.steps.numbers(), loss: new Float64Array(3), lossSeen: new Uint8Array(3), gradientNorm: new Float64Array(3), nonfinite: new Float64Array(3), heldBytes: new Float64Array(3) };
    const { marks } = marksOf(session, { timeline, variants: [], gaps: [] });
    expect(marks).toEqual([{ kind: "skipped", step: 1, stop: -1, text: "update skipped: inf or NaN in the scaled gradients" }]);
  });

  it("has norms without the scale on the timeline, in the rows, the history and the curves", async () => {
    const { overview, ask } = await openedReplay([goldenSource("regimes")]);
    const [weight, bias] = [4, 10];
    expect([...overview.timeline.lossScale!]).toEqual([65536, 65536, 32768]);
    expect(overview.timeline.gradientNorm[0]).toBeCloseTo(Math.hypot(weight, bias), 5);
    expect(overview.timeline.gradientNorm[2]).toBeCloseTo(Math.hypot(weight, bias) / 2, 5);
    const recent = await ask("recentNorms", { rank: 0, step: 2, count: 3 });
    expect([...recent.norms]).toEqual([weight, NaN, weight / 2, bias, NaN, bias / 2].map((norm) => (Number.isNaN(norm) ? expect.anything() : norm)));
    const curve = await ask("curve", { rank: 0, subject: { kind: "parameter", id: 1 }, statistic: "l2" });
    expect([curve.values[0], curve.values[2]]).toEqual([bias, bias / 2]);
    const rows = gradientModel(await ask("snapshot", { at: AT(0) }), null).rows;
    expect(rows.map(({ statistics, scale, local, state }) => [statistics!.norm, statistics!.norm * scale, local!.norm, state])).toEqual([
      [weight, 262144, weight / 2, "finite"],
      [bias, 655360, bias / 2, "finite"],
    ]);
  });

  it("is compared with the step before, each without its own scale", async () => {
    const scaled = (step: number, norm: number, scale: number): Written[] => stepRecords(step, { 0: norm * scale }, { scale });
    const bytes = sessionBytes([[parameters("w")], scaled(0, 2, 65536), scaled(1, 3, 32768), [finish(2)]]);
    const snapshot = await (await openSession(bytes)).snapshotOfStep(1);
    const [row] = gradientModel(snapshot, null).rows;
    expect([row!.statistics!.norm, row!.previousNorm]).toEqual([3, 2]);
  });

  it("keeps what is no scale out of every number", async () => {
    for (const scale of [0, -1, Infinity, Number.NaN]) {
      const { overview } = await openedReplay([memorySource("run", new MemoryFile(sessionBytes([[parameters("w")], stepRecords(0, { 0: 3 }, { scale }), [finish(1)]])))]);
      expect([overview.timeline.lossScale, overview.timeline.gradientNorm[0]]).toEqual([undefined, 3]);
    }
  });
});

describe("gradients before reduction", () => {
  it("stand beside the reduced ones of each step", async () => {
    const session = await openSession(goldenBytes("regimes"));
    for (const [name, steps] of Object.entries(EXPECTED.local)) {
      for (const [step, norm] of Object.entries(steps)) {
        const row = gradientModel(await session.snapshotOfStep(Number(step)), null).rows.find(({ parameter }) => parameter.path === name)!;
        expect(row.local!.norm * row.scale, `${name} in step ${step}`).toBeCloseTo(norm, 5);
      }
    }
  });
});

const NAMES = ["a", "b"];

function rank(number: number, norms: readonly number[], options: StepOptions, sharded: readonly string[] = []): ReturnType<typeof memorySource> {
  const [topic, { parameters: all }] = parameters(...NAMES) as Extract<Written, readonly ["/parameters", ...unknown[]]>;
  const named: Written = [topic, { parameters: all.map((one) => (sharded.includes(one.path) ? { ...one, tensor_type: "DTensor", placements: ["Shard(dim=0)"] } : one)) }];
  const step = stepRecords(0, Object.fromEntries(norms.map((norm, id) => [id, norm])), options);
  return memorySource(`rank${number}`, new MemoryFile(sessionBytes([[named], step, [finish(1)]], { rank: number, world_size: 3, start_ns: RUN.start_ns })));
}

describe("ranks", () => {
  const locals = [{ 0: 1, 1: 2 }, { 0: 1, 1: 5 }, { 0: 1, 1: 2 }];

  it("whose local gradients alone part say why, and can be shown by them", async () => {
    const { ask } = await openedReplay(locals.map((local, number) => rank(number, [3, 4], { local })));
    const reduced = await ask("rankNorms", { step: 0 });
    expect([reduced.local, reduced.hasLocal, reduced.parting, [...reduced.norms]]).toEqual([false, true, [], [3, 4, 3, 4, 3, 4]]);
    expect(reduced.notes).toEqual(["Before reduction rank 1 parts: each computed its own gradient, from its own data. Reduced ones agree."]);
    const local = await ask("rankNorms", { step: 0, local: true });
    expect([...local.norms]).toEqual([1, 2, 1, 5, 1, 2]);
    expect(local.parting.map(({ text }) => text)).toEqual(["Rank 1 parts from the others in 1 of 2 parameters, most in b: 5.00e0 where they have 2.00e0."]);
    expect(local.notes).toEqual(["Local gradients are each rank's own, from its own data: they part where data does."]);
  });

  it("of which two differ say that all part", async () => {
    const { ask } = await openedReplay(locals.slice(0, 2).map((local, number) => rank(number, [3, 4], { local })));
    expect((await ask("rankNorms", { step: 0 })).notes[0]).toContain("Before reduction all ranks part");
  });

  it("whose reduced gradients part say so of these alone", async () => {
    const { ask } = await openedReplay([0, 1, 2].map((number) => rank(number, [3, number === 2 ? 9 : 4], { local: locals[number]! })));
    const { parting, notes } = await ask("rankNorms", { step: 0 });
    expect([parting.map((one) => one.rank), notes]).toEqual([[2], []]);
  });

  it("that hold parts of sharded parameters do not part in them", async () => {
    const { ask } = await openedReplay([0, 1, 2].map((number) => rank(number, [3, 4 + number], {}, ["b"])));
    const some = await ask("rankNorms", { step: 0 });
    expect([some.parting, some.sharded, some.hasLocal]).toEqual([[], 1, false]);
    expect(some.notes).toEqual(["1 parameter is sharded: each rank holds a part with numbers of its own, so ranks do not part in it."]);
    const { ask: askAll } = await openedReplay([0, 1, 2].map((number) => rank(number, [3 + number, 4 + number], {}, NAMES)));
    expect((await askAll("rankNorms", { step: 0 })).notes).toEqual(["Every parameter is sharded: each rank holds a part with numbers of its own, so ranks do not part in them."]);
  });

  it("are shown reduced where no local gradient was recorded", async () => {
    const { ask } = await openedReplay([0, 1].map((number) => rank(number, [3, 4], {})));
    expect(await ask("rankNorms", { step: 0, local: true })).toMatchObject({ local: false, hasLocal: false, notes: [] });
  });

  it("of one scaled program are compared without the scale", async () => {
    const { ask } = await openedReplay([0, 1].map((number) => rank(number, [3 * 1024, 4 * 1024], { scale: 1024 })));
    expect([...(await ask("rankNorms", { step: 0 })).norms]).toEqual([3, 4, 3, 4]);
  });
});

describe("a compiled region", () => {
  it("has the ops, lines, saved and recomputed results that were worked out by hand", async () => {
    const session = await openSession(goldenBytes("regimes"));
    const snapshot = await session.snapshotOfStep(0);
    const [region] = snapshot.regions!;
    const { compiled } = EXPECTED;
    expect([region!.name, region!.backend, region!.op_names]).toEqual([compiled.name, compiled.backend, compiled.ops]);
    const ops = opsOf(region!);
    const saved = ops.filter((op) => op.saved);
    expect([saved.map(({ name }) => name), saved.map(({ bytes }) => bytes)]).toEqual([compiled.saved, compiled.saved_bytes]);
    expect(ops.filter(({ recomputedAs }) => recomputedAs.length > 0).map(({ name }) => name)).toEqual(compiled.recomputed);
    const places = new Map(snapshot.sites!.map((site) => [site.id, `${site.file.split("/").at(-1)}:${site.line}`]));
    for (const [name, line] of Object.entries(compiled.lines)) {
      expect(places.get(numbers(region!.project_site)[ops.findIndex((op) => op.name === name)]!) ?? null, name).toBe(line);
    }
  });

  it("that is not in the file is missing in words, and the graph is there without it", async () => {
    const snapshot = await (await openWithout(goldenBytes("regimes"), "/compiled")).snapshotOfStep(0);
    expect([snapshot.regions, snapshot.graph!.node_count]).toEqual([[], 4]);
    expect(snapshot.missing).toEqual([{ part: "graph", reason: expect.stringContaining("compiled region 0 is not in it") }]);
  });

  it("is found among others that are asked for at once", async () => {
    const session = await openSession(goldenBytes("series"));
    const graphs = await Promise.all([session.graph(1), session.graph(0)]);
    expect(graphs.map((graph) => graph!.id)).toEqual([1, 0]);
  });
});
