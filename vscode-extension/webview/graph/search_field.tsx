/** Finds nodes: Enter and Shift+Enter walk the matches, Escape gives the whole graph back. */

import type { JSX } from "preact";
import { formatCount } from "../../shared/format";
import { graphText } from "../../shared/text";

export interface SearchFieldProps {
  readonly query: string;
  readonly setQuery: (query: string) => void;
  readonly count: number;
  /** Which match is active, from 0; -1 for none. */
  readonly at: number;
  readonly go: (step: 1 | -1) => void;
  readonly openAll: () => void;
  readonly leave: () => void;
  readonly field: { current: HTMLInputElement | null };
}

export function SearchField(props: SearchFieldProps): JSX.Element {
  const { query, setQuery, field } = props;
  return (
    <input
      ref={field}
      class="field"
      type="text"
      role="searchbox"
      spellcheck={false}
      placeholder={graphText.find}
      aria-label={graphText.find}
      title={graphText.findTitle}
      value={query}
      onInput={(event) => setQuery(event.currentTarget.value)}
      onKeyDown={(event) => onKey(event, props)}
    />
  );
}

/** How many nodes match, and ways through them; nothing while no query is typed. */
export function Matches({ query, count, at, go, openAll }: SearchFieldProps): JSX.Element | null {
  if (query.trim() === "") return null;
  const text = at < 0 ? graphText.matchesNotAt(count) : graphText.matches(formatCount(at + 1), formatCount(count));
  return (
    <div class="graph-matches">
      <span role="status">{count === 0 ? graphText.noMatch : text}</span>
      {count > 0 && (
        <>
          <button class="step all" type="button" title={graphText.openMatchesTitle} onClick={openAll}>
            {graphText.openMatches}
          </button>
          <Step label={graphText.previousMatch} path="M1 5.5 4 2.5 7 5.5" onClick={() => go(-1)} />
          <Step label={graphText.nextMatch} path="M1 2.5 4 5.5 7 2.5" onClick={() => go(1)} />
        </>
      )}
    </div>
  );
}

function Step({ label, path, onClick }: { label: string; path: string; onClick: () => void }): JSX.Element {
  return (
    <button class="step" type="button" aria-label={label} title={label} onClick={onClick}>
      <svg viewBox="0 0 8 8" aria-hidden="true">
        <path d={path} />
      </svg>
    </button>
  );
}

function onKey(event: KeyboardEvent, { query, setQuery, go, leave }: SearchFieldProps): void {
  if (event.key === "Enter") go(event.shiftKey ? -1 : 1);
  else if (event.key === "Escape" && query !== "") setQuery("");
  else if (event.key === "ArrowDown" || event.key === "Escape") leave();
  else {
    event.stopPropagation(); // letters are text here, not the panel's keys
    return;
  }
  event.preventDefault();
  event.stopPropagation();
}
