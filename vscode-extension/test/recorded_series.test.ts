/** Curves and totals out of the records that stand for stretches of steps: read alone, believed only where they fit. */

import { describe, expect, it } from "vitest";
import type { RecordedSession } from "../shared/recorded_session";
import { SERIES_STATISTICS, type Series } from "../shared/session";
import { MemoryFile, goldenBytes, openSession } from "./recorded_files";
import { column, parameters, sessionBytes, stepRecords, type Written } from "./session_builder";

const W = { kind: "parameter", id: 0 } as const;
const STEPS = 40;

/** What the series say is not what the records of the steps say, so that it shows which was read. */
const SAID = 1000;

function series(first: number, step: number, changed: (part: Series) => Partial<Series> = () => ({}), ids: readonly number[] = [0, 1], width = 1): Written[] {
  const steps = Uint32Array.from({ length: step - first + 1 }, (_, i) => first + i);
  const blocks = Math.ceil((Math.max(...ids) + 1) / width);
  return SERIES_STATISTICS.flatMap((statistic, place) =>
    Array.from({ length: blocks }, (_, block): Written => {
      const own = ids.filter((id) => Math.floor(id / width) === block);
      const values = own.flatMap((id) => Array.from(steps, (number) => (statistic === "nonfinite" ? 0 : SAID + 100 * id + number)));
      const part: Series = {
        step, first, statistic, part: place * blocks + block, parts: 4 * blocks, width, steps: column(steps), subjects: column(Uint32Array.from(own)),
        values: column(Float32Array.from(values)),
      };
      return ["/series", { ...part, ...changed(part) }, step];
    }),
  );
}

function stepsUpTo(count: number): Written[][] {
  return Array.from({ length: count }, (_, step) => stepRecords(step, { 0: step, 1: 2 * step }));
}

async function open(...flushes: readonly (readonly Written[])[]): Promise<{ session: RecordedSession; file: MemoryFile }> {
  const file = new MemoryFile(sessionBytes([[parameters("w", "b", "late")], ...stepsUpTo(STEPS), ...flushes]));
  return { session: await openSession(file), file };
}

const plain = Array.from({ length: STEPS }, (_, step) => step);
const upTo = (last: number): number[] => plain.map((step) => (step <= last ? SAID + step : step));

async function norms(session: RecordedSession, id = 0): Promise<number[]> {
  return [...(await session.curveOf({ kind: "parameter", id }, "l2")).values];
}

