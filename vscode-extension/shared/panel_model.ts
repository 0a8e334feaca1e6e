/** What the panel knows of every debug session: a pure reducer of what the host says and the user selects. */

import type { PanelSettings } from "./messages";
import { NOTHING, type Selection } from "./selection";
import type { Condition, Snapshot, Stop } from "./session";
import type { LastStop, PanelState, SessionItem } from "./state";

/** One debug session. Values are of the last stop that had any; what was selected is kept with them. */
export interface SessionModel {
  readonly state: PanelState;
  /** The panel's own clock at the last change of state: the host's may be another machine's. */
  readonly changedMs: number;
  /** The stop that the panel is at, also when there is nothing differentiable. */
  readonly stop: Stop | null;
  readonly snapshot: Snapshot | null;
  readonly previous: Snapshot | null;
  readonly arrivedMs: number;
  readonly conditions: readonly Condition[];
  readonly selection: Selection;
}

/** All sessions, and which one is shown. */
export interface PanelModel {
  readonly sessions: readonly SessionItem[];
  readonly selected: string | null;
  readonly settings: PanelSettings;
  readonly bySession: ReadonlyMap<string, SessionModel>;
}

/** `answer` and `unreadable` are the two ends of a snapshot's text once it is parsed. */
export type PanelEvent =
  | { readonly type: "sessions"; readonly items: readonly SessionItem[]; readonly selected: string | null }
  | { readonly type: "state"; readonly session: string | null; readonly state: PanelState; readonly nowMs: number }
  | { readonly type: "answer"; readonly session: string; readonly snapshot: Snapshot; readonly nowMs: number }
  | { readonly type: "unreadable"; readonly session: string; readonly reason: string; readonly nowMs: number }
  | { readonly type: "conditions"; readonly session: string; readonly conditions: readonly Condition[] }
  | { readonly type: "settings"; readonly settings: PanelSettings }
  | { readonly type: "select"; readonly session: string; readonly selection: Selection }
  | { readonly type: "forget"; readonly session: string };

/** What is shown before the host has said anything. */
export const EMPTY_PANEL: PanelModel = {
  sessions: [],
  selected: null,
  settings: { decorations: true, budgetMs: 2000 },
  bySession: new Map(),
};

/** A session of which nothing is known yet. */
export const NEW_SESSION: SessionModel = {
  state: { kind: "no session" },
  changedMs: 0,
  stop: null,
  snapshot: null,
  previous: null,
  arrivedMs: 0,
  conditions: [],
  selection: NOTHING,
};

/** The session that is shown. */
export function shownSession(model: PanelModel): SessionModel {
  return (model.selected === null ? undefined : model.bySession.get(model.selected)) ?? NEW_SESSION;
}

/** The panel after an event. */
export function reduce(model: PanelModel, event: PanelEvent): PanelModel {
  switch (event.type) {
    case "sessions":
      return { ...model, sessions: event.items, selected: event.selected };
    case "settings":
      return { ...model, settings: event.settings };
    case "state":
      return event.session === null ? { ...model, selected: null } : changed(model, event.session, (session) => inState(session, event.state, event.nowMs));
    case "answer":
      return changed(model, event.session, (session) => answered(session, event.snapshot, event.nowMs));
    case "unreadable":
      return changed(model, event.session, (session) => inState(session, unreadable(model, event.reason), event.nowMs));
    case "conditions":
      return changed(model, event.session, (session) => ({ ...session, conditions: event.conditions }));
    case "select":
      return selected(model, event.session, event.selection);
    case "forget":
      return forgotten(model, event.session);
  }
}

function selected(model: PanelModel, id: string, selection: Selection): PanelModel {
  const known = model.bySession.get(id)?.selection ?? NOTHING;
  return JSON.stringify(known) === JSON.stringify(selection) ? model : changed(model, id, (session) => ({ ...session, selection }));
}

function changed(model: PanelModel, id: string, change: (session: SessionModel) => SessionModel): PanelModel {
  const bySession = new Map(model.bySession);
  bySession.set(id, change(bySession.get(id) ?? NEW_SESSION));
  return { ...model, bySession };
}

function forgotten(model: PanelModel, id: string): PanelModel {
  const bySession = new Map(model.bySession);
  bySession.delete(id);
  return { ...model, bySession };
}

/** The same state again, as after an answer, keeps the clock that it had. */
function inState(session: SessionModel, state: PanelState, nowMs: number): SessionModel {
  return JSON.stringify(session.state) === JSON.stringify(state) ? session : { ...session, state, changedMs: nowMs };
}

function unreadable(model: PanelModel, reason: string): PanelState {
  const { budgetMs } = model.settings;
  return { kind: "failed", expression: "gradwatch.debugger.answer(…)", reason, budgetMs };
}

/** Values are shown as they arrive, without waiting for the state that follows: one frame, not two. */
function answered(session: SessionModel, snapshot: Snapshot, nowMs: number): SessionModel {
  if (snapshot.state !== "ready") return { ...session, stop: snapshot.stop };
  const sameStop = session.snapshot?.stop.number === snapshot.stop.number;
  return {
    ...session,
    state: { kind: "ready" },
    changedMs: nowMs,
    stop: snapshot.stop,
    snapshot,
    previous: sameStop ? session.previous : session.snapshot,
    arrivedMs: nowMs,
    selection: selectionAt(session, snapshot, sameStop),
  };
}

/** Backward selects the node it is in; else what was selected stays as far as the new values know it. */
function selectionAt(session: SessionModel, snapshot: Snapshot, sameStop: boolean): Selection {
  const { running = -1, in_backward: inBackward } = snapshot.stop;
  if (!sameStop && inBackward && running >= 0) return { kind: "node", index: running };
  return session.snapshot ? carried(session.selection, session.snapshot, snapshot) : NOTHING;
}

/** Ids and indices mean the same in the next snapshot only where what they name is the same. */
export function carried(selection: Selection, before: Snapshot, after: Snapshot): Selection {
  switch (selection.kind) {
    case "parameter":
      return nameOf(before, selection.id) !== null && nameOf(before, selection.id) === nameOf(after, selection.id) ? selection : NOTHING;
    case "variable":
      return carriedVariable(selection.index, before, after);
    case "module":
      return (after.modules ?? []).some(({ root, path }) => root === selection.root && path === selection.path) ? selection : NOTHING;
    case "node":
      return before.graph && before.graph.digest === after.graph?.digest ? selection : NOTHING;
    default:
      return selection;
  }
}

function nameOf(snapshot: Snapshot, id: number): string | null {
  const parameter = snapshot.parameters?.find((one) => one.id === id);
  return parameter ? `${parameter.root} ${parameter.path}` : null;
}

function carriedVariable(index: number, before: Snapshot, after: Snapshot): Selection {
  const expression = before.variables?.[index]?.expression;
  const at = (after.variables ?? []).findIndex((variable) => variable.expression === expression);
  return expression !== undefined && at >= 0 ? { kind: "variable", index: at } : NOTHING;
}

/** How long ago the shown values were taken; by the panel's own clock where it saw them arrive. */
export function agoMs(session: SessionModel, lastStop: LastStop, nowMs: number): number {
  const seen = session.snapshot?.stop.number === lastStop.number ? session.arrivedMs : lastStop.atMs;
  return Math.max(0, nowMs - seen);
}
