/** The steps of a session in columns, and the calls into autograd that each made: what a timeline is drawn from. */

import type { SessionReader } from "./recorded_reader";
import type { RecordedStretches, Rest, Stretch } from "./recorded_stretches";
import { Turns } from "./recorded_turns";
import type { Backward, Step } from "./session";

/** All steps in order; the last may be one that was cut short. */
export class RecordedSteps {
  readonly #numbers: number[] = [];
  readonly #starts: (bigint | number)[] = [];
  readonly #ends: (bigint | number)[] = [];
  readonly #losses: (number | null)[] = [];
  readonly #costs: number[] = [];
  readonly #interrupted = new Map<number, string>();
  readonly #skipped = new Set<number>();
  readonly #lossScales = new Map<number, number>();
  readonly #positions = new Map<number, number>();
  #rest: Rest | null = null;
  /** Number of a step of which only backward calls are there; -1 for none. */
  #cutShort = -1;

  constructor(
    private readonly reader: SessionReader,
    private readonly stretches: RecordedStretches,
  ) {}

  get length(): number {
    return this.#numbers.length + (this.#cutShort < 0 ? 0 : 1);
  }

  /** The step at a position; -1 behind the last. */
  number(position: number): number {
    return this.#numbers[position] ?? (position === this.#numbers.length ? this.#cutShort : -1);
  }

  /** Where a step stands; -1 for none of that number. */
  position(number: number): number {
    return this.#positions.get(number) ?? (number >= 0 && number === this.#cutShort ? this.#numbers.length : -1);
  }

  /** False for a step that the end of the recording cut short: its end, loss and cost are not known. */
  complete(position: number): boolean {
    return position < this.#numbers.length;
  }

  /** NaN and infinities included; null when no scalar was seen. */
  loss(position: number): number | null {
    return this.#losses[position] ?? null;
  }

  /** Nanoseconds since the epoch; null where it is not known. */
  startNs(position: number): bigint | number | null {
    return this.#starts[position] ?? null;
  }

  endNs(position: number): bigint | number | null {
    return this.#ends[position] ?? null;
  }

  /** Time spent in gradwatch's own code, ns; NaN where it is not known. */
  costNs(position: number): number {
    return this.#costs[position] ?? Number.NaN;
  }

  /** Why a step ended early; null for one that did not. */
  interrupted(position: number): string | null {
    return this.complete(position) ? (this.#interrupted.get(position) ?? null) : "The recording ended within this step.";
  }

  /** Whether a GradScaler found NaN or Inf and left the parameters as they were. */
  skipped(position: number): boolean {
    return this.#skipped.has(position);
  }

  /** What a GradScaler multiplied the loss with; null where none did, or it is not known. */
  lossScale(position: number): number | null {
    return this.#lossScales.get(position) ?? null;
  }

  /** All loss scales, NaN where there is none; null where no step has one. */
  lossScales(): Float64Array | null {
    if (this.#lossScales.size === 0) return null;
    return Float64Array.from({ length: this.length }, (_, position) => this.lossScale(position) ?? Number.NaN);
  }

  /** All numbers, in order. */
  numbers(): Float64Array {
    return Float64Array.from({ length: this.length }, (_, position) => this.number(position));
  }

  /** All losses; NaN also where none was seen, which `loss` tells apart. */
  losses(): Float64Array {
    return Float64Array.from({ length: this.length }, (_, position) => this.#losses[position] ?? Number.NaN);
  }

  /** Takes in what the reader has found since. */
  async advance(): Promise<void> {
    const { last: before, chunk } = (this.#rest ??= await this.#readStretches());
    const { records, chunks } = await this.reader.recordsFrom("/steps", chunk);
    this.#rest = { last: before, chunk: chunks };
    for (const record of records) if (record.number > before) this.#take(record);
    const last = await this.reader.lastStep("/backward");
    this.#cutShort = last > (this.#numbers.at(-1) ?? -1) ? last : -1;
  }

  async #readStretches(): Promise<Rest> {
    const rest = await this.stretches.rest("/steps");
    for (const stretch of await this.stretches.read()) {
      for (let row = 0; row < stretch.steps.length; row++) if (stretch.ended[row]) this.#takeRow(stretch, row);
    }
    return rest;
  }

  #takeRow(stretch: Stretch, row: number): void {
    const number = stretch.steps[row]!;
    const position = this.#numbers.push(number) - 1;
    this.#positions.set(number, position);
    this.#starts.push(stretch.startNs[row]!);
    this.#ends.push(stretch.endNs[row]!);
    this.#costs.push(stretch.costNs[row]!);
    this.#losses.push(stretch.lossSeen[row] ? stretch.loss[row]! : null);
    const interrupted = Object.hasOwn(stretch.interrupted, number) ? stretch.interrupted[number] : undefined;
    if (interrupted) this.#interrupted.set(position, interrupted);
    if (stretch.skipped.has(number)) this.#skipped.add(position);
    this.#takeScale(position, stretch.lossScale?.[row]);
  }

  #take(step: Step): void {
    const position = this.#numbers.push(step.number) - 1;
    this.#positions.set(step.number, position);
    this.#starts.push(step.start_ns);
    this.#ends.push(step.end_ns);
    this.#costs.push(Number(step.cost_ns));
    this.#losses.push(lossOf(step));
    if (step.interrupted) this.#interrupted.set(position, step.interrupted);
    if (step.skipped) this.#skipped.add(position);
    this.#takeScale(position, step.loss_scale);
  }

  /** What no scaler can have multiplied with is no scale. */
  #takeScale(position: number, scale: number | null | undefined): void {
    if (scale !== null && scale !== undefined && scale > 0 && Number.isFinite(scale)) this.#lossScales.set(position, scale);
  }
}

