/** What Python says about the golden sessions is what is read here. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { heldGroups, type Grouping } from "../shared/held_groups";
import { heldModel } from "../shared/held_model";
import { numbers } from "../shared/answer";
import { STATISTIC_NAMES, type StatisticName } from "../shared/recorded_curve";
import { SessionError } from "../shared/recorded_errors";
import type { RecordedSession } from "../shared/recorded_session";
import { gradientModel } from "../shared/gradient_model";
import { answersAbout, GOLDEN, goldenBytes, openSession, openWithout, verify } from "./recorded_files";

type Plain = number | string | null;

interface StepAnswer {
  readonly number: number;
  readonly complete: boolean;
  readonly loss: Plain;
  readonly start_ns: string | null;
  readonly calls: readonly (readonly [number, number, number])[];
  readonly rows: Readonly<Record<string, Plain>>;
  readonly graph: { readonly id: number; readonly nodes: readonly string[]; readonly edges: number } | null;
  readonly held: { readonly total: number; readonly classes: unknown; readonly by: Record<Grouping, unknown>; readonly peak: number | null } | null;
}

interface Answers {
  readonly finished: boolean;
  readonly finish: string | null;
  readonly start_ns: string;
  readonly steps: readonly StepAnswer[];
  readonly parameters: readonly string[];
  readonly modules: readonly string[];
  readonly outputs: readonly string[];
  readonly curves: Readonly<Record<string, Record<StatisticName | "steps" | "backward", readonly Plain[]>>>;
  readonly variants: readonly (readonly [number, readonly number[]])[];
  readonly notices: readonly string[];
  readonly stops: readonly number[];
  readonly sources: Readonly<Record<string, number>>;
  readonly gaps: readonly (readonly [string | null, number])[];
}

async function expectWhole(session: RecordedSession, of: string, columns: Answers["curves"][string]): Promise<void> {
  for (const statistic of ["l2", "min", "max"] as const) {
    const curve = await session.curveOf(session.names.subject(of)!, statistic);
    const at = new Map(columns.steps.map((step, row) => [step, row]));
    const value = (row: number | undefined, column: StatisticName): number => (row === undefined ? Number.NaN : number(columns[column][row]!));
    expect([...curve.steps]).toEqual([...session.steps.numbers()]);
    expect([...curve.values], `${statistic} of ${of}`).toEqual([...curve.steps].map((step) => value(at.get(step), statistic)));
    expect([...curve.nonfinite], `NaN and Inf of ${of}`).toEqual([...curve.steps].map((step) => value(at.get(step), "nan") + value(at.get(step), "inf")));
  }
}

interface Handmade {
  readonly totals?: Readonly<Record<string, Readonly<Record<string, Plain>>>>;
}

function handmade(name: string): Handmade {
  return JSON.parse(readFileSync(join(GOLDEN, `${name}.json`), "utf8")) as Handmade;
}

/** JSON's words for what is no number. */
function number(value: Plain): number {
  return value === "inf" ? Infinity : value === "-inf" ? -Infinity : value === null ? Number.NaN : Number(value);
}

async function curveOf(session: RecordedSession, name: string) {
  const subject = session.names.subject(name);
  if (!subject) throw new Error(`no ${name}`);
  return session.curve(subject);
}

