/** Whether the columns of a record fit each other: views index with them, and believe them. */

import { numbers } from "./answer";
import { UnreadableError } from "./mcap_bytes";
import {
  COMPILED_PHASES, HISTOGRAM_BINS, TENSOR_CLASSES,
  type Column, type CompiledRegion, type Graph, type Held, type Ledger, type Topics, type Totals,
} from "./session";

/** Bytes of a number, by the dtypes of the contract. */
const SIZES: Readonly<Record<string, number>> = { "|u1": 1, "<i4": 4, "<u4": 4, "<f4": 4, "<f8": 8, "<u8": 8, "<i8": 8 };
const NO_LIMIT = 2 ** 32;

/** Throws an UnreadableError where a column is not as long as it must be, or points at what is not there. */
export function checkFit<T extends keyof Topics>(topic: T, record: Topics[T]): void {
  CHECKS[topic]?.(record as never);
}

const CHECKS: { readonly [T in keyof Topics]?: (record: Topics[T]) => void } = {
  "/gradients": ({ subjects, columns }) => checkRows(lengthOf("subjects", subjects), columns),
  "/optimizer": ({ subjects, columns }) => checkRows(lengthOf("subjects", subjects), columns),
  "/histograms": ({ subjects, codes }) => checkColumn("codes", codes, lengthOf("subjects", subjects) * HISTOGRAM_BINS),
  "/graphs": checkGraph,
  "/compiled": checkRegion,
  "/ledgers": checkLedger,
  "/held": checkHeld,
  "/states": ({ subjects, state, stale, changed, previous_norm, pending }) =>
    checkRows(lengthOf("subjects", subjects), { state, stale, changed, previous_norm, pending }),
  "/series": ({ steps, subjects, values }) => checkColumn("values", values, lengthOf("steps", steps) * lengthOf("subjects", subjects)),
  "/totals": checkTotals,
  "/stops": ({ node_states }) => {
    if (node_states) lengthOf("node_states", node_states);
  },
};

/** By the dtypes that its columns must have. */
const TOTALS: Readonly<Partial<Record<keyof Totals, string>>> = {
  ended: "|u1", start_ns: "<i8", end_ns: "<i8", cost_ns: "<i8", loss: "<f8", loss_seen: "|u1", gradient_norm: "<f8", nonfinite: "<i4",
};
const TOTALS_CALLS: Readonly<Partial<Record<keyof Totals, string>>> = { call_graph: "<i4", call_inside: "|u1", call_held_bytes: "<i8" };

function checkTotals(totals: Totals): void {
  const { first, step, steps, call_step: calls } = totals;
  lengthOf("steps", steps);
  if (!(first >= 0 && first <= step && step < NO_LIMIT)) throw new UnreadableError(`it is of steps ${first} to ${step}`);
  let before = first - 1;
  for (const number of numbers(steps)) {
    if (number <= before || number > step) throw new UnreadableError(`step ${number} stands behind ${before}, in steps ${first} to ${step}`);
    before = number;
  }
  checkDtypes(totals, { steps: "<u4", ...TOTALS, ...(totals.loss_scale ? { loss_scale: "<f8" } : {}) }, lengthOf("steps", steps));
  checkDtypes(totals, { call_step: "<u4", ...TOTALS_CALLS }, lengthOf("call_step", calls));
}

function checkDtypes(totals: Totals, dtypes: Readonly<Partial<Record<keyof Totals, string>>>, count: number): void {
  for (const [name, dtype] of Object.entries(dtypes)) {
    const column = totals[name as keyof Totals] as Column;
    if (column.dtype !== dtype) throw new UnreadableError(`the column ${name} says its numbers are ${JSON.stringify(column.dtype.slice(0, 40))}`);
    checkColumn(name, column, count);
  }
}

function lengthOf(name: string, { dtype, data }: Column): number {
  const size = Object.hasOwn(SIZES, dtype) ? SIZES[dtype]! : 0;
  if (size === 0) throw new UnreadableError(`the column ${name} says its numbers are ${JSON.stringify(dtype.slice(0, 40))}`);
  if (data.length % size !== 0) throw new UnreadableError(`the column ${name} of ${dtype} has ${data.length} bytes`);
  return data.length / size;
}

