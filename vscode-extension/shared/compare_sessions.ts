/**
 * Compares two sessions, two ranks, or two steps of one session: the same answer as `gradwatch.session.compare`. Aligned
 * by step number; parameters, modules and module outputs by root and path; nodes by place in the graph.
 */

import type { Comparison, ComparedCounts, ComparedKind, ComparedSession, GradientParting, GraphDifference, HeldDifference, OnlyOne, StepPair } from "./compare";
import { Curves, normsOf } from "./compare_curves";
import type { CallPair } from "./compare_graphs";
import { heldDifference } from "./compare_held";
import { pairedNames, unshardedNames, type NamePairs } from "./compare_names";
import { cutShort, leftOut, nameOf, stepRange, unlikeCalls, unread, whyNotCompared, type Sessions } from "./compare_notes";
import { Pace } from "./compare_pace";
import { KINDS, partingAt, type Found } from "./compare_partings";
import { ComparedCalls, lastOfEach, nothingLike, pairedRecords, type PairedRecords } from "./compare_records";
import { RowComparer, rowsPart, type ComparedRows } from "./compare_rows";
import { ComparedSide } from "./compare_side";
import { DEFAULT_TOLERANCE, EXACT, type Tolerance } from "./compare_tolerance";
import type { RecordedSession } from "./recorded_session";
import type { Gradients } from "./session";
import { compareText as text } from "./text";

/** Pairs of graphs that are searched for a difference. */
const COMPARED_GRAPHS = 64;
/** Partings of each kind, and nodes of each list, that are told: a graph may have a million. */
const MOST_LISTED = 2_000;

export interface CompareOptions {
  /** How far two numbers may lie apart, as a share; 0: exactly. By default 1e-4. */
  readonly tolerance?: number | null;
  /** Only these steps; where one is null, the other's number. By default every step that both have. */
  readonly stepA?: number | null;
  readonly stepB?: number | null;
  /** They are different ranks, which see different data: only gradients of parameters are compared, which ranks average. */
  readonly ranks?: boolean;
  /** Gets the share that is done, 0 to 1. What it throws ends the comparison. */
  readonly onProgress?: (share: number) => void;
}

/** There is nothing to compare, or a step is not there. The message can be shown. */
export class ComparisonError extends Error {
  override readonly name = "ComparisonError";
}

/** Throws a ComparisonError, or a SessionError at what a file holds. */
export async function compareSessions(a: RecordedSession, b: RecordedSession, options: CompareOptions = {}): Promise<Comparison> {
  const alignment = aligned([a, b], options);
  const pace = new Pace();
  const comparing = await Comparing.of([a, b], alignment, toleranceOf(options.tolerance ?? null), pace);
  let done = 0;
  for await (const records of pairedRecords(a, b, alignment.pairs, pace)) {
    await comparing.take(records);
    options.onProgress?.(++done / alignment.pairs.length);
  }
  return comparing.comparison();
}

function toleranceOf(share: number | null): Tolerance {
  if (share === null || !(share >= 0 && share < Infinity)) return DEFAULT_TOLERANCE;
  return share === 0 ? EXACT : { ...DEFAULT_TOLERANCE, rtol: share };
}

/** Pairs of steps, by number or `chosen`, and the steps of one side alone. `cutShort` tells of such steps, `ranks` are different ones. */
interface Alignment {
  readonly pairs: readonly StepPair[];
  readonly onlyA: readonly number[];
  readonly onlyB: readonly number[];
  readonly cutShort: readonly string[];
  readonly chosen: boolean;
  readonly ranks: boolean;
}

function aligned(sessions: Sessions, { stepA = null, stepB = null, ranks = false }: CompareOptions): Alignment {
  const [a, b] = sessions;
  if (stepA !== null || stepB !== null) {
    const pair = { a: (stepA ?? stepB)!, b: (stepB ?? stepA)! };
    checkStep(a, pair.a);
    checkStep(b, pair.b);
    return { pairs: [pair], onlyA: [], onlyB: [], cutShort: cutShort(sessions, pair), chosen: true, ranks };
  }
  const [wholeA, wholeB] = [wholeSteps(a), wholeSteps(b)];
  const [inA, inB] = [new Set(wholeA), new Set(wholeB)];
  const common = [...inA].filter((step) => inB.has(step)).sort((x, y) => x - y);
  if (common.length === 0) throw new ComparisonError(text.noneInCommon(nameOf(a), stepRange(a), nameOf(b), stepRange(b)));
  const alone = (steps: readonly number[], other: ReadonlySet<number>) => steps.filter((step) => !other.has(step));
  const pairs = common.map((step) => ({ a: step, b: step }));
  return { pairs, onlyA: alone(wholeA, inB), onlyB: alone(wholeB, inA), cutShort: [], chosen: false, ranks };
}

