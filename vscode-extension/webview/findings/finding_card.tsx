/** One finding: its glyph, its name, its line, one sentence, what to do; in full with what it rests on. */

import type { JSX } from "preact";
import { findingColour, findingGlyph, inlineParts, stepsOf, type FoundPlace, type PlacedFinding } from "../../shared/findings";
import { findingsText as text } from "../../shared/text";
import { Glyph } from "../components/glyph";
import { SourceLink } from "../components/source_link";
import type { Ask } from "../view";

export interface FindingCardProps {
  readonly placed: PlacedFinding;
  /** In full: the others have two lines. */
  readonly open: boolean;
  /** With its steps, how it is known, and the readings that it rests on. */
  readonly grounds: boolean;
  /** It was chosen, and the views show what it selects. */
  readonly chosen: boolean;
  /** Tab stops at one of them. */
  readonly tabbable: boolean;
  /** There is room for the fix of those that are not in full. */
  readonly wide: boolean;
  readonly ask: Ask;
  readonly onChoose: () => void;
  readonly onReveal: (focus: boolean) => void;
}

export function FindingCard(props: FindingCardProps): JSX.Element {
  const { placed, open, grounds, chosen, wide, ask } = props;
  const { finding, site, other } = placed;
  const { fix = "" } = finding;
  const second = site && open ? other : null;
  return (
    <li class={`finding${open ? " open" : ""}${chosen ? " chosen" : ""}`} aria-current={chosen ? "true" : undefined} onClick={props.onChoose}>
      <Glyph id={findingGlyph(finding)} label="" color={findingColour(finding)} />
      <div class="finding-text">
        <p class={open || !wide || fix === "" ? "finding-lead two" : "finding-lead"}>
          <Name {...props} />
          {site && ` ${text.at} `}
          {site && <Line place={site} ask={ask} last={!second} />}
          {second && ` ${text.otherLine} `}
          {second && <Line place={second} ask={ask} last />}
          {site ? " " : ". "}
          <Inline words={finding.sentence} />
        </p>
        {fix !== "" && (open || wide) && (
          <p class="finding-fix dim">
            {text.fix} <Inline words={fix} />
          </p>
        )}
        {grounds && <Grounds placed={placed} />}
      </div>
    </li>
  );
}

/** The full stop stays with the last of them. */
function Line({ place, ask, last }: { readonly place: FoundPlace; readonly ask: Ask; readonly last: boolean }): JSX.Element {
  return (
    <span class="finding-line">
      <SourceLink file={place.file} line={place.line} ask={ask} />
      {last && "."}
    </span>
  );
}

/** The name is the button: what is around it can be pressed as well, with the mouse. */
function Name({ placed: { finding }, chosen, tabbable, onChoose, onReveal }: FindingCardProps): JSX.Element {
  return (
    <button
      type="button"
      class="finding-name"
      tabIndex={tabbable ? 0 : -1}
      aria-pressed={chosen}
      aria-label={text.choose(finding.title, text.severity[finding.severity])}
      onClick={(event) => {
        event.stopPropagation();
        onChoose();
      }}
      onKeyDown={(event) => {
        if (event.key !== "Enter") return;
        event.preventDefault();
        onReveal(event.ctrlKey || event.metaKey);
      }}
    >
      {finding.title}
    </button>
  );
}

/** How it is known, where it was seen, and the readings. */
function Grounds({ placed: { finding } }: { readonly placed: PlacedFinding }): JSX.Element | null {
  const { certainty = "measured", evidence = [] } = finding;
  const steps = stepsOf(finding);
  const about = [steps && text.steps(String(steps[0]), String(steps[1])), text.certainty[certainty]].filter(Boolean).join(", ");
  if (about === "" && evidence.length === 0) return null;
  return (
    <ul class="finding-grounds dim" aria-label={text.evidence}>
      {about !== "" && <li>{about}</li>}
      {evidence.map((line, at) => (
        <li key={at}>
          <Inline words={line} />
        </li>
      ))}
    </ul>
  );
}

function Inline({ words }: { readonly words: string }): JSX.Element {
  return <>{inlineParts(words).map(({ code, text: part }, at) => (code ? <code key={at}>{part}</code> : part))}</>;
}
