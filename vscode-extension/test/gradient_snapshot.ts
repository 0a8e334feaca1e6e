/** Small snapshots in words: what the tests of the gradients view look at. */

import { GRADIENT_STATES, HISTOGRAM_BINS, STATISTIC_DTYPES, type Column, type Gradients, type Parameter, type Run, type Snapshot, type Stop, type Variable } from "../shared/session";

export interface Told {
  readonly path: string;
  readonly root?: string;
  readonly shape?: readonly number[];
  readonly state?: (typeof GRADIENT_STATES)[number];
  readonly l2?: number;
  readonly zeros?: number;
  readonly nan?: number;
  readonly inf?: number;
  readonly stale?: number;
  readonly changed?: boolean;
  readonly previous?: number;
  readonly pending?: boolean;
  readonly aliases?: readonly string[];
  readonly leaf?: boolean;
  readonly histogram?: Readonly<Record<number, number>>;
}

export function column(dtype: string, values: readonly number[]): Column {
  const typed =
    dtype === "<u8" ? BigUint64Array.from(values, BigInt)
    : dtype === "<f4" ? Float32Array.from(values)
    : dtype === "<f8" ? Float64Array.from(values)
    : dtype === "<i4" ? Int32Array.from(values)
    : dtype === "<u4" ? Uint32Array.from(values)
    : Uint8Array.from(values);
  return { dtype, data: new Uint8Array(typed.buffer) };
}

export function stop(fields: Partial<Stop> = {}): Stop {
  return { number: 4, time_ns: 0, step: -1, thread: 1, thread_name: "MainThread", file: "/home/me/train.py", line: 41, function: "train_step", ...fields };
}

export const RUN: Run = {
  format_version: 1, gradwatch_version: "0", detail: "parameters", start_ns: 0, hostname: "", pid: 1, rank: 0, world_size: 1,
  argv: [], working_directory: "", python_version: "", torch_version: "", cuda_version: null, platform: "", devices: [],
  git_revision: null, git_dirty: null, line_source: "line clock",
};

/** Ids are the places in the list. `classes` names modules by path. */
export function snapshotOf(told: readonly Told[], fields: Partial<Snapshot> = {}, classes: Record<string, string> = {}): Snapshot {
  const numel = (one: Told): number => (one.shape ?? [4]).reduce((a, b) => a * b, 1);
  const read = told.flatMap((one, id) => ((one.state ?? "present") === "present" ? [{ one, id }] : []));
  const byId = (of: (one: Told) => number, dtype: string): Column => column(dtype, told.map(of));
  const ids = column("<u4", told.map((_, id) => id));
  return {
    state: "ready",
    run: RUN,
    stop: stop(),
    parameters: told.map((one, id) => parameterOf(one, id, numel(one))),
    modules: Object.entries(classes).map(([path, class_name], id) => ({ id, root: "model", path, class_name })),
    states: {
      stop: 4,
      subjects: ids,
      state: byId((one) => GRADIENT_STATES.indexOf(one.state ?? "present"), "|u1"),
      stale: byId((one) => one.stale ?? 0, "<i4"),
      changed: byId((one) => Number(one.changed ?? false), "|u1"),
      previous_norm: byId((one) => one.previous ?? Number.NaN, "<f4"),
      pending: byId((one) => Number(one.pending ?? false), "|u1"),
    },
    gradients: [statisticsOf(read, numel)],
    histograms: histogramsOf(read),
    ...fields,
  };
}

function parameterOf(one: Told, id: number, numel: number): Parameter {
  return {
    id, path: one.path, root: one.root ?? (one.leaf === true ? "" : "model"), shape: one.shape ?? [4], numel, bytes: numel * 4,
    dtype: "float32", device: "cuda:0", requires_grad: one.state !== "frozen", is_leaf_tensor: one.leaf ?? false, aliases: one.aliases ?? [],
  };
}

interface Read {
  readonly one: Told;
  readonly id: number;
}

function statisticsOf(read: readonly Read[], numel: (one: Told) => number): Gradients {
  const values = (name: string, { one }: Read): number => {
    const l2 = one.l2 ?? 1;
    const known: Record<string, number> = {
      count: numel(one), zeros: l2 === 0 ? numel(one) : (one.zeros ?? 0), nan: one.nan ?? 0, inf: one.inf ?? 0, subnormals: 0,
      min: -l2 / 2, max: l2 / 4, mean: l2 / 100, l1: l2, l2,
    };
    return known[name]!;
  };
  const columns = Object.entries(STATISTIC_DTYPES).map(([name, dtype]) => {
    const wide = dtype === "<f4" ? "<f8" : dtype;
    return [name, column(wide, read.map((one) => values(name, one)))];
  });
  return { step: -1, backward: -1, subject_kind: "parameter", subjects: column("<u4", read.map(({ id }) => id)), columns: Object.fromEntries(columns) };
}

function histogramsOf(read: readonly Read[]): NonNullable<Snapshot["histograms"]> {
  const some = read.filter(({ one }) => one.histogram !== undefined);
  const codes = some.flatMap(({ one }) => Array.from({ length: HISTOGRAM_BINS }, (_, bin) => one.histogram?.[bin] ?? 0));
  return [{ step: -1, backward: -1, subject_kind: "parameter", subjects: column("<u4", some.map(({ id }) => id)), codes: column("|u1", codes) }];
}

export function tensor(expression: string, fields: Partial<Variable> = {}): Variable {
  return { expression, kind: "tensor", class_name: "Tensor", shape: [], dtype: "float32", device: "cpu", ...fields };
}
