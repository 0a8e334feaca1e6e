/** The graph where there is room for it: layers from the inputs to the loss, modules as boxes, repeats folded. */

import "./graph.css";
import "./layered_view.css";

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { graphModel, type GraphModel } from "../../shared/graph_model";
import { MOST_ITEMS } from "../../shared/graph_layered_cap";
import { layeredText } from "../../shared/text";
import { Glyph } from "../components/glyph";
import type { RowsControl } from "../components/virtual_rows";
import { ViewFrame } from "../view_frame";
import type { ViewProps } from "../view";
import { GraphEmpty } from "./graph_empty";
import { GraphView } from "./graph_view";
import { GroupDock } from "./group_dock";
import { LayeredCanvas } from "./layered_canvas";
import { LayeredAxis, LayeredLegend } from "./layered_head";
import { keepLayered, layeredKept } from "./layered_memory";
import { useDrawnRows } from "./layered_use_layout";
import { NodeDock } from "./node_dock";
import { Toolbar } from "./toolbar";
import { useGraph, type GraphUi } from "./use_graph";

/** Like GraphView, with which it shares what is open, looked for and selected. */
export function LayeredGraphView(props: ViewProps): JSX.Element {
  const model = graphModel(props.snapshot);
  const [asTable, setAsTable] = useTable(props);
  const [failure, setFailure] = useState("");
  const choose = (expression: string | null): void => {
    setFailure("");
    props.ask("chooseRoot", { expression }).catch((error: unknown) => setFailure(error instanceof Error ? error.message : String(error)));
  };
  if (!model) {
    return (
      <ViewFrame class={props.dimmed ? "graph dimmed" : "graph"}>
        <GraphEmpty props={props} choose={choose} />
        <Failure text={failure} />
      </ViewFrame>
    );
  }
  if (asTable) return <Table props={props} note="" showDrawing={() => setAsTable(false)} />;
  return <Drawing props={props} model={model} choose={choose} failure={failure} showTable={() => setAsTable(true)} />;
}

function useTable({ session, onCommand }: ViewProps): readonly [boolean, (asTable: boolean) => void] {
  const [, redraw] = useState(0);
  const set = (asTable: boolean): void => {
    keepLayered(session, { asTable });
    redraw((count) => count + 1);
  };
  useEffect(
    () =>
      onCommand((command) => {
        if (command === "showAsTable") set(!layeredKept(session).asTable);
        return command === "showAsTable";
      }),
    [onCommand, session],
  );
  return [layeredKept(session).asTable, set];
}

function Failure({ text }: { readonly text: string }): JSX.Element | null {
  return text === "" ? null : (
    <p class="graph-failure" role="alert">
      <Glyph id="warning" label="" /> {text}
    </p>
  );
}

function Table({ props, note, showDrawing }: { readonly props: ViewProps; readonly note: string; readonly showDrawing: (() => void) | null }): JSX.Element {
  return (
    <>
      <div class="layered-note">
        <span role="status">{note}</span>
        {showDrawing && (
          <button class="btn" type="button" onClick={showDrawing}>
            {layeredText.showDrawing}
          </button>
        )}
      </div>
      <GraphView {...props} />
    </>
  );
}

interface DrawingProps {
  readonly props: ViewProps;
  readonly model: GraphModel;
  readonly choose: (expression: string | null) => void;
  readonly failure: string;
  readonly showTable: () => void;
}

function Drawing({ props, model, choose, failure, showTable }: DrawingProps): JSX.Element {
  const ui = useGraph(props, model);
  const drawn = useDrawnRows(ui);
  const control = useRef<RowsControl | null>(null);
  const done = isDone(props);
  if (!drawn.drawable) return <Table props={props} note={layeredText.tooMany(MOST_ITEMS)} showDrawing={null} />;
  return (
    <ViewFrame class={`graph layered${props.dimmed ? " dimmed" : ""}`} dock={docked(props, ui)}>
      <div class="layered-head">
        <Toolbar props={props} ui={ui} choose={choose} narrow={false} control={control} />
        <LayeredLegend model={model} done={done} shares={model.gradients.now.size > 0} />
        <Failure text={failure} />
        {drawn.note && (
          <p class="layered-note" role="status">
            {drawn.note}
          </p>
        )}
      </div>
      <div class="layered-body">
        <LayeredAxis />
        <LayeredCanvas props={props} ui={ui} drawn={drawn} control={control} done={done} showTable={showTable} />
      </div>
    </ViewFrame>
  );
}

/** A recorded step's backward ran through all of its graph, unless it was asked for some inputs only, or cut short. */
function isDone({ recorded, snapshot: { stop, backward } }: ViewProps): boolean {
  return recorded !== undefined && stop.in_backward !== true && backward?.has_inputs === false && (stop.reason ?? "") === "";
}

function docked(props: ViewProps, ui: GraphUi): JSX.Element | null {
  const { tree, node, active, actions } = ui;
  if (node >= 0) return <NodeDock key={node} props={props} tree={tree} node={node} goTo={actions.goTo} />;
  const isShown = active !== null && active.kind !== "op" && (props.selection.kind === "module" || ui.arranged.shown === active.key);
  return isShown ? <GroupDock props={props} tree={tree} row={active} open={() => actions.toggle(active, true)} /> : null;
}

