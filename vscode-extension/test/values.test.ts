import { describe, expect, it } from "vitest";
import type { Subject, Values } from "../shared/session";
import * as v from "../shared/values";
import { DivergingScale, mix, parseColour, type Rgb } from "../shared/values_colours";
import { column } from "./held_snapshot";

const SUBJECT: Subject = { stop: 3, field: "grad", parameter: 1 };

function answer(kind: string, value: unknown): string {
  return JSON.stringify({ kind, value });
}

function values(rows: number, columns: number, from: readonly number[], place = { row: 0, column: 0 }): Values {
  return { subject: SUBJECT, shape: [8, 8], dtype: "float32", device: "cpu", index: [], rows, columns, ...place, values: column("<f4", from) };
}

describe("an answer", () => {
  it("is read with its values", () => {
    const data = btoa(String.fromCharCode(...column("<f4", [1, -2]).data));
    const { subject, ...rest } = values(1, 2, []);
    const text = answer("Values", { subject, ...rest, values: { dtype: "<f4", data } });
    expect([...v.readWindow(v.parseValues(text)).numbers as Float32Array]).toEqual([1, -2]);
  });

  it("that failed throws what the debuggee said", () => {
    const text = answer("Failure", { error: "UsageError", message: "Parameter 1 is gone. Step once." });
    expect(() => v.parseValues(text)).toThrow("Parameter 1 is gone. Step once.");
  });

  it("of another kind or no JSON is refused with what came", () => {
    expect(() => v.parseValues(answer("Conditions", []))).toThrow("Conditions");
    expect(() => v.parseValues("Traceback")).toThrow("Traceback");
  });
});

describe("a window", () => {
  it("never asks for more than one answer holds, nor beyond the tensor", () => {
    for (const shape of [[], [1], [7], [100_000], [3, 4], [5000, 3], [3, 5000], [2, 3, 768, 768]]) {
      for (const [width, height] of [[280, 74], [460, 300], [4000, 3000], [5, 5]] as const) {
        const cells = v.fitCells(shape, width, height);
        const place = v.clampPlace(shape, cells, { index: [9, 9], row: 1e6, column: 1e6 });
        const asked = v.windowRequest(SUBJECT, shape, cells, place);
        const plane = v.planeOf(shape);
        expect(asked.rows * asked.columns).toBeLessThanOrEqual(v.MOST_VALUES);
        expect(asked.rows * asked.columns).toBeGreaterThan(0);
        expect(asked.row + asked.rows).toBeLessThanOrEqual(plane.rows);
        expect(asked.column + asked.columns).toBeLessThanOrEqual(plane.columns);
        expect(asked.index).toHaveLength(Math.max(0, shape.length - 2));
        asked.index.forEach((at, i) => expect(at).toBeLessThan(shape[i] ?? 0));
      }
    }
  });

  it("draws a small tensor in larger cells and a large one in small cells", () => {
    expect(v.fitCells([3, 4], 280, 74)).toEqual({ size: 22, rows: 3, columns: 4 });
    expect(v.fitCells([768, 768], 280, 74)).toEqual({ size: 8, rows: 9, columns: 35 });
  });

  it("wraps a vector over its lines", () => {
    const cells = v.fitCells([100], 280, 74);
    expect(cells.columns * cells.rows).toBeGreaterThanOrEqual(100);
    expect(v.windowRequest(SUBJECT, [100], cells, v.firstPlace([100]))).toMatchObject({ rows: 1, columns: 100 });
  });

  it("keeps a vector's window on whole lines", () => {
    const cells = { size: 8, rows: 2, columns: 10 };
    expect(v.clampPlace([95], cells, { index: [], row: 0, column: 47 }).column).toBe(40);
    expect(v.clampPlace([95], cells, { index: [], row: 0, column: 94 }).column).toBe(80);
  });
});

