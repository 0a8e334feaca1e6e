// @vitest-environment jsdom
import { render } from "preact";
import { act } from "preact/test-utils";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { earlierOf } from "../shared/gradient_changes";
import { gradientFlow, type Flow } from "../shared/gradient_flow";
import { gradientRows } from "../shared/gradient_rows";
import { gradientTree } from "../shared/gradient_tree";
import { FlowChart, flowSentence, type FlowChartProps } from "../webview/gradients/flow_chart";
import { flowGeometry, shortLabel } from "../webview/gradients/flow_geometry";
import { snapshotOf, type Told } from "./gradient_snapshot";

type Classes = Readonly<Record<string, string>>;

function flowOf(told: readonly Told[], classes: Classes = {}): Flow {
  const snapshot = snapshotOf(told, {}, classes);
  return gradientFlow(gradientTree(snapshot, gradientRows(snapshot, earlierOf(null))));
}

function layers(prefix: string, count: number, paths: readonly string[], rest: Partial<Told> = {}): Told[] {
  return Array.from({ length: count }, (_, at) => paths.map((path) => ({ path: `${prefix}.${at}.${path}`, ...rest }))).flat();
}

const BLOCK = ["attn.weight", "attn.bias", "mlp.weight", "mlp.bias"];
const labels = (flow: Flow): string[] => flow.points.map((point) => point.label);

describe("the level of the chart", () => {
  it("is the block where blocks repeat, however few points that makes", () => {
    const told = [{ path: "wte.weight" }, ...layers("blocks", 4, BLOCK), { path: "head.weight" }];
    expect(labels(flowOf(told, { blocks: "ModuleList" }))).toEqual(["wte", "0", "1", "2", "3", "head"]);
    expect(labels(flowOf(told, { blocks: "Sequential" }))).toEqual(["wte", "0", "1", "2", "3", "head"]);
  });

  it("stays with blocks of which some differ, such as every other with experts", () => {
    const mixed = [0, 1, 2, 3, 4, 5].flatMap((at): Told[] => [...BLOCK, ...(at % 2 ? ["router.weight", "router.bias"] : [])].map((path) => ({ path: `blocks.${at}.${path}` })));
    expect(labels(flowOf(mixed, { blocks: "ModuleList" }))).toEqual(["0", "1", "2", "3", "4", "5"]);
  });

  it("is deeper where two blocks make two points, and each part says whose it is", () => {
    expect(labels(flowOf(layers("blocks", 2, BLOCK), { blocks: "ModuleList" }))).toEqual(["0.attn", "0.mlp", "1.attn", "1.mlp"]);
  });

  it("opens a numbered list of unlike parts", () => {
    const unlike = ["0.conv.weight", "0.conv.bias", "0.norm.weight", "0.norm.bias", "1.fc.weight", "1.fc.bias", "1.gate.weight", "1.gate.bias"];
    expect(labels(flowOf(unlike.map((path) => ({ path: `net.${path}` }))))).toEqual(["conv", "norm", "fc", "gate"]);
  });

  it("counts blocks of encoder and decoder apart", () => {
    const both = [...layers("encoder", 3, BLOCK), ...layers("decoder", 3, BLOCK)];
    expect(labels(flowOf(both, { encoder: "ModuleList", decoder: "ModuleList" }))).toEqual(["encoder.0", "encoder.1", "encoder.2", "decoder.0", "decoder.1", "decoder.2"]);
  });

  it("keeps a block's own parameters as its ticks", () => {
    const { points } = flowOf(layers("blocks", 3, BLOCK, { l2: 2 }), { blocks: "ModuleList" });
    expect(points[0]).toMatchObject({ norm: 4, ticks: [2, 2, 2, 2], fullName: "model.blocks.0" });
  });
});

describe("labels of the axis", () => {
  const MODELS: readonly Flow[] = [
    flowOf([{ path: "wte.weight" }, { path: "unused.weight" }, ...layers("blocks", 4, BLOCK), { path: "ln_f.weight" }, { path: "head.weight" }], { blocks: "ModuleList" }),
    flowOf([{ path: "position" }, ...layers("blocks", 24, BLOCK), { path: "norm.weight" }, { path: "head.weight" }], { blocks: "ModuleList" }),
    flowOf(layers("h", 100, BLOCK), { h: "ModuleList" }),
    flowOf(Array.from({ length: 20 }, (_, at) => ({ path: `feature_extractor_${at}.weight` }))),
  ];
  const sizes = [240, 276, 300, 456, 1000].flatMap((width) => [5, 6, 8].map((letter) => ({ width, height: 150, letter })));

  it("never touch and never leave the chart, in any font and width", () => {
    for (const flow of MODELS) {
      for (const size of sizes) {
        const { labels: placed } = flowGeometry(flow, size, [2]);
        const boxes = [...placed].map(([at, middle]) => ({ middle, half: (shortLabel(flow.points[at]!.label).length * size.letter) / 2 })).sort((a, b) => a.middle - b.middle);
        expect(boxes.length).toBeGreaterThan(1);
        for (const box of boxes) expect(box.middle + box.half).toBeLessThanOrEqual(size.width);
        boxes.slice(1).forEach((box, at) => expect(box.middle - box.half - (boxes[at]!.middle + boxes[at]!.half)).toBeGreaterThan(0));
      }
    }
  });

  it("always name the running and the selected point", () => {
    for (const flow of MODELS) for (const size of sizes) expect(flowGeometry(flow, size, [3]).labels.has(3)).toBe(true);
  });

  it("leave out numbers at a regular distance", () => {
    const flow = flowOf(layers("h", 40, BLOCK), { h: "ModuleList" });
    const shown = [...flowGeometry(flow, { width: 300, height: 150, letter: 6 }, []).labels.keys()];
    const steps = new Set(shown.slice(1).map((at, before) => at - shown[before]!));
    expect(steps.size).toBe(1);
    expect(shown.length).toBeGreaterThan(5);
  });
});

