/** A recorded step as the `Snapshot` that the panel's views draw: the records of the step, and what follows from them. */

import { numbers } from "./answer";
import { SessionError, absent, damaged } from "./recorded_errors";
import type { RecordedSession } from "./recorded_session";
import type { StepScaling, StepSnapshot } from "./recorded_step";
import { lastCall } from "./recorded_steps";
import {
  GRADIENT_STATES,
  type Backward, type Column, type CompiledRegion, type Gradients, type GradientStates, type Graph, type Histograms, type Ledger, type Missing, type Notice,
  type Site, type Stop, type Variable,
} from "./session";

const NONE = GRADIENT_STATES.indexOf("None");
const FROZEN = GRADIENT_STATES.indexOf("frozen");
const PRESENT = GRADIENT_STATES.indexOf("present");
const UNREAD = GRADIENT_STATES.indexOf("unread");

interface GraphParts {
  readonly call: Backward | null;
  readonly graph: Graph | null;
  readonly ledger: Ledger | null;
  readonly missing: readonly Missing[];
  readonly regions: readonly CompiledRegion[];
}

/** Throws a SessionError for a step that is not there. */
export async function snapshotOfStep(session: RecordedSession, step: number): Promise<StepSnapshot> {
  const position = session.steps.position(step);
  if (position < 0) throw absent(session.reader.options.name, `step ${step}`, stepsThere(session));
  const [calls, gradients, histograms, before] = await Promise.all([
    session.callsOfStep(step),
    gradientsOfStep(session, step),
    session.reader.recordsOfStep("/histograms", step),
    gradientsOfStep(session, session.steps.number(position - 1)),
  ]);
  const parts = await graphParts(session, calls);
  const parameters = gradients.filter(({ subject_kind }) => subject_kind === "parameter");
  const nodes = gradients.filter(({ subject_kind, backward }) => subject_kind === "node" && backward === parts.call?.index);
  const locals = gradients.filter(({ subject_kind }) => subject_kind === "local");
  const sites = sitesOf(session, parts);
  const unread: Missing[] = parameters.length > 0 ? [] : [{ part: "gradients", reason: `No gradient of a parameter was recorded in step ${step}.` }];
  const root = rootVariable(session, parts, position);
  return {
    state: "ready",
    run: session.run,
    stop: stopOfStep(session, position, parts, sites),
    variables: root ? [root] : [],
    root: root ? 0 : -1,
    modules: session.modules,
    parameters: session.parameters,
    states: statesOf(session, step, parameters, before),
    gradients: [...parameters, ...nodes, ...locals],
    histograms: parameterHistograms(histograms, -1),
    graph: parts.graph,
    ledger: parts.ledger,
    backward: parts.call,
    sites,
    site_texts: await textsOf(session, sites),
    notices: noticesOf(session, step),
    missing: [...unread, ...parts.missing],
    regions: parts.regions,
    scaling: scalingOf(session, position),
  };
}

function scalingOf({ steps }: RecordedSession, position: number): StepScaling {
  return { lossScale: steps.lossScale(position), previousLossScale: steps.lossScale(position - 1), skipped: steps.skipped(position) };
}

/** Throws a SessionError for a stop that is not there. */
export async function snapshotOfStop(session: RecordedSession, number: number): Promise<StepSnapshot> {
  const stop = session.stops.find((one) => one.number === number);
  if (!stop) throw absent(session.reader.options.name, `stop ${number}`, `It has ${session.stops.length} recorded stops.`);
  const step = Math.max(stop.step, 0);
  const { reader } = session;
  const [calls, gradients, histograms] = await Promise.all([
    session.callsOfStep(step),
    reader.recordsOfStep("/gradients", step),
    reader.recordsOfStep("/histograms", step),
  ]);
  const call = calls.filter(({ graph }) => graph >= 0 && graph === (stop.graph ?? -1)).at(-1) ?? null;
  const missing: Missing[] = [];
  const graph = await whole("graph", missing, () => session.graph(stop.graph ?? -1));
  const ledger = call && graph && (await whole("held", missing, () => ledgerFor(session, call, graph)));
  const regions = await regionsOf(session, graph, missing);
  const sites = sitesOf(session, { graph, ledger, regions });
  return {
    state: "ready",
    run: session.run,
    stop,
    modules: session.modules,
    parameters: session.parameters,
    states: await statesOfStop(session, number),
    gradients: gradients.filter((record) => record.stop === number && record.subject_kind !== "module"),
    histograms: parameterHistograms(histograms, number),
    graph,
    ledger,
    backward: call,
    sites,
    site_texts: await textsOf(session, sites),
    notices: noticesOf(session, stop.step),
    missing,
    regions,
  };
}

