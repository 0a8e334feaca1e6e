/** Tells the panel what changed since it was last told, and nothing while it is hidden. */

import type { PanelSettings, ToPanel } from "../shared/messages";
import type { PanelState } from "../shared/state";
import type { Debuggee } from "./debuggee";
import { panelState } from "./session_state";
import type { Sessions } from "./sessions";
import type { SnapshotText } from "./stop";

/** A stop that follows sooner is a step: the panel keeps what it shows instead of flickering. */
const RUNNING_DELAY_MS = 150;

export class PanelFeed {
  readonly #post: (message: ToPanel) => void;
  readonly #looking: () => boolean;
  readonly #told = new Map<string, string>();
  /** The answer that the panel holds, by session. */
  readonly #delivered = new Map<string, SnapshotText>();

  constructor(post: (message: ToPanel) => void, looking: () => boolean) {
    this.#post = post;
    this.#looking = looking;
  }

  /** The panel was loaded anew and knows nothing. */
  reset(): void {
    this.#told.clear();
    this.#delivered.clear();
  }

  /** Values first, then the state that shows them. */
  publish(sessions: Sessions, settings: PanelSettings): void {
    if (!this.#looking()) return;
    const debuggee = sessions.selected;
    this.#tell({ type: "settings", settings });
    this.#tell({ type: "sessions", items: sessions.items, selected: debuggee?.id ?? null });
    if (debuggee === null) return this.#tell({ type: "state", session: null, state: { kind: "no session" } });
    this.#tell({ type: "conditions", session: debuggee.id, conditions: debuggee.root.conditions });
    if (debuggee.answer !== null) this.snapshot(debuggee, debuggee.answer);
    this.#tell({ type: "state", session: debuggee.id, state: stateOf(debuggee) });
  }

  snapshot(debuggee: Debuggee, answer: SnapshotText): void {
    if (!this.#looking() || this.#delivered.get(debuggee.id) === answer) return;
    this.#delivered.set(debuggee.id, answer);
    const { text, stoppedMs, evaluateMs } = answer;
    this.#post({ type: "snapshot", session: debuggee.id, json: new TextEncoder().encode(text), stoppedMs, evaluateMs });
  }

  /** Told even while hidden, once the panel has been given values: it would keep them for ever. */
  forget(session: string): void {
    if (this.#delivered.delete(session)) this.#post({ type: "forget", session });
  }

  #tell(message: Exclude<ToPanel, { type: "response" | "snapshot" }>): void {
    const text = JSON.stringify(message);
    if (this.#told.get(message.type) === text) return;
    this.#told.set(message.type, text);
    this.#post(message);
  }
}

export function stateOf(debuggee: Debuggee): PanelState {
  const { program } = debuggee.adapter.session.configuration;
  const name = typeof program === "string" ? program.replace(/^.*[\\/]/, "") : debuggee.adapter.session.name;
  return panelState(debuggee.state, name);
}

/** How long a change may wait to be told: running after a stop only when no other stop follows at once. */
export function delayOf(debuggee: Debuggee | null): number {
  const wentOn = debuggee !== null && debuggee.state.activity.kind === "running" && debuggee.hasStopped;
  return wentOn ? RUNNING_DELAY_MS : 0;
}
