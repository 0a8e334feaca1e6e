import { describe, expect, it } from "vitest";
import { earlierOf } from "../shared/gradient_changes";
import { parseFilter, type FilterProblem } from "../shared/gradient_filter";
import { matchesFuzzy } from "../shared/gradient_fuzzy";
import { gradientRows } from "../shared/gradient_rows";
import { nextSort, type Sort } from "../shared/gradient_sort";
import { gradientTree, type GradientNode } from "../shared/gradient_tree";
import { keysAbove, visibleRows, type VisibleRow } from "../shared/gradient_visible";
import type { Snapshot } from "../shared/session";
import { snapshotOf, tensor, type Told } from "./gradient_snapshot";

const BLOCKS: readonly Told[] = [
  { path: "wte.weight", shape: [64, 8], aliases: ["head.weight"] },
  { path: "scale", state: "None", shape: [8] },
  { path: "blocks.0.ln.weight", shape: [8] },
  { path: "blocks.0.ln.bias", shape: [8] },
  { path: "blocks.0.proj.weight", shape: [8, 8], l2: 3 },
  { path: "blocks.1.ln.weight", shape: [8], l2: 2, nan: 1 },
  { path: "blocks.1.ln.bias", shape: [8], l2: 0 },
  { path: "blocks.1.proj.weight", shape: [8, 8], l2: 5 },
];
const CLASSES = { "": "GPT", blocks: "ModuleList", "blocks.0": "Block", "blocks.1": "Block" };

function treeOf(told: readonly Told[], fields: Partial<Snapshot> = {}): GradientNode[] {
  const snapshot = snapshotOf(told, fields, CLASSES);
  return gradientTree(snapshot, gradientRows(snapshot, earlierOf(null)));
}

interface Look {
  readonly filter?: string;
  readonly trouble?: boolean;
  readonly sort?: Sort | null;
  readonly open?: boolean;
}

function look(tree: readonly GradientNode[], { filter = "", trouble = false, sort = null, open = true }: Look = {}): VisibleRow[] {
  return visibleRows(tree, { isOpen: () => open, filter: parseFilter(filter, trouble), sort });
}

const shown = (rows: readonly VisibleRow[]): string[] => rows.map((row) => row.node.name);

describe("the tree", () => {
  it("follows the model, puts a list's members in its place and folds a module of one parameter", () => {
    expect(shown(look(treeOf(BLOCKS)))).toEqual([
      "wte.weight", "scale", "blocks.0", "weight", "bias", "proj.weight", "blocks.1", "weight", "bias", "proj.weight",
    ].flatMap((name, at) => (at === 3 || at === 7 ? ["ln", name] : [name])));
  });

  it("tells a screen reader level, place and number of siblings", () => {
    const rows = look(treeOf(BLOCKS));
    const bias = rows.findIndex((row) => row.node.fullName === "model.blocks.1.ln.bias");
    expect(rows[bias]).toMatchObject({ level: 3, posInSet: 2, setSize: 2, expanded: null });
    expect(rows[2]).toMatchObject({ level: 1, posInSet: 3, setSize: 4, expanded: true });
  });

  it("shows a closed module's worst child", () => {
    const rows = look(treeOf(BLOCKS), { open: false });
    expect(rows.map((row) => [row.node.name, row.node.summary?.state])).toEqual([
      ["wte.weight", "finite"], ["scale", "None"], ["blocks.0", "finite"], ["blocks.1", "NaN"],
    ]);
  });

  it("names the variables when there are several models", () => {
    const tree = treeOf([{ path: "w", root: "g" }, { path: "w", root: "d" }]);
    expect(shown(look(tree))).toEqual(["g", "w", "d", "w"]);
    expect(new Set(look(tree).map((row) => row.node.key)).size).toBe(4);
  });

  it("puts leaves, tensors, other modules and optimizers in groups of their own", () => {
    const variables = [
      tensor("x", { parameter: 1 }),
      tensor("loss", { grad_fn: "MeanBackward0", number: "2.31" }),
      tensor("batch"),
      { expression: "model", kind: "module" as const, class_name: "GPT" },
      { expression: "criterion", kind: "module" as const, class_name: "CrossEntropyLoss" },
      { expression: "optimizer", kind: "optimizer" as const, class_name: "AdamW", parameter_count: 1 },
    ];
    const rows = look(treeOf([{ path: "w" }, { path: "", leaf: true, l2: 3 }], { variables }));
    expect(shown(rows)).toEqual([
      "model", "w", "variables", "x", "loss", "batch", "modules", "criterion", "optimizers", "optimizer",
    ]);
    expect(rows[2]!.node.summary?.statistics?.norm).toBe(3);
  });

  it("finds the way to a row", () => {
    const tree = treeOf(BLOCKS);
    const bias = look(tree).find((row) => row.node.fullName === "model.blocks.1.ln.bias")!.node;
    expect(keysAbove(tree, bias.key)).toEqual(["module/model/", "module/model/blocks.1", "module/model/blocks.1.ln"]);
    expect(keysAbove(tree, "nothing")).toBeNull();
  });

  it("of a parameter without a path still has a row", () => {
    expect(shown(look(treeOf([{ path: "", leaf: true }])))).toEqual(["variables", "tensor 0"]);
  });
});

