/** Says that something is awaited, once it is awaited for longer than a moment. */

export const MOMENT_MS = 500;

/** Calls `say` with true when `update(true)` has stood for MOMENT_MS, and with false when it ends. */
export class BusySign {
  #timer: ReturnType<typeof setTimeout> | null = null;
  #shown = false;

  constructor(private readonly say: (waits: boolean) => void) {}

  update(waits: boolean): void {
    if (waits) this.#timer ??= setTimeout(() => this.#show(true), MOMENT_MS);
    else this.end();
  }

  end(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#shown) this.#show(false);
  }

  #show(waits: boolean): void {
    this.#shown = waits;
    this.say(waits);
  }
}
