import { describe, expect, it } from "vitest";
import { earlierOf } from "../shared/gradient_changes";
import { gradientRows, type GradientRow } from "../shared/gradient_rows";
import { worse } from "../shared/gradient_state";
import { ratioOf, summaryOf } from "../shared/gradient_summary";
import type { Snapshot } from "../shared/session";
import { column, snapshotOf, stop, tensor, type Told } from "./gradient_snapshot";

const PLAIN: readonly Told[] = ["a", "b", "c", "d"].map((path) => ({ path, shape: [100], l2: 1e-2 }));

function rowsOf(told: readonly Told[], previous: Snapshot | null = null): GradientRow[] {
  return gradientRows(snapshotOf(told), earlierOf(previous));
}

/** The state of one gradient beside four that are in order. */
function stateOf(one: Omit<Told, "path">): string {
  return rowsOf([...PLAIN, { path: "x", shape: [100], ...one }])[4]!.state;
}

describe("the state of a gradient", () => {
  it("is finite when its size is like the others'", () => expect(stateOf({ l2: 2e-2 })).toBe("finite"));
  it("is zero when every value is 0", () => expect(stateOf({ l2: 0 })).toBe("zero"));
  it("is NaN before Inf", () => expect(stateOf({ nan: 1, inf: 5 })).toBe("NaN"));
  it("is Inf with Inf alone", () => expect(stateOf({ inf: 1 })).toBe("Inf"));
  it("is NaN where no value is finite", () => expect(stateOf({ nan: 100, l2: 0 })).toBe("NaN"));
  it("is vanishing far below the median", () => expect(stateOf({ l2: 0.9e-6 })).toBe("vanishing"));
  it("is finite just above that limit", () => expect(stateOf({ l2: 1.1e-6 })).toBe("finite"));
  it("is exploding far above the median", () => expect(stateOf({ l2: 10.1 })).toBe("exploding"));
  it("is not exploding beside gradients that vanish, nor vanishing beside gradients that explode", () => {
    const small = PLAIN.map((one) => ({ ...one, l2: 1e-6 }));
    expect(rowsOf([...small, { path: "x", shape: [100], l2: 0.5 }])[4]!.state).toBe("finite");
    const large = PLAIN.map((one) => ({ ...one, l2: 1e4 }));
    expect(rowsOf([...large, { path: "x", shape: [100], l2: 0.5 }])[4]!.state).toBe("finite");
  });
  it("is stale by steps", () => expect(stateOf({ l2: 1e-2, stale: 3 })).toBe("stale"));
  it("is vanishing before stale", () => expect(stateOf({ l2: 1e-7, stale: 3 })).toBe("vanishing"));
  it("is frozen without requires_grad", () => expect(stateOf({ state: "frozen" })).toBe("frozen"));
  it("is pending while backward has yet to reach it", () => expect(stateOf({ pending: true })).toBe("pending"));
  it("is pending, not None, where the running backward will write it", () => {
    expect(stateOf({ state: "None", pending: true })).toBe("pending");
  });
  it("keeps a NaN that stood there before the running backward", () => expect(stateOf({ nan: 1, pending: true })).toBe("NaN"));

  it("is judged by its own norm where there is nothing to compare with", () => {
    expect(rowsOf([{ path: "x", shape: [1], l2: 1e3 }])[0]!.state).toBe("finite");
    expect(rowsOf([{ path: "x", shape: [1], l2: 1.1e3 }])[0]!.state).toBe("exploding");
    expect(rowsOf([{ path: "x", shape: [1], l2: 0.9e-8 }])[0]!.state).toBe("vanishing");
  });

  it("does not compare two models with one another", () => {
    const small = PLAIN.map((one) => ({ ...one, root: "critic", l2: 1e-7 }));
    expect(rowsOf([...PLAIN, ...small]).map((row) => row.state)).toEqual(Array.from({ length: 8 }, () => "finite"));
  });

  it("of an empty gradient is not zero", () => expect(stateOf({ shape: [0], l2: 0 })).toBe("finite"));
});

describe("what was not read", () => {
  it("is unread without numbers, never 0", () => {
    const row = rowsOf([{ path: "x", state: "unread" }])[0]!;
    expect([row.state, row.statistics, row.trouble]).toEqual(["unread", null, false]);
  });

  it("is unread where the answer has no states at all", () => {
    const rows = gradientRows(snapshotOf(PLAIN, { states: null, gradients: [] }), earlierOf(null));
    expect(rows.map((row) => row.state)).toEqual(["unread", "unread", "unread", "unread"]);
  });

  it("is unread where the state says present but the statistics did not come", () => {
    expect(gradientRows(snapshotOf(PLAIN, { gradients: [] }), earlierOf(null))[0]!.state).toBe("unread");
  });

  it("leaves a norm that no finite value has unknown", () => {
    expect(rowsOf([{ path: "x", shape: [2], nan: 2, l2: 0 }])[0]!.statistics!.norm).toBeNaN();
  });
});

describe("trouble", () => {
  it("is a None beside gradients", () => {
    expect(rowsOf([...PLAIN, { path: "x", state: "None" }])[4]!.trouble).toBe(true);
  });

  it("is not a model before its first backward", () => {
    const rows = rowsOf([{ path: "a", state: "None" }, { path: "b", state: "None" }]);
    expect(rows.map((row) => [row.state, row.trouble])).toEqual([["None", false], ["None", false]]);
  });

  it("is not a model of zeros after zero_grad", () => {
    expect(rowsOf(PLAIN.map((one) => ({ ...one, l2: 0 }))).some((row) => row.trouble)).toBe(false);
  });
});

