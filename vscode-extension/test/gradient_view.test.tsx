// @vitest-environment jsdom
import { render } from "preact";
import { act } from "preact/test-utils";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Selection } from "../shared/selection";
import type { Snapshot } from "../shared/session";
import type { HeatMapProps } from "../webview/components/heat_map";
import { GradientsView } from "../webview/gradients/gradients_view";
import { cutName } from "../webview/gradients/tree_row";
import { memoryStore, StoreContext, type Store } from "../webview/stored";
import type { ViewCommand, ViewProps } from "../webview/view";
import { column, snapshotOf, stop, tensor, type Told } from "./gradient_snapshot";

const heatMaps: HeatMapProps[] = [];
vi.mock("../webview/components/heat_map", () => ({
  HeatMap: (props: HeatMapProps) => {
    heatMaps.push(props);
    return <div class="heat">{props.control}</div>;
  },
}));

const TOLD: readonly Told[] = [
  { path: "wte.weight", shape: [64, 8], aliases: ["head.weight"], l2: 2, previous: 1, changed: true },
  { path: "scale", state: "None", shape: [8] },
  ...[0, 1].flatMap((block): Told[] => [
    { path: `blocks.${block}.ln.weight`, shape: [8], histogram: { 30: 20, 31: 25 } },
    { path: `blocks.${block}.ln.bias`, shape: [8] },
    { path: `blocks.${block}.proj.weight`, shape: [8, 8] },
  ]),
  { path: "out.weight", state: "unread", shape: [8] },
  { path: "out.bias", shape: [8], nan: 3 },
  { path: "cold", state: "frozen", shape: [8] },
];
const CLASSES = { "": "GPT", blocks: "ModuleList" };
const VARIABLES = [
  tensor("loss", { grad_fn: "MeanBackward0", number: "-2.31", requires_grad: true }),
  { expression: "model", kind: "module" as const, class_name: "GPT" },
  { expression: "optimizer", kind: "optimizer" as const, class_name: "AdamW", parameter_count: 11 },
];
const SNAPSHOT = snapshotOf(TOLD, { variables: VARIABLES }, CLASSES);

let root: HTMLElement;
let store: Store;
let shown: { selection: Selection; props: Partial<ViewProps> };
let command: (name: ViewCommand) => boolean;
const select = vi.fn((selection: Selection) => draw({}, selection));
const breakHere = vi.fn();
const ask = vi.fn(() => Promise.resolve(null));

function draw(props: Partial<ViewProps> = {}, selection: Selection = shown.selection): void {
  shown = { selection, props: { ...shown.props, ...props } };
  const onCommand = (listener: typeof command): (() => void) => {
    command = listener;
    return () => undefined;
  };
  const view: ViewProps = {
    session: "s", snapshot: SNAPSHOT, previous: null, dimmed: false, selection, select, showTab: vi.fn(), ask: ask as unknown as ViewProps["ask"],
    onCommand, breakHere, width: 480, ...shown.props,
  };
  act(() => render(<StoreContext.Provider value={store}><GradientsView {...view} /></StoreContext.Provider>, root));
}

beforeEach(() => {
  root = document.body.appendChild(document.createElement("div"));
  store = memoryStore();
  shown = { selection: { kind: "none" }, props: {} };
  heatMaps.length = 0;
});

afterEach(() => {
  act(() => render(null, root));
  root.remove();
  vi.clearAllMocks();
});

const all = (selector: string): HTMLElement[] => [...root.querySelectorAll<HTMLElement>(selector)];
const one = (selector: string): HTMLElement => root.querySelector<HTMLElement>(selector)!;
const rows = (): HTMLElement[] => all("[role=treeitem]");
const labels = (): string[] => rows().map((row) => row.getAttribute("aria-label")!);
const row = (start: string): HTMLElement => rows().find((each) => each.getAttribute("aria-label")!.startsWith(start))!;
const click = (element: Element): void => void act(() => void element.dispatchEvent(new MouseEvent("click", { bubbles: true })));
const press = (element: Element, key: string): void => void act(() => void element.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true })));
function type(text: string): void {
  const input = one("input.field") as HTMLInputElement;
  input.value = text;
  act(() => void input.dispatchEvent(new Event("input", { bubbles: true })));
}
const id = (path: string): number => TOLD.findIndex((told) => told.path === path);

