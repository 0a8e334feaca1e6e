/** Rows of statistics of one backward call in both sessions: which is which, and how far they lie apart. */

import { numbers, type Numbers } from "./answer";
import type { ComparedKind } from "./compare";
import { ComparedGraph, GraphPair } from "./compare_graphs";
import type { NamePairs } from "./compare_names";
import type { Pace } from "./compare_pace";
import type { ComparedSide } from "./compare_side";
import { rowGaps, type RowGaps, type StatisticColumns, type Tolerance } from "./compare_tolerance";
import { STATISTIC_NAMES, type StatisticName } from "./recorded_curve";
import { STATISTIC_DTYPES, type Column, type Gradients, type Graph } from "./session";
import { compareText as text } from "./text";

const KEPT_MATCHES = 64;
const KEPT_GRAPHS = 16;
/** Pairing nodes takes some hundred bytes for each. */
const MOST_NODES = 1_000_000;

/** Rows about the same subject: positions `a` and `b`; subjects of pairs that only one side has a row of. */
export interface Match {
  readonly a: Uint32Array;
  readonly b: Uint32Array;
  readonly onlyA: readonly number[];
  readonly onlyB: readonly number[];
  readonly isIdentity: boolean;
}

/** One record's rows; the statistics are read when they are asked for. */
export class Rows {
  readonly subjects: Numbers;
  #statistics: StatisticColumns | null = null;

  constructor(readonly record: Gradients) {
    this.subjects = numbers(record.subjects);
  }

  get statistics(): StatisticColumns {
    return (this.#statistics ??= columnsOf(this.record, this.subjects.length));
  }
}

/** One kind of subject in one backward call. */
export interface ComparedRows {
  readonly kind: ComparedKind;
  readonly backward: number;
  readonly a: Rows;
  readonly b: Rows;
  readonly match: Match;
  readonly gaps: RowGaps;
  /** A subject that one side alone has a row of parts: not so for nodes, which a graph may lack. */
  readonly oneSided: boolean;
}

export function rowsPart({ gaps, match, oneSided }: ComparedRows): boolean {
  return gaps.parts.includes(1) || (oneSided && match.onlyA.length + match.onlyB.length > 0);
}

/** The largest relative gap; infinite where one side alone has a row. */
export function relativeOf({ gaps, match, oneSided }: ComparedRows): number {
  if (oneSided && match.onlyA.length + match.onlyB.length > 0) return Infinity;
  return gaps.relative.reduce((most, gap) => Math.max(most, gap), 0);
}

/** What two records of one call are compared by. */
export interface CallRecords {
  readonly kind: ComparedKind;
  readonly a: Gradients;
  readonly b: Gradients;
  /** Ids of their graphs; -1 for none. */
  readonly graphA: number;
  readonly graphB: number;
}

/** Compares the rows of one pair of steps after the other. */
export class RowComparer {
  readonly #matches = new Map<string, { readonly a: Uint8Array; readonly b: Uint8Array; readonly match: Match }>();
  readonly #tooLarge = new Set<string>();
  readonly #graphs = new Map<string, Promise<GraphPair | null>>();

  constructor(
    readonly a: ComparedSide,
    readonly b: ComparedSide,
    readonly names: NamePairs,
    readonly tolerance: Tolerance,
    private readonly pace: Pace,
  ) {}

  /** Null where nodes cannot be paired, their graphs being unknown. */
  async rows(records: CallRecords): Promise<ComparedRows | null> {
    const { kind, a, b } = records;
    const secondOf = await this.#secondOf(records);
    if (secondOf === null) return null;
    const [rowsA, rowsB] = [new Rows(a), new Rows(b)];
    const match = this.#match(records, rowsA, rowsB, secondOf);
    const differing = match.isIdentity ? STATISTIC_NAMES.filter((name) => !sameColumn(a.columns[name], b.columns[name])) : STATISTIC_NAMES;
    const gaps =
      differing.length === 0
        ? noGaps(match.a.length)
        : rowGaps({ columns: rowsA.statistics, rows: match.a }, { columns: rowsB.statistics, rows: match.b }, this.tolerance, differing);
    return { kind, backward: a.backward, a: rowsA, b: rowsB, match, gaps, oneSided: kind !== "node" };
  }

