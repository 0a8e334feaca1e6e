/** How long the parts of each stop took, from the `stopped` event to the painted panel: for the bench. */

import type { PaintParts } from "../shared/messages";
import type { SnapshotText } from "./stop";

const KEPT = 200;

/** `paint` is null until the panel has drawn the answer. */
export interface Measurement {
  readonly session: string;
  readonly stop: number;
  readonly stoppedMs: number;
  readonly evaluateMs: number;
  readonly characters: number;
  paint: PaintParts | null;
  /** From sending the answer to the panel until it says that it has painted. */
  panelMs: number;
}

export class Measurements {
  readonly #list: Measurement[] = [];
  #sentMs = 0;

  get list(): readonly Measurement[] {
    return this.#list;
  }

  answered(session: string, { text, value, stoppedMs, evaluateMs }: SnapshotText): void {
    this.#sentMs = performance.now();
    this.#list.push({ session, stop: value.stop.number, stoppedMs, evaluateMs, characters: text.length, paint: null, panelMs: -1 });
    if (this.#list.length > KEPT) this.#list.shift();
  }

  painted(session: string, stop: number, paint: PaintParts): void {
    const measurement = [...this.#list].reverse().find((item) => item.session === session && item.stop === stop);
    if (measurement === undefined || measurement.paint !== null) return;
    measurement.paint = paint;
    measurement.panelMs = performance.now() - this.#sentMs;
  }
}
