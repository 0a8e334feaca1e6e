/** The page's shell: which state is shown, header, timeline, sheets, views, and the keys of them all. */

import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { ReplayCommand } from "../../shared/replay";
import { findingOfParameter, nameOfParameter, stepsOf, type PlacedFinding } from "../../shared/findings";
import { currentStep, type ReplayModel } from "../../shared/replay_model";
import { momentNear, SPEEDS, type Speed } from "../../shared/replay_play";
import { playheadWords, stepWords, titleOf } from "../../shared/replay_words";
import { NOTHING, type Selection } from "../../shared/selection";
import { findingsText, replayText as text } from "../../shared/text";
import { Announce } from "../announce";
import type { CommandBus } from "../command_bus";
import { MessageLine } from "../components/message_line";
import { FindingList } from "../findings/finding_list";
import { useFindings, type Chosen } from "../findings/use_findings";
import { OwnIds, useNewIds } from "../own_ids";
import { StoreContext, useStored } from "../stored";
import type { Message } from "../use_message";
import type { Ask, ViewCommand } from "../view";
import { chooseComparand, comparands } from "./choose_comparand";
import { CompareSheet } from "./compare_sheet";
import { Controls } from "./controls";
import { ReplayHeader } from "./header";
import type { ReplayHost } from "./host";
import { runKey, useReplayKeys, type ReplayKey } from "./keys";
import type { ReplayActions } from "./page";
import { RanksSheet } from "./ranks_sheet";
import { askToReplay } from "./replay_step";
import { EmptyPage, FailedPage, LoadingPage } from "./states";
import { StepsTable } from "./steps_table";
import { Timeline } from "./timeline";
import { useComparison } from "./use_comparison";
import { useSize } from "./use_size";
import { viewAsk } from "./view_ask";
import { ReplayViews, type ViewsControl } from "./views";

export interface ReplayAppProps {
  readonly model: ReplayModel;
  readonly host: ReplayHost;
  readonly actions: ReplayActions;
  readonly commands: CommandBus<ReplayCommand>;
}

/** What stands between the timeline and the views when it is asked for. */
export type Sheet = "none" | "compare" | "ranks" | "steps";

export function ReplayApp(props: ReplayAppProps): JSX.Element {
  return (
    <StoreContext.Provider value={props.host.store}>
      <OwnIds.Provider value={useNewIds()}>
        <Shell {...props} />
      </OwnIds.Provider>
    </StoreContext.Provider>
  );
}

const NO_FINDINGS: readonly PlacedFinding[] = [];

/** Under this height the timeline is drawn small. */
const LOW = 640;

function Shell({ model, host, actions, commands }: ReplayAppProps): JSX.Element {
  const root = useRef<HTMLDivElement>(null);
  const views = useRef<ViewsControl | null>(null);
  const { width, height } = useSize(root);
  const [speed, setSpeed] = useSpeed();
  const [sheet, setSheet] = useState<Sheet>("none");
  const [message, setMessage] = useState<Message | null>(null);
  const [say, answer] = useMemo(() => [(text: string): void => setMessage({ kind: "problem", text }), (text: string): void => setMessage({ kind: "answer", text })] as const, []);
  const comparison = useComparison(actions.ask, model);
  const rank = model.facts?.rank ?? 0;
  const ask = useMemo(() => viewAsk(actions.ask, rank), [actions.ask, rank]);
  const chosen = useFindings({
    findings: model.facts?.findings ?? NO_FINDINGS,
    snapshot: model.shown?.snapshot ?? null,
    selection: model.selection,
    select: actions.select,
    ask: reporting(ask, say),
    owner: String(rank),
    onChoose: (placed) => goToFinding(placed, model, actions),
  });
  const context = { model, actions, speed, sheet, setSheet, say, answer, views, chosen, ask };
  const latest = useRef(context);
  latest.current = context;
  const run = useMemo(() => (key: ReplayKey): void => act(key, latest.current), []);
  useEffect(() => commands.listen((command) => (run(command), true)), [commands]);
  useReplayKeys(root, host, model.offers.bindsKeys, run);
  const why = useMemo(() => (selection: Selection): void => askWhy(latest.current, selection), []);
  const narrow = width < 700;
  return (
    <div ref={root} class="gw replay" data-width={width < 420 ? "narrow" : "wide"}>
      {model.phase === "loading" ? (
        <LoadingPage {...model.loading} />
      ) : model.phase === "failed" ? (
        <FailedPage {...model.failure} />
      ) : (
        <>
          <ReplayHeader model={model} actions={actions} narrow={narrow} say={say} />
          {model.timeline.steps.length === 0 && model.at === null ? (
            <EmptyPage finished={model.facts?.finished ?? false} />
          ) : (
            <>
              <FindingList chosen={chosen} ask={reporting(ask, say)} width={width} layout="row" low={height < LOW} />
              <section class="rp-time" aria-label={text.timeline}>
                <Controls {...{ model, actions, speed, setSpeed, sheet, setSheet, comparison, narrow, say }} />
                <Timeline model={model} actions={actions} width={width} compact={height < LOW || narrow} narrow={narrow} onKey={run} />
              </section>
              {sheet === "steps" && <StepsTable model={model} actions={actions} onClose={() => setSheet("none")} />}
              {sheet === "compare" && <CompareSheet model={model} actions={actions} comparison={comparison} onClose={() => setSheet("none")} />}
              {sheet === "ranks" && <RanksSheet model={model} actions={actions} onClose={() => setSheet("none")} say={say} />}
              <ReplayViews model={model} actions={actions} width={width} low={height < LOW} control={views} say={say} selectionIn={chosen.selectionIn} why={why} />
            </>
          )}
        </>
      )}
      {message && <MessageLine message={message} onDismiss={() => setMessage(null)} />}
      <Announce text={announcedOf(model)} occasion={playheadWords(model)} />
    </div>
  );
}

