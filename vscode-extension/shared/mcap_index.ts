/** Where every chunk of a session file lies, by channel, in columns: a long run makes hundreds of thousands. */

/** One chunk: offset and length of its record, its times in ns, its sizes in bytes. `indexLength`: of the message index behind it. */
export interface ChunkEntry {
  readonly offset: number;
  readonly length: number;
  readonly startNs: bigint;
  readonly endNs: bigint;
  readonly indexLength: number;
  readonly uncompressed: number;
}

const SIZES = 4;
const TIMES = 2;

class ChunkColumn {
  count = 0;
  #sizes = new Float64Array(16 * SIZES);
  #times = new BigUint64Array(16 * TIMES);

  add({ offset, length, startNs, endNs, indexLength, uncompressed }: ChunkEntry): void {
    if (this.count * SIZES === this.#sizes.length) this.#grow();
    const at = this.count++;
    this.#sizes[at * SIZES] = offset;
    this.#sizes[at * SIZES + 1] = length;
    this.#sizes[at * SIZES + 2] = indexLength;
    this.#sizes[at * SIZES + 3] = uncompressed;
    this.#times[at * TIMES] = startNs;
    this.#times[at * TIMES + 1] = endNs;
  }

  #grow(): void {
    const [sizes, times] = [this.#sizes, this.#times];
    this.#sizes = new Float64Array(sizes.length * 2);
    this.#sizes.set(sizes);
    this.#times = new BigUint64Array(times.length * 2);
    this.#times.set(times);
  }

  offset(position: number): number {
    return this.#sizes[position * SIZES]!;
  }

  entry(position: number): ChunkEntry {
    const at = position * SIZES;
    return {
      offset: this.#sizes[at]!,
      length: this.#sizes[at + 1]!,
      startNs: this.#times[position * TIMES]!,
      endNs: this.#times[position * TIMES + 1]!,
      indexLength: this.#sizes[at + 2]!,
      uncompressed: this.#sizes[at + 3]!,
    };
  }

  /** Takes the chunks from `position` on out. */
  cut(position: number): ChunkEntry[] {
    const behind = Array.from({ length: this.count - position }, (_, i) => this.entry(position + i));
    this.count = position;
    return behind;
  }
}

/** The chunks of one file by channel id, each channel's in file order. */
export class ChunkIndex {
  readonly #columns = new Map<number, ChunkColumn>();
  #total = 0;

  add(channel: number, entry: ChunkEntry): void {
    let column = this.#columns.get(channel);
    if (!column) this.#columns.set(channel, (column = new ChunkColumn()));
    column.add(entry);
    this.#total++;
  }

  /** Adds a chunk where it belongs in file order, rather than at the end. */
  insert(channel: number, entry: ChunkEntry): void {
    const column = this.#columns.get(channel);
    let position = column?.count ?? 0;
    while (column && position > 0 && column.offset(position - 1) > entry.offset) position--;
    const later = column?.cut(position) ?? [];
    this.#total -= later.length;
    for (const one of [entry, ...later]) this.add(channel, one);
  }

  /** Forgets a channel; gives its chunks. */
  remove(channel: number): ChunkEntry[] {
    const entries = this.#columns.get(channel)?.cut(0) ?? [];
    this.#columns.delete(channel);
    this.#total -= entries.length;
    return entries;
  }

  get channels(): number[] {
    return [...this.#columns.keys()];
  }

  get total(): number {
    return this.#total;
  }

  count(channel: number): number {
    return this.#columns.get(channel)?.count ?? 0;
  }

  entry(channel: number, position: number): ChunkEntry {
    const column = this.#columns.get(channel);
    if (!column || position < 0 || position >= column.count) throw new RangeError(`There is no chunk ${position} of channel ${channel}.`);
    return column.entry(position);
  }

  /** The chunk that lies first in the file, and its channel. */
  first(): readonly [number, ChunkEntry] | null {
    let found: readonly [number, ChunkEntry] | null = null;
    for (const [channel, column] of this.#columns) {
      if (column.count > 0 && (found === null || column.offset(0) < found[1].offset)) found = [channel, column.entry(0)];
    }
    return found;
  }
}
