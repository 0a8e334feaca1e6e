// @vitest-environment jsdom
import { render } from "preact";
import { useState } from "preact/hooks";
import { act } from "preact/test-utils";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { NOTHING, type Selection } from "../shared/selection";
import type { Snapshot } from "../shared/session";
import { heldText } from "../shared/text";
import { fit, neighbour } from "../webview/held/treemap";
import { heldTreemap } from "../shared/held_treemap";
import { heldModel } from "../shared/held_model";
import { HeldView } from "../webview/held/held_view";
import { memoryStore, StoreContext } from "../webview/stored";
import type { Ask, Tab, ViewCommand } from "../webview/view";
import { heldSnapshot, type TestLedger } from "./held_snapshot";

const MODEL = "/home/someone/project/model.py";

const BLOCKS: TestLedger = {
  modules: ["", "blocks.0", "blocks.1"],
  lines: [
    { file: MODEL, line: 51, text: "att = scores.softmax(-1)" },
    { file: MODEL, line: 67, text: "h = F.gelu(h)" },
  ],
  nodes: [
    { op: "SoftmaxBackward0", module: 1, site: 0 },
    { op: "GeluBackward0", module: 2, site: 1 },
    { op: "MulBackward0", module: 2, site: 1 },
  ],
  saved: [
    { node: 0, role: "result", storage: 0, shape: [8, 8] },
    { node: 1, role: "self", storage: 1, shape: [4] },
    { node: 2, role: "other", storage: 0, shape: [8, 8] },
    { node: 2, role: "weight", storage: 2, shape: [2] },
  ],
  storages: [{ bytes: 3072 }, { bytes: 1024 }, { bytes: 8, tensorClass: "parameter" }],
  labels: [{ node: 2, label: "compiled", text: "a compiled region" }],
};

let host: HTMLElement;
let asked: [string, unknown][];
let tabs: Tab[];
let selected: Selection;
let command: (name: ViewCommand) => boolean;

const ask = ((method: string, params: unknown) => {
  asked.push([method, params]);
  return method === "values" ? new Promise(() => undefined) : Promise.resolve(null);
}) as Ask;

beforeEach(() => {
  host = document.createElement("div");
  document.body.append(host);
  [asked, tabs, selected] = [[], [], NOTHING];
  vi.spyOn(HTMLElement.prototype, "clientWidth", "get").mockReturnValue(456);
  vi.spyOn(HTMLElement.prototype, "clientHeight", "get").mockReturnValue(600);
  vi.spyOn(HTMLCanvasElement.prototype, "getContext").mockReturnValue(null);
});

afterEach(() => {
  render(null, host);
  host.remove();
  vi.restoreAllMocks();
});

interface Panel {
  readonly snapshot: Snapshot;
  readonly initial?: Selection;
}

function PanelOf({ snapshot, initial = NOTHING }: Panel) {
  const [selection, select] = useState<Selection>(initial);
  selected = selection;
  return (
    <HeldView
      session="s"
      snapshot={snapshot}
      previous={null}
      dimmed={false}
      selection={selection}
      select={select}
      showTab={(tab) => tabs.push(tab)}
      ask={ask}
      onCommand={(listener) => {
        command = listener;
        return () => undefined;
      }}
      breakHere={() => undefined}
      width={480}
    />
  );
}

async function draw(panel: Panel): Promise<void> {
  const store = memoryStore();
  await act(() =>
    render(
      <StoreContext.Provider value={store}>
        <PanelOf {...panel} />
      </StoreContext.Provider>,
      host,
    ),
  );
}

async function press(element: Element | null, key: string, change: KeyboardEventInit = {}): Promise<void> {
  await act(() => void element?.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...change })));
}

async function click(element: Element | null | undefined): Promise<void> {
  await act(() => void element?.dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true })));
}

const tree = (): Element | null => host.querySelector("[role=tree]");
const rows = (): Element[] => [...host.querySelectorAll("[role=treeitem]")];
const names = (): (string | null)[] => rows().map((row) => row.getAttribute("aria-label"));
const radio = (name: string): Element | undefined => [...host.querySelectorAll("[role=radio]")].find((element) => element.textContent === name);

