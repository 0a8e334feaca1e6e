// @vitest-environment jsdom
import { render } from "preact";
import { useState } from "preact/hooks";
import { act } from "preact/test-utils";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { groupGraph } from "../shared/graph_groups";
import { graphModel } from "../shared/graph_model";
import { nodeDetails } from "../shared/graph_node";
import { buildRows } from "../shared/graph_rows";
import { troublePositions } from "../shared/graph_search";
import { summarise } from "../shared/graph_summary";
import { rowDetail, shownDetail } from "../shared/graph_words";
import { NOTHING, type Selection } from "../shared/selection";
import type { Snapshot } from "../shared/session";
import type { HeatMapProps } from "../webview/components/heat_map";
import { GraphView } from "../webview/graph/graph_view";
import type { ViewProps } from "../webview/view";
import { nodeOf, snapshotOf, Tape, transformer, type GraphTest } from "./graph_snapshot";

const heatMaps: HeatMapProps[] = [];
vi.mock("../webview/components/heat_map", () => ({
  HeatMap: (props: HeatMapProps) => {
    heatMaps.push(props);
    return <div class="heat">{props.title}</div>;
  },
}));

/** squares, their root, where: the program whose gradient of sqrt at 0 is NaN. */
function distance(): Tape {
  const tape = new Tape();
  const embed = tape.op("AddmmBackward0", [], { module: "embed", parameters: ["embed.weight"], line: 22 });
  const relu = tape.op("ReluBackward0", [embed], { module: "distance", line: 8 });
  const sqrt = tape.op("SqrtBackward0", [relu], { module: "distance", line: 9, text: "root = squares.sqrt()", saved: [256] });
  tape.op("WhereBackward0", [sqrt], { module: "distance", line: 10 });
  return tape;
}

const [EMBED, RELU, SQRT, WHERE] = [0, 1, 2, 3] as const;
const born: GraphTest = { running: SQRT, norms: new Map([[SQRT, 0.5]]), computed: new Map([[SQRT, { norm: 0.25, nan: 30 }]]) };

let root: HTMLElement;
let session = 0;
let select: (selection: Selection) => void;

const ask = (() => new Promise(() => {})) as ViewProps["ask"];

function Panel({ snapshot }: { snapshot: Snapshot }) {
  const [selection, setSelection] = useState<Selection>(NOTHING);
  select = (next) => void act(() => setSelection(next));
  const rest = { showTab: () => {}, onCommand: () => () => {}, breakHere: () => {} };
  return <GraphView session={`running ${session}`} snapshot={snapshot} previous={null} dimmed={false} selection={selection} select={setSelection} ask={ask} width={480} {...rest} />;
}

function draw(snapshot: Snapshot): void {
  act(() => render(null, root));
  session++;
  act(() => render(<Panel snapshot={snapshot} />, root));
}

beforeEach(() => {
  heatMaps.length = 0;
  root = document.body.appendChild(document.createElement("div"));
});

afterEach(() => {
  act(() => render(null, root));
  root.remove();
});

const dock = (): string => root.querySelector(".graph-dock")!.textContent!;
const row = (op: string): HTMLElement => [...root.querySelectorAll<HTMLElement>("[role=treeitem]")].find((one) => one.querySelector("code")!.textContent!.startsWith(op))!;
const button = (name: string): HTMLButtonElement | undefined => [...root.querySelectorAll("button")].find((one) => one.textContent!.trim() === name);

describe("a node that makes NaN of a finite gradient", () => {
  const snapshot = snapshotOf(distance(), born);

  it("says so in its row, and shows both gradients", () => {
    draw(snapshot);
    expect(row("Sqrt").textContent).toContain("NaN born");
    expect(dock()).toContain("gradient in5.00e−1 finite");
    expect(dock()).toContain("gradient outNaN in 30 of 64");
    expect(root.querySelector(".hl.bad")).not.toBeNull();
  });

  it("has pending nodes behind it on the path, not those that have fired", () => {
    const tree = groupGraph(graphModel(snapshot)!, false);
    const state = (op: number): string | null => summarise(tree, op, op + 1).trouble;
    expect([EMBED, RELU, SQRT, WHERE].map(state)).toEqual(["on path", "on path", "NaN", null]);
    draw(snapshot);
    expect(row("Relu").getAttribute("aria-label")).toContain("on path");
    expect(root.querySelector(".graph-legend")!.textContent).toContain("on NaN path");
  });

  it("is the next trouble, before what is only on its path", () => {
    const tree = groupGraph(graphModel(snapshot)!, false);
    expect([...troublePositions(tree)]).toEqual([SQRT]);
  });
});

