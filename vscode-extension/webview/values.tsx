/** The panel with values: header, conditions, notices, tabs and the view that is shown. */

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { PanelModel, SessionModel } from "../shared/panel_model";
import type { Selection } from "../shared/selection";
import { stopSummary } from "../shared/stop_summary";
import { findingOfParameter, findingsOf } from "../shared/findings";
import { CommandBus } from "./command_bus";
import { FindingList } from "./findings/finding_list";
import { useFindings, type Chosen } from "./findings/use_findings";
import { GradientsView } from "./gradients/gradients_view";
import { GraphView } from "./graph/graph_view";
import { Header } from "./header";
import { HeldView } from "./held/held_view";
import { foldedNotices, Notices } from "./notices";
import { Failed, StopBefore } from "./states";
import { TABS, Tabs } from "./tabs";
import { useElapsed } from "./use_now";
import type { Ask, Tab, ViewCommand, ViewProps } from "./view";
import { ViewSlot } from "./view_slot";

const VIEWS: Readonly<Record<Tab, (props: ViewProps) => JSX.Element>> = { gradients: GradientsView, graph: GraphView, held: HeldView };

/** Another stop that is read this fast replaces the values without dimming them first. */
const DIM_AFTER_MS = 120;

/** For the shell. */
export interface ValuesControl {
  /** To the shown view; trouble that it does not know is looked for among the gradients. */
  readonly send: (command: ViewCommand) => void;
  readonly focusView: () => void;
  /** Chooses the finding about a parameter; false where there is none. */
  readonly chooseAbout: (parameter: number) => boolean;
}

export interface ValuesProps {
  readonly model: PanelModel;
  readonly session: SessionModel;
  readonly tab: Tab;
  readonly ask: Ask;
  readonly select: (selection: Selection) => void;
  readonly width: number;
  readonly conditions: ComponentChildren;
  readonly editing: boolean;
  readonly control: { current: ValuesControl | null };
  readonly onTab: (tab: Tab) => void;
  readonly onEdit: () => void;
  readonly breakHere: (selection: Selection) => void;
  readonly onNextNode: () => void;
  readonly why: (selection: Selection) => void;
}

export function Values(props: ValuesProps): JSX.Element {
  const { model, session, tab, ask } = props;
  const snapshot = session.snapshot!;
  const { previous, state } = session;
  const readingLong = useElapsed(session.changedMs, DIM_AFTER_MS);
  const past = state.kind === "reading" ? readingLong : state.kind !== "ready";
  const [limitsOpen, setLimitsOpen] = useState(false);
  const buses = useMemo(() => ({ gradients: new CommandBus<ViewCommand>(), graph: new CommandBus<ViewCommand>(), held: new CommandBus<ViewCommand>() }), []);
  const owner = model.selected ?? "";
  const chosen = useFindings({ findings: findingsOf(snapshot), snapshot, selection: session.selection, select: props.select, ask, owner });
  const send = useControl(props, buses, chosen);
  const viewProps = (of: Tab): ViewProps => ({
    session: model.selected ?? "",
    snapshot,
    previous,
    dimmed: past,
    selection: chosen.selectionIn(of),
    select: props.select,
    showTab: props.onTab,
    ask,
    onCommand: buses[of].listen,
    breakHere: props.breakHere,
    why: props.why,
    width: props.width,
  });
  return (
    <>
      {state.kind === "failed" && <Failed state={state} ask={ask} />}
      <Header
        {...{ session, snapshot, past, ask }}
        sessions={model.sessions}
        selected={model.selected}
        conditionCount={session.conditions.length}
        conditionsOpen={props.editing}
        limits={foldedNotices(snapshot)}
        limitsOpen={limitsOpen}
        onLimits={() => setLimitsOpen(!limitsOpen)}
        onConditions={props.onEdit}
        onTrouble={() => send("nextTrouble")}
        onNextNode={props.onNextNode}
      />
      {state.kind === "failed" && <StopBefore />}
      {props.conditions}
      <Notices snapshot={snapshot} budgetMs={model.settings.budgetMs} past={past} open={limitsOpen} ask={ask} />
      <FindingList chosen={chosen} ask={ask} width={props.width} layout="stack" dimmed={past} />
      <Tabs shown={tab} totals={stopSummary(snapshot, previous).totals} onTab={props.onTab} />
      {TABS.map((of) => {
        const View = VIEWS[of];
        return (
          <ViewSlot key={`${model.selected} ${of}`} tab={of} shown={of === tab} occasion={snapshot}>
            {() => <View {...viewProps(of)} />}
          </ViewSlot>
        );
      })}
    </>
  );
}

function useControl(props: ValuesProps, buses: Readonly<Record<Tab, CommandBus<ViewCommand>>>, chosen: Chosen): (command: ViewCommand) => void {
  const { tab, onTab, control } = props;
  const waiting = useRef<ViewCommand | null>(null);
  const send = (command: ViewCommand): void => {
    if (buses[tab].dispatch(command)) return;
    if (tab === "gradients" || (command !== "nextTrouble" && command !== "previousTrouble")) return;
    waiting.current = command;
    onTab("gradients");
  };
  const sendOrChoose = (command: ViewCommand): void => {
    const by = command === "nextTrouble" ? 1 : command === "previousTrouble" ? -1 : 0;
    // Where something was found, its names are walked; else the trouble in gradients.
    if (by === 0 || !chosen.step(by)) send(command);
  };
  const chooseAbout = (parameter: number): boolean => {
    const at = findingOfParameter(chosen.findings, parameter);
    if (at >= 0) chosen.choose(at);
    return at >= 0;
  };
  control.current = { send: sendOrChoose, chooseAbout, focusView: () => document.querySelector<HTMLElement>(".gw .view:not([hidden]) [tabindex='0']")?.focus() };
  useEffect(() => {
    if (waiting.current === null) return;
    const command = waiting.current;
    waiting.current = null;
    // The view listens from its own effects on, which have run by then.
    setTimeout(() => buses[tab].dispatch(command));
  }, [tab]);
  useEffect(() => () => void (control.current = null), []);
  return send;
}
