/** The three views over the shown snapshot, and what stands in their place while there is none. */

import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { ReplayModel, Shown } from "../../shared/replay_model";
import type { Selection } from "../../shared/selection";
import { stepNumber } from "../../shared/replay_words";
import { stopSummary } from "../../shared/stop_summary";
import { replayText as text } from "../../shared/text";
import { CommandBus } from "../command_bus";
import { Glyph } from "../components/glyph";
import { useStored } from "../stored";
import { TABS } from "../tabs";
import type { Tab, ViewCommand } from "../view";
import { arrangementOf, Columns, isInSight, useColumnWidths } from "./columns";
import type { ReplayActions } from "./page";
import { StillView } from "./still_view";
import { useRecorded } from "./use_recorded";
import { viewAsk } from "./view_ask";

/** For the shell. */
export interface ViewsControl {
  readonly show: (tab: Tab) => void;
  /** To the view that has the focus, or was shown last. */
  readonly send: (command: ViewCommand) => void;
}

export interface ReplayViewsProps {
  readonly model: ReplayModel;
  readonly actions: ReplayActions;
  readonly width: number;
  /** A notebook's output, say: charts give way to rows. */
  readonly low: boolean;
  readonly control: { current: ViewsControl | null };
  readonly say: (problem: string) => void;
  /** What is selected, as a view has it. */
  readonly selectionIn: (tab: Tab) => Selection;
  readonly why: (selection: Selection) => void;
}

/** Values that are read this fast replace those before without dimming them first. */
const DIM_AFTER_MS = 120;

export function ReplayViews(props: ReplayViewsProps): JSX.Element {
  const { model, actions } = props;
  const dimmed = useLate(model.behindMs, DIM_AFTER_MS) || model.problem !== null;
  return (
    <>
      {model.problem && <Unread model={model} actions={actions} />}
      {model.shown ? <Arranged {...props} shown={model.shown} dimmed={dimmed} /> : model.problem === null && <Reading />}
    </>
  );
}

/** True once `sinceMs` is long enough ago. */
function useLate(sinceMs: number | null, ms: number): boolean {
  const [late, setLate] = useState<number | null>(null);
  useEffect(() => {
    if (sinceMs === null) return setLate(null);
    const timer = setTimeout(() => setLate(sinceMs), Math.max(0, sinceMs + ms - Date.now()));
    return () => clearTimeout(timer);
  }, [sinceMs, ms]);
  return sinceMs !== null && late === sinceMs;
}

function Reading(): JSX.Element {
  return (
    <section class="es page" aria-busy="true">
      <p>{text.readingStep}</p>
      <div class="skel" aria-hidden="true">
        <i />
        <i />
        <i />
      </div>
    </section>
  );
}

function Unread({ model, actions }: { readonly model: ReplayModel; readonly actions: ReplayActions }): JSX.Element {
  const { at, reason } = model.problem!;
  return (
    <section class="es rp-unread" role="alert">
      <h2>
        <Glyph id="warning" label="" />
        {at.kind === "step" ? text.unreadStep(stepNumber(at.step)) : text.unreadStop(at.stop)}
      </h2>
      <p>{reason}</p>
      <div class="acts">
        <button type="button" class="btn" onClick={() => actions.readAgain()}>
          {text.retry}
        </button>
      </div>
    </section>
  );
}

interface ArrangedProps extends ReplayViewsProps {
  readonly shown: Shown;
  readonly dimmed: boolean;
}

function Arranged(props: ArrangedProps): JSX.Element {
  const { model, actions, width, control, shown, say } = props;
  const arrangement = arrangementOf(width);
  const [kept, setTab] = useStored<Tab>("replay.tab", "gradients");
  const tab = TABS.includes(kept) ? kept : "gradients";
  const widths = useColumnWidths(arrangement, width);
  const buses = useMemo(() => ({ gradients: new CommandBus<ViewCommand>(), graph: new CommandBus<ViewCommand>(), held: new CommandBus<ViewCommand>() }), []);
  const root = useRef<HTMLDivElement>(null);
  const last = useRef<Tab>("gradients");
  const ask = useMemo(() => viewAsk(actions.ask, shown.at.rank), [actions.ask, shown.at.rank]);
  const recorded = useRecorded(model, actions, props.low);
  const { snapshot, previous } = shown;
  control.current = controlOf({ root, buses, last, setTab, isShown: (of) => isInSight(of, arrangement, tab) });
  const slot = (of: Tab): JSX.Element => (
    <StillView
      tab={of}
      shown={isInSight(of, arrangement, tab)}
      region={arrangement === "columns" || (arrangement === "two" && of === "gradients")}
      layered={arrangement !== "tabs"}
      width={widths.of[of]}
      dimmed={props.dimmed}
      selection={props.selectionIn(of)}
      why={props.why}
      listen={buses[of].listen}
      {...{ snapshot, previous, recorded, actions, ask, setTab, say }}
    />
  );
  return (
    <Columns
      {...{ model, snapshot, arrangement, widths, width, tab, slot, root }}
      history={recorded.history}
      totals={stopSummary(snapshot, previous).totals}
      onTab={setTab}
      onFocus={(of) => void (last.current = of)}
    />
  );
}

interface ControlParts {
  readonly root: { current: HTMLElement | null };
  readonly buses: Readonly<Record<Tab, CommandBus<ViewCommand>>>;
  readonly last: { current: Tab };
  readonly setTab: (tab: Tab) => void;
  readonly isShown: (tab: Tab) => boolean;
}

function controlOf({ root, buses, last, setTab, isShown }: ControlParts): ViewsControl {
  const focusView = (tab: Tab): void => root.current?.querySelector<HTMLElement>(`[data-view="${tab}"] .vrows, [data-view="${tab}"] [tabindex="0"]`)?.focus();
  const show = (tab: Tab): void => {
    last.current = tab;
    setTab(tab);
    setTimeout(() => focusView(tab));
  };
  const send = (command: ViewCommand): void => {
    const to = isShown(last.current) ? last.current : TABS.find(isShown)!;
    if (buses[to].dispatch(command) || to === "gradients") return;
    if (command !== "nextTrouble" && command !== "previousTrouble") return;
    show("gradients");
    setTimeout(() => buses.gradients.dispatch(command));
  };
  return { show, send };
}
