/** Gradient norms of every rank at one step, by name, and which ranks do not have what the others have. */

import { plainNumber } from "./format";
import type { RecordedSession } from "./recorded_session";
import type { RankNorms } from "./replay";
import { stepNorms, type NormKind } from "./replay_step_norms";
import type { Parameter } from "./session";
import { replaySourceText as text } from "./text";

/**
 * Ranks that train on copies of a model have the same gradients once they were reduced, to the last bit or, where sums are
 * taken in another order or in half precision, to a few thousandths of a norm's last digits. Above this it is no rounding.
 */
export const RANK_TOLERANCE = 1e-3;
/** Ranks times parameters in one answer. */
const MOST_CELLS = 4_000_000;

type Rows = ReadonlyMap<string, { readonly norm: number; readonly nonfinite: number }>;

/** What a rank has at the step, by name: as accumulated, and before it was reduced. */
interface RankRows {
  readonly rank: number;
  readonly names: readonly string[];
  readonly sharded: readonly string[];
  readonly reduced: Rows;
  readonly local: Rows;
}

/** Norms by rank and parameter, before it is said which part. */
type Table = Pick<RankNorms, "ranks" | "names" | "norms" | "nonfinite">;

/** Who is asked: `open` gives the session of a rank; `goOn` is called between ranks, and may throw. */
export interface RankSessions {
  readonly ranks: readonly number[];
  readonly open: (rank: number) => Promise<RecordedSession>;
  readonly goOn: () => void;
}

/** Of reduced gradients, or of those before. Throws where there is more than can be shown at once. */
export async function rankNorms({ ranks, open, goOn }: RankSessions, step: number, local: boolean): Promise<RankNorms> {
  const found: RankRows[] = [];
  const names = new Set<string>();
  for (const rank of ranks) {
    goOn();
    const rows = await rowsOf(rank, await open(rank), step);
    rows.names.forEach((name) => names.add(name));
    if (names.size * ranks.length > MOST_CELLS) throw new RangeError(text.tooManyCells(ranks.length, names.size));
    found.push(rows);
  }
  return answerOf(step, found, [...names], local);
}

async function rowsOf(rank: number, session: RecordedSession, step: number): Promise<RankRows> {
  const named = session.names.parameters;
  return {
    rank,
    names: named.map(({ name }) => name),
    sharded: named.filter(({ parameter }) => isSharded(parameter)).map(({ name }) => name),
    reduced: await namedNorms(session, step, "parameter"),
    local: await namedNorms(session, step, "local"),
  };
}

/** A DTensor whose placements are not known may be. */
function isSharded({ tensor_type: type = "", placements = [] }: Parameter): boolean {
  return type.includes("DTensor") && (placements.length === 0 || placements.some((one) => !one.startsWith("Replicate")));
}

/** Without the loss scale. */
async function namedNorms(session: RecordedSession, step: number, kind: NormKind): Promise<Rows> {
  const position = session.steps.position(step);
  const [found] = position < 0 ? [] : await stepNorms(session, position, position, kind);
  const scale = session.steps.lossScale(position) ?? 1;
  const names = new Map(session.names.parameters.map(({ name, parameter }) => [parameter.id, name]));
  const rows = new Map<string, { readonly norm: number; readonly nonfinite: number }>();
  found?.ids.forEach((id, row) => {
    const name = names.get(id);
    if (name !== undefined) rows.set(name, { norm: found.norms[row]! / scale, nonfinite: found.nonfinite[row]! });
  });
  return rows;
}

function answerOf(step: number, found: readonly RankRows[], names: readonly string[], local: boolean): RankNorms {
  const sharded = new Set(found.flatMap((one) => one.sharded));
  const hasLocal = found.some((one) => one.local.size > 0);
  const [reduced, before] = [filled(found, names, "reduced"), hasLocal ? filled(found, names, "local") : null];
  const [parting, partingBefore] = [partingOf(reduced, sharded), before ? partingOf(before, sharded) : []];
  const shown = local && before ? { local, ...before, parting: partingBefore } : { local: false, ...reduced, parting };
  return { step, hasLocal, ...shown, sharded: sharded.size, notes: notesOf(shown, partingBefore, sharded.size) };
}

