import { describe, expect, it } from "vitest";
import { OVERVIEW, overviewOf, snapshotAt } from "./replay_page_overviews";
import type { Mark, Moment, ToReplay } from "../shared/replay";
import { currentPosition, EMPTY_REPLAY, momentBy, momentOfNextMark, replayed, type ReplayEvent, type ReplayModel } from "../shared/replay_model";
import { duePosition, jumps } from "../shared/replay_play";
import { playheadWords, rowWords, titleOf } from "../shared/replay_words";

type HostMessage = Extract<ReplayEvent, { type: "host" }>["message"];
const OFFERS = { openSource: true, chooseOther: true, replayStep: true, bindsKeys: false };
const step = (number: number, rank = 0): Moment => ({ kind: "step", rank, step: number });
const host = (message: HostMessage, nowMs = 0): ReplayEvent => ({ type: "host", message, nowMs });
const after = (model: ReplayModel, ...events: ReplayEvent[]): ReplayModel => events.reduce(replayed, model);
const opened = (overview = OVERVIEW): ReplayModel => after(EMPTY_REPLAY, host({ type: "opened", overview, offers: OFFERS }));
const mark = (kind: Mark["kind"], at: number, stop = -1): Mark => ({ kind, step: at, stop, text: kind });

describe("where the playhead stands first", () => {
  it("is the first step with a gradient that is not finite", () => {
    expect(opened(overviewOf(20, { marks: [mark("nonfinite", 7)] })).at).toEqual(step(7));
  });

  it("is the last step where nothing is wrong", () => {
    expect(opened(overviewOf(20, {})).at).toEqual(step(19));
  });

  it("is the newest step of a recording that runs, and follows", () => {
    const model = opened(overviewOf(20, { finished: false, marks: [mark("nonfinite", 7)] }));
    expect([model.at, model.follow]).toEqual([step(19), true]);
  });

  it("is where an earlier page left it, as long as that step is there", () => {
    const open = (remembered: Moment): Moment | null =>
      replayed(EMPTY_REPLAY, { type: "host", message: { type: "opened", overview: overviewOf(20, {}), offers: OFFERS }, nowMs: 0, remembered }).at;
    expect([open(step(4)), open(step(400)), open(step(4, 3))]).toEqual([step(4), step(19), step(19)]);
  });

  it("is nowhere while no step has ended, and the first one that does takes it", () => {
    const empty = opened(overviewOf(0, { finished: false }));
    expect([empty.at, titleOf(empty)]).toEqual([null, "Recording"]);
    const { timeline, facts } = overviewOf(1, { finished: false });
    expect(replayed(empty, host({ type: "grown", from: 0, timeline, facts })).at).toEqual(step(0));
  });

  it("starts anew where another run was written to the file", () => {
    const again = replayed(replayed(opened(overviewOf(20, {})), { type: "go", at: step(3), nowMs: 0 }), host({ type: "opened", overview: overviewOf(5, {}), offers: OFFERS }));
    expect([again.at, again.shown]).toEqual([step(4), null]);
  });
});

