/**
 * Finds the chunks of a file that has no summary, by hopping over records: a few bytes a chunk, no payload. Every
 * size that the file claims is held against the file's own before it is believed.
 */

import { CHUNK_FIXED, CHUNK_HEAD, OPCODE, RECORD_HEAD, ZSTD, sizeAt, standsAt, viewOf, type ReadAt } from "./mcap_bytes";
import { ChunkIndex, type ChunkEntry } from "./mcap_index";
import { Window } from "./mcap_window";

/** Bytes that are no records. */
export interface Lost {
  readonly offset: number;
  readonly end: number;
  readonly reason: string;
}

/**
 * How far a file has been gone through. `position` is the end of the last whole record, `lastRecord` its start.
 * Chunks whose channel only their content tells stand in `unplaced`. `ended`: the data section's end was met.
 */
export interface Scan {
  position: number;
  lastRecord: number;
  readonly index: ChunkIndex;
  readonly unplaced: ChunkEntry[];
  readonly lost: Lost[];
  ended: boolean;
}

/** More is not indexed: a chunk takes 48 bytes of memory, and the busiest run makes a tenth of this. */
export const MOST_CHUNKS = 2_000_000;
const MOST_LOST = 10_000;
const SEARCH_BYTES = 1 << 20;
const HEAD = RECORD_HEAD + CHUNK_FIXED;
/** From a chunk's first byte to its compression's name. */
const TO_NAME = RECORD_HEAD + CHUNK_HEAD;

/** A scan that begins at `position`. */
export function newScan(position: number, ended = false): Scan {
  return { position, lastRecord: position, index: new ChunkIndex(), unplaced: [], lost: [], ended };
}

/** Takes `scan` on to the last whole record, or to the end of the data section. */
export async function hop(source: ReadAt, scan: Scan): Promise<void> {
  const size = await source.size();
  const window = new Window(source);
  while (!scan.ended && scan.position + RECORD_HEAD <= size) {
    if (!window.has(scan.position, Math.min(HEAD, size - scan.position))) await window.load(scan.position, HEAD);
    const record = recordAt(window, scan.position, size);
    if (record === null) {
      if (!(await skipToNextChunk(source, scan, size))) return;
    } else if (record.opcode === OPCODE.dataEnd || record.opcode === OPCODE.footer) {
      scan.ended = true;
    } else if (record.opcode === OPCODE.chunk) {
      if (scan.index.total >= MOST_CHUNKS) return tooMany(scan, size);
      await takeChunk(window, scan, record, size);
    } else {
      pass(scan, record);
    }
  }
}

interface RecordPlace {
  readonly opcode: number;
  readonly start: number;
  readonly end: number;
  /** Its content begins as a chunk's does, whatever its opcode. */
  readonly isChunk: boolean;
}

/** Null where none stands, or one that the end of the file cuts. The window has its head. */
function recordAt(window: Window, offset: number, size: number): RecordPlace | null {
  const at = offset - window.start;
  if (at + RECORD_HEAD > window.bytes.length) return null;
  const opcode = window.bytes[at]!;
  const length = sizeAt(window.view, at + 1);
  const isChunk = beginsAsChunk(window.bytes, window.view, at, length);
  const end = offset + RECORD_HEAD + length;
  return end <= size && fits(window, at, opcode, length, isChunk) ? { opcode, start: offset, end, isChunk } : null;
}

function fits(window: Window, at: number, opcode: number, length: number, isChunk: boolean): boolean {
  switch (opcode) {
    case OPCODE.chunk:
      return isChunk;
    case OPCODE.messageIndex:
      return length >= 6 && at + 15 <= window.bytes.length && window.view.getUint32(at + 11, true) === length - 6;
    case OPCODE.dataEnd:
      return length === 4;
    case OPCODE.footer:
      return length === 20;
    default:
      return (opcode >= OPCODE.header && opcode < OPCODE.dataEnd) || opcode >= OPCODE.damagedChunk;
  }
}

