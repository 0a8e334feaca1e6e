import { describe, expect, it } from "vitest";
import { TypeAhead, rowAction, type VirtualRow } from "../webview/components/row_keys";
import { rowRange } from "../webview/components/row_window";

const tree: readonly VirtualRow[] = [
  { key: "a", level: 1, expanded: true },
  { key: "a.1", level: 2, expanded: true },
  { key: "a.1.x", level: 3 },
  { key: "b", level: 1, expanded: false },
  { key: "c", level: 1, expanded: null },
];

const press = (key: string, active: number) => rowAction(key, { rows: tree, active, page: 3, firstSeen: 1 });

describe("keys in a tree of rows", () => {
  it.each<[string, number, ReturnType<typeof press>]>([
    ["ArrowDown", 0, { kind: "go", index: 1 }],
    ["ArrowDown", 4, { kind: "go", index: 4 }],
    ["ArrowUp", 0, { kind: "go", index: 0 }],
    ["ArrowDown", -1, { kind: "go", index: 1 }],
    ["Home", 3, { kind: "go", index: 0 }],
    ["End", 0, { kind: "go", index: 4 }],
    ["PageDown", 0, { kind: "go", index: 2 }],
    ["PageUp", 4, { kind: "go", index: 2 }],
    ["ArrowRight", 3, { kind: "toggle", index: 3, open: true }],
    ["ArrowRight", 0, { kind: "go", index: 1 }],
    ["ArrowRight", 2, null],
    ["ArrowLeft", 1, { kind: "toggle", index: 1, open: false }],
    ["ArrowLeft", 2, { kind: "go", index: 1 }],
    ["ArrowLeft", 4, null],
    ["Enter", 2, { kind: "enter", index: 2 }],
    ["Enter", -1, null],
    ["x", 0, null],
  ])("%s on row %d", (key, active, action) => expect(press(key, active)).toEqual(action));

  it("do nothing where there are no rows", () => {
    expect(rowAction("ArrowDown", { rows: [], active: -1, page: 3, firstSeen: 0 })).toBeNull();
  });
});

describe("type-ahead", () => {
  const labels = ["alpha", "attn", "beta", "attn.proj"];

  it("goes to the next match, round the end", () => {
    const typing = new TypeAhead();
    expect(typing.type("a", 0, labels, 0).index).toBe(1);
    expect(typing.type("a", 2000, labels, 1).index).toBe(3);
    expect(typing.type("a", 4000, labels, 3).index).toBe(0);
  });

  it("takes letters in quick succession as one word, and may stay on its row", () => {
    const typing = new TypeAhead();
    typing.type("a", 0, labels, 0);
    expect(typing.type("t", 100, labels, 1).index).toBe(1);
  });

  it("leaves the panel's own letters alone unless a word goes on with them", () => {
    const typing = new TypeAhead();
    expect(typing.type("b", 0, labels, 0)).toEqual({ taken: false, index: null });
    typing.type("a", 1000, ["ab"], 0);
    expect(typing.type("b", 1100, ["ab"], 0)).toEqual({ taken: true, index: 0 });
  });

  it("does not take keys that are no letters", () => {
    expect(new TypeAhead().type("Shift", 0, labels, 0).taken).toBe(false);
    expect(new TypeAhead().type(" ", 0, labels, 0).taken).toBe(false);
  });
});

describe("rows that are drawn", () => {
  it("are those in view and a few around them", () => {
    expect(rowRange(2200, 440, 22, 10_000)).toEqual({ first: 94, end: 126 });
  });

  it("are at most 60 while they fit the view", () => {
    for (const height of [100, 440, 900, 1180, 1290]) {
      const { first, end } = rowRange(5000, height, 22, 10_000);
      expect(end - first, String(height)).toBeLessThanOrEqual(60);
    }
  });

  it("always cover a view that holds more than 60", () => {
    expect(rowRange(0, 2200, 22, 10_000)).toEqual({ first: 0, end: 100 });
  });

  it("end with the list, also when it has shrunk away from under the view", () => {
    expect(rowRange(2200, 440, 22, 3)).toEqual({ first: 0, end: 3 });
    expect(rowRange(0, 440, 22, 0)).toEqual({ first: 0, end: 0 });
  });
});
