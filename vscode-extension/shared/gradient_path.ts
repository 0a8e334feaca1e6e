/** Parameters whose gradient is still to come, by way of a node whose gradient is not finite already. */

import { numbers } from "./answer";
import { NODE_STATES, type Graph, type Gradients, type Snapshot } from "./session";

const PENDING = NODE_STATES.indexOf("pending");

/** Ids of parameters on the path of a NaN or Inf; empty outside backward or where nodes were not measured. */
export function parametersOnPath(snapshot: Snapshot): ReadonlySet<number> {
  const { graph, stop } = snapshot;
  const states = stop.node_states;
  if (graph === null || graph === undefined || states === null || states === undefined) return new Set();
  const starts = nonFiniteNodes(snapshot.gradients ?? []);
  return starts.length === 0 ? new Set() : reachedParameters(graph, numbers(states), starts);
}

function nonFiniteNodes(all: readonly Gradients[]): number[] {
  const found: number[] = [];
  for (const { subject_kind, subjects, columns } of all) {
    const { nan, inf } = columns;
    if (subject_kind !== "node" || nan === undefined || inf === undefined) continue;
    const [nodes, nans, infs] = [numbers(subjects), numbers(nan), numbers(inf)];
    nodes.forEach((node, row) => void (nans[row]! + infs[row]! > 0 && found.push(node)));
  }
  return found;
}

/** A pending node is passed through; one that has fired shows its own gradient. */
function reachedParameters(graph: Graph, states: ArrayLike<number>, starts: readonly number[]): Set<number> {
  const targets = targetsOf(graph);
  const leaf = numbers(graph.parameter);
  const reached = new Set<number>();
  const found = new Set<number>();
  const open = [...starts];
  for (let node = open.pop(); node !== undefined; node = open.pop()) {
    for (const target of targets.get(node) ?? []) {
      if (states[target] !== PENDING || reached.has(target)) continue;
      reached.add(target);
      open.push(target);
      if ((leaf[target] ?? -1) >= 0) found.add(leaf[target]!);
    }
  }
  return found;
}

function targetsOf(graph: Graph): Map<number, number[]> {
  const targets = new Map<number, number[]>();
  const ends = numbers(graph.edge_target);
  numbers(graph.edge_source).forEach((source, edge) => {
    const known = targets.get(source);
    if (known === undefined) targets.set(source, [ends[edge]!]);
    else known.push(ends[edge]!);
  });
  return targets;
}
