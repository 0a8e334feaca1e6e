/**
 * What a snapshot's ledger says is held for backward. Every storage counts once, wholly, and is charged to its
 * first saver in forward order: the same accounting as `gradwatch.session.held`, so both give the same bytes.
 */

import { numbers, type Numbers } from "./answer";
import { NODE_STATES, TENSOR_CLASSES, type Graph, type Ledger, type Module, type Site, type Snapshot } from "./session";
import { moduleNames } from "./held_names";

export type TensorClass = (typeof TENSOR_CLASSES)[number];

/** Counted as held: tensors of the other classes would be allocated without autograd too. */
export const HELD_CLASSES: readonly TensorClass[] = ["activation", "input", "not observable"];

/** One saved tensor. `row` is its place in the ledger; `bytes` its own size, which a slice has less of. */
export interface SavedTensor {
  readonly row: number;
  readonly node: number;
  readonly op: string;
  readonly role: string;
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly bytes: number;
  readonly storageBytes: number;
  readonly tensorClass: TensorClass;
  /** The storage is charged to this row; else `chargedRow` says where. */
  readonly charged: boolean;
  /** Its class counts as held. */
  readonly held: boolean;
  readonly chargedRow: number;
  readonly released: boolean;
  readonly recomputed: boolean;
}

/** The ledger's columns and what was counted from them. Bytes are of now, but where a name says otherwise. */
export interface HeldModel {
  readonly snapshot: Snapshot;
  readonly ledger: Ledger;
  readonly graph: Graph | null;
  readonly node: Numbers;
  readonly site: Int32Array;
  readonly storage: Numbers;
  readonly storageBytes: Numbers;
  readonly storageClass: Numbers;
  /** The row that each storage is charged to, -1 for none. */
  readonly chargedRow: Int32Array;
  /** 1 for each storage that autograd has let go: every node that saved it has fired. */
  readonly released: Uint8Array;
  readonly classBytes: Readonly<Record<TensorClass, number>>;
  readonly total: number;
  /** Of the held classes, what backward has already let go; 0 outside backward. */
  readonly releasedBytes: number;
  readonly sites: ReadonlyMap<number, Site>;
  readonly siteTexts: ReadonlyMap<number, string>;
  readonly modules: ReadonlyMap<number, Module>;
  readonly moduleNames: ReadonlyMap<number, string>;
}

const models = new WeakMap<Snapshot, HeldModel | null>();

/** Null where the snapshot has no ledger. Made once per snapshot. */
export function heldModel(snapshot: Snapshot): HeldModel | null {
  const known = models.get(snapshot);
  if (known !== undefined) return known;
  const model = snapshot.ledger ? readLedger(snapshot, snapshot.ledger) : null;
  models.set(snapshot, model);
  return model;
}

/** Bytes held for backward now; null where they were not read. */
export function heldTotal(snapshot: Snapshot): number | null {
  return heldModel(snapshot)?.total ?? null;
}

function readLedger(snapshot: Snapshot, ledger: Ledger): HeldModel {
  const graph = snapshot.graph ?? null;
  const node = numbers(ledger.node);
  const storage = numbers(ledger.storage);
  const storageBytes = numbers(ledger.storage_bytes);
  const storageClass = numbers(ledger.storage_class);
  const released = releasedStorages(snapshot, node, storage, ledger.storage_count);
  const counted = countClasses(storageBytes, storageClass, released);
  return {
    snapshot,
    ledger,
    graph,
    node,
    site: rowSites(ledger, graph, node),
    storage,
    storageBytes,
    storageClass,
    chargedRow: chargedRows(node, storage, ledger.storage_count),
    released,
    classBytes: counted.now,
    total: sumHeld(counted.now),
    releasedBytes: sumHeld(counted.gone) || releasedBeforeWalk(snapshot, sumHeld(counted.now)),
    sites: new Map((snapshot.sites ?? []).map((site) => [site.id, site])),
    siteTexts: new Map((snapshot.sites ?? []).map((site, i) => [site.id, snapshot.site_texts?.[i] ?? ""])),
    modules: new Map((snapshot.modules ?? []).map((module) => [module.id, module])),
    moduleNames: moduleNames(snapshot),
  };
}

/** A row's own site where it has one, else its node's. */
function rowSites(ledger: Ledger, graph: Graph | null, node: Numbers): Int32Array {
  const own = numbers(ledger.site);
  const ofNode = graph ? numbers(graph.site) : null;
  return Int32Array.from(node, (n, row) => {
    const site = own[row] ?? -1;
    return site >= 0 || n < 0 ? site : (ofNode?.[n] ?? -1);
  });
}

/** The first saver in forward order; a row whose node is not known comes last. */
function chargedRows(node: Numbers, storage: Numbers, storageCount: number): Int32Array {
  const charged = new Int32Array(storageCount).fill(-1);
  const first = new Float64Array(storageCount).fill(Infinity);
  for (let row = 0; row < storage.length; row++) {
    const at = storage[row] ?? -1;
    const n = node[row] ?? -1;
    const order = n < 0 ? Number.MAX_SAFE_INTEGER : n;
    if (at < 0 || order >= (first[at] ?? 0)) continue;
    first[at] = order;
    charged[at] = row;
  }
  return charged;
}

/**
 * Autograd lets go of what a node saved once it has fired, unless the graph is retained. The running node still
 * holds its own; a node whose state is not known counts as holding.
 */
