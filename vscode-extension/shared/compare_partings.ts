/** The gradients that part at one pair of steps, in the order in which backward reaches them. */

import { spelled, type ComparedKind, type GradientParting, type NodeParting, type Parting, type StatisticGap, type StepPair } from "./compare";
import type { GraphPair } from "./compare_graphs";
import type { Pace } from "./compare_pace";
import type { ComparedCalls } from "./compare_records";
import { namesOf, type ComparedRows, type RowComparer } from "./compare_rows";
import { gapsOfRow, type Gap } from "./compare_tolerance";

/** From the finest to the coarsest: where gradients part is said by the finest that both sessions have. */
export const KINDS: readonly ComparedKind[] = ["node", "module", "parameter"];

export type Found = Readonly<Record<ComparedKind, readonly ComparedRows[]>>;

/** A subject of the first session, and its row in each; -1 for none. */
type Place = readonly [subject: number, a: number, b: number];

/** How many partings are told before others get the thread. */
const AT_ONCE = 64;

/** What is told of partings, and how many of each kind at most. */
export interface Telling {
  readonly comparer: RowComparer;
  readonly calls: readonly [ComparedCalls, ComparedCalls];
  readonly most: number;
  readonly pace: Pace;
}

/** Every gradient that parts, as far as `most` goes; `unlisted` counts the rest. */
export async function partingAt(at: StepPair, found: Found, telling: Telling): Promise<{ readonly parting: GradientParting; readonly unlisted: number }> {
  const listed: Record<ComparedKind, Parting[]> = { node: [], module: [], parameter: [] };
  let unlisted = 0;
  for (const kind of KINDS) {
    for (const rows of [...found[kind]].sort((x, y) => x.backward - y.backward)) {
      unlisted += await tellRows(listed[kind], rows, at, telling);
    }
  }
  const { node: nodes, module: modules, parameter: parameters } = listed;
  const first = (nodes[0] ?? modules[0] ?? parameters[0])!;
  return { parting: { step: at.a, step_b: at.b, first, nodes, modules, parameters }, unlisted };
}

/** Adds to `listed` while there is room; how many were left out. */
async function tellRows(listed: Parting[], rows: ComparedRows, at: StepPair, { comparer, calls, most, pace }: Telling): Promise<number> {
  const graphs = await comparer.graphPair(calls[0].call(at.a, rows.backward).graph, calls[1].call(at.b, rows.backward).graph);
  const order = backwardOrder(rows, graphs);
  const last = order.size;
  const places = [...parted(rows), ...oneSided(rows, comparer)].sort((x, y) => (order.get(x[0]) ?? last) - (order.get(y[0]) ?? last));
  const call: Call = { rows, graphs, agreeing: agreeingSubjects(rows) };
  const room = Math.max(0, most - listed.length);
  for (const [i, place] of places.slice(0, room).entries()) {
    if (i % AT_ONCE === 0) await pace.rest();
    listed.push(partingOf(call, place, comparer));
  }
  return Math.max(0, places.length - room);
}

/** Rows of one kind of one call, the graphs behind them, and the subjects that do not part. */
interface Call {
  readonly rows: ComparedRows;
  readonly graphs: GraphPair | null;
  readonly agreeing: ReadonlySet<number>;
}

function partingOf({ rows, graphs, agreeing }: Call, [subject, a, b]: Place, comparer: RowComparer): Parting {
  const gaps = a < 0 || b < 0 ? [] : gapsOfRow(rows.a.statistics, a, rows.b.statistics, b, comparer.tolerance);
  const node = rows.kind === "node" && graphs ? whereIs(graphs, subject, agreeing) : null;
  const [name, name_b] = node ? [node.a.name, node.b.name] : namesOfSubject(rows.kind, subject, comparer);
  return {
    kind: rows.kind,
    backward: rows.backward,
    name,
    name_b,
    relative: spelled(gaps.filter(({ parts }) => parts).reduce((most, { relative }) => Math.max(most, relative), gaps.length ? 0 : Infinity)),
    only: b < 0 ? "a" : a < 0 ? "b" : null,
    gaps: gaps.map(told),
    node,
  };
}

