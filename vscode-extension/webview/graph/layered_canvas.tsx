/** The layered drawing itself: one SVG of which the part in view is in the document, and the tree that keys walk. */

import type { JSX } from "preact";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { formatCount } from "../../shared/format";
import type { Layout } from "../../shared/graph_layered_layout";
import { seenArea, type Area, type Viewport } from "../../shared/graph_layered_window";
import { siteOf } from "../../shared/graph_model";
import type { GraphRow } from "../../shared/graph_rows";
import { countBetween } from "../../shared/graph_search";
import { summarise } from "../../shared/graph_summary";
import { rowCopy } from "../../shared/graph_words";
import { layeredText } from "../../shared/text";
import type { RowsControl } from "../components/virtual_rows";
import { useOwnId } from "../own_ids";
import type { ViewProps } from "../view";
import { CanvasTools } from "./layered_head";
import { useCanvasKeys } from "./layered_keys";
import { LayeredMap } from "./layered_map";
import { BoxItem, gripOf, itemId, MarkItem, type MarksProps } from "./layered_marks";
import { useLayout, useSettling, type DrawnRows } from "./layered_use_layout";
import { useDrag, useViewport, type ViewportControl } from "./layered_use_viewport";
import { Wires } from "./layered_wires";
import { useMatches } from "./toolbar";
import type { GraphUi } from "./use_graph";

export interface CanvasProps {
  readonly props: ViewProps;
  readonly ui: GraphUi;
  readonly drawn: DrawnRows;
  readonly control: { current: RowsControl | null };
  readonly done: boolean;
  readonly showTable: () => void;
}

/** Around the window, in px of the drawing, what is drawn ahead; the window is looked at in steps of half of it. */
const AHEAD = 320;
/** Labels are left out where they could not be read. */
const FAR = 0.5;

export function LayeredCanvas({ props, ui, drawn, control, done, showTable }: CanvasProps): JSX.Element {
  const { rows } = drawn;
  const { tree } = rows;
  const id = useOwnId();
  const canvas = useRef<HTMLDivElement>(null);
  const held = useRef<string | null>(null);
  const laidOut = useLayout(drawn);
  const { layout, edges } = laidOut;
  const activeRow = activeIndex(ui, drawn);
  const activeKey = rows.rows[activeRow]?.key ?? null;
  const active = useMemo(() => placeOf(layout, rows.rows, activeRow), [layout, activeRow]);
  const viewport = useViewport({ session: props.session, digest: tree.model.graph.digest, drawn: laidOut, canvas, active, activeKey, held });
  const shown = useSettling(laidOut, props.dimmed);
  const most = useMemo(() => mostBytes(tree.model), [tree.model]);
  const acts = actsOf(props, ui, held);
  const onKey = useCanvasKeys({ rows: rows.rows, active: activeRow, ui, viewport, tree, ...acts });
  const press = usePress(rows.rows, ui, acts, viewport);
  useControl(control, canvas);
  const seen = seenArea(viewport.view, viewport.window);
  const far = viewport.view.scale < FAR;
  const shared = useShared({ ui, drawn, id, active: activeKey, most, done, far });
  return (
    <div class="layered-stage">
      <div
        ref={canvas}
        class={`layered-canvas${far ? " far" : ""}`}
        role="tree"
        aria-label={layeredText.drawing}
        aria-activedescendant={activeRow < 0 ? undefined : itemId(id, rows.rows[activeRow]!)}
        tabIndex={0}
        onKeyDown={onKey}
        {...press}
        onCopy={(event) => copyRow(event, tree, rows.rows[activeRow])}
      >
        <svg width="100%" height="100%" role="presentation">
          <g transform={transformOf(viewport.view)} role="presentation">
            <StillPicture shared={shared} layout={shown} edges={edges.edges} activeRow={activeRow} window={inSteps(seen)} />
          </g>
        </svg>
      </div>
      {edges.leftOut > 0 && <p class="layered-note over">{layeredText.edgesLeftOut(formatCount(edges.leftOut))}</p>}
      <LayeredMap rows={rows} layout={layout} most={most} seen={seen} centre={viewport.centre} />
      <CanvasTools viewport={viewport} showTable={showTable} />
    </div>
  );
}

function transformOf({ left, top, scale }: Viewport): string {
  return `translate(${left.toFixed(2)} ${top.toFixed(2)}) scale(${scale.toFixed(4)})`;
}

interface CanvasActs {
  readonly toggle: (row: GraphRow, open: boolean) => void;
  readonly openSource: (row: GraphRow, focus: boolean) => void;
}

/** `held` is told what is opened or closed: it stays where it is. */
function actsOf({ ask }: ViewProps, { tree, actions }: GraphUi, held: { current: string | null }): CanvasActs {
  const toggle = (row: GraphRow, open: boolean): void => {
    held.current = row.key;
    actions.toggle(row, open);
  };
  const openSource = (row: GraphRow, focus: boolean): void => {
    const site = row.kind === "op" ? siteOf(tree.model, tree.order.node[row.start]!) : undefined;
    if (site) void ask("openSource", { file: site.file, line: site.line, focus }).catch(() => undefined);
    else if (row.expanded !== null) toggle(row, !row.expanded);
  };
  return { toggle, openSource };
}

interface Press {
  readonly onPointerDown: (event: PointerEvent) => void;
  readonly onPointerMove: (event: PointerEvent) => void;
  readonly onClick: (event: MouseEvent) => void;
  readonly onDblClick: (event: MouseEvent) => void;
}

