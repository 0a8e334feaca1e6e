/** Bytes of a stranger's file: where they come from, how numbers are read from them, and what is not believed. */

/** Read-only access by offset: over a file, a Blob, HTTP ranges or a kernel. `read` gives fewer bytes where the end is. */
export interface ReadAt {
  size(): Promise<number>;
  read(offset: number, length: number): Promise<Uint8Array>;
}

/** Unpacks one zstd frame that says it holds `size` bytes. May throw at whatever is wrong; the length is checked. */
export type Decompress = (bytes: Uint8Array, size: number) => Uint8Array | Promise<Uint8Array>;

/** What unpacks chunks in this host. `crc32` is the checksum of zlib, where the host has a fast one. */
export interface Unpacker {
  readonly decompress: Decompress;
  readonly crc32?: (bytes: Uint8Array) => number;
}

/** Bytes that are not what they should be; the message says in what way. */
export class UnreadableError extends Error {
  override readonly name = "UnreadableError";
}

export const MAGIC = Uint8Array.of(0x89, 0x4d, 0x43, 0x41, 0x50, 0x30, 0x0d, 0x0a);

export const OPCODE = {
  header: 0x01,
  footer: 0x02,
  schema: 0x03,
  channel: 0x04,
  message: 0x05,
  chunk: 0x06,
  messageIndex: 0x07,
  chunkIndex: 0x08,
  metadata: 0x0c,
  dataEnd: 0x0f,
  /** Private: `gradwatch repair` puts it over a chunk that does not unpack. */
  damagedChunk: 0x80,
} as const;

/** Opcode and length. */
export const RECORD_HEAD = 9;
/** Times, unpacked size and checksum, before the name of the compression. */
export const CHUNK_HEAD = 28;
/** Channel, step and times. */
export const MESSAGE_HEAD = 22;
/** How a chunk names its compression: its length, then "zstd". Others are not read. */
export const ZSTD = Uint8Array.of(4, 0, 0, 0, 0x7a, 0x73, 0x74, 0x64);
/** From a chunk's content to its packed bytes. */
export const CHUNK_FIXED = CHUNK_HEAD + ZSTD.length + 8;

/** Views `bytes` without a copy. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** A size or an offset: exact to 2^53, and above it still larger than any file. */
export function sizeAt(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
}

/** Whether `part` stands in `bytes` at `at`. */
export function standsAt(bytes: Uint8Array, at: number, part: Uint8Array): boolean {
  for (let i = 0; i < part.length; i++) if (bytes[at + i] !== part[i]) return false;
  return true;
}

const UTF8 = new TextDecoder("utf-8", { fatal: true });

/** Throws an UnreadableError at what is no UTF-8. */
export function textOf(bytes: Uint8Array): string {
  try {
    return UTF8.decode(bytes);
  } catch {
    throw new UnreadableError("a text in it is not UTF-8");
  }
}

/** Eight tables of 256: eight bytes a turn. */
const CRC_TABLES = crcTables();

function crcTables(): Uint32Array {
  const tables = new Uint32Array(8 * 256);
  for (let i = 0; i < 256; i++) {
    let value = i;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
    tables[i] = value;
  }
  for (let i = 256; i < tables.length; i++) tables[i] = (tables[i - 256]! >>> 8) ^ tables[tables[i - 256]! & 0xff]!;
  return tables;
}

/** The checksum of zlib and MCAP; `before` is that of the bytes in front. */
export function crc32(bytes: Uint8Array, before = 0): number {
  const T = CRC_TABLES;
  const view = viewOf(bytes);
  let crc = ~before;
  let at = 0;
  for (; at + 8 <= bytes.length; at += 8) {
    const low = crc ^ view.getInt32(at, true);
    const high = view.getInt32(at + 4, true);
    crc =
      T[1792 + (low & 0xff)]! ^ T[1536 + ((low >>> 8) & 0xff)]! ^ T[1280 + ((low >>> 16) & 0xff)]! ^ T[1024 + (low >>> 24)]! ^
      T[768 + (high & 0xff)]! ^ T[512 + ((high >>> 8) & 0xff)]! ^ T[256 + ((high >>> 16) & 0xff)]! ^ T[high >>> 24]!;
  }
  for (; at < bytes.length; at++) crc = T[(crc ^ bytes[at]!) & 0xff]! ^ (crc >>> 8);
  return ~crc >>> 0;
}
