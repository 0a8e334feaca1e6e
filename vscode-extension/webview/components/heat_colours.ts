/** The theme's colours as numbers: a canvas knows no CSS variables. */

import { useEffect, useState } from "preact/hooks";
import { DivergingScale, parseColour, type Rgb } from "../../shared/values_colours";

export interface HeatColours {
  readonly scale: DivergingScale;
  readonly background: string;
  readonly empty: string;
  readonly foreground: string;
  readonly notFinite: string;
}

/** Where the stylesheet gives no colour that can be read. */
const FALLBACK: Record<Name, Rgb> = {
  negative: [0.12, 0.44, 0.71],
  zero: [0.9, 0.9, 0.9],
  positive: [0.72, 0.34, 0.11],
  nan: [0.7, 0.15, 0.12],
  fg: [0.2, 0.2, 0.2],
  bg: [1, 1, 1],
};

type Name = "negative" | "zero" | "positive" | "nan" | "fg" | "bg";

/** Reads `.hm-colour-*` rules as they apply inside `host`. */
export function heatColours(host: Element): HeatColours {
  const probe = document.createElement("i");
  probe.hidden = true;
  host.append(probe);
  const read = (name: Name): Rgb => {
    probe.className = `hm-colour hm-colour-${name}`;
    return parseColour(getComputedStyle(probe).backgroundColor) ?? FALLBACK[name];
  };
  const zero = read("zero");
  const colours = {
    scale: new DivergingScale(read("negative"), zero, read("positive")),
    background: text(read("bg")),
    empty: text(zero),
    foreground: text(read("fg")),
    notFinite: text(read("nan")),
  };
  probe.remove();
  return colours;
}

function text(colour: Rgb): string {
  return `rgb(${colour.map((part) => Math.round(part * 255)).join(", ")})`;
}

/** A number that changes with the host's theme. */
export function useThemeVersion(): number {
  const [version, setVersion] = useState(0);
  useEffect(() => {
    const observer = new MutationObserver(() => setVersion((n) => n + 1));
    const options = { attributes: true, attributeFilter: ["class", "style", "data-vscode-theme-id"] };
    observer.observe(document.documentElement, options);
    observer.observe(document.body, options);
    return () => observer.disconnect();
  }, []);
  return version;
}