describe("a running node", () => {
  it("that was given a NaN shows it, and did not bear it", () => {
    draw(snapshotOf(distance(), { running: SQRT, norms: new Map([[SQRT, 0.5]]), nan: [SQRT] }));
    expect(row("Sqrt").textContent).toContain("NaN");
    expect(row("Sqrt").textContent).not.toContain("born");
    expect(dock()).toContain("gradient inNaN in 6 of 64");
    expect(dock()).not.toContain("gradient out");
  });

  it("whose NaN goes on has it in both, and did not bear it", () => {
    const snapshot = snapshotOf(distance(), { ...born, nan: [SQRT] });
    expect(nodeDetails(groupGraph(graphModel(snapshot)!, false), nodeOf(snapshot, SQRT))).toMatchObject({ born: false, gradientOut: { nan: 30 } });
  });

  it("of which nothing was read says that it was not seen", () => {
    draw(snapshotOf(distance(), { running: SQRT }));
    expect(dock()).toContain("gradient innot seen");
    expect(row("Relu").getAttribute("aria-label")).not.toContain("on path");
  });

  it("shows the values of its gradient at a press, and hides them", () => {
    draw(snapshotOf(distance(), { ...born, outputs: new Map([[SQRT, [4, 16]]]) }));
    expect(root.querySelector(".heat")).toBeNull();
    act(() => button("Show gradient")!.click());
    expect(heatMaps.at(-1)).toMatchObject({ title: "gradient in", shape: [4, 16], nonFinite: 0, subject: { field: "grad output" } });
    act(() => button("Hide gradient")!.click());
    expect(root.querySelector(".heat")).toBeNull();
  });

  it("offers no values where its output's shape is not known, nor for another node", () => {
    draw(snapshotOf(distance(), born));
    expect(button("Show gradient")).toBeUndefined();
    const snapshot = snapshotOf(distance(), { ...born, outputs: new Map([[RELU, [4, 16]]]) });
    draw(snapshot);
    select({ kind: "node", index: nodeOf(snapshot, RELU) });
    expect(button("Show gradient")).toBeUndefined();
  });
});

describe("the number of a node", () => {
  it("is that of the header while it runs: how far backward has come", () => {
    draw(snapshotOf(distance(), born));
    expect(dock()).toContain("SqrtBackward0node 2 of 5");
  });

  it("of any other is its place in forward order, and says so", () => {
    const snapshot = snapshotOf(distance(), born);
    draw(snapshot);
    select({ kind: "node", index: nodeOf(snapshot, EMBED) });
    expect(dock()).toContain("AddmmBackward0#2 in forward order");
  });
});

describe("the line beside an operation", () => {
  const details = (tape: Tape, shown: boolean): string[] => {
    const tree = groupGraph(graphModel(snapshotOf(tape))!, false);
    const open = new Set(tree.groups.map((group) => group.key));
    return buildRows(tree, open, true).rows.map((one) => (shown ? shownDetail : rowDetail)(tree, one, summarise(tree, one.start, one.end)));
  };

  it("stands once at the head of a module of whose inside no line is known", () => {
    const tape = new Tape();
    const call = { module: "attn", line: 32, text: "x = x + self.attn(x)" };
    let last = tape.op("EmbeddingBackward0", [], { module: "wte", line: 31, text: "x = self.wte(tokens)" });
    for (const op of ["BmmBackward0", "SoftmaxBackward0", "BmmBackward0"]) last = tape.op(op, [last], call);
    tape.op("SumBackward0", [last], { line: 50, text: "loss = x.sum()" });
    expect(details(tape, true)).toEqual(["wte", "3 nodes · x = x + self.attn(x)", "", "", "", "loss = x.sum()"]);
    expect(details(tape, false).filter((text) => text.startsWith("x = x"))).toHaveLength(3);
  });

  it("stands at the first of the rows that it made, and again after another", () => {
    const tape = new Tape();
    let last = tape.op("ExpBackward0", [], { line: 1, text: "y = x.exp().log()" });
    last = tape.op("LogBackward0", [last], { line: 1, text: "y = x.exp().log()" });
    last = tape.op("MulBackward0", [last], { line: 2, text: "y = y * 2" });
    tape.op("LogBackward0", [last], { line: 1, text: "y = x.exp().log()" });
    expect(details(tape, true)).toEqual(["y = x.exp().log()", "", "y = y * 2", "y = x.exp().log()"]);
  });

  it("gives way to the name of a module of one operation, and is not taken for shown by it", () => {
    const tape = new Tape();
    const line = { line: 3, text: "return self.fc(x) + 1" };
    const fc = tape.op("AddmmBackward0", [], { ...line, module: "fc", parameters: ["fc.weight"] });
    tape.op("AddBackward0", [fc], line);
    expect(details(tape, true)).toEqual(["fc", "return self.fc(x) + 1"]);
  });

  it("is in the sentence of every row: a screen reader does not see the row above", () => {
    draw(snapshotOf(transformer(1)));
    const labels = [...root.querySelectorAll("[role=treeitem]")].map((one) => one.getAttribute("aria-label")!);
    expect(labels.some((label) => label.startsWith("MeanBackward0, loss = self.head(x).mean()"))).toBe(true);
  });
});
