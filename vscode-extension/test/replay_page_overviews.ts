/** Overviews and snapshots of runs that were never recorded, for what the page makes of them. */

import { readFileSync } from "node:fs";
import path from "node:path";
import { parseAnswer } from "../shared/answer";
import type { Overview, SessionFacts } from "../shared/replay";
import type { Snapshot } from "../shared/session";

const SNAPSHOT = goldenSnapshot();

function goldenSnapshot(): Snapshot {
  const answer = parseAnswer(readFileSync(path.join(import.meta.dirname, "../../tests/golden/snapshots/mlp.json"), "utf8"));
  if (answer.kind !== "Snapshot") throw new Error(`mlp.json is a ${answer.kind}`);
  return answer.value;
}

interface Wanted extends Partial<Pick<SessionFacts, "marks" | "variants" | "gaps" | "finished" | "rank">> {
  readonly loss?: number;
  readonly lossSeen?: 0 | 1;
  readonly norm?: number;
  readonly held?: number;
  readonly nonfinite?: readonly number[];
}

/** Steps `first` to `first + count - 1`, all with the same numbers. */
export function overviewOf(count: number, wanted: Wanted, first = 0): Overview {
  const steps = Float64Array.from({ length: count }, (_, at) => first + at);
  const { marks = [], variants = [], gaps = [], finished = true, rank = 0, loss = 2, lossSeen = 1, norm = 0.5, held = 1024, nonfinite = [] } = wanted;
  return {
    facts: {
      name: "run.gradwatch", bytes: 4096, ranks: [{ rank, name: "run.gradwatch", bytes: 4096, finished, failure: null }], rank, run: SNAPSHOT.run, finished,
      finish: null, cost: 0.018, marks, variants, gaps, notices: [], findings: [],
    },
    timeline: {
      steps,
      loss: new Float64Array(count).fill(loss),
      lossSeen: new Uint8Array(count).fill(lossSeen),
      gradientNorm: new Float64Array(count).fill(norm),
      nonfinite: steps.map((step) => (nonfinite.includes(step) ? 3 : 0)),
      heldBytes: new Float64Array(count).fill(held),
    },
  };
}

export const OVERVIEW = overviewOf(20, {});

/** A step of one parameter; `name` is its path. */
export function snapshotAt(step: number, name = "weight"): Snapshot {
  const [parameter] = SNAPSHOT.parameters ?? [];
  return {
    ...SNAPSHOT,
    stop: { ...SNAPSHOT.stop, step, number: step },
    parameters: [{ ...parameter!, id: 1, path: name }],
  };
}
