/** What a comparison must say besides its findings: what it left out, and why. */

import type { ComparedCounts, StepPair } from "./compare";
import type { ComparedCalls } from "./compare_records";
import type { RecordedSession } from "./recorded_session";
import { compareText as text } from "./text";

export type Sessions = readonly [RecordedSession, RecordedSession];

export function nameOf({ reader }: RecordedSession): string {
  return reader.options.name;
}

/** Why gradients of module outputs, or of nodes, were not compared. */
export function whyNotCompared(sessions: Sessions, compared: ComparedCounts): string[] {
  const notes: string[] = [];
  if (compared.module === 0) notes.push(text.notCompared(text.moduleOutputs, whyNone(sessions, ["modules", "nodes"])));
  if (compared.node === 0) notes.push(text.notCompared(text.nodes, whyNone(sessions, ["nodes"])));
  return notes;
}

function whyNone(sessions: Sessions, enough: readonly string[]): string {
  const lacking = distinct(sessions).filter(({ run }) => !enough.includes(run.detail));
  if (lacking.length === 0) return text.inNoStep;
  return text.recordsThem(lacking.map((session) => text.hasDetail(nameOf(session), session.run.detail)), enough[0]!);
}

/** The first step that has more backward calls on one side; those that both have are compared. */
export function unlikeCalls(pairs: readonly StepPair[], calls: readonly [ComparedCalls, ComparedCalls]): string[] {
  for (const { a, b } of pairs) {
    const [callsA, callsB] = [calls[0].ofStep(a).length, calls[1].ofStep(b).length];
    if (callsA !== callsB) return [text.unlikeCalls(a, b, callsA, callsB)];
  }
  return [];
}

/** Steps that were cut short: part of their gradients is missing. */
export function leftOut(sessions: Sessions): string[] {
  return distinct(sessions).flatMap((session) => {
    const last = session.steps.length - 1;
    return last < 0 || session.steps.complete(last) ? [] : [text.cutShortLeftOut(session.steps.number(last), nameOf(session))];
  });
}

/** Of steps that were asked for by number. */
export function cutShort(sessions: Sessions, pair: StepPair): string[] {
  return ([pair.a, pair.b] as const).flatMap((step, side) => {
    const session = sessions[side]!;
    return session.steps.complete(session.steps.position(step)) ? [] : [text.cutShort(step, nameOf(session))];
  });
}

export function unread(sessions: Sessions): string[] {
  return distinct(sessions).flatMap((session) => (session.gaps.length > 0 ? [text.unread(session.gaps.length, nameOf(session))] : []));
}

/** Which steps there are, in words. */
export function stepRange({ steps }: RecordedSession): string {
  if (steps.length === 0) return text.noSteps;
  const [first, last] = [steps.number(0), steps.number(steps.length - 1)];
  if (first === last) return text.oneStep(first);
  return last - first + 1 === steps.length ? text.steps(first, last) : text.someSteps(first, last, steps.length);
}

function distinct(sessions: Sessions): readonly RecordedSession[] {
  return [...new Set(sessions)];
}
