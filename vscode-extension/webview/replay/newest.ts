/** Asks for the newest of what is wanted: one question at a time, and those that were overtaken are never asked. */

/** What became of a question while it was answered: something newer is wanted, or nothing of it any more. */
export type Fate = "wanted" | "overtaken" | "forgotten";

export class Newest<Wanted, Answer> {
  #next: { readonly wanted: Wanted } | null = null;
  #asked: Wanted | null = null;

  /** `settle` gets each answer that was asked for, and what has become of the question by then. */
  constructor(
    private readonly ask: (wanted: Wanted) => Promise<Answer>,
    private readonly settle: (wanted: Wanted, answer: Answer | Error, fate: Fate) => void,
  ) {}

  want(wanted: Wanted): void {
    this.#next = { wanted };
    this.#go();
  }

  /** What was wanted and not asked is forgotten; so is an answer on its way. */
  forget(): void {
    this.#next = null;
    this.#asked = null;
  }

  #running = false;

  #go(): void {
    if (this.#running || this.#next === null) return;
    const { wanted } = this.#next;
    this.#next = null;
    this.#asked = wanted;
    this.#running = true;
    this.ask(wanted)
      .catch((error: unknown) => (error instanceof Error ? error : new Error(String(error))))
      .then((answer) => {
        this.#running = false;
        this.settle(wanted, answer, this.#asked !== wanted ? "forgotten" : this.#next !== null ? "overtaken" : "wanted");
        this.#go();
      });
  }
}
