/** Small session files from records, in plain MessagePack and zstd frames that store: for tests that need several. */

import { crc32, viewOf } from "../shared/mcap_bytes";
import type { Column, Run, Topics } from "../shared/session";

const TOPICS = ["/run", "/source", "/modules", "/parameters", "/outputs", "/graphs", "/compiled", "/ledgers", "/backward", "/steps", "/gradients", "/held", "/notices", "/finish", "/stops", "/states", "/series", "/totals", "/findings"] as const;
const START_NS = 1_700_000_000_000_000_000n;
const STEP_NS = 1_000_000n;

export const RUN: Run = {
  format_version: 1, gradwatch_version: "0.1.0", detail: "parameters", start_ns: START_NS, hostname: "example", pid: 1, rank: 0, world_size: 1,
  argv: ["train.py"], working_directory: "/home/someone/project", python_version: "3.11.9", torch_version: "2.13.0", cuda_version: null, platform: "Linux",
  devices: ["cpu"], git_revision: null, git_dirty: null, line_source: "line clock",
};

/** A record, its topic, the step it belongs to, and when it came to be. */
export type Written = { [T in keyof Topics]: readonly [topic: T, record: Topics[T], step?: number, timeNs?: bigint] }[keyof Topics];

/** Bytes of a session: each entry of `flushes` becomes a chunk for each topic in it. Finished where a /finish is among them. */
export function sessionBytes(flushes: readonly (readonly Written[])[], run: Partial<Run> = {}): Uint8Array {
  const whole = { ...RUN, ...run };
  const parts = [head(), chunk("/run", [["/run", whole]], preamble())];
  for (const records of flushes) {
    for (const topic of TOPICS) {
      const own = records.filter(([of]) => of === topic);
      const chunks = topic === "/series" ? own.map((one) => [one]) : own.length > 0 ? [own] : [];
      for (const together of chunks) parts.push(chunk(topic, together));
    }
  }
  if (flushes.flat().some(([topic]) => topic === "/finish")) parts.push(record(0x0f, new Uint8Array(4)));
  return joined(parts);
}

export function startOf(step: number): bigint {
  return START_NS + BigInt(step + 1) * STEP_NS;
}

export interface StepOptions {
  readonly loss?: number;
  readonly graph?: number;
  readonly nan?: number;
  readonly held?: number;
  readonly scale?: number;
  readonly skipped?: boolean;
  /** Norms before reduction, by parameter id. */
  readonly local?: Readonly<Record<number, number>>;
}

/** A step of half a millisecond, a backward call in it, and norms by parameter id. `nan` elements are not finite. */
export function stepRecords(step: number, norms: Readonly<Record<number, number>>, options: StepOptions = {}): Written[] {
  const { loss = null, graph = -1, nan = 0, held = -1, scale = null, skipped = false, local = {} } = options;
  const start = startOf(step);
  const ids = Object.keys(norms).map(Number);
  const own = Object.keys(local).map(Number);
  const fixed = { parent: -1, duration_ns: 100, retain_graph: false, create_graph: false, has_inputs: false, thread: 1 } as const;
  const bad = loss !== null && Number.isNaN(loss);
  return [
    ["/backward", { step, index: 0, call: "backward", graph, ledger: -1, start_ns: start, held_bytes: held, ...fixed }, step, start],
    ["/gradients", { step, backward: 0, subject_kind: "parameter", subjects: column(Uint32Array.from(ids)), columns: statistics(Object.values(norms), nan) }, step, start],
    ...(own.length > 0 ? [["/gradients", { step, backward: 0, subject_kind: "local", subjects: column(Uint32Array.from(own)), columns: statistics(Object.values(local), 0) }, step, start] as const] : []),
    ["/steps", { number: step, source: "optimizer", start_ns: start, end_ns: start + STEP_NS / 2n, backward_count: 1, optimizer_count: 1, cost_ns: 5000, loss: bad ? null : loss, loss_nonfinite: bad ? "nan" : null, loss_scale: scale, skipped }, step, start + STEP_NS / 2n],
  ];
}

export function parameters(...names: readonly string[]): Written {
  const fixed = { root: "model", shape: [2], dtype: "float32", device: "cpu", numel: 2, bytes: 8, requires_grad: true };
  return ["/parameters", { parameters: names.map((path, id) => ({ id, path, ...fixed })) }];
}

/** A graph of two nodes. */
export function graph(id: number): Written {
  const nodes = column(Int32Array.of(-1, -1));
  const edge = column(Uint32Array.of(0));
  return ["/graphs", {
    id, digest: `digest ${id}`, names: ["AccumulateGrad", "SumBackward0"], node_count: 2, name: column(Int32Array.of(0, 1)), module: nodes, site: nodes, project_site: nodes,
    parameter: column(Int32Array.of(0, -1)), in_backward: column(Uint8Array.of(0, 0)), roots: [1], edge_count: 1, edge_source: column(Uint32Array.of(1)), edge_slot: edge,
    edge_target: edge, edge_input_nr: edge,
  }];
}

export function finish(steps: number): Written {
  return ["/finish", { end_ns: startOf(steps), reason: "the program ended", steps, cost_ns: 5000 * steps, records_dropped: 0 }];
}

