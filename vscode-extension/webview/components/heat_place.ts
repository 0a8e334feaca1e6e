/** Which part of a tensor a heat map shows, where its cursor is, and how keys move both. */

import { useRef, useState } from "preact/hooks";
import type { Subject } from "../../shared/session";
import {
  clampPlace,
  firstPlace,
  moveCursor,
  placeFor,
  type Cells,
  type Cursor,
  type Direction,
  type Place,
  type Window,
} from "../../shared/values";

export interface HeatPlace {
  readonly place: Place;
  /** The cell under the pointer, else the one the keys are on. */
  readonly cursor: Cursor | null;
  readonly go: (place: Place) => void;
  readonly show: (to: { readonly place: Place; readonly cursor: Cursor }) => void;
  readonly move: (direction: Direction) => void;
  readonly point: (cursor: Cursor) => void;
  readonly hover: (cursor: Cursor | null) => void;
}

export function useHeatPlace(shape: readonly number[], cells: Cells): HeatPlace {
  const [corner, setCorner] = useState<Place>(() => firstPlace(shape));
  const [cursor, setCursor] = useState<Cursor | null>(shape.every((size) => size === 1) ? START : null);
  const [hovered, hover] = useState<Cursor | null>(null);
  const place = clampPlace(shape, cells, corner);
  const show = (to: { place: Place; cursor: Cursor }): void => {
    setCorner(to.place);
    setCursor(to.cursor);
    hover(null);
  };
  const move = (direction: Direction): void => {
    const to = cursor ? moveCursor(shape, cells, cursor, direction) : { row: place.row, column: place.column };
    show({ place: placeFor(shape, cells, place, to), cursor: to });
  };
  return { place, cursor: hovered ?? cursor, go: setCorner, show, move, point: setCursor, hover };
}

const START: Cursor = { row: 0, column: 0 };

const KEYS: Readonly<Record<string, Direction>> = {
  ArrowUp: "up",
  ArrowDown: "down",
  ArrowLeft: "left",
  ArrowRight: "right",
  PageUp: "pageUp",
  PageDown: "pageDown",
  Home: "rowStart",
  End: "rowEnd",
};

const CTRL_KEYS: Readonly<Record<string, Direction>> = { Home: "start", End: "end" };

/** Takes the keys that move the cursor and leaves all others alone. */
export function onHeatKey(event: KeyboardEvent, heat: HeatPlace): void {
  if (event.altKey || event.metaKey || event.shiftKey) return;
  const direction = (event.ctrlKey ? CTRL_KEYS : KEYS)[event.key];
  if (!direction) return;
  event.preventDefault();
  event.stopPropagation();
  heat.move(direction);
}

/** The scale's end: the tensor's own where it is known, else the largest seen at this stop, so that scrolling never rescales down. */
export function useLimit(subject: Subject, window: Window | null, absMax: number | undefined): number {
  const seen = useRef({ stop: subject.stop, limit: 0 });
  if (seen.current.stop !== subject.stop) seen.current = { stop: subject.stop, limit: 0 };
  if (window) seen.current.limit = Math.max(seen.current.limit, window.limit);
  return absMax !== undefined && Number.isFinite(absMax) && absMax > 0 ? absMax : seen.current.limit;
}
