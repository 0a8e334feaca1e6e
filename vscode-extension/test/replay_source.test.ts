/** What a page is told of a recorded session, and what it is answered: one file. */

import { describe, expect, it } from "vitest";
import { numbers } from "../shared/answer";
import type { ReplayDoors, ToReplay } from "../shared/replay";
import { SUPERSEDED } from "../shared/replay_latest";
import { MemoryFile, goldenBytes, openSession } from "./recorded_files";
import { fakeReplay, goldenSource, memorySource, openedReplay } from "./replay_fake";
import { finish, graph, parameters, sessionBytes, startOf, stepRecords, type Written } from "./session_builder";

const at = (step: number, rank = 0) => ({ kind: "step", rank, step }) as const;

/** Whether a bigint, or a part of a large buffer, is anywhere in it. */
function crosses(value: unknown): boolean {
  if (typeof value === "bigint") return false;
  if (typeof value !== "object" || value === null) return true;
  if (ArrayBuffer.isView(value)) return value.buffer.byteLength - value.byteLength <= 4096 && value.constructor.name !== "Buffer";
  return Object.values(value).every(crosses);
}

describe("opening", () => {
  it("tells loading, and then the whole of a golden session", async () => {
    const { messages, overview } = await openedReplay([goldenSource("seed")]);
    expect(messages[0]).toEqual({ type: "loading", name: "run", share: 0 });
    expect(messages.filter(({ type }) => type !== "loading").length).toBe(1);
    const { timeline, facts } = overview;
    expect([...timeline.steps]).toEqual([0, 1]);
    expect([...timeline.loss]).toEqual([6.25, 5.0625]);
    expect([...timeline.lossSeen]).toEqual([1, 1]);
    expect([...timeline.gradientNorm].map((norm) => norm.toFixed(4))).toEqual([Math.hypot(10, 5), Math.hypot(9, 4.5)].map((norm) => norm.toFixed(4)));
    expect([...timeline.nonfinite]).toEqual([0, 0]);
    expect([...timeline.heldBytes]).toEqual([12, 12]);
    expect(facts.variants).toEqual([{ letter: "A", graph: 0, from: 0, to: 1 }]);
    expect(facts.ranks).toEqual([{ rank: 0, name: "seed.gradwatch", bytes: goldenBytes("seed").length, finished: true, failure: null }]);
    expect(facts.finished).toBe(true);
    expect(facts.cost).toBeCloseTo(20 / 10_000_000);
    expect(facts.marks).toEqual([]);
  });

  it("says how far it is with a file that has no summary, and never less than before", async () => {
    const flushes = Array.from({ length: 400 }, (_, step) => stepRecords(step, { 0: 1 }));
    const { messages } = await openedReplay([memorySource("run", new MemoryFile(sessionBytes([[parameters("w")], ...flushes])))]);
    const shares = messages.flatMap((message) => (message.type === "loading" ? [message.share] : []));
    expect(shares.length).toBeGreaterThan(2);
    expect(shares).toEqual([...shares].sort((a, b) => a - b));
    expect([shares[0], shares.at(-1)]).toEqual([0, 1]);
  });

  it("says why a file cannot be opened, and the way out, and opens it once it is a session", async () => {
    const file = new MemoryFile(new Uint8Array(0));
    const replay = await fakeReplay([memorySource("run.gradwatch", file)]);
    replay.post({ type: "ready" });
    const failed = await replay.told("failed");
    expect(failed.title).toBe("run cannot be opened");
    expect(failed.reason).toContain("run.gradwatch is not a gradwatch session: it is empty");
    await expect(replay.ask("snapshot", { at: at(0) })).rejects.toThrow("it is empty");
    const before = replay.messages.length;
    await replay.source.refresh();
    expect(replay.messages.length).toBe(before);
    file.bytes = goldenBytes("seed");
    await replay.source.refresh();
    expect((await replay.told("opened")).overview.facts.finished).toBe(true);
  });

  it("says what the disk said", async () => {
    const source = { size: () => Promise.resolve(1), read: () => Promise.reject(Object.assign(new Error("EACCES: permission denied"), { code: "EACCES" })) };
    const replay = await fakeReplay([{ name: "run.gradwatch", place: "", source }]);
    replay.post({ type: "ready" });
    expect((await replay.told("failed")).reason).toBe("It cannot be read: EACCES: permission denied. Check that it is there and may be read, then open it again.");
  });

  it("does not wait for norms that take long: they come behind", async () => {
    const bytes = sessionBytes([[parameters("w")], ...[0, 1, 2].map((step) => stepRecords(step, { 0: step + 1 }, { loss: step }))]);
    const { reader } = await openSession(bytes);
    const slow = reader.index.entry(reader.channelOf("/gradients"), 0).offset;
    const file = new MemoryFile(bytes);
    let release = (): void => undefined;
    const released = new Promise<void>((resolve) => (release = resolve));
    const read = file.read.bind(file);
    // What reads the norms begins at the first chunk of gradients, what opens the file does not.
    file.read = async (offset, length) => {
      if (offset === slow) await released;
      return read(offset, length);
    };
    const replay = await openedReplay([memorySource("run", file)]);
    const { steps, loss, gradientNorm } = replay.overview.timeline;
    expect([[...steps], [...loss], [...gradientNorm]]).toEqual([[0, 1, 2], [0, 1, 2], [NaN, NaN, NaN]]);
    release();
    const { from, timeline } = await replay.told("grown");
    expect([from, [...timeline.gradientNorm]]).toEqual([0, [1, 2, 3]]);
  });

  it("tells a page that comes up again everything once more", async () => {
    const replay = await openedReplay([goldenSource("seed")]);
    replay.post({ type: "ready" });
    expect((await replay.told("opened")).overview).toEqual(replay.overview);
  });
});