describe("moving", () => {
  const model = opened(overviewOf(20, { marks: [mark("stop", 5, 0), mark("nonfinite", 9), mark("nonfinite", 10), mark("gap", 15)] }));
  const at = (moment: Moment): ReplayModel => replayed(model, { type: "go", at: moment, nowMs: 0 });

  it("stays between the first and the last step", () => {
    expect([momentBy(at(step(0)), -1), momentBy(at(step(18)), 50), momentBy(at(step(9)), 50)]).toEqual([step(0), step(19), step(19)]);
  });

  it("goes on from a stop to the end of its step, and back to the step before", () => {
    const stopped = at({ kind: "stop", rank: 0, stop: 0 });
    expect([momentBy(stopped, 1), momentBy(stopped, -1)]).toEqual([step(5), step(4)]);
  });

  it("jumps from mark to mark, a stop before the end of its step, and steps in a row once", () => {
    expect(momentOfNextMark(at(step(0)), 1)).toEqual({ kind: "stop", rank: 0, stop: 0 });
    expect(momentOfNextMark(at({ kind: "stop", rank: 0, stop: 0 }), 1)).toEqual(step(9));
    expect(momentOfNextMark(at(step(9)), 1)).toEqual(step(15));
    expect(momentOfNextMark(at(step(15)), -1)).toEqual(step(9));
    expect(momentOfNextMark(at(step(15)), 1)).toBeNull();
    expect(jumps(model.facts!.marks, model.timeline.steps).map(({ step: one }) => one)).toEqual([5, 9, 15]);
  });

  it("takes the nearest recorded step where a host names one that was not", () => {
    expect(replayed(model, host({ type: "go", at: step(999) })).at).toEqual(step(19));
  });

  it("keeps the values of before, and since when, until those of the new step are there", () => {
    const shown = replayed(at(step(3)), { type: "snapshot", at: step(3), snapshot: snapshotAt(3), previous: null, nowMs: 10 });
    expect(shown.behindMs).toBeNull();
    const moved = after(shown, { type: "go", at: step(4), nowMs: 20 }, { type: "go", at: step(5), nowMs: 30 });
    expect([moved.shown?.at, moved.behindMs]).toEqual([step(3), 20]);
    const onTheWay = replayed(moved, { type: "snapshot", at: step(4), snapshot: snapshotAt(4), previous: null, nowMs: 40 });
    expect([onTheWay.shown?.at, onTheWay.behindMs]).toEqual([step(4), 40]);
  });

  it("says why a step could not be read, and forgets it when the playhead moves on", () => {
    const failed = replayed(at(step(3)), { type: "unread", at: step(3), reason: "its chunk is damaged" });
    expect(failed.problem?.reason).toBe("its chunk is damaged");
    expect(replayed(failed, { type: "go", at: step(4), nowMs: 0 }).problem).toBeNull();
    expect(replayed(at(step(4)), { type: "unread", at: step(3), reason: "late" }).problem).toBeNull();
  });

  it("carries a parameter's selection to a step that names the same one, and no other", () => {
    const chosen = after(at(step(3)), { type: "snapshot", at: step(3), snapshot: snapshotAt(3), previous: null, nowMs: 0 }, { type: "select", selection: { kind: "parameter", id: 1 } });
    const same = replayed(chosen, { type: "snapshot", at: step(4), snapshot: snapshotAt(4), previous: null, nowMs: 0 });
    const renamed = replayed(chosen, { type: "snapshot", at: step(4), snapshot: snapshotAt(4, "other"), previous: null, nowMs: 0 });
    expect([same.selection.kind, renamed.selection.kind]).toEqual(["parameter", "none"]);
  });
});

