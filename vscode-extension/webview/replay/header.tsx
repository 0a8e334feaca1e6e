/** Which moment of which file is shown, what recorded it, and how much of note it holds. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { fileName, formatBytes, formatCount, formatPercent } from "../../shared/format";
import type { GlyphId } from "../../shared/glyphs";
import type { MarkKind, SessionFacts } from "../../shared/replay";
import { currentStep, marksAt, type ReplayModel } from "../../shared/replay_model";
import { momentOfMark } from "../../shared/replay_play";
import { lossScaleAt, scaleWords, titleOf } from "../../shared/replay_words";
import { headerText, replayText as text } from "../../shared/text";
import { Glyph } from "../components/glyph";
import type { ReplayActions } from "./page";

export interface ReplayHeaderProps {
  readonly model: ReplayModel;
  readonly actions: ReplayActions;
  readonly narrow: boolean;
  readonly say: (problem: string) => void;
}

/** The glyph of each kind of mark, in the header and on the timeline. */
export const MARK_GLYPHS: Readonly<Record<MarkKind, GlyphId>> = { nonfinite: "NaN", stop: "stop", interrupted: "warning", skipped: "skipped", gap: "unseen", variant: "variant", finding: "warning" };

const COUNTED: readonly MarkKind[] = ["nonfinite", "stop", "interrupted", "skipped", "gap"];

export function ReplayHeader(props: ReplayHeaderProps): JSX.Element {
  const { model, narrow } = props;
  const facts = model.facts!;
  const [limits, setLimits] = useState(false);
  return (
    <>
      <header class="rp-hd">
        <h2 class="where" title={titleOf(model)}>
          {titleOf(model)}
        </h2>
        <Scaling model={model} narrow={narrow} />
        <span class="dim clip" title={factsTitle(facts)}>
          {factsLine(facts, narrow)}
        </span>
        <span class="sp" />
        {facts.ranks.length > 1 && <RankPicker {...props} facts={facts} />}
        {!narrow && (
          <span class="rp-detail" title={text.detailTitle}>
            {headerText.detail[facts.run.detail]}
          </span>
        )}
        {Number.isFinite(facts.cost) && (
          <span class="dim" title={text.costTitle}>
            {narrow ? formatPercent(facts.cost) : text.cost(formatPercent(facts.cost))}
          </span>
        )}
        <MarkCounts {...props} facts={facts} />
        {facts.notices.length > 0 && <Limits count={facts.notices.length} open={limits} onOpen={() => setLimits(!limits)} />}
      </header>
      {limits && <LimitList facts={facts} />}
    </>
  );
}

/** What a GradScaler did in the step: its scale, and that it skipped the update. */
function Scaling({ model, narrow }: Pick<ReplayHeaderProps, "model" | "narrow">): JSX.Element | null {
  const scale = lossScaleAt(model);
  const skipped = marksAt(model, currentStep(model)).marks.some(({ kind }) => kind === "skipped");
  return (
    <>
      {skipped && (
        <span class="rp-skipped c-none" title={text.skippedTitle}>
          <Glyph id="skipped" label={narrow ? text.skippedWord : ""} /> {!narrow && text.skippedWord}
        </span>
      )}
      {scale !== null && (
        <span class="rp-detail" title={text.lossScaleTitle} aria-label={text.lossScale(scaleWords(scale))}>
          {narrow ? text.lossScaleNarrow(scaleWords(scale)) : text.lossScale(scaleWords(scale))}
        </span>
      )}
    </>
  );
}

/** Ways a recording ends that need no word. */
const IN_ORDER: readonly string[] = ["", "stopped", "process exit", "the program ended", "the cell ended"];

/** "gpt12.gradwatch · 41.2 MiB · recorded 14:02, 2 ranks". */
function factsLine({ name, bytes, run, ranks, finished, finish }: SessionFacts, narrow: boolean): string {
  if (narrow) return `${name} · ${formatBytes(bytes)}`;
  const count = Math.max(ranks.length, run.world_size > 1 ? run.world_size : 0);
  const recorded = text.recordedAt(startOf(run.start_ns));
  const state = !finished ? text.notFinished : finish === null || IN_ORDER.includes(finish.reason) ? "" : text.interrupted(finish.reason);
  return [name, formatBytes(bytes), [recorded, count > 1 ? text.ranks(count) : "", state].filter(Boolean).join(", ")].join(" · ");
}

