/** Several files as one session: a file for each rank, others beside it, and what strangers make of that. */

import { describe, expect, it } from "vitest";
import type { SessionSource } from "../shared/replay";
import { letterOf } from "../shared/replay_spans";
import { SUPERSEDED } from "../shared/replay_latest";
import { plain } from "../shared/replay_plain";
import { thinned } from "../shared/replay_curves";
import { MemoryFile } from "./recorded_files";
import { fakeReplay, goldenSource, memorySource, openedReplay } from "./replay_fake";
import { finish, parameters, sessionBytes, stepRecords, RUN } from "./session_builder";

const NAMES = ["layers.0.weight", "layers.0.bias", "head.weight"];

/** A rank whose norms are these at each step. */
function rankFile(rank: number, norms: readonly (readonly number[])[], names = NAMES, world = 4, begun = 0): SessionSource {
  const steps = norms.map((row, step) => stepRecords(step, Object.fromEntries(row.map((norm, id) => [id, norm]))));
  const bytes = sessionBytes([[parameters(...names)], ...steps, [finish(norms.length)]], { rank, world_size: world, start_ns: BigInt(RUN.start_ns) + BigInt(begun) });
  return memorySource(`run.rank${rank}.gradwatch`, new MemoryFile(bytes));
}

describe("a folder of ranks", () => {
  it("is one session, whatever the order of its files", async () => {
    const { overview, ask } = await openedReplay([rankFile(1, [[1, 2, 3]]), rankFile(0, [[1, 2, 3]], NAMES, 2)].reverse(), {}, "runs");
    expect(overview.facts.ranks.map(({ rank, failure }) => [rank, failure])).toEqual([[0, null], [1, null]]);
    expect([overview.facts.name, overview.facts.rank]).toEqual(["runs", 0]);
    const second = await ask("overview", { rank: 1 });
    expect(second.facts.rank).toBe(1);
    expect((await ask("snapshot", { at: { kind: "step", rank: 1, step: 0 } })).run.rank).toBe(1);
  });

  it("says which files cannot be opened, which ranks are missing, and which file stands for a rank", async () => {
    const broken = memorySource("run.rank2.gradwatch", new MemoryFile(new TextEncoder().encode("<b>not a session</b>")));
    const older = rankFile(1, [[1, 1, 1]]);
    const { overview } = await openedReplay([rankFile(0, [[1, 1, 1]]), { ...older, name: "old.gradwatch" }, rankFile(1, [[2, 2, 2]], NAMES, 4, 5), broken]);
    expect(overview.facts.ranks.map(({ rank, name, failure }) => [rank, name, failure])).toEqual([
      [0, "run.rank0.gradwatch", null],
      [1, "run.rank1.gradwatch", null],
      [1, "old.gradwatch", "Rank 1 is shown from run.rank1.gradwatch: of several files of one rank, the one that was begun last."],
      [-1, "run.rank2.gradwatch", expect.stringContaining("is not a gradwatch session")],
    ]);
    expect(overview.facts.notices.map(({ text }) => text)).toEqual(["Ranks 2, 3 of 4 are not among the files.", "2 of 4 files cannot be shown."]);
  });

  it("fails with a title and the first reason where no file opens", async () => {
    const files = ["a", "b"].map((name) => memorySource(name, new MemoryFile(new Uint8Array(5))));
    const replay = await fakeReplay(files, {}, "runs");
    replay.post({ type: "ready" });
    const { title, reason } = await replay.told("failed");
    expect([title, reason.slice(0, 60)]).toEqual(["runs cannot be opened", "None of its 2 files can be opened. The first: a is not a gra"]);
    const none = await fakeReplay([], {}, "empty");
    none.post({ type: "ready" });
    expect((await none.told("failed")).reason).toContain("It holds no session.");
  });

  it("does not open more files than it says", async () => {
    const one = rankFile(0, [[1, 1, 1]]);
    let reads = 0;
    const counting = { size: one.source.size, read: (...given: [number, number]) => (reads++, one.source.read(...given)) };
    const same: SessionSource = { ...one, source: { size: () => one.source.size(), read: counting.read } };
    const { overview } = await openedReplay(Array.from({ length: 10_000 }, () => same));
    expect(overview.facts.ranks.length).toBe(1024);
    expect(overview.facts.ranks.filter(({ failure }) => failure === null).length).toBe(1);
    expect(overview.facts.notices.map(({ text }) => text)).toEqual(["1,023 of 1,024 files cannot be shown.", "8,976 files beyond the first 1,024 were not opened."]);
    expect(reads).toBeLessThan(1024 * 40);
  }, 60_000);

  it("takes in a rank whose file was not yet there", async () => {
    const late = new MemoryFile(new Uint8Array(0));
    const { source, ask, told, messages } = await openedReplay([rankFile(0, [[1, 2, 3]], NAMES, 2), memorySource("late", late)]);
    const before = messages.length;
    await source.refresh();
    expect(messages.length).toBe(before);
    late.bytes = sessionBytes([[parameters(...NAMES)], stepRecords(0, { 0: 1, 1: 2, 2: 3 })], { rank: 1, world_size: 2 });
    await source.refresh();
    const { facts, timeline } = await told("grown");
    expect([facts.ranks.map(({ rank, failure }) => [rank, failure]), facts.notices, timeline.steps.length]).toEqual([[[0, null], [1, null]], [], 0]);
    expect((await ask("overview", { rank: 1 })).timeline.steps.length).toBe(1);
  });

  it("tells of the rank that was asked for last, and of no other", async () => {
    const files = [0, 1].map((rank) => new MemoryFile(sessionBytes([[parameters("w")], stepRecords(0, { 0: 1 })], { rank })));
    const { source, ask, told, messages } = await openedReplay(files.map((file, rank) => memorySource(`rank${rank}`, file)));
    await ask("overview", { rank: 1 });
    files.forEach((file, rank) => (file.bytes = sessionBytes([[parameters("w")], stepRecords(0, { 0: 1 }), stepRecords(1, { 0: 1 + rank })], { rank })));
    const before = messages.length;
    await source.refresh();
    const { facts, from, timeline } = await told("grown");
    expect([messages.length - before, facts.rank, from, [...timeline.gradientNorm]]).toEqual([1, 1, 1, [2]]);
  });

  it("that claims to be one of four billion is believed without counting them", async () => {
    const { overview } = await openedReplay([rankFile(0, [[1, 1, 1]], NAMES, 4_000_000_000), rankFile(3, [[1, 1, 1]], NAMES, 4_000_000_000)]);
    expect(overview.facts.notices[0]!.text).toBe("Ranks 1, 2, 4, 5, 6, 7, 8, 9 and 4.00 G more of 4.00 G are not among the files.");
  });
});

