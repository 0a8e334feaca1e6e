/** What the replay page knows and shows: a pure reducer of what the host says and the user does. */

import { carried } from "./panel_model";
import type { GapSpan, Mark, Moment, OtherSession, Overview, RecentNorms, ReplayOffers, SessionFacts, Timeline, ToReplay } from "./replay";
import { markFrom, momentAt, momentNear, momentOfMark, sameMoment, stepBy, stepOf, type Playing, type Speed } from "./replay_play";
import { grownTimeline, positionOf } from "./replay_timeline";
import { NOTHING, type Selection } from "./selection";
import type { Held, Snapshot } from "./session";

/** What a moment looked like. `failure` says why it could not be read. */
export interface Shown {
  readonly at: Moment;
  readonly snapshot: Snapshot;
  /** The step before, for what changed; null until it was read. */
  readonly previous: Snapshot | null;
}

/** What is laid over the timeline, and what a comparison is made with. */
export type Comparand =
  | { readonly kind: "session"; readonly other: OtherSession }
  | { readonly kind: "rank"; readonly rank: number; readonly overview: Overview }
  | { readonly kind: "step"; readonly step: number };

export interface ReplayModel {
  readonly phase: "loading" | "failed" | "open";
  readonly loading: { readonly name: string; readonly share: number };
  readonly failure: { readonly title: string; readonly reason: string };
  readonly offers: ReplayOffers;
  readonly facts: SessionFacts | null;
  readonly timeline: Timeline;
  /** The file has grown since it was opened. */
  readonly growing: boolean;
  /** Where the playhead stands; null while there is no step. */
  readonly at: Moment | null;
  readonly shown: Shown | null;
  /** The page's clock when `shown` fell behind `at`; null while they agree. */
  readonly behindMs: number | null;
  readonly problem: { readonly at: Moment; readonly reason: string } | null;
  readonly selection: Selection;
  readonly follow: boolean;
  readonly playing: Playing | null;
  readonly recent: RecentNorms | null;
  readonly held: { readonly at: Moment; readonly held: Held | null } | null;
  readonly comparand: Comparand | null;
}

export type ReplayEvent =
  | { readonly type: "host"; readonly message: Exclude<ToReplay, { type: "response" | "command" }>; readonly nowMs: number; readonly remembered?: Moment | null }
  /** `to`: where to go in it; else to the step that is shown. */
  | { readonly type: "rank"; readonly overview: Overview; readonly to?: Moment; readonly nowMs: number }
  | { readonly type: "go"; readonly at: Moment; readonly nowMs: number }
  | { readonly type: "play"; readonly speed: Speed; readonly nowMs: number }
  | { readonly type: "due"; readonly position: number; readonly over: boolean; readonly nowMs: number }
  | { readonly type: "pause" }
  | { readonly type: "follow"; readonly on: boolean; readonly nowMs: number }
  | { readonly type: "snapshot"; readonly at: Moment; readonly snapshot: Snapshot; readonly previous: Snapshot | null; readonly nowMs: number }
  | { readonly type: "previous"; readonly of: Snapshot; readonly previous: Snapshot }
  | { readonly type: "unread"; readonly at: Moment; readonly reason: string }
  | { readonly type: "recent"; readonly recent: RecentNorms | null }
  | { readonly type: "held"; readonly at: Moment; readonly held: Held | null }
  | { readonly type: "select"; readonly selection: Selection }
  | { readonly type: "compare"; readonly comparand: Comparand | null };

const NO_TIMELINE: Timeline = {
  steps: new Float64Array(),
  loss: new Float64Array(),
  lossSeen: new Uint8Array(),
  gradientNorm: new Float64Array(),
  nonfinite: new Float64Array(),
  heldBytes: new Float64Array(),
};

/** Before the host has said anything. */
export const EMPTY_REPLAY: ReplayModel = {
  phase: "loading",
  loading: { name: "", share: 0 },
  failure: { title: "", reason: "" },
  offers: { openSource: false, chooseOther: false, replayStep: false, bindsKeys: false },
  facts: null,
  timeline: NO_TIMELINE,
  growing: false,
  at: null,
  shown: null,
  behindMs: null,
  problem: null,
  selection: NOTHING,
  follow: false,
  playing: null,
  recent: null,
  held: null,
  comparand: null,
};

