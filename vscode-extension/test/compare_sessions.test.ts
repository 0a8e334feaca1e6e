/** How a comparison goes about its work: what it reads, when it lets others run, what it refuses. */

import * as zlib from "node:zlib";
import { afterEach, describe, expect, it, vi } from "vitest";
import { numberOf, type Comparison } from "../shared/compare";
import { ComparisonError, compareSessions, type CompareOptions } from "../shared/compare_sessions";
import { bestDecompress, type NodeZlib } from "../shared/mcap_zstd";
import { SessionError } from "../shared/recorded_errors";
import { RecordedSession } from "../shared/recorded_session";
import type { Topics } from "../shared/session";
import { MemoryFile, goldenBytes } from "./recorded_files";
import { column, finish, graph, parameters, sessionBytes, stepRecords, type Written } from "./session_builder";

async function opened(file: Uint8Array | MemoryFile, name = "run.gradwatch"): Promise<RecordedSession> {
  const decompress = await bestDecompress(zlib as NodeZlib);
  return RecordedSession.open(file instanceof MemoryFile ? file : new MemoryFile(file), { name, decompress });
}

/** `norms` by step; each step is a flush. */
function run(norms: readonly number[], options: { loss?: number; nan?: number } = {}): Uint8Array {
  const steps = norms.map((norm, step) => stepRecords(step, { 0: norm }, { loss: 1, ...options }));
  return sessionBytes([[parameters("w")], ...steps, [finish(norms.length)]]);
}

async function compared(a: Uint8Array, b: Uint8Array, options: CompareOptions = {}): Promise<Comparison> {
  return compareSessions(await opened(a, "a.gradwatch"), await opened(b, "b.gradwatch"), options);
}

const flat = Array.from({ length: 40 }, () => 1);