describe.each(["accumulate", "followed", "regimes", "seed", "series", "torn", "variants"])("%s", (name) => {
  const expected = answersAbout<Answers>(name);

  it("has the names, notices, sources and end that Python says", async () => {
    const session = await openSession(goldenBytes(name));
    expect(session.finished).toBe(expected.finished);
    expect(session.finish?.reason ?? null).toBe(expected.finish);
    expect(session.run.start_ns).toBe(BigInt(expected.start_ns));
    expect(session.names.parameters.map((one) => one.name)).toEqual(expected.parameters);
    expect(session.names.modules.map((one) => one.name)).toEqual(expected.modules);
    expect(session.names.outputNames).toEqual(expected.outputs);
    expect(session.notices.map(({ text }) => text)).toEqual(expected.notices);
    expect(session.stops.map((stop) => stop.number)).toEqual(expected.stops);
    expect(Object.fromEntries(Array.from(await session.texts(), ([path, text]) => [path, text.length]))).toEqual(expected.sources);
    expect((await session.calls()).variants().map(({ id, steps }) => [id, [...steps]])).toEqual(expected.variants);
    expect(await verify(session.reader)).toEqual(expected.gaps);
  });

  it("has the curves that Python says", async () => {
    const session = await openSession(goldenBytes(name));
    for (const [of, columns] of Object.entries(expected.curves)) {
      const curve = await curveOf(session, of);
      expect([...curve.steps]).toEqual(columns.steps);
      expect([...curve.backward]).toEqual(columns.backward);
      for (const statistic of STATISTIC_NAMES) expect([...curve.columns[statistic]], `${statistic} of ${of}`).toEqual(columns[statistic].map(number));
    }
  });

  it("has the whole curve of each statistic, at every step, that Python says", async () => {
    const session = await openSession(goldenBytes(name));
    for (const [of, columns] of Object.entries(expected.curves)) await expectWhole(session, of, columns);
  });

  it("has the totals that were worked out by hand", async () => {
    const session = await openSession(goldenBytes(name));
    const totals = await session.totals();
    const found = { gradient_norm: totals.gradientNorm, nonfinite: totals.nonfinite, held_bytes: totals.heldBytes };
    expect([...totals.steps]).toEqual([...session.steps.numbers()]);
    for (const [column, values] of Object.entries(handmade(name).totals ?? {})) {
      for (const [step, value] of Object.entries(values)) {
        const at = found[column as keyof typeof found][session.steps.position(Number(step))]!;
        if (Number.isNaN(number(value))) expect(at, `${column} of step ${step}`).toBeNaN();
        else expect(at / number(value) || 0, `${column} of step ${step}`).toBeCloseTo(number(value) ? 1 : 0, 6);
      }
    }
  });

  it("has the totals and curves that the records of each step have, where the records that stand for them are missing", async () => {
    const bytes = goldenBytes(name);
    const [session, bare] = await Promise.all([openSession(bytes), openWithout(bytes, "/series", "/totals")]);
    expect(bare.reader.chunks("/series") + bare.reader.chunks("/totals")).toBe(0);
    const [totals, plain] = await Promise.all([session.totals(), bare.totals()]);
    expect([...totals.nonfinite]).toEqual([...plain.nonfinite]);
    expect([...totals.heldBytes]).toEqual([...plain.heldBytes]);
    totals.gradientNorm.forEach((norm, at) => expect(norm / plain.gradientNorm[at]! || 1).toBeCloseTo(1, 12));
    expect((await session.calls()).variants()).toEqual((await bare.calls()).variants());
    expect([...(await session.calls()).graphs(session.steps)]).toEqual([...(await bare.calls()).graphs(bare.steps)]);
    for (const [of, columns] of Object.entries(expected.curves)) await expectWhole(bare, of, columns);
    for (let at = 0; at < session.steps.length; at++) {
      for (const part of ["loss", "startNs", "endNs", "costNs", "interrupted", "complete"] as const) expect(session.steps[part](at)).toEqual(bare.steps[part](at));
    }
  });

  it("has the steps that Python says", async () => {
    const { steps } = await openSession(goldenBytes(name));
    expect([...steps.numbers()]).toEqual(expected.steps.map((step) => step.number));
    expected.steps.forEach((step, at) => {
      expect(steps.complete(at)).toBe(step.complete);
      expect(steps.loss(at)).toEqual(step.loss === null ? null : number(step.loss));
      expect(steps.startNs(at)?.toString() ?? null).toBe(step.start_ns);
      expect(steps.position(step.number)).toBe(at);
    });
  });

  it.each(expected.steps.map((step) => [step.number, step] as const))("draws step %i with what Python says of it", async (at, step) => {
    const session = await openSession(goldenBytes(name));
    expect((await session.callsOfStep(at)).map(({ index, graph, ledger }) => [index, graph, ledger])).toEqual(step.calls);
    const snapshot = await session.snapshotOfStep(at);
    const names = new Map(session.names.parameters.map((one) => [one.parameter.id, one.name]));
    const rows = gradientModel(snapshot, null).rows.filter((row) => row.statistics !== null);
    const norms = Object.fromEntries(rows.map((row) => [names.get(row.parameter.id), row.statistics!.norm * row.scale]));
    expect(norms).toEqual(Object.fromEntries(Object.entries(step.rows).map(([of, norm]) => [of, number(norm)])));
    const graph = snapshot.graph;
    expect(graph ? { id: graph.id, nodes: [...numbers(graph.name)].map((n) => graph.names[n]), edges: graph.edge_count } : null).toEqual(step.graph);
    const held = heldModel(snapshot);
    const by = (grouping: Grouping): unknown => heldGroups(held!, grouping).map(({ label, bytes }) => [label, bytes]);
    const peak = (await session.heldOfStep(at))?.peak_bytes ?? null;
    const groupings = ["line", "module", "op", "dtype"] as const;
    const found = held && { total: held.total, classes: held.classBytes, by: Object.fromEntries(groupings.map((one) => [one, by(one)])), peak };
    expect(found).toEqual(step.held);
  });
});

const EVERY = 97;
const KINDS = { "not a session": "NotASession", version: "SessionVersionError", damaged: "SessionDamaged", absent: "UsageError" } as const;

async function aboutDamaged(bytes: Uint8Array): Promise<unknown> {
  try {
    const session = await openSession(bytes);
    const { steps } = session;
    const losses = Array.from({ length: steps.length }, (_, at) => [steps.number(at), steps.complete(at), steps.loss(at)]);
    const w = session.names.subject("w") && [...(await curveOf(session, "w")).columns.l2];
    return { steps: losses, w, gaps: await verify(session.reader) };
  } catch (error) {
    if (error instanceof SessionError) return KINDS[error.kind];
    throw error;
  }
}

describe("a file of before series were written", () => {
  it("has the curves and totals that one with them has", async () => {
    const [older, newer] = [await openSession(goldenBytes("older/seed")), await openSession(goldenBytes("seed"))];
    const w = { kind: "parameter", id: 0 } as const;
    expect([...(await older.curveOf(w, "l2")).values]).toEqual([10, 9]);
    expect(await older.curveOf(w, "max")).toEqual(await newer.curveOf(w, "max"));
    expect(await older.totals()).toEqual(await newer.totals());
  });
});

describe("a damaged session", () => {
  const { flips, cuts } = answersAbout<{ flips: unknown[]; cuts: unknown[] }>("damage");
  const bytes = goldenBytes("seed");

  it("is read as Python reads it, wherever a byte is flipped", async () => {
    for (const [i, expected] of flips.entries()) {
      const flipped = bytes.slice();
      flipped[i * EVERY]! ^= 0xff;
      expect(await aboutDamaged(flipped), `byte ${i * EVERY}`).toEqual(expected);
    }
  });

  it("is read as Python reads it, wherever it is cut", async () => {
    for (const [i, expected] of cuts.entries()) expect(await aboutDamaged(bytes.slice(0, i * EVERY)), `${i * EVERY} bytes`).toEqual(expected);
  });
});