describe("the tree", () => {
  it("says each row's state in words, also where only a glyph is drawn", () => {
    draw({ width: 300 });
    expect(row("model.scale")).toHaveProperty("ariaLabel", "model.scale, None");
    expect(row("model.out.bias").getAttribute("aria-label")).toMatch(/NaN, norm 1\.00e0/);
    expect(row("model.blocks.0.ln.bias").getAttribute("aria-label")).toMatch(/finite/);
    expect(row("model.cold").getAttribute("aria-label")).toMatch(/frozen/);
  });

  it("never shows a number for what was not read", () => {
    draw();
    expect(row("model.out.weight").getAttribute("aria-label")).toBe("model.out.weight, not read");
    expect(row("model.out.weight").querySelector(".num")!.textContent).toBe("—");
  });

  it("tells level, place, siblings and what is open", () => {
    draw();
    const attributes = ["aria-level", "aria-posinset", "aria-setsize", "aria-expanded"].map((name) => row("model.blocks.1,").getAttribute(name));
    expect(attributes).toEqual(["2", "4", "6", "true"]);
  });

  it("names tied weights", () => {
    draw();
    expect(row("model.wte.weight").getAttribute("aria-label")).toContain("tied with head.weight");
    expect(row("model.wte.weight").textContent).toContain("tied");
  });

  it("marks what changed and says by how much", () => {
    draw();
    expect(row("model.wte.weight").className).toContain("changed");
    expect(row("model.wte.weight").querySelector(".ratio")!.textContent).toBe("×2.00");
    expect(row("model.blocks.0.ln.bias").className).not.toContain("changed");
  });

  it("has no column for changes at the first stop", () => {
    draw({ snapshot: snapshotOf([{ path: "a" }, { path: "b" }], {}, {}) });
    expect(one(".head-ratio")).toBeNull();
  });

  it("opens and closes by the twistie without selecting", () => {
    draw();
    click(row("model.blocks.0,").querySelector(".tw")!);
    expect(labels().some((label) => label.startsWith("model.blocks.0.ln"))).toBe(false);
    expect(select).not.toHaveBeenCalled();
  });

  it("selects with a click and with the arrows", () => {
    draw();
    click(row("model.scale"));
    expect(select).toHaveBeenLastCalledWith({ kind: "parameter", id: id("scale") });
    press(one("[role=tree]"), "ArrowDown");
    expect(select).toHaveBeenLastCalledWith({ kind: "module", root: "model", path: "blocks.0" });
    expect(one("[role=tree]").getAttribute("aria-activedescendant")).toBe(row("model.blocks.0,").id);
    expect(row("model.blocks.0,").id).not.toMatch(/\s/);
  });

  it("selects nothing by a group, and no dock opens", () => {
    draw();
    click(row("variables"));
    expect(select).toHaveBeenLastCalledWith({ kind: "none" });
    expect(one(".dock")).toBeNull();
  });

  it("draws at most 60 of 10,000 rows", () => {
    const many = Array.from({ length: 10_000 }, (_, at): Told => ({ path: `p${at}` }));
    draw({ snapshot: snapshotOf(many) });
    expect(rows().length).toBeGreaterThan(10);
    expect(rows().length).toBeLessThanOrEqual(60);
  });

  it("keeps what was opened and filtered while it was away", () => {
    draw();
    type("bias");
    act(() => render(null, root));
    draw();
    expect((one("input.field") as HTMLInputElement).value).toBe("bias");
    expect(labels().every((label) => !label.startsWith("model.scale"))).toBe(true);
  });
});