describe("norms by rank", () => {
  it("are aligned by name, and tell who parts", async () => {
    const files = [rankFile(0, [[1, 2, 3]]), rankFile(1, [[1, 2, 3]]), rankFile(2, [[3, 1.5, 2]], ["head.weight", "layers.0.weight", "layers.0.bias"]), rankFile(3, [[1, 2, 3.0001]])];
    const { ask } = await openedReplay(files);
    const { names, ranks, norms, parting } = await ask("rankNorms", { step: 0 });
    expect([names, ranks]).toEqual([NAMES, [0, 1, 2, 3]]);
    expect([...norms.slice(6, 9)]).toEqual([1.5, 2, 3]);
    expect(parting).toEqual([{ rank: 2, text: "Rank 2 parts from the others in 1 of 3 parameters, most in layers.0.weight: 1.50e0 where they have 1.00e0." }]);
  });

  it("leave NaN where a rank has none, which parts", async () => {
    const { ask } = await openedReplay([rankFile(0, [[1, 2, 3], [1, 2, 3]]), rankFile(1, [[1, 2, 3], [1, 2]]), rankFile(2, [[1, 2, 3]])]);
    const { norms, parting } = await ask("rankNorms", { step: 1 });
    expect([...norms]).toEqual([1, 2, 3, 1, 2, NaN, NaN, NaN, NaN]);
    expect(parting.map(({ rank, text }) => [rank, text.split("most in ")[1]])).toEqual([
      [0, "head.weight: 3.00e0 where they have no gradient."],
      [2, "layers.0.weight: no gradient where they have 1.00e0."],
    ]);
  });

  it("of two ranks name the second", async () => {
    const { ask } = await openedReplay([rankFile(0, [[1, 2, 3]]), rankFile(1, [[1, 2.1, 3]])]);
    expect((await ask("rankNorms", { step: 0 })).parting.map(({ rank }) => rank)).toEqual([1]);
  });

  it("come with a curve for each rank that has the name", async () => {
    const { ask } = await openedReplay([rankFile(0, [[1], [2]], ["w"]), rankFile(1, [[3], [4]], ["v"]), rankFile(2, [[5], [6]], ["w"])]);
    const curves = await ask("rankCurves", { name: "w", statistic: "l2" });
    expect(curves.map(({ rank, curve }) => [rank, [...curve.values]])).toEqual([[0, [1, 2]], [2, [5, 6]]]);
  });

  it("are not read to the end for a step that was left", async () => {
    const files = Array.from({ length: 12 }, (_, rank) => rankFile(rank, [[1, 2, 3], [1, 2, 3], [1, 2, 3]]));
    const { ask } = await openedReplay(files);
    const asked = [0, 1, 2].map((step) => ask("rankNorms", { step }).then(({ step: of }) => of, (error: Error) => error.message));
    expect(await Promise.all(asked)).toEqual([SUPERSEDED, SUPERSEDED, 2]);
  });

  it("of a rank that still grows are as they are now", async () => {
    const growing = new MemoryFile(sessionBytes([[parameters("w")], stepRecords(0, { 0: 1 })], { rank: 1 }));
    const { ask } = await openedReplay([rankFile(0, [[1], [1]], ["w"]), memorySource("b", growing)]);
    growing.bytes = sessionBytes([[parameters("w")], stepRecords(0, { 0: 1 }), stepRecords(1, { 0: 7 })], { rank: 1 });
    expect([...(await ask("rankNorms", { step: 1 })).norms]).toEqual([1, 7]);
  });
});