/** A press selects, at a twistie it opens; a double one opens, or goes to the source; a drag moves the drawing. */
function usePress(rows: readonly GraphRow[], ui: GraphUi, { toggle, openSource }: CanvasActs, viewport: ViewportControl): Press {
  const drag = useDrag(viewport.pan);
  const rowAt = (event: Event): GraphRow | undefined => {
    const key = (event.target as Element).closest("[data-key]")?.getAttribute("data-key") ?? null;
    return key === null ? undefined : rows.find((row) => row.key === key);
  };
  const atTwistie = (event: Event): boolean => (event.target as Element).closest(".twist") !== null;
  return {
    onPointerDown: drag.down,
    onPointerMove: drag.move,
    onClick: (event) => {
      const row = drag.dragged() ? undefined : rowAt(event);
      if (row && atTwistie(event) && row.expanded !== null) toggle(row, !row.expanded);
      else if (row) ui.actions.activate(row);
    },
    onDblClick: (event) => {
      const row = atTwistie(event) ? undefined : rowAt(event);
      if (row && row.expanded !== null) toggle(row, !row.expanded);
      else if (row) openSource(row, false);
    },
  };
}

function copyRow(event: ClipboardEvent, tree: GraphUi["tree"], row: GraphRow | undefined): void {
  if (!row || !event.clipboardData) return;
  event.clipboardData.setData("text/plain", rowCopy(tree, row, summarise(tree, row.start, row.end)));
  event.preventDefault();
}

interface SharedParts extends Pick<MarksProps, "id" | "active" | "most" | "done" | "far"> {
  readonly ui: GraphUi;
  readonly drawn: DrawnRows;
}

function useShared({ ui, drawn, id, active, most, done, far }: SharedParts): MarksProps {
  const { rows, flat } = drawn;
  const { query } = ui.arranged;
  const matches = useMatches(ui);
  return useMemo(() => {
    const found = (row: GraphRow): boolean => query !== "" && row.kind !== "open" && countBetween(matches, row.start, row.end) > 0;
    return { id, rows, flat, active, most, done, far, found };
  }, [id, rows, flat, active, most, done, far, matches, query]);
}

/** A row of the list that is not drawn, as groups were folded again, is stood for by what holds it. */
function activeIndex({ active, node, tree }: GraphUi, { rows: { rows, rowOf } }: DrawnRows): number {
  if (!active) return -1;
  const ofNode = node >= 0 && active.kind !== "open" ? (rowOf[tree.order.position[node]!] ?? -1) : -1;
  return ofNode >= 0 ? ofNode : rows.findIndex(({ key }) => key === active.key);
}

function placeOf(layout: Layout, rows: readonly GraphRow[], row: number): Area | null {
  const mark = layout.marks.find((one) => one.row === row);
  if (mark) return gripOf(mark, rows[row]!);
  const box = layout.boxes.find((one) => one.row === row);
  return box ? { x: box.x, y: box.y, width: Math.min(box.width, 160), height: 24 } : null;
}

function mostBytes({ held, released }: GraphUi["tree"]["model"]): number {
  return held.reduce((most, bytes, node) => Math.max(most, bytes + released[node]!), 0);
}

interface PictureProps {
  readonly shared: MarksProps;
  readonly layout: Layout;
  readonly edges: Parameters<typeof Wires>[0]["edges"];
  readonly activeRow: number;
  readonly window: Area;
}

/** Drawn again only for something else to draw: panning moves it as a whole. */
function StillPicture(props: PictureProps): JSX.Element {
  const { shared, layout, edges, activeRow, window } = props;
  return useMemo(() => <Picture {...props} />, [shared, layout, edges, activeRow, window.x, window.y, window.width, window.height]);
}

/** What of the drawing is in or near the window; the active item always. */
function Picture({ shared, layout, edges, activeRow, window }: PictureProps): JSX.Element {
  const { rows, tree } = shared.rows;
  const marks = layout.marks.filter((mark) => mark.row === activeRow || meets(gripOf(mark, rows[mark.row]!), window));
  const chosen = marks.find((mark) => mark.row === activeRow);
  const boxes = layout.boxes.filter((box) => box.row === activeRow || meets(box, window));
  const wires = layout.wires.filter((wire) => wire.y1 >= window.y && wire.y0 <= window.y + window.height);
  return (
    <>
      {boxes.map((box) => (
        <BoxItem key={box.key} shared={shared} box={box} />
      ))}
      {chosen && <rect class="selected" {...gripOf(chosen, rows[activeRow]!)} rx={2} />}
      <Wires model={tree.model} edges={edges} wires={wires} active={activeRow} />
      {marks.map((mark) => (
        <MarkItem key={mark.key} shared={shared} mark={mark} />
      ))}
    </>
  );
}

function meets(a: Area, b: Area): boolean {
  return a.x <= b.x + b.width && a.x + a.width >= b.x && a.y <= b.y + b.height && a.y + a.height >= b.y;
}

/** The window and what is around it, in steps: moving a little draws nothing anew. */
function inSteps({ x, y, width, height }: Area): Area {
  const step = AHEAD / 2;
  const down = (value: number): number => Math.floor(value / step) * step;
  const [left, top] = [down(x - AHEAD), down(y - AHEAD)];
  return { x: left, y: top, width: down(x + width + AHEAD) + step - left, height: down(y + height + AHEAD) + step - top };
}

function useControl(control: CanvasProps["control"], canvas: { current: HTMLDivElement | null }): void {
  useEffect(() => {
    control.current = { scrollTo: () => undefined, focus: () => canvas.current?.focus() };
    return () => void (control.current = null);
  }, [control]);
}
