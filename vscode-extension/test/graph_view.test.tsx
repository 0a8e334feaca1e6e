// @vitest-environment jsdom
import { render } from "preact";
import { useState } from "preact/hooks";
import { act } from "preact/test-utils";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { NOTHING, type Selection } from "../shared/selection";
import type { Snapshot } from "../shared/session";
import { GraphView } from "../webview/graph/graph_view";
import type { Ask, ViewCommand, ViewProps } from "../webview/view";
import { nodeOf, snapshotOf, Tape, transformer, type GraphTest } from "./graph_snapshot";

interface Page {
  readonly root: HTMLElement;
  readonly asked: unknown[];
  readonly broke: Selection[];
  selection: Selection;
  select: (selection: Selection) => void;
  command: (command: ViewCommand) => boolean;
  show: (snapshot: Snapshot) => void;
}

let page: Page;
let sessions = 0;

beforeEach(() => {
  page = { root: document.body.appendChild(document.createElement("div")), asked: [], broke: [], selection: NOTHING, select: () => {}, command: () => false, show: () => {} };
});

afterEach(() => {
  act(() => render(null, page.root));
  page.root.remove();
});

function Harness({ first, session, width }: { first: Snapshot; session: string; width: number }) {
  const [snapshot, setSnapshot] = useState(first);
  const [selection, select] = useState<Selection>(NOTHING);
  page.selection = selection;
  page.select = select;
  page.show = setSnapshot;
  const ask = ((method: string, params: unknown) => {
    page.asked.push([method, params]);
    return method === "chooseRoot" ? Promise.reject(new Error("The thread has gone on.")) : new Promise(() => {});
  }) as Ask;
  const props: ViewProps = {
    session,
    snapshot,
    previous: null,
    dimmed: false,
    selection,
    select,
    showTab: () => {},
    ask,
    onCommand: (listener) => {
      page.command = listener;
      return () => {};
    },
    breakHere: (at) => void page.broke.push(at),
    width,
  };
  return <GraphView {...props} />;
}

function open(snapshot: Snapshot, width = 480): void {
  act(() => render(<Harness first={snapshot} session={`session ${sessions++}`} width={width} />, page.root));
}

function openTape(tape: Tape, test: GraphTest = {}, width = 480): Snapshot {
  const snapshot = snapshotOf(tape, test);
  open(snapshot, width);
  return snapshot;
}

function tree(): HTMLElement {
  return page.root.querySelector<HTMLElement>('[role="tree"]')!;
}

function rows(): HTMLElement[] {
  return [...tree().querySelectorAll<HTMLElement>('[role="treeitem"]')].sort((a, b) => Number.parseFloat(a.style.top) - Number.parseFloat(b.style.top));
}

function names(): string[] {
  return rows().map((row) => row.querySelector("code")!.textContent!);
}

function press(key: string, on: HTMLElement = tree(), init: KeyboardEventInit = {}): void {
  act(() => void on.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...init })));
}

function click(element: Element): void {
  act(() => void element.dispatchEvent(new MouseEvent("click", { bubbles: true })));
}

function rowOf(name: string): HTMLElement {
  return rows().find((row) => row.querySelector("code")!.textContent === name)!;
}

function active(): HTMLElement | null {
  return document.getElementById(tree().getAttribute("aria-activedescendant") ?? "");
}

function buttonNamed(text: string): HTMLButtonElement {
  return [...page.root.querySelectorAll("button")].find((button) => button.textContent!.trim() === text)!;
}

function type(text: string): HTMLInputElement {
  const field = page.root.querySelector<HTMLInputElement>('[role="searchbox"]')!;
  act(() => {
    field.value = text;
    field.dispatchEvent(new Event("input", { bubbles: true }));
  });
  return field;
}

