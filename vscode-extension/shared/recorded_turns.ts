/** Work that must not run twice at once, because each turn goes on from where the last one ended. */
export class Turns {
  #last: Promise<unknown> = Promise.resolve();

  /** Runs when all that was asked before has ended, well or not. */
  run<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work, work);
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}
