/** The whole graph at the right edge, in sequence: bytes as width, state as colour, and what is in view. It scrolls. */

import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { formatCount } from "../../shared/format";
import { FIRED, PENDING, RUNNING, type GraphModel } from "../../shared/graph_model";
import type { GraphRows } from "../../shared/graph_rows";
import { graphText } from "../../shared/text";
import { GlyphAt } from "../components/glyph";
import { ROW_HEIGHT } from "./lane_paths";

export const MAP_WIDTH = 18;
/** Fewer nodes are overseen without a map. */
const LEAST_NODES = 40;

export interface MiniMapProps {
  readonly rows: GraphRows;
  readonly most: number;
  /** The rows' element: what scrolls is the area around it. */
  readonly list: { current: HTMLElement | null };
}

interface View {
  readonly height: number;
  readonly firstRow: number;
  readonly lastRow: number;
}

export function MiniMap({ rows, most, list }: MiniMapProps): JSX.Element | null {
  const view = useView(list);
  const count = rows.tree.order.node.length;
  const height = Math.max(0, Math.min(view.height - 8, count * 3));
  const map = useMemo(() => drawMap(rows.tree.model, rows.tree.order.node, most, height), [rows.tree, most, height]);
  if (count < LEAST_NODES || height < 40) return null;
  const [from, to] = seenPositions(rows, view);
  const scale = height / count;
  const drag = (event: PointerEvent): void => {
    const svg = event.currentTarget as SVGElement;
    const at = Math.floor(((event.clientY - svg.getBoundingClientRect().top) / height) * count);
    scrollToPosition(list.current, rows, Math.min(count - 1, Math.max(0, at)), view);
  };
  return (
    <svg
      class="mini"
      width={MAP_WIDTH}
      height={height}
      role="img"
      aria-label={graphText.overview(formatCount(count), formatCount(to - from))}
      onPointerDown={(event) => {
        (event.currentTarget as SVGElement).setPointerCapture(event.pointerId);
        drag(event);
      }}
      onPointerMove={(event) => event.buttons === 1 && drag(event)}
    >
      <rect class="area" width={MAP_WIDTH} height={height} />
      {Object.entries(map.paths).map(([tone, d]) => d && <path key={tone} class={tone} d={d} />)}
      {to - from < count && <rect class="seen" y={from * scale - 2} width={MAP_WIDTH} height={Math.max(4, (to - from) * scale + 4)} />}
      {map.running >= 0 && <path class="here" d={`M0 ${map.running}h${MAP_WIDTH}`} />}
      {map.nan.map((y) => (
        <GlyphAt key={y} id="NaN" x={MAP_WIDTH - 5} y={y} size={8} />
      ))}
    </svg>
  );
}

interface DrawnMap {
  readonly paths: Readonly<Record<"calm" | "fired" | "waiting" | "bad", string>>;
  readonly running: number;
  readonly nan: readonly number[];
}

/** One line for each 2 px: the most bytes that a node there saved, and the state that matters most. */
function drawMap(model: GraphModel, nodes: Int32Array, most: number, height: number): DrawnMap {
  const lines = Math.max(1, Math.min(nodes.length, Math.floor(height / 2)));
  const paths = { calm: "", fired: "", waiting: "", bad: "" };
  const nan: number[] = [];
  let running = -1;
  for (let line = 0; line < lines; line++) {
    const [from, to] = [Math.floor((line * nodes.length) / lines), Math.floor(((line + 1) * nodes.length) / lines)];
    const y = (line + 0.5) * (height / lines);
    const seen = overlook(model, nodes.subarray(from, to));
    const width = 3 + (most > 0 ? 12 * Math.sqrt(seen.bytes / most) : 0);
    paths[seen.tone] += `M${MAP_WIDTH - 2 - width} ${y.toFixed(1)}h${width.toFixed(1)}`;
    if (seen.running) running = y;
    if (seen.nan && (nan.length === 0 || y - nan[nan.length - 1]! > 8)) nan.push(y);
  }
  return { paths, running, nan };
}

function overlook(model: GraphModel, nodes: Int32Array): { bytes: number; tone: keyof DrawnMap["paths"]; running: boolean; nan: boolean } {
  let [bytes, trouble, fired, waiting, running] = [0, 0, 0, 0, false];
  for (const node of nodes) {
    bytes = Math.max(bytes, model.held[node]! + model.released[node]!);
    trouble = Math.max(trouble, model.gradients.trouble[node]!);
    if (model.state[node] === FIRED) fired++;
    if (model.state[node] === PENDING) waiting++;
    if (model.state[node] === RUNNING) running = true;
  }
  const tone = trouble > 0 ? "bad" : fired > waiting ? "fired" : waiting > 0 ? "waiting" : "calm";
  return { bytes, tone, running, nan: trouble > 1 };
}

function seenPositions({ rows, tree }: GraphRows, { firstRow, lastRow }: View): readonly [number, number] {
  const last = rows.length - 1;
  const from = rows[Math.min(last, firstRow)]?.start ?? 0;
  const bottom = rows[Math.min(last, lastRow)];
  return [from, bottom ? (bottom.kind === "open" ? bottom.start + 1 : bottom.end) : tree.order.node.length];
}

/** A position inside a closed group is at its row. */
function scrollToPosition(list: HTMLElement | null, rows: GraphRows, position: number, view: View): void {
  const scroller = list?.closest<HTMLElement>("[data-scroll]");
  if (!list || !scroller) return;
  const row = rows.rowOf[position] ?? 0;
  scroller.scrollTop = row * ROW_HEIGHT - view.height / 2;
}

/** Follows the scroll area: its height below the heads that stick, and the rows in view. */
function useView(list: { current: HTMLElement | null }): View {
  const [view, setView] = useState<View>({ height: 0, firstRow: 0, lastRow: 0 });
  const frame = useRef(0);
  useEffect(() => {
    const scroller = list.current?.closest<HTMLElement>("[data-scroll]");
    if (!scroller) return;
    const measure = (): void => setView(viewOf(list.current!, scroller));
    const later = (): void => {
      cancelAnimationFrame(frame.current);
      frame.current = requestAnimationFrame(measure);
    };
    measure();
    scroller.addEventListener("scroll", later, { passive: true });
    const observer = typeof ResizeObserver === "undefined" ? null : new ResizeObserver(later);
    observer?.observe(scroller);
    return () => {
      cancelAnimationFrame(frame.current);
      scroller.removeEventListener("scroll", later);
      observer?.disconnect();
    };
  }, []);
  return view;
}

function viewOf(list: HTMLElement, scroller: HTMLElement): View {
  const area = scroller.getBoundingClientRect();
  const sticky = [...scroller.querySelectorAll("[data-sticky]")].reduce((sum, head) => sum + head.getBoundingClientRect().height, 0);
  const top = Math.max(0, area.top + sticky - list.getBoundingClientRect().top);
  const height = area.height - sticky;
  return { height, firstRow: Math.floor(top / ROW_HEIGHT), lastRow: Math.ceil((top + height) / ROW_HEIGHT) - 1 };
}