function releasedStorages(snapshot: Snapshot, node: Numbers, storage: Numbers, count: number): Uint8Array {
  const released = new Uint8Array(count);
  const { stop, backward } = snapshot;
  if (!stop.node_states || backward?.retain_graph || !isRunningGraph(snapshot)) return released;
  const states = numbers(stop.node_states);
  const fired = NODE_STATES.indexOf("fired");
  const holding = new Uint8Array(count);
  for (let row = 0; row < storage.length; row++) {
    const at = storage[row] ?? -1;
    if (at < 0) continue;
    if (states[node[row] ?? -1] === fired) released[at] = 1;
    else holding[at] = 1;
  }
  return released.map((gone, at) => (holding[at] ? 0 : gone));
}

type ClassBytes = Record<TensorClass, number>;

function noBytes(): ClassBytes {
  return { activation: 0, parameter: 0, buffer: 0, input: 0, "optimizer state": 0, "not observable": 0 };
}

function countClasses(bytes: Numbers, classes: Numbers, released: Uint8Array): { now: ClassBytes; gone: ClassBytes } {
  const now = noBytes();
  const gone = noBytes();
  for (let at = 0; at < bytes.length; at++) {
    const name = TENSOR_CLASSES[classes[at] ?? 0] ?? "not observable";
    (released[at] ? gone : now)[name] += bytes[at] ?? 0;
  }
  return { now, gone };
}

function sumHeld(bytes: ClassBytes): number {
  return HELD_CLASSES.reduce((sum, name) => sum + bytes[name], 0);
}

/** A ledger walked inside backward lacks what had fired; the call's own count, where there is one, has it. */
function releasedBeforeWalk(snapshot: Snapshot, now: number): number {
  const atStart = snapshot.backward?.class_bytes;
  if (!atStart?.length || !isRunningGraph(snapshot)) return 0;
  const start = HELD_CLASSES.reduce((sum, name) => sum + (atStart[TENSOR_CLASSES.indexOf(name)] ?? 0), 0);
  return Math.max(0, start - now);
}

/** Whether the storage's class counts as held. */
export function isHeld(model: HeldModel, storage: number): boolean {
  return HELD_CLASSES.includes(TENSOR_CLASSES[model.storageClass[storage] ?? 0] ?? "not observable");
}

/** The op of a row's node; "(unknown)" for -1. */
export function opOf(model: HeldModel, row: number): string {
  const { graph } = model;
  const node = model.node[row] ?? -1;
  if (!graph || node < 0) return UNKNOWN;
  return graph.names[nameColumn(graph)[node] ?? -1] ?? UNKNOWN;
}

export const UNKNOWN = "(unknown)";

/** The module id of a row's node, -1 for none. */
export function moduleOf(model: HeldModel, row: number): number {
  const { graph } = model;
  const node = model.node[row] ?? -1;
  return graph && node >= 0 ? (moduleColumn(graph)[node] ?? -1) : -1;
}

const nameColumn = remembered((graph: Graph) => numbers(graph.name));
const moduleColumn = remembered((graph: Graph) => numbers(graph.module));
const roleColumn = remembered((ledger: Ledger) => numbers(ledger.role));
const shapeColumn = remembered((ledger: Ledger) => numbers(ledger.shape));
const dtypeColumn = remembered((ledger: Ledger) => numbers(ledger.dtype));
const sizeColumn = remembered((ledger: Ledger) => numbers(ledger.tensor_bytes));
const recomputedColumn = remembered((ledger: Ledger) => numbers(ledger.recomputed));

function remembered<K extends object, V>(make: (key: K) => V): (key: K) => V {
  const known = new WeakMap<K, V>();
  return (key) => {
    const value = known.get(key) ?? make(key);
    known.set(key, value);
    return value;
  };
}

/** The dtype of a row, as torch spells it without "torch.". */
export function dtypeOf(model: HeldModel, row: number): string {
  return model.ledger.dtypes[dtypeColumn(model.ledger)[row] ?? -1] ?? UNKNOWN;
}

/** Everything about one row of the ledger. */
export function savedTensor(model: HeldModel, row: number): SavedTensor {
  const { ledger } = model;
  const storage = model.storage[row] ?? -1;
  const chargedRow = model.chargedRow[storage] ?? -1;
  return {
    row,
    node: model.node[row] ?? -1,
    op: opOf(model, row),
    role: ledger.roles[roleColumn(ledger)[row] ?? -1] ?? UNKNOWN,
    shape: ledger.shapes[shapeColumn(ledger)[row] ?? -1] ?? [],
    dtype: dtypeOf(model, row),
    bytes: sizeColumn(ledger)[row] ?? 0,
    storageBytes: model.storageBytes[storage] ?? 0,
    tensorClass: TENSOR_CLASSES[model.storageClass[storage] ?? 0] ?? "not observable",
    charged: chargedRow === row,
    held: isHeld(model, storage),
    chargedRow,
    released: model.released[storage] === 1,
    recomputed: recomputedColumn(ledger)[row] === 1,
  };
}

/** The module whose node runs at this stop; undefined outside backward or where it has none. */
export function runningModule(model: HeldModel): Module | undefined {
  const { graph, snapshot } = model;
  const running = snapshot.stop.running ?? -1;
  if (!graph || running < 0 || !isRunningGraph(snapshot)) return undefined;
  return model.modules.get(moduleColumn(graph)[running] ?? -1);
}

/** False where another graph is shown than the one that backward runs through. */
function isRunningGraph({ stop, graph }: Snapshot): boolean {
  const running = stop.graph ?? -1;
  return stop.in_backward === true && graph != null && (running < 0 || running === graph.id);
}
