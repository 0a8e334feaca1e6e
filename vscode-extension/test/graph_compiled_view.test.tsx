// @vitest-environment jsdom
/** A compiled node in the panel and in the drawing: opened with the mouse, the keys and a screen reader. */

import { render, type JSX } from "preact";
import { useState } from "preact/hooks";
import { act } from "preact/test-utils";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { NOTHING, type Selection } from "../shared/selection";
import type { StepSnapshot } from "../shared/recorded_step";
import { GraphView } from "../webview/graph/graph_view";
import { LayeredGraphView } from "../webview/graph/layered_view";
import type { Ask, ViewProps } from "../webview/view";
import { goldenBytes, openSession } from "./recorded_files";

let root: HTMLElement;
let asked: unknown[];
let selected: Selection;
let sessions = 0;
let snapshot: StepSnapshot;

beforeEach(async () => {
  root = document.body.appendChild(document.createElement("div"));
  asked = [];
  snapshot = await (await openSession(goldenBytes("regimes"))).snapshotOfStep(0);
});

afterEach(() => {
  act(() => render(null, root));
  root.remove();
});

type View = (props: ViewProps) => JSX.Element;

function Harness({ View, session, width, of }: { View: View; session: string; width: number; of: StepSnapshot }): JSX.Element {
  const [selection, select] = useState<Selection>(NOTHING);
  selected = selection;
  const ask = ((method: string, params: unknown) => {
    asked.push([method, params]);
    return new Promise(() => {});
  }) as Ask;
  const recorded = { history: null, curveOf: () => null, heldCurve: null };
  return <View {...{ session, snapshot: of, previous: null, dimmed: false, selection, select, showTab: () => {}, ask, onCommand: () => () => {}, breakHere: () => {}, width, recorded }} />;
}

function open(View: View, width = 480, of = snapshot): void {
  act(() => render(<Harness View={View} session={`compiled ${sessions++}`} width={width} of={of} />, root));
}

function items(): HTMLElement[] {
  return [...root.querySelectorAll<HTMLElement>('[role="treeitem"]')];
}

function item(starts: string): HTMLElement {
  const found = items().find((one) => one.getAttribute("aria-label")!.startsWith(starts));
  if (!found) throw new Error(`no ${starts} in ${items().map((one) => one.getAttribute("aria-label")).join("; ")}`);
  return found;
}

function press(key: string): void {
  const tree = root.querySelector('[role="tree"]')!;
  act(() => void tree.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true })));
}

function click(target: Element): void {
  act(() => void target.dispatchEvent(new MouseEvent("click", { bubbles: true })));
}

describe.each([["the list", GraphView], ["the drawing", LayeredGraphView]] as const)("in %s a compiled node", (_, View) => {
  it("is an item that can be opened, and says that it is compiled", () => {
    open(View);
    expect(item("CompiledFunction").getAttribute("aria-label")).toContain("8 ops, compiled");
    expect(item("CompiledFunction").getAttribute("aria-expanded")).toBe("false");
  });

  it.each(["Enter", "ArrowRight"])("opens with %s, closes with ArrowLeft, and is the node that is selected", (key) => {
    open(View);
    click(item("CompiledFunction"));
    expect(selected).toEqual({ kind: "node", index: 2 });
    press(key);
    expect(items().length).toBe(11 - 1);
    expect(item("sin").getAttribute("aria-level")).toBe("2");
    press("ArrowDown");
    expect(root.querySelector('[aria-selected="true"]')!.getAttribute("aria-label")).toContain("primals_1");
    click(item("CompiledFunction, 8 ops"));
    press("ArrowLeft");
    expect(items().length).toBe(2);
  });

  it("shows in the dock what its region comes to, and of an op what it makes and what becomes of it", () => {
    open(View);
    click(item("CompiledFunction"));
    expect(root.querySelector(".dock")!.textContent).toContain("2 results, 128 B");
    press("Enter");
    click(item("sin"));
    const dock = root.querySelector(".dock")!.textContent!;
    for (const words of ["sin", "8×2 f32", "not kept", "recomputed in backward", "scaled.py:11", "by inductor"]) expect(dock).toContain(words);
    expect(selected).toEqual({ kind: "node", index: 9 });
  });

  it("has ops whose line opens with Enter", () => {
    open(View);
    click(item("CompiledFunction"));
    press("Enter");
    click(item("cos"));
    press("Enter");
    expect(asked).toContainEqual(["openSource", { file: "/home/someone/project/scaled.py", line: 11, focus: false }]);
  });
});

