import { describe, expect, it } from "vitest";
import { EMPTY_PANEL, agoMs, carried, reduce, shownSession, type PanelEvent, type PanelModel } from "../shared/panel_model";
import { NOTHING, type Selection } from "../shared/selection";
import type { Graph, Snapshot } from "../shared/session";
import type { PanelState } from "../shared/state";

const READY: PanelState = { kind: "ready" };

function snapshot(stop: number, more: Partial<Snapshot> & { running?: number } = {}): Snapshot {
  const { running = -1, ...rest } = more;
  // Only what the model reads.
  return { state: "ready", stop: { number: stop, in_backward: running >= 0, running }, parameters: [], ...rest } as unknown as Snapshot;
}

const graph = (digest: string): Graph => ({ digest }) as unknown as Graph;
const parameter = (id: number, path: string) => ({ id, root: "model", path }) as unknown as NonNullable<Snapshot["parameters"]>[number];

function panel(...events: PanelEvent[]): PanelModel {
  const start: PanelEvent = { type: "sessions", items: [{ id: "a", name: "a", rank: 0, pid: 1, stopped: true }], selected: "a" };
  return [start, ...events].reduce(reduce, EMPTY_PANEL);
}

const answer = (value: Snapshot, nowMs = 0): PanelEvent => ({ type: "answer", session: "a", snapshot: value, nowMs });
const state = (value: PanelState, nowMs = 0): PanelEvent => ({ type: "state", session: "a", state: value, nowMs });

describe("values of a stop", () => {
  it("are shown as they arrive, without waiting for the state that follows", () => {
    const model = panel(state({ kind: "reading", budgetMs: 2000, startedMs: 0 }), answer(snapshot(1), 80));
    expect(shownSession(model)).toMatchObject({ state: READY, changedMs: 80 });
    expect(shownSession(reduce(model, state(READY, 90)))).toMatchObject({ changedMs: 80 });
  });

  it("become the previous ones at the next stop", () => {
    const [first, second] = [snapshot(1), snapshot(2)];
    expect(shownSession(panel(answer(first), answer(second)))).toMatchObject({ snapshot: second, previous: first });
  });

  it("of the same stop read again replace what is shown, not what was before", () => {
    const [first, second, again] = [snapshot(1), snapshot(2), snapshot(2)];
    expect(shownSession(panel(answer(first), answer(second), answer(again)))).toMatchObject({ snapshot: again, previous: first });
  });

  it("survive a stop with nothing differentiable, to compare with later", () => {
    const first = snapshot(1);
    const model = panel(answer(first), answer(snapshot(2, { state: "nothing differentiable" })));
    expect(shownSession(model).snapshot).toBe(first);
    expect(shownSession(model).stop?.number).toBe(2);
    expect(shownSession(reduce(model, answer(snapshot(3)))).previous).toBe(first);
  });

  it("stay when another session is looked at, and go when theirs is forgotten", () => {
    const model = panel(answer(snapshot(1)));
    const other = reduce(model, { type: "sessions", items: [], selected: "b" });
    expect(shownSession(other).snapshot).toBeNull();
    expect(other.bySession.has("a")).toBe(true);
    expect(reduce(other, { type: "forget", session: "a" }).bySession.has("a")).toBe(false);
  });
});

describe("states", () => {
  it("without a session show none", () => {
    const model = reduce(panel(answer(snapshot(1))), { type: "state", session: null, state: { kind: "no session" }, nowMs: 0 });
    expect(shownSession(model)).toMatchObject({ state: { kind: "no session" }, snapshot: null });
  });

  it("keep their clock when they are told again", () => {
    const told: PanelState = { kind: "running", program: "train.py", lastStop: null };
    expect(shownSession(panel(state(told, 5), state({ ...told }, 9))).changedMs).toBe(5);
  });

  it("say that an answer was unreadable, with the reason", () => {
    const model = panel({ type: "unreadable", session: "a", reason: "cut off", nowMs: 0 });
    expect(shownSession(model).state).toMatchObject({ kind: "failed", reason: "cut off", budgetMs: 2000 });
  });
});

describe("the time since a stop", () => {
  const last = { number: 1, step: 3, atMs: 1_000_000 };

  it("is counted from when the panel saw it: the host's clock may be another machine's", () => {
    expect(agoMs(shownSession(panel(answer(snapshot(1), 400))), last, 12_400)).toBe(12_000);
  });

  it("is the host's where the panel did not see it, and never negative", () => {
    expect(agoMs(shownSession(panel()), last, 1_000_700)).toBe(700);
    expect(agoMs(shownSession(panel()), last, 5)).toBe(0);
  });
});

describe("the selection", () => {
  const select = (selection: Selection): PanelEvent => ({ type: "select", session: "a", selection });

  it("is the running node when backward stops", () => {
    expect(shownSession(panel(answer(snapshot(1, { running: 93 })))).selection).toEqual({ kind: "node", index: 93 });
  });

  it("is left alone when the same stop is read again", () => {
    const chosen: Selection = { kind: "parameter", id: 1 };
    const at = snapshot(1, { running: 93, parameters: [parameter(1, "w")] });
    expect(shownSession(panel(answer(at), select(chosen), answer({ ...at }))).selection).toEqual(chosen);
  });

  it("that is made again changes nothing, so that a view may repeat it", () => {
    const model = panel(answer(snapshot(1)), select({ kind: "parameter", id: 1 }));
    expect(reduce(model, select({ kind: "parameter", id: 1 }))).toBe(model);
  });

  it("follows a parameter by its name, not by its number alone", () => {
    const before = snapshot(1, { parameters: [parameter(4, "weight")] });
    expect(carried({ kind: "parameter", id: 4 }, before, snapshot(2, { parameters: [parameter(4, "weight")] }))).toEqual({ kind: "parameter", id: 4 });
    expect(carried({ kind: "parameter", id: 4 }, before, snapshot(2, { parameters: [parameter(4, "bias")] }))).toEqual(NOTHING);
  });

  it("follows a variable to its new place", () => {
    const of = (...names: string[]): Snapshot => snapshot(1, { variables: names.map((expression) => ({ expression })) as unknown as NonNullable<Snapshot["variables"]> });
    expect(carried({ kind: "variable", index: 0 }, of("loss"), of("batch", "loss"))).toEqual({ kind: "variable", index: 1 });
    expect(carried({ kind: "variable", index: 0 }, of("loss"), of("batch"))).toEqual(NOTHING);
  });

  it("keeps a node only in a graph of the same structure", () => {
    const node: Selection = { kind: "node", index: 3 };
    expect(carried(node, snapshot(1, { graph: graph("x") }), snapshot(2, { graph: graph("x") }))).toEqual(node);
    expect(carried(node, snapshot(1, { graph: graph("x") }), snapshot(2, { graph: graph("y") }))).toEqual(NOTHING);
    expect(carried(node, snapshot(1), snapshot(2))).toEqual(NOTHING);
  });
});