async function statesOfStop(session: RecordedSession, number: number): Promise<GradientStates | null> {
  const { records } = await session.reader.recordsFrom("/states", 0);
  return records.find(({ stop }) => stop === number) ?? null;
}

/** Of no stop, and in the order of the backward calls: views take the later of two rows. */
async function gradientsOfStep(session: RecordedSession, step: number): Promise<Gradients[]> {
  if (step < 0) return [];
  const records = await session.reader.recordsOfStep("/gradients", step);
  return records.filter(({ stop = -1 }) => stop < 0).sort((a, b) => a.backward - b.backward);
}

function parameterHistograms(records: readonly Histograms[], stop: number): Histograms[] {
  const fitting = records.filter((record) => record.subject_kind === "parameter" && (record.stop ?? -1) === stop);
  return fitting.sort((a, b) => a.backward - b.backward);
}

/** The step's last call with a ledger, else with a graph, else its last: graph and ledger must be of one call. */
async function graphParts(session: RecordedSession, calls: readonly Backward[]): Promise<GraphParts> {
  const call = lastCall(calls, ({ ledger, graph }) => ledger >= 0 && graph >= 0) ?? lastCall(calls, ({ graph }) => graph >= 0) ?? lastCall(calls, () => true);
  if (call === null) return { call, graph: null, ledger: null, regions: [], missing: [{ part: "graph", reason: "The step has no backward call." }] };
  const missing: Missing[] = [];
  if (call.graph < 0) missing.push({ part: "graph", reason: call.unobserved ?? "The graph was not walked." });
  const graph = await whole("graph", missing, () => session.graph(call.graph));
  const ledger = graph && (await whole("held", missing, () => ledgerFor(session, call, graph)));
  if (call.graph >= 0 && call.ledger < 0) {
    missing.push({ part: "held", reason: call.unobserved ?? "What was saved was not recorded at this step. As a file grows, it is recorded every few steps only." });
  }
  return { call, graph, ledger, missing, regions: await regionsOf(session, graph, missing) };
}

/** What the graph's compiled nodes open into, each once; one that cannot be read says so and leaves its node closed. */
async function regionsOf(session: RecordedSession, graph: Graph | null, missing: Missing[]): Promise<CompiledRegion[]> {
  const ids = new Set((graph?.labels ?? []).map(({ region = -1 }) => region));
  const found = await Promise.all(Array.from(ids, (id) => whole("graph", missing, () => session.region(id))));
  return found.filter((region) => region !== null);
}

/** A damaged record costs its part of the picture, which says so. */
async function whole<T>(part: Missing["part"], missing: Missing[], read: () => Promise<T | null>): Promise<T | null> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof SessionError)) throw error;
    missing.push({ part, reason: error.message });
    return null;
  }
}

/** Null where the call has none. Throws where it is of another graph than the call's: its rows name nodes. */
async function ledgerFor(session: RecordedSession, call: Backward, graph: Graph): Promise<Ledger | null> {
  const ledger = await session.ledger(call.ledger);
  if (ledger === null) return null;
  const nodes = ledger.graph === graph.id ? graph.node_count : 0;
  for (const column of [ledger.node, ledger.output_node]) {
    for (const node of numbers(column)) {
      if (node >= nodes) throw damaged(session.reader.options.name, `ledger ${ledger.id} names node ${node} of ${nodes} in graph ${graph.id}`);
    }
  }
  return ledger;
}

/** Stop-like: where the step's backward began, and its number in place of the stop's. */
function stopOfStep(session: RecordedSession, position: number, { call, graph }: GraphParts, sites: readonly Site[]): Stop {
  const number = session.steps.number(position);
  const root = graph?.roots[0] ?? -1;
  const place = graph && root >= 0 ? sites.find(({ id }) => id === numbers(graph.project_site)[root]) : undefined;
  return {
    number,
    time_ns: session.steps.endNs(position) ?? call?.start_ns ?? session.run.start_ns,
    step: number,
    thread: call?.thread ?? 0,
    thread_name: "",
    file: place?.file ?? "",
    line: place?.line ?? 0,
    function: place?.function ?? "",
    graph: call?.graph ?? -1,
    reason: session.steps.interrupted(position) ?? "",
  };
}

