/** Takes the head and the chunks of a session file apart, believing nothing that does not check. */

import {
  CHUNK_FIXED, CHUNK_HEAD, MAGIC, MESSAGE_HEAD, OPCODE, RECORD_HEAD, UnreadableError, ZSTD, crc32, sizeAt, standsAt, textOf, viewOf,
  type Decompress, type ReadAt, type Unpacker,
} from "./mcap_bytes";
import type { ChunkEntry } from "./mcap_index";
import { recordsIn } from "./mcap_summary";
import { frameOf } from "./mcap_zstd";

/** A chunk that is larger, or claims to unpack to more, is not unpacked: a hundred times what the writer aims at. */
export const LARGEST_CHUNK = 128 << 20;

const LARGEST_HEAD = 1 << 16;
const PROFILE = "gradwatch";

/** Who wrote a file and in which format. Chunks begin at `end`. */
export interface Versions {
  readonly gradwatch: string;
  readonly format: number;
  readonly end: number;
}

/** An unpacked chunk and its messages, in columns: where in `data` each payload begins and ends. */
export interface Content {
  readonly data: Uint8Array;
  readonly count: number;
  readonly channel: Uint16Array;
  readonly step: Uint32Array;
  readonly timeNs: BigUint64Array;
  readonly start: Uint32Array;
  readonly end: Uint32Array;
}

/** Reads what stands before the first chunk. Throws an UnreadableError when it is not as in a session. */
export async function readVersions(source: ReadAt): Promise<Versions> {
  const head = await source.read(0, LARGEST_HEAD);
  if (!standsAt(head, 0, MAGIC)) throw new UnreadableError(head.length === 0 ? "it is empty" : "it does not begin with the MCAP magic bytes");
  const header = recordAt(head, MAGIC.length, OPCODE.header, "it is cut or damaged within its header");
  const profile = new Texts(header.content).next();
  if (profile !== PROFILE) throw new UnreadableError(`it is an MCAP file of another kind (profile ${JSON.stringify(profile.slice(0, 80))})`);
  const metadata = recordAt(head, header.end, OPCODE.metadata, "it is cut or damaged before the place that names its format");
  const texts = new Texts(metadata.content);
  const name = texts.next();
  const entries = texts.map();
  const format = entries.get("format_version") ?? "";
  if (name !== PROFILE || !/^\d{1,9}$/.test(format)) throw new UnreadableError("it does not say which format it is in");
  return { gradwatch: entries.get("gradwatch_version") ?? "of unknown version", format: Number(format), end: metadata.end };
}

function recordAt(data: Uint8Array, at: number, opcode: number, otherwise: string): { content: Uint8Array; end: number } {
  if (at + RECORD_HEAD > data.length || data[at] !== opcode) throw new UnreadableError(otherwise);
  const end = at + RECORD_HEAD + sizeAt(viewOf(data), at + 1);
  if (end > data.length) throw new UnreadableError(otherwise);
  return { content: data.subarray(at + RECORD_HEAD, end), end };
}

/** MCAP's texts, each behind its length. */
class Texts {
  #at = 0;
  readonly #view: DataView;

  constructor(private readonly bytes: Uint8Array, start = 0) {
    this.#view = viewOf(bytes);
    this.#at = start;
  }

