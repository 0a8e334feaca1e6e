/**
 * Curves out of `/series`: a stretch of steps has its parts in a known order, each a chunk, so that those of one
 * parameter are read and no others. What a chunk holds is believed only once it says so itself.
 */

import { UnreadableError } from "./mcap_bytes";
import type { Unpacked } from "./recorded_chunks";
import type { MessagePack } from "./recorded_msgpack";
import { columnIn, eachMessage, valueAt, type ColumnPlace } from "./recorded_rows";
import type { SessionReader } from "./recorded_reader";
import { SERIES_STATISTICS } from "./session";

export type SeriesStatistic = (typeof SERIES_STATISTICS)[number];

/** One statistic of one parameter, from step 0 to step `last` (-1: nothing): the steps that have a value. */
export interface SeriesColumn {
  readonly last: number;
  readonly steps: Float64Array;
  readonly values: Float64Array;
}

interface Part {
  readonly step: number;
  readonly first: number;
  readonly statistic: string;
  readonly part: number;
  readonly parts: number;
  readonly width: number;
  readonly steps: ColumnPlace;
  readonly subjects: ColumnPlace;
  readonly values: ColumnPlace;
}

/** How a stretch is laid out, as far as its parts have said. */
interface Layout {
  readonly start: number;
  readonly parts: number;
  readonly width: number;
}

/** Reads one statistic of a parameter. `onProgress` gets the share that is read, 0 to 1. */
export function seriesColumn(reader: SessionReader, id: number, statistic: SeriesStatistic, onProgress?: (share: number) => void): Promise<SeriesColumn> {
  return new ColumnWalk(reader, id, statistic, onProgress).read();
}

class ColumnWalk {
  #steps = new Float64Array(1024);
  #values = new Float64Array(1024);
  #count = 0;
  #last = -1;
  readonly #total: number;
  readonly #place: number;

  constructor(
    private readonly reader: SessionReader,
    private readonly id: number,
    private readonly statistic: SeriesStatistic,
    private readonly onProgress?: (share: number) => void,
  ) {
    this.#total = reader.chunks("/series");
    this.#place = SERIES_STATISTICS.indexOf(statistic);
  }

