/** Opening, following and refusing session files; the MCAP library's own reader is the oracle. */

import { McapStreamReader } from "@mcap/core";
import { describe, expect, it } from "vitest";
import { numbers } from "../shared/answer";
import { plainDecompress, bestDecompress, frameOf } from "../shared/mcap_zstd";
import { SessionError } from "../shared/recorded_errors";
import { RECORD_OF } from "../shared/recorded_fields";
import { SessionReader } from "../shared/recorded_reader";
import { GRADIENT_STATES, type Topics } from "../shared/session";
import { MemoryFile, goldenBytes, openReader, openSession, verify } from "./recorded_files";

const NAMES = ["accumulate", "followed", "seed", "series", "torn", "variants"] as const;
const FOOTER = 9 + 20 + 8;

async function all<T extends keyof Topics>(reader: SessionReader, topic: T): Promise<Topics[T][]> {
  const records: Topics[T][] = [];
  for await (const record of reader.records(topic)) records.push(record);
  return records;
}

/** Messages by topic, as the MCAP library counts them. */
async function counted(bytes: Uint8Array): Promise<Record<string, number>> {
  const unpack = await bestDecompress(null);
  const stream = new McapStreamReader({ decompressHandlers: { zstd: (packed, size) => unpack(packed, Number(size)) as Uint8Array }, validateCrcs: true });
  stream.append(bytes);
  const topics = new Map<number, string>();
  const counts: Record<string, number> = {};
  for (let record = stream.nextRecord(); record; record = stream.nextRecord()) {
    if (record.type === "Channel") topics.set(record.id, record.topic);
    if (record.type !== "Message") continue;
    const topic = topics.get(record.channelId) ?? "?";
    counts[topic] = (counts[topic] ?? 0) + 1;
  }
  return counts;
}

describe.each(NAMES)("%s", (name) => {
  it("holds as many records of each topic as the MCAP library finds", async () => {
    const reader = await openReader(goldenBytes(name));
    const found: Record<string, number> = {};
    for (const topic of Object.keys(RECORD_OF) as (keyof Topics)[]) {
      const count = (await all(reader, topic)).length;
      if (count > 0) found[topic] = count;
    }
    expect(found).toEqual(await counted(goldenBytes(name)));
  });
});

describe("a session", () => {
  it("says the same with and without its summary", async () => {
    const bytes = goldenBytes("seed");
    const [whole, hopped] = [await openReader(bytes), await openReader(bytes.slice(0, -FOOTER))];
    expect([whole.complete, hopped.complete]).toEqual([true, false]);
    for (const topic of Object.keys(RECORD_OF) as (keyof Topics)[]) expect(await all(hopped, topic)).toEqual(await all(whole, topic));
  });

  it("is followed while it grows a byte at a time: a part of a record waits, and nothing is lost", async () => {
    const bytes = goldenBytes("seed");
    const whole = await openSession(bytes);
    const start = 1600;
    const file = new MemoryFile(bytes.slice(0, start));
    const session = await openSession(file);
    const lengths: number[] = [];
    for (let length = start; length <= bytes.length; length += 7) {
      file.bytes = bytes.slice(0, length);
      await session.refresh();
      lengths.push(session.steps.length);
    }
    file.bytes = bytes;
    await session.refresh();
    expect(lengths).toEqual([...lengths].sort((a, b) => a - b));
    expect(session.finished).toBe(true);
    expect(session.finish).toEqual(whole.finish);
    expect([...session.steps.losses()]).toEqual([6.25, 5.0625]);
    expect(await session.curve({ kind: "parameter", id: 0 })).toEqual(await whole.curve({ kind: "parameter", id: 0 }));
    expect(await session.snapshotOfStep(1)).toEqual(await whole.snapshotOfStep(1));
    expect(await verify(session.reader)).toEqual([]);
  });

  it("reads a curve on from where it was", async () => {
    const bytes = goldenBytes("seed");
    const file = new MemoryFile(bytes.slice(0, 4500));
    const session = await openSession(file);
    expect([...(await session.curve({ kind: "parameter", id: 0 })).columns.l2]).toEqual([10]);
    file.bytes = bytes;
    await session.refresh();
    const before = file.bytesRead;
    expect([...(await session.curve({ kind: "parameter", id: 0 })).columns.l2]).toEqual([10, 9]);
    expect(file.bytesRead - before).toBeLessThan(1000);
  });

  it("answers questions that are asked at once as if they came one by one", async () => {
    const bytes = goldenBytes("seed");
    const file = new MemoryFile(bytes.slice(0, 4500));
    const session = await openSession(file);
    file.bytes = bytes;
    const grown = await Promise.all([session.refresh(), session.refresh(), session.refresh()]);
    expect(grown).toEqual([true, false, false]);
    expect(session.steps.length).toBe(2);
    const curves = await Promise.all([1, 2, 3].map(() => session.curve({ kind: "parameter", id: 0 })));
    expect(curves.map(({ columns }) => [...columns.l2])).toEqual([[10, 9], [10, 9], [10, 9]]);
    const [, calls] = await Promise.all([session.calls(), session.calls()]);
    expect([...calls.heldBytes(session.steps)]).toEqual([12, 12]);
  });

  it("gives a whole curve after one that a failing disk cut short", async () => {
    const file = new MemoryFile(goldenBytes("seed"));
    const session = await openSession(file);
    const read = file.read.bind(file);
    file.read = () => Promise.reject(new Error("EIO"));
    await expect(session.curve({ kind: "parameter", id: 0 })).rejects.toThrow("EIO");
    file.read = read;
    expect([...(await session.curve({ kind: "parameter", id: 0 })).columns.l2]).toEqual([10, 9]);
  });

  it("says so when it becomes shorter", async () => {
    const file = new MemoryFile(goldenBytes("torn"));
    const reader = await openReader(file);
    file.bytes = file.bytes.slice(0, 2000);
    await expect(reader.refresh()).rejects.toThrow("it has become shorter while it was open");
  });

  it("gives records of a stretch of time, to the nanosecond", async () => {
    const reader = await openReader(goldenBytes("seed"));
    const times: bigint[] = [];
    for await (const { content } of reader.contentsFrom("/backward", 0)) times.push(...content.timeNs);
    const found: number[] = [];
    for await (const { step } of reader.records("/backward", { fromNs: times[1]! })) found.push(step);
    expect(found).toEqual([1]);
    for await (const { step } of reader.records("/backward", { toNs: times[1]! - 1n })) found.push(step);
    expect(found).toEqual([1, 0]);
  });

  it("in another format is refused with both versions and the way out", async () => {
    const bytes = goldenBytes("seed");
    const at = new TextDecoder("latin1").decode(bytes).indexOf("format_version") + "format_version".length + 4;
    bytes[at] = "7".charCodeAt(0);
    const refusal = openSession(bytes);
    await expect(refusal).rejects.toThrow(SessionError);
    await expect(refusal).rejects.toThrow("run.gradwatch was written by gradwatch 0.1.0 (format 7); this is 0.1.0 (format 1). Update the gradwatch extension.");
  });

  it.each([
    ["an empty file", new Uint8Array(0), "it is empty"],
    ["text", new TextEncoder().encode("hello, this is no session at all"), "it does not begin with the MCAP magic bytes"],
  ])("is not what %s is", async (_, bytes, reason) => {
    await expect(openSession(bytes)).rejects.toThrow(`run.gradwatch is not a gradwatch session: ${reason}`);
  });
});

