/** The diverging colours of signed values. */

/** Red, green and blue from 0 to 1. */
export type Rgb = readonly [number, number, number];

const STEPS = 64;

/** A diverging scale: negative, middle, positive, symmetric about 0 and mixed in Oklab. */
export class DivergingScale {
  private readonly table: readonly string[];

  constructor(negative: Rgb, middle: Rgb, positive: Rgb) {
    this.table = Array.from({ length: 2 * STEPS + 1 }, (_, i) => {
      const t = (i - STEPS) / STEPS;
      return css(mix(middle, t < 0 ? negative : positive, Math.abs(t)));
    });
  }

  /** The CSS colour of a finite value where `limit` is drawn fully; beyond it as `limit`. */
  colour(value: number, limit: number): string {
    const t = limit > 0 ? Math.max(-1, Math.min(value / limit, 1)) : 0;
    return this.table[Math.round(t * STEPS) + STEPS] ?? "";
  }
}

/** `share` of the second colour in the first, in Oklab. */
export function mix(from: Rgb, to: Rgb, share: number): Rgb {
  const a = toOklab(from);
  const b = toOklab(to);
  return fromOklab([a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share]);
}

function css([r, g, b]: Rgb): string {
  const part = (value: number): number => Math.round(Math.max(0, Math.min(value, 1)) * 255);
  return `rgb(${part(r)}, ${part(g)}, ${part(b)})`;
}

/** Reads a computed CSS colour: `rgb(1, 2, 3)`, `rgba(…)` or `color(srgb …)`; null for another spelling. */
export function parseColour(text: string): Rgb | null {
  const parts = text.match(/-?[\d.]+(?:e-?\d+)?/g)?.map(Number) ?? [];
  const [r, g, b] = parts;
  if (r === undefined || g === undefined || b === undefined) return null;
  if (/^rgba?\(/.test(text)) return [r / 255, g / 255, b / 255];
  return /^color\(srgb /.test(text) ? [r, g, b] : null;
}

function linear(value: number): number {
  return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
}

function gamma(value: number): number {
  return value <= 0.0031308 ? value * 12.92 : 1.055 * value ** (1 / 2.4) - 0.055;
}

/** B. Ottosson's Oklab. */
function toOklab(colour: Rgb): Rgb {
  const [r, g, b] = [linear(colour[0]), linear(colour[1]), linear(colour[2])];
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ];
}

function fromOklab([lightness, a, b]: Rgb): Rgb {
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    gamma(Math.max(0, 4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s)),
    gamma(Math.max(0, -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s)),
    gamma(Math.max(0, -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s)),
  ];
}