describe("a selection made elsewhere", () => {
  const snapshot = snapshotOf(
    Array.from({ length: 40 }, (_, at): Told => ({ path: `blocks.${at >> 1}.${at % 2 === 0 ? "weight" : "bias"}` })),
    {},
    { blocks: "ModuleList" },
  );

  it("opens the way to its row", () => {
    draw({ snapshot });
    expect(row("model.blocks.7.bias")).toBeUndefined();
    draw({}, { kind: "parameter", id: 15 });
    expect(row("model.blocks.7.bias").getAttribute("aria-selected")).toBe("true");
  });

  it("of a module that was folded selects its only entry", () => {
    draw({}, { kind: "module", root: "model", path: "wte" });
    expect(row("model.wte.weight").getAttribute("aria-selected")).toBe("true");
  });

  it("of a module without parameters selects the one around it", () => {
    draw({}, { kind: "module", root: "model", path: "blocks.1.relu" });
    expect(row("model.blocks.1,").getAttribute("aria-selected")).toBe("true");
  });

  it("of a node selects its leaf, or its module", () => {
    const graph = {
      id: 0, digest: "d", names: ["n"], node_count: 2, name: column("<i4", [0, 0]), module: column("<i4", [-1, 2]), site: column("<i4", []),
      project_site: column("<i4", []), parameter: column("<i4", [id("scale"), -1]), in_backward: column("|u1", []), roots: [1], edge_count: 0,
      edge_source: column("<u4", []), edge_slot: column("<u4", []), edge_target: column("<u4", []), edge_input_nr: column("<u4", []),
    };
    const modules = [{ id: 2, root: "model", path: "blocks.1", class_name: "Block" }];
    draw({ snapshot: { ...SNAPSHOT, graph, modules } }, { kind: "node", index: 0 });
    expect(row("model.scale").getAttribute("aria-selected")).toBe("true");
    draw({}, { kind: "node", index: 1 });
    expect(row("model.blocks.1,").getAttribute("aria-selected")).toBe("true");
  });
});

describe("sorting and filtering", () => {
  it("sorts by a head, back at the third press", () => {
    draw();
    const before = labels();
    const head = (): HTMLElement => one(".head-norm");
    click(head());
    expect(labels()[0]).toMatch(/^model\.out\.bias, NaN/);
    expect(head().getAttribute("aria-label")).toBe("norm, sorted descending");
    click(head());
    click(head());
    expect(labels()).toEqual(before);
  });

  it("counts what it finds", () => {
    draw();
    type(":none");
    expect(one(".grad-count").textContent).toBe("1 of 11");
    expect(labels()).toEqual([expect.stringMatching(/^model,/), "model.scale, None"]);
  });

  it("says what it cannot read and goes on", () => {
    draw();
    type(":nonsense bias");
    expect(one("[role=status]").textContent).toMatch(/^:nonsense is not known\. Known: :trouble/);
    expect(one("input.field").getAttribute("aria-invalid")).toBe("true");
    expect(labels().some((label) => label.startsWith("model.out.bias"))).toBe(true);
  });

  it("says when nothing is left, and Escape takes the filter back", () => {
    draw();
    type("zzz");
    expect(one(".grad-nothing").textContent).toBe("Nothing matches.");
    press(one("input.field"), "Escape");
    expect(rows().length).toBeGreaterThan(5);
  });

  it("keeps trouble alone at a press", () => {
    draw();
    click(one("button.tog"));
    expect(one("button.tog").getAttribute("aria-pressed")).toBe("true");
    expect(labels().filter((label) => label.startsWith("model."))).toEqual(["model.scale, None", expect.stringMatching(/^model\.out, NaN/), expect.stringMatching(/^model\.out\.bias, NaN/)]);
  });

  it("keeps letters typed in the field from the panel's keys", () => {
    draw();
    const outside = vi.fn();
    root.addEventListener("keydown", outside);
    press(one("input.field"), "b");
    expect(outside).not.toHaveBeenCalled();
  });
});

