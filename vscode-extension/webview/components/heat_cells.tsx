/** The cells of a heat map: a canvas that takes the keys and the pointer. */

import type { JSX, TargetedMouseEvent } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import { valuesText } from "../../shared/text";
import type { Cells, Cursor } from "../../shared/values";
import { cursorAt, drawHeat } from "./heat_canvas";
import { heatColours, useThemeVersion, type HeatColours } from "./heat_colours";
import { onHeatKey, type HeatPlace } from "./heat_place";
import type { WindowState } from "./latest_values";

interface HeatCellsProps {
  readonly label: string;
  readonly shape: readonly number[];
  readonly cells: Cells;
  readonly heat: HeatPlace;
  readonly state: WindowState;
  readonly limit: number;
  /** What is drawn is of another stop. */
  readonly old: boolean;
}

export function HeatCells({ label, shape, cells, heat, state, limit, old }: HeatCellsProps): JSX.Element {
  const canvas = useRef<HTMLCanvasElement>(null);
  const theme = useThemeVersion();
  const colours = useRef<{ readonly theme: number; readonly of: HeatColours } | null>(null);
  const drawing = { shape, cells, place: heat.place, window: state.window, limit, cursor: heat.cursor };
  useLayoutEffect(() => {
    const element = canvas.current;
    if (!element?.parentElement) return;
    if (colours.current?.theme !== theme) colours.current = { theme, of: heatColours(element.parentElement) };
    drawHeat(element, drawing, colours.current.of);
  });
  const under = (event: TargetedMouseEvent<HTMLElement>): Cursor | null =>
    cursorAt(drawing, Math.floor(event.offsetX / cells.size), Math.floor(event.offsetY / cells.size));
  return (
    <div
      class={`hm-cells${old ? " hm-old" : ""}${state.kind === "reading" ? " hm-reading" : ""}`}
      role="application"
      aria-roledescription={valuesText.heatMap}
      aria-label={label}
      tabIndex={0}
      style={{ width: `${cells.columns * cells.size}px`, height: `${cells.rows * cells.size}px` }}
      onKeyDown={(event) => onHeatKey(event, heat)}
      onFocus={() => heat.cursor ?? heat.point({ row: heat.place.row, column: heat.place.column })}
      onMouseMove={(event) => heat.hover(under(event))}
      onMouseLeave={() => heat.hover(null)}
      onClick={(event) => {
        const cell = under(event);
        if (cell) heat.point(cell);
      }}
    >
      <canvas ref={canvas} aria-hidden="true" />
    </div>
  );
}