function beginsAsChunk(bytes: Uint8Array, view: DataView, at: number, length: number): boolean {
  if (at + HEAD > bytes.length || !standsAt(bytes, at + TO_NAME, ZSTD)) return false;
  return length === CHUNK_FIXED + sizeAt(view, at + HEAD - 8);
}

/** Indexes a chunk, and goes behind its message index. */
async function takeChunk(window: Window, scan: Scan, record: RecordPlace, size: number): Promise<void> {
  const at = record.start - window.start + RECORD_HEAD;
  const startNs = window.view.getBigUint64(at, true);
  const endNs = window.view.getBigUint64(at + 8, true);
  const uncompressed = sizeAt(window.view, at + 16);
  window.passed(record.start);
  const behind = Math.min(HEAD, size - record.end);
  if (behind > 0 && !window.has(record.end, behind)) await window.load(record.end, behind);
  const found = messageIndex(window, record.end, size);
  const entry: ChunkEntry = { offset: record.start, length: record.end - record.start, startNs, endNs, indexLength: (found?.end ?? record.end) - record.end, uncompressed };
  scan.lastRecord = found ? record.end : record.start;
  scan.position = found?.end ?? record.end;
  if (found) scan.index.add(found.channel, entry);
  else scan.unplaced.push(entry);
}

function messageIndex(window: Window, offset: number, size: number): { channel: number; end: number } | null {
  if (offset + RECORD_HEAD + 6 > size) return null;
  const record = recordAt(window, offset, size);
  if (record === null || record.opcode !== OPCODE.messageIndex) return null;
  return { channel: window.view.getUint16(offset - window.start + RECORD_HEAD, true), end: record.end };
}

/** Steps over a whole record that is no chunk. */
function pass(scan: Scan, record: RecordPlace): void {
  scan.lastRecord = record.start;
  scan.position = record.end;
  if (record.opcode === OPCODE.damagedChunk) lose(scan, record.start, record.end, "it was damaged when the file was repaired");
  else if (record.isChunk) lose(scan, record.start, record.end, "a chunk's first byte is damaged");
}

function lose(scan: Scan, offset: number, end: number, reason: string): void {
  if (scan.lost.length < MOST_LOST) scan.lost.push({ offset, end, reason });
  else scan.lost[MOST_LOST - 1] = { ...scan.lost[MOST_LOST - 1]!, end, reason: "there are too many broken places to list" };
}

function tooMany(scan: Scan, size: number): void {
  lose(scan, scan.position, size, `the file has more than ${MOST_CHUNKS} chunks`);
  scan.position = size;
  scan.ended = true;
}

/** Leaves out what is no record, up to the next chunk; false when none follows: then it is the torn tail. */
async function skipToNextChunk(source: ReadAt, scan: Scan, size: number): Promise<boolean> {
  const found = await nextChunk(source, scan.position + 1, size);
  if (found === null) return false;
  // Less than a record's head can only follow a record whose own length is wrong.
  const start = found - scan.position >= RECORD_HEAD ? scan.position : scan.lastRecord;
  lose(scan, start, found, "what stands here is no record");
  scan.position = found;
  return true;
}

/** Offset of the next thing after `start` that looks like a whole chunk in every respect. */
async function nextChunk(source: ReadAt, start: number, size: number): Promise<number | null> {
  for (let block = start; block + HEAD <= size; block += SEARCH_BYTES) {
    const bytes = await source.read(block, SEARCH_BYTES + HEAD - 1);
    const view = viewOf(bytes);
    for (let at = 0; at + HEAD <= bytes.length; at++) {
      at = bytes.indexOf(OPCODE.chunk, at);
      if (at < 0 || at + HEAD > bytes.length) break;
      const length = sizeAt(view, at + 1);
      if (block + at + RECORD_HEAD + length <= size && beginsAsChunk(bytes, view, at, length)) return block + at;
    }
  }
  return null;
}
