/**
 * The records of a session file, finished or not, one topic at a time: only the index of its chunks stays in memory.
 * A damaged chunk costs that chunk and is listed in `gaps`; a torn tail is left out until the rest of it is there.
 */

import { UnreadableError, type ReadAt, type Unpacker } from "./mcap_bytes";
import { declaredTopics, readVersions, type Content, type Versions } from "./mcap_chunk";
import type { ChunkEntry, ChunkIndex } from "./mcap_index";
import { hop, newScan, type Scan } from "./mcap_scan";
import { readSummary } from "./mcap_summary";
import { ChunkContents, type Gap, type Unpacked } from "./recorded_chunks";
import { decodeRecord } from "./recorded_decode";
import { damaged, notASession, otherVersion } from "./recorded_errors";
import { checkFit } from "./recorded_fit";
import { MessagePack } from "./recorded_msgpack";
import { Turns } from "./recorded_turns";
import { FORMAT_VERSION, type Run, type Topics } from "./session";

/** Records of one type come in step order, except that one may come this many steps late. */
export const LATE_STEPS = 2;

/** How this host opens a file: `name` is what errors call it, `version` is our own. */
export interface OpenOptions extends Unpacker {
  readonly name: string;
  readonly version?: string;
}

/** Times between which records came to be, ends included. */
export interface TimeRange {
  readonly fromNs?: bigint | number;
  readonly toNs?: bigint | number;
}

interface RecordPlaces {
  readonly byId: Map<number, { readonly position: number; readonly row: number }>;
  seen: number;
  /** A chunk that one search is looking through is not looked through for another, which waits for it. */
  readonly turns: Turns;
}

/** A session file's records by topic. Throws SessionErrors; what the source throws passes through. */
export class SessionReader {
  readonly #places = new Map<string, RecordPlaces>();
  readonly #channels = new Map<string, number>();
  readonly #contents: ChunkContents;
  readonly #turns = new Turns();
  /** Summary and footer stand at the end, and fit. */
  complete = false;
  run!: Run;

  private constructor(
    readonly source: ReadAt,
    readonly options: OpenOptions,
    readonly versions: Versions,
    private scan: Scan,
  ) {
    this.#contents = new ChunkContents(source, options);
  }