describe("what changed", () => {
  it("has a ratio to the previous stop", () => {
    const row = rowsOf([{ path: "x", l2: 3, previous: 2, changed: true }])[0]!;
    expect([row.changed, ratioOf(row)]).toEqual([true, 1.5]);
  });

  it("has no ratio where it did not change, or nothing was there", () => {
    const [same, fresh] = rowsOf([{ path: "x", l2: 3, previous: 3 }, { path: "y", l2: 3, changed: true }]);
    expect([ratioOf(same!), ratioOf(fresh!)]).toEqual([Number.NaN, Number.NaN]);
  });

  it("shows a pending gradient with the values of the previous stop, found by name", () => {
    const before = snapshotOf([{ path: "other" }, { path: "x", l2: 7 }]);
    const row = rowsOf([{ path: "x", state: "None", pending: true }], before)[0]!;
    expect([row.before, row.statistics?.norm]).toEqual([true, 7]);
  });

  it("does not take the values of another shape for earlier ones", () => {
    const before = snapshotOf([{ path: "x", l2: 7, shape: [8] }]);
    expect(rowsOf([{ path: "x", state: "None", pending: true }], before)[0]!.statistics).toBeNull();
  });

  it("does not show values from before for a None that nothing will write", () => {
    expect(rowsOf([{ path: "x", state: "None" }], snapshotOf([{ path: "x", l2: 7 }]))[0]!.statistics).toBeNull();
  });
});

describe("names", () => {
  it("stand under the variable", () => expect(rowsOf([{ path: "l.weight" }])[0]!.name).toBe("model.l.weight"));

  it("of a leaf are the expression that reaches it", () => {
    const snapshot = snapshotOf([{ path: "", leaf: true }], { variables: [tensor("xs[0]", { parameter: 0 })] });
    expect(gradientRows(snapshot, earlierOf(null))[0]!.name).toBe("xs[0]");
  });
});

describe("the path of a NaN", () => {
  // loss 3 -> mul 2 -> (leaf 0, leaf 1); mul has a NaN, leaf 0 has been written, leaf 1 waits.
  const graph = {
    id: 0, digest: "d", names: ["n"], node_count: 4, name: column("<i4", [0, 0, 0, 0]), module: column("<i4", [-1, -1, -1, -1]),
    site: column("<i4", []), project_site: column("<i4", []), parameter: column("<i4", [0, 1, -1, -1]), in_backward: column("|u1", []),
    roots: [3], edge_count: 3, edge_source: column("<u4", [3, 2, 2]), edge_slot: column("<u4", [0, 0, 1]),
    edge_target: column("<u4", [2, 0, 1]), edge_input_nr: column("<u4", [0, 0, 0]),
  };
  const nodes = { step: -1, backward: -1, subject_kind: "node" as const, subjects: column("<u4", [2]), columns: { nan: column("<u8", [1]), inf: column("<u8", [0]) } };
  const told: readonly Told[] = [{ path: "a" }, { path: "b", state: "None", pending: true }];
  const base = snapshotOf(told);
  const within = { graph, stop: stop({ in_backward: true, node_states: column("|u1", [1, 0, 2, 1]) }) };

  it("marks parameters that are still to be written from it", () => {
    const rows = gradientRows({ ...base, ...within, gradients: [...base.gradients!, nodes] }, earlierOf(null));
    expect(rows.map((row) => row.state)).toEqual(["finite", "on path"]);
  });

  it("is nowhere while all is finite", () => {
    expect(gradientRows({ ...base, ...within }, earlierOf(null)).map((row) => row.state)).toEqual(["finite", "pending"]);
  });
});

describe("a module", () => {
  it("shows its worst child and the norms together", () => {
    const summary = summaryOf(rowsOf([{ path: "a", l2: 3 }, { path: "b", l2: 4, nan: 1 }]));
    expect([summary.state, summary.statistics?.norm, summary.statistics?.nan]).toEqual(["NaN", 5, 1]);
  });

  it("leaves a norm with no finite value out of its own", () => {
    const summary = summaryOf(rowsOf([{ path: "a", l2: 3 }, { path: "b", shape: [4], nan: 4, l2: 0 }]));
    expect(summary.statistics?.norm).toBe(3);
  });

  it("says that a part was not read", () => {
    expect(summaryOf(rowsOf([{ path: "a" }, { path: "b", state: "unread" }])).state).toBe("unread");
  });

  it("is pending when all that trains in it is", () => {
    const told: Told[] = [{ path: "a", state: "None", pending: true }, { path: "b", state: "frozen" }];
    expect(summaryOf(rowsOf(told)).pending).toBe(true);
    expect(summaryOf(rowsOf([...told, { path: "c" }])).pending).toBe(false);
  });

  it("has a ratio only when every part has one", () => {
    const whole = summaryOf(rowsOf([{ path: "a", l2: 6, previous: 3, changed: true }, { path: "b", l2: 8, previous: 4, changed: true }]));
    expect(ratioOf(whole)).toBe(2);
    const part = summaryOf(rowsOf([{ path: "a", l2: 6, previous: 3, changed: true }, { path: "b", l2: 8, changed: true }]));
    expect(ratioOf(part)).toBeNaN();
  });

  it("ranks None worse than exploding, pending worse than finite", () => {
    expect([worse("exploding", "None"), worse("finite", "pending")]).toEqual(["None", "pending"]);
  });
});