/** A slider that has the focus says its own value; while playing there would be no end of it. */
function announcedOf(model: ReplayModel): string {
  if (model.phase !== "open" || model.playing || model.at === null || model.behindMs !== null) return "";
  return document.activeElement?.getAttribute("role") === "slider" ? "" : text.announced(titleOf(model), stepWords(model).join(", "));
}

/** The commands of a chart are those of the view that has the focus; else of the timeline. */
function isInView(): boolean {
  return document.activeElement?.closest(".rp-view") != null;
}

function useSpeed(): readonly [Speed, (speed: Speed) => void] {
  const [kept, keep] = useStored<number>("replay.speed", 10);
  return [SPEEDS.find((speed) => speed === kept) ?? 10, keep];
}

interface Context {
  readonly model: ReplayModel;
  readonly actions: ReplayActions;
  readonly speed: Speed;
  readonly sheet: Sheet;
  readonly setSheet: (sheet: Sheet) => void;
  readonly say: (problem: string) => void;
  readonly answer: (text: string) => void;
  readonly views: { current: ViewsControl | null };
  readonly chosen: Chosen;
  readonly ask: Ask;
}

/** What cannot be done is said at the foot. */
function reporting(ask: Ask, say: (problem: string) => void): Ask {
  return ((method, params) =>
    ask(method, params).catch((error: unknown) => {
      say(error instanceof Error ? error.message : String(error));
      throw error;
    })) as Ask;
}

/** To the first step that it was seen in, unless the playhead stands among them. */
function goToFinding({ finding }: PlacedFinding, model: ReplayModel, actions: ReplayActions): void {
  const steps = stepsOf(finding);
  const here = currentStep(model);
  if (steps === null || (here >= steps[0] && here <= steps[1])) return;
  actions.go(momentNear(model.timeline.steps, model.facts?.rank ?? 0, steps[0]));
}

function askWhy({ model, chosen, ask, say, answer }: Context, selection: Selection): void {
  const parameter = selection.kind === "parameter" ? model.shown?.snapshot.parameters?.find(({ id }) => id === selection.id) : undefined;
  if (!parameter) return say(findingsText.whyNoParameter);
  const at = findingOfParameter(chosen.findings, parameter.id);
  if (at >= 0) return chosen.choose(at);
  const name = nameOfParameter(parameter, model.shown?.snapshot.parameters ?? []);
  if (model.offers.why !== true) return answer(findingsText.whyInTerminal(name));
  answer(findingsText.whyAsking(name));
  ask("why", { name }).then(answer, (error: unknown) => say(error instanceof Error ? error.message : String(error)));
}

function act(key: ReplayKey, context: Context): void {
  const { model, actions, speed, sheet, setSheet, say, views, chosen } = context;
  switch (key) {
    case "gradients":
    case "graph":
    case "held":
      return views.current?.show(key);
    case "why":
      return askWhy(context, model.selection);
    case "nextTrouble":
    case "previousTrouble":
      return chosen.step(key === "nextTrouble" ? 1 : -1) ? undefined : views.current?.send(key satisfies ViewCommand);
    case "filter":
      return views.current?.send(key satisfies ViewCommand);
    case "showAsTable":
      return isInView() ? views.current?.send(key) : setSheet(sheet === "steps" ? "none" : "steps");
    case "compare":
      return model.comparand === null ? compareFirst(context) : setSheet(sheet === "compare" ? "none" : "compare");
    case "closeDock":
      return sheet !== "none" ? setSheet("none") : model.selection.kind !== "none" ? actions.select(NOTHING) : undefined;
    case "play":
      return model.playing ? actions.pause() : actions.play(speed);
    case "follow":
      return actions.follow(!model.follow);
    case "replayStep":
      return askToReplay(model, actions, say);
    default:
      return runKey(key, actions);
  }
}

/** With nothing to compare with yet: what the picker offers first. */
function compareFirst(context: Context): void {
  const [first] = comparands(context.model);
  if (first !== undefined) chooseComparand(first, context);
}