  static async open(source: ReadAt, options: OpenOptions): Promise<SessionReader> {
    const versions = await versionsOf(source, options);
    const found = await readSummary(source);
    const reader = new SessionReader(source, options, versions, found?.scan ?? newScan(versions.end));
    const ready = found !== null && (await reader.#settleSummary(found.summary));
    if (!ready) await reader.#settleHops();
    reader.run = await reader.#readRun();
    return reader;
  }

  /** The file ends as one that was closed, or repaired, does. */
  get finished(): boolean {
    return this.scan.ended;
  }

  /** Bytes behind the last whole record of an unfinished file: a write was cut short, or is under way. */
  async tornBytes(): Promise<number> {
    return this.finished ? 0 : (await this.source.size()) - this.scan.position;
  }

  get index(): ChunkIndex {
    return this.scan.index;
  }

  /** What could not be read so far, by offset. */
  get gaps(): readonly Gap[] {
    return this.#contents.gaps.all();
  }

  /** How many chunks hold records of a topic. */
  chunks(topic: keyof Topics): number {
    return this.index.count(this.#channel(topic));
  }

  /** Every record of a topic in file order, or those of a stretch of time. */
  async *records<T extends keyof Topics>(topic: T, range: TimeRange = {}): AsyncGenerator<Topics[T]> {
    const from = BigInt(range.fromNs ?? 0);
    const to = BigInt(range.toNs ?? (1n << 64n) - 1n);
    const channel = this.#channel(topic);
    const entries = this.#entries(channel, 0).filter(({ startNs, endNs }) => startNs <= to && endNs >= from);
    for await (const { entry, content } of this.#contents.all(entries, topic)) {
      for (const { row, record } of this.#decoded(topic, entry, content)) {
        if (content.timeNs[row]! >= from && content.timeNs[row]! <= to) yield record;
      }
    }
  }

  /** The records in the chunks from the `first`th of a topic on, and how many chunks there are then. */
  async recordsFrom<T extends keyof Topics>(topic: T, first: number): Promise<{ records: Topics[T][]; chunks: number }> {
    const records: Topics[T][] = [];
    const chunks = this.chunks(topic);
    for await (const { entry, content } of this.contentsFrom(topic, first)) {
      for (const { record } of this.#decoded(topic, entry, content)) records.push(record);
    }
    return { records, chunks };
  }

  /** Unpacked chunks of a topic, from its `first`th to before its `end`th, for readers that decode only a part. */
  contentsFrom(topic: keyof Topics, first: number, end = Infinity): AsyncGenerator<Unpacked> {
    return this.#contents.all(this.#entries(this.#channel(topic), first, end), topic);
  }

  /** As `contentsFrom`, of some chunks of a topic, by position. */
  contentsAt(topic: keyof Topics, positions: readonly number[]): AsyncGenerator<Unpacked> {
    const channel = this.#channel(topic);
    return this.#contents.all(positions.map((position) => this.index.entry(channel, position)), topic);
  }

  /** Where in the file a chunk of a topic stands, by position. */
  chunkOffset(topic: keyof Topics, position: number): number {
    return this.index.entry(this.#channel(topic), position).offset;
  }

  /** Every record of a topic that belongs to `step`, in file order; reads a few chunks around it. */
  async recordsOfStep<T extends keyof Topics>(topic: T, step: number): Promise<Topics[T][]> {
    const channel = this.#channel(topic);
    const found: Topics[T][] = [];
    for (let position = await this.firstChunkOf(topic, step); position < this.index.count(channel); position++) {
      const span = await this.#span(topic, position);
      if (span === null) continue;
      if (span[0] > step + LATE_STEPS) break;
      if (span[0] > step || span[1] < step) continue;
      const entry = this.index.entry(channel, position);
      const content = await this.#contents.one(entry, topic);
      if (content) for (const { record } of this.#decoded(topic, entry, content, step)) found.push(record);
    }
    return found;
  }

  /** The first record with this `id`; null when there is none. Others are not decoded whole. */
  async withId<T extends keyof Topics>(topic: T, id: number): Promise<Topics[T] | null> {
    const channel = this.#channel(topic);
    const places = this.#places.get(topic) ?? { byId: new Map(), seen: 0, turns: new Turns() };
    this.#places.set(topic, places);
    await places.turns.run(async () => {
      while (!places.byId.has(id) && places.seen < this.index.count(channel)) await this.#findIds(topic, places);
    });
    const place = places.byId.get(id);
    if (!place) return null;
    const entry = this.index.entry(channel, place.position);
    const content = await this.#contents.one(entry, topic);
    return content && this.#decodeRow(topic, entry, content, place.row);
  }

  /** Highest step that a record of this topic belongs to; -1 when there is none. */
  async lastStep(topic: keyof Topics): Promise<number> {
    let last = -1;
    let read = 0;
    for (let position = this.chunks(topic) - 1; position >= 0 && read <= LATE_STEPS; position--) {
      const span = await this.#span(topic, position);
      if (span === null) continue;
      last = Math.max(last, span[1]);
      read++;
    }
    return last;
  }

  /** Takes in what was appended since; whether something was. A record that is only partly there waits. */
  refresh(): Promise<boolean> {
    return this.#turns.run(() => this.#hopOn());
  }

  async #hopOn(): Promise<boolean> {
    if (this.finished) return false;
    if ((await this.source.size()) < this.scan.position) throw damaged(this.options.name, "it has become shorter while it was open");
    const { position, ended } = this.scan;
    await hop(this.source, this.scan);
    await this.#settle();
    return this.scan.position !== position || this.scan.ended !== ended;
  }

  /** Lists a record that does not fit as a gap, for readers of contents. */
  reportRecord(topic: keyof Topics, entry: ChunkEntry, start: number, error: UnreadableError): void {
    this.#contents.gaps.addRecord(topic, entry, start, `a record is damaged: ${error.message}`);
  }

  /** Which messages of a chunk are of this topic. */
  channelOf(topic: keyof Topics): number {
    return this.#channel(topic);
  }

  #entries(channel: number, first: number, end = Infinity): ChunkEntry[] {
    const count = Math.max(0, Math.min(this.index.count(channel), end) - first);
    return Array.from({ length: count }, (_, i) => this.index.entry(channel, first + i));
  }

  #channel(topic: keyof Topics): number {
    return this.#channels.get(topic) ?? -1;
  }

  async #settleSummary(summary: Uint8Array): Promise<boolean> {
    try {
      this.#declare(declaredTopics(summary));
    } catch (error) {
      if (!(error instanceof UnreadableError)) throw error;
      this.scan = newScan(this.versions.end);
      return false;
    }
    await this.#settle();
    this.complete = true;
    return true;
  }

  async #settleHops(): Promise<void> {
    await hop(this.source, this.scan);
    await this.#settle();
    this.#declare(await this.#topicsOfFirstChunk());
    await this.#settle();
  }

