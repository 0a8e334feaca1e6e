/** One gradient's statistics over all steps, read out of the columns without making a record of each. */

import { UnreadableError } from "./mcap_bytes";
import type { MessagePack } from "./recorded_msgpack";
import type { GradientSubject } from "./recorded_names";
import type { SessionReader } from "./recorded_reader";
import { eachMessage, placesIn, valueAt, type ColumnPlace } from "./recorded_rows";
import { Turns } from "./recorded_turns";
import { STATISTIC_DTYPES } from "./session";

export type StatisticName = keyof typeof STATISTIC_DTYPES;
export const STATISTIC_NAMES = Object.keys(STATISTIC_DTYPES) as readonly StatisticName[];

/** One entry per step, of the last backward call that reached the subject. NaN: not recorded. */
export interface GradientCurve {
  readonly steps: Float64Array;
  readonly backward: Float64Array;
  readonly columns: Readonly<Record<StatisticName, Float64Array>>;
}

const WIDTH = 2 + STATISTIC_NAMES.length;

/** Reads from the `first`th chunk of `/gradients` on, and on from where it was when more have come. */
export class CurveReader {
  #rows = new Float64Array(1024 * WIDTH);
  #count = 0;
  #chunks: number;
  #row = 0;
  readonly #turns = new Turns();

  constructor(
    private readonly reader: SessionReader,
    private readonly subject: GradientSubject,
    first = 0,
  ) {
    this.#chunks = first;
  }

  /** The curve up to now. `onProgress` gets the share that is read, 0 to 1. */
  read(onProgress?: (share: number) => void): Promise<GradientCurve> {
    return this.#turns.run(() => this.#readOn(onProgress));
  }

  async #readOn(onProgress?: (share: number) => void): Promise<GradientCurve> {
    const chunks = this.reader.chunks("/gradients");
    const [first, count] = [this.#chunks, this.#count];
    try {
      await this.#readChunks(first, chunks, onProgress);
      this.#chunks = chunks;
    } catch (error) {
      this.#count = count;
      throw error;
    }
    return this.#curve();
  }

  async #readChunks(first: number, chunks: number, onProgress?: (share: number) => void): Promise<void> {
    let done = 0;
    for await (const unpacked of this.reader.contentsFrom("/gradients", first)) {
      eachMessage(this.reader, "/gradients", unpacked, (view, message) => this.#readMessage(view, message));
      if (++done % 64 === 0) onProgress?.(done / (chunks - first));
    }
  }

  #readMessage(view: DataView, from: MessagePack): void {
    const places = placesIn(from);
    if (places.kind !== this.subject.kind || places.stop >= 0) return;
    if (places.subjects === null || places.subjects.dtype !== "<u4") throw new UnreadableError("it lacks the field subjects");
    const row = this.#rowOf(view, places.subjects);
    if (row < 0) return;
    if ((this.#count + 1) * WIDTH > this.#rows.length) this.#grow();
    const at = this.#count * WIDTH;
    this.#rows[at] = places.step;
    this.#rows[at + 1] = places.backward;
    for (let i = 0; i < STATISTIC_NAMES.length; i++) this.#rows[at + 2 + i] = valueAt(view, places.columns.get(STATISTIC_NAMES[i]!), row);
    this.#count++;
  }

  /** It stands where it stood last, or is looked for. */
  #rowOf(view: DataView, { at, bytes }: ColumnPlace): number {
    const count = bytes >> 2;
    if (this.#row < count && view.getUint32(at + this.#row * 4, true) === this.subject.id) return this.#row;
    for (let row = 0; row < count; row++) if (view.getUint32(at + row * 4, true) === this.subject.id) return (this.#row = row);
    return -1;
  }

  #grow(): void {
    const rows = this.#rows;
    this.#rows = new Float64Array(rows.length * 2);
    this.#rows.set(rows);
  }

  #curve(): GradientCurve {
    const order = this.#lastOfEachStep();
    const column = (place: number): Float64Array => {
      const values = new Float64Array(order.length);
      for (let i = 0; i < values.length; i++) values[i] = this.#rows[order[i]! * WIDTH + place]!;
      return values;
    };
    const columns = Object.fromEntries(STATISTIC_NAMES.map((name, i) => [name, column(2 + i)])) as Record<StatisticName, Float64Array>;
    return { steps: column(0), backward: column(1), columns };
  }

  #inOrder(): boolean {
    const rows = this.#rows;
    for (let at = WIDTH; at < this.#count * WIDTH; at += WIDTH) {
      if (rows[at]! < rows[at - WIDTH]! || (rows[at] === rows[at - WIDTH] && rows[at + 1]! < rows[at - WIDTH + 1]!)) return false;
    }
    return true;
  }

  #lastOfEachStep(): number[] {
    const rows = this.#rows;
    const order = Array.from({ length: this.#count }, (_, row) => row);
    if (!this.#inOrder()) order.sort((a, b) => rows[a * WIDTH]! - rows[b * WIDTH]! || rows[a * WIDTH + 1]! - rows[b * WIDTH + 1]! || a - b);
    return order.filter((row, i) => i + 1 === order.length || rows[order[i + 1]! * WIDTH] !== rows[row * WIDTH]);
  }
}
