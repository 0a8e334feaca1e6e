/**
 * Prints what the layout of a graph of 10,000 nodes costs, beside what is wanted:
 * `node tests/bench/bench_layout.mts [--json FILE]`. It runs the hooks that the graph's drawing is laid out with, on the
 * thread they run on in the page, in a component that draws nothing.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { figureOf, isReached, writeFigures, type Figure } from "./figures.mts";

const EXTENSION = path.join(import.meta.dirname, "../../vscode-extension");
const ON = "10,000 nodes";
const BLOCKS = 370;
const WARM_UP = 3;
const ROUNDS = 15;

interface Row {
  readonly kind: "op" | "closed" | "open" | "fold";
}

interface Tree {
  readonly model: Model;
}

interface Model {
  readonly count: number;
}

interface Ui {
  readonly tree: Tree;
  /** The row of what is selected. */
  readonly active: Row | null;
  readonly actions: {
    arrange(change: { readonly open: ReadonlySet<string> | null }): void;
    toggle(row: Row, open: boolean): void;
  };
}

interface Drawn {
  readonly rows: readonly Row[];
  readonly layout: { readonly marks: readonly unknown[]; readonly boxes: readonly unknown[]; readonly wires: readonly unknown[] };
}

interface Snapshot {
  readonly stop: { readonly number: number };
}

type Selection = { readonly kind: "none" } | { readonly kind: "module"; readonly root: string; readonly path: string };

const NOTHING: Selection = { kind: "none" };

/** What a view is given, as far as the layout reads it. */
interface Props {
  readonly session: string;
  readonly snapshot: Snapshot;
  readonly selection: Selection;
  select(): void;
}

interface Given {
  readonly props: Props;
  readonly model: Model;
}

/** What is measured, as the page has it. */
interface Page {
  transformer(blocks: number): { readonly nodes: readonly unknown[] };
  snapshotOf(tape: unknown, test: { readonly norms: ReadonlyMap<number, number> }): Snapshot;
  graphModel(snapshot: Snapshot): Model | null;
  openAll(tree: Tree): ReadonlySet<string>;
  useGraph(props: Props, model: Model): Ui;
  useDrawnRows(ui: Ui): object;
  useLayout(drawn: object): Drawn;
  h(component: (given: Given) => null, given: Given): object;
  render(node: object, into: object): void;
  act(run: () => void): void;
}

interface Laid extends Drawn {
  readonly ui: Ui;
}

/** A graph's view, laid out and not drawn. */
interface View {
  show(snapshot: Snapshot, selection?: Selection): Laid;
  /** What is laid out once `change` was made in it. */
  after(change: (ui: Ui) => void): Laid;
}

type Measured = readonly [what: string, wanted: number | null, rounds: readonly number[]];

const { values: options } = parseArgs({ options: { json: { type: "string" } } });
const library = createRequire(path.join(EXTENSION, "package.json"));
const { JSDOM } = library("jsdom") as { readonly JSDOM: new () => { readonly window: { readonly document: { createElement(name: string): object } } } };
const { document } = new JSDOM().window;
const page = await bundled();
const tape = page.transformer(BLOCKS);
const norms = new Map(tape.nodes.map((_, op) => [op, 0.1]));
let sessions = 0;

const [cold, first] = timed(() => opened().show(stopped()));
console.log(`node ${process.version}, a transformer of ${first.ui.tree.model.count.toLocaleString("en")} nodes; collapsed, and not compiled yet: ${cold.toFixed(1)} ms\n  ${said(first)}\n`);
const figures = [collapsed(), expanding(), openingAll(), nextStop()].map(print);
writeFigures(options.json, figures);

/** From a stop's answer to the layout of its graph as it is shown at first. */
function collapsed(): Measured {
  const round = (): number => {
    const [view, snapshot] = [opened(), stopped()];
    return timed(() => view.show(snapshot))[0];
  };
  return ["collapsed layout", 100, rounds(round)];
}

