/** Keys of the layered drawing: the arrows walk the tree, with Shift they pan; + − 0 zoom; [ ] follow a gradient. */

import { useRef } from "preact/hooks";
import type { GraphTree } from "../../shared/graph_groups";
import type { GraphRow } from "../../shared/graph_rows";
import { rowName } from "../../shared/graph_words";
import { rowAction, TypeAhead } from "../components/row_keys";
import type { ViewportControl } from "./layered_use_viewport";
import type { GraphUi } from "./use_graph";

export interface KeyContext {
  readonly rows: readonly GraphRow[];
  /** -1: no row is active. */
  readonly active: number;
  readonly ui: GraphUi;
  readonly tree: GraphTree;
  readonly toggle: (row: GraphRow, open: boolean) => void;
  readonly openSource: (row: GraphRow, focus: boolean) => void;
  readonly viewport: ViewportControl;
}

const PAN = 60;
const ZOOM = 1.25;
/** Rows that PageUp and PageDown go over. */
const PAGE = 12;

/** Keys that act here go no further: the host may have commands of its own on them. */
export function useCanvasKeys(context: KeyContext): (event: KeyboardEvent) => void {
  const typing = useRef(new TypeAhead());
  return (event) => {
    if (event.altKey || event.isComposing) return;
    const row = context.rows[context.active];
    const taken = event.ctrlKey || event.metaKey ? ctrlKey(event, context, row) : viewKey(event, context) || ownKey(event.key, context, row) || treeKey(event, context) || typed(event, context, typing.current);
    if (!taken) return;
    event.preventDefault();
    event.stopPropagation();
  };
}

function ctrlKey(event: KeyboardEvent, { openSource }: KeyContext, row: GraphRow | undefined): boolean {
  if (event.key !== "Enter" || !row) return false;
  openSource(row, true);
  return true;
}

function viewKey({ key, shiftKey }: KeyboardEvent, { viewport }: KeyContext): boolean {
  const way = shiftKey ? { ArrowLeft: [PAN, 0], ArrowRight: [-PAN, 0], ArrowUp: [0, PAN], ArrowDown: [0, -PAN] }[key] : undefined;
  if (way) viewport.pan(way[0]!, way[1]!);
  else if (key === "+" || key === "=") viewport.zoom(ZOOM);
  else if (key === "-" || key === "−" || key === "_") viewport.zoom(1 / ZOOM);
  else if (key === "0") viewport.fit();
  else return false;
  return true;
}

function ownKey(key: string, { ui, toggle }: KeyContext, row: GraphRow | undefined): boolean {
  const { actions, arranged } = ui;
  if (key === "Escape" && arranged.shown !== null) {
    actions.arrange({ shown: null });
    return true;
  }
  if (key === "[") return actions.step("next");
  if (key === "]") return actions.step("back");
  if (!row) return false;
  if (key === "*") actions.openAround(row);
  else if (key === " " && row.expanded !== null) toggle(row, !row.expanded);
  else return key === "ArrowLeft" && row.kind !== "open" && actions.fold(row);
  return true;
}

function treeKey({ key, shiftKey }: KeyboardEvent, { rows, active, ui, toggle, openSource }: KeyContext): boolean {
  const action = shiftKey ? null : rowAction(key, { rows, active, page: PAGE, firstSeen: 0 });
  if (!action) return false;
  const row = rows[action.index]!;
  if (action.kind === "go") ui.actions.activate(row);
  else if (action.kind === "toggle") toggle(row, action.open);
  else openSource(row, false);
  return true;
}

function typed(event: KeyboardEvent, { rows, active, ui, tree }: KeyContext, typing: TypeAhead): boolean {
  const { taken, index } = typing.type(event.key, event.timeStamp, rows.map((row) => rowName(tree, row, true)), active);
  if (index !== null) ui.actions.activate(rows[index]!);
  return taken;
}