describe("marks", () => {
  it("stand where NaN begins, not at each step that has it", async () => {
    const flushes: Written[][] = [[parameters("w", "b")]];
    for (let step = 0; step < 20; step++) flushes.push(stepRecords(step, { 0: 1, 1: 2 }, { nan: (step >= 3 && step < 9) || step >= 12 ? 1 : 0, loss: step >= 5 ? Number.NaN : 1 }));
    const { overview } = await openedReplay([memorySource("run", new MemoryFile(sessionBytes([...flushes, [finish(20)]])))]);
    expect(overview.facts.marks).toEqual([{ kind: "nonfinite", step: 3, stop: -1, text: "NaN or Inf in 2 gradients" }]);
    expect([...overview.timeline.lossSeen]).toEqual(new Array(20).fill(1));
    expect(overview.timeline.loss[5]).toBeNaN();
  });

  it("are not without end, and say so", async () => {
    const flushes: Written[][] = [[parameters("w")]];
    for (let step = 0; step < 1100; step++) flushes.push(stepRecords(step, { 0: 1 }, { nan: step % 2, graph: step % 3 }));
    const { overview } = await openedReplay([memorySource("run", new MemoryFile(sessionBytes([flushes.flat(), [finish(1100)]])))]);
    expect(overview.facts.marks.filter(({ kind }) => kind === "nonfinite").length).toBe(500);
    expect(overview.facts.variants.length).toBe(1000);
    expect(overview.facts.variants[2]).toEqual({ letter: "C", graph: 2, from: 2, to: 2 });
    expect(overview.facts.notices.map(({ text }) => text)).toContain("There are more marks than are listed: of each kind the first 500, and of graph spans the first 1,000.");
  });

  it("name new graphs, stops and the step that the file ends in", async () => {
    const stop = { number: 1, time_ns: startOf(1), step: -1, thread: 1, thread_name: "", file: "/a/train.py", line: 12, function: "step" };
    const bytes = sessionBytes([
      [parameters("w"), graph(4), graph(7), ...stepRecords(0, { 0: 1 }, { graph: 4 }), ...stepRecords(1, { 0: 1 }, { graph: 7 }), ["/stops", stop]],
      stepRecords(2, { 0: 1 }, { graph: 4 }).slice(0, 2),
    ]);
    const { overview } = await openedReplay([memorySource("run", new MemoryFile(bytes))]);
    expect(overview.facts.marks.map(({ kind, step, text }) => [kind, step, text])).toEqual([
      ["stop", 1, "Stop 1: train.py:12 in step"],
      ["variant", 1, "Graph B begins"],
      ["interrupted", 2, "The file ends within this step."],
    ]);
    expect(overview.facts.variants.map(({ letter, from, to }) => [letter, from, to])).toEqual([["A", 0, 0], ["B", 1, 1], ["A", 2, 2]]);
  });

  it("stand at the steps whose records are damaged", async () => {
    const flushes: Written[][] = [[parameters("w")]];
    for (let step = 0; step < 5; step++) flushes.push(stepRecords(step, { 0: step + 1 }));
    const [before, third] = [sessionBytes(flushes.slice(0, 4)).length, sessionBytes([...flushes.slice(0, 4), flushes[4]!.slice(0, 1)]).length];
    const bytes = sessionBytes([...flushes, [finish(5)]]);
    bytes[third + 60]! ^= 0xff;
    expect(before).toBeLessThan(third);
    const { overview } = await openedReplay([memorySource("run", new MemoryFile(bytes))]);
    expect(overview.facts.gaps.map(({ from, to }) => [from, to])).toEqual([[3, 3]]);
    expect(overview.facts.marks.map(({ kind, step }) => [kind, step])).toEqual([["gap", 3]]);
  });

  it("stand where steps are missing, for their own records are damaged", async () => {
    const flushes: Written[][] = [[parameters("w")]];
    for (let step = 0; step < 6; step++) flushes.push(stepRecords(step, { 0: step + 1 }));
    const bytes = sessionBytes([...flushes, [finish(6)]]);
    const { reader } = await openSession(bytes);
    const places = [2, 3].map((step) => reader.index.entry(reader.channelOf("/steps"), step).offset);
    for (const place of places) bytes[place + 80]! ^= 0xff;
    const { overview } = await openedReplay([memorySource("run", new MemoryFile(bytes))]);
    expect([...overview.timeline.steps]).toEqual([0, 1, 4, 5]);
    expect(overview.facts.gaps.map(({ from, to, text }) => [from, to, text])).toEqual([[2, 3, "steps: a chunk is damaged: its checksum does not fit, and 1 more"]]);
  });

  it("come for damage that is met later, when a step is shown", async () => {
    const bytes = goldenBytes("seed");
    const replay = await openedReplay([memorySource("run", new MemoryFile(bytes))]);
    const session = await openSession(bytes);
    const entry = session.reader.index.entry(session.reader.channelOf("/histograms"), 1);
    bytes[entry.offset + 70]! ^= 0xff;
    await replay.ask("snapshot", { at: at(1) });
    const { facts, from, timeline } = await replay.told("grown");
    expect([from, timeline.steps.length, facts.gaps.length, facts.marks.map(({ kind }) => kind)]).toEqual([2, 0, 1, ["gap"]]);
  });
});

