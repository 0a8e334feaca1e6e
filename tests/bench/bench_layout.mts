/**
 * Prints how long the panel's worker takes to lay a graph of 10,000 nodes out collapsed, and to open one block of it:
 * `node tests/bench/bench_layout.mts [--json FILE]`. What is bundled is what the worker runs.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { type Figure, figureOf, writeFigures } from "./figures.mts";

const EXTENSION = path.join(import.meta.dirname, "../../vscode-extension");
const BLOCKS = 370;
const ROUNDS = 15;
const UNCOUNTED = 3;

/** What `laidOut` gives: milliseconds of the collapsed layout, and of the one with a block opened. */
interface Layout {
  laidOut(blocks: number): { readonly nodes: number; readonly collapsedMs: number; readonly openedMs: number };
}

const SOURCE = `
import { groupGraph } from "./shared/graph_groups";
import { capOpen } from "./shared/graph_layered_cap";
import { layeredEdges } from "./shared/graph_layered_edges";
import { labelSize } from "./shared/graph_layered_label";
import { layOut } from "./shared/graph_layered_layout";
import { graphModel } from "./shared/graph_model";
import { openAtFirst, openRow } from "./shared/graph_open";
import { buildRows } from "./shared/graph_rows";
import { summarise } from "./shared/graph_summary";
import { snapshotOf, transformer } from "./test/graph_snapshot";

function drawn(tree, open) {
  const rows = buildRows(tree, capOpen(tree, open).open, true);
  const sizes = (row) => labelSize(tree, rows.rows[row], summarise(tree, rows.rows[row].start, rows.rows[row].end), false);
  layOut(rows.rows, layeredEdges(rows).edges, sizes);
  return rows;
}

export function laidOut(blocks) {
  const tape = transformer(blocks);
  const snapshot = snapshotOf(tape, { norms: new Map() });
  const start = performance.now();
  const tree = groupGraph(graphModel(snapshot), false);
  const open = openAtFirst(tree);
  const rows = drawn(tree, open);
  const collapsed = performance.now();
  const block = rows.rows.find(({ kind }) => kind === "closed" || kind === "fold");
  if (block === undefined) throw new Error("nothing is closed: there is nothing to open");
  drawn(tree, openRow(open, block));
  return { nodes: tree.order.node.length, collapsedMs: collapsed - start, openedMs: performance.now() - collapsed };
}
`;

const { values: options } = parseArgs({ options: { json: { type: "string" } } });
const folder = mkdtempSync(path.join(tmpdir(), "gradwatch-bench-"));
try {
  const { laidOut } = await bundled(path.join(folder, "layout.mjs"));
  const found = Array.from({ length: UNCOUNTED + ROUNDS }, () => laidOut(BLOCKS)).slice(UNCOUNTED);
  const on = `${(found[0]?.nodes ?? 0).toLocaleString("en")} nodes`;
  const figures: readonly Figure[] = [
    figureOf("collapsed layout", on, found.map(({ collapsedMs }) => collapsedMs), "ms", 100),
    figureOf("open one block", on, found.map(({ openedMs }) => openedMs), "ms", 50),
  ];
  for (const { what, value, low, high, wanted } of figures) {
    console.log(`  ${what.padEnd(20)} ${value.toFixed(1)} ms (${low.toFixed(1)} to ${high.toFixed(1)})  of at most ${wanted} ms, ${on}`);
  }
  writeFigures(options.json, figures);
} finally {
  rmSync(folder, { recursive: true });
}

async function bundled(outfile: string): Promise<Layout> {
  const esbuild = createRequire(path.join(EXTENSION, "package.json"))("esbuild") as { build(options: object): Promise<unknown> };
  await esbuild.build({
    stdin: { contents: SOURCE, resolveDir: EXTENSION, loader: "js" }, outfile, bundle: true, format: "esm", platform: "node", logLevel: "error",
  });
  return (await import(outfile)) as Layout;
}
