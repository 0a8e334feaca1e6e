/** One statistic of a gradient at every step of a session: out of `/series`, and behind their end out of `/gradients`. */

import type { CurveReader, GradientCurve } from "./recorded_curve";
import type { GradientSubject } from "./recorded_names";
import type { SessionReader } from "./recorded_reader";
import { seriesColumn, type SeriesColumn } from "./recorded_series";
import type { RecordedSteps } from "./recorded_steps";
import { Turns } from "./recorded_turns";
import type { Curve, CurveStatistic } from "./replay";

/** Where a curve is read. `rest` reads `/gradients` from a chunk on, and keeps what it has read. */
export interface CurvePlaces {
  readonly reader: SessionReader;
  readonly steps: RecordedSteps;
  rest(subject: GradientSubject, chunk: number): CurveReader;
}

interface Beginning {
  readonly last: number;
  readonly chunk: number;
  readonly values: SeriesColumn;
  readonly nonfinite: SeriesColumn;
}

/** Series are read once: what they get later has been read out of `/gradients` by then. */
export class WholeCurve {
  readonly #turns = new Turns();
  #beginning: Beginning | null = null;

  constructor(
    private readonly places: CurvePlaces,
    private readonly subject: GradientSubject,
    private readonly statistic: CurveStatistic,
  ) {}

  /** The curve up to now. `onProgress` gets the share that is read, 0 to 1. */
  read(onProgress?: (share: number) => void): Promise<Curve> {
    return this.#turns.run(() => this.#readOn(onProgress));
  }

  async #readOn(onProgress?: (share: number) => void): Promise<Curve> {
    const beginning = (this.#beginning ??= await this.#readBeginning(onProgress));
    const rest = await this.places.rest(this.subject, beginning.chunk).read(beginning.last < 0 ? onProgress : undefined);
    const steps = this.places.steps.numbers();
    const [values, nonfinite] = [new Float64Array(steps.length).fill(Number.NaN), new Float64Array(steps.length).fill(Number.NaN)];
    this.#putSeries(values, beginning.values, beginning.last);
    this.#putSeries(nonfinite, beginning.nonfinite, beginning.last);
    this.#putRest(values, nonfinite, rest, beginning.last);
    return { steps, values, nonfinite };
  }

  async #readBeginning(onProgress?: (share: number) => void): Promise<Beginning> {
    const { reader } = this.places;
    const none: SeriesColumn = { last: -1, steps: new Float64Array(0), values: new Float64Array(0) };
    if (this.subject.kind !== "parameter") return { last: -1, chunk: 0, values: none, nonfinite: none };
    const [values, nonfinite] = await Promise.all([
      seriesColumn(reader, this.subject.id, this.statistic, onProgress),
      seriesColumn(reader, this.subject.id, "nonfinite"),
    ]);
    const last = Math.min(values.last, nonfinite.last);
    return { last, chunk: last < 0 ? 0 : await reader.firstChunkOf("/gradients", last + 1), values, nonfinite };
  }

  #putSeries(into: Float64Array, column: SeriesColumn, last: number): void {
    for (let i = 0; i < column.steps.length && column.steps[i]! <= last; i++) this.#put(into, column.steps[i]!, column.values[i]!);
  }

  #putRest(values: Float64Array, nonfinite: Float64Array, { steps, columns }: GradientCurve, last: number): void {
    for (let row = 0; row < steps.length; row++) {
      if (steps[row]! <= last) continue;
      this.#put(values, steps[row]!, columns[this.statistic][row]!);
      this.#put(nonfinite, steps[row]!, columns.nan[row]! + columns.inf[row]!);
    }
  }

  #put(into: Float64Array, step: number, value: number): void {
    const position = this.places.steps.position(step);
    if (position >= 0 && position < into.length) into[position] = value;
  }
}