describe("the graph's keys", () => {
  it("open a fold's members, one of them, and fold again", () => {
    openTape(transformer(6));
    press("ArrowDown");
    press("ArrowDown");
    expect(active()!.querySelector("code")!.textContent).toBe("blocks.0–5");
    press("ArrowRight");
    expect(names().slice(1, 7)).toEqual(Array.from({ length: 6 }, (_, i) => `blocks.${i}`));
    click(rowOf("blocks.2"));
    press("ArrowRight");
    expect(names().filter((name) => name.startsWith("blocks"))).toEqual(["blocks.0–1", "blocks.2", "blocks.3–5"]);
    press("ArrowRight");
    expect(active()!.getAttribute("aria-level")).toBe("2");
    press("ArrowLeft");
    press("ArrowLeft");
    expect(names()).toContain("blocks.0–5");
  });

  it("fold a member that was shown one by one back", () => {
    openTape(transformer(3));
    click(rowOf("blocks.0–2").querySelector(".tw")!);
    click(rowOf("blocks.1"));
    press("ArrowLeft");
    expect(names()).toContain("blocks.0–2");
  });

  it("follow a gradient on with [ and back the way it came with ]", () => {
    const tape = transformer(2);
    const snapshot = openTape(tape);
    const last = nodeOf(snapshot, tape.nodes.length - 1);
    act(() => page.select({ kind: "node", index: last }));
    press("[");
    press("[");
    const there = page.selection;
    expect(there).toEqual({ kind: "node", index: last - 2 });
    expect(active()!.querySelector("code")!.textContent).toBe("NativeLayerNormBackward0");
    press("]");
    press("]");
    expect(page.selection).toEqual({ kind: "node", index: last });
  });

  it("open the source of an operation: Enter leaves the focus here, Ctrl+Enter takes it along", () => {
    openTape(transformer(1));
    click(rowOf("EmbeddingBackward0"));
    press("Enter");
    press("Enter", tree(), { ctrlKey: true });
    const opened = page.asked.filter((entry) => (entry as string[])[0] === "openSource");
    expect(opened).toEqual([
      ["openSource", { file: "/home/someone/model.py", line: 104, focus: false }],
      ["openSource", { file: "/home/someone/model.py", line: 104, focus: true }],
    ]);
  });

  it("close the dock of a fold with Escape", () => {
    openTape(transformer(3));
    click(rowOf("blocks.0–2"));
    expect(page.root.querySelector(".dock")!.textContent).toContain("3 times the same structure");
    press("Escape");
    expect(page.root.querySelector(".dock")).toBeNull();
  });
});

describe("a stop in backward", () => {
  it("selects the running node once, opens around it, and says so in words", () => {
    const tape = transformer(8);
    const running = tape.nodes.findIndex((node) => node.name === "SoftmaxBackward0" && node.module === "blocks.5.attn");
    const snapshot = openTape(tape, { running, norms: new Map([[running, 2e-3]]) });
    expect(page.selection).toEqual({ kind: "node", index: nodeOf(snapshot, running) });
    expect(active()!.getAttribute("aria-label")).toBe(
      "SoftmaxBackward0, att = scores.softmax(-1), running, 96.0 MiB saved, gradient 2.00e−3",
    );
    act(() => page.select(NOTHING));
    act(() => page.show({ ...snapshot }));
    expect(page.selection).toEqual(NOTHING);
  });

  it("offers the next node; at other stops it does not", () => {
    openTape(transformer(1), { running: 4 });
    click(buttonNamed("Step to next node"));
    expect(page.asked).toContainEqual(["stepToNextNode", {}]);
    act(() => page.show(snapshotOf(transformer(1))));
    click(rowOf("EmbeddingBackward0"));
    expect(buttonNamed("Step to next node")).toBeUndefined();
  });

  it("goes from one NaN to the next on command, and passes over what is only on its path", () => {
    const tape = transformer(3);
    const snapshot = openTape(tape, { running: 20, norms: new Map([20, 25, 30].map((op) => [op, 1])), nan: [20, 30] });
    act(() => void page.command("nextTrouble"));
    expect(page.selection).toEqual({ kind: "node", index: nodeOf(snapshot, 30) });
    act(() => void page.command("nextTrouble"));
    expect(page.selection).toEqual({ kind: "node", index: nodeOf(snapshot, 20) });
  });

  it("has the word NaN in the row, not its colour alone", () => {
    openTape(transformer(2), { running: 6, norms: new Map([[6, 1]]), nan: [6] }, 300);
    expect(active()!.textContent).toContain("NaN");
    expect(rowOf("blocks.1").getAttribute("aria-label")).toContain("fired");
  });
});