/** The page after an event. */
export function replayed(model: ReplayModel, event: ReplayEvent): ReplayModel {
  switch (event.type) {
    case "host":
      return told(model, event);
    case "rank":
      return onRank(model, event);
    case "go":
      return moved({ ...model, follow: model.follow && atNewest(model, event.at), playing: null }, event.at, event.nowMs);
    case "play":
      return playingFrom(model, event.speed, event.nowMs);
    case "due":
      return due(model, event);
    case "pause":
      return model.playing === null ? model : { ...model, playing: null };
    case "follow":
      return following(model, event.on, event.nowMs);
    case "snapshot":
      return showing(model, event);
    case "previous":
      return model.shown?.snapshot === event.of ? { ...model, shown: { ...model.shown, previous: event.previous } } : model;
    case "unread":
      return sameMoment(event.at, model.at) ? { ...model, problem: { at: event.at, reason: event.reason }, behindMs: null } : model;
    case "recent":
      return { ...model, recent: event.recent };
    case "held":
      return { ...model, held: { at: event.at, held: event.held } };
    case "select":
      return JSON.stringify(model.selection) === JSON.stringify(event.selection) ? model : { ...model, selection: event.selection };
    case "compare":
      return { ...model, comparand: event.comparand };
  }
}

function told(model: ReplayModel, { message, nowMs, remembered = null }: Extract<ReplayEvent, { type: "host" }>): ReplayModel {
  switch (message.type) {
    case "loading":
      return { ...model, phase: model.phase === "open" ? "open" : "loading", loading: { name: message.name, share: message.share } };
    case "failed":
      return { ...model, phase: "failed", failure: { title: message.title, reason: message.reason } };
    case "opened":
      return opened(model, message, remembered, nowMs);
    case "grown":
      return grown(model, message, nowMs);
    case "go":
      return moved({ ...model, follow: false, playing: null }, recordedMoment(model, message.at), nowMs);
  }
}

/** Whoever sends the page to a step may not know which were recorded: the nearest is meant. */
function recordedMoment({ timeline: { steps } }: ReplayModel, at: Moment): Moment {
  return at.kind === "step" ? (momentNear(steps, at.rank, at.step) ?? at) : at;
}

function opened(model: ReplayModel, { overview, offers }: Extract<ToReplay, { type: "opened" }>, remembered: Moment | null, nowMs: number): ReplayModel {
  const { facts, timeline } = overview;
  // Opened again, another run was written to the file: nothing of the one before means anything there.
  const again = model.phase === "open";
  const open: ReplayModel = { ...model, phase: "open", offers, facts, timeline, growing: false, follow: !facts.finished, comparand: null, shown: null, problem: null, playing: null, recent: null, held: null, behindMs: null };
  const at = (again ? null : model.at) ?? (!again && remembered !== null && isThere(open, remembered) ? remembered : firstMoment(open));
  return at === null ? { ...open, at: null } : moved({ ...open, at: null }, at, nowMs);
}

/** A recording that runs opens at its newest step; a finished one where its first gradient was not finite, else at its end. */
function firstMoment({ facts, timeline: { steps } }: ReplayModel): Moment | null {
  const trouble = facts?.finished ? facts.marks.find(({ kind }) => kind === "nonfinite") : undefined;
  if (facts && trouble) return momentOfMark(trouble, facts.rank, steps);
  return momentAt(steps, facts?.rank ?? 0, steps.length - 1);
}

function isThere({ facts, timeline }: ReplayModel, at: Moment): boolean {
  if (at.rank !== facts?.rank) return false;
  return at.kind === "step" ? positionOf(timeline.steps, at.step) >= 0 : facts.marks.some(({ stop }) => stop === at.stop);
}

function grown(model: ReplayModel, { from, timeline, facts }: Extract<ToReplay, { type: "grown" }>, nowMs: number): ReplayModel {
  if (model.phase !== "open") return model;
  const whole = grownTimeline(model.timeline, Math.min(from, model.timeline.steps.length), timeline);
  const longer = whole.steps.length > model.timeline.steps.length;
  const next: ReplayModel = { ...model, facts, growing: model.growing || longer, follow: model.follow && !facts.finished, timeline: whole };
  // What the last growth brought is gone to, though nothing comes after it.
  return (model.follow && longer) || next.follow || next.at === null ? toNewest(next, nowMs) : next;
}

/** There is nothing to follow in a recording that has ended. */
function following(model: ReplayModel, on: boolean, nowMs: number): ReplayModel {
  if (!on) return { ...model, follow: false };
  return model.facts?.finished ? model : toNewest({ ...model, follow: true, playing: null }, nowMs);
}

/** Another rank's timeline: the step stays where that rank has it. What was selected is another parameter's id there. */
function onRank(model: ReplayModel, { overview: { facts, timeline }, to, nowMs }: Extract<ReplayEvent, { type: "rank" }>): ReplayModel {
  const step = model.at && model.facts ? stepOf(model.at, model.facts.marks) : -1;
  const next: ReplayModel = { ...model, facts, timeline, playing: null, recent: null, held: null, follow: model.follow && !facts.finished };
  const at = to === undefined ? momentNear(timeline.steps, facts.rank, step) : recordedMoment(next, to);
  return at === null ? { ...next, at: null, shown: null } : moved(next, at, nowMs);
}

