/** Where the program stands: what stopped it, how far backward has come, which process, what watching costs. */

import type { JSX } from "preact";
import { formatCount, formatDuration, formatPercent } from "../shared/format";
import { glyphWord } from "../shared/glyphs";
import type { SessionModel } from "../shared/panel_model";
import type { Recording, Snapshot, Stop } from "../shared/session";
import type { PanelState, SessionItem } from "../shared/state";
import { progressOf, runningName, stopPlace, stopSummary, type Progress, type Trouble } from "../shared/stop_summary";
import { headerText as text, noticesText, stateText } from "../shared/text";
import { ActionButton } from "./components/action_button";
import { Glyph } from "./components/glyph";
import { SourceLink } from "./components/source_link";
import { SessionPicker } from "./session_picker";
import { LeftBehind, ReadingAgain } from "./states";
import type { Ask } from "./view";

export interface HeaderProps {
  readonly session: SessionModel;
  readonly snapshot: Snapshot;
  /** The program went on, or another stop is read. */
  readonly past: boolean;
  readonly sessions: readonly SessionItem[];
  readonly selected: string | null;
  readonly conditionCount: number;
  readonly conditionsOpen: boolean;
  readonly ask: Ask;
  /** Limits of what can be seen, spelt out under the header when asked for. */
  readonly limits: number;
  readonly limitsOpen: boolean;
  readonly onLimits: () => void;
  readonly onConditions: () => void;
  readonly onTrouble: (state: Trouble) => void;
  readonly onNextNode: () => void;
}

export function Header(props: HeaderProps): JSX.Element {
  const { stop } = props.snapshot;
  const progress = progressOf(props.snapshot);
  return (
    <header class={`hd${props.past ? " past" : ""}`}>
      <div class="r">
        <Title stop={stop} state={props.past ? props.session.state.kind : "ready"} ask={props.ask} />
        <span class="sp" />
        <Badges {...props} />
      </div>
      <Place snapshot={props.snapshot} progress={progress} ask={props.ask} />
      {stop.reason && (
        <p class="reason">
          <Glyph id="break" label="" color="c-accent" />
          <span>{stop.reason}</span>
        </p>
      )}
      {progress && <ProgressBar progress={progress} />}
      <Actions {...props} />
    </header>
  );
}

interface TitleProps {
  readonly stop: Stop;
  readonly state: PanelState["kind"];
  readonly ask: Ask;
}

/** Never "paused" while the program runs: the values keep the name of their stop. */
function Title({ stop, state, ask }: TitleProps): JSX.Element {
  const left = state === "stale" || state === "running";
  return (
    <h2 class="where">
      <Glyph id={left ? "play" : state === "reading" ? "pending" : "stop"} label="" {...(state === "failed" ? { color: "c-mid" } : {})} />
      {left ? (
        stateText.running
      ) : state === "reading" ? (
        stateText.reading
      ) : stop.in_backward ? (
        text.pausedInBackward
      ) : (
        <span>
          {text.pausedAt} <SourceLink file={stop.file} line={stop.line} ask={ask} />
        </span>
      )}
    </h2>
  );
}

/** How many gradients are in trouble, by glyph. A press goes to the next of them. */
function Badges({ session, snapshot, onTrouble }: HeaderProps): JSX.Element {
  const { trouble } = stopSummary(snapshot, session.previous);
  return (
    <span class="badges">
      {trouble.map(({ state, count }) => {
        const name = text.trouble(count, glyphWord(state));
        return (
          <button key={state} type="button" class="badge" aria-label={name} title={name} onClick={() => onTrouble(state)}>
            <Glyph id={state} label="" />
            {formatCount(count)}
          </button>
        );
      })}
    </span>
  );
}

interface PlaceProps {
  readonly snapshot: Snapshot;
  readonly progress: Progress | null;
  readonly ask: Ask;
}

