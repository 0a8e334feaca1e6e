/** How the views stand: three columns, two with Held beside Graph as a tab, or three tabs. */

import type { JSX } from "preact";
import { formatCount } from "../../shared/format";
import type { GradientHistory } from "../../shared/gradient_history";
import type { ReplayModel } from "../../shared/replay_model";
import type { Snapshot } from "../../shared/session";
import type { StopSummary } from "../../shared/stop_summary";
import { replayText as text } from "../../shared/text";
import { useStored } from "../stored";
import { Tabs, TABS } from "../tabs";
import type { Tab } from "../view";
import { Splitter } from "./splitter";

/** Side by side from 1300 px, Held as a tab beside Graph from 1000, three tabs below. */
export type Arrangement = "columns" | "two" | "tabs";

export function arrangementOf(width: number): Arrangement {
  return width >= 1300 ? "columns" : width >= 1000 ? "two" : "tabs";
}

/** Whether a view is in sight where `tab` is the chosen one. */
export function isInSight(of: Tab, arrangement: Arrangement, tab: Tab): boolean {
  if (arrangement === "columns") return true;
  return arrangement === "tabs" ? of === tab : of === "gradients" || of === (tab === "held" ? "held" : "graph");
}

export interface ColumnWidths {
  readonly of: Readonly<Record<Tab, number>>;
  readonly setGradients: (width: number) => void;
  readonly setHeld: (width: number) => void;
}

const LEAST = 300;
const [GRADIENTS, HELD] = [480, 448];

/** As they were dragged, as far as the page is wide enough. */
export function useColumnWidths(arrangement: Arrangement, width: number): ColumnWidths {
  const [left, setLeft] = useColumn("replay.gradients", GRADIENTS);
  const [right, setRight] = useColumn("replay.held", HELD);
  const of = widthsOf(arrangement, width, left, right);
  const within = (wanted: number, other: number): number => Math.round(Math.max(LEAST, Math.min(wanted, width - other - LEAST)));
  return {
    of,
    setGradients: (wanted) => setLeft(within(wanted, arrangement === "columns" ? of.held : 0)),
    setHeld: (wanted) => setRight(within(wanted, of.gradients)),
  };
}

function useColumn(key: string, initial: number): readonly [number, (width: number) => void] {
  const [kept, keep] = useStored<number>(key, initial);
  return [Number.isFinite(kept) ? Math.max(LEAST, kept) : initial, keep];
}

/** What was chosen on a wider page gives way on a narrower one. */
function widthsOf(arrangement: Arrangement, width: number, left: number, right: number): Readonly<Record<Tab, number>> {
  if (arrangement === "tabs") return { gradients: width, graph: width, held: width };
  if (arrangement === "two") {
    const gradients = Math.min(left, width - LEAST);
    return { gradients, graph: width - gradients, held: width - gradients };
  }
  const gradients = Math.min(left, width - 2 * LEAST);
  const held = Math.min(right, width - gradients - LEAST);
  return { gradients, graph: width - gradients - held, held };
}

export interface ColumnsProps {
  readonly model: ReplayModel;
  readonly snapshot: Snapshot;
  readonly history: GradientHistory | null;
  readonly totals: StopSummary["totals"];
  readonly arrangement: Arrangement;
  readonly widths: ColumnWidths;
  readonly width: number;
  readonly tab: Tab;
  readonly onTab: (tab: Tab) => void;
  readonly onFocus: (tab: Tab) => void;
  readonly slot: (tab: Tab) => JSX.Element;
  readonly root: { current: HTMLDivElement | null };
}

export function Columns(props: ColumnsProps): JSX.Element {
  const { arrangement, widths, history, totals, root } = props;
  if (arrangement === "tabs") return <Tabbed {...props} />;
  const { gradients, held } = widths.of;
  const template = arrangement === "columns" ? `${gradients}px minmax(0, 1fr) ${held}px` : `${gradients}px minmax(0, 1fr)`;
  return (
    <div ref={root} class="rp-cols" style={{ gridTemplateColumns: template }}>
      <div key="gradients" class="rp-col" onFocusIn={() => props.onFocus("gradients")}>
        <Head title={text.gradients} caption={text.parameters(totals.gradients || "0")} more={bandWords(history)} />
        {props.slot("gradients")}
        <Splitter label={text.splitGradients} side="right" width={gradients} least={LEAST} most={props.width - LEAST} initial={GRADIENTS} onWidth={widths.setGradients} />
      </div>
      {arrangement === "columns" ? <GraphAndHeld {...props} /> : <GraphOrHeld {...props} />}
    </div>
  );
}

function GraphAndHeld({ model, snapshot, widths, width, onFocus, slot }: ColumnsProps): JSX.Element {
  return (
    <>
      <div key="graph" class="rp-col" onFocusIn={() => onFocus("graph")}>
        <Head title={text.graph} caption={graphCaption(model, snapshot)} more="" />
        {slot("graph")}
      </div>
      <div key="held" class="rp-col" onFocusIn={() => onFocus("held")}>
        <Splitter label={text.splitHeld} side="left" width={widths.of.held} least={LEAST} most={width - LEAST} initial={HELD} onWidth={widths.setHeld} />
        <Head title={text.held} caption={text.heldCaption} more="" />
        {slot("held")}
      </div>
    </>
  );
}

function GraphOrHeld({ totals, tab, onTab, onFocus, slot }: ColumnsProps): JSX.Element {
  const shown = tab === "held" ? "held" : "graph";
  return (
    <div key="right" class="rp-col">
      <Tabs tabs={["graph", "held"]} shown={shown} totals={totals} onTab={onTab} />
      {(["graph", "held"] as const).map((of) => (
        <div key={of} class="rp-col" hidden={of !== shown} onFocusIn={() => onFocus(of)}>
          {slot(of)}
        </div>
      ))}
    </div>
  );
}

function Tabbed({ totals, tab, onTab, onFocus, slot, root }: ColumnsProps): JSX.Element {
  return (
    <div ref={root} class="rp-tabs">
      <Tabs shown={tab} totals={totals} onTab={onTab} />
      {TABS.map((of) => (
        <div key={of} class="rp-col" hidden={of !== tab} onFocusIn={() => onFocus(of)}>
          {slot(of)}
        </div>
      ))}
    </div>
  );
}

function Head({ title, caption, more }: { readonly title: string; readonly caption: string; readonly more: string }): JSX.Element {
  return (
    <div class="rp-ct">
      <h2>{title}</h2>
      <span class="clip">{caption}</span>
      <span class="sp" />
      {more !== "" && <span class="clip">{more}</span>}
    </div>
  );
}

function bandWords(history: GradientHistory | null): string {
  return history !== null && history.steps.length >= 5 ? text.band(history.steps.length) : "";
}

function graphCaption({ facts, at }: ReplayModel, { graph, stop }: Snapshot): string {
  if (!graph) return "";
  const step = at?.kind === "step" ? at.step : stop.step;
  const span = facts?.variants.find(({ from, to, graph: id }) => id === graph.id && step >= from && step <= to) ?? facts?.variants.find(({ graph: id }) => id === graph.id);
  return text.graphCaption(formatCount(graph.node_count), span && (facts?.variants.length ?? 0) > 1 ? span.letter : "");
}