/** What backward was called on: no variable of the program is known by name, so it goes by the call. */
function rootVariable(session: RecordedSession, { call, graph }: GraphParts, position: number): Variable | null {
  const root = graph?.roots[0];
  if (!graph || root === undefined || !call) return null;
  const loss = session.steps.loss(position);
  return {
    expression: call.call === "grad" ? `grad call ${call.index}` : `backward call ${call.index}`,
    kind: "tensor",
    class_name: "Tensor",
    requires_grad: true,
    grad_fn: graph.names[numbers(graph.name)[root] ?? -1] ?? null,
    number: call.call === "backward" && loss !== null ? shortNumber(loss) : null,
  };
}

function stepsThere({ steps }: RecordedSession): string {
  return steps.length === 0 ? "No step has ended yet." : `Its steps go from ${steps.number(0)} to ${steps.number(steps.length - 1)}.`;
}

/** As the debuggee writes the value of a scalar: six digits. */
function shortNumber(value: number): string {
  return String(Number(value.toPrecision(6)));
}

/** A row of a parameter: its record, and where in it. */
interface Row {
  readonly record: Gradients;
  readonly row: number;
}

function rowsById(records: readonly Gradients[]): Map<number, Row> {
  const rows = new Map<number, Row>();
  for (const record of records) {
    if (record.subject_kind === "parameter") numbers(record.subjects).forEach((id, row) => rows.set(id, { record, row }));
  }
  return rows;
}

/**
 * Present where the step has a row, None where others have one and it has not; unread where the step has none at all,
 * or its records are damaged. Changed: not the same numbers as in the step before.
 */
function statesOf(session: RecordedSession, step: number, now: readonly Gradients[], before: readonly Gradients[]): GradientStates {
  const [rows, earlier] = [rowsById(now), rowsById(before)];
  const parameters = session.parameters;
  const known = now.length > 0 && !session.gaps.some(({ topic }) => topic === "/gradients");
  const absent = (requiresGrad: boolean): number => (!requiresGrad ? FROZEN : known ? NONE : UNREAD);
  const state = Uint8Array.from(parameters, ({ id, requires_grad }) => (rows.has(id) ? PRESENT : absent(requires_grad)));
  const changed = Uint8Array.from(parameters, ({ id }) => (sameNumbers(rows.get(id), earlier.get(id)) ? 0 : 1));
  const norms = Float32Array.from(parameters, ({ id }) => valueOf(earlier.get(id), "l2"));
  return {
    stop: step,
    subjects: column("<u4", Uint32Array.from(parameters, ({ id }) => id)),
    state: column("|u1", state),
    stale: column("<i4", new Int32Array(parameters.length)),
    changed: column("|u1", changed),
    previous_norm: column("<f4", norms),
    pending: column("|u1", new Uint8Array(parameters.length)),
  };
}

function sameNumbers(a: Row | undefined, b: Row | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return Object.keys(a.record.columns).every((name) => Object.is(valueOf(a, name), valueOf(b, name)));
}

const VALUES = new WeakMap<Column, ReturnType<typeof numbers>>();

function valueOf(of: Row | undefined, name: string): number {
  const found = of?.record.columns[name];
  if (!of || !found) return Number.NaN;
  let values = VALUES.get(found);
  if (!values) VALUES.set(found, (values = numbers(found)));
  return values[of.row] ?? Number.NaN;
}

function column(dtype: string, values: Uint8Array | Int32Array | Uint32Array | Float32Array): Column {
  return { dtype, data: new Uint8Array(values.buffer, values.byteOffset, values.byteLength) };
}

/** The places that the graph and its saved tensors name; a session can have many more. */
function sitesOf(session: RecordedSession, { graph, ledger, regions }: Pick<GraphParts, "graph" | "ledger" | "regions">): Site[] {
  const ids = new Set<number>();
  for (const part of [graph?.site, graph?.project_site, ledger?.site, ...regions.flatMap((region) => [region.site, region.project_site])]) if (part) numbers(part).forEach((id) => ids.add(id));
  return [...ids].sort((a, b) => a - b).flatMap((id) => session.sites.get(id) ?? []);
}

/** "" where the file's text was not recorded. */
async function textsOf(session: RecordedSession, sites: readonly Site[]): Promise<string[]> {
  const texts = await session.texts();
  const lines = new Map<string, readonly string[]>();
  return sites.map(({ file, line }) => {
    let known = lines.get(file);
    if (!known) lines.set(file, (known = (texts.get(file) ?? "").split(/\r\n|\r|\n/)));
    return (known[line - 1] ?? "").trim();
  });
}

function noticesOf(session: RecordedSession, step: number): readonly Notice[] {
  return session.notices.filter((notice) => (notice.step ?? -1) < 0 || notice.step === step);
}
