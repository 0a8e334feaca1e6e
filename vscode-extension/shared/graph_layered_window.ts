/** Which part of a drawing is in view, and how it moves: a point of the drawing at `(x, y)` stands at `x * scale + left`. */

export interface Viewport {
  readonly left: number;
  readonly top: number;
  readonly scale: number;
}

export interface Size {
  readonly width: number;
  readonly height: number;
}

export interface Area extends Size {
  readonly x: number;
  readonly y: number;
}

export const LEAST_SCALE = 0.12;
export const MOST_SCALE = 3;
/** Below this the drawing is rather scrolled than shown whole. */
const READABLE = 0.72;
/** Kept around what comes into view. */
const AROUND = 28;

/** The whole drawing, no larger than life. */
export function fitWhole(drawing: Size, window: Size, life: number): Viewport {
  const scale = clampScale(Math.min(life, window.width / drawing.width, window.height / drawing.height));
  return { left: (window.width - drawing.width * scale) / 2, top: Math.max(0, (window.height - drawing.height * scale) / 2), scale };
}

/** The whole drawing where it can be read, else as much of it as can be, about `focus` or from its top. */
export function firstView(drawing: Size, window: Size, life: number, focus: Area | null): Viewport {
  const whole = fitWhole(drawing, window, life);
  if (whole.scale >= READABLE * life) return whole;
  const scale = Math.max(READABLE * life, Math.min(life, window.width / drawing.width));
  const middle = focus ?? { x: 0, y: 0, width: drawing.width, height: 0 };
  const view = { left: window.width / 2 - (middle.x + middle.width / 2) * scale, top: window.height / 2 - (middle.y + middle.height / 2) * scale, scale };
  return keptIn(drawing, window, view);
}

/** A drawing never leaves the window: at least its edge stays in it. */
export function keptIn(drawing: Size, window: Size, { left, top, scale }: Viewport): Viewport {
  return { left: within(left, drawing.width * scale, window.width), top: within(top, drawing.height * scale, window.height), scale };
}

/** Smaller than the window it may be anywhere inside; larger, it fills the window. */
function within(start: number, size: number, room: number): number {
  const [least, most] = size < room ? [0, room - size] : [room - size, 0];
  return Math.min(Math.max(start, least), most);
}

/** Zooms about a point of the window, which stays where it is. */
export function zoomAbout(view: Viewport, factor: number, at: { readonly x: number; readonly y: number }): Viewport {
  const scale = clampScale(view.scale * factor);
  const grown = scale / view.scale;
  return { left: at.x - (at.x - view.left) * grown, top: at.y - (at.y - view.top) * grown, scale };
}

function clampScale(scale: number): number {
  return Math.min(MOST_SCALE, Math.max(LEAST_SCALE, Number.isFinite(scale) ? scale : 1));
}

/** Moves no more than is needed to have an area in view. The same viewport where it is. */
export function revealed(view: Viewport, window: Size, area: Area): Viewport {
  const left = shift(view.left, view.scale, window.width, area.x, area.width);
  const top = shift(view.top, view.scale, window.height, area.y, area.height);
  return left === view.left && top === view.top ? view : { left, top, scale: view.scale };
}

function shift(start: number, scale: number, room: number, from: number, size: number): number {
  const [first, last] = [from * scale + start - AROUND, (from + size) * scale + start + AROUND];
  if (last - first > room || first < 0) return first < 0 || last > room ? start - first : start;
  return last > room ? start + room - last : start;
}

/** What of the drawing the window shows. */
export function seenArea({ left, top, scale }: Viewport, { width, height }: Size): Area {
  return { x: -left / scale, y: -top / scale, width: width / scale, height: height / scale };
}
