/** The findings: under each other in the panel, in one row of three in the editor. */

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { findingKey, type PlacedFinding } from "../../shared/findings";
import { findingsText as text } from "../../shared/text";
import type { Ask } from "../view";
import { FindingCard } from "./finding_card";
import type { Chosen } from "./use_findings";

export interface FindingListProps {
  readonly chosen: Chosen;
  readonly ask: Ask;
  /** Of the list. */
  readonly width: number;
  readonly layout: "stack" | "row";
  readonly dimmed?: boolean;
  /** There is little height. */
  readonly low?: boolean;
}

/** Under each other so many are shown until more are asked for. */
const STACKED = 3;
const NARROW = 420;

/** Nothing stands there where nothing is found. */
export function FindingList(props: FindingListProps): JSX.Element | null {
  if (props.chosen.findings.length === 0) return null;
  return props.layout === "row" ? <Row {...props} /> : <Stack {...props} />;
}

function Stack(props: FindingListProps): JSX.Element {
  const { findings, at } = props.chosen;
  const [all, setAll] = useState(false);
  const more = findings.length - STACKED;
  const whole = all || at >= STACKED;
  const shown = whole ? findings : findings.slice(0, STACKED);
  return (
    <section class={`findings${props.dimmed ? " dimmed" : ""}`} aria-label={text.count(findings.length)} data-scroll>
      <Cards {...props} shown={shown} from={0} />
      {more > 0 && at < STACKED && (
        <button type="button" class="link findings-more" aria-expanded={whole} onClick={() => setAll(!all)}>
          {whole ? text.fewer : text.more(more)}
        </button>
      )}
    </section>
  );
}

/** As many as there is room for; the others are turned to. */
function Row(props: FindingListProps): JSX.Element {
  const { findings, at } = props.chosen;
  const columns = Math.min(findings.length, props.width >= 1000 ? 3 : props.width >= 640 ? 2 : 1);
  const [turned, setTurned] = useState(0);
  // What is chosen by key is turned to.
  useEffect(() => {
    if (at >= 0) setTurned(Math.floor(at / columns) * columns);
  }, [at, columns]);
  const from = Math.min(turned, Math.floor((findings.length - 1) / columns) * columns);
  const shown = findings.slice(from, from + columns);
  const turn = (by: number): void => setTurned((from + by + findings.length) % findings.length);
  return (
    <section class={`findings row${props.dimmed ? " dimmed" : ""}${props.low ? " low" : ""}`} aria-label={text.count(findings.length)} style={{ "--columns": String(columns) }}>
      <Cards {...props} shown={shown} from={from} />
      {findings.length > columns && (
        <div class="findings-pages">
          <button type="button" class="btn quiet" aria-label={text.previous} title={text.previous} disabled={from === 0} onClick={() => turn(-columns)}>
            ‹
          </button>
          <span class="dim">{text.pages(from + 1, from + shown.length, findings.length)}</span>
          <button type="button" class="btn quiet" aria-label={text.next} title={text.next} disabled={from + columns >= findings.length} onClick={() => turn(columns)}>
            ›
          </button>
        </div>
      )}
    </section>
  );
}

interface CardsProps extends FindingListProps {
  readonly shown: readonly PlacedFinding[];
  /** Position of the first of them. */
  readonly from: number;
}

function Cards({ chosen, ask, width, layout, shown, from }: CardsProps): JSX.Element {
  const list = useRef<HTMLUListElement>(null);
  const { at, choose, reveal } = chosen;
  const open = layout === "row" ? at : Math.max(0, at);
  const stop = at >= from && at < from + shown.length ? at : from;
  // Chosen by key, in a list that scrolls.
  useEffect(() => list.current?.querySelector(".finding.chosen")?.scrollIntoView?.({ block: "nearest" }), [at]);
  const onKeyDown = (event: KeyboardEvent): void => {
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    const buttons = [...(list.current?.querySelectorAll<HTMLElement>(".finding-name") ?? [])];
    const here = buttons.indexOf(document.activeElement as HTMLElement);
    const next = step === undefined || here < 0 ? undefined : buttons[here + step];
    if (next === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    next.focus();
    choose(from + here + step!);
  };
  return (
    <ul ref={list} class="finding-list" onKeyDown={onKeyDown}>
      {shown.map((placed, index) => (
        <FindingCard
          key={`${findingKey(placed)} ${from + index}`}
          placed={placed}
          open={from + index === open || layout === "row"}
          grounds={from + index === open}
          chosen={from + index === at}
          tabbable={from + index === stop}
          wide={width >= NARROW}
          ask={ask}
          onChoose={() => choose(from + index)}
          onReveal={(focus) => {
            choose(from + index);
            reveal(from + index, focus);
          }}
        />
      ))}
    </ul>
  );
}