function namesOfSubject(kind: ComparedKind, subject: number, { a, b, names }: RowComparer): [string, string] {
  if (kind === "node") return [`node ${subject}`, `node ${subject}`];
  return [a.subjectName(kind, subject), b.subjectName(kind, namesOf(names, kind).secondOf.get(subject) ?? -1)];
}

function told({ statistic, a, b, relative, parts }: Gap): StatisticGap {
  return { statistic, a: spelled(a), b: spelled(b), relative: spelled(relative), parts };
}

/** Where a node stands in both graphs, and whether its gradient parts there first. */
function whereIs(graphs: GraphPair, node: number, agreeing: ReadonlySet<number>): NodeParting {
  const other = graphs.secondOf[node]!;
  const [giversA, giversB] = [graphs.giversA(node), graphs.giversB(other)];
  const [mapped, theirs] = [new Set(giversA.map((giver) => graphs.secondOf[giver]!)), new Set(giversB)];
  const same = mapped.size === theirs.size && [...mapped].every((giver) => theirs.has(giver));
  return {
    a: graphs.a.node(node),
    b: graphs.b.node(other),
    givers_a: giversA.map((giver) => graphs.a.node(giver)),
    givers_b: giversB.map((giver) => graphs.b.node(giver)),
    same_givers: same,
    givers_agree: same && giversA.every((giver) => agreeing.has(giver)),
  };
}

function parted({ a, gaps, match }: ComparedRows): Place[] {
  const places: Place[] = [];
  gaps.parts.forEach((parts, i) => {
    if (parts) places.push([a.subjects[match.a[i]!]!, match.a[i]!, match.b[i]!]);
  });
  return places;
}

function agreeingSubjects({ a, gaps, match }: ComparedRows): ReadonlySet<number> {
  const subjects = new Set<number>();
  match.a.forEach((row, i) => {
    if (!gaps.parts[i]) subjects.add(a.subjects[row]!);
  });
  return subjects;
}

/** Subjects that a gradient reached on one side only. */
function oneSided(rows: ComparedRows, { names }: RowComparer): Place[] {
  const { kind, match, a, b } = rows;
  if (!rows.oneSided || kind === "node") return [];
  const firstOf = new Map(Array.from(namesOf(names, kind).secondOf, ([first, second]) => [second, first]));
  const [atA, atB] = [rowsBySubject(a.subjects), rowsBySubject(b.subjects)];
  return [
    ...match.onlyA.map((subject): Place => [subject, atA.get(subject)!, -1]),
    ...match.onlyB.map((subject): Place => [firstOf.get(subject)!, -1, atB.get(subject)!]),
  ];
}

function rowsBySubject(subjects: Iterable<number>): Map<number, number> {
  return new Map(Array.from(subjects, (subject, row) => [subject, row]));
}

/** The place of each subject of the first session in the order in which backward reaches them. */
function backwardOrder({ kind, a }: ComparedRows, graphs: GraphPair | null): Map<number, number> {
  // Module outputs are recorded as they come, from the loss back.
  if (kind === "module") return rowsBySubject(a.subjects);
  if (graphs === null) return rowsBySubject(Float64Array.from(a.subjects).sort().reverse());
  const positions = graphs.engineOrder();
  if (kind === "node") return rowsBySubjectAt(positions);
  const order = new Map<number, number>();
  graphs.a.parameter.forEach((id: number, leaf: number) => {
    if (id >= 0) order.set(id, positions[leaf]!);
  });
  return order;
}

function rowsBySubjectAt(positions: Int32Array): Map<number, number> {
  return new Map(Array.from(positions, (position, node) => [node, position]));
}
