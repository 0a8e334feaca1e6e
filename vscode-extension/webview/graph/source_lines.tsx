/** A few lines of source with one marked, and the link to them. */

import type { JSX } from "preact";
import { fileName } from "../../shared/format";
import type { Site } from "../../shared/session";
import { headerText, replayText } from "../../shared/text";
import { useSource, type SourcePlace } from "./use_source";

export interface SourceProps extends SourcePlace {
  /** The marked line is where trouble was born. */
  readonly bad: boolean;
  readonly open: (focus: boolean) => void;
}

export function SourceView({ bad, open, ...place }: SourceProps): JSX.Element | null {
  const { first, lines, from } = useSource(place);
  if (lines.length === 0) return null;
  const shared = sharedIndent(lines);
  return (
    <div class="src" title={from === "recorded" ? replayText.recordedSource : undefined} onDblClick={() => open(true)}>
      {lines.map((line, i) => (
        <div key={first + i} class={first + i === place.site.line ? (bad ? "hl bad" : "hl") : ""}>
          <s>{first + i}</s>
          {line.slice(shared)}
        </div>
      ))}
      {from === "recorded" && <p class="src-from">{replayText.recordedSource}</p>}
    </div>
  );
}

/** What all lines begin with is left out: the panel is narrow. */
function sharedIndent(lines: readonly string[]): number {
  return Math.min(...lines.filter((line) => line.trim() !== "").map((line) => line.length - line.trimStart().length));
}

export interface SiteLinkProps {
  readonly site: Site;
  /** The line alone, where its file has no room. */
  readonly short?: boolean;
  readonly open: (focus: boolean) => void;
}

export function SiteLink({ site, short = false, open }: SiteLinkProps): JSX.Element {
  const name = fileName(site.file);
  return (
    <a
      role="link"
      tabIndex={short ? -1 : 0}
      title={headerText.openFile(site.file, site.line)}
      onClick={(event) => open(event.ctrlKey || event.metaKey)}
      onKeyDown={(event) => {
        if (event.key !== "Enter") return;
        event.preventDefault();
        open(event.ctrlKey || event.metaKey);
      }}
    >
      {short ? "" : name}:{site.line}
    </a>
  );
}
