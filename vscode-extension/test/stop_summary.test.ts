import { readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { parseAnswer } from "../shared/answer";
import type { Column, Snapshot } from "../shared/session";
import { announcement, progressOf, runningName, stopPlace, stopSummary } from "../shared/stop_summary";

function golden(name: string): Snapshot {
  const answer = parseAnswer(readFileSync(path.join(import.meta.dirname, `../../tests/golden/snapshots/${name}.json`), "utf8"));
  if (answer.kind !== "Snapshot") throw new Error(answer.kind);
  return answer.value;
}

const states = (...values: number[]): Column => ({ dtype: "|u1", data: Uint8Array.from(values) });

/** A backward through four nodes. */
function backward(...values: number[]): Snapshot {
  const graph = { id: 5, node_count: values.length, names: ["MulBackward0"], name: states(...values.map(() => 0)) };
  return { state: "ready", stop: { in_backward: true, graph: 5, running: values.indexOf(2), node_states: states(...values) }, graph } as unknown as Snapshot;
}

describe("how far backward has come", () => {
  it("counts the running node as reached", () => {
    expect(progressOf(backward(0, 0, 2, 1))).toEqual({ reached: 2, of: 4, share: 0.5 });
  });

  it("is not told where the state of any node is unknown, of another graph, or outside backward", () => {
    expect(progressOf(backward(0, 3, 2, 1))).toBeNull();
    expect(progressOf({ ...backward(0, 1), stop: { ...backward(0, 1).stop, graph: 6 } })).toBeNull();
    expect(progressOf(golden("mlp"))).toBeNull();
  });

  it("names the running op where one is known", () => {
    expect(runningName(backward(0, 2, 1))).toBe("MulBackward0");
    expect(runningName(backward(0, 1, 1))).toBeNull();
  });
});

describe("the line of a stop", () => {
  const own = { ...backward(0, 2, 1).stop, file: "/project/gradwatch (stopped in backward).py", line: 6 };
  const sites = [{ id: 9, file: "/project/model.py", line: 51, function: "forward" }];

  it("is the stopped frame's", () => {
    expect(stopPlace(golden("mlp"))).toMatchObject({ file: "/project/train.py" });
  });

  it("of a condition's stop, which is in no file, is where forward made the node", () => {
    const at = backward(0, 2, 1);
    const of = (...values: number[]): Column => ({ dtype: "<i4", data: new Uint8Array(Int32Array.from(values).buffer) });
    const graph = { ...at.graph!, project_site: of(-1, 9, -1), module: of(-1, 4, -1) };
    const modules = [{ id: 4, root: "model", path: "attn", class_name: "Attention" }];
    expect(stopPlace({ ...at, graph, stop: own, sites, modules })).toEqual({ file: "/project/model.py", line: 51, of: { module: "attn" } });
    expect(stopPlace({ ...at, graph, stop: own, sites: [], modules })).toBeNull();
  });
});

describe("what a stop says", () => {
  it("has totals for the views that have something, and none for the others", () => {
    expect(stopSummary(golden("transformer"), null).totals).toMatchObject({ gradients: "149", graph: "749" });
    expect(stopSummary(golden("no_torch"), null).totals).toEqual({ gradients: "", graph: "", held: "" });
  });

  it("counts trouble, worst first", () => {
    const { trouble } = stopSummary(golden("nan"), null);
    expect(trouble[0]).toMatchObject({ state: "NaN" });
    expect(trouble.every(({ count }) => count > 0)).toBe(true);
  });

  it("is announced with place and trouble in words", () => {
    expect(announcement(golden("nan"), null)).toMatch(/^Paused at train\.py line \d+, \d+ NaN/);
    expect(announcement(golden("transformer"), null)).toBe("Paused at GeluBackward0, no trouble in gradients");
  });

  it("is counted once per snapshot", () => {
    const snapshot = golden("mlp");
    expect(stopSummary(snapshot, null)).toBe(stopSummary(snapshot, null));
  });
});
