import { describe, expect, it } from "vitest";
import { exactCount, fileName, formatBytes, formatCount, formatDuration, formatPercent, formatRatio, formatShape, fullPrecision, magnitude, plainNumber, shortened } from "../shared/format";

describe("a gradient's size", () => {
  it("has three significant digits, a real minus and an exponent of its own", () => {
    expect(magnitude(4.58e-4)).toEqual({ mantissa: "4.58", exponent: "e−4" });
    expect(magnitude(-1)).toEqual({ mantissa: "−1.00", exponent: "e0" });
    expect(plainNumber(1.2345e12)).toBe("1.23e12");
  });

  it("is never 0.000: zero is 0, what is small keeps its exponent", () => {
    expect(plainNumber(0)).toBe("0");
    expect(plainNumber(1e-38)).toBe("1.00e−38");
  });

  it("carries over when rounding reaches ten", () => {
    expect(plainNumber(9.999e-5)).toBe("1.00e−4");
  });

  it("says NaN, Inf and nothing in words", () => {
    expect([Number.NaN, Infinity, -Infinity, null, undefined].map(plainNumber)).toEqual(["NaN", "Inf", "−Inf", "—", "—"]);
  });

  it("has every digit in a tooltip", () => {
    expect(fullPrecision(-0.1234567890123)).toBe("−0.1234567890123");
    expect(fullPrecision(1e21)).toBe("1e21");
  });
});

describe("bytes", () => {
  it.each([
    [0, "0"],
    [1, "1 B"],
    [999, "999 B"],
    [1000, "0.98 KiB"],
    [96 * 2 ** 20, "96.0 MiB"],
    [768 * 2 ** 20, "768 MiB"],
    [3.13 * 2 ** 30, "3.13 GiB"],
    [1023 * 2 ** 20, "1.00 GiB"],
    [5 * 2 ** 50, "5120 TiB"],
  ])("%d is %s", (bytes, text) => expect(formatBytes(bytes)).toBe(text));

  it("never show a number where none is known", () => {
    expect([null, undefined, Number.NaN].map(formatBytes)).toEqual(["—", "—", "—"]);
  });
});

describe("counts", () => {
  it.each([
    [0, "0"],
    [9999, "9,999"],
    [10_000, "10.0 k"],
    [25_165_824, "25.2 M"],
    [999_700, "1.00 M"],
    [7e9, "7.00 G"],
  ])("%d is %s", (count, text) => expect(formatCount(count)).toBe(text));

  it("are exact in a tooltip", () => expect(exactCount(25_165_824)).toBe("25,165,824"));
});

describe("shares", () => {
  it("have one decimal and a space", () => expect(formatPercent(0.2403)).toBe("24.0 %"));

  it("are nothing or all only when they are", () => {
    expect([0, 1e-9, 0.99999, 1].map(formatPercent)).toEqual(["0 %", "<0.1 %", ">99.9 %", "100.0 %"]);
  });
});

describe("ratios and durations", () => {
  it("keep three digits", () => {
    expect([1.18, 12.34, 0.5, 123456, 3.1e-5, Infinity].map(formatRatio)).toEqual(["×1.18", "×12.3", "×0.50", "×1.23e5", "×3.10e−5", "×Inf"]);
  });

  it("take the unit that is read at a glance", () => {
    expect([0, 0.42, 180, 999.6, 2000, 1250, 12_000, 180_000, 7_200_000].map(formatDuration)).toEqual(["0 ms", "0.42 ms", "180 ms", "1 s", "2 s", "1.3 s", "12 s", "3 min", "2 h"]);
  });
});

describe("names", () => {
  it("of shapes use the multiplication sign", () => expect([formatShape([768, 3072]), formatShape([])]).toEqual(["768×3072", "scalar"]));

  it("of files are their last part on every system", () => expect([fileName("/a/b/model.py"), fileName("C:\\a\\model.py"), fileName("model.py")]).toEqual(["model.py", "model.py", "model.py"]));

  it("shorten in the middle", () => {
    expect(shortened("blocks.7.attn.proj.weight", 11)).toBe("block…eight");
    expect(shortened("weight", 11)).toBe("weight");
  });
});
