/** Above the timeline: marks and play, what is compared with, and what else can be shown. */

import type { ComponentChildren, JSX } from "preact";
import { formatCount } from "../../shared/format";
import type { ReplayModel } from "../../shared/replay_model";
import { momentNear, SPEEDS, type Speed } from "../../shared/replay_play";
import { replayText as text } from "../../shared/text";
import type { Sheet } from "./app";
import { chooseComparand, comparands } from "./choose_comparand";
import type { ReplayActions } from "./page";
import { askToReplay } from "./replay_step";
import { comparandName, partingOf, type ComparisonState } from "./use_comparison";

export interface ControlsProps {
  readonly model: ReplayModel;
  readonly actions: ReplayActions;
  readonly speed: Speed;
  readonly setSpeed: (speed: Speed) => void;
  readonly sheet: Sheet;
  readonly setSheet: (sheet: Sheet) => void;
  readonly comparison: ComparisonState;
  readonly narrow: boolean;
  readonly say: (problem: string) => void;
}

const ICONS = {
  previous: "M9 1 4 5 9 9ZM1 1h2v8H1z",
  next: "M1 1 6 5 1 9ZM7 1h2v8H7z",
  play: "M2 .8 9 5 2 9.2Z",
  pause: "M2 1H4.4V9H2ZM5.8 1H8.2V9H5.8Z",
} as const;

export function Controls(props: ControlsProps): JSX.Element {
  const { model, actions, speed, sheet, setSheet, say, narrow } = props;
  const { facts, offers, playing } = model;
  const toggle = (which: Sheet): void => setSheet(sheet === which ? "none" : which);
  return (
    <div class="rp-ctl" role="group" aria-label={text.controls}>
      <IconButton icon="previous" label={text.previousMark} title={text.previousMarkTitle} onPress={() => actions.toMark(-1)} />
      <button type="button" class="btn rp-play" title={playing ? text.pauseTitle : text.playTitle} onClick={() => (playing ? actions.pause() : actions.play(speed))}>
        <Icon path={playing ? ICONS.pause : ICONS.play} />
        {playing ? text.pause : text.play}
      </button>
      <IconButton icon="next" label={text.nextMark} title={text.nextMarkTitle} onPress={() => actions.toMark(1)} />
      <SpeedPicker {...props} />
      {facts && !facts.finished && (
        <button type="button" class="tog" aria-pressed={model.follow} title={text.followTitle} onClick={() => actions.follow(!model.follow)}>
          {text.follow}
        </button>
      )}
      <ComparePicker {...props} />
      {!narrow && <Legend {...props} />}
      <span class="sp" />
      <FirstParting {...props} />
      {model.comparand && (
        <Toggle on={sheet === "compare"} onPress={() => toggle("compare")}>
          {text.compare}
        </Toggle>
      )}
      {facts && facts.ranks.length > 1 && (
        <Toggle on={sheet === "ranks"} onPress={() => toggle("ranks")}>
          {text.ranksButton}
        </Toggle>
      )}
      <button type="button" class="link" aria-expanded={sheet === "steps"} onClick={() => toggle("steps")}>
        {text.showTable}
      </button>
      {offers.replayStep && (
        <button type="button" class="btn" onClick={() => askToReplay(model, actions, say)}>
          {text.replayStep}
        </button>
      )}
    </div>
  );
}

function Icon({ path }: { readonly path: string }): JSX.Element {
  return (
    <svg viewBox="0 0 10 10" class="rp-icon" aria-hidden="true">
      <path d={path} fill="currentColor" />
    </svg>
  );
}

interface IconButtonProps {
  readonly icon: keyof typeof ICONS;
  readonly label: string;
  readonly title: string;
  readonly onPress: () => void;
}

function IconButton({ icon, label, title, onPress }: IconButtonProps): JSX.Element {
  return (
    <button type="button" class="btn" aria-label={label} title={title} onClick={onPress}>
      <Icon path={ICONS[icon]} />
    </button>
  );
}

function Toggle({ on, onPress, children }: { readonly on: boolean; readonly onPress: () => void; readonly children: ComponentChildren }): JSX.Element {
  return (
    <button type="button" class="tog" aria-pressed={on} onClick={onPress}>
      {children}
    </button>
  );
}

function SpeedPicker({ model, actions, speed, setSpeed }: ControlsProps): JSX.Element {
  const choose = (value: string): void => {
    const chosen = SPEEDS.find((one) => String(one) === value) ?? 10;
    setSpeed(chosen);
    if (model.playing) actions.play(chosen);
  };
  return (
    <span class="pick">
      <select aria-label={text.speedLabel} value={String(speed)} onChange={(event) => choose(event.currentTarget.value)}>
        {SPEEDS.map((one) => (
          <option key={one} value={String(one)}>
            {text.speed(one)}
          </option>
        ))}
      </select>
    </span>
  );
}

/** Another session, another rank, another step of this one. */
function ComparePicker({ model, actions, setSheet, say }: ControlsProps): JSX.Element | null {
  const { comparand } = model;
  const offered = comparands(model);
  if (offered.length === 0) return null;
  const shown = comparand === null ? "" : "shown";
  return (
    <span class="pick rp-compare">
      <select
        aria-label={text.compareWithLabel}
        value={shown}
        onChange={(event) => {
          const { value } = event.currentTarget;
          // What is chosen is shown once it is there: until then the picker keeps what it had.
          event.currentTarget.value = shown;
          chooseComparand(value, { model, actions, setSheet, say });
        }}
      >
        {comparand === null ? <option value="">{text.compareWith}</option> : <option value="shown">{comparandName(comparand)}</option>}
        {comparand !== null && <option value="none">{text.compareNone}</option>}
        {offered.map((value) => (
          <option key={value} value={value}>
            {value === "session" ? text.compareSession : value === "step" ? text.compareStep : value}
          </option>
        ))}
      </select>
    </span>
  );
}

function Legend({ model }: ControlsProps): JSX.Element | null {
  const { comparand } = model;
  if (comparand === null || comparand.kind === "step") return null;
  return (
    <span class="rp-legend dim">
      <i class="this" />
      {text.thisRun}
      <i class="other" />
      {comparandName(comparand)}
    </span>
  );
}

/** Where the two part first, as a way to it. */
function FirstParting({ model, actions, comparison, setSheet }: ControlsProps): JSX.Element | null {
  if (comparison.kind === "none") return null;
  if (comparison.kind === "reading") return <span class="dim">{text.comparing}</span>;
  if (comparison.kind === "failed") return null;
  const parting = partingOf(comparison.result);
  if (parting === null) return <span class="dim">{text.noPart}</span>;
  const go = (): void => {
    actions.go(momentNear(model.timeline.steps, model.facts?.rank ?? 0, parting.step));
    setSheet("compare");
  };
  return (
    <span class="dim rp-parts">
      {text.firstParts}{" "}
      <button type="button" class="link mono" title={formatCount(parting.step)} onClick={go}>
        {text.firstPartsAt(parting.step, parting.name)}
      </button>
    </span>
  );
}