function checkColumn(name: string, column: Column, count: number): void {
  const length = lengthOf(name, column);
  if (length !== count) throw new UnreadableError(`the column ${name} has ${length} numbers, ${count} expected`);
}

function checkRows(count: number, columns: Readonly<Record<string, Column>>): void {
  for (const [name, column] of Object.entries(columns)) checkColumn(name, column, count);
}

/** Entries from -1 (none) to `limit` - 1. */
function checkIndices(name: string, column: Column, count: number, limit: number): void {
  checkColumn(name, column, count);
  for (const index of numbers(column)) {
    if (!(index >= -1 && index < limit)) throw new UnreadableError(`the column ${name} points at entry ${index} of ${limit}`);
  }
}

function checkGraph(graph: Graph): void {
  const { node_count: nodes, edge_count: edges } = graph;
  checkIndices("name", graph.name, nodes, graph.names.length);
  checkRows(nodes, { in_backward: graph.in_backward });
  for (const name of ["module", "site", "project_site", "parameter"] as const) checkIndices(name, graph[name], nodes, NO_LIMIT);
  for (const name of ["edge_source", "edge_target"] as const) checkNodes(name, graph[name], edges, nodes);
  checkRows(edges, { edge_slot: graph.edge_slot, edge_input_nr: graph.edge_input_nr });
  const stray = [...graph.roots, ...(graph.labels ?? []).map(({ node }) => node)].find((node) => !(node >= 0 && node < nodes));
  if (stray !== undefined) throw new UnreadableError(`node ${stray} of ${nodes} is named`);
}

function checkRegion(region: CompiledRegion): void {
  const { op_count: ops, op_names: names, edge_count: edges } = region;
  if (names.length !== ops) throw new UnreadableError(`it has ${names.length} names of ${ops} ops`);
  checkIndices("target", region.target, ops, region.targets.length);
  checkIndices("phase", region.phase, ops, COMPILED_PHASES.length);
  checkIndices("shape", region.shape, ops, region.shapes.length);
  checkIndices("dtype", region.dtype, ops, region.dtypes.length);
  checkIndices("forward_op", region.forward_op, ops, ops);
  for (const name of ["site", "project_site", "module"] as const) checkIndices(name, region[name], ops, NO_LIMIT);
  checkRows(ops, { saved: region.saved, recomputed: region.recomputed });
  for (const name of ["edge_source", "edge_target"] as const) checkNodes(name, region[name], edges, ops);
}

function checkNodes(name: string, column: Column, count: number, nodes: number): void {
  checkIndices(name, column, count, nodes);
  for (const node of numbers(column)) if (node < 0) throw new UnreadableError(`the column ${name} names no node`);
}

function checkLedger(ledger: Ledger): void {
  const { saved_count: rows, storage_count: storages } = ledger;
  checkIndices("node", ledger.node, rows, NO_LIMIT);
  checkIndices("role", ledger.role, rows, ledger.roles.length);
  checkIndices("shape", ledger.shape, rows, ledger.shapes.length);
  checkIndices("dtype", ledger.dtype, rows, ledger.dtypes.length);
  checkIndices("storage", ledger.storage, rows, storages);
  checkIndices("site", ledger.site, rows, NO_LIMIT);
  checkRows(rows, { tensor_bytes: ledger.tensor_bytes, recomputed: ledger.recomputed });
  checkRows(storages, { storage_bytes: ledger.storage_bytes });
  checkIndices("storage_class", ledger.storage_class, storages, TENSOR_CLASSES.length);
  checkIndices("storage_device", ledger.storage_device, storages, ledger.devices.length);
  const outputs = lengthOf("output_node", ledger.output_node);
  checkIndices("output_shape", ledger.output_shape, outputs, ledger.shapes.length);
  checkIndices("output_dtype", ledger.output_dtype, outputs, ledger.dtypes.length);
}

function checkHeld(held: Held): void {
  checkRows(lengthOf("curve_ns", held.curve_ns), { curve_bytes: held.curve_bytes });
  checkRows(lengthOf("released_ns", held.released_ns), { died_ns: held.died_ns });
  lengthOf("on_peak", held.on_peak);
}
