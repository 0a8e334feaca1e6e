/** Filter, "trouble only", and what could not be read of the filter. */

import type { JSX } from "preact";
import type { FilterProblem } from "../../shared/gradient_filter";
import type { Beside } from "../../shared/gradient_model";
import { gradientsText as text } from "../../shared/text";
import { Glyph } from "../components/glyph";
import { useOwnId } from "../own_ids";
import type { Arrangement } from "./use_arrangement";

export interface FilterBarProps {
  readonly arrangement: Arrangement;
  readonly narrow: boolean;
  /** "12 of 149" while a filter holds, else "". */
  readonly count: string;
  readonly input: { current: HTMLInputElement | null };
  /** Down from the field goes on in the tree. */
  readonly onLeave: () => void;
  /** Which norm stands beside the norm, of those that there are. */
  readonly beside: Beside | null;
  readonly offered: readonly Beside[];
}

export function FilterBar({ arrangement, narrow, count, input, onLeave, beside, offered }: FilterBarProps): JSX.Element {
  const { filter, troubleOnly, parsed, change } = arrangement;
  const problems = useOwnId();
  const set = (to: string): void => change({ filter: to, closedInFilter: [] });
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.key === "Escape" && filter !== "") set("");
    else if (event.key === "ArrowDown") onLeave();
    else return event.key.length === 1 ? event.stopPropagation() : undefined;
    event.stopPropagation();
    event.preventDefault();
  };
  return (
    <>
      <div class="grad-filter">
        <div class="grad-field">
          <input
            ref={input}
            class="field"
            type="text"
            value={filter}
            placeholder={narrow ? text.filterNarrow : text.filter}
            aria-label={text.filter}
            aria-invalid={parsed.problems.length > 0}
            aria-describedby={problems}
            title={text.filterHelp}
            spellcheck={false}
            autocomplete="off"
            onInput={(event) => set(event.currentTarget.value)}
            onKeyDown={onKeyDown}
          />
          {count !== "" && <span class="grad-count">{count}</span>}
        </div>
        <button
          type="button"
          class="tog"
          aria-pressed={troubleOnly}
          aria-label={text.troubleOnly}
          onClick={() => change({ troubleOnly: !troubleOnly, closedInFilter: [] })}
        >
          <Glyph id="warning" label="" color="" /> {narrow ? text.troubleNarrow : text.troubleOnly}
        </button>
        {offered.length > 1 && (
          <span class="grad-switch" role="group" aria-label={text.besideWhich}>
            {offered.map((one) => (
              <button key={one} type="button" class={one === beside ? "on" : ""} aria-pressed={one === beside} onClick={() => change({ beside: one })}>
                {text.beside[one]}
              </button>
            ))}
          </span>
        )}
      </div>
      <div id={problems} class="grad-problems" role="status">
        {parsed.problems.map((problem) => (
          <p key={problem.word}>{problemText(problem)}</p>
        ))}
      </div>
    </>
  );
}

function problemText(problem: FilterProblem): string {
  return problem.kind === "unknown word" ? text.unknownWord(problem.word, problem.known) : text.numberExpected(problem.word);
}
