// @vitest-environment jsdom
import { render } from "preact";
import { useState } from "preact/hooks";
import { act } from "preact/test-utils";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { NOTHING, type Selection } from "../shared/selection";
import type { Snapshot } from "../shared/session";
import { LayeredGraphView } from "../webview/graph/layered_view";
import type { Ask, ViewCommand, ViewProps } from "../webview/view";
import { nodeOf, snapshotOf, Tape, transformer, type GraphTest } from "./graph_snapshot";

interface Page {
  readonly root: HTMLElement;
  readonly asked: unknown[];
  readonly commands: Set<(command: ViewCommand) => boolean>;
  selection: Selection;
  select: (selection: Selection) => void;
  show: (snapshot: Snapshot) => void;
}

let page: Page;
let sessions = 0;

beforeEach(() => {
  page = { root: document.body.appendChild(document.createElement("div")), asked: [], commands: new Set(), selection: NOTHING, select: () => {}, show: () => {} };
});

afterEach(() => {
  act(() => render(null, page.root));
  page.root.remove();
});

function Harness({ first, session, recorded }: { first: Snapshot; session: string; recorded: boolean }) {
  const [snapshot, setSnapshot] = useState(first);
  const [selection, select] = useState<Selection>(NOTHING);
  Object.assign(page, { selection, select, show: setSnapshot });
  const props: ViewProps = {
    session,
    snapshot,
    previous: null,
    dimmed: false,
    selection,
    select,
    showTab: () => {},
    ask: ((method: string, params: unknown) => {
      page.asked.push([method, params]);
      return new Promise(() => {});
    }) as Ask,
    onCommand: (listener) => {
      page.commands.add(listener);
      return () => void page.commands.delete(listener);
    },
    breakHere: () => {},
    width: 640,
    ...(recorded ? { recorded: { history: null, curveOf: () => null, heldCurve: null } } : {}),
  };
  return <LayeredGraphView {...props} />;
}

function open(snapshot: Snapshot, recorded = false): void {
  act(() => render(<Harness first={snapshot} session={`layered ${sessions++}`} recorded={recorded} />, page.root));
}

function openTape(tape: Tape, test: GraphTest = {}): Snapshot {
  const snapshot = snapshotOf(tape, test);
  open(snapshot);
  return snapshot;
}

const canvas = (): HTMLElement => page.root.querySelector<HTMLElement>(".layered-canvas")!;
const items = (): Element[] => [...canvas().querySelectorAll('[role="treeitem"]')];
const nameOf = (item: Element): string => item.querySelector(".name")!.textContent!;
const names = (): string[] => items().map(nameOf);
const itemNamed = (name: string): Element => items().find((item) => nameOf(item) === name)!;
const active = (): Element | null => document.getElementById(canvas().getAttribute("aria-activedescendant") ?? "");
const transform = (): string => canvas().querySelector("svg > g")!.getAttribute("transform")!;
const buttonNamed = (text: string): HTMLButtonElement => [...page.root.querySelectorAll("button")].find((button) => button.textContent!.trim() === text)!;

function press(key: string, init: KeyboardEventInit = {}): KeyboardEvent {
  const event = new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...init });
  act(() => void canvas().dispatchEvent(event));
  return event;
}

function click(element: Element, type = "click"): void {
  act(() => void element.dispatchEvent(new MouseEvent(type, { bubbles: true })));
}

function command(name: ViewCommand): boolean {
  let acted = false;
  act(() => void (acted = [...page.commands].some((listener) => listener(name))));
  return acted;
}

