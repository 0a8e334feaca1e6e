/** The norm over all parameters of each step, out of `/gradients`: for the steps that no Totals record holds. */

import { UnreadableError } from "./mcap_bytes";
import type { MessagePack } from "./recorded_msgpack";
import { eachMessage, placesIn, valueAt } from "./recorded_rows";
import { LATE_STEPS, type SessionReader } from "./recorded_reader";

/** What one step's gradients come to: L2 norm over what is finite, and how many parameters have NaN or Inf. */
export interface GradientNorm {
  readonly norm: number;
  readonly nonfinite: number;
}

interface Row {
  readonly backward: number;
  readonly norm: number;
  readonly nonfinite: number;
}

/** Goes through the chunks once, and on from there when more have come. */
export class GradientNorms {
  readonly found = new Map<number, GradientNorm>();
  /** Steps that more backward calls may still belong to, by parameter. */
  readonly #open = new Map<number, Map<number, Row>>();
  #next: number;
  #last = -1;

  /** Reads from the `first`th chunk on. */
  constructor(
    private readonly reader: SessionReader,
    first: number,
  ) {
    this.#next = first;
  }

  /** Not to be called again before it is done. `onProgress` gets the share that is read, 0 to 1. */
  async read(onProgress?: (share: number) => void): Promise<void> {
    const first = this.#next;
    const end = this.reader.chunks("/gradients");
    let done = 0;
    for await (const unpacked of this.reader.contentsFrom("/gradients", first, end)) {
      eachMessage(this.reader, "/gradients", unpacked, (view, message) => this.#take(view, message));
      this.#close(this.#last - LATE_STEPS);
      if (++done % 64 === 0) onProgress?.(done / (end - first));
    }
    this.#next = Math.max(first, end);
    for (const [step, rows] of this.#open) this.found.set(step, normOf(rows));
  }

  #take(view: DataView, from: MessagePack): void {
    const { kind, stop, step, backward, subjects, columns } = placesIn(from);
    if (kind !== "parameter" || stop >= 0) return;
    if (subjects === null || subjects.dtype !== "<u4") throw new UnreadableError("it lacks the field subjects");
    let rows = this.#open.get(step);
    if (!rows) this.#open.set(step, (rows = new Map()));
    const [l2, nan, inf] = [columns.get("l2"), columns.get("nan"), columns.get("inf")];
    for (let row = 0; row < subjects.bytes >> 2; row++) {
      const id = view.getUint32(subjects.at + row * 4, true);
      if ((rows.get(id)?.backward ?? -1) > backward) continue;
      rows.set(id, { backward, norm: valueAt(view, l2, row), nonfinite: valueAt(view, nan, row) + valueAt(view, inf, row) });
    }
    this.#last = Math.max(this.#last, step);
  }

  #close(last: number): void {
    for (const [step, rows] of this.#open) {
      if (step >= last) continue;
      this.found.set(step, normOf(rows));
      this.#open.delete(step);
    }
  }
}

function normOf(rows: ReadonlyMap<number, Row>): GradientNorm {
  let [largest, nonfinite] = [0, 0];
  for (const row of rows.values()) {
    if (row.norm > largest) largest = row.norm;
    if (row.nonfinite > 0) nonfinite++;
  }
  return { norm: largest === 0 ? 0 : largest * scaledNorm(rows, largest), nonfinite };
}

/** Scaled, for squares pass the largest number before norms do. */
function scaledNorm(rows: ReadonlyMap<number, Row>, largest: number): number {
  let sum = 0;
  for (const { norm } of rows.values()) if (Number.isFinite(norm)) sum += (norm / largest) ** 2;
  return Math.sqrt(sum);
}
