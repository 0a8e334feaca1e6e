/** The Graph view: lanes beside rows, inputs at the top and the loss at the bottom, so backward runs up. */

import "./graph.css";

import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { graphModel, siteOf, type GraphModel } from "../../shared/graph_model";
import type { GraphRow } from "../../shared/graph_rows";
import { countBetween } from "../../shared/graph_search";
import { summarise } from "../../shared/graph_summary";
import { rowCopy, rowName, rowSentence } from "../../shared/graph_words";
import type { Site } from "../../shared/session";
import { graphText } from "../../shared/text";
import { Glyph } from "../components/glyph";
import { VirtualRows, type RowsControl } from "../components/virtual_rows";
import { ViewFrame } from "../view_frame";
import type { ViewProps } from "../view";
import { GraphEmpty } from "./graph_empty";
import { GraphRowCells } from "./graph_row";
import { GroupDock } from "./group_dock";
import { laneGeometry, ROW_HEIGHT } from "./lane_paths";
import { LaneDrawing } from "./lanes";
import { MiniMap } from "./mini_map";
import { NodeDock } from "./node_dock";
import { Toolbar, useMatches } from "./toolbar";
import { useGraph, type GraphUi } from "./use_graph";

const NARROW = 420;

export function GraphView(props: ViewProps): JSX.Element {
  const model = graphModel(props.snapshot);
  const [failure, setFailure] = useState("");
  const choose = (expression: string | null): void => {
    setFailure("");
    props.ask("chooseRoot", { expression }).catch((error: unknown) => setFailure(error instanceof Error ? error.message : String(error)));
  };
  return model ? <Graph props={props} model={model} choose={choose} failure={failure} /> : <NoGraph props={props} choose={choose} failure={failure} />;
}

interface GraphProps {
  readonly props: ViewProps;
  readonly choose: (expression: string | null) => void;
  readonly failure: string;
}

function NoGraph({ props, choose, failure }: GraphProps): JSX.Element {
  return (
    <ViewFrame class={props.dimmed ? "graph dimmed" : "graph"}>
      <GraphEmpty props={props} choose={choose} />
      <Failure text={failure} />
    </ViewFrame>
  );
}

function Failure({ text }: { readonly text: string }): JSX.Element | null {
  return text === "" ? null : (
    <p class="graph-failure" role="alert">
      <Glyph id="warning" label="" /> {text}
    </p>
  );
}

function Graph({ props, model, choose, failure }: GraphProps & { readonly model: GraphModel }): JSX.Element {
  const ui = useGraph(props, model);
  const narrow = props.width < NARROW;
  const box = useRef<HTMLDivElement>(null);
  const control = useRef<RowsControl | null>(null);
  const most = useMemo(() => model.held.reduce((top, bytes, node) => Math.max(top, bytes + model.released[node]!), 0), [model]);
  return (
    <ViewFrame class={`graph${props.dimmed ? " dimmed" : ""}${narrow ? " narrow" : ""}`} dock={docked(props, ui, model)}>
      <div class="graph-head" data-sticky>
        <Toolbar props={props} ui={ui} choose={choose} narrow={narrow} control={control} />
        <Failure text={failure} />
        <Columns />
      </div>
      <div class="graph-map">
        <MiniMap rows={ui.rows} most={most} list={box} />
      </div>
      <div ref={box}>
        <Rows props={props} ui={ui} narrow={narrow} most={most} control={control} />
      </div>
    </ViewFrame>
  );
}

function Columns(): JSX.Element {
  return (
    <div class="grow graph-columns" aria-hidden="true">
      <span class="way">
        ↑ <span class="wide">{graphText.backward}</span>
      </span>
      <span>{graphText.columns.node}</span>
      <span class="num" title={graphText.savedTitle}>
        {graphText.columns.saved}
      </span>
      <span class="num nrm" title={graphText.gradTitle}>
        {graphText.columns.grad}
      </span>
    </div>
  );
}

interface RowsProps {
  readonly props: ViewProps;
  readonly ui: GraphUi;
  readonly narrow: boolean;
  readonly most: number;
  readonly control: { current: RowsControl | null };
}