describe("the held view", () => {
  it("shows the total, the classes and the lines, each with its full sentence", async () => {
    await draw({ snapshot: heldSnapshot(BLOCKS) });
    expect(host.querySelector(".held-total")?.textContent).toContain("4.00 KiB");
    expect(host.querySelector(".held-classes")?.getAttribute("aria-label")).toBe(
      "Saved tensors by class: activation 4.00 KiB, parameter 8 B, unseen: 1 compiled",
    );
    expect(names()).toEqual([
      "model.py:51, att = scores.softmax(-1), 3.00 KiB, 75.0 %",
      "model.py:67, h = F.gelu(h), 1.00 KiB, 25.0 %",
    ]);
  });

  it("groups by what is chosen, by click and by arrow keys", async () => {
    await draw({ snapshot: heldSnapshot(BLOCKS) });
    await click(radio("module"));
    expect(names()).toEqual(["blocks.0, 3.00 KiB, 75.0 %", "blocks.1, 1.00 KiB, 25.0 %"]);
    await press(host.querySelector("[role=radiogroup]"), "ArrowRight");
    expect(radio("op")?.getAttribute("aria-checked")).toBe("true");
    expect(names()[0]).toBe("SoftmaxBackward0, 3.00 KiB, 75.0 %");
  });

  it("selects a line for every view by its row, and opens it by its link or Enter", async () => {
    await draw({ snapshot: heldSnapshot(BLOCKS) });
    await click(rows()[1]);
    expect(selected).toEqual({ kind: "line", file: MODEL, line: 67 });
    expect(asked).toEqual([]);
    await press(tree(), "Enter");
    await press(tree(), "Enter", { ctrlKey: true });
    await click(rows()[0]?.querySelector("a"));
    expect(asked).toEqual([
      ["openSource", { file: MODEL, line: 67, focus: false }],
      ["openSource", { file: MODEL, line: 67, focus: true }],
      ["openSource", { file: MODEL, line: 51, focus: false }],
    ]);
  });

  it("opens a group to its saved tensors: what is shared and what is a parameter is not counted twice", async () => {
    await draw({ snapshot: heldSnapshot(BLOCKS) });
    await click(rows()[1]);
    await press(tree(), "ArrowRight");
    expect(names().slice(2)).toEqual([
      "self of GeluBackward0, 4 float32. A slice of 16 B: its whole storage of 1.00 KiB stays allocated and is counted.",
      "other of MulBackward0, 8×8 float32. It shares its storage with a tensor counted at model.py:51.",
      "weight of MulBackward0, 2 float32. 8 B of the class parameter, not counted as held.",
    ]);
    await press(tree(), "ArrowLeft");
    expect(rows()).toHaveLength(2);
  });

  it("shows a saved tensor's values in the dock, selects its node and leads to it in the graph", async () => {
    await draw({ snapshot: heldSnapshot(BLOCKS) });
    await click(rows()[0]);
    await press(tree(), "ArrowRight");
    await press(tree(), "ArrowDown");
    expect(selected).toEqual({ kind: "node", index: 0 });
    expect(host.querySelector(".held-dock")?.textContent).toContain("result of SoftmaxBackward0");
    expect(asked).toEqual([["values", expect.objectContaining({ subject: { stop: 1, field: "saved", node: 0, role: "result" } })]]);
    await press(tree(), "Enter");
    expect(tabs).toEqual(["graph"]);
    await click(rows()[0]);
    expect(host.querySelector(".held-dock")).toBeNull();
  });

  it("marks what was released inside backward and asks for no values of it", async () => {
    await draw({ snapshot: heldSnapshot({ ...BLOCKS, states: ["running", "fired", "fired"] }) });
    expect(host.querySelector(".held-total")?.textContent).toContain("1.00 KiB released");
    expect(names()[1]).toBe("model.py:67, h = F.gelu(h), 1.00 KiB released");
    await click(rows()[1]);
    await press(tree(), "ArrowRight");
    await press(tree(), "ArrowDown");
    expect(host.querySelector(".held-dock")?.textContent).toContain("released in this backward");
    expect(asked).toEqual([]);
  });

  it("says what cannot be seen, and shows the node of it", async () => {
    await draw({ snapshot: heldSnapshot(BLOCKS) });
    const unseen = host.querySelector(".held-unseen");
    expect(unseen?.textContent).toContain("A compiled region (1 node).");
    await click(unseen?.querySelector("button"));
    expect(selected).toEqual({ kind: "node", index: 2 });
  });

  it("selects a module by a cell of the treemap, by click and by keys, and outlines it", async () => {
    await draw({ snapshot: heldSnapshot(BLOCKS) });
    const box = host.querySelector("[role=listbox]");
    const cells = [...host.querySelectorAll("[role=option]")];
    expect(cells.map((cell) => cell.getAttribute("aria-label"))).toEqual(["blocks.0, 3.00 KiB, 75.0 %", "blocks.1, 1.00 KiB, 25.0 %"]);
    await click(cells[1]);
    expect(selected).toEqual({ kind: "module", root: "model", path: "blocks.1" });
    expect(host.querySelector("[role=option][aria-selected=true]")?.id).toBe(box?.getAttribute("aria-activedescendant"));
    await press(box, "ArrowLeft");
    await press(box, "Enter");
    expect(selected).toEqual({ kind: "module", root: "model", path: "blocks.0" });
  });

  it("turns the treemap into its table on command", async () => {
    await draw({ snapshot: heldSnapshot(BLOCKS) });
    let acted = false;
    await act(() => void (acted = command("showAsTable")));
    expect(acted).toBe(true);
    expect(command("filter")).toBe(false);
    expect(names()[0]).toContain("blocks.0");
  });

  it("says why nothing is shown, and never shows 0 for what was not read", async () => {
    const snapshot = heldSnapshot(BLOCKS);
    await draw({ snapshot: { ...snapshot, ledger: null, graph: null, backward: null } });
    expect(host.textContent).toContain(heldText.noGraph);
    expect(host.textContent).not.toMatch(/\b0\b/);
  });

  it("keeps a long list short until it is asked for, and finds a selected line beyond it", async () => {
    const count = 40;
    const lines = Array.from({ length: count }, (_, i) => ({ file: MODEL, line: i + 1, text: `x${i}` }));
    const snapshot = heldSnapshot({
      lines,
      nodes: lines.map((_, site) => ({ op: "MulBackward0", site })),
      saved: lines.map((_, node) => ({ node, storage: node })),
      storages: lines.map((_, i) => ({ bytes: 1000 - i })),
    });
    await draw({ snapshot });
    expect(rows()).toHaveLength(13);
    await click([...host.querySelectorAll("button")].find((button) => button.textContent === heldText.showAll(count)));
    expect(rows().length).toBeGreaterThan(13);
    render(null, host);
    await draw({ snapshot, initial: { kind: "line", file: MODEL, line: 30 } });
    expect(host.querySelector("[aria-selected=true]")?.getAttribute("aria-label")).toContain("model.py:30,");
  });
});

describe("the labels of the treemap", () => {
  it("drop leading parts until they fit, and stay away where nothing does", () => {
    expect(fit("blocks.0.attn", 20)).toBe("blocks.0.attn");
    expect(fit("blocks.0.attn", 7)).toBe("0.attn");
    expect(fit("blocks.0.attn", 4)).toBe("attn");
    expect(fit("blocks.0.attn", 3)).toBe("");
  });

  it("are neighbours as the eye sees them", () => {
    const model = heldModel(heldSnapshot(BLOCKS));
    const [left, right] = model ? heldTreemap(model, 400, 200).flatMap((group) => group.cells) : [];
    if (!left || !right) throw new Error("two cells");
    expect(neighbour([left, right], left, "ArrowRight")).toBe(right);
    expect(neighbour([left, right], right, "ArrowRight")).toBe(right);
    expect(neighbour([left, right], right, "ArrowLeft")).toBe(left);
  });
});