describe("a snapshot of a recorded step", () => {
  const states = (column: { readonly dtype: string; readonly data: Uint8Array }): string[] => [...numbers(column)].map((state) => GRADIENT_STATES[state]!);

  it("says present, and what changed since the step before", async () => {
    const session = await openSession(goldenBytes("seed"));
    const [first, second] = [await session.snapshotOfStep(0), await session.snapshotOfStep(1)];
    expect(states(first.states!.state)).toEqual(["present", "present"]);
    expect([...numbers(first.states!.previous_norm)]).toEqual([Number.NaN, Number.NaN]);
    expect([...numbers(second.states!.previous_norm)]).toEqual([10, 5]);
    expect([...numbers(second.states!.changed)]).toEqual([1, 1]);
    expect(second.stop).toMatchObject({ number: 1, step: 1, line: 7, file: "/home/someone/project/seed.py" });
    expect(second.site_texts).toEqual(["y = w * x + b", "loss = y ** 2"]);
  });

  it("says None of parameters without a row beside others that have one", async () => {
    const session = await openSession(goldenBytes("variants"));
    expect(states((await session.snapshotOfStep(0)).states!.state)).toEqual(["present", "None", "None"]);
    expect(states((await session.snapshotOfStep(1)).states!.state)).toEqual(["present", "present", "present"]);
  });

  it("says unread, not None, where the step's gradients are damaged", async () => {
    const bytes = goldenBytes("seed");
    const offset = (await openReader(bytes)).chunkOffset("/gradients", 0);
    bytes[offset + 163]! ^= 0xff;
    const session = await openSession(bytes);
    const snapshot = await session.snapshotOfStep(0);
    expect(states(snapshot.states!.state)).toEqual(["unread", "unread"]);
    expect(snapshot.missing).toEqual([{ part: "gradients", reason: "No gradient of a parameter was recorded in step 0." }]);
    expect(session.gaps).toEqual([{ topic: "/gradients", offset, length: expect.any(Number), reason: expect.stringContaining("a chunk is damaged") }]);
  });

  it("lacks its graph, and says so, where that is damaged", async () => {
    const bytes = goldenBytes("seed");
    bytes[(await openReader(bytes)).chunkOffset("/graphs", 0) + 163]! ^= 0xff;
    const snapshot = await (await openSession(bytes)).snapshotOfStep(0);
    expect(snapshot.graph).toBeNull();
    expect(snapshot.missing?.[0]).toMatchObject({ part: "graph", reason: expect.stringContaining("graph 0 is not in it") });
    expect(snapshot.gradients?.map(({ subject_kind }) => subject_kind)).toEqual(["parameter", "node"]);
  });

  it("is refused in words for a step that is not there", async () => {
    await expect((await openSession(goldenBytes("seed"))).snapshotOfStep(99)).rejects.toThrow("has no step 99. Its steps go from 0 to");
  });
});

describe("every unpacker", () => {
  it("gives the same bytes, and an error or the wrong length for a frame that is broken", async () => {
    const fast = await bestDecompress(null);
    const frames: { packed: Uint8Array; size: number }[] = [];
    const keep = (packed: Uint8Array, size: number): Uint8Array | Promise<Uint8Array> => (frames.push({ packed: packed.slice(), size }), fast(packed, size));
    await verify(await SessionReader.open(new MemoryFile(goldenBytes("seed")), { name: "x", decompress: keep }));
    expect(frames.length).toBeGreaterThan(10);
    for (const { packed, size } of frames) {
      expect(frameOf(packed)).toEqual({ contentSize: size, length: packed.length });
      expect(await plainDecompress(packed, size)).toEqual(await fast(packed, size));
      for (let at = 6; at < packed.length; at += 5) {
        const broken = packed.slice();
        broken[at]! ^= 0x55;
        for (const decompress of [plainDecompress, fast]) await Promise.resolve().then(() => decompress(broken, size)).catch((error: unknown) => expect(error).toBeInstanceOf(Error));
      }
    }
  });
});
