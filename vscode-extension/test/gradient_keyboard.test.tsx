// @vitest-environment jsdom
import { render } from "preact";
import { act } from "preact/test-utils";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Selection } from "../shared/selection";
import { GradientsView } from "../webview/gradients/gradients_view";
import { memoryStore, StoreContext, type Store } from "../webview/stored";
import type { ViewProps } from "../webview/view";
import { snapshotOf, tensor, type Told } from "./gradient_snapshot";

vi.mock("../webview/components/heat_map", () => ({ HeatMap: () => <div class="heat" /> }));

const TOLD: readonly Told[] = [
  { path: "wte.weight", shape: [64, 8] },
  ...[0, 1, 2].flatMap((block): Told[] => ["ln", "fc"].flatMap((name) => [{ path: `blocks.${block}.${name}.weight`, l2: block + 1 }, { path: `blocks.${block}.${name}.bias`, nan: block === 2 && name === "fc" ? 1 : 0 }])),
  { path: "head.weight", state: "None" },
];
const SNAPSHOT = snapshotOf(TOLD, { variables: [tensor("loss", { grad_fn: "MeanBackward0" })] }, { "": "Net", blocks: "ModuleList" });

let root: HTMLElement;
let store: Store;
let selected: Selection;
const ask = vi.fn(() => Promise.resolve(null));

function draw(selection: Selection = selected, width = 480): void {
  selected = selection;
  const view: ViewProps = {
    session: "s", snapshot: SNAPSHOT, previous: null, dimmed: false, selection, select: (next) => draw(next, width), showTab: vi.fn(),
    ask: ask as unknown as ViewProps["ask"], onCommand: () => () => undefined, breakHere: vi.fn(), width,
  };
  act(() => render(<StoreContext.Provider value={store}><GradientsView {...view} /></StoreContext.Provider>, root));
}

beforeEach(() => {
  root = document.body.appendChild(document.createElement("div"));
  store = memoryStore();
  draw({ kind: "none" });
});

afterEach(() => {
  act(() => render(null, root));
  root.remove();
  vi.clearAllMocks();
});

const tree = (): HTMLElement => root.querySelector<HTMLElement>("[role=tree]")!;
const rows = (): HTMLElement[] => [...root.querySelectorAll<HTMLElement>("[role=treeitem]")].sort((a, b) => Number.parseFloat(a.style.top) - Number.parseFloat(b.style.top));
const names = (): string[] => rows().map((row) => row.querySelector(".short-name")!.textContent!);
const at = (): string => document.getElementById(tree().getAttribute("aria-activedescendant") ?? "")?.querySelector(".short-name")?.textContent ?? "";
const field = (): HTMLInputElement => root.querySelector<HTMLInputElement>("input.field")!;

function press(key: string, on: Element = tree()): KeyboardEvent {
  const event = new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true });
  act(() => void on.dispatchEvent(event));
  return event;
}

function type(text: string): void {
  field().value = text;
  act(() => void field().dispatchEvent(new Event("input", { bubbles: true })));
}

describe("keys in the tree", () => {
  it("go down and up, and to both ends", () => {
    press("ArrowDown");
    expect(at()).toBe("model");
    press("End");
    expect(at()).toBe("loss");
    press("ArrowUp");
    expect(at()).toBe("variables");
    press("Home");
    expect(at()).toBe("model");
  });

  it("open with right, go in with right again, and back out with left", () => {
    draw({ kind: "module", root: "model", path: "blocks.1" });
    const all = names().length;
    press("ArrowLeft");
    expect(names().length).toBeLessThan(all);
    press("ArrowRight");
    expect(names()).toHaveLength(all);
    press("ArrowRight");
    expect(at()).toBe("ln");
    press("ArrowLeft");
    press("ArrowLeft");
    expect(at()).toBe("blocks.1");
  });

  it("select for every view, and the dock follows", () => {
    draw({ kind: "module", root: "model", path: "blocks.1" });
    press("ArrowDown");
    expect(selected).toEqual({ kind: "module", root: "model", path: "blocks.1.ln" });
    expect(root.querySelector(".grad-title")!.textContent).toContain("model.blocks.1.ln");
    expect(root.querySelector(".grad-title")!.textContent).toContain("2 parameters, 8 elements");
  });

  it("jump to what is typed", () => {
    press("h");
    press("e");
    expect(at()).toBe("head.weight");
  });

  it("open a module with Enter", () => {
    draw({ kind: "module", root: "model", path: "blocks.0" });
    const all = names().length;
    press("Enter");
    expect(names().length).toBeLessThan(all);
  });

  it("leave what they do not know to the panel", () => {
    expect(press("F5").defaultPrevented).toBe(false);
  });
});

describe("keys in the filter", () => {
  it("go on in the tree with the down arrow", () => {
    type("fc");
    press("ArrowDown", field());
    expect(document.activeElement).toBe(tree());
    press("ArrowDown");
    expect(at()).toBe("model");
  });

  it("take the filter back with Escape, and the panel does not see that key", () => {
    const panel = vi.fn();
    root.addEventListener("keydown", panel);
    type("fc");
    press("Escape", field());
    expect(field().value).toBe("");
    expect(panel).not.toHaveBeenCalled();
    press("Escape", field());
    expect(panel).toHaveBeenCalledOnce();
  });
});

describe("what the filter leaves", () => {
  it("are parameters below their modules, all open", () => {
    type("2.fc");
    expect(names()).toEqual(["model", "blocks.2", "fc", "weight", "bias"]);
  });

  it("may be closed, and opens again with another filter", () => {
    type("2.fc");
    draw({ kind: "module", root: "model", path: "blocks.2" });
    press("ArrowLeft");
    expect(names()).toEqual(["model", "blocks.2"]);
    type("2.fc.b");
    expect(names()).toEqual(["model", "blocks.2", "fc", "bias"]);
  });

  it("is trouble alone, also together with a name", () => {
    type(":nan");
    expect(names()).toEqual(["model", "blocks.2", "fc", "bias"]);
    type(":nan ln");
    expect(root.textContent).toContain("Nothing matches.");
  });

  it("is what it was when it is taken back: what was closed stays closed", () => {
    draw({ kind: "module", root: "model", path: "blocks.0" });
    press("ArrowLeft");
    const before = names();
    type("2.fc");
    type("");
    expect(names()).toEqual(before);
  });

  it("is sorted when a column is, under full names without the only model's own", () => {
    type("weight");
    act(() => root.querySelector<HTMLElement>(".head-norm")!.click());
    expect(names().slice(0, 3)).toEqual(["blocks.2.ln.weight", "blocks.2.fc.weight", "blocks.1.ln.weight"]);
    expect(root.querySelector(".head-norm")!.getAttribute("aria-label")).toBe("norm, sorted descending");
  });
});

describe("a row where there is little room", () => {
  it("keeps the variable's name apart from its class, which gives way first", () => {
    draw({ kind: "none" }, 300);
    const [name, className] = [...rows()[0]!.querySelectorAll(".nm > .short-name, .nm > em")].map((one) => one.textContent);
    expect([name, className]).toEqual(["model", "Net"]);
  });

  it("keeps its whole name in its sentence", () => {
    draw({ kind: "none" }, 300);
    expect(rows().every((row) => row.getAttribute("aria-label")!.length > 0)).toBe(true);
    expect(rows().map((row) => row.getAttribute("aria-label")!.split(",")[0])).toContain("model.blocks.2.fc.bias");
  });
});
