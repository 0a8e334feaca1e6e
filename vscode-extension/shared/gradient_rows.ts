/** One row for each parameter and leaf of a snapshot: its state in a word, its sizes, what changed. */

import { numbers, type Numbers } from "./answer";
import type { Earlier } from "./gradient_changes";
import { parametersOnPath } from "./gradient_path";
import { medianRms, stateOfSize, worse, type GradientState } from "./gradient_state";
import { localNorms, parameterStatistics, type GradientStatistics } from "./gradient_statistics";
import type { GradientSummary } from "./gradient_summary";
import { lossScaleOf, type StepSnapshot } from "./recorded_step";
import { GRADIENT_STATES, type Parameter, type Snapshot } from "./session";

export interface GradientRow extends GradientSummary {
  readonly parameter: Parameter;
  /** Under the variable's name: "model.blocks.0.attn.qkv.weight". */
  readonly name: string;
  /** Place in the model's order. */
  readonly order: number;
  /** The statistics are the previous stop's: `.grad` is None until the running backward writes it. */
  readonly ofPreviousStop: boolean;
}

/** What the contract says of one parameter, before its size is judged. */
interface Standing {
  readonly state: (typeof GRADIENT_STATES)[number];
  readonly stale: number;
  readonly changed: boolean;
  readonly pending: boolean;
  readonly previousNorm: number;
}

const UNREAD: Standing = { state: "unread", stale: 0, changed: false, pending: false, previousNorm: Number.NaN };

/** In the order of the snapshot's parameters. */
export function gradientRows(snapshot: StepSnapshot, earlier: Earlier): GradientRow[] {
  const parameters = snapshot.parameters ?? [];
  const names = variableNames(snapshot);
  const standings = standingsOf(snapshot);
  const statistics = parameterStatistics(snapshot);
  const onPath = parametersOnPath(snapshot);
  const scales = scalesOf(parameters, statistics);
  const [lossScale, before] = [lossScaleOf(snapshot), snapshot.scaling?.previousLossScale ?? 1];
  const locals = localNorms(snapshot);
  return parameters.map((parameter, order) => {
    const standing = standings.get(parameter.id) ?? UNREAD;
    const now = standing.state === "present" ? (statistics.get(parameter.id) ?? null) : null;
    const scale = scales.get(parameter.root)!;
    const state = stateOf(standing, now, onPath.has(parameter.id), scale.median);
    const shown = now ?? (standing.pending && standing.state === "None" ? earlier(parameter) : null);
    return {
      parameter,
      name: names.get(parameter.id) ?? parameterName(parameter),
      order,
      state,
      trouble: isTrouble(state, scale.some),
      statistics: shown,
      ofPreviousStop: shown !== null && now === null,
      before: shown !== null && (standing.pending || standing.stale > 0),
      pending: standing.pending,
      changed: standing.changed,
      stale: standing.stale,
      previousNorm: standing.previousNorm / before,
      scale: lossScale,
      local: locals.get(parameter.id) ?? null,
      comparable: shown === null || (!standing.pending && standing.previousNorm >= 0),
    };
  });
}

/** A leaf that belongs to no module goes by the expression that reaches it. */
function variableNames(snapshot: Snapshot): Map<number, string> {
  const names = new Map<number, string>();
  const leaves = new Set((snapshot.parameters ?? []).filter((one) => one.is_leaf_tensor).map((one) => one.id));
  for (const { parameter = -1, expression } of snapshot.variables ?? []) {
    if (leaves.has(parameter) && !names.has(parameter)) names.set(parameter, expression);
  }
  return names;
}

/** The name in full; a tensor that has none goes by its number. */
function parameterName({ root, path, id }: Parameter): string {
  if (root !== "" && path !== "") return `${root}.${path}`;
  return root !== "" || path !== "" ? root + path : `tensor ${id}`;
}

function standingsOf(snapshot: Snapshot): Map<number, Standing> {
  const found = new Map<number, Standing>();
  const { states } = snapshot;
  if (states === null || states === undefined) return found;
  const [state, stale, previous] = [numbers(states.state), numbers(states.stale), numbers(states.previous_norm)];
  const [changed, pending] = [numbers(states.changed), numbers(states.pending)];
  numbers(states.subjects).forEach((id, row) => {
    found.set(id, {
      state: GRADIENT_STATES[state[row] ?? -1] ?? "unread",
      stale: at(stale, row, 0),
      changed: changed[row] === 1,
      pending: pending[row] === 1,
      previousNorm: at(previous, row, Number.NaN),
    });
  });
  return found;
}

function at(values: Numbers, row: number, otherwise: number): number {
  return values[row] ?? otherwise;
}

interface Scale {
  readonly median: number;
  /** Any gradient that is not zero was read. */
  readonly some: boolean;
}

/** By root variable: a generator and a discriminator have scales of their own. */
function scalesOf(parameters: readonly Parameter[], statistics: Map<number, GradientStatistics>): Map<string, Scale> {
  const roots = new Map<string, GradientStatistics[]>();
  for (const { root, id } of parameters) {
    const known = roots.get(root) ?? [];
    roots.set(root, known);
    const one = statistics.get(id);
    if (one !== undefined) known.push(one);
  }
  return new Map(Array.from(roots, ([root, all]) => [root, scaleOf(all)]));
}

function scaleOf(all: readonly GradientStatistics[]): Scale {
  return { median: medianRms(all.map((one) => one.rms)), some: all.some((one) => one.zeros < one.count) };
}

function stateOf(standing: Standing, now: GradientStatistics | null, onPath: boolean, median: number): GradientState {
  if (standing.state === "frozen") return "frozen";
  let state: GradientState = standing.pending ? "pending" : "finite";
  if (onPath) state = worse(state, "on path");
  if (standing.state === "None") return standing.pending ? state : "None";
  if (now === null) return "unread";
  if (now.nan > 0) return "NaN";
  if (now.inf > 0) return "Inf";
  if (standing.stale > 0) state = worse(state, "stale");
  return worse(state, now.count > 0 && now.zeros === now.count ? "zero" : stateOfSize(now.norm, now.rms, median));
}

function isTrouble(state: GradientState, othersHaveGradients: boolean): boolean {
  switch (state) {
    case "NaN":
    case "Inf":
    case "exploding":
    case "vanishing":
    case "on path":
    case "stale":
      return true;
    case "None":
    case "zero":
      return othersHaveGradients;
    default:
      return false;
  }
}
