/** The graph view's state: tree, rows and lanes of what is open, the active row, and what changes them. */

import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { findModule, groupGraph, type GraphTree } from "../../shared/graph_groups";
import { layOutLanes, type Lanes } from "../../shared/graph_lanes";
import { treeForModel } from "../../shared/graph_layered_same";
import type { GraphModel } from "../../shared/graph_model";
import { follow } from "../../shared/graph_node";
import { closeRow, openAtFirst, openRow, openSiblings, revealGroup, revealPosition, revealPositions } from "../../shared/graph_open";
import { buildRows, type GraphRow, type GraphRows, type OpenKeys } from "../../shared/graph_rows";
import { NOTHING, type Selection } from "../../shared/selection";
import type { ViewProps } from "../view";
import { arrangedOf, keepArranged, type GraphArranged } from "./graph_memory";
import { MOST_LANES } from "./lane_paths";

export interface GraphActions {
  readonly arrange: (change: Partial<GraphArranged>) => void;
  readonly activate: (row: GraphRow) => void;
  readonly toggle: (row: GraphRow, open: boolean) => void;
  /** True where there was something to fold again. */
  readonly fold: (row: GraphRow) => boolean;
  readonly openAround: (row: GraphRow) => void;
  readonly goTo: (node: number) => void;
  readonly step: (direction: "next" | "back") => boolean;
  readonly openPositions: (positions: Iterable<number>) => void;
}

export interface GraphUi {
  readonly tree: GraphTree;
  readonly rows: GraphRows;
  readonly lanes: Lanes;
  readonly arranged: GraphArranged;
  /** The selected node of this graph, -1 for none. */
  readonly node: number;
  readonly active: GraphRow | null;
  readonly actions: GraphActions;
}

/** Everything that the graph's parts share. */
export function useGraph(props: ViewProps, model: GraphModel): GraphUi {
  const { session, selection } = props;
  const [arranged, setArranged] = useArranged(session);
  const tree = useTree(model, arranged.withLeaves);
  const firstOpen = useMemo(() => openAtFirst(tree, model.running), [tree]);
  const open = arranged.open ?? firstOpen;
  const rows = useMemo(() => buildRows(tree, open, arranged.byModule), [tree, open, arranged.byModule]);
  const lanes = useMemo(() => layOutLanes(rows, MOST_LANES), [rows]);
  const node = selectedNode(model, selection);
  const index = activeIndex(rows, selection, node, arranged.active);
  const actions = useActions(props, { tree, rows, open, node, setArranged });
  useReveal(tree, rows, selection, node, (next) => setArranged({ open: next }), open);
  useRunning(props, model, arranged, setArranged);
  return { tree, rows, lanes, arranged, node, active: rows.rows[index] ?? null, actions };
}

/** Grouped once for all steps of one graph: a session that plays draws many a second. */
function useTree(model: GraphModel, withLeaves: boolean): GraphTree {
  const last = useRef<GraphTree | null>(null);
  return useMemo(() => {
    const known = last.current?.order.withLeaves === withLeaves ? treeForModel(last.current, model) : null;
    return (last.current = known ?? groupGraph(model, withLeaves));
  }, [model, withLeaves]);
}

type Arrange = (change: Partial<GraphArranged>) => void;

function useArranged(session: string): readonly [GraphArranged, Arrange] {
  const [, redraw] = useState(0);
  const arrange: Arrange = (change) => {
    keepArranged(session, { ...arrangedOf(session), ...change });
    redraw((count) => count + 1);
  };
  return [arrangedOf(session), arrange];
}

/** What is selected elsewhere has its node here too: a parameter its leaf, a line the first node it made. */
export function selectedNode(model: GraphModel, selection: Selection): number {
  switch (selection.kind) {
    case "node":
      return selection.index < model.count ? selection.index : -1;
    case "parameter":
      return model.parameter.indexOf(selection.id);
    case "line": {
      const ids = [...model.sites.values()].filter((site) => site.file === selection.file && site.line === selection.line).map((site) => site.id);
      return ids.length === 0 ? -1 : model.site.findIndex((site) => ids.includes(site));
    }
    default:
      return -1;
  }
}

function activeIndex(rows: GraphRows, selection: Selection, node: number, local: string | null): number {
  const heading = headingIndex(rows, node, local);
  if (heading >= 0) return heading;
  if (node >= 0) return rows.rowOf[rows.tree.order.position[node]!] ?? -1;
  if (selection.kind === "module") return moduleIndex(rows, selection.root, selection.path);
  return local === null ? -1 : rows.rows.findIndex((row) => row.key === local);
}

