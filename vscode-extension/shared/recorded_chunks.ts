/** Unpacks chunks: one by one with the last ones remembered, or all of a topic in few large reads. Keeps the list of gaps. */

import { UnreadableError, type ReadAt, type Unpacker } from "./mcap_bytes";
import { checkSizes, unpack, type Content } from "./mcap_chunk";
import type { ChunkEntry } from "./mcap_index";

const MOST_GAPS = 10_000;
const RECENT_CHUNKS = 16;
const LARGEST_RECENT = 4 << 20;
/** Chunks of one topic are read together while they, and what lies between, fit in this. */
const STRETCH_BYTES = 1 << 20;
/** More than this between two chunks costs more to read than to go around. */
const NEAR = 16 << 10;
/** Reads under way at once. */
const AHEAD_READS = 64;
/** Unpacked bytes under way at once. */
const AHEAD_BYTES = 16 << 20;

/** Bytes of a session that could not be read. `topic` is null where it is not known. */
export interface Gap {
  readonly topic: string | null;
  readonly offset: number;
  readonly length: number;
  readonly reason: string;
}

/** What could not be read so far, each place once. */
export class Gaps {
  readonly #found = new Map<string, Gap & { readonly within: number }>();

  add(topic: string | null, offset: number, end: number, reason: string): void {
    this.#set({ topic, offset, length: end - offset, reason, within: 0 });
  }

  /** One record of a chunk; `start` is its place within what the chunk unpacks to. */
  addRecord(topic: string, entry: ChunkEntry, start: number, reason: string): void {
    this.#set({ topic, offset: entry.offset, length: entry.length, reason, within: start });
  }

  all(): readonly Gap[] {
    const gaps = [...this.#found.values()].sort((a, b) => a.offset - b.offset || a.within - b.within);
    return gaps.map(({ topic, offset, length, reason }) => ({ topic, offset, length, reason }));
  }

  #set(gap: Gap & { readonly within: number }): void {
    const key = `${gap.offset}:${gap.within}`;
    if (this.#found.size < MOST_GAPS || this.#found.has(key)) this.#found.set(key, gap);
  }
}

/** A chunk and what it holds. */
export interface Unpacked {
  readonly entry: ChunkEntry;
  readonly content: Content;
}

/** A damaged chunk is null, and a gap. */
export class ChunkContents {
  readonly gaps = new Gaps();
  readonly #recent = new Map<number, Content>();
  readonly #spans = new Map<number, readonly [number, number] | null>();

  constructor(
    private readonly source: ReadAt,
    private readonly unpacker: Unpacker,
  ) {}

  async one(entry: ChunkEntry, topic: string | null): Promise<Content | null> {
    const known = this.#recent.get(entry.offset);
    if (known) return known;
    const content = await this.#unpack(entry, topic, null);
    if (content && entry.uncompressed <= LARGEST_RECENT) this.#remember(entry.offset, content);
    return content;
  }

  /** Lowest and highest step in a chunk; null when it is damaged or empty. */
  async span(entry: ChunkEntry, topic: string): Promise<readonly [number, number] | null> {
    if (!this.#spans.has(entry.offset) && (await this.one(entry, topic)) === null) this.#spans.set(entry.offset, null);
    return this.#spans.get(entry.offset) ?? null;
  }

  /** In the order of `entries`; reads ahead while the last ones are being used. */
  async *all(entries: readonly ChunkEntry[], topic: string): AsyncGenerator<Unpacked> {
    const stretches = stretchesOf(entries);
    const ahead: { bytes: number; done: Promise<Unpacked[]> }[] = [];
    let next = 0;
    let bytes = 0;
    while (next < stretches.length || ahead.length > 0) {
      while (next < stretches.length && (ahead.length === 0 || (bytes < AHEAD_BYTES && ahead.length < AHEAD_READS))) {
        const stretch = stretches[next++]!;
        const size = stretch.reduce((sum, { uncompressed }) => sum + uncompressed, 0);
        const done = this.#unpackStretch(stretch, topic);
        done.catch(() => undefined);
        ahead.push({ bytes: size, done });
        bytes += size;
      }
      const first = ahead.shift()!;
      yield* await first.done;
      bytes -= first.bytes;
    }
  }

  async #unpackStretch(entries: readonly ChunkEntry[], topic: string): Promise<Unpacked[]> {
    const [first, last] = [entries[0]!, entries.at(-1)!];
    const together = entries.length > 1 ? await this.source.read(first.offset, last.offset + last.length - first.offset) : null;
    const found: Unpacked[] = [];
    for (const entry of entries) {
      const record = together && together.subarray(entry.offset - first.offset, entry.offset - first.offset + entry.length);
      const content = await this.#unpack(entry, topic, record);
      if (content) found.push({ entry, content });
    }
    return found;
  }

  async #unpack(entry: ChunkEntry, topic: string | null, record: Uint8Array | null): Promise<Content | null> {
    try {
      checkSizes(entry);
      const content = await unpack(record ?? (await this.source.read(entry.offset, entry.length)), entry, this.unpacker);
      this.#spans.set(entry.offset, spanOf(content.step));
      return content;
    } catch (error) {
      if (!(error instanceof UnreadableError)) throw error;
      this.gaps.add(topic, entry.offset, entry.offset + entry.length, `a chunk is damaged: ${error.message}`);
      return null;
    }
  }

  #remember(offset: number, content: Content): void {
    this.#recent.set(offset, content);
    if (this.#recent.size > RECENT_CHUNKS) this.#recent.delete(this.#recent.keys().next().value!);
  }
}

function spanOf(steps: Uint32Array): readonly [number, number] | null {
  if (steps.length === 0) return null;
  let [low, high] = [steps[0]!, steps[0]!];
  for (const step of steps) {
    if (step < low) low = step;
    if (step > high) high = step;
  }
  return [low, high];
}

function stretchesOf(entries: readonly ChunkEntry[]): ChunkEntry[][] {
  const stretches: ChunkEntry[][] = [];
  for (const entry of entries) {
    const stretch = stretches.at(-1);
    if (stretch && belongs(stretch, entry)) stretch.push(entry);
    else stretches.push([entry]);
  }
  return stretches;
}

function belongs(stretch: readonly ChunkEntry[], entry: ChunkEntry): boolean {
  const [first, last] = [stretch[0]!, stretch.at(-1)!];
  const between = entry.offset - last.offset - last.length;
  if (between < 0 || between > NEAR || stretch.length >= 64) return false;
  const unpacked = stretch.reduce((sum, { uncompressed }) => sum + uncompressed, entry.uncompressed);
  return entry.offset + entry.length - first.offset <= STRETCH_BYTES && unpacked <= AHEAD_BYTES;
}
