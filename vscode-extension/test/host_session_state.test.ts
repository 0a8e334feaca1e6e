import { describe, expect, it } from "vitest";
import { BEFORE_FIRST_STOP, advance, panelState } from "../src/session_state";
import type { SessionEvent, SessionState } from "../src/session_state";

const LAST = { number: 3, step: 804, atMs: 5 };
const READY: SessionEvent = { type: "answered", outcome: { kind: "ready" }, values: LAST };
const ASKED: SessionEvent = { type: "asked", budgetMs: 2000, atMs: 9 };
const FAILED: SessionEvent = { type: "unanswered", outcome: { kind: "failed", expression: "x", reason: "y", budgetMs: 1 } };

function after(...events: SessionEvent[]): SessionState {
  return events.reduce(advance, BEFORE_FIRST_STOP);
}

function shown(...events: SessionEvent[]): string {
  return panelState(after(...events), "train.py").kind;
}

describe("the state of a debug session", () => {
  it("runs until its first stop, naming the program", () => {
    expect(panelState(BEFORE_FIRST_STOP, "train.py")).toEqual({ kind: "running", program: "train.py", lastStop: null });
  });

  it("reads with its budget, then shows what was answered", () => {
    expect(panelState(after({ type: "stopped" }, ASKED), "")).toEqual({ kind: "reading", budgetMs: 2000, startedMs: 9 });
    expect(shown({ type: "stopped" }, ASKED, READY)).toBe("ready");
  });

  it("is stale, with the stop its values are from, once the program has run since", () => {
    const state = after({ type: "stopped" }, ASKED, READY, { type: "resumed" });
    expect(panelState(state, "")).toEqual({ kind: "stale", lastStop: LAST });
  });

  it("is stale, not reading, at a stop that nobody asked about", () => {
    expect(shown({ type: "stopped" }, ASKED, READY, { type: "resumed" }, { type: "stopped" })).toBe("stale");
  });

  it("keeps the values of the stop before through a failure", () => {
    const state = after({ type: "stopped" }, ASKED, READY, { type: "resumed" }, { type: "stopped" }, ASKED, FAILED);
    expect(panelState(state, "").kind).toBe("failed");
    expect(state.lastStop).toEqual(LAST);
  });

  it("drops an answer and a failure that come after the program went on", () => {
    expect(shown({ type: "stopped" }, ASKED, { type: "resumed" }, READY)).toBe("running");
    expect(shown({ type: "stopped" }, ASKED, { type: "resumed" }, FAILED)).toBe("running");
  });

  it("takes a late answer after a failure of the same stop", () => {
    expect(shown({ type: "stopped" }, ASKED, FAILED, READY)).toBe("ready");
  });

  it("never leaves unable, and is never unable once it has answered", () => {
    expect(after({ type: "stopped" }, ASKED, { type: "not Python" }, { type: "stopped" }).activity.kind).toBe("unable");
    expect(after({ type: "stopped" }, ASKED, READY, { type: "not Python" }).activity.kind).toBe("stopped");
  });

  it("is no session after its end, whatever comes later", () => {
    expect(shown({ type: "stopped" }, ASKED, { type: "ended" }, READY)).toBe("no session");
    expect(shown({ type: "ended" }, { type: "stopped" })).toBe("no session");
  });

  it("returns to what it showed when the request to go on was refused", () => {
    expect(shown({ type: "stopped" }, ASKED, READY, { type: "resumed" }, { type: "stayed", outcome: { kind: "ready" } })).toBe("ready");
  });
});
