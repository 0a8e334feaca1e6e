/** Findings by the line that they are about, for the source editor. */

import type { PlacedFinding } from "./findings";
import { findingsText as text } from "./text";
import type { Finding } from "./session";

/** What is said at one line. */
export interface FoundLine {
  readonly line: number;
  readonly severity: Finding["severity"];
  readonly text: string;
  /** Paragraphs of Markdown, each finding's own behind a rule. */
  readonly hover: readonly string[];
}

/** Signs of a note at the end of a line: an editor draws text there, no drawings. */
const SIGNS = { error: "◆", warning: "▲", note: "·" } as const;

/** Lines of each file, in order; of several findings the worst gives the line its text. */
export function foundByLine(findings: readonly PlacedFinding[]): ReadonlyMap<string, readonly FoundLine[]> {
  const files = new Map<string, Map<number, PlacedFinding[]>>();
  for (const placed of findings) {
    // The line at fault and, where it takes two, the other.
    for (const place of [placed.site, placed.other]) {
      if (place === null) continue;
      const lines = files.get(place.file) ?? new Map<number, PlacedFinding[]>();
      files.set(place.file, lines);
      const there = lines.get(place.line) ?? [];
      if (!there.includes(placed)) lines.set(place.line, [...there, placed]);
    }
  }
  return new Map([...files].map(([file, lines]) => [file, [...lines].sort(([a], [b]) => a - b).map(([line, found]) => foundLine(line, found))]));
}

function foundLine(line: number, found: readonly PlacedFinding[]): FoundLine {
  const [{ finding: worst }] = found as [PlacedFinding];
  const more = found.length > 1 ? `, ${text.more(found.length - 1)}` : "";
  return {
    line,
    severity: worst.severity,
    text: `${SIGNS[worst.severity]} ${worst.title}${more}`,
    hover: found.map(({ finding }) => hoverOf(finding)),
  };
}

function hoverOf(finding: Finding): string {
  const { title, sentence, fix = "", evidence = [] } = finding;
  const lines = [text.hover(plain(title), plain(sentence)), ...(fix === "" ? [] : [`${text.fix} ${plain(fix)}`]), ...evidence.map((one) => `- ${plain(one)}`)];
  return lines.join("\n\n");
}

/** What stands in a session is text, not Markdown: backticks alone keep their meaning. */
function plain(words: string): string {
  return words.replaceAll(/[\\*_{}[\]()#+!|<>~]/g, String.raw`\$&`).replaceAll(/`[^`]*`/g, (code) => code.replaceAll("\\", ""));
}

