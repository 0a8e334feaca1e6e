/** All debug sessions, and the one that the panel shows: VS Code's active one, unless the user picked another. */

import type { SessionItem } from "../shared/state";
import { RootSession, deliverWhenPossible } from "./conditions";
import type { Condition } from "../shared/session";
import type { DebugAdapter, DebugEvents, Frame } from "./debug_adapter";
import { Debuggee } from "./debuggee";
import type { Surroundings } from "./debuggee";
import type { ShippedCopy } from "./shipped_copy";
import type { SnapshotText } from "./stop";

/** Who draws what the sessions are. `looking` is false while the panel is hidden: then nothing is asked or told. */
export interface Onlooker {
  readonly looking: boolean;
  readonly budgetMs: number;
  changed(): void;
  answered(debuggee: Debuggee, answer: SnapshotText): void;
  forget(session: string): void;
}

export class Sessions implements DebugEvents, Surroundings {
  readonly #copy: ShippedCopy;
  readonly #onlooker: Onlooker;
  readonly #debuggees = new Map<string, Debuggee>();
  readonly #roots = new Map<string, RootSession>();
  #selected: Debuggee | null = null;
  #picked = false;

  constructor(copy: ShippedCopy, onlooker: Onlooker) {
    this.#copy = copy;
    this.#onlooker = onlooker;
  }

  get selected(): Debuggee | null {
    return this.#selected;
  }

  /** Those that may speak Python. */
  get items(): readonly SessionItem[] {
    const shown = [...this.#debuggees.values()].filter((debuggee) => debuggee.state.activity.kind !== "unable");
    return shown.map((debuggee) => {
      const run = debuggee.answer?.value.run;
      const { name } = debuggee.adapter.session;
      return { id: debuggee.id, name, rank: run !== undefined && run.world_size > 1 ? run.rank : -1, pid: run?.pid ?? -1, stopped: debuggee.isStopped };
    });
  }

  /** The user's own choice, kept until that session ends. Rejects a session that has ended. */
  pick(id: string): boolean {
    const debuggee = this.#debuggees.get(id);
    if (debuggee === undefined) return false;
    this.#picked = true;
    this.#select(debuggee);
    return true;
  }

  /** VS Code's active session changed. */
  follow(id: string): void {
    const debuggee = this.#debuggees.get(id);
    if (debuggee !== undefined && !this.#picked && debuggee.state.activity.kind !== "unable") this.#select(debuggee);
  }

  /** The panel is looked at again: what was not asked at this stop is asked now. */
  look(): void {
    this.#selected?.readIfShown();
  }

  setConditions(debuggee: Debuggee, conditions: readonly Condition[]): void {
    debuggee.root.setConditions(conditions);
    this.#deliver(debuggee.root);
  }

  addCondition(debuggee: Debuggee, condition: Omit<Condition, "id">): void {
    debuggee.root.addCondition(condition);
    this.#deliver(debuggee.root);
  }

  /** To every process of the debug session at once. */
  #deliver(root: RootSession): void {
    this.#onlooker.changed();
    for (const debuggee of this.#debuggees.values()) if (debuggee.root === root) void deliverWhenPossible(debuggee);
  }

  // DebugEvents

  started(adapter: DebugAdapter): void {
    const debuggee = new Debuggee(adapter, this.#rootOf(adapter), this.#copy, this);
    this.#debuggees.set(debuggee.id, debuggee);
    if (this.#selected === null) this.#select(debuggee);
    this.#onlooker.changed();
    if (debuggee.root.version > 0) void deliverWhenPossible(debuggee);
  }

  /** VS Code turns to a session that stops, unless the one it shows stands already; so does the panel, sooner. */
  stopped(adapter: DebugAdapter, threadId: number): void {
    const debuggee = this.#of(adapter);
    if (debuggee === undefined) return;
    const free = !this.#picked && this.#selected?.isStopped !== true && debuggee.state.activity.kind !== "unable";
    if (free) this.#selected = debuggee;
    debuggee.stopped(threadId);
  }

  resumed(adapter: DebugAdapter, stepping: boolean): void {
    this.#of(adapter)?.resumed(stepping);
  }

  stayed(adapter: DebugAdapter): void {
    this.#of(adapter)?.stayed();
  }

  frameSelected(adapter: DebugAdapter, frame: Frame): void {
    this.#of(adapter)?.frameSelected(frame);
    this.follow(adapter.session.id);
  }

  ended(adapter: DebugAdapter): void {
    const debuggee = this.#of(adapter);
    if (debuggee === undefined) return;
    this.#debuggees.delete(debuggee.id);
    debuggee.ended();
    const left = [...this.#debuggees.values()];
    if (!left.some(({ root }) => root === debuggee.root)) this.#roots.delete(rootId(adapter));
    this.#onlooker.forget(debuggee.id);
    if (this.#selected === debuggee) {
      this.#picked = false;
      this.#select(left.find((item) => item.isStopped) ?? left.find((item) => item.state.activity.kind === "running") ?? null);
    }
  }

  // Surroundings

  shown(debuggee: Debuggee): boolean {
    return this.#onlooker.looking && this.#selected === debuggee;
  }

  budgetMs(): number {
    return this.#onlooker.budgetMs;
  }

  changed(debuggee: Debuggee): void {
    if (this.#selected === debuggee && debuggee.state.activity.kind === "unable") this.#leave(debuggee);
    this.#onlooker.changed();
  }

  answered(debuggee: Debuggee, answer: SnapshotText): void {
    this.#onlooker.answered(debuggee, answer);
  }

  /** A session that turned out not to speak Python gives way to one that may. */
  #leave(debuggee: Debuggee): void {
    this.#picked = false;
    const others = [...this.#debuggees.values()].filter((item) => item !== debuggee && item.state.activity.kind !== "unable");
    this.#selected = others.find((item) => item.isStopped) ?? others[0] ?? debuggee;
    this.look();
  }

  #select(debuggee: Debuggee | null): void {
    this.#selected = debuggee;
    this.look();
    this.#onlooker.changed();
  }

  #of(adapter: DebugAdapter): Debuggee | undefined {
    return this.#debuggees.get(adapter.session.id);
  }

  #rootOf(adapter: DebugAdapter): RootSession {
    const id = rootId(adapter);
    const root = this.#roots.get(id) ?? new RootSession(adapter.session.configuration);
    this.#roots.set(id, root);
    return root;
  }
}

/** Sessions of subprocesses hang below the one that the user started. */
function rootId(adapter: DebugAdapter): string {
  let session = adapter.session;
  while (session.parentSession !== undefined) session = session.parentSession;
  return session.id;
}