/** The time alone where it was today. */
function startOf(start: bigint | number): string {
  const date = new Date(Number(start) / 1e6);
  if (Number.isNaN(date.getTime())) return "—";
  const time = date.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  return date.toDateString() === new Date().toDateString() ? time : `${date.toLocaleDateString("en-CA")} ${time}`;
}

function factsTitle({ run }: SessionFacts): string {
  const machine = [run.hostname, run.platform, ...run.devices].filter(Boolean).join(", ");
  const versions = `Python ${run.python_version}, torch ${run.torch_version}, gradwatch ${run.gradwatch_version}`;
  return [run.argv.map((part, at) => (at === 0 ? fileName(part) : part)).join(" "), machine, versions].filter(Boolean).join("\n");
}

function RankPicker({ facts, actions, say }: ReplayHeaderProps & { readonly facts: SessionFacts }): JSX.Element {
  const choose = (rank: number): void => {
    actions.chooseRank(rank).catch((error: unknown) => say(error instanceof Error ? error.message : String(error)));
  };
  return (
    <span class="pick">
      <select aria-label={text.rankLabel} value={String(facts.rank)} onChange={(event) => choose(Number(event.currentTarget.value))}>
        {facts.ranks.map(({ rank, failure, name }, at) => (
          <option key={at} value={failure === null ? String(rank) : `failed ${at}`} disabled={failure !== null} title={failure ?? name}>
            {failure === null ? text.rank(rank) : text.rankFailed(rank >= 0 ? text.rank(rank) : name)}
          </option>
        ))}
      </select>
    </span>
  );
}

/** A press goes to the next of them. */
function MarkCounts({ model, actions, facts }: ReplayHeaderProps & { readonly facts: SessionFacts }): JSX.Element {
  const present = COUNTED.map((kind) => ({ kind, marks: facts.marks.filter((mark) => mark.kind === kind) })).filter(({ marks }) => marks.length > 0);
  const goTo = (marks: SessionFacts["marks"]): void => {
    const here = model.at?.kind === "step" ? model.at.step : -1;
    const next = marks.find(({ step }) => step > here) ?? marks[0]!;
    actions.go(momentOfMark(next, facts.rank, model.timeline.steps));
  };
  return (
    <span class="badges">
      {present.map(({ kind, marks }) => {
        const name = text.marks[kind](marks.length);
        return (
          <button key={kind} type="button" class="badge" aria-label={name} title={name} onClick={() => goTo(marks)}>
            <Glyph id={MARK_GLYPHS[kind]} label="" />
            {formatCount(marks.length)}
          </button>
        );
      })}
    </span>
  );
}

function Limits({ count, open, onOpen }: { readonly count: number; readonly open: boolean; readonly onOpen: () => void }): JSX.Element {
  return (
    <button type="button" class="btn quiet" aria-expanded={open} aria-label={text.limits(count)} title={text.limits(count)} onClick={onOpen}>
      <Glyph id="unseen" label="" />
      <small>{formatCount(count)}</small>
    </button>
  );
}

const MOST_NOTICES = 200;

function LimitList({ facts }: { readonly facts: SessionFacts }): JSX.Element {
  const shown = facts.notices.slice(0, MOST_NOTICES);
  return (
    <div class="notices" data-scroll>
      <ul class="limits">
        {shown.map((notice, at) => (
          <li key={at}>
            <Glyph id={notice.kind === "probe stopped" || notice.kind === "recorder" ? "warning" : "unseen"} label="" />
            <span>{notice.text}</span>
          </li>
        ))}
        {shown.length < facts.notices.length && <li>{text.moreRows(formatCount(facts.notices.length - shown.length))}</li>}
      </ul>
    </div>
  );
}
