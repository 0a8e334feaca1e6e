/** Numbers as the panel writes them: three significant digits, a real minus, one axis per quantity. */

/** What stands where there is no number. */
export const MISSING = "—";

/** `mantissa` as `d.dd`, `exponent` as `e−4`: drawn apart so that mantissas align and exponents are dim. */
export interface Magnitude {
  readonly mantissa: string;
  readonly exponent: string;
}

/** A gradient's size, never "0.000". NaN and Inf are words, no number is a dash; those have no exponent. */
export function magnitude(value: number | null | undefined): Magnitude {
  if (value === null || value === undefined) return { mantissa: MISSING, exponent: "" };
  if (value === 0) return { mantissa: "0", exponent: "" };
  if (!Number.isFinite(value)) return { mantissa: Number.isNaN(value) ? "NaN" : withMinus(value > 0 ? "Inf" : "-Inf"), exponent: "" };
  const [mantissa, exponent] = value.toExponential(2).split("e");
  return { mantissa: withMinus(mantissa!), exponent: `e${withMinus(exponent!.replace("+", ""))}` };
}

/** A gradient's size in one piece of text: `4.58e−4`. */
export function plainNumber(value: number | null | undefined): string {
  const { mantissa, exponent } = magnitude(value);
  return mantissa + exponent;
}

/** Every digit that a double has, for tooltips and copied rows. */
export function fullPrecision(value: number | null | undefined): string {
  if (value === null || value === undefined) return MISSING;
  if (!Number.isFinite(value)) return plainNumber(value);
  return withMinus(String(value).replace("e+", "e"));
}

const BYTE_UNITS = ["B", "KiB", "MiB", "GiB", "TiB"] as const;

/** `96.0 MiB`: three digits. From 1000 of a unit on, the next one: a fourth digit would not line up. */
export function formatBytes(bytes: number | null | undefined): string {
  if (bytes === null || bytes === undefined || Number.isNaN(bytes)) return MISSING;
  if (bytes === 0) return "0";
  let unit = 0;
  let size = Math.abs(bytes);
  while (size >= 999.5 && unit < BYTE_UNITS.length - 1) {
    size /= 1024;
    unit++;
  }
  return `${bytes < 0 ? "−" : ""}${unit === 0 ? Math.round(size) : threeDigits(size)} ${BYTE_UNITS[unit]!}`;
}

const COUNT_UNITS = ["k", "M", "G", "T", "P"] as const;

/** Exact to 9,999, then `25.2 M`. */
export function formatCount(count: number | null | undefined): string {
  if (count === null || count === undefined || Number.isNaN(count)) return MISSING;
  if (Math.abs(count) < 10_000) return withMinus(exactCount(count));
  let size = Math.abs(count) / 1000;
  let unit = 0;
  while (size >= 999.5 && unit < COUNT_UNITS.length - 1) {
    size /= 1000;
    unit++;
  }
  return `${count < 0 ? "−" : ""}${threeDigits(size)} ${COUNT_UNITS[unit]!}`;
}

/** All digits in groups of three, for tooltips. */
export function exactCount(count: number): string {
  return Math.round(count).toLocaleString("en-US");
}

/** One decimal. A share that is neither nothing nor all is never rounded to either. */
export function formatPercent(share: number | null | undefined): string {
  if (share === null || share === undefined || Number.isNaN(share)) return MISSING;
  const percent = share * 100;
  if (percent > 0 && percent < 0.05) return "<0.1 %";
  if (percent < 100 && percent >= 99.95) return ">99.9 %";
  return percent === 0 ? "0 %" : `${withMinus(percent.toFixed(1))} %`;
}

/** `×1.18`; far from 1 as a magnitude, `×3.10e−5`. */
export function formatRatio(ratio: number | null | undefined): string {
  if (ratio === null || ratio === undefined || Number.isNaN(ratio)) return MISSING;
  const size = Math.abs(ratio);
  if (size === 0 || !Number.isFinite(ratio)) return `×${plainNumber(ratio)}`;
  return `×${size >= 999.5 || size < 0.01 ? plainNumber(ratio) : withMinus(threeDigits(ratio))}`;
}

/** `180 ms`, `2 s`, `12 s`, `3 min`, `2 h`. */
export function formatDuration(ms: number | null | undefined): string {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return MISSING;
  if (ms === 0) return "0 ms";
  if (ms < 10) return `${trimmed(ms.toPrecision(2))} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 9_950) return `${trimmed((ms / 1000).toFixed(1))} s`;
  if (ms < 99_500) return `${Math.round(ms / 1000)} s`;
  return ms < 5_970_000 ? `${Math.round(ms / 60_000)} min` : `${Math.round(ms / 3_600_000)} h`;
}

/** `768×3072`; a tensor without dimensions is a scalar, a size that is not known a question mark. */
export function formatShape(shape: readonly number[]): string {
  return shape.length === 0 ? "scalar" : shape.map((size) => (size < 0 ? "?" : size)).join("×");
}

/** "f32" as numerical code writes it: columns are narrow. */
export function shortDtype(dtype: string): string {
  return dtype.replace("torch.", "").replace(/^float(\d+)$/, "f$1").replace(/^bfloat16$/, "bf16").replace(/^int(\d+)$/, "i$1");
}

/** The end of a path, which tells files apart: `model.py`. */
export function fileName(path: string): string {
  return path.slice(Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\")) + 1);
}

/** Shortened in the middle: both ends of a name tell more than its middle. */
export function shortened(name: string, most: number): string {
  if (name.length <= most) return name;
  const head = Math.ceil((most - 1) / 2);
  return `${name.slice(0, head)}…${name.slice(name.length - (most - 1 - head))}`;
}

function threeDigits(size: number): string {
  const absolute = Math.abs(size);
  return size.toFixed(absolute >= 99.95 ? 0 : absolute >= 9.995 ? 1 : 2);
}

function trimmed(digits: string): string {
  return digits.includes(".") ? digits.replace(/\.?0+$/, "") : digits;
}

function withMinus(digits: string): string {
  return digits.replace("-", "−");
}
