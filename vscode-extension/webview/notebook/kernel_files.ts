/** The files of a session whose bytes are in the kernel: what it pushed is kept, what is missing is asked for. */

import type { ReadAt } from "../../shared/mcap_bytes";
import type { SessionSource } from "../../shared/replay";
import type { FromKernel, ToKernel, WidgetFile } from "./messages";
import { PagedBytes } from "./paged_bytes";

/** What the page keeps of each file. */
export const MOST_BYTES = 256 << 20;
/** What one question may ask for; the kernel gives no more. */
const MOST_ASKED = 4 << 20;

interface Waiting {
  readonly offset: number;
  readonly length: number;
  /** Asked of the kernel up to here; -1: not at all. */
  asked: number;
  readonly resolve: (bytes: Uint8Array) => void;
  readonly reject: (error: Error) => void;
}

/** One file. `size` stays unknown until the kernel has sent something. */
class KernelFile implements ReadAt {
  known = -1;
  readonly #bytes = new PagedBytes(MOST_BYTES);
  readonly #waiting = new Set<Waiting>();
  #sized: (() => void)[] = [];

  constructor(
    readonly ask: (offset: number, length: number) => void,
    readonly onWaiting: () => void,
  ) {}

  get waits(): boolean {
    return this.#sized.length > 0 || this.#waiting.size > 0;
  }

  async size(): Promise<number> {
    if (this.known < 0) {
      await new Promise<void>((resolve) => {
        this.#sized.push(resolve);
        this.onWaiting();
      });
    }
    return this.known;
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    const within = Math.max(0, Math.min(length, (await this.size()) - offset));
    const here = this.#bytes.read(offset, within);
    if (here) return here;
    return new Promise((resolve, reject) => {
      const waiting: Waiting = { offset, length: within, asked: -1, resolve, reject };
      this.#waiting.add(waiting);
      this.#askFor(waiting);
      this.onWaiting();
    });
  }

  #askFor(waiting: Waiting): void {
    const missing = this.#bytes.missing(waiting.offset, waiting.length);
    if (missing === null || missing.offset < waiting.asked) return;
    const length = Math.min(missing.length, MOST_ASKED);
    waiting.asked = missing.offset + length;
    this.ask(missing.offset, length);
  }

  /** Whether the file is known further than before. */
  take(offset: number, size: number, bytes: Uint8Array): boolean {
    this.#bytes.write(offset, bytes);
    const grown = size > this.known;
    this.known = Math.max(this.known, size);
    this.#sized.forEach((resolve) => resolve());
    this.#sized = [];
    for (const waiting of this.#waiting) this.#serve(waiting);
    this.onWaiting();
    return grown;
  }

  #serve(waiting: Waiting): void {
    const here = this.#bytes.read(waiting.offset, waiting.length);
    if (!here) return this.#askFor(waiting);
    this.#waiting.delete(waiting);
    waiting.resolve(here);
  }

  /** Nobody waits for what cannot be read. */
  fail(reason: string): void {
    for (const waiting of this.#waiting) waiting.reject(new Error(reason));
    this.#waiting.clear();
    this.onWaiting();
  }

  /** Asks again for everything: what was asked of a kernel that did not hear it. */
  askAgain(): void {
    for (const waiting of this.#waiting) {
      waiting.asked = -1;
      this.#askFor(waiting);
    }
  }
}

/** All files of one widget. */
export class KernelFiles {
  readonly #files: readonly KernelFile[];

  constructor(
    readonly listed: readonly WidgetFile[],
    send: (message: ToKernel) => void,
    onWaiting: () => void,
  ) {
    this.#files = listed.map((_, file) => new KernelFile((offset, length) => send({ type: "read", file, offset, length }), onWaiting));
  }

  /** Whether somebody waits for bytes that are not here. */
  get waits(): boolean {
    return this.#files.some(({ waits }) => waits);
  }

  get sizes(): readonly number[] {
    return this.#files.map(({ known }) => known);
  }

  /** The files to show, or those to compare with. */
  sources(other: boolean): SessionSource[] {
    return this.listed.flatMap(({ name, place, other: is }, file) => (is === other ? [{ name, place, source: this.#files[file]! }] : []));
  }

  /** Whether a file of the session is known further than before. */
  take(message: Extract<FromKernel, { type: "bytes" }>, bytes: Uint8Array): boolean {
    return this.#files[message.file]?.take(message.offset, message.size, bytes) ?? false;
  }

  fail(message: Extract<FromKernel, { type: "failed" }>): void {
    this.#files[message.file]?.fail(message.reason);
  }

  askAgain(): void {
    this.#files.forEach((file) => file.askAgain());
  }
}