describe("the drawing as a tree", () => {
  it("has an item with its state in words for every mark and box, and one that is active", () => {
    const tape = transformer(4);
    const running = tape.nodes.findIndex(({ name, module }) => name === "SoftmaxBackward0" && module === "blocks.2.attn");
    const snapshot = openTape(tape, { running, norms: new Map([[running, 2e-3]]) });
    expect(page.selection).toEqual({ kind: "node", index: nodeOf(snapshot, running) });
    expect(active()!.getAttribute("aria-label")).toBe("SoftmaxBackward0, att = scores.softmax(-1), running, 96.0 MiB saved, gradient 2.00e−3");
    expect(itemNamed("attn").getAttribute("aria-expanded")).toBe("true");
    expect(itemNamed("blocks.0–1").getAttribute("aria-label")).toContain("pending");
    for (const item of items()) {
      expect(Number(item.getAttribute("aria-posinset"))).toBeGreaterThan(0);
      expect(Number(item.getAttribute("aria-level"))).toBeGreaterThan(0);
    }
  });

  it("is walked by the arrows in forward order, opened and closed by them, and keeps these keys to itself", () => {
    openTape(transformer(5));
    expect(press("ArrowDown").defaultPrevented).toBe(true);
    press("ArrowDown");
    expect(nameOf(active()!)).toBe("blocks.0–4");
    press("ArrowRight");
    expect(names().filter((name) => name.startsWith("blocks"))).toEqual(["blocks.0", "blocks.1", "blocks.2", "blocks.3", "blocks.4"]);
    click(itemNamed("blocks.1"));
    press("ArrowRight");
    expect(names().filter((name) => name.startsWith("blocks")).sort()).toEqual(["blocks.0", "blocks.1", "blocks.2–4"]);
    expect(names()).toContain("mlp");
    press("ArrowLeft");
    expect(names()).not.toContain("mlp");
  });

  it("opens at the twistie without selecting, and on a double click", () => {
    openTape(transformer(2));
    click(itemNamed("blocks.0–1").querySelector(".twist .hit")!);
    expect(names()).toContain("blocks.1");
    expect(page.selection).toEqual(NOTHING);
    click(itemNamed("blocks.1").querySelector(".body")!, "dblclick");
    expect(names()).toContain("attn");
    click(itemNamed("attn").querySelector(".body")!, "dblclick");
    expect(names()).toContain("Softmax");
  });

  it("follows a gradient with [ and back with ], opening what it goes into", () => {
    const tape = transformer(2);
    const snapshot = openTape(tape);
    const last = nodeOf(snapshot, tape.nodes.length - 1);
    act(() => page.select({ kind: "node", index: last }));
    press("[");
    press("[");
    expect(page.selection).toEqual({ kind: "node", index: last - 2 });
    expect(nameOf(active()!)).toBe("NativeLayerNorm");
    press("]");
    press("]");
    expect(page.selection).toEqual({ kind: "node", index: last });
  });

  it("opens the source of an operation on Enter", () => {
    openTape(transformer(1));
    click(itemNamed("Embedding"));
    press("Enter");
    expect(page.asked.filter((one) => (one as string[])[0] === "openSource")).toEqual([["openSource", { file: "/home/someone/model.py", line: 104, focus: false }]]);
  });

  it("shares what is open, selected and looked for with the table", () => {
    openTape(transformer(3));
    click(itemNamed("blocks.0–2").querySelector(".twist .hit")!);
    expect(command("showAsTable")).toBe(true);
    const rows = [...page.root.querySelectorAll('.vrows [role="treeitem"] code')].map((code) => code.textContent);
    expect(rows).toEqual(expect.arrayContaining(["blocks.0", "blocks.1", "blocks.2"]));
    click(buttonNamed("Show drawing"));
    expect(names()).toContain("blocks.2");
  });
});

describe("moving about", () => {
  it("pans with Shift and the arrows, zooms with + and −, and fits with 0", () => {
    openTape(transformer(60));
    press("ArrowDown");
    press("ArrowDown");
    press("ArrowRight");
    press("0");
    const fitted = transform();
    press("+");
    press("+");
    const zoomed = transform();
    expect(zoomed).not.toBe(fitted);
    press("ArrowDown", { shiftKey: true });
    expect(transform()).not.toBe(zoomed);
    press("0");
    expect(transform()).toBe(fitted);
  });

  it("keeps layout, zoom and open groups at the next step of the same graph, and shows its values", () => {
    const tape = transformer(6);
    const softmax = 6;
    openTape(tape, { norms: new Map([[softmax, 1]]) });
    click(itemNamed("blocks.0–5").querySelector(".twist .hit")!);
    press("+");
    const [before, marks] = [transform(), names()];
    const at = itemNamed("blocks.3").querySelector(".body")!.getAttribute("y");
    act(() => page.show(snapshotOf(tape, { norms: new Map([[softmax, 1]]), nan: [softmax] })));
    expect(transform()).toBe(before);
    expect(names()).toEqual(marks);
    expect(itemNamed("blocks.3").querySelector(".body")!.getAttribute("y")).toBe(at);
    expect(itemNamed("blocks.0").getAttribute("aria-label")).toContain("NaN");
  });

  it("brings what is selected elsewhere into view and leaves the zoom", () => {
    const snapshot = openTape(transformer(40));
    press("+");
    const scale = /scale\(.*\)/.exec(transform())![0];
    act(() => page.select({ kind: "module", root: "model", path: "blocks.39.mlp" }));
    expect(nameOf(active()!)).toBe("mlp");
    expect(/scale\(.*\)/.exec(transform())![0]).toBe(scale);
    expect(snapshot.graph).not.toBeNull();
  });

  it("scrolls with the wheel, zooms with Ctrl, and a drag selects nothing", () => {
    openTape(transformer(60));
    press("ArrowDown");
    press("ArrowDown");
    press("ArrowRight");
    press("+");
    const start = transform();
    act(() => void canvas().dispatchEvent(new WheelEvent("wheel", { deltaY: 90, bubbles: true, cancelable: true })));
    const scrolled = transform();
    expect(scrolled).not.toBe(start);
    act(() => void canvas().dispatchEvent(new WheelEvent("wheel", { deltaY: -90, ctrlKey: true, bubbles: true, cancelable: true })));
    expect(/scale\((.*)\)/.exec(transform())![1]).not.toBe(/scale\((.*)\)/.exec(scrolled)![1]);
    const pointer = (type: string, y: number) => act(() => void canvas().dispatchEvent(new MouseEvent(type, { clientX: 50, clientY: y, buttons: 1, button: 0, bubbles: true })));
    const before = transform();
    pointer("pointerdown", 300);
    pointer("pointermove", 240);
    click(itemNamed("blocks.1"));
    expect(transform()).not.toBe(before);
    expect(page.selection).toEqual(NOTHING);
    pointer("pointerdown", 240);
    click(itemNamed("blocks.1"));
    expect(page.selection).toEqual({ kind: "module", root: "model", path: "blocks.1" });
  });

  it("has only what is near the window in the document", () => {
    openTape(transformer(200));
    press("ArrowDown");
    press("ArrowDown");
    press("ArrowRight");
    const all = Number(itemNamed("blocks.0").getAttribute("aria-setsize"));
    expect(all).toBeGreaterThan(200);
    press("+");
    press("+");
    expect(items().length).toBeLessThan(120);
  });
});

