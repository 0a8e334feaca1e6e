/** Questions that come faster than they can be answered, as while a playhead is dragged: only the newest counts. */

/** Why a question was not answered: a newer one of its kind came while it waited. Not to be shown. */
export const SUPERSEDED = "superseded";

interface Waiting {
  readonly start: () => void;
  readonly drop: (reason: Error) => void;
}

/** Does one thing at a time; of those that wait, the newest. */
export class Latest {
  #busy = false;
  #waiting: Waiting | null = null;

  /**
   * Rejects with SUPERSEDED where a newer call came before this one began. Work that takes long calls `goOn` now and
   * then, which throws the same.
   */
  run<T>(work: (goOn: () => void) => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const start = (): void => {
        this.#busy = true;
        work(() => this.#goOn()).then(resolve, reject).finally(() => this.#next());
      };
      if (!this.#busy) return start();
      this.#waiting?.drop(new Error(SUPERSEDED));
      this.#waiting = { start, drop: reject };
    });
  }

  #goOn(): void {
    if (this.#waiting) throw new Error(SUPERSEDED);
  }

  #next(): void {
    this.#busy = false;
    const next = this.#waiting;
    this.#waiting = null;
    next?.start();
  }
}