describe("another session", () => {
  it("is chosen, named, and gives the curve of the same name", async () => {
    const { ask } = await openedReplay([goldenSource("seed")], { chooseOther: () => Promise.resolve([goldenSource("accumulate")]) });
    const other = await ask("chooseOther", {});
    expect([other!.overview.facts.name, [...other!.overview.timeline.steps]]).toEqual(["accumulate.gradwatch", [0, 1]]);
    const curve = await ask("otherCurve", { other: other!.id, name: "tail.bias", statistic: "l2" });
    expect([...curve!.values]).toEqual([10, 0]);
    expect(await ask("otherCurve", { other: other!.id, name: "nothing", statistic: "l2" })).toBeNull();
  });

  it("is null where none was chosen, and a sentence where it does not open", async () => {
    expect(await (await openedReplay([goldenSource("seed")])).ask("chooseOther", {})).toBeNull();
    const broken = memorySource("x.gradwatch", new MemoryFile(new Uint8Array(9)));
    const { ask } = await openedReplay([goldenSource("seed")], { chooseOther: () => Promise.resolve([broken]) });
    await expect(ask("chooseOther", {})).rejects.toThrow("x.gradwatch is not a gradwatch session");
  });

  it("is closed for a fifth one, and says so", async () => {
    const { ask } = await openedReplay([goldenSource("seed")], { chooseOther: () => Promise.resolve([goldenSource("torn")]) });
    const first = await ask("chooseOther", {});
    for (let i = 0; i < 4; i++) await ask("chooseOther", {});
    await expect(ask("otherCurve", { other: first!.id, name: "w", statistic: "l2" })).rejects.toThrow("That session is closed. Choose it again.");
  });
});