describe("the cursor", () => {
  const cells = { size: 8, rows: 4, columns: 6 };
  const shape = [20, 30];

  it("stays inside the tensor", () => {
    expect(v.moveCursor(shape, cells, { row: 0, column: 0 }, "up")).toEqual({ row: 0, column: 0 });
    expect(v.moveCursor(shape, cells, { row: 0, column: 0 }, "end")).toEqual({ row: 19, column: 29 });
    expect(v.moveCursor([10], cells, { row: 0, column: 8 }, "down")).toEqual({ row: 0, column: 8 });
    expect(v.moveCursor([], cells, { row: 0, column: 0 }, "right")).toEqual({ row: 0, column: 0 });
  });

  it("moves the window only when it leaves it, and is then inside", () => {
    const start = v.firstPlace(shape);
    expect(v.placeFor(shape, cells, start, { row: 3, column: 5 })).toEqual(start);
    for (const cursor of [{ row: 4, column: 5 }, { row: 19, column: 29 }, { row: 7, column: 0 }]) {
      const place = v.placeFor(shape, cells, start, cursor);
      expect(cursor.row - place.row).toBeGreaterThanOrEqual(0);
      expect(cursor.row - place.row).toBeLessThan(cells.rows);
      expect(cursor.column - place.column).toBeLessThan(cells.columns);
    }
  });

  it("finds the window of a full index", () => {
    const found = v.placeOfIndex([3, 2, 20, 30], cells, [1, 0, 17, 4]);
    expect(found.place.index).toEqual([1, 0]);
    expect(found.cursor).toEqual({ row: 17, column: 4 });
    expect(found.cursor.row - found.place.row).toBeLessThan(cells.rows);
  });
});

describe("values", () => {
  it("are found by their place in the tensor, not in the window", () => {
    const window = v.readWindow(values(2, 3, [1, 2, 3, 4, NaN, 6], { row: 10, column: 20 }));
    expect(v.valueAt(window, [], { row: 11, column: 22 })).toBe(6);
    expect(v.valueAt(window, [], { row: 9, column: 20 })).toBeUndefined();
    expect(v.valueAt(window, [], { row: 10, column: 23 })).toBeUndefined();
    expect([window.limit, window.nonFinite]).toEqual([6, 1]);
  });

  it("are written with every digit a float32 has, and not finite ones in words", () => {
    expect(v.exactText(Math.fround(0.1))).toBe("0.1");
    expect(v.exactText(Math.fround(-1 / 3))).toBe("−0.33333334");
    expect([NaN, Infinity, -Infinity].map(v.exactText)).toEqual(["NaN", "Inf", "−Inf"]);
    for (const value of [1e-38, 3.4028235e38, 16777217, 1.17549435e-38].map(Math.fround)) {
      expect(Math.fround(Number(v.exactText(value).replace("−", "-")))).toBe(value);
    }
  });

  it("share one exponent at the legend", () => {
    expect(v.legendEnds(8.94e-5)).toEqual({ low: "−8.9", high: "+8.9", exponent: "×1e−5" });
    expect(v.legendEnds(9.96)).toEqual({ low: "−1.0", high: "+1.0", exponent: "×1e1" });
    expect(v.legendEnds(2).exponent).toBe("");
  });
});

describe("the diverging scale", () => {
  const negative: Rgb = [0.35, 0.65, 0.91];
  const middle: Rgb = [0.16, 0.16, 0.16];
  const positive: Rgb = [0.91, 0.58, 0.35];
  const scale = new DivergingScale(negative, middle, positive);

  it("is symmetric about zero: swapping the ends mirrors it", () => {
    const mirrored = new DivergingScale(positive, middle, negative);
    for (let value = -3; value <= 3; value += 0.25) expect(scale.colour(value, 2)).toBe(mirrored.colour(-value, 2));
  });

  it("gives zero the middle, the limit the ends, and clamps beyond", () => {
    expect(scale.colour(0, 5)).toBe("rgb(41, 41, 41)");
    expect(scale.colour(5, 5)).toBe("rgb(232, 148, 89)");
    expect(scale.colour(-9, 5)).toBe("rgb(89, 166, 232)");
    expect(scale.colour(1, 0)).toBe("rgb(41, 41, 41)");
  });

  it("mixes back to the colours it was given", () => {
    mix(negative, positive, 1).forEach((part, i) => expect(part).toBeCloseTo(positive[i] ?? 0, 5));
  });

  it("reads the colours a browser computes", () => {
    expect(parseColour("rgb(255, 0, 51)")).toEqual([1, 0, 0.2]);
    expect(parseColour("color(srgb 0.25 0.5 1)")).toEqual([0.25, 0.5, 1]);
    expect(parseColour("oklab(0.5 0.1 0.1)")).toBeNull();
  });
});

describe("a slice", () => {
  it("is written as numpy would", () => {
    expect(v.sliceText([8, 12, 512, 512], { size: 8, rows: 6, columns: 27 }, { index: [3, 0], row: 37, column: 0 })).toBe("[3, 0, 37:43, 0:27]");
    expect(v.sliceText([5], { size: 8, rows: 1, columns: 5 }, v.firstPlace([5]))).toBe("[0:5]");
    expect(v.indexText([8, 12, 512, 512], [3, 0], { row: 37, column: 0 })).toBe("[3, 0, 37, 0]");
    expect(v.indexText([], [], { row: 0, column: 0 })).toBe("[]");
  });
});
