import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { numbers, parseAnswer } from "../shared/answer";
import { conditionName, readLimit, switched, withCondition, withoutCondition } from "../shared/conditions";
import type { Condition, Snapshot } from "../shared/session";
import { conditionFor, fullName } from "../webview/break_here";

function golden(name: string): Snapshot {
  const answer = parseAnswer(readFileSync(new URL(`../../tests/golden/snapshots/${name}.json`, import.meta.url), "utf8"));
  if (answer.kind !== "Snapshot") throw new Error(answer.kind);
  return answer.value;
}

describe("the set of conditions", () => {
  const set: readonly Condition[] = [{ id: 3, kind: "first non-finite", enabled: false, hits: 2 }];

  it("gives what is added an id of its own", () => {
    expect(withCondition(set, { kind: "norm exceeds", limit: 5 })).toEqual([...set, { id: 4, kind: "norm exceeds", limit: 5, enabled: true, hits: 0 }]);
  });

  it("switches a condition on again instead of holding it twice", () => {
    expect(withCondition(set, { kind: "first non-finite" })).toEqual([{ ...set[0], enabled: true }]);
  });

  it("tells apart the same node by line, and one limit from another", () => {
    const nodes = withCondition(withCondition([], { kind: "node", name: "MulBackward0", line: "a.py:1" }), { kind: "node", name: "MulBackward0", line: "a.py:2" });
    expect(nodes).toHaveLength(2);
    expect(withCondition(withCondition([], { kind: "norm exceeds", limit: 1 }), { kind: "norm exceeds", limit: 2 })).toHaveLength(2);
  });

  it("is switched and emptied by id, untouched otherwise", () => {
    expect(switched(set, 3, true)[0]).toEqual({ ...set[0], enabled: true });
    expect(withoutCondition(set, 3)).toEqual([]);
    expect(withoutCondition(set, 9)).toEqual(set);
  });
});

describe("a limit that is typed", () => {
  it.each([
    ["1e3", 1000],
    [" 0.5 ", 0.5],
    ["250", 250],
  ])("%s is %d", (typed, limit) => expect(readLimit(typed)).toEqual({ limit }));

  it.each(["0", "-1", "−1", "abc", "Infinity", "1e999", "NaN"])("%s is refused with the text and the way out", (typed) => {
    const read = readLimit(typed);
    expect("error" in read && read.error).toMatch(new RegExp(`${typed}.*1e3`));
  });

  it("that is empty is asked for", () => expect(readLimit("  ")).toEqual({ error: expect.stringContaining("1e3") as string }));
});

describe("break here", () => {
  const snapshot = golden("transformer");

  it("names a parameter as the debuggee does", () => {
    const { id, root, path } = snapshot.parameters![3]!;
    expect(conditionFor({ kind: "parameter", id }, snapshot)).toEqual({ kind: "parameter", parameter: `${root}.${path}` });
  });

  it("names a module as the debuggee does, the root by its variable alone", () => {
    expect(conditionFor({ kind: "module", root: "model", path: "blocks.0" }, snapshot)).toEqual({ kind: "module", module: "model.blocks.0" });
    expect(conditionFor({ kind: "module", root: "model", path: "" }, snapshot)).toEqual({ kind: "module", module: "model" });
    expect(fullName("", "weight")).toBe("weight");
  });

  it("names a node by graph, index, op, module and line", () => {
    const graph = snapshot.graph!;
    const node = snapshot.stop.running!;
    const condition = conditionFor({ kind: "node", index: node }, snapshot)!;
    expect(condition).toMatchObject({ kind: "node", node, graph_digest: graph.digest, name: graph.names[numbers(graph.name)[node]!] });
    expect(condition.module).toMatch(/^model\./);
    expect(conditionName(condition)).toContain(condition.name!);
  });

  it("finds no place for what backward does not run through", () => {
    expect(conditionFor({ kind: "none" }, snapshot)).toBeNull();
    expect(conditionFor({ kind: "line", file: "a.py", line: 1 }, snapshot)).toBeNull();
    expect(conditionFor({ kind: "node", index: 1e9 }, snapshot)).toBeNull();
    expect(conditionFor({ kind: "parameter", id: 1e9 }, snapshot)).toBeNull();
  });

  it("takes a variable that is a leaf as that parameter", () => {
    const nan = golden("nan");
    const index = nan.variables!.findIndex(({ parameter = -1 }) => parameter >= 0);
    expect(conditionFor({ kind: "variable", index }, nan)).toMatchObject({ kind: "parameter" });
    expect(conditionFor({ kind: "variable", index: nan.variables!.findIndex(({ parameter = -1 }) => parameter < 0) }, nan)).toBeNull();
  });
});

describe("a condition in words", () => {
  it.each<[Omit<Condition, "id">, string]>([
    [{ kind: "first non-finite" }, "First non-finite gradient"],
    [{ kind: "norm exceeds", limit: 250 }, "Norm above 250"],
    [{ kind: "norm exceeds", limit: 1e12 }, "Norm above 1.00e12"],
    [{ kind: "node", name: "MulBackward0", module: "m.attn", line: "/p/model.py:51" }, "MulBackward0, m.attn, model.py:51"],
    [{ kind: "node", name: "MulBackward0" }, "MulBackward0"],
    [{ kind: "parameter", parameter: "m.weight" }, ".grad of m.weight"],
    [{ kind: "module", module: "m.attn" }, "module m.attn"],
  ])("%j is %s", (condition, name) => expect(conditionName(condition)).toBe(name));
});