function moved(model: ReplayModel, at: Moment, nowMs: number): ReplayModel {
  if (sameMoment(model.at, at)) return model;
  const agrees = model.shown !== null && sameMoment(model.shown.at, at);
  return { ...model, at, problem: null, behindMs: agrees ? null : (model.behindMs ?? nowMs) };
}

function atNewest({ timeline: { steps } }: ReplayModel, at: Moment): boolean {
  return at.kind === "step" && at.step === steps[steps.length - 1];
}

function toNewest(model: ReplayModel, nowMs: number): ReplayModel {
  const at = momentAt(model.timeline.steps, model.facts?.rank ?? 0, model.timeline.steps.length - 1);
  return at === null ? model : moved(model, at, nowMs);
}

/** At the end, playing begins again from the start. */
function playingFrom(model: ReplayModel, speed: Speed, nowMs: number): ReplayModel {
  const { steps } = model.timeline;
  if (steps.length < 2 || model.at === null) return model;
  const here = currentPosition(model);
  const from = here >= steps.length - 1 ? 0 : here;
  const playing: Playing = { sinceMs: nowMs, from, speed };
  return moved({ ...model, playing, follow: false }, momentAt(steps, model.at.rank, from)!, nowMs);
}

function due(model: ReplayModel, { position, over, nowMs }: Extract<ReplayEvent, { type: "due" }>): ReplayModel {
  if (model.playing === null || model.at === null) return model;
  const at = momentAt(model.timeline.steps, model.at.rank, position);
  const next = over ? { ...model, playing: null } : model;
  return at === null ? next : moved(next, at, nowMs);
}

function showing(model: ReplayModel, { at, snapshot, previous, nowMs }: Extract<ReplayEvent, { type: "snapshot" }>): ReplayModel {
  const before = model.shown?.snapshot ?? null;
  const selection = before ? carried(model.selection, before, snapshot) : model.selection;
  const agrees = sameMoment(at, model.at);
  return { ...model, shown: { at, snapshot, previous }, selection, problem: null, behindMs: agrees ? null : nowMs };
}

/** Position of the playhead's step; of a stop in a step that was never ended, the one before it. */
export function currentPosition({ at, facts, timeline: { steps } }: ReplayModel): number {
  if (at === null || facts === null) return -1;
  const step = stepOf(at, facts.marks);
  const exact = positionOf(steps, step);
  if (exact >= 0) return exact;
  const near = momentNear(steps, at.rank, step);
  return near?.kind === "step" ? positionOf(steps, near.step) : -1;
}

/** The step that the playhead stands on; -1 for none. */
export function currentStep({ at, facts }: ReplayModel): number {
  return at === null || facts === null ? -1 : stepOf(at, facts.marks);
}

/** Steps on or back from the playhead; null where there is none. */
export function momentBy({ at, facts, timeline }: ReplayModel, by: number): Moment | null {
  return at === null || facts === null ? null : stepBy(timeline, at, facts.marks, by);
}

/** The first or last step. */
export function momentAtEnd({ facts, timeline: { steps } }: ReplayModel, end: "first" | "last"): Moment | null {
  return momentAt(steps, facts?.rank ?? 0, end === "first" ? 0 : steps.length - 1);
}

/** Where the next or previous mark leads; null where there is none. */
export function momentOfNextMark({ at, facts, timeline: { steps } }: ReplayModel, direction: 1 | -1): Moment | null {
  const mark = at && facts ? markFrom(at, facts.marks, steps, direction) : null;
  return mark && facts ? momentOfMark(mark, facts.rank, steps) : null;
}

/** What stands at a step: marks, and the gap that it falls into. */
export function marksAt({ facts }: ReplayModel, step: number): { readonly marks: readonly Mark[]; readonly gap: GapSpan | null } {
  if (facts === null) return { marks: [], gap: null };
  return { marks: facts.marks.filter((mark) => mark.step === step), gap: facts.gaps.find(({ from, to }) => step >= from && step <= to) ?? null };
}

/** The timeline that is laid over this one; null for none, or where another step is compared with. */
export function otherTimeline({ comparand }: ReplayModel): Timeline | null {
  switch (comparand?.kind) {
    case "session":
      return comparand.other.overview.timeline;
    case "rank":
      return comparand.overview.timeline;
    default:
      return null;
  }
}