describe("the dock", () => {
  it("links to where the gradient comes from and goes to, and breaks at the node and its module", () => {
    const tape = transformer(2);
    const snapshot = openTape(tape);
    const soft = nodeOf(snapshot, 6);
    act(() => page.select({ kind: "node", index: soft }));
    click(buttonNamed("Break at this node"));
    click(buttonNamed("Break at this module"));
    expect(page.broke).toEqual([
      { kind: "node", index: soft },
      { kind: "module", root: "model", path: "blocks.0.attn" },
    ]);
    const goesTo = [...page.root.querySelectorAll(".edges")][1]!;
    click(goesTo.querySelector("button")!);
    expect(page.selection).toEqual({ kind: "node", index: soft - 1 });
  });

  it("shows the recorded line until the host has read the file", () => {
    const snapshot = openTape(transformer(1));
    act(() => page.select({ kind: "node", index: nodeOf(snapshot, 6) }));
    expect(page.root.querySelector(".src")!.textContent).toBe("51att = scores.softmax(-1)");
  });

  it("says what a label hides", () => {
    const tape = new Tape();
    const x = tape.op("CompiledFunctionBackward", [], { label: "compiled" });
    tape.op("SumBackward0", [x]);
    const snapshot = openTape(tape);
    expect(rowOf("CompiledFunction").getAttribute("aria-label")).toContain("compiled");
    act(() => page.select({ kind: "node", index: nodeOf(snapshot, 0) }));
    expect(page.root.querySelector(".unseen")!.textContent).toBe("compiled: a compiled region");
  });

  it("stands for a module chosen elsewhere, which gets a row of its own", () => {
    openTape(transformer(4));
    act(() => page.select({ kind: "module", root: "model", path: "blocks.2.mlp" }));
    expect(active()!.querySelector("code")!.textContent).toBe("mlp");
    expect(names()).toEqual(expect.arrayContaining(["blocks.0–1", "blocks.2", "mlp", "blocks.3"]));
    act(() => page.select({ kind: "parameter", id: 0 }));
    expect(active()!.querySelector("code")!.textContent).toBe("EmbeddingBackward0");
  });
});

describe("search", () => {
  it("counts matches, goes to the next on Enter and opens what it is in", () => {
    openTape(transformer(5));
    const field = type("softmax");
    expect(page.root.querySelector('[role="status"]')!.textContent).toBe("5 matches");
    expect(rowOf("blocks.0–4").textContent).toContain("5 found");
    press("Enter", field);
    expect(page.root.querySelector('[role="status"]')!.textContent).toBe("1 of 5");
    expect(active()!.querySelector("code")!.textContent).toBe("SoftmaxBackward0");
    press("Enter", field, { shiftKey: true });
    expect(page.root.querySelector('[role="status"]')!.textContent).toBe("5 of 5");
    press("Escape", field);
    expect(page.root.querySelector('[role="status"]')).toBeNull();
  });

  it("opens every match at once", () => {
    openTape(transformer(3));
    type("gelu");
    click(buttonNamed("expand all"));
    expect(names().filter((name) => name === "GeluBackward0")).toHaveLength(3);
  });

  it("is reached by the filter command", () => {
    openTape(transformer(1));
    act(() => void page.command("filter"));
    expect(document.activeElement).toBe(page.root.querySelector('[role="searchbox"]'));
  });
});

describe("the tree", () => {
  it("has levels, set sizes and positions, and at most 60 rows in the document", () => {
    openTape(transformer(60));
    click(buttonNamed("by module"));
    expect(rows().length).toBeLessThanOrEqual(60);
    expect(rows()[0]!.getAttribute("aria-setsize")).toBe(String(60 * 15 + 3));
    click(buttonNamed("by module"));
    const [first] = rows();
    expect([first!.getAttribute("aria-level"), first!.getAttribute("aria-posinset"), first!.getAttribute("aria-setsize")]).toEqual(["1", "1", "4"]);
  });

  it("shows leaves by their parameter's name when asked", () => {
    openTape(transformer(1));
    expect(names()).not.toContain("emb.wte.weight");
    click(buttonNamed("leaves"));
    click(rowOf("emb.wte").querySelector(".tw")!);
    expect(names()).toContain("emb.wte.weight");
  });

  it("shortens operations where there is little room, and keeps the whole name for screen readers", () => {
    openTape(transformer(1), {}, 300);
    expect(names()[0]).toBe("Embedding");
    expect(rows()[0]!.getAttribute("aria-label")).toContain("EmbeddingBackward0");
  });
});

describe("no graph", () => {
  it("says why and which variables have one; a choice that fails says so", async () => {
    const snapshot = snapshotOf(transformer(1));
    open({ ...snapshot, graph: null, root: -1, missing: [{ part: "graph", reason: "The budget of 2 s ended." }] });
    expect(page.root.textContent).toContain("The budget of 2 s ended.");
    click(buttonNamed("loss · MeanBackward0 · = 2.31"));
    expect(page.asked).toContainEqual(["chooseRoot", { expression: "loss" }]);
    await act(async () => Promise.resolve());
    expect(page.root.querySelector('[role="alert"]')!.textContent).toContain("The thread has gone on.");
  });
});
