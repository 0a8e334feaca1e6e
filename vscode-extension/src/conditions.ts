/** Conditions belong to a debug session with all its subprocesses: each process is given them once, when it can be. */

import type { Condition } from "../shared/session";
import type { Debuggee } from "./debuggee";

const BUDGET_MS = 1000;
/** A process that runs and has not loaded torch yet is tried again after so many seconds, then at its first stop. */
const RETRY_SECONDS = [1, 3, 10, 30];

/** In a debug configuration of ours: the conditions that its program already has when it begins. */
export const CARRIED_CONDITIONS = "gradwatchConditions";

/** What all sessions under one root session share. */
export class RootSession {
  #conditions: readonly Condition[] = [];
  #version = 0;

  constructor(configuration: Readonly<Record<string, unknown>> = {}) {
    const carried = configuration[CARRIED_CONDITIONS];
    if (Array.isArray(carried) && carried.length > 0) this.setConditions(carried as readonly Condition[]);
  }

  /** The user chose the extension's copy of gradwatch: child processes get it unasked. */
  useShippedCopy = false;
  /** Debug types that have answered: of these, a running process can be asked too. */
  readonly ableTypes = new Set<string>();

  get conditions(): readonly Condition[] {
    return this.#conditions;
  }

  /** Rises when the conditions change: a process that was given another version is given them again. */
  get version(): number {
    return this.#version;
  }

  setConditions(conditions: readonly Condition[]): void {
    this.#conditions = conditions.filter((condition) => condition.kind !== "next node");
    this.#version += 1;
  }

  /** The next free id beside the given condition. */
  addCondition(condition: Omit<Condition, "id">): void {
    const id = 1 + Math.max(0, ...this.#conditions.map((item) => item.id));
    this.setConditions([...this.#conditions, { ...condition, id }]);
  }

  /** Takes over how often each condition has stopped the answering process. */
  sawHits(reported: readonly Condition[]): void {
    const hits = new Map(reported.map((item) => [item.id, item.hits ?? 0]));
    this.#conditions = this.#conditions.map((item) => ({ ...item, hits: hits.get(item.id) ?? item.hits ?? 0 }));
  }
}

/** Never rejects: false when the process could not be given the conditions yet. */
export async function deliver(debuggee: Debuggee): Promise<boolean> {
  const { version, conditions } = debuggee.root;
  if (version === debuggee.conditionsVersion) return true;
  const question = { question: "conditions", conditions } as const;
  try {
    const reply = debuggee.isStopped ? (await debuggee.askAtStop(question, BUDGET_MS)).reply : await debuggee.askBeside(question);
    if (reply?.kind !== "Conditions") return false;
    debuggee.conditionsVersion = version;
    return true;
  } catch {
    return false;
  }
}

/** Now, and a few times later while the process runs without torch. */
export async function deliverWhenPossible(debuggee: Debuggee): Promise<void> {
  for (const seconds of [0, ...RETRY_SECONDS]) {
    if (seconds > 0) await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
    if ((await deliver(debuggee)) || debuggee.state.activity.kind !== "running") return;
  }
}
