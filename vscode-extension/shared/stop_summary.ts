/** What header, tabs and announcement say of a stop. */

import { numbers } from "./answer";
import { fileName, formatBytes, formatCount } from "./format";
import { gradientModel } from "./gradient_model";
import { TROUBLE, glyphWord } from "./glyphs";
import { heldTotal } from "./held_model";
import { NODE_STATES, type Column, type Graph, type Snapshot, type Stop } from "./session";
import { announceText } from "./text";

export type Trouble = (typeof TROUBLE)[number];

export interface StopSummary {
  /** How many parameters are in each kind of trouble, worst first; only kinds that occur. */
  readonly trouble: readonly { readonly state: Trouble; readonly count: number }[];
  readonly totals: { readonly gradients: string; readonly graph: string; readonly held: string };
}

const summaries = new WeakMap<Snapshot, StopSummary>();

/** Made once per snapshot, before anything is drawn: the views share the models. */
export function stopSummary(snapshot: Snapshot, previous: Snapshot | null): StopSummary {
  const known = summaries.get(snapshot);
  if (known) return known;
  const summary = { trouble: countTrouble(snapshot, previous), totals: totalsOf(snapshot) };
  summaries.set(snapshot, summary);
  return summary;
}

function countTrouble(snapshot: Snapshot, previous: Snapshot | null): StopSummary["trouble"] {
  const counts = new Map<string, number>();
  for (const { state, trouble } of gradientModel(snapshot, previous).rows) {
    if (trouble) counts.set(state, (counts.get(state) ?? 0) + 1);
  }
  return TROUBLE.flatMap((state) => (counts.has(state) ? [{ state, count: counts.get(state)! }] : []));
}

/** "" where a view has nothing to count. */
function totalsOf(snapshot: Snapshot): StopSummary["totals"] {
  const parameters = snapshot.parameters?.length ?? 0;
  const held = heldTotal(snapshot);
  return {
    gradients: parameters > 0 ? formatCount(parameters) : "",
    graph: snapshot.graph ? formatCount(snapshot.graph.node_count) : "",
    held: held === null ? "" : formatBytes(held),
  };
}

/** How far backward has come through the stop's own graph. */
export interface Progress {
  /** The running node counts as reached. */
  readonly reached: number;
  readonly of: number;
  readonly share: number;
}

const FIRED = NODE_STATES.indexOf("fired");
const RUNNING = NODE_STATES.indexOf("running");
const UNKNOWN = NODE_STATES.indexOf("unknown");

/** Null outside backward, and where the states of nodes are not known. */
export function progressOf({ stop, graph }: Snapshot): Progress | null {
  if (!stop.in_backward || !stop.node_states || !graph || graph.id !== stop.graph) return null;
  const states = numbers(stop.node_states);
  let reached = 0;
  for (const state of states) {
    if (state === UNKNOWN) return null;
    if (state === FIRED || state === RUNNING) reached++;
  }
  const of = graph.node_count;
  return of === 0 ? null : { reached, of, share: reached / of };
}

/** The op of the node that runs: "SoftmaxBackward0"; null where none is known. */
export function runningName(snapshot: Snapshot): string | null {
  const { graph, stop } = snapshot;
  if (!stop.in_backward || !graph || (stop.running ?? -1) < 0 || graph.id !== stop.graph) return null;
  return nodeName(graph, stop.running!);
}

function nodeName(graph: Graph, node: number): string | null {
  return graph.names[numbers(graph.name)[node] ?? -1] ?? null;
}

/** A condition's stop lands in a frame of gradwatch's own, whose text is on no disk. */
const OWN_FRAME = "gradwatch (stopped in backward).py";

/** A line of the user's, and the function or module that it is of. */
export interface StopPlace {
  readonly file: string;
  readonly line: number;
  readonly of: { readonly function: string } | { readonly module: string } | null;
}

/** The user's line at a stop: for a condition's stop, where forward made the running node. Null where it is not known. */
export function stopPlace(snapshot: Snapshot): StopPlace | null {
  const { stop, graph, sites, modules } = snapshot;
  if (fileName(stop.file) !== OWN_FRAME) return { file: stop.file, line: stop.line, of: { function: stop.function } };
  if (!graph || graph.id !== stop.graph) return null;
  const at = (column: Column): number | undefined => numbers(column)[stop.running ?? -1];
  const site = sites?.find(({ id }) => id === at(graph.project_site));
  const module = modules?.find(({ id }) => id === at(graph.module));
  return site ? { file: site.file, line: site.line, of: module && module.path !== "" ? { module: module.path } : null } : null;
}

/** Said once a stop: "Paused at SoftmaxBackward0, 1 NaN, 3 vanishing". */
export function announcement(snapshot: Snapshot, previous: Snapshot | null): string {
  const { trouble } = stopSummary(snapshot, previous);
  const words = trouble.map(({ state, count }) => `${formatCount(count)} ${glyphWord(state)}`).join(", ");
  return announceText.stop(runningName(snapshot) ?? placeOf(snapshot.stop), words, snapshot.findings?.length ?? 0);
}

function placeOf({ file, line }: Stop): string {
  return announceText.at(file, line);
}