  /** Pairs the nodes of two graphs; null where one is not in its file. */
  graphPair(a: number, b: number): Promise<GraphPair | null> {
    const key = `${a} ${b}`;
    const known = this.#graphs.get(key) ?? this.#pairOf(a, b);
    keep(this.#graphs, key, known, KEPT_GRAPHS);
    known.catch(() => this.#graphs.delete(key));
    return known;
  }

  async #pairOf(a: number, b: number): Promise<GraphPair | null> {
    if (a < 0 || b < 0) return null;
    const [first, second] = [await this.a.session.reader.withId("/graphs", a), await this.b.session.reader.withId("/graphs", b)];
    if (first === null || second === null) return null;
    if (this.#isTooLarge(this.a, first) || this.#isTooLarge(this.b, second)) return null;
    return GraphPair.of(new ComparedGraph(this.a, first), new ComparedGraph(this.b, second), this.names, this.pace);
  }

  /** Says which graphs were not compared for their size. */
  tooLarge(): readonly string[] {
    return [...this.#tooLarge];
  }

  #isTooLarge(side: ComparedSide, { node_count }: Graph): boolean {
    if (node_count > MOST_NODES) this.#tooLarge.add(text.largeGraph(side.name, node_count));
    return node_count > MOST_NODES;
  }

  async #secondOf({ kind, graphA, graphB }: CallRecords): Promise<SecondOf | null> {
    if (kind !== "node") {
      const { secondOf } = namesOf(this.names, kind);
      return { of: (id) => secondOf.get(id), all: secondOf.values() };
    }
    const pair = await this.graphPair(graphA, graphB);
    return pair && { of: (node) => (pair.secondOf[node]! >= 0 ? pair.secondOf[node] : undefined), all: pair.secondOf };
  }

  #match({ kind, a, b, graphA, graphB }: CallRecords, rowsA: Rows, rowsB: Rows, secondOf: SecondOf): Match {
    const key = `${kind} ${a.backward} ${kind === "node" ? `${graphA} ${graphB}` : ""}`;
    const known = this.#matches.get(key);
    if (known && sameBytes(known.a, a.subjects.data) && sameBytes(known.b, b.subjects.data)) return known.match;
    const match = matched(rowsA.subjects, rowsB.subjects, secondOf);
    keep(this.#matches, key, { a: a.subjects.data.slice(), b: b.subjects.data.slice(), match }, KEPT_MATCHES);
    return match;
  }
}

/** Names of a kind that goes by name. */
export function namesOf(names: NamePairs, kind: "parameter" | "module"): NamePairs["parameter"] {
  return kind === "parameter" ? names.parameter : names.output;
}

/** Ids in the second session by those in the first; and all of them. */
interface SecondOf {
  readonly of: (id: number) => number | undefined;
  readonly all: Iterable<number>;
}

/** A subject that the other session does not know at all is left out. */
function matched(a: Numbers, b: Numbers, secondOf: SecondOf): Match {
  const places = new Map<number, number>();
  b.forEach((subject: number, position: number) => places.set(subject, position));
  const [rowsA, rowsB, onlyA]: [number[], number[], number[]] = [[], [], []];
  const reached = new Set<number>();
  let isIdentity = a.length === b.length;
  for (let at = 0; at < a.length; at++) {
    const second = secondOf.of(a[at]!);
    const place = second === undefined ? undefined : places.get(second);
    if (place === undefined) {
      if (second !== undefined) onlyA.push(a[at]!);
      isIdentity = false;
      continue;
    }
    rowsA.push(at);
    rowsB.push(place);
    reached.add(b[place]!);
    isIdentity &&= at === place;
  }
  const known = reached.size === b.length ? null : new Set(secondOf.all);
  const onlyB = known ? Array.from(b).filter((subject) => known.has(subject) && !reached.has(subject)) : [];
  return { a: Uint32Array.from(rowsA), b: Uint32Array.from(rowsB), onlyA, onlyB, isIdentity };
}

function noGaps(count: number): RowGaps {
  return { parts: new Uint8Array(count), relative: new Float64Array(count) };
}

function columnsOf({ columns }: Gradients, count: number): StatisticColumns {
  return Object.fromEntries(STATISTIC_NAMES.map((name) => [name, statistic(name, columns[name], count)])) as Record<StatisticName, Numbers>;
}

function statistic(name: StatisticName, column: Column | undefined, count: number): Numbers {
  const isCount = STATISTIC_DTYPES[name] === "<u8";
  if (!column) return new Float64Array(count).fill(isCount ? -1 : Number.NaN);
  return isCount && column.dtype === "<u8" ? signed(column.data) : numbers(column);
}

/** 64-bit integers, two's complement: a count of -1 was not recorded. */
function signed(data: Uint8Array): Float64Array {
  const halves = numbers({ dtype: "<i4", data });
  const values = new Float64Array(data.length >> 3);
  for (let row = 0; row < values.length; row++) values[row] = halves[2 * row + 1]! * 2 ** 32 + (halves[2 * row]! >>> 0);
  return values;
}

function sameColumn(a: Column | undefined, b: Column | undefined): boolean {
  if (!a || !b) return a === b;
  return a.dtype === b.dtype && sameBytes(a.data, b.data);
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

function keep<T>(known: Map<string, T>, key: string, value: T, most: number): void {
  known.delete(key);
  known.set(key, value);
  if (known.size > most) known.delete(known.keys().next().value!);
}
