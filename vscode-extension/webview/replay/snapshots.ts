/** Snapshots that were read last, sharing what they have in common, so that the views keep what they made of it. */

import type { StepSnapshot } from "../../shared/recorded_step";
import type { Moment } from "../../shared/replay";
import type { Snapshot } from "../../shared/session";

const KEPT = 8;

export class SnapshotCache {
  readonly #kept = new Map<string, { readonly at: Moment; readonly snapshot: Snapshot }>();
  #last: Snapshot | null = null;

  get(at: Moment): Snapshot | null {
    return this.#kept.get(momentKey(at))?.snapshot ?? null;
  }

  /** What is shown: the snapshot itself, or one of the same content. */
  keep(at: Moment, snapshot: Snapshot): Snapshot {
    const shared = this.#last === null ? snapshot : sharing(snapshot, this.#last);
    this.#last = shared;
    const key = momentKey(at);
    this.#kept.delete(key);
    this.#kept.set(key, { at, snapshot: shared });
    if (this.#kept.size > KEPT) this.#kept.delete(this.#kept.keys().next().value!);
    return shared;
  }

  clear(): void {
    this.#kept.clear();
    this.#last = null;
  }

  /** Steps from one on, and every stop. */
  forgetFrom(step: number): void {
    for (const [key, { at }] of this.#kept) if (at.kind === "stop" || at.step >= step) this.#kept.delete(key);
  }
}

/** Within one rank a graph's and a ledger's id names one structure. */
function sharing(snapshot: Snapshot, before: Snapshot): Snapshot {
  if (snapshot.run.rank !== before.run.rank || snapshot.run.pid !== before.run.pid) return snapshot;
  const graph = snapshot.graph && snapshot.graph.digest === before.graph?.digest && snapshot.graph.id === before.graph.id ? before.graph : snapshot.graph;
  const ledger = snapshot.ledger && graph === before.graph && snapshot.ledger.id === before.ledger?.id ? before.ledger : snapshot.ledger;
  return { ...snapshot, run: before.run, ...(graph === undefined ? {} : { graph }), ...(ledger === undefined ? {} : { ledger }), ...regionsOf(snapshot, before) };
}

/** So are those of compiled regions. */
function regionsOf({ regions }: StepSnapshot, { regions: known = [] }: StepSnapshot): Pick<StepSnapshot, "regions"> {
  if (!regions) return {};
  const byId = new Map(known.map((region) => [region.id, region]));
  const shared = regions.map((region) => byId.get(region.id) ?? region);
  return { regions: shared.length === known.length && shared.every((region, i) => region === known[i]) ? known : shared };
}

export function momentKey(at: Moment): string {
  return at.kind === "step" ? `${at.rank} step ${at.step}` : `${at.rank} stop ${at.stop}`;
}

/** A moment that was kept by an earlier page. */
export function isMoment(value: unknown): value is Moment {
  if (typeof value !== "object" || value === null) return false;
  const { kind, rank, step, stop } = value as Record<string, unknown>;
  return typeof rank === "number" && ((kind === "step" && typeof step === "number") || (kind === "stop" && typeof stop === "number"));
}
