/** The whole drawing at the right: nodes as bars, bytes as width, state as colour, and what is in view. It moves the view. */

import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import { formatCount, formatPercent } from "../../shared/format";
import type { Layout } from "../../shared/graph_layered_layout";
import type { Area } from "../../shared/graph_layered_window";
import type { GraphRows } from "../../shared/graph_rows";
import { summarise } from "../../shared/graph_summary";
import { layeredText } from "../../shared/text";
import { GlyphAt } from "../components/glyph";

const WIDTH = 44;
const TALLEST = 150;
const INSET = 3;

export interface LayeredMapProps {
  readonly rows: GraphRows;
  readonly layout: Layout;
  readonly most: number;
  readonly seen: Area;
  readonly centre: (x: number, y: number) => void;
}

export function LayeredMap({ rows, layout, most, seen, centre }: LayeredMapProps): JSX.Element | null {
  const height = Math.min(TALLEST, Math.max(60, layout.height / 6));
  const [across, down] = [(WIDTH - 2 * INSET) / layout.width, (height - 2 * INSET) / layout.height];
  const bars = useMemo(() => drawBars(rows, layout, most, { across, down }), [rows, layout, most]);
  const share = Math.min(1, seen.height / layout.height);
  if (share >= 1 && seen.width >= layout.width) return null;
  const clipped = clip(seen, layout);
  const drag = (event: PointerEvent): void => {
    const box = (event.currentTarget as SVGElement).getBoundingClientRect();
    centre((event.clientX - box.left - INSET) / across, (event.clientY - box.top - INSET) / down);
  };
  return (
    <svg
      class="layered-map"
      width={WIDTH}
      height={height}
      role="img"
      aria-label={layeredText.map(formatCount(rows.tree.model.nodes), formatPercent(share))}
      onPointerDown={(event) => {
        event.stopPropagation();
        (event.currentTarget as SVGElement).setPointerCapture?.(event.pointerId);
        drag(event);
      }}
      onPointerMove={(event) => {
        event.stopPropagation();
        if (event.buttons === 1) drag(event);
      }}
    >
      <rect class="area" width={WIDTH} height={height} />
      {Object.entries(bars.paths).map(([tone, d]) => d && <path key={tone} class={tone} d={d} />)}
      {bars.nan.slice(0, 20).map(({ x, y }) => (
        <GlyphAt key={`${x} ${y}`} id="NaN" x={x} y={y} size={8} />
      ))}
      <rect
        class="seen"
        x={INSET + clipped.x * across - 2}
        y={INSET + clipped.y * down - 1}
        width={Math.max(6, clipped.width * across + 4)}
        height={Math.max(6, clipped.height * down + 2)}
      />
    </svg>
  );
}

function clip({ x, y, width, height }: Area, layout: Layout): Area {
  const [left, top] = [Math.max(0, x), Math.max(0, y)];
  return { x: left, y: top, width: Math.min(layout.width, x + width) - left, height: Math.min(layout.height, y + height) - top };
}

interface Bars {
  readonly paths: Readonly<Record<"calm" | "fired" | "waiting" | "bad" | "here", string>>;
  readonly nan: readonly { readonly x: number; readonly y: number }[];
}

function drawBars({ tree, rows }: GraphRows, { marks }: Layout, most: number, { across, down }: { across: number; down: number }): Bars {
  const paths = { calm: "", fired: "", waiting: "", bad: "", here: "" };
  const nan: { x: number; y: number }[] = [];
  for (const mark of marks) {
    const row = rows[mark.row]!;
    const { state, trouble, held, released } = summarise(tree, row.start, row.end);
    const width = row.kind === "op" ? 5 + (most > 0 ? 18 * Math.sqrt((held + released) / most) : 0) : 14;
    const [x, y] = [INSET + mark.x * across, INSET + mark.y * down];
    const tone = state === "running" ? "here" : trouble ? "bad" : state === "fired" ? "fired" : state === "pending" ? "waiting" : "calm";
    paths[tone] += `M${Math.max(1, x - width / 2).toFixed(1)} ${y.toFixed(1)}H${Math.min(WIDTH - 1, x + width / 2).toFixed(1)}`;
    if (trouble === "NaN" || trouble === "Inf") nan.push({ x, y });
  }
  return { paths, nan };
}