  async read(): Promise<SeriesColumn> {
    for (let layout = await this.#layoutAt(0); layout !== null; ) layout = await this.#readFrom(layout);
    return { last: this.#last, steps: this.#steps.subarray(0, this.#count), values: this.#values.subarray(0, this.#count) };
  }

  /** How the stretch that begins here is laid out; null where none does. */
  async #layoutAt(start: number): Promise<Layout | null> {
    for await (const unpacked of this.reader.contentsFrom("/series", start, start + 1)) {
      const part = this.#partIn(unpacked)?.part;
      return part?.part === 0 ? { start, parts: part.parts, width: part.width } : null;
    }
    return null;
  }

  /** Reads on while stretches are laid out as this one; else gives the layout of the first that is not, or ends. */
  async #readFrom(layout: Layout): Promise<Layout | null> {
    const { start, parts, width } = layout;
    const target = this.#target(parts, width);
    const chunks: number[] = [];
    for (let at = start; at + target < this.#total; at += parts) chunks.push(at + target);
    let next = 0;
    for await (const unpacked of this.reader.contentsAt("/series", chunks)) {
      const chunk = chunks[next]!;
      const found = this.reader.chunkOffset("/series", chunk) === unpacked.entry.offset ? this.#partIn(unpacked) : null;
      if (found === null || found.part.part !== target || found.part.parts !== parts || found.part.width !== width) break;
      if (!this.#take(found.view, found.part)) return null;
      if (++next % 16 === 0) this.onProgress?.(chunk / this.#total);
    }
    const other = await this.#layoutAt(start + next * parts);
    return other && isLarger(other, layout) ? other : null;
  }

  /** Which part of a stretch has the parameter; the last of the statistic where it came only later. */
  #target(parts: number, width: number): number {
    const blocks = parts / SERIES_STATISTICS.length;
    return this.#place * blocks + Math.min(Math.floor(this.id / width), blocks - 1);
  }

  #partIn(unpacked: Unpacked): { readonly view: DataView; readonly part: Part } | null {
    let found: { view: DataView; part: Part } | null = null;
    eachMessage(this.reader, "/series", unpacked, (view, message) => (found = { view, part: checkedPart(view, message) }));
    return found;
  }

  /** False where its steps do not follow those that were read: they are left to be read elsewhere. */
  #take(view: DataView, { step, first, statistic, steps, subjects, values }: Part): boolean {
    if (first !== this.#last + 1 || statistic !== this.statistic) return false;
    this.#last = step;
    const row = rowOf(view, subjects, this.id);
    const count = steps.bytes >> 2;
    for (let i = 0; row >= 0 && i < count; i++) {
      const value = valueAt(view, values, row * count + i);
      if (!Number.isNaN(value)) this.#add(view.getUint32(steps.at + i * 4, true), value);
    }
    return true;
  }

  #add(step: number, value: number): void {
    if (this.#count === this.#steps.length) [this.#steps, this.#values] = [doubled(this.#steps), doubled(this.#values)];
    this.#steps[this.#count] = step;
    this.#values[this.#count++] = value;
  }
}

/** Layouts grow with the number of parameters; wider parts may be fewer. */
function isLarger({ parts, width }: Layout, before: Layout): boolean {
  return width > before.width || (width === before.width && parts > before.parts);
}

function rowOf(view: DataView, { at, bytes }: ColumnPlace, id: number): number {
  for (let row = 0; row < bytes >> 2; row++) if (view.getUint32(at + row * 4, true) === id) return row;
  return -1;
}

function doubled(values: Float64Array): Float64Array<ArrayBuffer> {
  const more = new Float64Array(values.length * 2);
  more.set(values);
  return more;
}

/** Throws an UnreadableError. */
function checkedPart(view: DataView, from: MessagePack): Part {
  const part = partIn(from);
  const { step, first, parts, width, steps, subjects, values } = part;
  const blocks = parts / SERIES_STATISTICS.length;
  const counts = [step, first, parts, width, part.part, blocks];
  if (!counts.every(Number.isSafeInteger) || first < 0 || first > step || width < 1 || blocks < 1 || part.part < 0 || part.part >= parts) {
    throw new UnreadableError(`its part ${part.part} of ${parts}, of steps ${first} to ${step}, is none`);
  }
  if (steps.dtype !== "<u4" || subjects.dtype !== "<u4" || !/^<f[48]$/.test(values.dtype)) throw new UnreadableError("a column has another dtype than it must");
  const cells = (steps.bytes >> 2) * (subjects.bytes >> 2);
  if (values.bytes !== cells * Number(values.dtype[2])) throw new UnreadableError(`it has ${values.bytes} bytes of values, ${cells} numbers expected`);
  let before = first - 1;
  for (let at = steps.at; at < steps.at + steps.bytes; at += 4) {
    const number = view.getUint32(at, true);
    if (number <= before || number > step) throw new UnreadableError(`step ${number} stands behind ${before}, in steps ${first} to ${step}`);
    before = number;
  }
  return part;
}

function partIn(from: MessagePack): Part {
  const numbers: Record<string, number> = {};
  const columns: Record<string, ColumnPlace> = {};
  let statistic = "";
  for (let left = from.map(); left > 0; left--) {
    const key = from.key();
    switch (key) {
      case "step": case "first": case "part": case "parts": case "width": numbers[key] = Number(from.int()); break;
      case "steps": case "subjects": case "values": columns[key] = columnIn(from); break;
      case "statistic": statistic = from.key(); break;
      default: from.skip();
    }
  }
  const { step = Number.NaN, first = Number.NaN, part = Number.NaN, parts = Number.NaN, width = Number.NaN } = numbers;
  const { steps, subjects, values } = columns;
  if (!steps || !subjects || !values) throw new UnreadableError("it lacks the field steps, subjects or values");
  return { step, first, part, parts, width, statistic, steps, subjects, values };
}
