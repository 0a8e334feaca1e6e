/**
 * Changed sessions, replayed: whatever stands in a file, each question of the page is answered or refused in words, no
 * error gets away, and the process stays below 512 MiB more than it had. Fixed cases: the same each time.
 */

import { afterAll, describe, expect, it } from "vitest";
import type { Moment, Overview } from "../shared/replay";
import { randomFrom, mutatedSession } from "./mutate";
import { MemoryFile, goldenBytes } from "./recorded_files";
import { fakeReplay, memorySource, type FakeReplay } from "./replay_fake";
import { finish, graph, parameters, sessionBytes, stepRecords } from "./session_builder";

const CASES = Number(process.env["FUZZ_CASES"] ?? 1000);
const SEED = Number(process.env["FUZZ_SEED"] ?? 20_261_123);
const MEMORY_BYTES = 512 << 20;
/** What engines say of a mistake of ours; a file is refused in other words. */
const MISTAKE = /undefined|is not a function|is not iterable|Cannot |Invalid |out of bounds|out of range|Maximum call stack|exceeded|null \(|\[object|BigInt|NaN is/;

const SESSIONS = [...["accumulate", "regimes", "seed", "torn", "variants"].map(goldenBytes), withStops()];

/** Two steps and a stop in the second. */
function withStops(): Uint8Array {
  const stop = { number: 1, time_ns: 1, step: 1, thread: 1, thread_name: "main", file: "/home/someone/project/a.py", line: 3, function: "f", graph: 0, running: 1 };
  const first = [parameters("w", "b"), graph(0), ...stepRecords(0, { 0: 1, 1: 2 }, { loss: 1, graph: 0, held: 8 })];
  const second = [...stepRecords(1, { 0: 1, 1: 2 }, { loss: NaN, graph: 0, nan: 1 }), ["/stops", stop] as const];
  return sessionBytes([first, second, [finish(2)]]);
}

/** Everything that a page may ask at the first and the last moments. Gives what was said instead of answers. */
async function askAll({ ask }: FakeReplay, { facts, timeline }: Overview): Promise<readonly string[]> {
  const { rank } = facts;
  const steps = [...new Set([timeline.steps[0] ?? 0, timeline.steps.at(-1) ?? 0])];
  const moments: Moment[] = steps.map((step) => ({ kind: "step", rank, step }));
  const stops = facts.marks.filter(({ stop }) => stop >= 0).slice(0, 2);
  moments.push(...stops.map(({ stop }): Moment => ({ kind: "stop", rank, stop })));
  const said: string[] = [];
  const asked = async (answer: Promise<unknown>): Promise<void> => {
    await answer.catch((error: Error) => said.push(error.message));
  };
  await asked(ask("overview", { rank }));
  for (const at of moments) {
    await asked(ask("snapshot", { at }));
    await asked(ask("held", { at }));
  }
  const step = steps.at(-1)!;
  const side = { session: "", rank, step: null };
  for (const kind of ["parameter", "module"] as const) {
    for (const statistic of ["l2", "min", "max"] as const) await asked(ask("curve", { rank, subject: { kind, id: 0 }, statistic }));
  }
  await asked(ask("recentNorms", { rank, step, count: 100 }));
  await asked(ask("rankNorms", { step }));
  await asked(ask("rankCurves", { name: "w", statistic: "l2" }));
  await asked(ask("sourceLines", { rank, file: "/home/someone/project/seed.py", line: 3, around: 5 }));
  await asked(ask("compare", { a: { ...side, step: steps[0]! }, b: { ...side, step }, tolerance: null }));
  await asked(ask("compare", { a: side, b: side, tolerance: 0 }));
  return said;
}

async function replayed(bytes: Uint8Array): Promise<readonly string[]> {
  const replay = await fakeReplay([memorySource("run.gradwatch", new MemoryFile(bytes))]);
  try {
    replay.post({ type: "ready" });
    const first = await Promise.race([replay.told("opened"), replay.told("failed")]);
    return first.type === "failed" ? [first.reason] : await askAll(replay, first.overview);
  } finally {
    replay.source.dispose();
  }
}

describe("a session that a stranger changed", () => {
  const before = process.memoryUsage().rss;

  it(`is replayed or refused in words, whatever was changed in its records, in ${CASES} cases`, async () => {
    let refused = 0;
    for (let number = 0; number < CASES; number++) {
      const bytes = mutatedSession(SESSIONS, randomFrom(SEED + number));
      const said = await replayed(bytes);
      refused += said.length > 0 ? 1 : 0;
      for (const sentence of said) expect(sentence, `case ${number}`).not.toMatch(MISTAKE);
    }
    // Neither a mutator that changes nothing, nor one that nothing survives.
    expect(refused).toBeGreaterThan(CASES / 20);
    expect(refused).toBeLessThan(CASES * 0.95);
  }, 600_000);

  it("is the same bytes for the same number", () => {
    const twice = [0, 1].map(() => mutatedSession(SESSIONS, randomFrom(7)));
    expect(twice[0]).toEqual(twice[1]);
    expect(mutatedSession(SESSIONS, randomFrom(8))).not.toEqual(twice[0]);
  });

  afterAll(() => {
    // The most that this process ever had in memory, not what is left.
    const most = process.resourceUsage().maxRSS * 1024;
    expect(most - before).toBeLessThan(MEMORY_BYTES);
  });
});