describe("a comparison", () => {
  const side = (rank: number, step: number | null = null, session = "") => ({ session, rank, step });

  it("is of two ranks, two steps, or another session", async () => {
    const files = [rankFile(0, [[1, 2, 3], [1, 2, 3]], NAMES, 2), rankFile(1, [[1, 2, 3], [1, 2, 4]], NAMES, 2)];
    const { ask } = await openedReplay(files, { chooseOther: () => Promise.resolve([rankFile(0, [[1, 2, 3], [5, 2, 3]])]) });
    const ranks = await ask("compare", { a: side(0), b: side(1), tolerance: null });
    expect([ranks.gradients?.step, ranks.gradients?.parameters.map(({ name }) => name)]).toEqual([1, ["head.weight"]]);
    expect((await ask("compare", { a: side(0, 0), b: side(0, 1), tolerance: null })).gradients).toBeNull();
    const other = await ask("chooseOther", {});
    const sessions = await ask("compare", { a: side(0), b: side(0, null, other!.id), tolerance: null });
    expect(sessions.gradients?.parameters.map(({ name }) => name)).toEqual(["layers.0.weight"]);
    await expect(ask("compare", { a: side(0, 7), b: side(0, 1), tolerance: null })).rejects.toThrow("7");
  });

  it("ends where a newer one is asked for", async () => {
    const { ask } = await openedReplay([rankFile(0, [[1, 2, 3]]), rankFile(1, [[1, 2, 3]])]);
    const asked = [ask("compare", { a: side(0), b: side(1), tolerance: null }), ask("compare", { a: side(1), b: side(0), tolerance: null })];
    const [first, second] = await Promise.allSettled(asked);
    expect([first, second!.status]).toEqual([{ status: "rejected", reason: new Error(SUPERSEDED) }, "fulfilled"]);
  });
});

describe("what crosses", () => {
  it("has numbers for bigints, and is the same object where there were none", () => {
    const array = new Float64Array(2);
    const nothing = { a: [1, Number.NaN, "x"], array };
    expect(plain(nothing)).toBe(nothing);
    expect(plain({ at: 5n, list: [{ n: 1n }], nothing })).toEqual({ at: 5, list: [{ n: 1 }], nothing });
    expect(plain({ at: 5n, nothing }).nothing).toBe(nothing);
  });

  it("takes the bytes of a column, not the chunk around them", () => {
    const chunk = new Uint8Array(100_000).fill(7);
    const part = plain({ data: chunk.subarray(50, 60) }).data;
    expect([part.buffer.byteLength, ...part]).toEqual([10, ...new Array<number>(10).fill(7)]);
    expect(plain(Buffer.from([1, 2, 3])).constructor).toBe(Uint8Array);
  });
});

describe("a curve with too many points", () => {
  it("keeps its lowest, highest and non-finite ones", () => {
    const steps = Float64Array.from({ length: 10_000 }, (_, at) => at);
    const values = steps.map((at) => (at === 5000 ? 99 : at === 7000 ? -99 : Math.sin(at)));
    const nonfinite = steps.map((at) => (at === 3333 ? 2 : 0));
    const less = thinned({ steps, values, nonfinite }, 90);
    expect(less.steps.length).toBeLessThanOrEqual(90);
    expect([...less.steps]).toEqual([...less.steps].sort((a, b) => a - b));
    expect([Math.max(...less.values), Math.min(...less.values), Math.max(...less.nonfinite)]).toEqual([99, -99, 2]);
  });
});

it("letters go on behind Z", () => {
  expect([0, 25, 26, 701, 702].map(letterOf)).toEqual(["A", "Z", "AA", "ZZ", "AAA"]);
});
