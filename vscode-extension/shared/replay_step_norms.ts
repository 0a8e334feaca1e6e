/** The gradient norm of every parameter in a step, read where it stands and kept while it may be asked for again. */

import { UnreadableError } from "./mcap_bytes";
import type { MessagePack } from "./recorded_msgpack";
import { LATE_STEPS } from "./recorded_reader";
import { eachMessage, placesIn, valueAt, type GradientsPlaces } from "./recorded_rows";
import type { RecordedSession } from "./recorded_session";

/** Norms that are kept: 20 bytes each. */
const KEPT_NORMS = 2_000_000;

/** `.grad` as accumulated, or what a rank had before it was reduced. */
export type NormKind = "parameter" | "local";

/** Parameters that have a gradient in a step: of the last backward call that reached each. */
export interface StepNorms {
  readonly ids: Uint32Array;
  /** L2 over finite values. */
  readonly norms: Float64Array;
  /** NaN and Inf elements. */
  readonly nonfinite: Float64Array;
}

const NONE: StepNorms = { ids: new Uint32Array(0), norms: new Float64Array(0), nonfinite: new Float64Array(0) };

/** Of the steps at positions `first` to `last`, in order; empty where a step has none. */
export async function stepNorms(session: RecordedSession, first: number, last: number, kind: NormKind = "parameter"): Promise<readonly StepNorms[]> {
  const { steps } = session;
  const read = await readNorms(session, kind, steps.number(first), steps.number(last));
  return Array.from({ length: last + 1 - first }, (_, i) => read.get(steps.number(first + i)) ?? NONE);
}

/** The steps of one session that were asked for last: the next step asks for most of them again. */
export class KeptStepNorms {
  readonly #steps = new Map<number, StepNorms>();
  #of: RecordedSession | null = null;
  #count = 0;

  /** As `stepNorms`. Of another session than before, all is read anew. */
  async read(session: RecordedSession, first: number, last: number): Promise<readonly StepNorms[]> {
    if (session !== this.#of) this.clear();
    this.#of = session;
    const found = Array.from({ length: last + 1 - first }, (_, i) => this.#steps.get(session.steps.number(first + i)));
    const from = found.indexOf(undefined);
    if (from >= 0) {
      const missing = await stepNorms(session, first + from, first + found.lastIndexOf(undefined));
      for (const [i, norms] of missing.entries()) found[from + i] ??= norms;
      if (session === this.#of) this.#keep(session, first + from, missing);
    }
    return found as readonly StepNorms[];
  }

  clear(): void {
    this.#of = null;
    this.#steps.clear();
    this.#count = 0;
  }

  #keep(session: RecordedSession, first: number, norms: readonly StepNorms[]): void {
    for (const [i, one] of norms.entries()) {
      const step = session.steps.number(first + i);
      if (this.#steps.has(step) || !isSettled(session, first + i)) continue;
      this.#steps.set(step, one);
      this.#count += one.ids.length + 1;
    }
    for (const [oldest, { ids }] of this.#steps) {
      if (this.#count <= KEPT_NORMS) return;
      this.#steps.delete(oldest);
      this.#count -= ids.length + 1;
    }
  }
}

/** No more records of the step will come. */
function isSettled({ steps, finished }: RecordedSession, position: number): boolean {
  return finished || position + LATE_STEPS < steps.length - 1;
}

type Rows = StepNorms & { readonly backward: number };

async function readNorms({ reader }: RecordedSession, kind: NormKind, first: number, last: number): Promise<ReadonlyMap<number, StepNorms>> {
  const rows = new Map<number, Rows>();
  const start = await reader.firstChunkOf("/gradients", first);
  // What comes behind a chunk that reaches this far is of later steps.
  const end = (await reader.firstChunkOf("/gradients", last + 2 * LATE_STEPS + 1)) + 1;
  for await (const unpacked of reader.contentsFrom("/gradients", start, end)) {
    eachMessage(reader, "/gradients", unpacked, (view, message) => takeMessage(rows, view, message, { kind, first, last }));
  }
  return rows;
}

interface Wanted {
  readonly kind: NormKind;
  readonly first: number;
  readonly last: number;
}

function takeMessage(rows: Map<number, Rows>, view: DataView, message: MessagePack, { kind, first, last }: Wanted): void {
  const places = placesIn(message);
  if (places.kind !== kind || places.stop >= 0 || places.step < first || places.step > last) return;
  const before = rows.get(places.step);
  const now = rowsOf(view, places);
  if (!before) rows.set(places.step, now);
  else rows.set(places.step, before.backward <= now.backward ? merged(before, now) : merged(now, before));
}

function rowsOf(view: DataView, { subjects, columns, backward }: GradientsPlaces): Rows {
  if (subjects === null || subjects.dtype !== "<u4") throw new UnreadableError("it lacks the field subjects");
  const count = subjects.bytes >> 2;
  const [l2, nan, inf] = [columns.get("l2"), columns.get("nan"), columns.get("inf")];
  const rows = { ids: new Uint32Array(count), norms: new Float64Array(count), nonfinite: new Float64Array(count), backward };
  for (let row = 0; row < count; row++) {
    rows.ids[row] = view.getUint32(subjects.at + row * 4, true);
    rows.norms[row] = valueAt(view, l2, row);
    rows.nonfinite[row] = valueAt(view, nan, row) + valueAt(view, inf, row);
  }
  return rows;
}

/** The rows of both; of a parameter in both those of the later call. */
function merged(before: Rows, after: Rows): Rows {
  const later = new Set(after.ids);
  const only = Array.from(before.ids.keys()).filter((row) => !later.has(before.ids[row]!));
  const joined = (a: Float64Array, b: Float64Array): Float64Array => Float64Array.from([...only.map((row) => a[row]!), ...b]);
  return {
    ids: Uint32Array.from([...only.map((row) => before.ids[row]!), ...after.ids]),
    norms: joined(before.norms, after.norms),
    nonfinite: joined(before.nonfinite, after.nonfinite),
    backward: after.backward,
  };
}
