/** What is known of the gradients at the nodes of a graph: of this backward, or a parameter's `.grad` from before. */

import { numbers, type Numbers } from "./answer";
import { edgesOf, type GraphEdges } from "./graph_edges";
import { lossScaleOf, type StepSnapshot } from "./recorded_step";
import { GRADIENT_STATES, NODE_STATES, type Column, type Graph, type Gradients, type Snapshot } from "./session";

/** Statistics of one gradient. NaN: not known. */
export interface NodeGradient {
  readonly norm: number;
  readonly absMax: number;
  readonly count: number;
  readonly zeros: number;
  readonly nan: number;
  readonly inf: number;
}

/** How a node's gradient is in trouble. "on path": it is yet to be computed from one that is not finite. */
export type NodeTrouble = "NaN" | "Inf" | "on path" | null;

/** Numbers of the troubles in `NodeGradients.trouble`, worst last. */
export const TROUBLES: readonly NodeTrouble[] = [null, "on path", "Inf", "NaN"];
const [, ON_PATH, INF, NAN] = [0, 1, 2, 3] as const;

export interface NodeGradients {
  /** The gradient that reached each node in this backward; undefined where it was not seen. */
  readonly now: ReadonlyMap<number, NodeGradient>;
  /** What a node that has just run computed for its inputs: the part of their gradients that comes from it. */
  readonly computed: ReadonlyMap<number, NodeGradient>;
  /** The `.grad` of each parameter, by its id. */
  readonly ofParameter: ReadonlyMap<number, ParameterGradient>;
  readonly trouble: Uint8Array;
}

/** `pending`: the running backward has yet to reach it, so the value is from before. */
export interface ParameterGradient extends NodeGradient {
  readonly pending: boolean;
}

interface GraphParts {
  readonly graph: Graph;
  readonly edges: GraphEdges;
  readonly state: Uint8Array;
  readonly parameter: Numbers;
  readonly isLeaf: Uint8Array;
}

const FIRED = NODE_STATES.indexOf("fired");

/** Reads the rows of a snapshot that are about nodes of its graph. */
export function readGradients(snapshot: Snapshot, parts: GraphParts): NodeGradients {
  const nodes = rowsOf(snapshot, "node");
  const ofParameter = parameterGradients(snapshot);
  const now = mapped(nodes, (rows) => rows[0]);
  const computed = mapped(nodes, (rows) => rows[1]);
  return { now, computed, ofParameter, trouble: readTrouble(parts, { now, computed, ofParameter }) };
}

/** In the order of the answer: of a node first what reached it, then what it computed. */
function rowsOf(snapshot: StepSnapshot, kind: Gradients["subject_kind"]): Map<number, NodeGradient[]> {
  const found = new Map<number, NodeGradient[]>();
  for (const gradients of snapshot.gradients ?? []) {
    if (gradients.subject_kind !== kind) continue;
    const read = gradientReader(gradients, lossScaleOf(snapshot));
    numbers(gradients.subjects).forEach((subject, row) => {
      const known = found.get(subject);
      if (known) known.push(read(row));
      else found.set(subject, [read(row)]);
    });
  }
  return found;
}

/** Leaves out what has no such value. */
function mapped<V, W>(of: ReadonlyMap<number, V>, value: (one: V) => W | undefined): Map<number, W> {
  const found = new Map<number, W>();
  of.forEach((one, key) => {
    const to = value(one);
    if (to !== undefined) found.set(key, to);
  });
  return found;
}

/** Without the loss scale. */
function gradientReader({ columns }: Gradients, scale: number): (row: number) => NodeGradient {
  const column = (name: string): Numbers | null => valuesOf(columns[name]);
  const [l2, min, max, count, zeros, nan, inf] = ["l2", "min", "max", "count", "zeros", "nan", "inf"].map(column);
  const at = (values: Numbers | null | undefined, row: number): number => values?.[row] ?? Number.NaN;
  return (row) => ({
    norm: at(count, row) > 0 && at(nan, row) + at(inf, row) >= at(count, row) ? Number.NaN : at(l2, row) / scale,
    absMax: Math.max(Math.abs(at(min, row)), Math.abs(at(max, row))) / scale,
    count: at(count, row),
    zeros: at(zeros, row),
    nan: at(nan, row),
    inf: at(inf, row),
  });
}

function valuesOf(column: Column | undefined): Numbers | null {
  return column ? numbers(column) : null;
}

function parameterGradients(snapshot: Snapshot): Map<number, ParameterGradient> {
  const pending = pendingParameters(snapshot);
  const rows = rowsOf(snapshot, "parameter");
  return new Map([...rows].map(([id, all]) => [id, { ...all[all.length - 1]!, pending: pending.has(id) }]));
}

function pendingParameters({ states }: Snapshot): Set<number> {
  const found = new Set<number>();
  if (!states) return found;
  const pending = numbers(states.pending);
  const state = numbers(states.state);
  numbers(states.subjects).forEach((id, row) => {
    if (pending[row] && GRADIENT_STATES[state[row] ?? 0] === "present") found.add(id);
  });
  return found;
}

/** Everything that a NaN or Inf gradient will still flow into is on its path. Linear in nodes and edges. */
function readTrouble(parts: GraphParts, { now, computed, ofParameter }: Omit<NodeGradients, "trouble">): Uint8Array {
  const trouble = new Uint8Array(parts.graph.node_count);
  for (const seen of [now, computed]) for (const [node, gradient] of seen) trouble[node] = Math.max(trouble[node] ?? 0, troubleOf(gradient));
  const bad = [...now.keys(), ...computed.keys()].filter((node) => trouble[node]);
  spread(parts, trouble, bad);
  for (let leaf = 0; leaf < parts.isLeaf.length; leaf++) {
    const gradient = parts.isLeaf[leaf] ? ofParameter.get(parts.parameter[leaf] ?? -1) : undefined;
    if (gradient && !gradient.pending) trouble[leaf] = Math.max(trouble[leaf] ?? 0, troubleOf(gradient));
  }
  return trouble;
}

/** Whether a node made a NaN or Inf out of a gradient that was finite. */
export function bornAt({ now, computed }: NodeGradients, node: number): boolean {
  const [came, made] = [now.get(node), computed.get(node)];
  return came !== undefined && made !== undefined && troubleOf(came) === 0 && troubleOf(made) > 0;
}

function troubleOf(gradient: NodeGradient): number {
  return gradient.nan > 0 ? NAN : gradient.inf > 0 ? INF : 0;
}

function spread({ edges, state }: GraphParts, trouble: Uint8Array, path: number[]): void {
  for (let node = path.pop(); node !== undefined; node = path.pop()) {
    for (const edge of edgesOf(edges.next, node)) {
      const target = edges.target[edge]!;
      if (trouble[target] || state[target] === FIRED) continue;
      trouble[target] = ON_PATH;
      path.push(target);
    }
  }
}