describe("too much to draw", () => {
  it("folds what was opened first again, and says so", () => {
    openTape(transformer(90));
    press("ArrowDown");
    press("ArrowDown");
    press("ArrowRight");
    press("ArrowDown");
    press("*");
    expect(page.root.querySelector(".layered-note")!.textContent).toContain("folded again");
    expect(items().length).toBeGreaterThan(5);
    click(items().find((item) => item.getAttribute("aria-expanded") !== null)!.querySelector(".twist .hit")!);
    expect(page.root.querySelector(".layered-note")).toBeNull();
  });

  it("groups by module where the list without groups is too long, and says so", () => {
    openTape(transformer(60));
    click(buttonNamed("by module"));
    expect(page.root.querySelector(".layered-note")!.textContent).toContain("grouped by module");
    expect(names()).toContain("blocks.0–59");
  });

  it("shows a table where even the top level is too long, and says so", () => {
    const tape = new Tape();
    for (let i = 0; i < 2000; i++) tape.op(`Op${i}Backward0`, i > 0 ? [i - 1] : []);
    openTape(tape);
    expect(page.root.querySelector(".layered-canvas")).toBeNull();
    expect(page.root.querySelector(".layered-note")!.textContent).toContain("shown as a table");
    expect(page.root.querySelector(".vrows")).not.toBeNull();
  });
});

describe("edges that cannot be told apart", () => {
  it("are left out, and counted in words", () => {
    const tape = new Tape();
    for (let i = 0; i < 80; i++) tape.op(`Op${i}Backward0`, Array.from({ length: i }, (_, j) => j));
    openTape(tape);
    expect(page.root.querySelector(".layered-note.over")!.textContent).toContain("1,660 longest edges");
  });
});

describe("a stranger's names", () => {
  it("are text, and cut", () => {
    const tape = new Tape();
    const long = `<img src=x onerror="alert(1)">${"y".repeat(10_000)}`;
    const a = tape.op(long, [], { module: long, line: 3, text: long });
    tape.op(`"><script>`, [a], { module: `a".b'` });
    tape.op("AddBackward0", [a]);
    openTape(tape);
    expect(page.root.querySelector("img, script")).toBeNull();
    for (const text of canvas().querySelectorAll("text")) expect(text.textContent!.length).toBeLessThan(80);
    click(items()[0]!);
    expect(active()).not.toBeNull();
  });
});

describe("a recorded step", () => {
  it("has fired as a whole where its backward ran through all of the graph", () => {
    const snapshot = snapshotOf(transformer(2));
    const backward = { has_inputs: false } as NonNullable<Snapshot["backward"]>;
    open({ ...snapshot, backward }, true);
    expect(itemNamed("Embedding").classList.contains("fired")).toBe(true);
    act(() => page.show({ ...snapshot, backward: { ...backward, has_inputs: true } }));
    expect(itemNamed("Embedding").classList.contains("fired")).toBe(false);
  });
});

describe("no graph", () => {
  it("says why", () => {
    open({ ...snapshotOf(transformer(1)), graph: null, root: -1, missing: [{ part: "graph", reason: "The step has no backward call." }] });
    expect(page.root.textContent).toContain("The step has no backward call.");
  });
});