describe("in the list an op of a compiled region", () => {
  it("has its line as a link, its bytes and its marks", () => {
    open(GraphView);
    click(item("CompiledFunction").querySelector(".tw")!);
    expect(item("input, primals_3").textContent).toContain("64 B");
    expect([...root.querySelectorAll(".label")].map((label) => label.textContent)).toEqual(["compiled", "saved", "recomputed", "recomputed", "compiled"]);
    click(item("mul").querySelector("a")!);
    expect(asked).toEqual([["openSource", { file: "/home/someone/project/scaled.py", line: 11, focus: false }]]);
  });

  it("goes on to what it uses and what uses it", () => {
    open(GraphView);
    click(item("CompiledFunction").querySelector(".tw")!);
    click(item("mul"));
    click([...root.querySelectorAll(".dock .edges .link")].find((link) => link.textContent === "sin")!);
    expect(selected).toEqual({ kind: "node", index: 9 });
  });

  it("among thousands is one of the few rows that are drawn", () => {
    const [region] = snapshot.regions!;
    const many = Array.from({ length: 6000 }, (_, at) => at);
    const columnOf = (of: (at: number) => number, like: { dtype: string }) => {
      const values = like.dtype === "|u1" ? Uint8Array.from(many, of) : Int32Array.from(many, of);
      return { dtype: like.dtype, data: new Uint8Array(values.buffer) };
    };
    const none = columnOf(() => -1, region!.site);
    const large = {
      ...region!, op_count: many.length, op_names: many.map((at) => `op_${at}`), target: columnOf((at) => 2 + Math.floor(Math.abs(Math.sin(at)) * 4), region!.target), phase: columnOf(() => 0, region!.phase),
      site: none, project_site: none, module: none, shape: none, dtype: none, saved: columnOf(() => 0, region!.saved), recomputed: columnOf(() => 0, region!.recomputed), forward_op: none, edge_count: 0,
      edge_source: { dtype: "<u4", data: new Uint8Array() }, edge_target: { dtype: "<u4", data: new Uint8Array() },
    };
    open(GraphView, 480, { ...snapshot, graph: { ...snapshot.graph! }, regions: [large] });
    click(item("CompiledFunction").querySelector(".tw")!);
    expect(items().length).toBeLessThanOrEqual(60);
    expect(item("CompiledFunction").getAttribute("aria-label")).toContain("6,000 ops");
  });
});

describe("in the drawing a region that is too large", () => {
  it("stays closed, and says where it opens", () => {
    const [region] = snapshot.regions!;
    const count = 3000;
    const ints = (of: (at: number) => number) => ({ dtype: "<i4", data: new Uint8Array(Int32Array.from({ length: count }, (_, at) => of(at)).buffer) });
    const bytes = { dtype: "|u1", data: new Uint8Array(count) };
    const none = ints(() => -1);
    const empty = { dtype: "<u4", data: new Uint8Array() };
    const large = {
      ...region!, op_count: count, op_names: Array.from({ length: count }, (_, at) => `op_${at}`), target: ints((at) => 2 + Math.floor(Math.abs(Math.sin(at)) * 4)), phase: bytes, site: none, project_site: none,
      module: none, shape: none, dtype: none, saved: bytes, recomputed: bytes, forward_op: none, edge_count: 0, edge_source: empty, edge_target: empty,
    };
    open(LayeredGraphView, 640, { ...snapshot, graph: { ...snapshot.graph! }, regions: [large] });
    click(item("CompiledFunction"));
    press("Enter");
    expect(root.querySelector('.layered-note[role="status"]')!.textContent).toBe("What was opened has more than 300 rows: open it in the table.");
    expect(items().length).toBe(2);
  });
});