/** A compiled node that was opened at its heading stays there: what it opened into comes next. */
function headingIndex({ tree, rows }: GraphRows, node: number, local: string | null): number {
  if (node < 0 || local === null || !tree.model.inside?.regions.has(node)) return -1;
  return rows.findIndex((row) => row.kind === "open" && row.key === local && tree.groups[row.group]!.node === node);
}

function moduleIndex({ tree, rows, rowOf }: GraphRows, root: string, path: string): number {
  const found = findModule(tree, root, path);
  if (!found) return -1;
  if ("position" in found) return rowOf[found.position] ?? -1;
  const own = rows.findIndex((row) => row.group === found.group && (row.kind === "open" || row.kind === "closed"));
  return own >= 0 ? own : (rowOf[tree.groups[found.group]!.start] ?? -1);
}

interface Shown {
  readonly tree: GraphTree;
  readonly rows: GraphRows;
  readonly open: OpenKeys;
  readonly node: number;
  readonly setArranged: Arrange;
}

function useActions({ select }: ViewProps, { tree, rows, open, node, setArranged }: Shown): GraphActions {
  const trail = useRef<number[]>([]);
  const setOpen = (next: OpenKeys): void => setArranged({ open: next });
  const goTo = (to: number): void => select({ kind: "node", index: to });
  return {
    arrange: setArranged,
    activate: (row) => {
      const selected = selectionOf(tree, row);
      setArranged({ active: row.key, shown: selected === NOTHING ? row.key : null });
      select(selected);
    },
    toggle: (row, opens) => setOpen(opens ? openRow(open, row) : closeRow(open, row)),
    fold: (row) => {
      const next = closeRow(open, row);
      if (next !== open) setOpen(next);
      return next !== open;
    },
    openAround: (row) => setOpen(openSiblings(open, rows.rows, row)),
    goTo,
    step: (direction) => {
      const to = stepFrom(tree, node, direction, trail);
      if (to >= 0) goTo(to);
      return to >= 0;
    },
    openPositions: (positions) => setOpen(revealPositions(tree, open, positions)),
  };
}

function selectionOf(tree: GraphTree, row: GraphRow): Selection {
  if (row.kind === "op") return { kind: "node", index: tree.order.node[row.start]! };
  const group = tree.groups[row.group]!;
  if (row.kind === "closed" && group.kind === "compiled") return { kind: "node", index: group.node };
  return row.kind === "fold" || group.kind !== "module" ? NOTHING : { kind: "module", root: group.root, path: group.path };
}

/** Back goes the way it came, as far as it was followed; from elsewhere, to the first node the gradient came from. */
function stepFrom(tree: GraphTree, node: number, direction: "next" | "back", trail: { current: number[] }): number {
  if (node < 0) return -1;
  const way = trail.current;
  if (direction === "back") {
    if (way[way.length - 1] === node) {
      way.pop();
      return way[way.length - 1] ?? follow(tree, node, "back");
    }
    return follow(tree, node, "back");
  }
  const to = follow(tree, node, "next");
  if (way[way.length - 1] !== node) trail.current = [node];
  if (to >= 0) trail.current.push(to);
  return to;
}

/** A selection from elsewhere gets a row; one made here has it. Closing a group around it afterwards stands. */
function useReveal(tree: GraphTree, rows: GraphRows, selection: Selection, node: number, setOpen: (open: OpenKeys) => void, open: OpenKeys): void {
  const shown = useRef<{ selection: Selection; tree: GraphTree } | null>(null);
  useLayoutEffect(() => {
    if (shown.current?.selection === selection && shown.current.tree === tree) return;
    shown.current = { selection, tree };
    const next = revealed(tree, rows, selection, node, open);
    if (next !== open) setOpen(next);
  });
}

function revealed(tree: GraphTree, { rows, rowOf }: GraphRows, selection: Selection, node: number, open: OpenKeys): OpenKeys {
  if (node >= 0) {
    const position = tree.order.position[node]!;
    return rows[rowOf[position]!]?.kind === "op" ? open : revealPosition(tree, open, position);
  }
  if (selection.kind !== "module") return open;
  const found = findModule(tree, selection.root, selection.path);
  if (!found) return open;
  if ("position" in found) return rows[rowOf[found.position]!]?.kind === "op" ? open : revealPosition(tree, open, found.position);
  const has = rows.some((row) => row.group === found.group && (row.kind === "open" || row.kind === "closed"));
  return has ? open : revealGroup(tree, open, found.group);
}

/** At a stop in backward the running node is selected, once a stop. */
function useRunning({ snapshot, select }: ViewProps, model: GraphModel, arranged: GraphArranged, setArranged: Arrange): void {
  const { number } = snapshot.stop;
  useEffect(() => {
    if (model.running < 0 || arranged.followedStop === number) return;
    setArranged({ followedStop: number });
    select({ kind: "node", index: model.running });
  }, [model, number]);
}
