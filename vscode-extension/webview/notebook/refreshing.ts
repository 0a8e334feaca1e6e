/** Lets a growing session be read again at most every so often, and never twice at once. */

export const SHORTEST_MS = 100;

/** Calls `refresh` soon after `grown()`, once for all that grew meanwhile. */
export class Refreshing {
  #timer: ReturnType<typeof setTimeout> | null = null;
  #running = false;
  #again = false;
  #ended = false;

  constructor(private readonly refresh: () => Promise<void>) {}

  grown(): void {
    if (this.#running) this.#again = true;
    else if (!this.#ended) this.#timer ??= setTimeout(() => void this.#run(), SHORTEST_MS);
  }

  end(): void {
    this.#ended = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  async #run(): Promise<void> {
    this.#timer = null;
    this.#running = true;
    // A file that cannot be read now may be readable when it has grown; the page keeps what it has.
    await this.refresh().catch(() => undefined);
    this.#running = false;
    if (!this.#again) return;
    this.#again = false;
    this.grown();
  }
}