describe("places in the chart", () => {
  const flow = flowOf([{ path: "a", l2: 1e-3 }, { path: "b", l2: 1e-20 }]);
  const at = flowGeometry(flow, { width: 480, height: 168, letter: 6 }, []);

  it("grow upwards by decades of the same height", () => {
    const steps = [1e-8, 1e-6, 1e-4, 1e-2].map((norm) => at.y(norm) - at.y(norm * 100));
    for (const step of steps) expect(step).toBeCloseTo(steps[0]!);
    expect(steps[0]).toBeGreaterThan(0);
  });

  it("of what lies outside are its edges, never beyond", () => {
    expect([at.y(1e-30), at.y(1e30)]).toEqual([at.bottom, at.top]);
  });

  it("of rails are outside of the decades", () => {
    expect(at.railAbove).toBeLessThan(at.top);
    expect(at.railBelow).toBeGreaterThan(at.bottom);
  });
});

describe("the drawn chart", () => {
  const flow = flowOf(
    [{ path: "wte.weight", pending: true }, ...layers("blocks", 4, BLOCK), { path: "ln.weight", nan: 2 }, { path: "head.weight", state: "None" }],
    { blocks: "ModuleList" },
  );
  let root: HTMLElement;
  const onSelect = vi.fn();
  const draw = (props: Partial<FlowChartProps> = {}): void =>
    void act(() => render(<FlowChart {...{ flow, width: 480, height: 168, earlier: "stop 3", selected: -1, running: -1, onSelect }} {...props} />, root));
  const chart = (): Element => root.querySelector(".flow")!;
  const press = (key: string): void => void act(() => void chart().dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true })));
  const at = (): string => root.querySelector(`#${chart().getAttribute("aria-activedescendant")}`)!.getAttribute("aria-label")!;

  beforeEach(() => (root = document.body.appendChild(document.createElement("div"))));
  afterEach(() => {
    act(() => render(null, root));
    root.remove();
    vi.clearAllMocks();
  });

  it("moves by arrows within its points, to both ends, and selects by Enter and Space", () => {
    draw();
    press("End");
    expect(at()).toBe("model.head.weight, no norm, None");
    press("ArrowRight");
    press("Enter");
    expect(onSelect).toHaveBeenLastCalledWith(flow.points.at(-1));
    press("Home");
    press("ArrowLeft");
    press(" ");
    expect(onSelect).toHaveBeenLastCalledWith(flow.points[0]);
    expect(at()).toContain("pending");
  });

  it("leaves other keys to the panel", () => {
    draw();
    const event = new KeyboardEvent("keydown", { key: "f", bubbles: true, cancelable: true });
    const panel = vi.fn();
    root.addEventListener("keydown", panel, { once: true });
    act(() => void chart().dispatchEvent(event));
    expect(event.defaultPrevented).toBe(false);
    expect(panel).toHaveBeenCalled();
  });

  it("has a glyph for NaN and None outside of the plot, at their points", () => {
    draw();
    const point = (name: string): Element => [...root.querySelectorAll("[role=option]")].find((one) => one.getAttribute("aria-label")!.startsWith(name))!;
    expect(point("model.ln.weight").querySelector("svg, use, .c-nan")).not.toBeNull();
    expect(point("model.head.weight").querySelector("circle")).toBeNull();
    expect(point("model.blocks.2").querySelector("circle")).not.toBeNull();
  });

  it("shades what waits for the running backward and says from when its values are", () => {
    draw({ running: 1 });
    expect(root.querySelector(".flow-pending")).not.toBeNull();
    draw({ running: 4, width: 900 });
    expect(chart().textContent).toContain("pending: stop 3");
    expect(root.querySelector("text.here")!.textContent).toBe("3");
  });

  it("breaks its line where a norm is missing", () => {
    draw();
    expect(root.querySelector(".flow-line")!.getAttribute("d")!.match(/M/g)).toHaveLength(1);
    const gap = flowOf([{ path: "a" }, { path: "b", state: "None" }, { path: "c" }]);
    draw({ flow: gap });
    expect(root.querySelector(".flow-line")!.getAttribute("d")!.match(/M/g)).toHaveLength(2);
  });

  it("names largest, smallest and what is wrong in one sentence", () => {
    expect(flowSentence(flow)).toMatch(/^Gradient norm by depth, 7 modules, from .* to .*; NaN in model\.ln\.weight, None in model\.head\.weight\.$/);
  });
});