function Place({ snapshot, progress, ask }: PlaceProps): JSX.Element {
  const { stop } = snapshot;
  if (!stop.in_backward) {
    return (
      <div class="r base">
        <code class="clip">{stop.function}</code>
        {stop.step >= 0 && <span class="dim">{text.step(stop.step)}</span>}
        <span class="sp" />
        {stop.thread_name !== "" && stop.thread_name !== "MainThread" && <span class="dim clip hide-n">{stop.thread_name}</span>}
      </div>
    );
  }
  const place = stopPlace(snapshot);
  return (
    <div class="r base">
      <code class="clip">{runningName(snapshot) ?? stop.function}</code>
      {progress && <NodeCount progress={progress} />}
      <span class="sp" />
      {place && (
        <>
          <SourceLink file={place.file} line={place.line} ask={ask} />
          {place.of && <span class="dim clip first hide-n">{"module" in place.of ? place.of.module : text.inFunction(place.of.function)}</span>}
        </>
      )}
    </div>
  );
}

function NodeCount({ progress }: { readonly progress: Progress }): JSX.Element {
  const [at, of] = [formatCount(progress.reached), formatCount(progress.of)];
  return (
    <span class="dim">
      <span class="hide-n">{text.node(at, of)}</span>
      <span class="only-n">{text.nodeNarrow(at, of)}</span>
    </span>
  );
}

/** Backward runs from the loss, at the right, to the inputs, at the left. */
function ProgressBar({ progress: { reached, of, share } }: { readonly progress: Progress }): JSX.Element {
  const width = `${(100 * share).toFixed(2)}%`;
  const name = text.progress(formatCount(reached), formatCount(of));
  return (
    <div class="prog" role="progressbar" aria-valuemin={0} aria-valuenow={reached} aria-valuemax={of} aria-label={name} title={name}>
      <i style={{ width }} />
      <b style={{ right: width }} />
    </div>
  );
}

function Actions(props: HeaderProps): JSX.Element {
  const { snapshot, session, conditionCount, past } = props;
  const left = session.state.kind === "stale" || session.state.kind === "running";
  return (
    <div class="r actions">
      <SessionPicker sessions={props.sessions} selected={props.selected} distributed={snapshot.run.world_size > 1} ask={props.ask} />
      {left ? (
        <LeftBehind session={session} />
      ) : past && session.state.kind === "reading" ? (
        <ReadingAgain session={session} budgetMs={session.state.budgetMs} />
      ) : (
        <Cost snapshot={snapshot} />
      )}
      <span class="sp" />
      {props.limits > 0 && <Limits {...props} />}
      <button
        type="button"
        class="btn"
        aria-expanded={props.conditionsOpen}
        aria-label={text.conditionsTitle(conditionCount)}
        title={text.conditionsTitle(conditionCount)}
        onClick={props.onConditions}
      >
        <Glyph id="break" label="" />
        <span class="hide-n">{text.conditions}</span>
        {conditionCount > 0 && <small>{conditionCount}</small>}
      </button>
      {left && <ActionButton label={stateText.pause} onPress={() => props.ask("pause", {})} />}
      {snapshot.stop.in_backward && !left && (
        <button type="button" class="btn" aria-label={text.nextNode} title={text.nextNodeTitle} disabled={past} onClick={props.onNextNode}>
          <Glyph id="next" label="" />
          <span class="hide-n">{text.nextNode}</span>
        </button>
      )}
    </div>
  );
}

function Limits({ limits, limitsOpen, onLimits }: HeaderProps): JSX.Element {
  const name = noticesText.limits(limits);
  return (
    <button type="button" class="btn quiet" aria-expanded={limitsOpen} aria-label={name} title={name} onClick={onLimits}>
      <Glyph id="unseen" label="" />
      <small>{limits}</small>
    </button>
  );
}

/** What the recording costs the run; without one, what this answer took of the stop. */
function Cost({ snapshot }: { readonly snapshot: Snapshot }): JSX.Element {
  if (snapshot.recording) return <RecordingCost recording={snapshot.recording} />;
  const parts = Object.entries(snapshot.cost_ms ?? {});
  const total = parts.reduce((sum, [, ms]) => sum + ms, 0);
  const title = text.readTitle(parts.map(([part, ms]) => `${part} ${formatDuration(ms)}`).join(", "));
  return <span class="dim clip" title={title}>{text.readIn(formatDuration(total))}</span>;
}

function RecordingCost({ recording }: { readonly recording: Recording }): JSX.Element {
  const { path, detail, steps, cost } = recording;
  return (
    <span class="dim clip" title={text.recordingTitle(path, formatCount(steps))}>
      <span class="hide-n">{text.recording(text.detail[detail], formatPercent(cost))}</span>
      <span class="only-n">{text.costs(formatPercent(cost))}</span>
    </span>
  );
}