function checkStep(session: RecordedSession, step: number): void {
  if (session.steps.position(step) < 0) throw new ComparisonError(text.noStep(step, stepRange(session)));
}

function wholeSteps({ steps }: RecordedSession): readonly number[] {
  return Array.from(steps.numbers()).filter((_, position) => steps.complete(position));
}

/** One comparison under way: takes in one pair of steps after the other. */
class Comparing {
  readonly #compared: Record<ComparedKind, number> = { node: 0, module: 0, parameter: 0 };
  readonly #curves: Curves;
  readonly #notes: string[] = [];
  #gradients: GradientParting | null = null;

  private constructor(
    private readonly sessions: Sessions,
    private readonly alignment: Alignment,
    private readonly calls: readonly [ComparedCalls, ComparedCalls],
    private readonly comparer: RowComparer,
    private readonly pace: Pace,
    /** Names of parameters of which each rank has a part of its own. */
    private readonly sharded: readonly string[],
  ) {
    this.#curves = new Curves(sessions, calls, alignment.pairs);
  }

  static async of(sessions: Sessions, alignment: Alignment, tolerance: Tolerance, pace: Pace): Promise<Comparing> {
    const [a, b] = sessions;
    const only = alignment.chosen ? alignment.pairs[0]! : { a: null, b: null };
    const calls = [await ComparedCalls.of(a, only.a, pace), await ComparedCalls.of(b, only.b, pace)] as const;
    const [sideA, sideB] = [await ComparedSide.of(a), await ComparedSide.of(b)];
    const { names, sharded } = alignment.ranks ? unshardedNames(sideA, sideB) : { names: pairedNames(sideA, sideB), sharded: [] };
    return new Comparing(sessions, alignment, calls, new RowComparer(sideA, sideB, names, tolerance, pace), pace, sharded);
  }

