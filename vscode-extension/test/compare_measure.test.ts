/** The measure of a comparison: norms that are rounded once, statistics against a tolerance, graphs side by side. */

import { describe, expect, it } from "vitest";
import { normOf } from "../shared/compare_norm";
import { DEFAULT_TOLERANCE, EXACT, gapsOfRow, numbersPart, relativeDifference, rowGaps, type StatisticColumns, type Tolerance } from "../shared/compare_tolerance";
import { STATISTIC_NAMES } from "../shared/recorded_curve";

describe("a norm", () => {
  it("is the root of the sum of squares, to the last digit", () => {
    expect(normOf([3, 4])).toBe(5);
    let state = 1;
    for (let round = 0; round < 200; round++) {
      const values = Array.from({ length: 20 }, () => (state = (state * 48271) % 2147483647) % 1_000_000);
      const sum = values.reduce((total, value) => total + BigInt(value) * BigInt(value), 0n);
      expect(sum).toBeLessThan(2n ** 53n);
      expect(normOf(values)).toBe(Math.sqrt(Number(sum)));
    }
  });

  it("neither overflows nor vanishes", () => {
    for (const scale of [2 ** 600, 2 ** -600]) expect(normOf([3 * scale, 4 * scale])).toBe(5 * scale);
    expect(normOf([Number.MAX_VALUE])).toBe(Number.MAX_VALUE);
    expect(normOf([5e-324])).toBe(5e-324);
    expect(normOf([])).toBe(0);
  });

  it("is NaN where a value is, and infinite where any is infinite", () => {
    expect(normOf([1, Number.NaN])).toBeNaN();
    expect(normOf([Number.NaN, -Infinity])).toBe(Infinity);
  });
});

/** One row of statistics of some numbers, worked out the plain way. */
function row(values: readonly number[]): StatisticColumns {
  const finite = values.filter(Number.isFinite);
  const sum = (of: (value: number) => number): number => finite.reduce((total, value) => total + of(value), 0);
  const count = (of: (value: number) => boolean): number => values.filter(of).length;
  const found = {
    count: values.length,
    zeros: count((value) => value === 0),
    nan: count(Number.isNaN),
    inf: count((value) => Math.abs(value) === Infinity),
    subnormals: 0,
    min: Math.min(...finite),
    max: Math.max(...finite),
    mean: sum((value) => value) / finite.length,
    l1: sum(Math.abs),
    l2: Math.sqrt(sum((value) => value * value)),
  };
  return Object.fromEntries(STATISTIC_NAMES.map((name) => [name, Float64Array.of(found[name])])) as unknown as StatisticColumns;
}

const first = Uint32Array.of(0);

function part(a: StatisticColumns, b: StatisticColumns, tolerance: Tolerance = DEFAULT_TOLERANCE): boolean {
  return rowGaps({ columns: a, rows: first }, { columns: b, rows: first }, tolerance, STATISTIC_NAMES).parts[0] === 1;
}

describe("statistics", () => {
  it.each([
    [[1, 2], [1, 2.1], "max"],
    [[1, 2], [1, 2, 0], "count"],
    [[1, 0], [1, 1e-3], "zeros"],
    [[1, Infinity], [1, 1], "inf"],
    [[1, -1], [1, -0.99], "mean"],
  ] as const)("of %j and %j part in %s", (a, b, statistic) => {
    expect(part(row(a), row(b))).toBe(true);
    const gaps = gapsOfRow(row(a), 0, row(b), 0, DEFAULT_TOLERANCE);
    expect(gaps.filter(({ parts }) => parts).map((gap) => gap.statistic)).toContain(statistic);
    expect(gaps.map(({ parts }) => Number(parts))).toEqual(gaps.map(({ parts }) => Number(parts)).sort().reverse());
  });

  it("do not part by rounding noise in a sum that cancels, unless exactly", () => {
    const [a, b] = [row([1, -1]), row([1 + 1e-6, -1])];
    expect([part(a, b), part(a, b, EXACT)]).toEqual([false, true]);
  });

  it("part by atol as far as one element may be off", () => {
    const a = row(Array.from({ length: 100 }, () => 0));
    const b = { ...row(Array.from({ length: 100 }, () => 1e-6)), zeros: a.zeros };
    expect([part(a, b, { rtol: 0, atol: 2e-6 }), part(a, b, { rtol: 0, atol: 5e-7 })]).toEqual([false, true]);
  });

  it("that were not recorded do not part", () => {
    const unknown = { ...row([1, 2]), l2: Float64Array.of(Number.NaN), zeros: Float64Array.of(-1) };
    expect(part(unknown, row([1, 2]), EXACT)).toBe(false);
  });

  it("cannot tell values that changed places", () => {
    expect(part(row([1, 2, 3]), row([3, 1, 2]), EXACT)).toBe(false);
  });
});

describe("two numbers", () => {
  it("that are both NaN are the same, and one alone parts", () => {
    expect([numbersPart(Number.NaN, Number.NaN, EXACT), numbersPart(Number.NaN, 1, DEFAULT_TOLERANCE)]).toEqual([false, true]);
    expect([relativeDifference(Number.NaN, Number.NaN), relativeDifference(Infinity, 1)]).toEqual([0, Infinity]);
    expect(relativeDifference(1, 2)).toBe(0.5);
  });
});