describe("the chart", () => {
  it("has one sentence for a name and words for each point", () => {
    draw();
    expect(one(".flow").getAttribute("aria-label")).toMatch(/^Gradient norm by depth, 8 modules, from .* to 2\.00e0 \(model\.wte\.weight\); None in model\.scale, NaN in model\.out\.$/);
    expect(all("[role=option]").map((point) => point.getAttribute("aria-label"))).toContain("model.scale, no norm, None");
  });

  it("is reached by keys: arrows move, Enter selects", () => {
    draw();
    press(one(".flow"), "ArrowRight");
    press(one(".flow"), "Enter");
    expect(select).toHaveBeenLastCalledWith({ kind: "parameter", id: id("scale") });
    expect(one("[role=option][aria-selected=true]").getAttribute("aria-label")).toMatch(/^model\.scale/);
  });

  it("shows itself as a table", () => {
    draw();
    act(() => void command("showAsTable"));
    expect(all("tbody tr")).toHaveLength(8);
    expect(one("table").textContent).toContain("model.out1.00e0— NaN");
    click(one("tbody button"));
    expect(select).toHaveBeenLastCalledWith({ kind: "parameter", id: id("wte.weight") });
  });

  it("says that there are no gradients yet instead of an empty plot", () => {
    draw({ snapshot: snapshotOf([{ path: "a", state: "None" }, { path: "b", state: "None" }]) });
    expect(one(".flow")).toBeNull();
    expect(one(".flow-section").textContent).toContain("No .grad yet");
  });

  it("marks how far backward has come", () => {
    const told = Array.from({ length: 30 }, (_, at): Told => ({ path: `blocks.${at >> 1}.${at % 2}`, pending: at < 12 }));
    draw({ snapshot: snapshotOf(told, { stop: stop({ in_backward: true }) }, { blocks: "ModuleList" }) });
    expect(one(".flow-here")).not.toBeNull();
    expect(all(".flow-mark.before")).toHaveLength(6);
  });
});

describe("commands", () => {
  it("walk through trouble, round and round", () => {
    draw();
    const walked = ["nextTrouble", "nextTrouble", "nextTrouble", "previousTrouble"] as const;
    const ids = walked.map((name) => {
      act(() => void command(name));
      return (select.mock.lastCall![0] as { id: number }).id;
    });
    expect(ids.map((each) => TOLD[each]!.path)).toEqual(["scale", "out.bias", "scale", "out.bias"]);
  });

  it("say that they did nothing where there is no trouble", () => {
    draw({ snapshot: snapshotOf([{ path: "a" }]) });
    expect(command("nextTrouble")).toBe(false);
  });

  it("focus the filter", () => {
    draw();
    command("filter");
    expect(document.activeElement).toBe(one("input.field"));
  });
});

