/** What an answer means for the panel's state. */

import type { LastStop } from "../shared/state";
import type { Reply } from "./questions";
import type { Outcome } from "./session_state";
import * as texts from "./texts";

export type SnapshotReply = Extract<Reply, { kind: "Snapshot" }>["value"];

export function outcomeOf(reply: Reply, budgetMs: number): Outcome {
  switch (reply.kind) {
    case "Snapshot":
      return snapshotOutcome(reply.value);
    case "No torch":
      return { kind: "no torch" };
    case "Not importable":
      return { kind: "not importable", executable: reply.value.executable, version: reply.value.version };
    case "Failure":
      return failed(reply.value.message, budgetMs);
    default:
      return failed(texts.notAnAnswer(reply.kind), budgetMs);
  }
}

export function failed(reason: string, budgetMs: number): Extract<Outcome, { kind: "failed" }> {
  const expression = `gradwatch.debugger.answer('{"question": "snapshot", "budget_ms": ${budgetMs}}')`;
  return { kind: "failed", expression, reason, budgetMs };
}

export function lastStopOf({ stop }: SnapshotReply): LastStop {
  return { number: stop.number, step: stop.step, atMs: Date.now() };
}

function snapshotOutcome(value: SnapshotReply): Outcome {
  if (value.state === "no torch") return { kind: "no torch" };
  if (value.state === "ready") return { kind: "ready" };
  const callers = (value.callers ?? []).map((item) => ({ depth: item.depth, function: item.function, tensorCount: item.tensor_count }));
  return { kind: "nothing differentiable", function: value.stop.function, callers };
}
