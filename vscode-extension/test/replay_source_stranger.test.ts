/** Strangers' files, replayed: every question is answered, or refused with a sentence, and nothing else happens. */

import { describe, expect, it } from "vitest";
import { MemoryFile, goldenBytes } from "./recorded_files";
import { fakeReplay, memorySource, type FakeReplay } from "./replay_fake";
import { finish, parameters, sessionBytes, stepRecords } from "./session_builder";

const CASES = 120;
const NAMES = ["accumulate", "seed", "torn", "variants"] as const;

/** The same numbers each time. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function mutated(random: (below: number) => number): Uint8Array {
  let bytes = goldenBytes(NAMES[random(NAMES.length)]!).slice();
  for (let left = 1 + random(6); left > 0; left--) {
    if (random(4) === 0) bytes = bytes.slice(0, 1 + random(bytes.length));
    else bytes[random(bytes.length)] = random(256);
  }
  return bytes;
}

/** What a page would ask at `rank`; gives what was said instead of answers. */
async function askAll({ ask }: FakeReplay, rank: number): Promise<readonly string[]> {
  const overview = await ask("overview", { rank });
  const step = overview.timeline.steps.at(-1) ?? 0;
  const at = { kind: "step", rank, step } as const;
  const subject = { kind: "parameter", id: 0 } as const;
  const answers = await Promise.allSettled([
    ask("snapshot", { at }),
    ask("held", { at }),
    ask("curve", { rank, subject, statistic: "l2" }),
    ask("recentNorms", { rank, step, count: 100 }),
    ask("rankNorms", { step }),
    ask("rankCurves", { name: "w", statistic: "max" }),
    ask("sourceLines", { rank, file: "/home/someone/project/seed.py", line: 3, around: 5 }),
    ask("compare", { a: { session: "", rank, step: null }, b: { session: "", rank, step: null }, tolerance: null }),
  ]);
  return answers.flatMap((answer) => (answer.status === "rejected" ? [(answer.reason as Error).message] : []));
}

describe("a stranger's file", () => {
  it(`is replayed, or refused in words, after any of ${CASES} changes, while it changes further`, async () => {
    const random = randomFrom(7);
    for (let i = 0; i < CASES; i++) {
      const file = new MemoryFile(mutated(random));
      const replay = await fakeReplay([memorySource("run.gradwatch", file)]);
      replay.post({ type: "ready" });
      for (let change = 0; change < 3; change++) {
        await replay.source.refresh();
        const last = replay.messages.at(-1)!;
        if (last.type === "failed") expect(last.reason, `case ${i}`).toMatch(/^run\.gradwatch (is not a gradwatch session|is damaged|was written by)/);
        else for (const sentence of await askAll(replay, 0).catch((error: Error) => [error.message])) expect(sentence, `case ${i}`).not.toMatch(/undefined|is not a function|Cannot read|out of bounds|invalid/i);
        file.bytes = mutated(random);
      }
      replay.source.dispose();
    }
  }, 60_000);

  it("keeps its names as text", async () => {
    const name = "<img src=x onerror=alert(1)>";
    const bytes = sessionBytes([[parameters(name)], stepRecords(0, { 0: 1 }), [finish(1)]]);
    const replay = await fakeReplay([memorySource(`${name}.gradwatch`, new MemoryFile(bytes))], {}, name);
    replay.post({ type: "ready" });
    const { overview } = await replay.told("opened");
    expect([overview.facts.name, overview.facts.ranks[0]!.name]).toEqual([name, `${name}.gradwatch`]);
    expect((await replay.ask("rankNorms", { step: 0 })).names).toEqual([name]);
  });

  it("says no more of a mark or a notice than can be read", async () => {
    const long = "x".repeat(1_000_000);
    const stop = { number: 1, time_ns: 1, step: 0, thread: 1, thread_name: "", file: "a.py", line: 1, function: long };
    const bytes = sessionBytes([[parameters("w"), ...stepRecords(0, { 0: 1 }), ["/stops", stop], ["/notices", { kind: "partial", text: long, traceback: long }]], [finish(1)]]);
    const replay = await fakeReplay([memorySource("run", new MemoryFile(bytes))]);
    replay.post({ type: "ready" });
    const { marks, notices } = (await replay.told("opened")).overview.facts;
    expect([marks[0]!.text.length, notices[0]!.text.length, notices[0]!.traceback!.length]).toEqual([300, 20_000, 20_000]);
  });

  it("is not asked for more than a page can use", async () => {
    const flushes = Array.from({ length: 300 }, (_, step) => stepRecords(step, { 0: step }));
    const file = new MemoryFile(sessionBytes([[parameters("w")], flushes.flat(), [finish(300)]]));
    const replay = await fakeReplay([memorySource("run", file)]);
    replay.post({ type: "ready" });
    const norms = await replay.ask("recentNorms", { rank: 0, step: 299, count: 1e9 });
    expect([norms.steps.length, norms.steps[0]]).toEqual([200, 100]);
    expect((await replay.ask("recentNorms", { rank: 0, step: 5, count: -3 })).steps.length).toBe(1);
    const lines = await replay.ask("sourceLines", { rank: 0, file: "x", line: -5, around: 1e9 });
    expect(lines.from).toBe("none");
  });
});