describe("a file that grows", () => {
  const steps = (count: number): Written[][] => [[parameters("w")], ...Array.from({ length: count }, (_, step) => stepRecords(step, { 0: step + 1 }, { loss: step }))];

  it("is told as far as it is new, once for each refresh, and not at all where nothing is", async () => {
    const file = new MemoryFile(sessionBytes(steps(3)));
    const replay = await openedReplay([memorySource("run", file)]);
    const before = replay.messages.length;
    await replay.source.refresh();
    expect(replay.messages.length).toBe(before);
    file.bytes = sessionBytes(steps(5));
    await replay.source.refresh();
    expect(replay.messages.length).toBe(before + 1);
    const grown = await replay.told("grown");
    expect([grown.from, [...grown.timeline.steps], [...grown.timeline.gradientNorm]]).toEqual([3, [3, 4], [4, 5]]);
    expect(grown.facts.bytes).toBe(file.bytes.length);
  });

  it("changes the last step where that was cut short", async () => {
    const [last] = steps(3).slice(3);
    const file = new MemoryFile(sessionBytes([...steps(2), last!.slice(0, 1)]));
    const replay = await openedReplay([memorySource("run", file)]);
    expect([...replay.overview.timeline.lossSeen]).toEqual([1, 1, 0]);
    file.bytes = sessionBytes([...steps(2), last!.slice(0, 1), last!.slice(1)]);
    await replay.source.refresh();
    const { from, timeline } = await replay.told("grown");
    expect([from, [...timeline.steps], [...timeline.loss], [...timeline.gradientNorm]]).toEqual([2, [2], [2], [3]]);
  });

  it("gives, put together, the timeline of the whole file", async () => {
    const whole = sessionBytes([...steps(12), [finish(12)]]);
    const file = new MemoryFile(sessionBytes(steps(1)));
    const replay = await openedReplay([memorySource("run", file)]);
    const loss = [...replay.overview.timeline.loss];
    for (let length = file.bytes.length; length < whole.length + 97; length += 97) {
      file.bytes = whole.slice(0, length);
      await replay.source.refresh();
    }
    for (const message of replay.messages) if (message.type === "grown") loss.splice(message.from, Infinity, ...message.timeline.loss);
    expect(loss).toEqual(Array.from({ length: 12 }, (_, step) => step));
    const last = replay.messages.at(-1) as Extract<ToReplay, { type: "grown" }>;
    expect(last.facts.finished).toBe(true);
  });

  it("is read once more, not three times, for three calls during a refresh", async () => {
    const file = new MemoryFile(sessionBytes(steps(3)));
    const replay = await openedReplay([memorySource("run", file)]);
    let looks = 0;
    const read = file.read.bind(file);
    file.read = (offset, length) => {
      if (offset === 0) looks++;
      return read(offset, length);
    };
    const first = replay.source.refresh();
    while (looks === 0) await Promise.resolve();
    await Promise.all([first, replay.source.refresh(), replay.source.refresh(), replay.source.refresh()]);
    expect(looks).toBe(2);
  });

  it("that cannot be read for a moment says so, and is opened again", async () => {
    const file = new MemoryFile(sessionBytes(steps(3)));
    const replay = await openedReplay([memorySource("run", file)]);
    const size = file.size.bind(file);
    file.size = () => Promise.reject(Object.assign(new Error("ESTALE"), { code: "ESTALE" }));
    await replay.source.refresh();
    await replay.source.refresh();
    expect(replay.messages.filter(({ type }) => type === "failed").length).toBe(1);
    file.size = size;
    await replay.source.refresh();
    expect((await replay.told("opened")).overview).toEqual(replay.overview);
    await replay.source.refresh();
    expect(replay.messages.at(-1)!.type).toBe("opened");
  });

  it("that another run replaced is opened again", async () => {
    const file = new MemoryFile(sessionBytes(steps(5), { pid: 1 }));
    const replay = await openedReplay([memorySource("run", file)]);
    file.bytes = sessionBytes(steps(2), { pid: 2 });
    await replay.source.refresh();
    const opened = await replay.told("opened");
    expect([opened.overview.facts.run.pid, opened.overview.timeline.steps.length]).toEqual([2, 2]);
    file.bytes = sessionBytes(steps(6), { pid: 3 });
    await replay.source.refresh();
    expect((await replay.told("opened")).overview.facts.run.pid).toBe(3);
    file.bytes = new Uint8Array(3);
    await replay.source.refresh();
    expect((await replay.told("failed")).reason).toContain("run is not a gradwatch session");
    file.bytes = sessionBytes(steps(1), { pid: 4 });
    await replay.source.refresh();
    expect((await replay.told("opened")).overview.facts.run.pid).toBe(4);
  });
});