  next(): string {
    const length = this.#length();
    const start = this.#at;
    this.#at += length;
    return textOf(this.bytes.subarray(start, this.#at));
  }

  map(): Map<string, string> {
    const end = this.#length() + this.#at;
    const found = new Map<string, string>();
    while (this.#at < end) found.set(this.next(), this.next());
    return found;
  }

  #length(): number {
    if (this.#at + 4 > this.bytes.length) throw new UnreadableError("a text in it is cut");
    const length = this.#view.getUint32(this.#at, true);
    this.#at += 4;
    if (this.#at + length > this.bytes.length) throw new UnreadableError(`a text in it claims ${length} bytes`);
    return length;
  }
}

/** Topics by channel id, among the records in `data`. Throws an UnreadableError. */
export function declaredTopics(data: Uint8Array): Map<number, string> {
  const topics = new Map<number, string>();
  for (const { opcode, start, end } of recordsIn(data)) {
    if (opcode !== OPCODE.channel) continue;
    if (end - start < 4) throw new UnreadableError("its channels do not unpack");
    const content = data.subarray(start, end);
    topics.set(viewOf(content).getUint16(0, true), new Texts(content, 4).next());
  }
  if (topics.size === 0) throw new UnreadableError("its channels are not where they should be");
  return topics;
}

/** Unpacks a chunk out of the bytes of its record. Throws an UnreadableError when sizes, checksum or records do not fit. */
export async function unpack(record: Uint8Array, entry: ChunkEntry, unpacker: Unpacker): Promise<Content> {
  const view = viewOf(record);
  if (record.length < Math.max(entry.length, RECORD_HEAD + CHUNK_FIXED) || record[0] !== OPCODE.chunk) throw new UnreadableError("there is no chunk");
  const uncompressed = sizeAt(view, RECORD_HEAD + 16);
  const checksum = view.getUint32(RECORD_HEAD + 24, true);
  if (!standsAt(record, RECORD_HEAD + CHUNK_HEAD, ZSTD) || uncompressed !== entry.uncompressed) throw new UnreadableError("its header does not fit");
  const packed = record.subarray(RECORD_HEAD + CHUNK_FIXED, RECORD_HEAD + CHUNK_FIXED + sizeAt(view, RECORD_HEAD + CHUNK_FIXED - 8));
  const data = await unpacked(packed, uncompressed, unpacker.decompress);
  if (checksum !== 0 && (unpacker.crc32 ?? crc32)(data) !== checksum) throw new UnreadableError("its checksum does not fit");
  return contentOf(data);
}

/** Before a chunk is read. Throws an UnreadableError. */
export function checkSizes(entry: ChunkEntry): void {
  if (Math.max(entry.length, entry.uncompressed) > LARGEST_CHUNK) throw new UnreadableError(`it claims to unpack to ${entry.uncompressed} bytes`);
}

/** Whatever an unpacker throws at a stranger's bytes means the same. */
async function unpacked(packed: Uint8Array, size: number, decompress: Decompress): Promise<Uint8Array> {
  let data: Uint8Array;
  try {
    const frame = frameOf(packed);
    if (frame.contentSize !== size) throw new UnreadableError("its sizes do not fit");
    data = await decompress(packed.subarray(0, frame.length), size);
  } catch (error) {
    if (error instanceof UnreadableError) throw error;
    throw new UnreadableError(`it does not unpack (${error instanceof Error ? error.message : String(error)})`);
  }
  if (data.length !== size) throw new UnreadableError(`it unpacks to ${data.length} bytes of ${size}`);
  return data;
}

function contentOf(data: Uint8Array): Content {
  let count = 0;
  for (const { opcode, start, end } of recordsIn(data)) if (isMessage(opcode, start, end)) count++;
  const content = {
    data, count, channel: new Uint16Array(count), step: new Uint32Array(count), timeNs: new BigUint64Array(count),
    start: new Uint32Array(count), end: new Uint32Array(count),
  };
  const view = viewOf(data);
  let row = 0;
  for (const { opcode, start, end } of recordsIn(data)) {
    if (!isMessage(opcode, start, end)) continue;
    content.channel[row] = view.getUint16(start, true);
    content.step[row] = view.getUint32(start + 2, true);
    content.timeNs[row] = view.getBigUint64(start + 6, true);
    content.start[row] = start + MESSAGE_HEAD;
    content.end[row] = end;
    row++;
  }
  return content;
}

function isMessage(opcode: number, start: number, end: number): boolean {
  return opcode === OPCODE.message && end - start >= MESSAGE_HEAD;
}
