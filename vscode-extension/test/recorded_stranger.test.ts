/** A session is a stranger's file: whatever stands in it, reading ends, in an answer or in words. */

import { describe, expect, it } from "vitest";
import { buildScene } from "./recorded_scene";
import { UnreadableError, crc32 } from "../shared/mcap_bytes";
import { frameOf } from "../shared/mcap_zstd";
import { SessionError } from "../shared/recorded_errors";
import { MessagePack } from "../shared/recorded_msgpack";
import type { RecordedSession } from "../shared/recorded_session";
import { MemoryFile, goldenBytes, openSession, verify, withoutChecksums } from "./recorded_files";

const CASES = 400;
const SEED = 20_240_607;
const NAMES = ["accumulate", "followed", "seed", "series", "torn", "variants"] as const;

/** mulberry32: the same cases every time. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

type Random = (below: number) => number;

/** Flips, numbers made huge, cuts, pieces taken out, doubled, and put in from another session. */
function mutated(random: Random): Uint8Array {
  const pick = (): Uint8Array => goldenBytes(NAMES[random(NAMES.length)]!);
  let bytes = pick();
  for (let left = 1 + random(3); left > 0; left--) {
    const at = random(bytes.length);
    const length = 1 + random(200);
    switch (random(6)) {
      case 0: bytes[at]! ^= 1 << random(8); break;
      case 1: bytes.fill(0xff, at, at + 1 + random(8)); break;
      case 2: bytes = bytes.slice(0, at + 1); break;
      case 3: bytes = joined(bytes.subarray(0, at), bytes.subarray(at + length)); break;
      case 4: bytes = joined(bytes.subarray(0, at + length), bytes.subarray(at)); break;
      default: {
        const other = pick();
        bytes = joined(bytes.subarray(0, at), other.subarray(random(other.length)));
      }
    }
  }
  return bytes;
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

async function askAll(session: RecordedSession): Promise<void> {
  for (const { parameter } of session.names.parameters) {
    await session.curve({ kind: "parameter", id: parameter.id });
    const curve = await session.curveOf({ kind: "parameter", id: parameter.id }, "min");
    expect(curve.values.length).toBe(session.steps.length);
  }
  const totals = await session.totals();
  expect(totals.heldBytes.length).toBe(session.steps.length);
  (await session.calls()).variants();
  await verify(session.reader);
}

/** Everything that an editor would ask; gives what was said instead of an answer. */
async function readAll(file: MemoryFile): Promise<string | null> {
  try {
    const session = await openSession(file);
    for (const step of session.steps.numbers()) buildScene(await session.snapshotOfStep(step));
    for (const stop of session.stops) buildScene(await session.snapshotOfStop(stop.number));
    await askAll(session);
    return null;
  } catch (error) {
    if (error instanceof SessionError) return error.message;
    throw error;
  }
}

/** Unpacks what it is given, so that what lies in chunks can be changed too. */
async function withContentChanged(bytes: Uint8Array, random: Random): Promise<void> {
  const { SessionReader } = await import("../shared/recorded_reader");
  const { bestDecompress } = await import("../shared/mcap_zstd");
  const unpack = await bestDecompress(null);
  const decompress = async (packed: Uint8Array, size: number): Promise<Uint8Array> => {
    const data = (await unpack(packed, size)).slice();
    for (let left = 1 + random(3); left > 0; left--) data[random(data.length)] = random(256);
    return data;
  };
  // Without the checksums, that is: a stranger can make them fit.
  const source = new MemoryFile(withoutChecksums(bytes));
  const { RecordedSession } = await import("../shared/recorded_session");
  try {
    await SessionReader.open(source, { name: "x", decompress });
    const session = await RecordedSession.open(source, { name: "x", decompress });
    for (const step of session.steps.numbers()) buildScene(await session.snapshotOfStep(step));
    await askAll(session);
  } catch (error) {
    if (!(error instanceof SessionError)) throw error;
  }
}

const CHUNK_NAME = [4, 0, 0, 0, 0x7a, 0x73, 0x74, 0x64];

describe("a stranger's file", () => {
  it(`is read, or refused in words, after any of ${CASES} changes`, async () => {
    const random = randomFrom(SEED);
    for (let i = 0; i < CASES; i++) {
      const file = new MemoryFile(mutated(random));
      const said = await readAll(file);
      expect(said === null || said.includes("run.gradwatch"), `case ${i}: ${said}`).toBe(true);
      expect(file.bytesRead, `case ${i}`).toBeLessThan(200 * 20_000);
    }
  }, 60_000);

  it(`is read, or refused in words, whatever its chunks hold`, async () => {
    const random = randomFrom(SEED + 1);
    for (let i = 0; i < CASES; i++) await withContentChanged(goldenBytes(NAMES[i % NAMES.length]!), random);
  }, 60_000);

  it("takes no memory for what it only claims", async () => {
    const bytes = goldenBytes("seed");
    const claims = bytes.slice();
    const view = new DataView(claims.buffer);
    for (let at = 9; at + 36 < claims.length; at++) {
      if (CHUNK_NAME.every((byte, i) => claims[at + 28 + i] === byte)) view.setBigUint64(at + 16, 1n << 40n, true);
    }
    const before = process.memoryUsage().rss;
    await expect(openSession(claims)).rejects.toThrow(SessionError);
    expect(process.memoryUsage().rss - before).toBeLessThan(100 << 20);
  });
});

describe("MessagePack", () => {
  const reading = (...bytes: number[]): MessagePack => new MessagePack(Uint8Array.from(bytes));

  it.each([
    ["a list of 4 billion entries", [0xdd, 0xff, 0xff, 0xff, 0xff]],
    ["a map of 4 billion entries", [0xdf, 0xff, 0xff, 0xff, 0xff]],
    ["bytes that are not there", [0xc6, 0xff, 0xff, 0xff, 0xff, 1]],
    ["a text that is not there", [0xdb, 0x7f, 0xff, 0xff, 0xff, 0x61]],
    ["a tag that is none", [0xc1]],
    ["nothing", []],
  ])("refuses %s", (_, bytes) => {
    expect(() => reading(...bytes).skip()).toThrow(UnreadableError);
  });

  it("steps over a million lists in one another without recursion", () => {
    const deep = new Uint8Array(1_000_001).fill(0x91);
    deep[1_000_000] = 0xc0;
    const from = new MessagePack(deep);
    from.skip();
    expect(from.done).toBe(true);
  });

  it("keeps integers beyond 2^53 exact, and gives others as numbers", () => {
    expect(reading(0xcf, 0x17, 0x97, 0x9c, 0xfe, 0x36, 0x2a, 0, 0).int()).toBe(1_700_000_000_000_000_000n);
    expect(reading(0xd3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe).int()).toBe(-2);
    expect(reading(0xd1, 0xff, 0x00).int()).toBe(-256);
    expect(reading(0xe0).int()).toBe(-32);
    expect(reading(0xca, 0x3f, 0x80, 0, 0).float()).toBe(1);
  });

  it("refuses text that is not UTF-8", () => {
    expect(() => reading(0xa1, 0xff).str()).toThrow("not UTF-8");
  });
});

describe("zstd frames", () => {
  it("are not unpacked when their blocks claim more than a block may hold", () => {
    expect(() => frameOf(Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0x20, 1, 0xfd, 0xff, 0xff))).toThrow(UnreadableError);
  });

  it("have the checksum that zlib gives", () => {
    expect(crc32(new TextEncoder().encode("123456789"))).toBe(0xcbf43926);
    expect(crc32(new TextEncoder().encode("56789"), crc32(new TextEncoder().encode("1234")))).toBe(0xcbf43926);
  });
});
