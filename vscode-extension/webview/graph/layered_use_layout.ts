/** The drawing's rows and layout: capped, kept while the graph and what is open stay, and moved into place when not. */

import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { capOpen, isShort, MOST_ITEMS } from "../../shared/graph_layered_cap";
import { layeredEdges, type LayeredEdges } from "../../shared/graph_layered_edges";
import { labelSize } from "../../shared/graph_layered_label";
import { layOut, type Layout } from "../../shared/graph_layered_layout";
import { easeOut, mixLayouts, type RowsLayout } from "../../shared/graph_layered_mix";
import { openAtFirst } from "../../shared/graph_open";
import { buildRows, type GraphRow, type GraphRows, type OpenKeys } from "../../shared/graph_rows";
import { summarise } from "../../shared/graph_summary";
import { formatCount } from "../../shared/format";
import { layeredText } from "../../shared/text";
import type { GraphUi } from "./use_graph";

export interface DrawnRows {
  readonly rows: GraphRows;
  /** False: the list is shown in its place. */
  readonly drawable: boolean;
  /** Without groups. */
  readonly flat: boolean;
  /** What is not as it was asked for, "" where all is. */
  readonly note: string;
}

/** The rows that are drawn: those of the list, as far as they are not too many. That some were folded again is said until more is opened or closed. */
export function useDrawnRows(ui: GraphUi): DrawnRows {
  const { tree, rows, arranged, actions } = ui;
  const [folded, setFolded] = useState<{ readonly open: OpenKeys; readonly refused: boolean } | null>(null);
  const tooMany = rows.rows.length > MOST_ITEMS;
  const capped = useMemo(() => (tooMany ? capOpen(tree, arranged.open ?? openAtFirst(tree, tree.model.running)) : null), [tooMany, rows]);
  const cappedRows = useMemo(() => (capped ? buildRows(tree, capped.open, true) : null), [capped]);
  const folds = capped !== null && arranged.byModule && capped.drawable;
  useEffect(() => {
    if (!capped || !folds) return;
    actions.arrange({ open: capped.open });
    setFolded({ open: capped.open, refused: !capped.open.has([...(arranged.open ?? [])].at(-1) ?? "") });
  }, [capped]);
  const flat = !arranged.byModule && isShort(tree);
  const grouped = !arranged.byModule && !flat;
  const note = grouped ? layeredText.grouped(formatCount(tree.order.node.length), MOST_ITEMS) : folded !== null && folded.open === arranged.open ? (folded.refused ? layeredText.tooLarge(MOST_ITEMS) : layeredText.folded(MOST_ITEMS)) : "";
  return { rows: cappedRows ?? rows, drawable: capped?.drawable ?? true, flat, note };
}

export interface DrawnLayout extends RowsLayout {
  readonly edges: LayeredEdges;
}

/** Another step of the same graph with the same open groups keeps its layout: only edges tell anew what runs along them. */
export function useLayout(drawn: DrawnRows): DrawnLayout {
  const { rows, flat } = drawn;
  const edges = useMemo(() => layeredEdges(rows), [rows]);
  const kept = useRef<{ drawn: DrawnRows; edges: LayeredEdges; layout: Layout } | null>(null);
  if (!kept.current || !alike(kept.current.drawn, drawn) || !joinAlike(kept.current.edges, edges)) {
    const { tree } = rows;
    const size = (row: GraphRow): ReturnType<typeof labelSize> => labelSize(tree, row, summarise(tree, row.start, row.end), flat);
    kept.current = { drawn, edges, layout: layOut(rows.rows, edges.edges, (row) => size(rows.rows[row]!)) };
  }
  return { rows: rows.rows, edges, layout: kept.current.layout };
}

function alike(a: DrawnRows, b: DrawnRows): boolean {
  if (a.flat !== b.flat || a.rows.tree.model.graph.digest !== b.rows.tree.model.graph.digest || a.rows.rows.length !== b.rows.rows.length) return false;
  return a.rows.rows.every((row, i) => {
    const other = b.rows.rows[i]!;
    return row.key === other.key && row.kind === other.kind && row.name === other.name && row.start === other.start && row.end === other.end;
  });
}

function joinAlike({ edges: a }: LayeredEdges, { edges: b }: LayeredEdges): boolean {
  return a.length === b.length && a.every((edge, i) => edge.upper === b[i]!.upper && edge.lower === b[i]!.lower);
}

const MOTION_MS = 120;
/** More marks are put in place at once. */
const MOST_MOVED = 200;

/** The layout as it stands now: on its way from the last one for a moment after something was opened or closed. */
export function useSettling(now: RowsLayout, still: boolean): Layout {
  const last = useRef(now);
  const moving = useRef<{ readonly from: RowsLayout; readonly began: number } | null>(null);
  const [, redraw] = useState(0);
  if (last.current.layout !== now.layout) {
    const moves = !still && movable(last.current) && movable(now) && motionAllowed();
    moving.current = moves ? { from: last.current, began: performance.now() } : null;
  }
  last.current = now;
  useLayoutEffect(() => {
    let frame = 0;
    const step = (): void => {
      if (!moving.current) return;
      if (performance.now() - moving.current.began >= MOTION_MS) moving.current = null;
      else frame = requestAnimationFrame(step);
      redraw((count) => count + 1);
    };
    if (moving.current) frame = requestAnimationFrame(step);
    return () => cancelAnimationFrame(frame);
  }, [now.layout]);
  const way = moving.current;
  return way ? mixLayouts(way.from, now, easeOut(Math.min(1, (performance.now() - way.began) / MOTION_MS))) : now.layout;
}

function movable({ layout }: RowsLayout): boolean {
  return layout.marks.length + layout.boxes.length <= MOST_MOVED;
}

function motionAllowed(): boolean {
  return typeof matchMedia === "function" && !matchMedia("(prefers-reduced-motion: reduce)").matches;
}
