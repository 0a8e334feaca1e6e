/** A recorded session as views use it: opened by an index, and each question reads the records it needs. */

import type { ReadAt } from "./mcap_bytes";
import type { Gap } from "./recorded_chunks";
import { CurveReader, type GradientCurve } from "./recorded_curve";
import { damaged } from "./recorded_errors";
import { RecordedNames, type GradientSubject } from "./recorded_names";
import { SessionReader, type OpenOptions } from "./recorded_reader";
import { snapshotOfStep, snapshotOfStop } from "./recorded_snapshot";
import type { StepSnapshot } from "./recorded_step";
import { Turns } from "./recorded_turns";
import { RecordedCalls, RecordedSteps, lastCall } from "./recorded_steps";
import { RecordedStretches } from "./recorded_stretches";
import { TotalsReader, type SessionTotals } from "./recorded_totals";
import { WholeCurve } from "./recorded_whole_curve";
import type { Curve, CurveStatistic } from "./replay";
import type { Backward, CompiledRegion, Finding, Finish, Graph, Held, Ledger, Module, ModuleOutput, Notice, Parameter, Run, Site, Stop, Topics } from "./session";

const KEPT_CURVES = 24;
const KEPT_GRAPHS = 8;
/** A graph may have one for each of its modules. */
const KEPT_REGIONS = 128;
const KEPT_SNAPSHOTS = 8;

/** Topics that are small, and read whole when the session is opened. */
interface Tables {
  readonly modules: Module[];
  readonly parameters: Parameter[];
  readonly outputs: ModuleOutput[];
  readonly sites: Map<number, Site>;
  readonly notices: Notice[];
  readonly stops: Stop[];
  readonly findings: Finding[];
}

/** A recorded session. Throws SessionErrors, whatever the file holds. */
export class RecordedSession {
  names = new RecordedNames([], [], []);
  finish: Finish | null = null;
  readonly steps: RecordedSteps;
  readonly #calls: RecordedCalls;
  readonly #tables: Tables = { modules: [], parameters: [], outputs: [], sites: new Map(), notices: [], stops: [], findings: [] };
  readonly #seen = new Map<keyof Topics, number>();
  readonly #texts = new Map<string, string>();
  readonly #curves = new Map<string, CurveReader>();
  readonly #wholeCurves = new Map<string, WholeCurve>();
  readonly #graphs = new Map<string, Promise<unknown>>();
  readonly #regions = new Map<string, Promise<unknown>>();
  readonly #snapshots = new Map<string, Promise<StepSnapshot>>();

  readonly #totals: TotalsReader;
  readonly #turns = new Turns();

  private constructor(readonly reader: SessionReader) {
    const stretches = new RecordedStretches(reader);
    this.steps = new RecordedSteps(reader, stretches);
    this.#calls = new RecordedCalls(reader, stretches);
    this.#totals = new TotalsReader(reader, this.steps, this.#calls, stretches);
  }

  static async open(source: ReadAt, options: OpenOptions): Promise<RecordedSession> {
    const session = new RecordedSession(await SessionReader.open(source, options));
    await session.#advance();
    return session;
  }

  get run(): Run {
    return this.reader.run;
  }

  /** The file was closed, or repaired; `finish` says whether the recording ended in order. */
  get finished(): boolean {
    return this.reader.finished;
  }

  /** What could not be read, as far as the file was read. */
  get gaps(): readonly Gap[] {
    return this.reader.gaps;
  }

  get modules(): readonly Module[] {
    return this.names.modules.map(({ module }) => module);
  }

  get parameters(): readonly Parameter[] {
    return this.names.parameters.map(({ parameter }) => parameter);
  }

  get sites(): ReadonlyMap<number, Site> {
    return this.#tables.sites;
  }

  get notices(): readonly Notice[] {
    return this.#tables.notices;
  }

  /** What was found when the recording was closed. */
  get findings(): readonly Finding[] {
    return this.#tables.findings;
  }

  get stops(): readonly Stop[] {
    return this.#tables.stops;
  }

  /** Takes in what a recording that still runs has written since; whether it has. */
  refresh(): Promise<boolean> {
    return this.#turns.run(() => this.#readOn());
  }

