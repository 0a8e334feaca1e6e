/** The end of a finished file: its chunk index, and its channels. */

import { MAGIC, OPCODE, RECORD_HEAD, UnreadableError, crc32, sizeAt, standsAt, viewOf, type ReadAt } from "./mcap_bytes";
import { newScan, MOST_CHUNKS, type Scan } from "./mcap_scan";

const FOOTER_LENGTH = RECORD_HEAD + 20;
/** A summary takes 100 bytes a chunk; a larger one is not read, the file is hopped through. */
const LARGEST_SUMMARY = 256 << 20;

/** A record within `data`: its opcode, and where its content begins and ends. */
export interface Place {
  readonly opcode: number;
  readonly start: number;
  readonly end: number;
}

/** Every record in `data`. Throws an UnreadableError at one that does not fit. */
export function* recordsIn(data: Uint8Array): Generator<Place> {
  const view = viewOf(data);
  for (let at = 0; at < data.length; ) {
    if (at + RECORD_HEAD > data.length) throw new UnreadableError(`a record at byte ${at} is cut`);
    const start = at + RECORD_HEAD;
    const length = sizeAt(view, at + 1);
    if (start + length > data.length) throw new UnreadableError(`a record at byte ${at} claims ${length} bytes`);
    yield { opcode: data[at]!, start, end: (at = start + length) };
  }
}

/** Null when there is no footer, or its checksum or contents do not fit: then the file is hopped through. */
export async function readSummary(source: ReadAt): Promise<{ scan: Scan; summary: Uint8Array } | null> {
  const size = await source.size();
  if (size <= 64) return null;
  const end = await source.read(size - FOOTER_LENGTH - MAGIC.length, FOOTER_LENGTH + MAGIC.length);
  const view = viewOf(end);
  if (!standsAt(end, FOOTER_LENGTH, MAGIC) || end[0] !== OPCODE.footer || sizeAt(view, 1) !== 20) return null;
  const start = sizeAt(view, RECORD_HEAD);
  const length = size - MAGIC.length - FOOTER_LENGTH - start;
  if (start < MAGIC.length || length <= 0 || length > LARGEST_SUMMARY) return null;
  const summary = await source.read(start, length);
  const crc = view.getUint32(RECORD_HEAD + 16, true);
  if (crc !== 0 && crc32(end.subarray(0, FOOTER_LENGTH - 4), crc32(summary)) !== crc) return null;
  const scan = summaryScan(summary, start - RECORD_HEAD - 4, size);
  return scan && { scan, summary };
}

function summaryScan(summary: Uint8Array, dataEnd: number, size: number): Scan | null {
  const scan = newScan(dataEnd, true);
  const view = viewOf(summary);
  try {
    for (const { opcode, start, end } of recordsIn(summary)) {
      if (opcode !== OPCODE.chunkIndex) continue;
      if (scan.index.total >= MOST_CHUNKS) return null;
      takeIndexed(scan, new DataView(view.buffer, view.byteOffset + start, end - start), size);
    }
  } catch (error) {
    if (error instanceof RangeError || error instanceof UnreadableError) return null;
    throw error;
  }
  return scan;
}

/** Throws a RangeError where the record is too short, or points behind the end of the file. */
function takeIndexed(scan: Scan, view: DataView, size: number): void {
  const mapLength = view.getUint32(32, true);
  const behind = 36 + mapLength;
  const nameLength = view.getUint32(behind + 8, true);
  const entry = {
    offset: sizeAt(view, 16),
    length: sizeAt(view, 24),
    startNs: view.getBigUint64(0, true),
    endNs: view.getBigUint64(8, true),
    indexLength: sizeAt(view, behind),
    uncompressed: sizeAt(view, behind + 20 + nameLength),
  };
  if (entry.offset + entry.length + entry.indexLength > size) throw new RangeError(`A chunk at byte ${entry.offset} lies behind the end of the file.`);
  if (mapLength < 10) scan.unplaced.push(entry);
  for (let at = 0; at + 10 <= mapLength; at += 10) scan.index.add(view.getUint16(36 + at, true), entry);
}
