/** What one debug session is doing and what is known of its stop: a pure state machine behind the panel's state. */

import type { LastStop, PanelState } from "../shared/state";

/** What became of the question at a stop. */
export type Outcome = { readonly kind: "not asked" } | Extract<PanelState, { kind: OutcomeKind }>;
type OutcomeKind = "reading" | "not importable" | "no torch" | "nothing differentiable" | "failed" | "ready";

export type Activity =
  | { readonly kind: "running" }
  | { readonly kind: "stopped"; readonly outcome: Outcome }
  /** Its adapter does not evaluate Python: never asked again. */
  | { readonly kind: "unable" }
  | { readonly kind: "ended" };

export interface SessionState {
  readonly activity: Activity;
  /** Whether it has answered a question, which only Python can. */
  readonly able: boolean;
  /** The stop whose values the panel holds. */
  readonly lastStop: LastStop | null;
}

export type SessionEvent =
  | { readonly type: "stopped" }
  | { readonly type: "resumed" }
  | { readonly type: "stayed"; readonly outcome: Outcome }
  | { readonly type: "asked"; readonly budgetMs: number; readonly atMs: number }
  | { readonly type: "answered"; readonly outcome: Outcome; readonly values: LastStop | null }
  | { readonly type: "unanswered"; readonly outcome: Extract<PanelState, { kind: "failed" }> }
  | { readonly type: "not Python" }
  | { readonly type: "ended" };

export const BEFORE_FIRST_STOP: SessionState = { activity: { kind: "running" }, able: false, lastStop: null };

/** What does not fit the state (an answer after the program went on, anything after the end) changes nothing. */
export function advance(state: SessionState, event: SessionEvent): SessionState {
  if (state.activity.kind === "ended" || (state.activity.kind === "unable" && event.type !== "ended")) return state;
  switch (event.type) {
    case "stopped":
      return stoppedWith(state, { kind: "not asked" });
    case "stayed":
      return stoppedWith(state, event.outcome);
    case "resumed":
      return { ...state, activity: { kind: "running" } };
    case "ended":
      return { ...state, activity: { kind: "ended" } };
    case "not Python":
      return state.able ? state : { ...state, activity: { kind: "unable" } };
    default:
      return state.activity.kind === "stopped" ? atStop(state, event) : state;
  }
}

function atStop(state: SessionState, event: Extract<SessionEvent, { type: "asked" | "answered" | "unanswered" }>): SessionState {
  switch (event.type) {
    case "asked":
      return stoppedWith(state, { kind: "reading", budgetMs: event.budgetMs, startedMs: event.atMs });
    case "answered":
      return { ...stoppedWith(state, event.outcome), able: true, lastStop: event.values ?? state.lastStop };
    case "unanswered":
      return stoppedWith(state, event.outcome);
  }
}

function stoppedWith(state: SessionState, outcome: Outcome): SessionState {
  return { ...state, activity: { kind: "stopped", outcome } };
}

export function isStopped(state: SessionState): boolean {
  return state.activity.kind === "stopped";
}

/** Running with values kept is stale: they are shown with the stop they are from. */
export function panelState(state: SessionState, program: string): PanelState {
  const { activity, lastStop } = state;
  if (activity.kind === "unable" || activity.kind === "ended") return { kind: "no session" };
  if (activity.kind === "stopped" && activity.outcome.kind !== "not asked") return activity.outcome;
  return lastStop ? { kind: "stale", lastStop } : { kind: "running", program, lastStop };
}