  async #readOn(): Promise<boolean> {
    if (!(await this.reader.refresh())) return false;
    this.#snapshots.clear();
    this.#graphs.clear();
    this.#regions.clear();
    await this.#advance();
    return true;
  }

  /** Texts of the user's files as they were when they ran, by path. */
  async texts(): Promise<ReadonlyMap<string, string>> {
    await this.#take("/source", ({ path, text }) => this.#texts.set(path, text));
    return this.#texts;
  }

  /** Every backward call's graph and held bytes. */
  async calls(): Promise<RecordedCalls> {
    await this.#calls.advance();
    return this.#calls;
  }

  /**
   * The gradient of a parameter or a module's output over all steps, every statistic of it. Asked again after a
   * refresh it reads only what is new.
   */
  curve(subject: GradientSubject, onProgress?: (share: number) => void): Promise<GradientCurve> {
    return this.#curveFrom(subject, 0).read(onProgress);
  }

  #curveFrom(subject: GradientSubject, chunk: number): CurveReader {
    const key = `${subject.kind} ${subject.id} ${chunk}`;
    const known = this.#curves.get(key) ?? new CurveReader(this.reader, subject, chunk);
    remember(this.#curves, key, known, KEPT_CURVES);
    return known;
  }

  /**
   * One statistic of a gradient, an entry per position of `steps`: of the last backward call that reached it. Asked
   * again after a refresh it reads only what is new.
   */
  curveOf(subject: GradientSubject, statistic: CurveStatistic, onProgress?: (share: number) => void): Promise<Curve> {
    const key = `${statistic} ${subject.kind} ${subject.id}`;
    const places = { reader: this.reader, steps: this.steps, rest: (of: GradientSubject, chunk: number) => this.#curveFrom(of, chunk) };
    const known = this.#wholeCurves.get(key) ?? new WholeCurve(places, subject, statistic);
    remember(this.#wholeCurves, key, known, KEPT_CURVES);
    return known.read(onProgress);
  }

  /** Norm, non-finite gradients and held bytes of every step, an entry per position of `steps`. As `curveOf`, when asked again. */
  totals(onProgress?: (share: number) => void): Promise<SessionTotals> {
    return this.#totals.read(onProgress);
  }

  /** A step's backward calls, in order. */
  async callsOfStep(step: number): Promise<readonly Backward[]> {
    return (await this.reader.recordsOfStep("/backward", step)).sort((a, b) => a.index - b.index);
  }

  /** A graph by id; null for -1. Throws where the file lacks it. */
  async graph(id: number): Promise<Graph | null> {
    return this.#withId("/graphs", id, "graph");
  }

  /** What a compiled node opens into, by id; null for -1. Throws where the file lacks it. */
  async region(id: number): Promise<CompiledRegion | null> {
    return this.#withId("/compiled", id, "compiled region");
  }

  /** A ledger by id; null for -1. Throws where the file lacks it. */
  async ledger(id: number): Promise<Ledger | null> {
    return this.#withId("/ledgers", id, "ledger");
  }

  /** The graph of the step's last backward call that has one; null where none has. */
  async graphOfStep(step: number): Promise<Graph | null> {
    return this.graph(lastCall(await this.callsOfStep(step), ({ graph }) => graph >= 0)?.graph ?? -1);
  }

  /** How what was held over a backward call was let go; by default of the step's last one with a ledger. */
  async heldOfStep(step: number, backward?: number): Promise<Held | null> {
    const index = backward ?? lastCall(await this.callsOfStep(step), ({ ledger }) => ledger >= 0)?.index;
    return (await this.reader.recordsOfStep("/held", step)).find((held) => held.backward === index) ?? null;
  }

  /** What the panel draws of a step; the same object again while nothing was refreshed. Throws for a step that is not there. */
  snapshotOfStep(step: number): Promise<StepSnapshot> {
    return this.#kept(`step ${step}`, () => snapshotOfStep(this, step));
  }

  /** What a debugger found at a recorded stop. Throws for a stop that is not there. */
  snapshotOfStop(number: number): Promise<StepSnapshot> {
    return this.#kept(`stop ${number}`, () => snapshotOfStop(this, number));
  }

  #kept(key: string, make: () => Promise<StepSnapshot>): Promise<StepSnapshot> {
    const known = this.#snapshots.get(key) ?? make();
    remember(this.#snapshots, key, known, KEPT_SNAPSHOTS);
    known.catch(() => this.#snapshots.delete(key));
    return known;
  }

  async #withId<T extends "/graphs" | "/ledgers" | "/compiled">(topic: T, id: number, what: string): Promise<Topics[T] | null> {
    if (id < 0) return null;
    const key = `${topic} ${id}`;
    const [kept, most] = topic === "/compiled" ? [this.#regions, KEPT_REGIONS] : [this.#graphs, KEPT_GRAPHS];
    const known = (kept.get(key) as Promise<Topics[T] | null> | undefined) ?? this.reader.withId(topic, id);
    remember(kept, key, known, most);
    known.catch(() => kept.delete(key));
    const record = await known;
    if (record === null) throw damaged(this.reader.options.name, `${what} ${id} is not in it`);
    return record;
  }

  async #advance(): Promise<void> {
    const { modules, parameters, outputs, sites, notices, stops, findings } = this.#tables;
    const before = modules.length + parameters.length + outputs.length;
    await Promise.all([
      this.#take("/modules", (record) => append(modules, record.modules)),
      this.#take("/parameters", (record) => append(parameters, record.parameters)),
      this.#take("/outputs", (record) => append(outputs, record.outputs)),
      this.#take("/sites", (record) => record.sites.forEach((site) => sites.set(site.id, site))),
      this.#take("/notices", (record) => notices.push(record)),
      this.#take("/findings", (record) => append(findings, Array.isArray(record.findings) ? record.findings : [])),
      this.#take("/stops", (record) => stops.push(record)),
      this.#take("/finish", (record) => (this.finish ??= record)),
      this.steps.advance(),
    ]);
    const named = modules.length + parameters.length + outputs.length;
    if (named > before) this.names = new RecordedNames(modules, parameters, outputs);
  }

  /** Hands over the records of the chunks that were not read yet. */
  async #take<T extends keyof Topics>(topic: T, take: (record: Topics[T]) => void): Promise<void> {
    const { records, chunks } = await this.reader.recordsFrom(topic, this.#seen.get(topic) ?? 0);
    this.#seen.set(topic, chunks);
    records.forEach(take);
  }
}

function append<T>(to: T[], more: readonly T[]): void {
  for (const one of more) to.push(one);
}

/** Keeps the `most` last used. */
function remember<T>(known: Map<string, T>, key: string, value: T, most: number): void {
  known.delete(key);
  known.set(key, value);
  if (known.size > most) known.delete(known.keys().next().value!);
}