function Rows({ props, ui, narrow, most, control }: RowsProps): JSX.Element {
  const { tree, rows, lanes, active, actions, arranged } = ui;
  const geometry = laneGeometry(narrow, lanes.count);
  const matches = useMatches(ui);
  const found = (row: GraphRow): number => (arranged.query === "" ? 0 : countBetween(matches, row.start, row.end));
  const activeIndex = active ? rows.rows.indexOf(active) : -1;
  useEffect(() => {
    if (activeIndex >= 0) control.current?.scrollTo(activeIndex);
  }, [arranged.byModule, arranged.withLeaves]);
  const open = ({ file, line }: Site, focus: boolean): void => void props.ask("openSource", { file, line, focus }).catch(() => undefined);
  const openSource = (row: GraphRow, focus: boolean): void => {
    const site = row.kind === "op" ? siteOf(tree.model, tree.order.node[row.start]!) : undefined;
    if (site) open(site, focus);
    else if (row.expanded !== null) actions.toggle(row, !row.expanded);
  };
  return (
    <VirtualRows
      rows={rows.rows}
      role="tree"
      label={graphText.tree}
      rowHeight={ROW_HEIGHT}
      class="graph-rows"
      control={control}
      active={active?.key ?? null}
      onActive={actions.activate}
      onToggle={actions.toggle}
      onEnter={openSource}
      onKey={(event, row) => onKey(event, row, ui)}
      typeAhead={(row) => rowName(tree, row, true)}
      copy={(row) => rowCopy(tree, row, summarise(tree, row.start, row.end))}
      rowLabel={(row) => rowSentence(tree, row, summarise(tree, row.start, row.end))}
      rowClass={(row) => rowClass(ui, row, found(row))}
      render={(row) => <GraphRowCells tree={tree} row={row} narrow={narrow} flat={!arranged.byModule} most={most} found={found(row)} open={open} />}
      backdrop={(range) => <LaneDrawing rows={rows} lanes={lanes} geometry={geometry} range={range} active={activeIndex} most={most} />}
    />
  );
}

function rowClass({ tree }: GraphUi, row: GraphRow, found: number): string {
  const { state } = summarise(tree, row.start, row.end);
  const quiet = state === "pending" && row.kind !== "open" ? " pend" : "";
  const match = found > 0 && row.kind !== "open" ? " match" : "";
  return `grow${row.kind === "op" ? "" : " mod"}${quiet}${match}`;
}

/** Keys of the graph alone; the list knows the rest. */
function onKey(event: KeyboardEvent, row: GraphRow | null, { actions, arranged }: GraphUi): boolean {
  if (event.ctrlKey || event.metaKey || event.altKey) return false;
  if (event.key === "Escape" && arranged.shown !== null) {
    actions.arrange({ shown: null });
    return true;
  }
  if (event.key === "[") return actions.step("next");
  if (event.key === "]") return actions.step("back");
  if (row && event.key === "*") {
    actions.openAround(row);
    return true;
  }
  return row !== null && event.key === "ArrowLeft" && row.kind !== "open" && actions.fold(row);
}

/** The legend stays where the dock begins, whether one is open or not. */
function docked(props: ViewProps, ui: GraphUi, model: GraphModel): JSX.Element | null {
  const { tree, node, active, actions } = ui;
  const inBackward = props.snapshot.stop.in_backward === true && model.running >= 0;
  const group = active && active.kind !== "op" && (props.selection.kind === "module" || ui.arranged.shown === active.key) ? active : null;
  if (!inBackward && node < 0 && !group) return null;
  return (
    <>
      {inBackward && <Legend model={model} />}
      {node >= 0 && <NodeDock key={node} props={props} tree={tree} node={node} goTo={actions.goTo} />}
      {node < 0 && group && <GroupDock props={props} tree={tree} row={group} open={() => actions.toggle(group, true)} />}
    </>
  );
}

/** What the marks mean, while a backward runs through the graph. */
function Legend({ model }: { readonly model: GraphModel }): JSX.Element {
  const onPath = model.gradients.trouble.some((trouble) => trouble > 0);
  return (
    <div class="graph-legend">
      <span>
        <Glyph id="fired" label="" /> {graphText.states.fired}
      </span>
      <span class="c-accent">
        <Glyph id="running" label="" /> {graphText.states.running}
      </span>
      <span>
        <Glyph id="pending" label="" /> {graphText.states.pending}
      </span>
      {onPath && (
        <span class="c-nan">
          <Glyph id="on path" label="" /> {graphText.onPath}
        </span>
      )}
      <span class="wide">{graphText.sizeIsBytes}</span>
    </div>
  );
}
