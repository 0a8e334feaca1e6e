// @vitest-environment jsdom
import { render, type ComponentChild } from "preact";
import { act } from "preact/test-utils";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { histogramBars } from "../shared/gradient_histogram";
import { gradientModel } from "../shared/gradient_model";
import type { GradientNode } from "../shared/gradient_tree";
import { FactTable, gradientFacts } from "../webview/gradients/fact_table";
import { MagnitudeHistogram } from "../webview/gradients/magnitude_histogram";
import { Pictures } from "../webview/gradients/pictures";
import { RangeGlyph } from "../webview/gradients/range_glyph";
import { copiedRow, rowLabel, tooltipOf } from "../webview/gradients/row_words";
import { snapshotOf, tensor, type Told } from "./gradient_snapshot";

const TOLD: readonly Told[] = [
  { path: "a.weight", shape: [4, 8], l2: 0.5, histogram: { 30: 20, 31: 25 }, aliases: ["head.weight"] },
  { path: "a.bias", shape: [8], nan: 2, changed: true, previous: 1 },
  { path: "b", state: "None" },
  { path: "c", pending: true, previous: 2 },
  { path: "d", l2: 0, zeros: 4 },
];
const model = gradientModel(snapshotOf(TOLD, { variables: [tensor("loss", { grad_fn: "MeanBackward0", number: "2.5" })] }), null);

function node(name: string): GradientNode {
  return [...model.byKey.values()].find((one) => one.fullName === name)!;
}

let root: HTMLElement;
const draw = (what: ComponentChild): void => void act(() => render(what, root));

beforeEach(() => (root = document.body.appendChild(document.createElement("div"))));
afterEach(() => {
  act(() => render(null, root));
  root.remove();
});

describe("the words of a row", () => {
  it("are name, state, norm and its other names, in one sentence", () => {
    expect(rowLabel(node("model.a.weight"), null)).toBe("model.a.weight, finite, norm 5.00e−1, tied with head.weight");
  });

  it("say that a value is from before", () => {
    expect(rowLabel(node("model.c"), null)).toBe("model.c, pending, norm 1.00e0, values from before");
  });

  it("say that it changed, without a ratio where a part is not finite", () => {
    expect(rowLabel(node("model.a.bias"), "stop 3")).toMatch(/^model\.a\.bias, NaN, norm .*changed/);
  });

  it("of a variable are what it is, and no norm", () => {
    expect(rowLabel(node("loss"), null)).toBe("loss, Tensor, scalar, float32, cpu, MeanBackward0, 2.5");
  });

  it("stand on hover with numbers in full and what the state means", () => {
    const lines = tooltipOf(node("model.a.bias"), null).split("\n");
    expect(lines[0]).toBe("model.a.bias");
    expect(lines).toContain("8 float32 cuda:0");
    expect(lines.at(-1)).toBe("It holds a NaN.");
  });

  it("are copied with tabs, empty where there is no number", () => {
    expect(copiedRow(node("model.a.weight")).split("\t")).toEqual(["model.a.weight", "0.5", "0.25", "0", "0", "0", "finite"]);
    expect(copiedRow(node("model.b")).split("\t")).toEqual(["model.b", "", "", "", "", "", "None"]);
  });
});

describe("the range", () => {
  const range = (name: string): void => draw(<RangeGlyph summary={node(name).summary!} />);

  it("has a tick at the root mean square, further right the larger it is", () => {
    range("model.a.weight");
    const x = (): number => Number(/^M([\d.]+)/.exec(root.querySelector(".range-rms")!.getAttribute("d")!)![1]);
    const smaller = x();
    range("model.c");
    expect(x()).toBeGreaterThan(smaller);
  });

  it("is a dotted line for None, and only the axis for zero", () => {
    range("model.b");
    expect(root.querySelector(".range-none")).not.toBeNull();
    range("model.d");
    expect([root.querySelector(".range-rms"), root.querySelector(".range-bar")]).toEqual([null, null]);
    expect(root.querySelector(".range-axis")).not.toBeNull();
  });

  it("has no bar where the smallest value is not known", () => {
    range("model.c");
    expect(root.querySelector(".range-bar")).toBeNull();
    range("model.a.weight");
    expect(root.querySelector(".range-bar")).not.toBeNull();
  });
});

describe("the facts", () => {
  const text = (name: string): string => root.querySelectorAll("dt").length === 0 ? "" : [...root.querySelectorAll("div")].find((row) => row.querySelector(":scope > dt")?.textContent === name)!.querySelector("dd")!.textContent!;

  it("of a gradient with NaN count them and mark the number", () => {
    draw(<FactTable facts={gradientFacts(node("model.a.bias").summary!)} />);
    expect(text("NaN, Inf")).toBe("2, 0");
    expect(root.querySelector("dd.c-nan")!.textContent).toBe("2, 0");
  });

  it("of zeros are a share of all", () => {
    draw(<FactTable facts={gradientFacts(node("model.d").summary!)} />);
    expect(text("zeros")).toMatch(/^100/);
  });

  it("are none where nothing was read: no zero stands for the unknown", () => {
    expect(gradientFacts(node("model.b").summary!)).toEqual([]);
  });
});

describe("the pictures", () => {
  const bars = (): NonNullable<ReturnType<typeof histogramBars>> => histogramBars([Uint8Array.from({ length: 64 }, (_, bin) => (bin === 30 ? 25 : bin === 31 ? 9 : 0))], [])!;
  const pictures = (narrow: boolean, values: boolean): void =>
    draw(<Pictures bars={bars()} missing="" earlier={null} narrow={narrow} values={values ? <p class="values">…</p> : null} />);
  const tab = (name: string): HTMLButtonElement => [...root.querySelectorAll("button")].find((one) => one.textContent === name)!;

  it("stand side by side where there is room", () => {
    pictures(false, true);
    expect(root.querySelectorAll(".magnitudes, .values")).toHaveLength(2);
  });

  it("are one at a time in a narrow panel, chosen by name", () => {
    pictures(true, true);
    expect([root.querySelector(".magnitudes") !== null, root.querySelector(".values")]).toEqual([true, null]);
    act(() => tab("values").click());
    expect([root.querySelector(".magnitudes"), root.querySelector(".values") !== null]).toEqual([null, true]);
    expect(tab("values").getAttribute("aria-pressed")).toBe("true");
  });

  it("have a heading where there is nothing to choose between", () => {
    pictures(true, false);
    expect(root.querySelector("h3")!.textContent).toBe(".grad magnitude");
  });

  it("leave no heading over nothing", () => {
    draw(<Pictures bars={null} missing="" earlier={null} narrow={false} values={null} />);
    expect(root.textContent).toBe("");
  });

  it("say where most magnitudes lie, and draw no bar for an empty bin", () => {
    draw(<MagnitudeHistogram bars={bars()} width={200} height={78} />);
    expect(root.querySelector("[role=img]")!.getAttribute("aria-label")).toMatch(/most lie between 2 to the −?\d+/);
    expect(root.querySelectorAll(".magnitudes-bar")).toHaveLength(2);
  });
});
