/** Small reads near each other, from few larger ones. */

import type { ReadAt } from "./mcap_bytes";
import { viewOf } from "./mcap_bytes";

const SMALL = 512;
const LARGE = 256 << 10;
/** Records nearer to each other than this are read with what lies between: a read costs more than those bytes. */
const NEAR = 48 << 10;
/** The next large window begins this much before the end of one, so that no head is cut in two. */
const OVERLAP = 128;

interface Ahead {
  readonly start: number;
  readonly data: Promise<Uint8Array>;
}

/** A stretch of the file in memory. Where records lie close together the next stretch is read in advance. */
export class Window {
  bytes: Uint8Array = new Uint8Array(0);
  view = viewOf(this.bytes);
  start = 0;
  #ahead: Ahead | null = null;
  #asked = -1;
  #distance = NEAR;

  constructor(private readonly source: ReadAt) {}

  has(offset: number, length: number): boolean {
    return offset >= this.start && offset + length <= this.start + this.bytes.length;
  }

  /** Says that a chunk begins here: how far chunks are apart decides how much is read. */
  passed(offset: number): void {
    if (this.#asked >= 0) this.#distance += (offset - this.#asked - this.#distance) / 8;
    this.#asked = offset;
  }

  /** Brings `length` bytes from `offset` in; fewer where the file ends. */
  async load(offset: number, length: number): Promise<void> {
    const near = this.#distance < NEAR;
    const ahead = this.#ahead;
    this.#ahead = null;
    if (ahead !== null && offset >= ahead.start && offset + length <= ahead.start + LARGE) this.#take(ahead.start, await ahead.data);
    if (!this.has(offset, length)) this.#take(offset, await this.source.read(offset, Math.max(length, near ? LARGE : SMALL)));
    if (near && this.bytes.length >= LARGE) this.#readAhead(this.start + this.bytes.length - OVERLAP);
  }

  #take(start: number, bytes: Uint8Array): void {
    this.start = start;
    this.bytes = bytes;
    this.view = viewOf(bytes);
  }

  #readAhead(start: number): void {
    const data = this.source.read(start, LARGE);
    data.catch(() => undefined);
    this.#ahead = { start, data };
  }
}
