/** The panel's shell: which state is shown, the header, the tabs, and what the views share. */

import type { JSX } from "preact";
import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { conditionName, withCondition } from "../shared/conditions";
import type { PanelCommand } from "../shared/messages";
import { shownSession, type PanelModel, type SessionModel } from "../shared/panel_model";
import { nameOfParameter } from "../shared/findings";
import { NOTHING, type Selection } from "../shared/selection";
import type { Condition } from "../shared/session";
import { conditionsText, findingsText } from "../shared/text";
import { announced } from "./announced";
import { Announce } from "./announce";
import { conditionFor } from "./break_here";
import type { CommandBus } from "./command_bus";
import { MessageLine } from "./components/message_line";
import { Conditions } from "./conditions";
import type { Host } from "./host";
import type { KeyCommand } from "./keyboard";
import { OwnIds, useNewIds } from "./own_ids";
import { SessionPicker } from "./session_picker";
import { StatePage } from "./states";
import { StoreContext, useStored } from "./stored";
import { TABS } from "./tabs";
import { useKeys } from "./use_keys";
import { useMessages, type Message } from "./use_message";
import { useWidth } from "./use_width";
import { Values, type ValuesControl } from "./values";
import type { Ask, Tab } from "./view";

export interface AppProps {
  readonly model: PanelModel;
  readonly host: Host;
  readonly ask: Ask;
  readonly commands: CommandBus<PanelCommand>;
  readonly onSelect: (session: string, selection: Selection) => void;
  readonly initialWidth: number;
}

export function App(props: AppProps): JSX.Element {
  return (
    <StoreContext.Provider value={props.host.store}>
      <OwnIds.Provider value={useNewIds()}>
        <Shell {...props} />
      </OwnIds.Provider>
    </StoreContext.Provider>
  );
}

function Shell({ model, host, ask: hostAsk, commands, onSelect, initialWidth }: AppProps): JSX.Element {
  const root = useRef<HTMLDivElement>(null);
  const values = useRef<ValuesControl | null>(null);
  const width = useWidth(root, initialWidth);
  const { message, say, ask } = useMessages(hostAsk);
  const [tab, setTab] = useTab();
  const [editing, setEditing] = useState(false);
  const session = shownSession(model);
  const id = model.selected ?? "";
  const select = useCallback((selection: Selection) => onSelect(id, selection), [id, onSelect]);
  const actions = useActions({ session, ask, say, select, setTab, values, budgetMs: model.settings.budgetMs });
  useEffect(() => commands.listen((command) => (actions.run(command), true)), [commands, actions]);
  useKeys(root, host, actions.run);
  const conditions = (
    <Conditions
      conditions={session.conditions}
      open={editing}
      hit={session.state.kind === "ready" ? (session.snapshot?.stop.condition ?? -1) : -1}
      onOpen={setEditing}
      onChange={(next) => void actions.setConditions(next).catch(() => undefined)}
    />
  );
  return (
    <div ref={root} class="gw" data-width={width < 420 ? "narrow" : "wide"}>
      {hasValues(session) ? (
        <Values
          {...{ model, session, tab, ask, select, width, conditions, editing }}
          control={values}
          onTab={setTab}
          onEdit={() => setEditing(!editing)}
          breakHere={actions.breakHere}
          why={actions.why}
          onNextNode={() => actions.run("stepToNextNode")}
        />
      ) : (
        <div class="page" data-scroll>
          {model.sessions.length > 1 && (
            <div class="page-head">
              <SessionPicker sessions={model.sessions} selected={model.selected} ask={ask} />
            </div>
          )}
          <StatePage session={session} ask={ask} onBreakAtNonFinite={actions.breakAtNonFinite} />
          {conditions}
        </div>
      )}
      {message && <MessageLine message={message} onDismiss={() => say(null)} />}
      <Announce {...announced(id, session)} />
    </div>
  );
}

/** Values of an earlier stop stay in sight while another is read, fails, or the program runs. */
function hasValues({ snapshot, state }: SessionModel): boolean {
  return snapshot !== null && ["ready", "reading", "stale", "running", "failed"].includes(state.kind);
}

