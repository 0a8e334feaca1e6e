import { readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { parseAnswer } from "../shared/answer";
import { GradientHistory } from "../shared/gradient_history";
import { gradientModel } from "../shared/gradient_model";
import { parametersBelow } from "../shared/gradient_tree";
import type { RecentNorms } from "../shared/replay";
import type { Snapshot } from "../shared/session";

function transformer(): Snapshot {
  const answer = parseAnswer(readFileSync(path.join(import.meta.dirname, "../../tests/golden/snapshots/transformer.json"), "utf8"));
  if (answer.kind !== "Snapshot") throw new Error(`transformer.json is a ${answer.kind}`);
  return answer.value;
}

const model = gradientModel(transformer(), null);
const ids = model.rows.map(({ parameter }) => parameter.id);
const root = model.tree.find(({ kind }) => kind === "root")!;

/** Every parameter with the same norm in a step. */
function history(norms: readonly number[], parameters: readonly number[] = ids): GradientHistory {
  const recent: RecentNorms = {
    steps: Float64Array.from(norms, (_, at) => at),
    parameters: Uint32Array.from(parameters),
    norms: Float32Array.from(parameters.flatMap(() => norms)),
  };
  return new GradientHistory(recent);
}

describe("norms of the last steps", () => {
  it("of a parameter are its own", () => {
    const [first] = parametersBelow(root);
    expect(Array.from(history([1, 2, 4]).norms(first!))).toEqual([1, 2, 4]);
  });

  it("of a module are those of all below it together", () => {
    const count = parametersBelow(root).length;
    expect(history([3]).norms(root)[0]).toBeCloseTo(3 * Math.sqrt(count), 6);
  });

  it("leave out what a step has not, and are unknown where it has nothing", () => {
    const norms = history([1, Number.NaN]).norms(root);
    expect([Number.isNaN(norms[0]), Number.isNaN(norms[1])]).toEqual([false, true]);
  });

  it("are none for what the session does not know", () => {
    expect(history([1, 2], []).norms(root).length).toBe(0);
  });
});

describe("the band of the flow chart", () => {
  const [point] = model.flow.points;

  it("spans the 10th to the 90th percentile", () => {
    const [low, high] = history(Array.from({ length: 11 }, (_, at) => at + 1)).band(point!)!;
    expect(high / low).toBeCloseTo(10 / 2, 4);
  });

  it("is not drawn of fewer than five steps", () => {
    expect([history([1, 2, 3, 4]).band(point!), history([1, 2, 3, 4, 5]).band(point!) !== null]).toEqual([null, true]);
  });
});