describe("a page's questions", () => {
  it("are answered with what crosses to a webview, times as numbers", async () => {
    const { ask, overview } = await openedReplay([goldenSource("seed")]);
    const snapshot = await ask("snapshot", { at: at(1) });
    const held = await ask("held", { at: at(1) });
    expect([snapshot, held, overview].map(crosses)).toEqual([true, true, true]);
    expect(snapshot.run.start_ns).toBe(1_700_000_000_000_000_000);
    expect([...numbers(held!.curve_bytes)]).toEqual([8, 4, 0]);
    expect(held!.backward).toBe(snapshot.backward!.index);
  });

  it("for a step or stop that is not there are refused with a sentence", async () => {
    const { ask } = await openedReplay([goldenSource("seed")]);
    await expect(ask("snapshot", { at: at(9) })).rejects.toThrow("seed.gradwatch has no step 9. Its steps go from 0 to 1.");
    await expect(ask("snapshot", { at: { kind: "stop", rank: 0, stop: 4 } })).rejects.toThrow("has no stop 4. It has 0 recorded stops.");
    await expect(ask("recentNorms", { rank: 0, step: 9, count: 3 })).rejects.toThrow("Step 9 is not in this file.");
    await expect(ask("snapshot", { at: at(0, 3) })).rejects.toThrow("There is no file of rank 3 that can be read.");
    await expect(ask("hasOwnProperty" as "curve", { rank: 0, subject: { kind: "parameter", id: 0 }, statistic: "l2" })).rejects.toThrow("Nothing answers to hasOwnProperty.");
  });

  it("about curves and recent norms have the numbers that were recorded", async () => {
    const { ask } = await openedReplay([goldenSource("seed")]);
    const curve = await ask("curve", { rank: 0, subject: { kind: "parameter", id: 0 }, statistic: "l2" });
    expect([[...curve.steps], [...curve.values], [...curve.nonfinite]]).toEqual([[0, 1], [10, 9], [0, 0]]);
    const recent = await ask("recentNorms", { rank: 0, step: 1, count: 100 });
    expect([[...recent.steps], [...recent.parameters], [...recent.norms]]).toEqual([[0, 1], [0, 1], [10, 9, 5, 4.5]]);
    expect([...(await ask("recentNorms", { rank: 0, step: 1, count: 1 })).norms]).toEqual([9, 4.5]);
  });

  it("leave NaN where a parameter has no gradient in a step", async () => {
    const { ask } = await openedReplay([goldenSource("variants")]);
    const { norms, parameters: ids } = await ask("recentNorms", { rank: 0, step: 2, count: 3 });
    expect([[...ids], [...norms]]).toEqual([[0, 1, 2], [3, 6, 9, NaN, 5, NaN, NaN, 7, NaN]]);
  });

  it("that wait while a newer one comes are dropped: a drag reads the first and the last step", async () => {
    const { ask } = await openedReplay([goldenSource("variants")]);
    const asked = [0, 1, 0, 1, 2].map((step) => ask("snapshot", { at: at(step) }).then(({ stop }) => stop.step, (error: Error) => error.message));
    expect(await Promise.all(asked)).toEqual([0, SUPERSEDED, SUPERSEDED, SUPERSEDED, 2]);
  });

  it("are answered before the page knows that it is open, once it is", async () => {
    const replay = await fakeReplay([goldenSource("seed")]);
    replay.post({ type: "ready" });
    expect((await replay.ask("snapshot", { at: at(0) })).stop.step).toBe(0);
  });

  it("after dispose are not answered, and nothing is posted", async () => {
    const { source, messages, ask } = await openedReplay([goldenSource("seed")]);
    const pending = ask("snapshot", { at: at(0) });
    let answered = false;
    void pending.then(() => (answered = true), () => (answered = true));
    source.dispose();
    const before = messages.length;
    source.go(at(1));
    await source.refresh();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect([answered, messages.length]).toEqual([false, before]);
  });

  it("go where the host says", async () => {
    const { source, told } = await openedReplay([goldenSource("seed")]);
    source.go(at(1));
    expect((await told("go")).at).toEqual(at(1));
  });
});