/** One of the blocks that are folded together, another in each round: it is selected, which gives it a row, and opened. */
function expanding(): Measured {
  const [view, snapshot] = [opened(), stopped()];
  const round = (at: number): number => {
    view.show(snapshot);
    view.after((ui) => ui.actions.arrange({ open: null }));
    const before = view.show(snapshot, { kind: "module", root: "model", path: `blocks.${10 + at * 20}` });
    const block = before.ui.active;
    if (block?.kind !== "closed") throw new Error("the block has no row that could be opened");
    const [time, now] = timed(() => view.after((ui) => ui.actions.toggle(block, true)));
    if (now.layout.boxes.length !== before.layout.boxes.length + 1) throw new Error("the block was not opened");
    return time;
  };
  return ["expanding one block", 50, rounds(round)];
}

/** Everything is opened at once, and folded again as far as it is too much to draw. */
function openingAll(): Measured {
  const round = (): number => {
    const view = opened();
    const all = page.openAll(view.show(stopped()).ui.tree);
    return timed(() => view.after((ui) => ui.actions.arrange({ open: all })))[0];
  };
  return ["opening all that is drawn", null, rounds(round)];
}

/** The same graph at the next stop: its groups and layout are kept. */
function nextStop(): Measured {
  const view = opened();
  view.show(stopped());
  const round = (): number => {
    const snapshot = stopped();
    return timed(() => view.show(snapshot))[0];
  };
  return ["next stop of the same graph", null, rounds(round)];
}

/** A stop's answer, of which nothing was read yet. */
function stopped(): Snapshot {
  return page.snapshotOf(tape, { norms });
}

/** A view of a session of its own: what is open is kept by session. */
function opened(): View {
  const into = document.createElement("div");
  const session = `session ${sessions++}`;
  let laid: Laid | null = null;
  const Probe = ({ props, model }: Given): null => {
    const ui = page.useGraph(props, model);
    laid = { ui, ...page.useLayout(page.useDrawnRows(ui)) };
    return null;
  };
  const now = (): Laid => {
    if (laid === null) throw new Error("nothing was laid out");
    return laid;
  };
  return {
    show: (snapshot, selection = NOTHING) => {
      const model = page.graphModel(snapshot);
      if (!model) throw new Error("the answer has no graph");
      const props: Props = { session, snapshot, selection, select: () => undefined };
      page.act(() => page.render(page.h(Probe, { props, model }), into));
      return now();
    },
    after: (change) => {
      page.act(() => change(now().ui));
      return now();
    },
  };
}

function rounds(round: (at: number) => number): readonly number[] {
  return Array.from({ length: WARM_UP + ROUNDS }, (_, at) => round(at)).slice(WARM_UP);
}

function timed<T>(run: () => T): readonly [milliseconds: number, result: T] {
  const start = performance.now();
  const result = run();
  return [performance.now() - start, result];
}

function print([what, wanted, found]: Measured): Figure {
  const figure = figureOf(what, ON, found, { unit: "ms", wanted });
  const limit = wanted === null ? "" : `  of at most ${wanted} ms${isReached(figure) === false ? "  OVER" : ""}`;
  console.log(`  ${what.padEnd(28)} ${ms(figure.value)}  middle half ${ms(figure.low)} to ${ms(figure.high)}${limit}`);
  return figure;
}

function ms(value: number): string {
  return `${value.toFixed(1).padStart(6)} ms`;
}

function said({ rows, layout: { marks, boxes, wires } }: Drawn): string {
  return `${rows.length} rows: ${marks.length} marks, ${boxes.length} boxes, ${wires.length} wires`;
}

async function bundled(): Promise<Page> {
  const esbuild = library("esbuild") as { build(options: object): Promise<unknown> };
  const folder = mkdtempSync(path.join(tmpdir(), "gradwatch-bench-"));
  const outfile = path.join(folder, "page.mjs");
  const contents = [
    'export { h, render } from "preact";',
    'export { act } from "preact/test-utils";',
    'export { graphModel } from "./shared/graph_model";',
    'export { openAll } from "./shared/graph_open";',
    'export { useGraph } from "./webview/graph/use_graph";',
    'export { useDrawnRows, useLayout } from "./webview/graph/layered_use_layout";',
    'export { snapshotOf, transformer } from "./test/graph_snapshot";',
  ].join("\n");
  try {
    await esbuild.build({ stdin: { contents, resolveDir: EXTENSION, loader: "ts" }, outfile, bundle: true, format: "esm", platform: "browser", target: "es2022", logLevel: "error" });
    return (await import(outfile)) as Page;
  } finally {
    rmSync(folder, { recursive: true });
  }
}