function lossOf({ loss, loss_nonfinite }: Step): number | null {
  switch (loss_nonfinite) {
    case "nan": return Number.NaN;
    case "inf": return Infinity;
    case "-inf": return -Infinity;
    default: return loss ?? null;
  }
}

/** The last call that fits: of the program's own, else of those that ran inside another. */
export function lastCall(calls: readonly Backward[], fits: (call: Backward) => boolean): Backward | null {
  const fitting = calls.filter(fits);
  return fitting.filter(({ parent }) => parent < 0).at(-1) ?? fitting.at(-1) ?? null;
}

/** A distinct graph structure and the steps whose backward calls had it, ascending. */
export interface GraphVariant {
  readonly id: number;
  readonly steps: Float64Array;
}

interface Call {
  readonly step: number;
  readonly graph: number;
  readonly heldBytes: number;
  readonly inside: boolean;
}

/** Every backward call: which graph it had and what was held when it began (-1: not recorded). */
export class RecordedCalls {
  readonly #calls: Call[] = [];
  #rest: Rest | null = null;
  readonly #turns = new Turns();

  constructor(
    private readonly reader: SessionReader,
    private readonly stretches: RecordedStretches,
  ) {}

  /** Takes in what the reader has found since. */
  advance(): Promise<void> {
    return this.#turns.run(() => this.#readOn());
  }

  async #readOn(): Promise<void> {
    const { last, chunk } = (this.#rest ??= await this.#readStretches());
    const { records, chunks } = await this.reader.recordsFrom("/backward", chunk);
    this.#rest = { last, chunk: chunks };
    for (const { step, graph, held_bytes = -1, parent } of records) {
      if (step > last) this.#calls.push({ step, graph, heldBytes: held_bytes, inside: parent >= 0 });
    }
  }

  async #readStretches(): Promise<Rest> {
    const rest = await this.stretches.rest("/backward");
    for (const { callStep, callGraph, callInside, callHeldBytes } of await this.stretches.read()) {
      for (let row = 0; row < callStep.length; row++) {
        this.#calls.push({ step: callStep[row]!, graph: callGraph[row]!, heldBytes: callHeldBytes[row]!, inside: callInside[row] === 1 });
      }
    }
    return rest;
  }

  /** In order of appearance. */
  variants(): readonly GraphVariant[] {
    const steps = new Map<number, Set<number>>();
    for (const { step, graph } of this.#calls) {
      if (graph < 0) continue;
      const known = steps.get(graph);
      if (known) known.add(step);
      else steps.set(graph, new Set([step]));
    }
    return Array.from(steps, ([id, numbers]) => ({ id, steps: Float64Array.from(numbers).sort() }));
  }

  /** The graph of each step's last call that has one, as `lastCall` finds it; -1 where none has. */
  graphs(steps: RecordedSteps): Float64Array {
    const graphs = new Float64Array(steps.length).fill(-1);
    const own = new Uint8Array(steps.length);
    for (const { step, graph, inside } of this.#calls) {
      const position = steps.position(step);
      if (position < 0 || graph < 0 || (inside && own[position])) continue;
      graphs[position] = graph;
      if (!inside) own[position] = 1;
    }
    return graphs;
  }

  /** The most that any call of each step found held; NaN where it was not recorded. */
  heldBytes(steps: RecordedSteps): Float64Array {
    const held = new Float64Array(steps.length).fill(Number.NaN);
    for (const { step, heldBytes } of this.#calls) {
      const position = steps.position(step);
      if (position >= 0 && heldBytes >= 0 && !(held[position]! >= heldBytes)) held[position] = heldBytes;
    }
    return held;
  }
}