describe("source lines", () => {
  const FILE = "/home/someone/project/seed.py";
  const ask = async (doors: Partial<ReplayDoors>, file = FILE) => (await openedReplay([goldenSource("seed")], doors)).ask("sourceLines", { rank: 0, file, line: 6, around: 1 });

  it("are the recorded ones where the workspace has no such file, or another text", async () => {
    const lines = { first: 5, lines: ["x = 2.0", "y = w * x + b", "loss = y ** 2"], from: "recorded" };
    expect(await ask({})).toEqual(lines);
    expect(await ask({ workspaceLines: () => Promise.resolve(null) })).toEqual(lines);
    expect(await ask({ workspaceLines: () => Promise.resolve(["something else"]) })).toEqual(lines);
    expect(await ask({ workspaceLines: () => Promise.reject(new Error("EIO")) })).toEqual(lines);
  });

  it("are the workspace's where that has the same text, whatever ends its lines", async () => {
    const same = await ask({ workspaceLines: (_, recorded) => Promise.resolve(recorded!.split("\n")) });
    expect([same.from, same.lines[1]]).toEqual(["workspace", "y = w * x + b"]);
  });

  it("are none where neither has them", async () => {
    expect(await ask({}, "/etc/passwd")).toEqual({ first: 6, lines: [], from: "none" });
  });

  it("go to the editor with the recorded text, and steps to the command line with the file's place", async () => {
    const calls: unknown[] = [];
    const { ask: asked } = await openedReplay([goldenSource("seed")], {
      openSource: (...given) => Promise.resolve(void calls.push(given)),
      replayStep: (...given) => Promise.resolve(void calls.push(given)),
      copyText: (...given) => Promise.resolve(void calls.push(given)),
    });
    await asked("openSource", { rank: 0, file: FILE, line: 6, focus: true });
    await asked("replayStep", { rank: 0, step: 1 });
    await asked("copyText", { text: "1.0" });
    expect(calls).toEqual([[FILE, 6, true, expect.stringContaining("loss = y ** 2")], ["/runs/seed.gradwatch", 1], ["1.0"]]);
  });
});