  get #names(): NamePairs {
    return this.comparer.names;
  }

  /** Every kind until gradients have parted, then parameters only. */
  async take(records: PairedRecords): Promise<void> {
    const { pair } = records;
    const [a, b] = this.alignment.ranks ? [lastOfEach(records.a), lastOfEach(records.b)] : [records.a, records.b];
    const found: Record<ComparedKind, ComparedRows[]> = { node: [], module: [], parameter: [] };
    for (const kind of this.#gradients === null && !this.alignment.ranks ? KINDS : (["parameter"] as const)) {
      for (const backward of [...new Set([...a.calls(kind), ...b.calls(kind)])].sort((x, y) => x - y)) {
        await this.pace.rest();
        const rows = await this.#rows(kind, pair, a.of(kind, backward), b.of(kind, backward));
        if (rows === null) continue;
        found[kind].push(rows);
        this.#compared[kind] += rows.match.a.length;
      }
    }
    this.#curves.add(normsOf(found.parameter));
    if (this.#gradients === null && KINDS.some((kind) => found[kind].some(rowsPart))) await this.#tell(pair, found);
  }

  async comparison(): Promise<Comparison> {
    const [a, b] = this.sessions;
    const { pairs, onlyA, onlyB, chosen, ranks } = this.alignment;
    const names = this.#names;
    const compared: ComparedCounts = { steps: pairs.length, ...this.#compared };
    if (this.sharded.length === 0 && (ranks || !this.#curves.haveLosses) && KINDS.every((kind) => compared[kind] === 0) && this.#gradients === null) {
      throw new ComparisonError(text.nothingShared(nameOf(a), nameOf(b)));
    }
    const loss = ranks ? null : this.#curves.lossParting(this.comparer.tolerance);
    const graph = await this.#graphDifference();
    const held = await this.#heldDifference();
    const notes = [
      ...this.alignment.cutShort,
      ...(chosen ? [] : leftOut(this.sessions)),
      ...(ranks ? [text.differentRanks, ...shardedNote(this.sharded)] : whyNotCompared(this.sessions, compared)),
      ...unlikeCalls(pairs, this.calls),
      ...this.#notes,
      ...this.comparer.tooLarge(),
      ...unread(this.sessions),
    ];
    return {
      format: "gradwatch.report",
      version: 1,
      command: "diff",
      parts: loss !== null || this.#gradients !== null || names.parameter.onlyA.length + names.parameter.onlyB.length > 0,
      a: told(a),
      b: told(b),
      tolerance: this.comparer.tolerance,
      compared,
      first_steps: pairs[0]!,
      last_steps: pairs.at(-1)!,
      gradients: this.#gradients,
      loss,
      curves: this.#curves.drawn(),
      held,
      graph,
      only_a: onlyOne(names.parameter.onlyA, names.module.onlyA, onlyA),
      only_b: onlyOne(names.parameter.onlyB, names.module.onlyB, onlyB),
      notes,
    };
  }

  async #tell(pair: StepPair, found: Found): Promise<void> {
    const { comparer, calls, pace } = this;
    const { parting, unlisted } = await partingAt(pair, found, { comparer, calls, most: MOST_LISTED, pace });
    this.#gradients = parting;
    if (unlisted > 0) this.#notes.push(text.unlistedGradients(unlisted));
  }

  /** A call that reached no parameter has no record to say so, unless some are lost. */
  async #rows(kind: ComparedKind, { a: stepA, b: stepB }: StepPair, first: Gradients | null, second: Gradients | null): Promise<ComparedRows | null> {
    const whole = kind === "parameter" && this.alignment.cutShort.length === 0 && this.sessions.every(({ gaps }) => gaps.length === 0);
    const a = first ?? (whole && second ? { ...nothingLike(second), step: stepA } : null);
    const b = second ?? (whole && first ? { ...nothingLike(first), step: stepB } : null);
    if (a === null || b === null) return null;
    const graphA = this.calls[0].call(stepA, a.backward).graph;
    const graphB = this.calls[1].call(stepB, b.backward).graph;
    return this.comparer.rows({ kind, a, b, graphA, graphB });
  }

  *#commonCalls(): Generator<CallPair> {
    for (const { a, b } of this.alignment.pairs) {
      for (const backward of this.calls[0].indicesInBoth(a, this.calls[1], b)) yield { a, b, backward };
    }
  }

  /** The first pair of graphs that differ, of the first distinct pairs. */
  async #graphDifference(): Promise<GraphDifference | null> {
    const seen = new Set<string>();
    for (const call of this.#commonCalls()) {
      await this.pace.rest();
      const [a, b] = [this.calls[0].call(call.a, call.backward).graph, this.calls[1].call(call.b, call.backward).graph];
      if (a < 0 || b < 0 || seen.has(`${a} ${b}`)) continue;
      if (seen.size >= COMPARED_GRAPHS) return null;
      seen.add(`${a} ${b}`);
      const pair = await this.comparer.graphPair(a, b);
      const difference = pair && (await pair.difference(call, MOST_LISTED, this.pace));
      if (!difference) continue;
      if (difference.unlisted > 0) this.#notes.push(text.unlistedNodes(difference.unlisted));
      return difference.found;
    }
    return null;
  }

  /** Of the last step whose ledgers both recorded, and of its calls the one that held most. */
  async #heldDifference(): Promise<HeldDifference | null> {
    let most: (CallPair & { readonly bytes: number }) | null = null;
    for (const call of this.#commonCalls()) {
      await this.pace.rest();
      const [a, b] = [this.calls[0].call(call.a, call.backward), this.calls[1].call(call.b, call.backward)];
      if (a.ledger < 0 || b.ledger < 0) continue;
      if (most === null || most.a !== call.a || a.heldBytes > most.bytes) most = { ...call, bytes: a.heldBytes };
    }
    return most && heldDifference(this.comparer.a, this.comparer.b, most, this.#names);
  }
}

const MOST_NAMED = 4;

function shardedNote(names: readonly string[]): readonly string[] {
  const listed = names.slice(0, MOST_NAMED).join(", ") + (names.length > MOST_NAMED ? ", ..." : "");
  return names.length === 0 ? [] : [text.shardedParameters(names.length, listed)];
}

function onlyOne(parameters: readonly string[], modules: readonly string[], steps: readonly number[]): OnlyOne {
  return { parameters, modules, steps };
}

function told(session: RecordedSession): ComparedSession {
  const { run, steps } = session;
  const known = steps.length > 0;
  return {
    path: nameOf(session),
    gradwatch_version: run.gradwatch_version,
    detail: run.detail,
    started: `${new Date(Number(BigInt(run.start_ns) / 1_000_000n)).toISOString().slice(0, -5)}+00:00`,
    argv: run.argv,
    rank: run.rank,
    world_size: run.world_size,
    torch_version: run.torch_version,
    devices: run.devices,
    git_revision: run.git_revision,
    git_dirty: run.git_dirty,
    steps: steps.length,
    first_step: known ? steps.number(0) : null,
    last_step: known ? steps.number(steps.length - 1) : null,
    finish_reason: session.finish?.reason ?? null,
    gaps: session.gaps.length,
  };
}
