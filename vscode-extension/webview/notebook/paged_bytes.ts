/** Bytes of a file that came in pieces: kept by page, the least recently used let go first. */

/** Bytes of a page. */
export const PAGE = 256 << 10;

interface Page {
  readonly bytes: Uint8Array;
  /** What of the page is known: from..to, exclusive. */
  from: number;
  to: number;
}

/** Pieces of one file, at most `limit` bytes of them. */
export class PagedBytes {
  /** In the order of their last use. */
  readonly #pages = new Map<number, Page>();
  readonly #most: number;

  constructor(limit: number) {
    this.#most = Math.max(2, Math.floor(limit / PAGE));
  }

  /** Bytes that are kept, pages counted whole. */
  get kept(): number {
    return this.#pages.size * PAGE;
  }

  write(offset: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      const at = offset + done;
      const index = Math.floor(at / PAGE);
      const start = at - index * PAGE;
      const length = Math.min(PAGE - start, bytes.length - done);
      this.#writePage(index, start, bytes.subarray(done, done + length));
      done += length;
    }
  }

  /** A page knows one stretch: a piece that does not touch it takes its place. */
  #writePage(index: number, start: number, part: Uint8Array): void {
    const end = start + part.length;
    const page = this.#used(index) ?? { bytes: new Uint8Array(PAGE), from: start, to: start };
    page.bytes.set(part, start);
    const apart = start > page.to || end < page.from;
    page.from = apart ? start : Math.min(page.from, start);
    page.to = apart ? end : Math.max(page.to, end);
    this.#pages.set(index, page);
    for (const oldest of this.#pages.keys()) {
      if (this.#pages.size <= this.#most) break;
      this.#pages.delete(oldest);
    }
  }

  #used(index: number): Page | undefined {
    const page = this.#pages.get(index);
    if (page) {
      this.#pages.delete(index);
      this.#pages.set(index, page);
    }
    return page;
  }

  /** The bytes, or null where not all of them are here. */
  read(offset: number, length: number): Uint8Array | null {
    if (this.missing(offset, length) !== null) return null;
    const out = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const index = Math.floor((offset + done) / PAGE);
      const start = offset + done - index * PAGE;
      const part = this.#used(index)!.bytes.subarray(start, Math.min(PAGE, start + length - done));
      out.set(part, done);
      done += part.length;
    }
    return out;
  }

  /** The smallest stretch of whole pages around what is missing of a range; null where nothing is. */
  missing(offset: number, length: number): { readonly offset: number; readonly length: number } | null {
    if (length <= 0) return null;
    let first = -1;
    let last = -1;
    for (let index = Math.floor(offset / PAGE); index * PAGE < offset + length; index++) {
      if (this.#knows(index, offset, offset + length)) continue;
      if (first < 0) first = index;
      last = index;
    }
    return first < 0 ? null : { offset: first * PAGE, length: (last - first + 1) * PAGE };
  }

  #knows(index: number, from: number, to: number): boolean {
    const page = this.#pages.get(index);
    const start = Math.max(from - index * PAGE, 0);
    const end = Math.min(to - index * PAGE, PAGE);
    return page !== undefined && page.from <= start && end <= page.to;
  }
}