describe("a curve", () => {
  it("comes out of series, and behind their end out of the records of the steps", async () => {
    const { session } = await open(series(0, 9), series(10, 19));
    expect(await norms(session)).toEqual(upTo(19));
    expect((await norms(session, 1)).slice(18, 21)).toEqual([1118, 1119, 40]);
  });

  it("needs no gradients of the steps that series hold", async () => {
    const bare = stepsUpTo(STEPS).map((records, step) => (step < 30 ? records.filter(([topic]) => topic !== "/gradients") : records));
    const session = await openSession(sessionBytes([[parameters("w", "b", "late")], ...bare, series(0, 9), series(10, 19), series(20, 29)]));
    expect(await norms(session)).toEqual(upTo(29));
  });

  it("grows from the records of new steps, without what was read of it before", async () => {
    const { session, file } = await open(series(0, 9));
    await norms(session);
    const more = Array.from({ length: 5 }, (_, i) => stepRecords(STEPS + i, { 0: STEPS + i }));
    file.bytes = sessionBytes([[parameters("w", "b", "late")], ...stepsUpTo(STEPS), series(0, 9), ...more, series(10, 39)]);
    await session.refresh();
    const before = file.bytesRead;
    expect(await norms(session)).toEqual([...upTo(9), 40, 41, 42, 43, 44]);
    expect(file.bytesRead - before).toBeLessThan(file.bytes.length / 4);
  });

  it("is whole where parameters came late and parts became more, and then wider", async () => {
    const wide = series(20, 29, undefined, [0, 1, 2, 3], 4);
    const { session } = await open(series(0, 9), series(10, 19, undefined, [0, 1, 2]), wide, series(30, 39, undefined, [0, 1, 2, 3], 4));
    expect(await norms(session)).toEqual(upTo(39));
    expect((await norms(session, 2)).slice(8, 12)).toEqual([Number.NaN, Number.NaN, 1210, 1211]);
    expect((await norms(session, 2)).at(-1)).toBe(1239);
  });

  it("of a parameter that no part has is nowhere", async () => {
    const { session } = await open(series(0, 39));
    expect(await norms(session, 7)).toEqual(plain.map(() => Number.NaN));
  });

  it.each<readonly [string, (part: Series) => Partial<Series>]>([
    ["steps that are not in the stretch", (part) => ({ step: part.step - 1 })],
    ["a stretch that begins elsewhere", (part) => ({ first: part.first + 1 })],
    ["steps twice", ({ steps }) => ({ steps: column(new Uint32Array(steps.data.length / 4)) })],
    ["fewer values than cells", ({ values }) => ({ values: { ...values, data: values.data.subarray(4) } })],
    ["values of another kind", ({ values }) => ({ values: { ...values, dtype: "<u4" } })],
    ["another statistic than its place says", () => ({ statistic: "max" })],
    ["parts without end", () => ({ parts: 4 << 28 })],
    ["no parts", () => ({ parts: 0 })],
    ["a part behind the last", (part) => ({ part: part.parts + part.part })],
    ["a width of nothing", () => ({ width: 0 })],
    ["numbers that are none", () => ({ parts: 4.5 })],
  ])("comes out of the records of the steps where series claim %s", async (_, changed) => {
    const { session } = await open(series(0, 9), series(10, 19, changed), series(20, 29));
    expect(await norms(session)).toEqual(upTo(9));
    const { session: lying } = await open(series(0, 9, changed), series(10, 19, changed));
    expect(await norms(lying)).toEqual(plain);
  });

  it("comes out of the records of the steps behind a chunk that is damaged or missing", async () => {
    const missing = series(10, 19).filter(([, part]) => (part as Series).part !== 1);
    const { session } = await open(series(0, 9), missing, series(20, 29));
    expect(await norms(session, 1)).toEqual(plain.map((step) => (step <= 9 ? 1100 + step : 2 * step)));
    const file = new MemoryFile(sessionBytes([[parameters("w", "b", "late")], ...stepsUpTo(STEPS), series(0, 9), series(10, 19)]));
    const { reader: recorded } = await openSession(file);
    const { offset, length } = recorded.index.entry(recorded.channelOf("/series"), 8);
    file.bytes[offset + length - 1]! ^= 0xff;
    const broken = await openSession(file);
    expect(await norms(broken)).toEqual(upTo(9));
    expect(broken.gaps.map(({ topic }) => topic)).toEqual(["/series"]);
  });
});

describe("a recording that is followed", () => {
  it("has the curves and totals of the finished file, without reading it again", async () => {
    const [whole, whole2] = [await openSession(goldenBytes("series")), goldenBytes("series")];
    const file = new MemoryFile(goldenBytes("followed"));
    const session = await openSession(file);
    await session.totals();
    for (const statistic of ["l2", "min", "max"] as const) await session.curveOf(W, statistic);
    file.bytes = whole2;
    await session.refresh();
    expect(session.finished).toBe(true);
    const before = file.bytesRead;
    for (const statistic of ["l2", "min", "max"] as const) expect(await session.curveOf(W, statistic)).toEqual(await whole.curveOf(W, statistic));
    expect(file.bytesRead).toBe(before);
    expect([...(await session.totals()).nonfinite]).toEqual([...(await whole.totals()).nonfinite]);
    expect((await session.calls()).variants()).toEqual((await whole.calls()).variants());
  });
});

describe("a long file without its end", () => {
  it("is hopped through whole, where chunks lie close together and where they lie far apart", async () => {
    const wide = Object.fromEntries(Array.from({ length: 8000 }, (_, id) => [id, 1]));
    const flushes = Array.from({ length: 1500 }, (_, step) => stepRecords(step, step % 97 === 0 || (step > 700 && step < 730) ? wide : { 0: step }));
    const file = new MemoryFile(sessionBytes([[parameters("w")], ...flushes]));
    expect(file.bytes.length).toBeGreaterThan(20 << 20);
    const session = await openSession(file);
    expect(session.finished).toBe(false);
    expect(session.steps.length).toBe(1500);
    expect(session.reader.index.total).toBe(2 + 3 * 1500);
    expect([...(await session.totals()).gradientNorm].slice(1, 4)).toEqual([1, 2, 3]);
    expect(session.gaps).toEqual([]);
  });
});
