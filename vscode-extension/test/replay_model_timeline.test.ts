import { describe, expect, it } from "vitest";
import { bytesAxis, columnsOf, extentOf, firstFrom, grownTimeline, labelled, linearAxis, logAxis, nearest, niceStep, shareOf, stepAt, stepScale, stepTicks, thinned, withinScale, xOf } from "../shared/replay_timeline";
import { overviewOf } from "./replay_page_overviews";

const steps = (count: number, first = 0): Float64Array => Float64Array.from({ length: count }, (_, at) => first + at);

describe("steps on the axis", () => {
  it("go from the first to the last, and back", () => {
    const scale = stepScale(steps(101, 500), 1000);
    expect([xOf(scale, 500), xOf(scale, 600), stepAt(scale, 500), stepAt(scale, -50), stepAt(scale, 5000)]).toEqual([0, 1000, 550, 500, 600]);
  });

  it("stand in the middle where there is one alone", () => {
    expect(xOf(stepScale(steps(1, 7), 100), 7)).toBe(50);
  });

  it("are found by number, also where some are missing", () => {
    const some = Float64Array.of(0, 1, 10, 11);
    expect([firstFrom(some, 2), nearest(some, 4), nearest(some, 8), nearest(some, 99), nearest(new Float64Array(), 1)]).toEqual([2, 1, 2, 3, -1]);
  });

  it("have round numbers, apart from each other", () => {
    expect(stepTicks(stepScale(steps(1001), 1000), 80)).toEqual([0, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000]);
    expect(stepTicks(stepScale(steps(4), 1000), 80)).toEqual([0, 1, 2, 3]);
  });
});

describe("columns of pixels", () => {
  it("lose no spike of a long run, up or down", () => {
    const values = new Float64Array(100_000).fill(1);
    values[54_321] = 99;
    values[54_400] = -99;
    const columns = columnsOf({ steps: steps(100_000), values }, stepScale(steps(100_000), 900));
    expect(columns.count).toBeLessThanOrEqual(901);
    expect([Math.max(...columns.high.subarray(0, columns.count)), Math.min(...columns.low.subarray(0, columns.count))]).toEqual([99, -99]);
  });

  it("break where a step has no value, and join nothing over it", () => {
    const values = Float64Array.of(1, 2, Number.NaN, 4, Number.POSITIVE_INFINITY, 6);
    const columns = columnsOf({ steps: steps(6), values }, stepScale(steps(6), 500));
    expect([columns.count, ...columns.breaks.subarray(0, 4)]).toEqual([4, 1, 0, 1, 1]);
  });

  it("leave out what lies before or beyond the axis", () => {
    const values = new Float64Array(30).fill(1);
    const { count, x } = columnsOf({ steps: steps(30), values }, stepScale(steps(10, 5), 90));
    expect([count, Math.min(...x.subarray(0, count)), Math.max(...x.subarray(0, count))]).toEqual([10, 0, 90]);
    const cut = withinScale(overviewOf(30, {}).timeline, stepScale(steps(10, 5), 90));
    expect([cut.steps.length, cut.steps[0], cut.steps.at(-1), cut.lossSeen.length, cut.heldBytes.length]).toEqual([10, 5, 14, 10, 10]);
  });

  it("are none where nothing was recorded", () => {
    expect(columnsOf({ steps: steps(3), values: new Float64Array(3).fill(Number.NaN) }, stepScale(steps(3), 100)).count).toBe(0);
  });
});

describe("axes", () => {
  it("of bytes begin at zero whatever the values", () => {
    const axis = bytesAxis(5.93 * 2 ** 30, 2.4);
    expect([axis.low, axis.ticks[0], axis.ticks.every((tick) => Number.isInteger(tick / 2 ** 30))]).toEqual([0, 0, true]);
    expect(bytesAxis(0, 2).high).toBeGreaterThan(0);
  });

  it("of norms are whole decades", () => {
    const axis = logAxis([0.02, 40], 3);
    expect([axis.low, axis.high]).toEqual([0.01, 100]);
    expect([shareOf(axis, 1), shareOf(axis, 1e-9), shareOf(axis, 1e9)]).toEqual([0.5, 0, 1]);
  });

  it("of a constant have room around it", () => {
    const axis = linearAxis([3, 3], 2);
    expect([axis.low < 3, axis.high > 3, axis.ticks.length > 0]).toEqual([true, true, true]);
  });

  it("have two round numbers at least", () => {
    for (const extent of [[2.31, 2.95], [0.5, 4.5], [-3, 70]] as const) expect(linearAxis(extent, 1.4).ticks.length).toBeGreaterThan(1);
  });

  it("of a narrow range have as many labels as fit, and all where there is room", () => {
    const axis = linearAxis([1.355, 1.445], 1.4);
    const at = (height: number) => labelled(axis.ticks, (tick) => (1 - shareOf(axis, tick)) * height, 11);
    const gaps = (kept: readonly number[], height: number) => kept.slice(1).map((tick, i) => (shareOf(axis, tick) - shareOf(axis, kept[i]!)) * height);
    for (const height of [14, 20, 22, 40, 60]) expect(Math.min(11, ...gaps(at(height), height))).toBe(11);
    expect([at(5).length, at(22).length >= 2, at(1000)]).toEqual([1, true, axis.ticks]);
  });

  it("step by 1, 2 or 5", () => {
    expect([0.011, 0.3, 1, 1.2, 4, 7, 0].map(niceStep)).toEqual([0.02, 0.5, 1, 2, 5, 10, 1]);
  });

  it("know no extent where nothing is finite", () => {
    expect(extentOf([Float64Array.of(Number.NaN, Number.POSITIVE_INFINITY)])).toBeNull();
    expect(extentOf([Float64Array.of(0, 2)], 0)).toEqual([2, 2]);
  });
});

describe("marks of a long run", () => {
  it("are as many as can be told apart, from the first on", () => {
    const all = steps(100_000);
    const kept = thinned(all, () => true, stepScale(all, 700), 7);
    expect([kept[0], kept.length <= 101]).toEqual([0, true]);
  });
});

describe("a timeline that grows", () => {
  it("keeps what stands before and takes everything after", () => {
    const grown = grownTimeline(overviewOf(5, { loss: 1 }).timeline, 3, overviewOf(4, { loss: 9 }, 3).timeline);
    expect([Array.from(grown.steps), Array.from(grown.loss)]).toEqual([[0, 1, 2, 3, 4, 5, 6], [1, 1, 1, 9, 9, 9, 9]]);
  });
});