describe("a comparison", () => {
  afterEach(() => void vi.restoreAllMocks());

  it("finds the first step beyond the tolerance, and says which it was", async () => {
    const b = run(flat.map((norm, step) => (step >= 7 ? norm * 1.01 : norm)));
    const found = await compared(run(flat), b);
    expect([found.parts, found.gradients?.step, found.gradients?.first.name]).toEqual([true, 7, "w"]);
    const loose = await compared(run(flat), b, { tolerance: 0.02 });
    expect([loose.parts, loose.gradients, loose.tolerance.rtol]).toEqual([false, null, 0.02]);
    expect(Math.max(...loose.curves.difference.map(numberOf))).toBeCloseTo(0.01 / 1.01, 5);
  });

  it("takes 0 as exactly, and what is no tolerance as the default", async () => {
    const [a, b] = [run([1]), run([1.00001])];
    expect((await compared(a, b, { tolerance: 0 })).tolerance).toEqual({ rtol: 0, atol: 0 });
    expect((await compared(a, b, { tolerance: 0 })).parts).toBe(true);
    for (const tolerance of [null, Number.NaN, -1]) expect((await compared(a, b, { tolerance })).tolerance).toEqual({ rtol: 1e-4, atol: 1e-8 });
  });

  it("compares one step of both where one is named", async () => {
    const found = await compared(run([1, 2, 3]), run([1, 2, 4]), { stepB: 2 });
    expect([found.first_steps, found.compared.steps, found.gradients?.step]).toEqual([{ a: 2, b: 2 }, 1, 2]);
  });

  it("leaves losses out between ranks of one run", async () => {
    const [a, b] = [run(flat, { loss: 1 }), run(flat, { loss: 2 })];
    expect((await compared(a, b)).loss?.step).toBe(0);
    const ranks = await compared(a, b, { ranks: true });
    expect([ranks.parts, ranks.loss, ranks.notes[0]]).toEqual([false, null, expect.stringContaining("Different ranks")]);
  });

  /** A step of two backward calls, with these norms after each. */
  function twoCalls(first: Readonly<Record<number, number>>, second: Readonly<Record<number, number>>): Written[] {
    const later = stepRecords(0, second).map(([topic, record, ...rest]) => [topic, topic === "/gradients" ? { ...record, backward: 1 } : topic === "/backward" ? { ...record, index: 1 } : record, ...rest] as Written);
    return [...stepRecords(0, first).filter(([topic]) => topic !== "/steps"), ...later];
  }

  it("compares of a step's calls, between ranks, those that no later one repeats: micro-batches are not reduced yet", async () => {
    const [a, b] = [1, 5].map((own) => sessionBytes([[parameters("w", "v")], twoCalls({ 0: own, 1: own }, { 0: 3, 1: 4 }), [finish(1)]])) as [Uint8Array, Uint8Array];
    expect((await compared(a, b)).parts).toBe(true);
    const ranks = await compared(a, b, { ranks: true });
    expect([ranks.parts, ranks.compared.parameter]).toEqual([false, 2]);
    const alone = [1, 5].map((own) => sessionBytes([[parameters("w", "v")], twoCalls({ 0: own, 1: own }, { 0: 3 }), [finish(1)]])) as [Uint8Array, Uint8Array];
    expect((await compared(...alone, { ranks: true })).gradients?.first.name).toBe("v");
  });

  it("leaves out, between ranks, parameters of which each has a part of its own, and names them", async () => {
    const sharded = (norm: number, names: readonly string[]): Uint8Array => {
      const own = (parameters("w", ...names)[1] as Topics["/parameters"]).parameters.map((one) => (one.path === "w" ? one : { ...one, placements: ["Shard(dim=0)"] }));
      const norms = Object.fromEntries(["w", ...names].map((_, id) => [id, id === 0 ? 1 : norm]));
      return sessionBytes([[["/parameters", { parameters: own }]], stepRecords(0, norms), [finish(1)]]);
    };
    const some = await compared(sharded(1, ["a"]), sharded(7, ["a"]), { ranks: true });
    expect([some.parts, some.compared.parameter, some.notes[1]]).toEqual([false, 1, "1 parameter is sharded (a): each rank has a part of its own, so their gradients were not compared."]);
    const many = await compared(sharded(1, ["a", "b", "c", "d", "e"]), sharded(7, ["a", "b", "c", "d", "e"]), { ranks: true });
    expect(many.notes[1]).toMatch(/^5 parameters are sharded \(a, b, c, d, \.\.\.\)/);
    expect((await compared(sharded(1, ["a"]), sharded(7, ["a"]))).parts).toBe(true);
  });

  it("refuses what has nothing in common in words that name both", async () => {
    const late = sessionBytes([[parameters("w")], stepRecords(9, { 0: 1 }), [finish(1)]]);
    await expect(compared(run([1]), late)).rejects.toThrow("a.gradwatch and b.gradwatch have no whole step in common. a.gradwatch: It has step 0 only.");
    await expect(compared(run([1]), late)).rejects.toThrow(ComparisonError);
    await expect(compared(run([1]), run([1]), { stepA: 5 })).rejects.toThrow("There is no step 5 in this session. It has step 0 only.");
  });

  it("tells how far it is, and ends with what that throws", async () => {
    const shares: number[] = [];
    await compared(run(flat), run(flat), { onProgress: (share) => shares.push(share) });
    expect(shares).toEqual(flat.map((_, i) => (i + 1) / flat.length));
    const stop = () => {
      throw new Error("closed");
    };
    await expect(compared(run(flat), run(flat), { onProgress: stop })).rejects.toThrow("closed");
  });

  it("reads gradients and backward calls of a file once", async () => {
    const file = new MemoryFile(run(flat));
    const session = await opened(file);
    file.bytesRead = 0;
    for (const topic of ["/gradients", "/backward"] as const) for await (const _ of session.reader.records(topic));
    const once = file.bytesRead;
    file.bytesRead = 0;
    await compareSessions(session, await opened(run(flat)));
    expect(file.bytesRead).toBeLessThan(1.1 * once);
  });

  it("lets others run between steps", async () => {
    const [a, b] = [await opened(run(flat)), await opened(run(flat))];
    let now = 0;
    vi.spyOn(Date, "now").mockImplementation(() => (now += 100));
    let turns = 0;
    const other = setInterval(() => turns++, 0);
    await compareSessions(a, b);
    clearInterval(other);
    expect(turns).toBeGreaterThan(flat.length / 2);
  });

  it("goes on with a session that grows while it is compared", async () => {
    const whole = run(flat);
    const file = new MemoryFile(whole.slice(0, whole.length >> 1));
    const growing = await opened(file);
    const before = growing.steps.length;
    const found = compareSessions(growing, await opened(whole));
    file.bytes = whole;
    await growing.refresh();
    expect((await found).parts).toBe(false);
    expect(growing.steps.length).toBeGreaterThan(before);
  });
});

describe("long lists", () => {
  it("end, and say how much they leave out", async () => {
    const names = Array.from({ length: 2100 }, (_, i) => `w${i}`);
    const all = (norm: number): Uint8Array =>
      sessionBytes([[parameters(...names)], stepRecords(0, Object.fromEntries(names.map((_, id) => [id, norm])), { loss: 1 }), [finish(1)]]);
    const found = await compared(all(1), all(2));
    expect([found.gradients?.parameters.length, found.compared.parameter]).toEqual([2000, 2100]);
    expect(found.notes).toContain("100 more gradients part at that step than are listed.");
  });
});

