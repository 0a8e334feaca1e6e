import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import themes from "./harness/themes.json";

/** The table of the design, by theme: contrast on the panel's background. */
const TABLE = {
  nan: { dark: 6.6, light: 6.2, hc: 9.6 },
  explode: { dark: 8.5, light: 5.9, hc: 11.9 },
  vanish: { dark: 8.3, light: 6.6, hc: 12.9 },
  none: { dark: 10.0, light: 6.2, hc: 16.1 },
  negative: { dark: 6.8, light: 4.9, hc: 11.2 },
  positive: { dark: 7.4, light: 4.5, hc: 11.7 },
} as const;
const MIXED = { mid: { dark: 4.8, light: 3.4, hc: 7.4 }, fill: { dark: 4.1, light: 3.3, hc: 3.7 } } as const;

type Theme = keyof typeof themes;
type Rgb = readonly [number, number, number];

const css = readFileSync(new URL("../webview/gradwatch.css", import.meta.url), "utf8");
const contributed = (JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { contributes: { colors: { id: string; defaults: Record<string, string> }[] } }).contributes.colors;

function rgb(hex: string): Rgb {
  return [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16)) as unknown as Rgb;
}

function luminance(colour: Rgb): number {
  const [r, g, b] = colour.map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4)) as unknown as Rgb;
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(a: Rgb, b: Rgb): number {
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y) as [number, number];
  return (high + 0.05) / (low + 0.05);
}

function colour(theme: Theme, variable: string): Rgb {
  const value = (themes[theme].colors as Record<string, string>)[variable];
  if (value === undefined) throw new Error(`${theme} has no ${variable}`);
  return rgb(value);
}

/** A token as the stylesheet says it: a host's variable, or one mixed into another. */
function token(theme: Theme, name: string): Rgb {
  const source = new RegExp(`--${name}: ([^;]+);`).exec(css)?.[1];
  const mixed = /^color-mix\(in srgb, var\(--(\w+)\) (\d+)%, var\(--(\w+)\)\)$/.exec(source ?? "");
  if (mixed) return mix(token(theme, mixed[1]!), token(theme, mixed[3]!), Number(mixed[2]) / 100);
  const variable = /^var\(--vscode-([\w-]+)/.exec(source ?? "")?.[1];
  if (variable === undefined) throw new Error(`The stylesheet does not say what --${name} is.`);
  return colour(theme, variable);
}

function mix(a: Rgb, b: Rgb, share: number): Rgb {
  return [0, 1, 2].map((at) => a[at]! * share + b[at]! * (1 - share)) as unknown as Rgb;
}

const themeNames = ["dark", "light", "hc"] as const;

describe.each(themeNames)("in the default %s theme", (theme) => {
  const bg = token(theme, "bg");

  it.each(Object.keys(TABLE) as (keyof typeof TABLE)[])("%s has the contrast of the design's table", (name) => {
    expect(Math.abs(contrast(token(theme, name), bg) - TABLE[name][theme])).toBeLessThan(0.15);
  });

  it.each(Object.keys(MIXED) as (keyof typeof MIXED)[])("marks of --%s reach 3:1", (name) => {
    expect(contrast(token(theme, name), bg)).toBeGreaterThanOrEqual(3);
    expect(Math.abs(contrast(token(theme, name), bg) - MIXED[name][theme])).toBeLessThan(0.15);
  });
});

describe.each(Object.keys(themes) as Theme[])("text in %s", (theme) => {
  it.each(["fg", "dim", "accent", "nan", "explode", "vanish", "none"])("of --%s reaches 4.5:1", (name) => {
    expect(contrast(token(theme, name), token(theme, "bg"))).toBeGreaterThanOrEqual(4.5);
  });

  it("on the selection reaches 4.5:1", () => {
    const named = "list-activeSelectionBackground" in themes[theme].colors;
    // Where a theme names no selection, the high-contrast rule leaves the page's own ground and text.
    if (!named) expect(css).toMatch(/high-contrast-light \.gw \{\s*--sel: [^;]*, transparent\);\s*--selfg: [^;]*var\(--vscode-foreground\)\);/);
    const [text, ground] = named ? ["selfg", "sel"] : ["fg", "bg"];
    expect(contrast(token(theme, text!), token(theme, ground!))).toBeGreaterThanOrEqual(4.5);
  });
});

describe("contributed colours", () => {
  const kinds: Record<Theme, string> = { dark: "dark", light: "light", hc: "highContrast", "hc-light": "highContrastLight" };

  it.each(Object.keys(TABLE))("%s is what the pictures are taken with", (name) => {
    const { defaults } = contributed.find(({ id }) => id === `gradwatch.${name}`)!;
    for (const [theme, kind] of Object.entries(kinds)) expect(rgb(defaults[kind]!), theme).toEqual(colour(theme as Theme, `gradwatch-${name}`));
  });

  it("have the light colours as the stylesheet's fallback", () => {
    for (const name of Object.keys(TABLE)) {
      expect(css).toContain(`--${name}: var(--vscode-gradwatch-${name}, ${themes.light.colors[`gradwatch-${name as keyof typeof TABLE}`]});`);
    }
  });
});