describe("a recording that grows", () => {
  const open = opened(overviewOf(10, { finished: false }));
  const growth = (from: number, count: number, finished = false): Extract<ToReplay, { type: "grown" }> => {
    const { timeline, facts } = overviewOf(count, { finished }, from);
    return { type: "grown", from, timeline, facts };
  };

  it("takes the newest step while it is followed, and says so", () => {
    const grown = replayed(open, host(growth(10, 3)));
    expect([grown.at, grown.timeline.steps.length, titleOf(grown)]).toEqual([step(12), 13, "Live, step 12"]);
  });

  it("replaces what it had from a position on", () => {
    expect(Array.from(replayed(open, host(growth(8, 4))).timeline.steps)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
  });

  it("is no longer followed once the playhead is moved back, until it is asked for again", () => {
    const back = replayed(open, { type: "go", at: step(4), nowMs: 0 });
    const grown = replayed(back, host(growth(10, 3)));
    expect([grown.follow, grown.at, titleOf(grown)]).toEqual([false, step(4), "Replay step 4 of 13"]);
    expect(replayed(grown, { type: "follow", on: true, nowMs: 0 }).at).toEqual(step(12));
  });

  it("is not called live once it has ended", () => {
    const ended = after(open, host(growth(10, 3)), host(growth(13, 0, true)));
    expect([titleOf(ended), ended.follow]).toEqual(["Replay step 12 of 13", false]);
  });

  it("stands at its last step once it has ended, and is followed no more", () => {
    const ended = after(open, host(growth(10, 3)), host(growth(13, 2, true)));
    expect([titleOf(ended), ended.follow]).toEqual(["Replay step 14 of 15", false]);
    expect(replayed(ended, { type: "follow", on: true, nowMs: 0 }).follow).toBe(false);
  });

  it("is followed no more at a rank that has ended", () => {
    expect(replayed(open, { type: "rank", overview: overviewOf(10, { rank: 1, finished: true }), nowMs: 0 }).follow).toBe(false);
  });
});

describe("playing", () => {
  it("is due as many steps as the time says, and over at the last", () => {
    const playing = { sinceMs: 1000, from: 4, speed: 10 } as const;
    expect(duePosition(playing, 1000, 20)).toEqual({ position: 4, over: false });
    expect(duePosition(playing, 1550, 20)).toEqual({ position: 9, over: false });
    expect(duePosition(playing, 9000, 20)).toEqual({ position: 19, over: true });
  });

  it("stops at the end and begins again from the start", () => {
    const model = opened(overviewOf(20, {}));
    const playing = replayed(model, { type: "play", speed: 10, nowMs: 0 });
    expect([playing.at, playing.playing?.from]).toEqual([step(0), 0]);
    const over = replayed(playing, { type: "due", position: 19, over: true, nowMs: 2000 });
    expect([over.at, over.playing]).toEqual([step(19), null]);
  });

  it("stops when the playhead is moved by hand", () => {
    const playing = replayed(opened(overviewOf(20, {})), { type: "play", speed: 1, nowMs: 0 });
    expect(replayed(playing, { type: "go", at: step(7), nowMs: 1 }).playing).toBeNull();
  });
});

describe("another rank", () => {
  it("keeps the step where that rank has it, and asks for its own values", () => {
    const model = replayed(opened(overviewOf(20, {})), { type: "go", at: step(6), nowMs: 0 });
    const other = replayed(model, { type: "rank", overview: overviewOf(20, { rank: 2 }), nowMs: 0 });
    expect([other.at, other.recent, other.held]).toEqual([step(6, 2), null, null]);
    const shorter = replayed(model, { type: "rank", overview: overviewOf(3, { rank: 2 }), nowMs: 0 });
    expect(shorter.at).toEqual(step(2, 2));
  });
});

describe("words", () => {
  const model = replayed(opened(overviewOf(1000, { marks: [mark("nonfinite", 812)], nonfinite: [812] })), { type: "go", at: step(812), nowMs: 0 });

  it("say the step and what is wrong with it", () => {
    expect([titleOf(model), playheadWords(model)]).toEqual(["Replay step 812 of 1000", "step 812, NaN"]);
    expect(rowWords(model, null, "").norm).toEqual({ value: "NaN", wrong: true, compared: "" });
  });

  it("name a run that does not begin at 0 by its first and last step", () => {
    expect(titleOf(opened(overviewOf(10, {}, 500)))).toBe("Replay step 509 of 500–509");
  });

  it("say a stop by its number until its place is known", () => {
    const stopped = opened(overviewOf(10, { marks: [mark("stop", 4, 3)] }));
    expect(titleOf(replayed(stopped, { type: "go", at: { kind: "stop", rank: 0, stop: 3 }, nowMs: 0 }))).toBe("Stop 3");
  });

  it("tell the other session's number and the difference", () => {
    const other = overviewOf(1000, { loss: 2.73, norm: 0.5, held: 2 * 2 ** 30 }).timeline;
    const at = replayed(opened(overviewOf(1000, { loss: 2.98, norm: 0.59, held: 3 * 2 ** 30 })), { type: "go", at: step(10), nowMs: 0 });
    const words = rowWords(at, other, "baseline");
    expect(words.loss).toEqual({ value: "2.98", wrong: false, compared: "baseline 2.73, +0.250" });
    expect(words.norm.compared).toBe("baseline 5.00e−1, ×1.18");
    expect(words.held.compared).toBe("baseline 2.00 GiB, +1.00 GiB");
  });

  it("do not invent a number for a step without one", () => {
    const unseen = replayed(opened(overviewOf(10, { loss: Number.NaN, lossSeen: 0, norm: Number.NaN, held: Number.NaN })), { type: "go", at: step(5), nowMs: 0 });
    const { loss, norm, held } = rowWords(unseen, null, "");
    expect([loss.value, norm.value, held.value]).toEqual(["—", "—", "—"]);
  });

  it("tell a loss that is NaN from one that was not seen", () => {
    const nan = replayed(opened(overviewOf(10, { loss: Number.NaN, lossSeen: 1 })), { type: "go", at: step(5), nowMs: 0 });
    expect(rowWords(nan, null, "").loss).toMatchObject({ value: "NaN", wrong: true });
  });

  it("name the graph and the gap that a step falls into", () => {
    const model2 = opened(overviewOf(10, { variants: [{ letter: "A", graph: 0, from: 0, to: 4 }, { letter: "B", graph: 1, from: 5, to: 9 }], gaps: [{ from: 6, to: 7, text: "damaged" }] }));
    expect(playheadWords(replayed(model2, { type: "go", at: step(6), nowMs: 0 }))).toBe("step 6, gap, graph B");
    expect(currentPosition(replayed(model2, { type: "go", at: step(6), nowMs: 0 }))).toBe(6);
  });
});
