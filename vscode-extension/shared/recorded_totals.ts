/** What a timeline shows of every step, over all parameters and backward calls. */

import { GradientNorms, type GradientNorm } from "./recorded_norms";
import type { SessionReader } from "./recorded_reader";
import type { RecordedCalls, RecordedSteps } from "./recorded_steps";
import type { RecordedStretches } from "./recorded_stretches";
import { Turns } from "./recorded_turns";

/** One entry per position of `RecordedSession.steps`. NaN: not recorded. */
export interface SessionTotals {
  readonly steps: Float64Array;
  /** L2 norm over the finite gradients of all parameters, each as its last backward call left it. */
  readonly gradientNorm: Float64Array;
  /** How many parameters had a NaN or Inf in their gradient. */
  readonly nonfinite: Float64Array;
  /** The most that a backward call of the step found held. */
  readonly heldBytes: Float64Array;
}

interface Found {
  readonly gradientNorm: Float64Array;
  readonly nonfinite: Float64Array;
}

/** Reads on from where it was when more chunks have come. */
export class TotalsReader {
  readonly #turns = new Turns();
  #rest: { readonly last: number; readonly norms: GradientNorms } | null = null;

  constructor(
    private readonly reader: SessionReader,
    private readonly steps: RecordedSteps,
    private readonly calls: RecordedCalls,
    private readonly stretches: RecordedStretches,
  ) {}

  /** The totals up to now. `onProgress` gets the share that is read, 0 to 1. */
  read(onProgress?: (share: number) => void): Promise<SessionTotals> {
    return this.#turns.run(() => this.#readOn(onProgress));
  }

  async #readOn(onProgress?: (share: number) => void): Promise<SessionTotals> {
    const { last, norms } = (this.#rest ??= await this.#findRest());
    await Promise.all([this.calls.advance(), norms.read(onProgress)]);
    const steps = this.steps.numbers();
    const found: Found = { gradientNorm: new Float64Array(steps.length).fill(Number.NaN), nonfinite: new Float64Array(steps.length).fill(Number.NaN) };
    for (const { steps: numbers, gradientNorm, nonfinite } of await this.stretches.read()) {
      for (let row = 0; row < numbers.length; row++) {
        if (nonfinite[row]! >= 0) this.#put(found, numbers[row]!, { norm: gradientNorm[row]!, nonfinite: nonfinite[row]! });
      }
    }
    for (const [step, norm] of norms.found) if (step > last) this.#put(found, step, norm);
    return { steps, ...found, heldBytes: this.calls.heldBytes(this.steps) };
  }

  async #findRest(): Promise<{ last: number; norms: GradientNorms }> {
    const { last, chunk } = await this.stretches.rest("/gradients");
    return { last, norms: new GradientNorms(this.reader, chunk) };
  }

  #put({ gradientNorm, nonfinite }: Found, step: number, found: GradientNorm): void {
    const position = this.steps.position(step);
    if (position < 0 || position >= gradientNorm.length) return;
    gradientNorm[position] = found.norm;
    nonfinite[position] = found.nonfinite;
  }
}
