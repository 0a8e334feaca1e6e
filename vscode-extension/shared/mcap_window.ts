/** Small reads near each other, from few larger ones. */

import type { ReadAt } from "./mcap_bytes";
import { viewOf } from "./mcap_bytes";

const SMALL = 512;
const LARGE = 256 << 10;
/** Records nearer to each other than this are read with what lies between: a read costs more than those bytes. */
const NEAR = 48 << 10;
/** Large windows under way at once. */
const AHEAD = 6;
/** The next large window begins this much before the end of one, so that no head is cut in two. */
const OVERLAP = 128;

interface Ahead {
  readonly start: number;
  readonly data: Promise<Uint8Array>;
}

/** A stretch of the file in memory. Where records lie close together the next stretches are read in advance. */
export class Window {
  bytes: Uint8Array = new Uint8Array(0);
  view = viewOf(this.bytes);
  start = 0;
  #ahead: Ahead[] = [];
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
    while (this.#ahead.length > 0 && this.#ahead[0]!.start + LARGE < offset + length) this.#ahead.shift();
    const next = this.#ahead[0];
    if (next && next.start <= offset) {
      this.#ahead.shift();
      this.#take(next.start, await next.data);
    }
    if (!this.has(offset, length)) {
      this.#ahead = [];
      this.#take(offset, await this.source.read(offset, Math.max(length, near ? LARGE : SMALL)));
    }
    if (near && this.bytes.length >= LARGE) this.#readAhead();
  }

  #take(start: number, bytes: Uint8Array): void {
    this.start = start;
    this.bytes = bytes;
    this.view = viewOf(bytes);
  }

  #readAhead(): void {
    while (this.#ahead.length < AHEAD) {
      const start = (this.#ahead.at(-1)?.start ?? this.start) + LARGE - OVERLAP;
      const data = this.source.read(start, LARGE);
      data.catch(() => undefined);
      this.#ahead.push({ start, data });
    }
  }
}
