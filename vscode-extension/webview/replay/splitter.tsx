/** Between two columns: dragged, or moved by arrow keys; a double click gives the first width back. */

import type { JSX } from "preact";
import { useRef } from "preact/hooks";

export interface SplitterProps {
  readonly label: string;
  /** The edge of its column that it stands on. */
  readonly side: "left" | "right";
  readonly width: number;
  readonly least: number;
  readonly most: number;
  readonly initial: number;
  readonly onWidth: (width: number) => void;
}

const BY_KEY = 16;

export function Splitter({ label, side, width, least, most, initial, onWidth }: SplitterProps): JSX.Element {
  const drag = useRef<{ readonly x: number; readonly width: number } | null>(null);
  const sign = side === "right" ? 1 : -1;
  const onKeyDown = (event: KeyboardEvent): void => {
    const by: Readonly<Record<string, number>> = { ArrowRight: sign * BY_KEY, ArrowLeft: -sign * BY_KEY };
    const to = event.key === "Home" ? least : event.key === "End" ? most : by[event.key] === undefined ? null : width + by[event.key]!;
    if (to === null) return;
    event.preventDefault();
    event.stopPropagation();
    onWidth(to);
  };
  return (
    <div
      class={`rp-split ${side}`}
      role="separator"
      tabIndex={0}
      aria-label={label}
      aria-orientation="vertical"
      aria-valuenow={width}
      aria-valuemin={least}
      aria-valuemax={most}
      onKeyDown={onKeyDown}
      onDblClick={() => onWidth(initial)}
      onPointerDown={(event) => {
        event.currentTarget.setPointerCapture(event.pointerId);
        drag.current = { x: event.clientX, width };
      }}
      onPointerMove={(event) => {
        const from = drag.current;
        if (from && event.currentTarget.hasPointerCapture(event.pointerId)) onWidth(from.width + sign * (event.clientX - from.x));
      }}
      onPointerUp={() => void (drag.current = null)}
    />
  );
}