/** Ranks that are named. */
const NAMED_RANKS = 8;

function notesOf({ local, ranks, names, parting }: Pick<RankNorms, "local" | "ranks" | "names" | "parting">, before: RankNorms["parting"], sharded: number): readonly string[] {
  const notes = sharded > 0 ? [text.sharded(sharded, names.length)] : [];
  if (before.length === 0) return notes;
  if (local) return [text.partsLocal, ...notes];
  // Of two ranks either parts from the other.
  const count = before.length >= ranks.length - 1 ? ranks.length : before.length;
  return parting.length > 0 ? notes : [text.partsBefore(before.slice(0, NAMED_RANKS).map(({ rank }) => rank), count, ranks.length), ...notes];
}

function filled(found: readonly RankRows[], names: readonly string[], kind: "reduced" | "local"): Table {
  const norms = new Float64Array(found.length * names.length).fill(Number.NaN);
  const nonfinite = norms.slice();
  found.forEach((rows, rank) =>
    names.forEach((name, parameter) => {
      const row = rows[kind].get(name);
      if (!row) return;
      norms[rank * names.length + parameter] = row.norm;
      nonfinite[rank * names.length + parameter] = row.nonfinite;
    }),
  );
  return { ranks: found.map(({ rank }) => rank), names, norms, nonfinite };
}

/** How a rank parts: in how many parameters, and where most. `off` is relative; infinite where one has NaN, Inf or none. */
interface Parting {
  count: number;
  worst: number;
  off: number;
  others: string;
}

/** Ranks do not part in what is sharded: each has another part of it. */
function partingOf(table: Table, sharded: ReadonlySet<string>): RankNorms["parting"] {
  const { ranks, names } = table;
  if (ranks.length < 2) return [];
  const partings = ranks.map((): Parting => ({ count: 0, worst: -1, off: 0, others: "" }));
  for (let parameter = 0; parameter < names.length; parameter++) if (!sharded.has(names[parameter]!)) compareRanks(table, parameter, partings);
  return ranks.flatMap((rank, at) => {
    const { count, worst, others } = partings[at]!;
    if (count === 0) return [];
    return { rank, text: text.parts({ rank, count, of: names.length - sharded.size, name: names[worst]!, own: sizeAt(table, at, worst), others }) };
  });
}

function compareRanks({ ranks, names, norms, nonfinite }: Table, parameter: number, partings: readonly Parting[]): void {
  const column = (of: Float64Array): Float64Array => Float64Array.from(ranks, (_, rank) => of[rank * names.length + parameter]!);
  const [own, counts] = [column(norms), column(nonfinite)];
  const median = usual(own);
  const bad = usual(counts) > 0;
  partings.forEach((parting, rank) => {
    const off = (counts[rank]! > 0) !== bad ? Infinity : distance(own[rank]!, median);
    if (off <= RANK_TOLERANCE) return;
    parting.count++;
    if (parting.worst >= 0 && off <= parting.off) return;
    parting.worst = parameter;
    parting.off = off;
    parting.others = sizeText(median, bad);
  });
}

/** Relative to the median; infinite where only one of the two was recorded. */
function distance(norm: number, median: number): number {
  if (Object.is(norm, median) || norm === median) return 0;
  if (Number.isNaN(norm) || Number.isNaN(median) || median === 0) return Infinity;
  return Math.abs(norm - median) / Math.abs(median);
}

/** The median, NaN (not recorded) last; of two ranks the first, so that it is the second which parts. */
function usual(values: Float64Array): number {
  return values.length === 2 ? values[0]! : values.slice().sort()[(values.length - 1) >> 1]!;
}

function sizeAt({ names, norms, nonfinite }: Table, rank: number, parameter: number): string {
  const at = rank * names.length + parameter;
  return sizeText(norms[at]!, nonfinite[at]! > 0);
}

function sizeText(norm: number, bad: boolean): string {
  if (bad) return text.hasNonfinite;
  return Number.isNaN(norm) ? text.noGradient : plainNumber(norm);
}
