/** The gradients view: flow chart, filter, tree by module, dock. */

import type { JSX } from "preact";
import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { formatCount, formatShape } from "../../shared/format";
import type { GradientHistory } from "../../shared/gradient_history";
import { gradientModel, keyOf, selectionOf, type Beside, type GradientModel } from "../../shared/gradient_model";
import { parametersBelow, type GradientNode } from "../../shared/gradient_tree";
import type { Selection } from "../../shared/selection";
import { gradientsText as text } from "../../shared/text";
import { VirtualRows, type RowsControl } from "../components/virtual_rows";
import type { ViewCommand, ViewProps } from "../view";
import { ViewFrame } from "../view_frame";
import { ColumnHeads } from "./column_heads";
import { Dock, hasDock } from "./dock";
import { FilterBar } from "./filter_bar";
import { FlowSection } from "./flow_section";
import { copiedRow, rowLabel } from "./row_words";
import { SPARK_STEPS } from "./sparkline";
import { nameOf, rowClass, TreeRow } from "./tree_row";
import { useArrangement, type Arrangement } from "./use_arrangement";

const ROW_HEIGHT = 22;
const NARROW = 420;

export function GradientsView(view: ViewProps): JSX.Element {
  const model = useMemo(() => gradientModel(view.snapshot, view.previous), [view.snapshot, view.previous]);
  const arrangement = useArrangement(model);
  const [active, setActive] = useActiveRow(view, model, arrangement);
  const input = useRef<HTMLInputElement>(null);
  const list = useRef<RowsControl | null>(null);
  const narrow = view.width < NARROW;
  const choose = useCallback(
    (node: GradientNode): void => {
      setActive(node.key);
      view.select(selectionOf(node));
    },
    [view.select, model],
  );
  useCommands(view, { model, arrangement, active, choose, input });
  const node = model.byKey.get(active ?? "");
  const history = view.recorded?.history ?? null;
  // In a recorded step the history stands there, and nothing until it is read.
  const changes = model.hasChanges && !view.recorded;
  const beside = model.beside.find((one) => one === arrangement.beside) ?? model.beside[0] ?? null;
  return (
    <ViewFrame
      class={view.dimmed ? "gradients dimmed" : "gradients"}
      dock={hasDock(node) && view.selection.kind !== "none" ? <Dock node={node} view={view} model={model} /> : null}
    >
      <FlowSection {...{ view, model, arrangement, node, choose, narrow }} />
      <div class={`grad-tree${changes || history ? "" : " no-changes"}${beside ? " with-beside" : ""}`} style={{ "--shape": `${shapeWidth(model)}px` }}>
        <div class="grad-head" data-sticky>
          <FilterBar {...{ arrangement, narrow, input }} beside={beside} offered={narrow ? [] : model.beside} count={countText(arrangement, model)} onLeave={() => list.current?.focus()} />
          <ColumnHeads sort={arrangement.sort} beside={beside} scale={model.scale} spark={history ? Math.min(SPARK_STEPS, history.steps.length) : 0} earlier={changes ? (model.earlier ?? text.previousStop) : null} onPress={arrangement.pressHead} />
        </div>
        <Tree {...{ model, arrangement, active, choose, list, history, beside }} />
      </div>
    </ViewFrame>
  );
}

/** Every row is a grid of its own: the longest shape gives all of them their column, within reason. */
function shapeWidth({ rows, snapshot }: GradientModel): number {
  const shapes = [...rows.map((row) => row.parameter.shape), ...(snapshot.variables ?? []).map((one) => one.shape ?? [])];
  const letters = shapes.reduce((most, shape) => Math.max(most, formatShape(shape).length), 0);
  return Math.max(34, Math.min(92, Math.ceil(letters * 6)));
}

interface TreeProps {
  readonly model: GradientModel;
  readonly arrangement: Arrangement;
  readonly active: string | null;
  readonly choose: (node: GradientNode) => void;
  readonly list: { current: RowsControl | null };
  readonly history: GradientHistory | null;
  readonly beside: Beside | null;
}