describe("the dock", () => {
  const of = (path: string): Selection => ({ kind: "parameter", id: id(path) });

  it("shows a parameter's numbers, with the wrong ones told apart", () => {
    draw({}, of("out.bias"));
    const facts = Object.fromEntries(all(".grad-kv > div").map((fact) => [fact.querySelector("dt")!.textContent, fact.querySelector("dd")!]));
    expect([facts["norm"]!.textContent, facts["abs max"]!.textContent, facts["NaN, Inf"]!.textContent]).toEqual(["1.00e0", "5.00e−1", "3, 0"]);
    expect(facts["NaN, Inf"]!.className).toBe("c-nan");
  });

  it("asks for a window of .grad, and of the value at a press", () => {
    draw({}, of("wte.weight"));
    expect(heatMaps.at(-1)).toMatchObject({ subject: { stop: 4, field: "grad", parameter: id("wte.weight") }, shape: [64, 8], absMax: 1, nonFinite: 0 });
    click(all(".grad-switch button").at(-1)!);
    expect(heatMaps.at(-1)!.subject.field).toBe("value");
    expect(heatMaps.at(-1)!.absMax).toBeUndefined();
  });

  it("shows the value where there is no .grad", () => {
    draw({}, of("scale"));
    expect(heatMaps.at(-1)!.subject.field).toBe("value");
    draw({}, of("cold"));
    expect(heatMaps.at(-1)!.subject).toMatchObject({ field: "value", parameter: id("cold") });
  });

  it("asks for no values of a stop that is over, nor behind the histogram of a narrow panel", () => {
    draw({ dimmed: true }, of("wte.weight"));
    draw({ dimmed: false, width: 300 }, of("blocks.0.ln.weight"));
    expect(heatMaps).toHaveLength(0);
    click(all(".grad-switch button").at(-1)!);
    expect(heatMaps).toHaveLength(1);
  });

  it("draws the histogram with the previous stop as a line", () => {
    draw({ previous: snapshotOf(TOLD, { stop: stop({ number: 3 }) }, CLASSES) }, of("blocks.0.ln.weight"));
    expect(all(".magnitudes-bar")).toHaveLength(2);
    expect(one(".magnitudes-before")).not.toBeNull();
    expect(one(".magnitude-box").textContent).toContain("line: stop 3");
    expect(one(".magnitudes").getAttribute("aria-label")).toBe("Histogram of magnitudes: most lie between 2 to the −16 and 2 to the −15.");
  });

  it("says that a histogram is missing", () => {
    draw({}, of("out.bias"));
    expect(one(".magnitude-box").textContent).toContain("No histogram");
  });

  it("breaks when backward computes the gradient, but not a frozen one", () => {
    draw({}, of("wte.weight"));
    click(one(".grad-acts button"));
    expect(breakHere).toHaveBeenCalledWith(of("wte.weight"));
    draw({}, of("cold"));
    expect(all(".grad-acts button")).toHaveLength(1);
  });

  it("copies the numbers in full", () => {
    draw({}, of("wte.weight"));
    click(all(".grad-acts button").at(-1)!);
    expect(ask).toHaveBeenCalledWith("copyText", { text: "model.wte.weight\t2\t1\t0\t0\t0\tfinite" });
  });

  it("of a module counts its parameters by state", () => {
    draw({}, { kind: "module", root: "model", path: "out" });
    expect(one(".grad-title").textContent).toContain("1 NaN");
    expect(one(".grad-title").textContent).toContain("1 not read");
    expect(one(".grad-kv").textContent).toContain("1 of 2 were read");
  });

  it("of a tensor with a grad_fn leads to its graph", () => {
    const showTab = vi.fn();
    draw({ showTab }, { kind: "variable", index: 0 });
    expect(one(".grad-kv").textContent).toContain("−2.31");
    click(one(".grad-acts button"));
    expect(ask).toHaveBeenCalledWith("chooseRoot", { expression: "loss" });
    expect(showTab).toHaveBeenCalledWith("graph");
  });

  it("closes by its button", () => {
    draw({}, of("wte.weight"));
    click(one(".dock-close"));
    expect(select).toHaveBeenLastCalledWith({ kind: "none" });
    expect(one(".dock")).toBeNull();
  });
});

it("draws a snapshot of which nothing was read", () => {
  const bare: Snapshot = { state: "ready", run: SNAPSHOT.run, stop: SNAPSHOT.stop };
  draw({ snapshot: bare });
  expect(rows()).toHaveLength(0);
});

it("cuts long names in the middle: block and parameter stay", () => {
  expect(cutName("blocks.11.mlp.fc2.weight")).toEqual(["blocks.11", ".mlp", ".fc2.weight"]);
  expect(cutName("encoder.transformer.layer_norm.weight")).toEqual(["encoder", ".transformer", ".layer_norm.weight"]);
  expect(cutName("ln_f.weight")).toEqual(["ln_f.weight", "", ""]);
  expect(cutName("a_tensor_with_quite_a_name").join("")).toBe("a_tensor_with_quite_a_name");
});