describe("strangers' files", () => {
  it("whose gradients come out of order are compared all the same", async () => {
    const steps = [0, 1, 2, 3, 4, 5].map((step) => stepRecords(step, { 0: 1 }, { loss: 1 }));
    const shuffled = [5, 0, 4, 1, 3, 2].map((step) => steps[step]!);
    const found = await compared(sessionBytes([[parameters("w")], ...steps, [finish(6)]]), sessionBytes([[parameters("w")], ...shuffled, [finish(6)]]));
    expect(found.compared.steps).toBe(6);
    expect(found.compared.parameter).toBeGreaterThan(0);
  });

  const EXTREMES = [-1, 0, 1, 2 ** 31 - 1, 2 ** 32 - 1, 7];
  const TEXTS = ["", "__proto__", "w", ":12", "../../etc/passwd:x", "\0", "a".repeat(4096)];

  /** One field of one record made something else; the same for the same seed. */
  function twisted(seed: number): Uint8Array {
    let state = seed * 2654435761 + 12345;
    const pick = (count: number): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * count);
    };
    const records: Written[] = structuredClone([parameters("w", "v"), graph(0), ...stepRecords(0, { 0: 1, 1: 2 }, { loss: 1, graph: 0, held: 8 }), ...stepRecords(1, { 0: 1 }, { graph: 0 }), nodeRows(0), nodeRows(1)]);
    for (let times = 1 + pick(4); times > 0; times--) {
      const path = fieldsOf(records[pick(records.length)]![1]);
      const [owner, key] = path[pick(path.length)]!;
      owner[key] = other(owner[key], pick);
    }
    return sessionBytes([records, [finish(2)]]);
  }

  function nodeRows(step: number): Written {
    const statistics = stepRecords(step, { 0: 1, 1: 2 })[1]![1] as { columns: Record<string, { dtype: string; data: Uint8Array }> };
    return ["/gradients", { step, backward: 0, subject_kind: "node", subjects: column(Uint32Array.of(1, 0)), columns: statistics.columns }, step];
  }

  function fieldsOf(record: unknown): [Record<string, unknown>, string][] {
    if (typeof record !== "object" || record === null || ArrayBuffer.isView(record)) return [];
    const owner = record as Record<string, unknown>;
    return Object.keys(owner).flatMap((key) => [[owner, key] as [Record<string, unknown>, string], ...fieldsOf(owner[key])]);
  }

  function other(value: unknown, pick: (count: number) => number): unknown {
    if (typeof value === "number" || typeof value === "bigint") return EXTREMES[pick(EXTREMES.length)];
    if (typeof value === "string") return pick(2) ? TEXTS[pick(TEXTS.length)] : ["<f4", "<f8", "<u8", "<i8", "|u1", "<i4"][pick(6)];
    if (value instanceof Uint8Array) return Uint8Array.from({ length: [0, 8, value.length][pick(3)]! }, () => pick(256));
    return Array.isArray(value) ? [] : value;
  }

  function numbersIn(value: unknown): number[] {
    if (typeof value === "number") return [value];
    return typeof value === "object" && value !== null ? Object.values(value).flatMap(numbersIn) : [];
  }

  it("are compared, or refused in a sentence", async () => {
    const plain = sessionBytes([[parameters("w", "v"), graph(0)], [...stepRecords(0, { 0: 1, 1: 2 }, { loss: 1, graph: 0 }), nodeRows(0)], [finish(1)]]);
    let answered = 0;
    for (let seed = 0; seed < 400; seed++) {
      try {
        const b = await opened(twisted(seed));
        const found = await compareSessions(await opened(plain), b, { tolerance: 0 });
        expect(numbersIn(found).filter((number) => !Number.isFinite(number))).toEqual([]);
        await compareSessions(b, b);
        answered++;
      } catch (error) {
        if (!(error instanceof SessionError) && !(error instanceof ComparisonError)) throw new Error(`seed ${seed}: ${String(error)}`, { cause: error });
      }
    }
    expect(answered).toBeGreaterThan(100);
  });

  it("of golden sessions with a byte flipped are compared or refused", async () => {
    const bytes = goldenBytes("variants");
    for (let at = 0; at < bytes.length; at += 211) {
      const flipped = bytes.slice();
      flipped[at]! ^= 0x5a;
      const done = opened(flipped).then(async (session) => compareSessions(session, await opened(bytes)));
      const error: unknown = await done.then(() => null, (reason: unknown) => reason);
      if (error !== null && !(error instanceof ComparisonError)) expect(error, `byte ${at}`).toBeInstanceOf(SessionError);
    }
  });
});