function statistics(norms: readonly number[], nan: number): Record<string, Column> {
  const same = (value: number): Column => column(BigUint64Array.from(norms, () => BigInt(value)));
  const l2 = column(Float32Array.from(norms));
  return { count: same(2), zeros: same(0), nan: same(nan), inf: same(0), subnormals: same(0), min: l2, max: l2, mean: l2, l1: l2, l2 };
}

const DTYPES = { Uint8Array: "|u1", Int32Array: "<i4", Uint32Array: "<u4", Float32Array: "<f4", Float64Array: "<f8", BigUint64Array: "<u8" } as const;

export function column(values: Uint8Array | Int32Array | Uint32Array | Float32Array | Float64Array | BigUint64Array): Column {
  return { dtype: DTYPES[values.constructor.name as keyof typeof DTYPES], data: new Uint8Array(values.buffer) };
}

function head(): Uint8Array {
  const header = record(0x01, joined([text("gradwatch"), text("")]));
  const entries = joined([text("format_version"), text("1"), text("gradwatch_version"), text("0.1.0")]);
  return joined([Uint8Array.of(0x89, 0x4d, 0x43, 0x41, 0x50, 0x30, 0x0d, 0x0a), header, record(0x0c, joined([text("gradwatch"), u32(entries.length), entries]))]);
}

function preamble(): Uint8Array {
  return joined(TOPICS.map((topic, i) => record(0x04, joined([u16(i + 1), u16(0), text(topic), text("msgpack"), u32(0)]))));
}

function chunk(topic: (typeof TOPICS)[number], records: readonly Written[], before: Uint8Array = new Uint8Array(0)): Uint8Array {
  const channel = TOPICS.indexOf(topic) + 1;
  const times = records.map(([, , , time = START_NS]) => time);
  const messages = records.map(([, one, step = 0], i) => record(0x05, joined([u16(channel), u32(step), u64(times[i]!), u64(times[i]!), encoded(one)])));
  const data = joined([before, ...messages]);
  const packed = stored(data);
  const [first, last] = times.reduce(([low, high], time) => [time < low ? time : low, time > high ? time : high] as const, [times[0]!, times[0]!] as const);
  const body = joined([u64(first), u64(last), u64(BigInt(data.length)), u32(crc32(data)), text("zstd"), u64(BigInt(packed.length)), packed]);
  const index = joined(records.map((_, i) => joined([u64(times[i]!), u64(0n)])));
  return joined([record(0x06, body), record(0x07, joined([u16(channel), u32(index.length), index]))]);
}

/** A zstd frame of blocks that are stored as they are. */
function stored(data: Uint8Array): Uint8Array {
  const parts = [u32(0xfd2fb528), Uint8Array.of(0xa0), u32(data.length)];
  for (let at = 0; at < data.length || at === 0; at += 1 << 17) {
    const block = data.subarray(at, at + (1 << 17));
    const last = at + (1 << 17) >= data.length ? 1 : 0;
    const bits = (block.length << 3) | last;
    parts.push(Uint8Array.of(bits & 255, (bits >> 8) & 255, bits >> 16), block);
  }
  return joined(parts);
}

function record(opcode: number, content: Uint8Array): Uint8Array {
  return joined([Uint8Array.of(opcode), u64(BigInt(content.length)), content]);
}

function u16(value: number): Uint8Array {
  return Uint8Array.of(value & 255, value >> 8);
}

function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  viewOf(bytes).setUint32(0, value, true);
  return bytes;
}

function u64(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  viewOf(bytes).setBigUint64(0, value, true);
  return bytes;
}

function text(of: string): Uint8Array {
  const bytes = new TextEncoder().encode(of);
  return joined([u32(bytes.length), bytes]);
}

function encoded(value: unknown): Uint8Array {
  if (value === null || value === undefined) return Uint8Array.of(0xc0);
  if (typeof value === "boolean") return Uint8Array.of(value ? 0xc3 : 0xc2);
  if (typeof value === "bigint") return tagged(0xcf, 8, (view) => view.setBigUint64(1, value));
  if (typeof value === "number") return Number.isInteger(value) ? tagged(0xd3, 8, (view) => view.setBigInt64(1, BigInt(value))) : tagged(0xcb, 8, (view) => view.setFloat64(1, value));
  if (typeof value === "string") return sized(0xdb, new TextEncoder().encode(value));
  if (value instanceof Uint8Array) return sized(0xc6, value);
  if (Array.isArray(value)) return joined([counted(0xdd, value.length), ...value.map(encoded)]);
  const entries = Object.entries(value);
  return joined([counted(0xdf, entries.length), ...entries.flatMap(([key, one]) => [encoded(key), encoded(one)])]);
}

function tagged(tag: number, bytes: number, write: (view: DataView) => void): Uint8Array {
  const out = new Uint8Array(1 + bytes);
  out[0] = tag;
  write(viewOf(out));
  return out;
}

function counted(tag: number, count: number): Uint8Array {
  return tagged(tag, 4, (view) => view.setUint32(1, count));
}

function sized(tag: number, bytes: Uint8Array): Uint8Array {
  return joined([counted(tag, bytes.length), bytes]);
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