  #declare(topics: ReadonlyMap<number, string>): void {
    for (const [channel, topic] of topics) this.#channels.set(topic, channel);
  }

  async #topicsOfFirstChunk(): Promise<ReadonlyMap<number, string>> {
    const first = this.index.first();
    const content = first && (await this.#contents.one(first[1], "/run"));
    try {
      if (content) return declaredTopics(content.data);
    } catch (error) {
      if (!(error instanceof UnreadableError)) throw error;
    }
    throw damaged(this.options.name, "the part that says what it holds is cut or does not unpack");
  }

  /** Files by their content chunks whose index is cut or names no channel of ours; lists what is no record. */
  async #settle(): Promise<void> {
    const known = new Set(this.#channels.values());
    const strays = known.size === 0 ? [] : this.index.channels.filter((channel) => !known.has(channel));
    const entries = [...this.scan.unplaced.splice(0), ...strays.flatMap((channel) => this.index.remove(channel))];
    for (const entry of entries) {
      const content = await this.#contents.one(entry, null);
      if (content && content.count > 0) this.index.insert(content.channel[0]!, entry);
    }
    for (const { offset, end, reason } of this.scan.lost) this.#contents.gaps.add(null, offset, end, `${end - offset} bytes are skipped: ${reason}`);
  }

  /** The first chunk holds it, even where its index says otherwise. */
  async #readRun(): Promise<Run> {
    const first = this.index.first();
    const content = first && (await this.#contents.one(first[1], "/run"));
    for (const { record } of content ? this.#decoded("/run", first[1], content) : []) return record;
    throw damaged(this.options.name, "the record that says who recorded it is cut or does not unpack");
  }

  /** A chunk's messages of one topic, or those of one step. */
  *#decoded<T extends keyof Topics>(topic: T, entry: ChunkEntry, content: Content, step?: number): Generator<{ row: number; record: Topics[T] }> {
    const channel = this.#channel(topic);
    if (!content.channel.includes(channel)) this.#contents.gaps.add(topic, entry.offset, entry.offset + entry.length, "a chunk is filed under the wrong topic");
    for (let row = 0; row < content.count; row++) {
      if (content.channel[row] !== channel || (step !== undefined && content.step[row] !== step)) continue;
      const record = this.#decodeRow(topic, entry, content, row);
      if (record !== null) yield { row, record };
    }
  }

  #decodeRow<T extends keyof Topics>(topic: T, entry: ChunkEntry, content: Content, row: number): Topics[T] | null {
    const start = content.start[row]!;
    try {
      const record = decodeRecord(topic, content.data, start, content.end[row]!);
      checkFit(topic, record);
      return record;
    } catch (error) {
      if (!(error instanceof UnreadableError)) throw error;
      this.reportRecord(topic, entry, start, error);
      return null;
    }
  }

  async #findIds(topic: keyof Topics, places: RecordPlaces): Promise<void> {
    const position = places.seen++;
    const entry = this.index.entry(this.#channel(topic), position);
    const content = await this.#contents.one(entry, topic);
    for (let row = 0; content && row < content.count; row++) {
      if (content.channel[row] !== this.#channel(topic)) continue;
      try {
        const id = idOf(new MessagePack(content.data, content.start[row]!, content.end[row]!));
        if (!places.byId.has(id)) places.byId.set(id, { position, row });
      } catch (error) {
        if (!(error instanceof UnreadableError)) throw error;
        this.reportRecord(topic, entry, content.start[row]!, error);
      }
    }
  }

  /** Lowest and highest step in a chunk; null when it is damaged or empty. */
  #span(topic: keyof Topics, position: number): Promise<readonly [number, number] | null> {
    return this.#contents.span(this.index.entry(this.#channel(topic), position), topic);
  }

  /** A chunk before which none can hold `step`: guessed from the steps of those around it, halving where that misleads. */
  async firstChunkOf(topic: keyof Topics, step: number): Promise<number> {
    let [low, high] = [0, this.chunks(topic)];
    let [lowStep, highStep] = [0, Number.NaN];
    for (let turn = 0; low < high; turn++) {
      const share = turn === 0 ? Number.NaN : (step - LATE_STEPS - lowStep) / (highStep - lowStep);
      const guess = turn % 3 !== 2 && share >= 0 && share <= 1 ? low + Math.floor((high - low) * share) : (low + high) >> 1;
      const middle = turn === 0 ? high - 1 : Math.min(Math.max(guess, low), high - 1);
      let probe = middle;
      let span = await this.#span(topic, probe);
      while (span === null && probe + 1 < high) span = await this.#span(topic, ++probe);
      if (span === null || span[1] >= step - LATE_STEPS) [high, highStep] = [middle, span?.[1] ?? highStep];
      else [low, lowStep] = [probe + 1, span[1]];
    }
    return low;
  }
}

async function versionsOf(source: ReadAt, { name, version = "this version" }: OpenOptions): Promise<Versions> {
  let versions: Versions;
  try {
    versions = await readVersions(source);
  } catch (error) {
    if (error instanceof UnreadableError) throw notASession(name, error.message);
    throw error;
  }
  if (versions.format < 1 || versions.format > FORMAT_VERSION) throw otherVersion(name, versions.gradwatch, versions.format, version);
  return versions;
}

/** Throws an UnreadableError where the record has none. */
function idOf(from: MessagePack): number {
  for (let left = from.map(); left > 0; left--) {
    if (from.key() === "id") return Number(from.int());
    from.skip();
  }
  throw new UnreadableError("it lacks the field id");
}
