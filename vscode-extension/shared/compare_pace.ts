/** Long work in short turns: whoever runs next to it gets the thread in between. */

/** What a turn takes at most, besides its last piece of work. */
const TURN_MS = 12;

export class Pace {
  #began = Date.now();

  /** Lets others run where this turn is over. */
  async rest(): Promise<void> {
    if (Date.now() - this.#began < TURN_MS) return;
    await new Promise<void>((resume) => setTimeout(resume, 0));
    this.#began = Date.now();
  }
}