function useTab(): readonly [Tab, (tab: Tab) => void] {
  const [stored, setTab] = useStored<Tab>("shell.tab", "gradients");
  return [TABS.includes(stored) ? stored : "gradients", setTab];
}

interface ActionContext {
  readonly session: SessionModel;
  readonly ask: Ask;
  readonly say: (message: Message | null) => void;
  readonly select: (selection: Selection) => void;
  readonly setTab: (tab: Tab) => void;
  readonly values: { current: ValuesControl | null };
  readonly budgetMs: number;
}

interface Actions {
  readonly run: (command: KeyCommand) => void;
  readonly breakHere: (selection: Selection) => void;
  readonly why: (selection: Selection) => void;
  readonly setConditions: (conditions: readonly Condition[]) => Promise<unknown>;
  /** Null while it is set. */
  readonly breakAtNonFinite: (() => Promise<unknown>) | null;
}

/** Stable functions over what is shown now, so that views are not drawn again for them. */
function useActions(context: ActionContext): Actions {
  const latest = useRef(context);
  latest.current = context;
  const stable = useMemo(() => {
    const setConditions = (conditions: readonly Condition[]): Promise<unknown> => latest.current.ask("setConditions", { conditions });
    const breakHere = (selection: Selection): void => addCondition(latest.current, selection, setConditions);
    const why = (selection: Selection): void => askWhy(latest.current, selection);
    return { setConditions, breakHere, why, run: (command: KeyCommand) => runCommand(command, latest.current, { breakHere, why }) };
  }, []);
  const { conditions } = context.session;
  const isSet = conditions.some(({ kind, enabled }) => kind === "first non-finite" && enabled !== false);
  const breakAtNonFinite = isSet ? null : () => stable.setConditions(withCondition(conditions, { kind: "first non-finite" }));
  return useMemo(() => ({ ...stable, breakAtNonFinite }), [stable, conditions]);
}

function addCondition({ session, say }: ActionContext, selection: Selection, set: Actions["setConditions"]): void {
  const condition = session.snapshot && conditionFor(selection, session.snapshot);
  if (!condition) return say({ kind: "problem", text: conditionsText.nothingToBreakAt });
  const name = conditionName(condition);
  set(withCondition(session.conditions, condition)).then(
    () => say({ kind: "done", text: conditionsText.added(name) }),
    () => undefined,
  );
}

/** The finding about the parameter is chosen; where there is none, Python is asked. */
function askWhy({ session, values, ask, say }: ActionContext, selection: Selection): void {
  const parameter = selection.kind === "parameter" ? session.snapshot?.parameters?.find(({ id }) => id === selection.id) : undefined;
  if (!parameter) return say({ kind: "problem", text: findingsText.whyNoParameter });
  if (values.current?.chooseAbout(parameter.id)) return;
  const name = nameOfParameter(parameter, session.snapshot?.parameters ?? []);
  say({ kind: "answer", text: findingsText.whyAsking(name) });
  ask("why", { name }).then((text) => say({ kind: "answer", text }), () => undefined);
}

function runCommand(command: KeyCommand, context: ActionContext, { breakHere, why }: Pick<Actions, "breakHere" | "why">): void {
  const { session, ask, select, setTab, values, budgetMs } = context;
  const quietly = (request: Promise<unknown>): void => void request.catch(() => undefined);
  switch (command) {
    case "gradients":
    case "graph":
    case "held":
      return setTab(command);
    case "breakHere":
      return breakHere(session.selection);
    case "why":
      return why(session.selection);
    case "stepToNextNode":
      return session.state.kind === "ready" && session.snapshot?.stop.in_backward ? quietly(ask("stepToNextNode", {})) : undefined;
    case "refresh":
      return quietly(ask("retry", { budgetMs, parts: ["gradients", "histograms", "graph", "held"] }));
    case "closeDock":
      if (session.selection.kind !== "none") select(NOTHING);
      return values.current?.focusView();
    default:
      return values.current?.send(command);
  }
}
