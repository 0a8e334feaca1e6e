/**
 * Prints what the layered drawing's parts cost for about 300 drawn rows, and for hostile graphs.
 * Run: npx esbuild test/bench_layered.ts --bundle --platform=node --outfile=dist/bench_layered.cjs && node dist/bench_layered.cjs
 */

import { groupGraph } from "../shared/graph_groups";
import { capOpen } from "../shared/graph_layered_cap";
import { layeredEdges } from "../shared/graph_layered_edges";
import { labelSize } from "../shared/graph_layered_label";
import { layOut } from "../shared/graph_layered_layout";
import { treeForModel } from "../shared/graph_layered_same";
import { graphModel } from "../shared/graph_model";
import { openAll } from "../shared/graph_open";
import { buildRows, type GraphRows } from "../shared/graph_rows";
import { summarise } from "../shared/graph_summary";
import { snapshotOf, Tape, transformer } from "./graph_snapshot";

const RUNS = 25;

function report<T>(what: string, prepare: () => T, run: (input: T) => unknown): void {
  const times = Array.from({ length: RUNS }, () => {
    const input = prepare();
    const start = performance.now();
    run(input);
    return performance.now() - start;
  });
  const sorted = [...times].sort((a, b) => a - b);
  const shown = [times[0]!, sorted[0]!, sorted[RUNS >> 1]!].map((time) => time.toFixed(1).padStart(8));
  console.log(`  ${what.padEnd(34)}${shown.join("")}`);
}

function layoutOf(rows: GraphRows) {
  const { tree } = rows;
  const edges = layeredEdges(rows);
  return layOut(rows.rows, edges.edges, (row) => labelSize(tree, rows.rows[row]!, summarise(tree, rows.rows[row]!.start, rows.rows[row]!.end), false));
}

/** Every operation uses all before it. */
function dense(count: number): Tape {
  const tape = new Tape();
  for (let i = 0; i < count; i++) tape.op(`Op${i % 7}Backward0`, Array.from({ length: i }, (_, j) => j));
  return tape;
}

for (const [name, tape] of [["transformer, 1005 nodes", transformer(37)], ["transformer, 9996 nodes", transformer(370)], ["dense, 300 nodes", dense(300)]] as const) {
  const snapshot = () => snapshotOf(tape, { norms: new Map(tape.nodes.map((_, op) => [op, 0.1])) });
  const model = graphModel(snapshot())!;
  const tree = groupGraph(model, false);
  const rows = buildRows(tree, capOpen(tree, openAll(tree)).open, true);
  const layout = layoutOf(rows);
  console.log(`${name}: ${rows.rows.length} rows, ${layout.marks.length} marks, ${layout.boxes.length} boxes, ${layout.wires.length} wires (ms: first, least, median of ${RUNS})`);
  report("cap what is open", () => 0, () => capOpen(tree, openAll(tree)));
  report("edges between rows", () => 0, () => layeredEdges(rows));
  report("layout", () => 0, () => layoutOf(rows));
  report("step: model", snapshot, graphModel);
  report("step: grouped anew", () => graphModel(snapshot())!, (next) => groupGraph(next, false));
  report("step: tree kept", () => graphModel(snapshot())!, (next) => treeForModel(tree, next));
}
