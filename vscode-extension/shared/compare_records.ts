/** Gradient records of two sessions step by step: each file is read once, in order. */

import { numbers } from "./answer";
import type { ComparedKind, StepPair } from "./compare";
import type { Pace } from "./compare_pace";
import { LATE_STEPS, type SessionReader } from "./recorded_reader";
import type { RecordedSession } from "./recorded_session";
import type { Backward, Column, Gradients } from "./session";

/** The records of a step by kind and backward call. */
export class StepRecords {
  readonly #found = new Map<string, Gradients>();

  /** Of two of one call the later holds. */
  add(record: Gradients): void {
    this.#found.set(`${record.subject_kind} ${record.backward}`, record);
  }

  of(kind: ComparedKind, backward: number): Gradients | null {
    return this.#found.get(`${kind} ${backward}`) ?? null;
  }

  calls(kind: ComparedKind): readonly number[] {
    return Array.from(this.#found.values()).filter(({ subject_kind }) => subject_kind === kind).map(({ backward }) => backward);
  }
}

/**
 * Of parameters' gradients those calls alone after which no other of the step reached all the same again: micro-batches
 * before the last are not reduced yet, and after them each rank has a `.grad` of its own.
 */
export function lastOfEach(records: StepRecords): StepRecords {
  const kept = new StepRecords();
  const reached = new Set<number>();
  for (const call of [...records.calls("parameter")].sort((x, y) => y - x)) {
    const record = records.of("parameter", call)!;
    const subjects = Array.from(numbers(record.subjects));
    if (subjects.some((id) => !reached.has(id))) kept.add(record);
    for (const id of subjects) reached.add(id);
  }
  return kept;
}

const NO_RECORDS = new StepRecords();

export interface PairedRecords {
  readonly pair: StepPair;
  readonly a: StepRecords;
  readonly b: StepRecords;
}

/** Each of `pairs`, which ascend, with the gradient records of both. */
export async function* pairedRecords(a: RecordedSession, b: RecordedSession, pairs: readonly StepPair[], pace: Pace): AsyncGenerator<PairedRecords> {
  if (pairs.length === 1) {
    const pair = pairs[0]!;
    yield { pair, a: await recordsOf(a, pair.a), b: await recordsOf(b, pair.b) };
    return;
  }
  const streamA = new StepStream(a.reader, new Set(pairs.map((pair) => pair.a)), pace);
  const streamB = new StepStream(b.reader, new Set(pairs.map((pair) => pair.b)), pace);
  for (const pair of pairs) yield { pair, a: await streamA.take(pair.a), b: await streamB.take(pair.b) };
}

async function recordsOf({ reader }: RecordedSession, step: number): Promise<StepRecords> {
  const found = new StepRecords();
  for (const record of await reader.recordsOfStep("/gradients", step)) if ((record.stop ?? -1) < 0) found.add(record);
  return found;
}

/** Gathers a step's records until none of it can come any more. */
class StepStream {
  readonly #records: AsyncGenerator<Gradients>;
  readonly #waiting = new Map<number, StepRecords>();
  #latest = -1;
  #ended = false;
  #taken = -1;

  constructor(
    reader: SessionReader,
    private readonly wanted: ReadonlySet<number>,
    private readonly pace: Pace,
  ) {
    this.#records = reader.records("/gradients");
  }

  /** Steps are taken in ascending order; one without records has none. */
  async take(step: number): Promise<StepRecords> {
    while (!this.#ended && this.#latest <= step + LATE_STEPS) await this.#readOne();
    for (const early of this.#waiting.keys()) if (early < step) this.#waiting.delete(early);
    const found = this.#waiting.get(step) ?? NO_RECORDS;
    this.#waiting.delete(step);
    this.#taken = step;
    return found;
  }

  async #readOne(): Promise<void> {
    await this.pace.rest();
    const { value: record, done } = await this.#records.next();
    if (done) {
      this.#ended = true;
      return;
    }
    if ((record.stop ?? -1) >= 0 || !this.wanted.has(record.step)) return;
    this.#latest = Math.max(this.#latest, record.step);
    if (record.step <= this.#taken) return;
    let records = this.#waiting.get(record.step);
    if (!records) this.#waiting.set(record.step, (records = new StepRecords()));
    records.add(record);
  }
}

/** The record of a call that reached no subject of this kind. */
export function nothingLike({ step, backward, subject_kind, columns }: Gradients): Gradients {
  const none = ({ dtype }: Column): Column => ({ dtype, data: new Uint8Array(0) });
  const empty = Object.fromEntries(Object.entries(columns).map(([name, column]) => [name, none(column)]));
  return { step, backward, subject_kind, subjects: { dtype: "<u4", data: new Uint8Array(0) }, columns: empty };
}

/** What is kept of a backward call. -1: not recorded. */
export interface ComparedCall {
  readonly index: number;
  readonly graph: number;
  readonly ledger: number;
  readonly heldBytes: number;
}

const NO_CALL: ComparedCall = { index: -1, graph: -1, ledger: -1, heldBytes: -1 };

/** The backward calls of a session by step. */
export class ComparedCalls {
  readonly #ofStep = new Map<number, ComparedCall[]>();

  /** Of all steps, or of one. */
  static async of({ reader }: RecordedSession, step: number | null, pace: Pace): Promise<ComparedCalls> {
    const calls = new ComparedCalls();
    if (step === null) {
      for await (const record of reader.records("/backward")) {
        calls.#add(record);
        await pace.rest();
      }
    } else for (const record of await reader.recordsOfStep("/backward", step)) calls.#add(record);
    return calls;
  }

  ofStep(step: number): readonly ComparedCall[] {
    return this.#ofStep.get(step) ?? [];
  }

  /** Of two of one index the later holds. */
  call(step: number, index: number): ComparedCall {
    return this.ofStep(step).filter((call) => call.index === index).at(-1) ?? NO_CALL;
  }

  /** Ascending; those that the same step of the other session has too. */
  indicesInBoth(step: number, other: ComparedCalls, otherStep: number): readonly number[] {
    const theirs = new Set(other.ofStep(otherStep).map(({ index }) => index));
    return [...new Set(this.ofStep(step).map(({ index }) => index))].filter((index) => theirs.has(index)).sort((x, y) => x - y);
  }

  #add({ step, index, graph, ledger, held_bytes }: Backward): void {
    const call = { index, graph, ledger, heldBytes: held_bytes ?? -1 };
    const known = this.#ofStep.get(step);
    if (known) known.push(call);
    else this.#ofStep.set(step, [call]);
  }
}