function Tree({ model, arrangement, active, choose, list, history, beside }: TreeProps): JSX.Element {
  const { rows, toggle } = arrangement;
  const outdent = model.tree.length > 1 && arrangement.sort === null ? 1 : 0;
  const { earlier } = model;
  const models = model.tree.filter((node) => node.kind === "root");
  const leave = models.length === 1 ? models[0]!.name : "";
  if (rows.length === 0) return <p class="grad-nothing">{text.nothingMatches}</p>;
  return (
    <VirtualRows
      rows={rows}
      role="tree"
      label={text.tree}
      rowHeight={ROW_HEIGHT}
      active={active}
      control={list}
      onActive={(row) => choose(row.node)}
      onToggle={(row, open) => toggle(row.key, open)}
      onEnter={(row) => row.expanded !== null && toggle(row.key, !row.expanded)}
      typeAhead={(row) => nameOf(row.node)}
      copy={(row) => copiedRow(row.node)}
      rowClass={rowClass}
      rowLabel={(row) => rowLabel(row.node, earlier)}
      render={(row) => <TreeRow row={row} outdent={outdent} leave={leave} earlier={earlier} history={history} beside={beside} onMenu={() => choose(row.node)} />}
    />
  );
}

/** The row that the keys are on: what is selected in any view, or a group, which nothing else knows. */
function useActiveRow(view: ViewProps, model: GradientModel, { reveal }: Arrangement): readonly [string | null, (key: string) => void] {
  const [, drawAgain] = useState(0);
  const now = useRef<{ selection: Selection | null; key: string | null }>({ selection: null, key: null });
  const isNew = now.current.selection !== view.selection;
  const selected = isNew ? keyOf(model, view.selection) : null;
  const moved = isNew && selected !== now.current.key;
  // Within the same drawing: one of the old row with the new width or stop would ask for values in vain.
  if (isNew) now.current = { selection: view.selection, key: view.selection.kind === "none" ? now.current.key : selected };
  useLayoutEffect(() => {
    if (moved && selected !== null) reveal(selected);
  }, [moved, selected]);
  const setActive = (key: string): void => {
    now.current = { ...now.current, key };
    drawAgain((count) => count + 1);
  };
  return [now.current.key, setActive];
}

function countText({ parsed, rows }: Arrangement, model: GradientModel): string {
  if (parsed.empty) return "";
  const shown = rows.filter((row) => row.node.kind === "parameter").length;
  return text.found(formatCount(shown), formatCount(model.rows.length));
}

interface CommandContext {
  readonly model: GradientModel;
  readonly arrangement: Arrangement;
  readonly active: string | null;
  readonly choose: (node: GradientNode) => void;
  readonly input: { current: HTMLInputElement | null };
}

function useCommands(view: ViewProps, context: CommandContext): void {
  const latest = useRef(context);
  latest.current = context;
  useEffect(() => view.onCommand((command) => act(command, latest.current)), [view.onCommand]);
}

function act(command: ViewCommand, context: CommandContext): boolean {
  const { arrangement, input } = context;
  switch (command) {
    case "filter":
      input.current?.focus();
      input.current?.select();
      return true;
    case "showAsTable":
      arrangement.change({ chart: arrangement.chart === "table" ? "chart" : "table" });
      return true;
    case "nextTrouble":
      return goToTrouble(context, 1);
    case "previousTrouble":
      return goToTrouble(context, -1);
  }
}

/** In the model's order, round and round. */
function goToTrouble({ model, arrangement, active, choose }: CommandContext, step: 1 | -1): boolean {
  const all = model.tree.flatMap(parametersBelow);
  const trouble = all.filter((node) => node.row.trouble);
  if (trouble.length === 0) return false;
  const here = placeOf(model, all, active);
  const next =
    step === 1
      ? (trouble.find((node) => all.indexOf(node) > here) ?? trouble[0]!)
      : (trouble.filter((node) => all.indexOf(node) < here).at(-1) ?? trouble.at(-1)!);
  arrangement.reveal(next.key);
  choose(next);
  return true;
}

/** Before a module's first parameter when the module is active; -1 for nothing. */
function placeOf(model: GradientModel, all: readonly GradientNode[], active: string | null): number {
  const node = model.byKey.get(active ?? "");
  if (node === undefined) return -1;
  if (node.kind === "parameter") return all.indexOf(node);
  const first = parametersBelow(node)[0];
  return first === undefined ? -1 : all.indexOf(first) - 1;
}
