/** The Totals of a session: what a timeline needs of its steps, in a few hundred records where there are many thousand steps. */

import { numbers, type Numbers } from "./answer";
import { viewOf } from "./mcap_bytes";
import type { SessionReader } from "./recorded_reader";
import type { Column, Totals } from "./session";

/** The columns of a Totals record, to be indexed. */
export interface Stretch {
  readonly last: number;
  readonly steps: Numbers;
  readonly ended: Numbers;
  readonly startNs: BigInt64Array;
  readonly endNs: BigInt64Array;
  readonly costNs: Numbers;
  readonly loss: Numbers;
  readonly lossSeen: Numbers;
  readonly gradientNorm: Numbers;
  readonly nonfinite: Numbers;
  readonly callStep: Numbers;
  readonly callGraph: Numbers;
  readonly callInside: Numbers;
  readonly callHeldBytes: Numbers;
  readonly interrupted: Readonly<Record<string, string>>;
  readonly skipped: ReadonlySet<number>;
  readonly lossScale: Numbers | null;
}

/** Where records of single steps must be read on: of the steps behind `last`, from these chunks on. */
export interface Rest {
  readonly last: number;
  readonly chunk: number;
}

/** Reads them once: what comes later is in the records of the steps, which a reader that follows has read by then. */
export class RecordedStretches {
  #read: Promise<readonly Stretch[]> | null = null;

  constructor(private readonly reader: SessionReader) {}

  /** From step 0 on without a gap: behind a damaged one none counts. Forgotten when it fails. */
  read(): Promise<readonly Stretch[]> {
    if (this.#read === null) {
      this.#read = this.#readAll();
      this.#read.catch(() => (this.#read = null));
    }
    return this.#read;
  }

  /** Where records of a topic begin that no stretch stands for. */
  async rest(topic: "/steps" | "/backward" | "/gradients"): Promise<Rest> {
    const last = (await this.read()).at(-1)?.last ?? -1;
    return { last, chunk: last < 0 ? 0 : await this.reader.firstChunkOf(topic, last + 1) };
  }

  async #readAll(): Promise<readonly Stretch[]> {
    const { records } = await this.reader.recordsFrom("/totals", 0);
    const stretches: Stretch[] = [];
    for (const record of records) {
      if (record.first !== (stretches.at(-1)?.last ?? -1) + 1) break;
      stretches.push(stretchOf(record));
    }
    return stretches;
  }
}

function stretchOf(totals: Totals): Stretch {
  return {
    last: totals.step,
    steps: numbers(totals.steps),
    ended: numbers(totals.ended),
    startNs: nanoseconds(totals.start_ns),
    endNs: nanoseconds(totals.end_ns),
    costNs: numbers(totals.cost_ns),
    loss: numbers(totals.loss),
    lossSeen: numbers(totals.loss_seen),
    gradientNorm: numbers(totals.gradient_norm),
    nonfinite: numbers(totals.nonfinite),
    callStep: numbers(totals.call_step),
    callGraph: numbers(totals.call_graph),
    callInside: numbers(totals.call_inside),
    callHeldBytes: numbers(totals.call_held_bytes),
    interrupted: totals.interrupted ?? {},
    skipped: new Set(totals.skipped ?? []),
    lossScale: totals.loss_scale ? numbers(totals.loss_scale) : null,
  };
}

/** Beyond what a number holds exactly. The column was checked to be `<i8`. */
function nanoseconds({ data }: Column): BigInt64Array {
  const view = viewOf(data);
  return BigInt64Array.from({ length: data.length >> 3 }, (_, i) => view.getBigInt64(i * 8, true));
}
