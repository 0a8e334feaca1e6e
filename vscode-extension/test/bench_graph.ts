/**
 * Prints what the graph's model, rows and lanes cost for 1,000 and 10,000 nodes, and what a scroll step costs.
 * Run: npx esbuild test/bench_graph.ts --bundle --platform=node --outfile=dist/bench_graph.cjs && node dist/bench_graph.cjs
 */

import { groupGraph } from "../shared/graph_groups";
import { layOutLanes, piecesBetween } from "../shared/graph_lanes";
import { graphModel } from "../shared/graph_model";
import { openAll, openAtFirst } from "../shared/graph_open";
import { buildRows } from "../shared/graph_rows";
import { findPositions } from "../shared/graph_search";
import { summarise } from "../shared/graph_summary";
import { snapshotOf, transformer } from "./graph_snapshot";

const RUNS = 9;

/** Milliseconds of each run, each on data of its own, as at each stop. The first is the cold one. */
function measure<T>(prepare: () => T, run: (input: T) => unknown): number[] {
  return Array.from({ length: RUNS }, () => {
    const input = prepare();
    const start = performance.now();
    run(input);
    return performance.now() - start;
  });
}

function report(what: string, times: readonly number[]): void {
  const sorted = [...times].sort((a, b) => a - b);
  const shown = [times[0]!, sorted[RUNS >> 1]!, sorted[RUNS - 1]!].map((time) => time.toFixed(1).padStart(8));
  console.log(`  ${what.padEnd(34)}${shown.join("")}`);
}

for (const blocks of [37, 370]) {
  const tape = transformer(blocks);
  const running = tape.nodes.length >> 1;
  const norms = new Map(tape.nodes.slice(running).map((_, i) => [running + i, 0.1]));
  const snapshot = () => snapshotOf(tape, { running, norms });
  const model = () => graphModel(snapshot())!;
  const tree = () => groupGraph(model(), false);
  const known = tree();
  const open = openAll(known);
  const all = buildRows(known, open, true);
  const lanes = layOutLanes(all, 3);
  console.log(`${known.model.count} nodes, ${known.model.edges.count} edges, ${all.rows.length} rows when all is open (ms: first, median, worst of ${RUNS})`);
  report("read columns", measure(snapshot, (input) => graphModel(input)));
  report("group by module", measure(model, (input) => groupGraph(input, false)));
  report("open at first, rows", measure(tree, (input) => buildRows(input, openAtFirst(input, input.model.running), true)));
  report("summaries of first 60 rows", measure(tree, (input) => all.rows.slice(0, 60).map((row) => summarise(input, row.start, row.end))));
  report("all open: rows", measure(() => 0, () => buildRows(known, open, true)));
  report("all open: lanes", measure(() => 0, () => layOutLanes(all, 3)));
  report("flat: rows and lanes", measure(() => 0, () => layOutLanes(buildRows(known, open, false), 3)));
  report("all open: 60 rows of lanes", measure(() => 0, () => piecesBetween(lanes, all.rows.length >> 1, (all.rows.length >> 1) + 60)));
  report("search, first letters", measure(tree, (input) => findPositions(input, "soft")));
}