describe("sorting", () => {
  const order = (column: Sort["column"], descending: boolean): string[] =>
    look(treeOf(BLOCKS), { sort: { column, descending } }).map((row) => row.node.fullName.replace("model.", ""));

  it("by norm puts NaN above all numbers and what has no norm last", () => {
    expect(order("norm", true)).toEqual([
      "blocks.1.ln.weight", "blocks.1.proj.weight", "blocks.0.proj.weight", "wte.weight", "blocks.0.ln.weight", "blocks.0.ln.bias",
      "blocks.1.ln.bias", "scale",
    ]);
  });

  it("the other way round still puts what has no norm last", () => {
    expect(order("norm", false).slice(-2)).toEqual(["blocks.1.ln.weight", "scale"]);
    expect(order("norm", false)[0]).toBe("blocks.1.ln.bias");
  });

  it("by state begins with the worst", () => expect(order("state", false).slice(0, 2)).toEqual(["blocks.1.ln.weight", "scale"]));

  it("by name counts numbers as numbers", () => {
    const rows = look(treeOf([{ path: "l.10.w" }, { path: "l.2.w" }]), { sort: { column: "name", descending: false } });
    expect(rows.map((row) => row.node.fullName)).toEqual(["model.l.2.w", "model.l.10.w"]);
  });

  it("goes back to the model's order at the third press", () => {
    const once = nextSort(null, "norm");
    const twice = nextSort(once, "norm");
    expect([once, twice, nextSort(twice, "norm")]).toEqual([
      { column: "norm", descending: true }, { column: "norm", descending: false }, null,
    ]);
    expect(nextSort(twice, "name")).toEqual({ column: "name", descending: false });
  });
});

describe("the filter", () => {
  const names = (filter: string, trouble = false): string[] =>
    look(treeOf(BLOCKS), { filter, trouble }).filter((row) => row.node.children.length === 0).map((row) => row.node.fullName.replace("model.", ""));

  it("keeps the modules above what it finds", () => {
    expect(shown(look(treeOf(BLOCKS), { filter: "b1bias" }))).toEqual(["blocks.1", "ln", "bias"]);
  });

  it("finds a tied weight by its other name", () => expect(names("head")).toEqual(["wte.weight"]));
  it("finds shapes in either spelling", () => {
    expect(names("8x8")).toEqual(["blocks.0.proj.weight", "blocks.1.proj.weight"]);
    expect(names("[64×8]")).toEqual(["wte.weight"]);
  });
  it("finds a state", () => {
    expect(names(":none")).toEqual(["scale"]);
    expect(names(":NaN")).toEqual(["blocks.1.ln.weight"]);
    expect(names(":zero")).toEqual(["blocks.1.ln.bias"]);
    expect(names(":tied")).toEqual(["wte.weight"]);
  });
  it("compares numbers, and what is not known passes no comparison", () => {
    expect(names(":norm>=3")).toEqual(["blocks.0.proj.weight", "blocks.1.proj.weight"]);
    expect(names(":norm<1e-3")).toEqual(["blocks.1.ln.bias"]);
    expect(names(":zeros=100")).toEqual(["blocks.1.ln.bias"]);
  });
  it("asks for every word at once", () => expect(names("proj :norm>4")).toEqual(["blocks.1.proj.weight"]));
  it("keeps trouble alone", () => {
    expect(names("", true)).toEqual(["scale", "blocks.1.ln.weight", "blocks.1.ln.bias"]);
    expect(names(":trouble")).toEqual(names("", true));
  });
  it("finds nothing without falling over", () => expect(names("nothing-like-it")).toEqual([]));

  const problem = (text: string): FilterProblem | undefined => parseFilter(text, false).problems[0];

  it("tells what it cannot read, and keeps the rest", () => {
    expect(problem(":nam")).toMatchObject({ kind: "unknown word", word: ":nam" });
    expect(problem(":none>")).toMatchObject({ kind: "unknown word" });
    expect(problem(":norm")).toEqual({ kind: "number expected", word: ":norm" });
    expect(problem(":norm>")).toEqual({ kind: "number expected", word: ":norm>" });
    expect(problem(":norm>1e")).toEqual({ kind: "number expected", word: ":norm>1e" });
    expect(problem(":nan>3")).toMatchObject({ kind: "unknown word" });
    expect(names(":norm>abc scale")).toEqual(["scale"]);
  });

  it("does not complain of a word on its way", () => expect(problem(":no")).toBeUndefined());

  it("takes a lone colon for the beginning of a word", () => expect(parseFilter(" : ", false)).toMatchObject({ empty: true, problems: [] }));
});

describe("fuzzy names", () => {
  it("go on or jump to a word's start", () => {
    expect(matchesFuzzy("b7qkv", "model.blocks.7.attn.qkv.weight")).toBe(true);
    expect(matchesFuzzy("saw", "selfAttn.weight")).toBe(true);
    expect(matchesFuzzy("QKV", "attn.qkv")).toBe(true);
  });
  it("do not scatter through words", () => {
    expect(matchesFuzzy("ln", "model.linear.weight")).toBe(false);
    expect(matchesFuzzy("qkvb", "attn.qkv.weight")).toBe(false);
  });
  it("stay quick on repeated letters", () => {
    expect(matchesFuzzy("aaaaaaaaaaaaaaaaaaaaaaab", "a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a")).toBe(false);
  });
});
