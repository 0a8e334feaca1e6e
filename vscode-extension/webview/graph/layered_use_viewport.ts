/** Panning and zooming the layered drawing: by drag, wheel and keys; kept while the graph stays the same. */

import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { shiftBetween, type RowsLayout } from "../../shared/graph_layered_mix";
import { firstView, fitWhole, keptIn, revealed, zoomAbout, type Area, type Size, type Viewport } from "../../shared/graph_layered_window";
import { keepLayered, layeredKept } from "./layered_memory";

export interface ViewportControl {
  readonly view: Viewport;
  readonly window: Size;
  readonly fit: () => void;
  readonly zoom: (factor: number, at?: { readonly x: number; readonly y: number }) => void;
  readonly pan: (dx: number, dy: number) => void;
  /** Moves so that a point of the drawing is in the middle. */
  readonly centre: (x: number, y: number) => void;
}

export interface ViewportSubject {
  readonly session: string;
  readonly digest: string;
  readonly drawn: RowsLayout;
  readonly canvas: { current: HTMLElement | null };
  /** The selected row's place in the drawing. */
  readonly active: Area | null;
  /** The key of the selected row: when it changes, it comes into view. */
  readonly activeKey: string | null;
  /** The row that was opened or closed last: it stays where it is. */
  readonly held: { current: string | null };
}

/** What the map takes at the right: a drawing that fits is beside it. */
const MAP_ROOM = 60;
/** Where nothing is measured, as before the first paint. */
const UNMEASURED: Size = { width: 640, height: 560 };

export function useViewport(subject: ViewportSubject): ViewportControl {
  const { session, digest, drawn, canvas, active, activeKey } = subject;
  const { layout } = drawn;
  const [window, life] = useCanvasSize(canvas);
  const [, redraw] = useState(0);
  const view = useRef<Viewport | null>(null);
  const kept = layeredKept(session);
  if (view.current === null && kept.digest === digest && kept.moved) view.current = kept.view;
  const clear = { width: window.width - (window.width > 2 * MAP_ROOM ? MAP_ROOM : 0), height: window.height };
  const first = (): Viewport => firstView(layout, clear, life, active);
  const current = view.current ?? first();
  const set = (next: Viewport, moved: boolean): void => {
    view.current = keptIn(layout, window, next);
    keepLayered(session, { view: view.current, digest, moved: moved || layeredKept(session).moved });
    redraw((count) => count + 1);
  };
  useRefit(subject, { window, first, set, view });
  useReveal({ activeKey, active, window, view, set });
  const latest = useRef({ set, current, window });
  latest.current = { set, current, window };
  const zoom = useCallback((factor: number, at?: { readonly x: number; readonly y: number }) => {
    const { set: put, current: now, window: room } = latest.current;
    put(zoomAbout(now, factor, at ?? { x: room.width / 2, y: room.height / 2 }), true);
  }, []);
  const pan = useCallback((dx: number, dy: number) => {
    const { set: put, current: now } = latest.current;
    put({ ...now, left: now.left + dx, top: now.top + dy }, true);
  }, []);
  useWheel(canvas, zoom, pan);
  return {
    view: current,
    window,
    zoom,
    pan,
    fit: () => {
      keepLayered(session, { moved: false });
      set(fitWhole(layout, clear, life), false);
    },
    centre: (x, y) => set({ ...current, left: window.width / 2 - x * current.scale, top: window.height / 2 - y * current.scale }, true),
  };
}

interface Refit {
  readonly window: Size;
  readonly first: () => Viewport;
  readonly set: (view: Viewport, moved: boolean) => void;
  readonly view: { current: Viewport | null };
}

/** Another graph is fitted anew; in the same, what was opened or closed stays under the eye. */
function useRefit({ session, digest, drawn, held }: ViewportSubject, { window, first, set, view }: Refit): void {
  const before = useRef<{ readonly drawn: RowsLayout; readonly digest: string } | null>(null);
  useLayoutEffect(() => {
    const last = before.current;
    before.current = { drawn, digest };
    if (last && last.digest !== digest) {
      keepLayered(session, { moved: false });
      return set(first(), false);
    }
    const now = view.current;
    if (!last || !now || last.drawn.layout === drawn.layout) return now ? undefined : set(first(), false);
    const middle = { x: (window.width / 2 - now.left) / now.scale, y: (window.height / 2 - now.top) / now.scale };
    const { x, y } = shiftBetween(last.drawn, drawn, held.current, middle);
    held.current = null;
    set({ ...now, left: now.left - x * now.scale, top: now.top - y * now.scale }, false);
  }, [drawn.layout, digest]);
  useLayoutEffect(() => {
    if (!layeredKept(session).moved) set(first(), false);
    else if (view.current) set(view.current, false);
  }, [window.width, window.height]);
}

interface Reveal {
  readonly activeKey: string | null;
  readonly active: Area | null;
  readonly window: Size;
  readonly view: { current: Viewport | null };
  readonly set: (view: Viewport, moved: boolean) => void;
}

/** What becomes selected comes into view; the zoom stays. */
function useReveal({ activeKey, active, window, view, set }: Reveal): void {
  useLayoutEffect(() => {
    if (!active || !view.current) return;
    const next = revealed(view.current, window, active);
    if (next !== view.current) set(next, false);
  }, [activeKey]);
}

/** The canvas, and the size of text that the host asks for, of which 13 px is life size. */
function useCanvasSize(canvas: { current: HTMLElement | null }): readonly [Size, number] {
  const [size, setSize] = useState<Size>(UNMEASURED);
  const [life, setLife] = useState(1);
  useLayoutEffect(() => {
    const element = canvas.current;
    if (!element) return;
    const measure = (): void => {
      const { clientWidth: width, clientHeight: height } = element;
      if (width > 0 && height > 0) setSize((known) => (known.width === width && known.height === height ? known : { width, height }));
      const font = Number.parseFloat(getComputedStyle(element).getPropertyValue("--vscode-font-size"));
      setLife(Number.isFinite(font) ? Math.min(1.15, Math.max(0.85, font / 13)) : 1);
    };
    measure();
    if (typeof ResizeObserver === "undefined") return;
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return [size, life];
}

/** Scrolls; with Ctrl or Cmd (a pinch arrives so too) zooms about the pointer. Not passive: the page must not zoom as well. */
function useWheel(canvas: { current: HTMLElement | null }, zoom: ViewportControl["zoom"], pan: ViewportControl["pan"]): void {
  useEffect(() => {
    const element = canvas.current;
    if (!element) return;
    const turn = (event: WheelEvent): void => {
      event.preventDefault();
      const unit = event.deltaMode === 1 ? 18 : event.deltaMode === 2 ? element.clientHeight : 1;
      if (event.ctrlKey || event.metaKey) {
        const box = element.getBoundingClientRect();
        return zoom(Math.exp(-event.deltaY * unit * 0.0025), { x: event.clientX - box.left, y: event.clientY - box.top });
      }
      const across = event.shiftKey && event.deltaX === 0;
      pan(-(across ? event.deltaY : event.deltaX) * unit, across ? 0 : -event.deltaY * unit);
    };
    element.addEventListener("wheel", turn, { passive: false });
    return () => element.removeEventListener("wheel", turn);
  }, []);
}

/** A press that moves this far is a drag. */
const SLOP = 4;

/** Drags the drawing; says whether the press that ends now was one, so that it selects nothing. */
export function useDrag(pan: ViewportControl["pan"]): { readonly down: (event: PointerEvent) => void; readonly move: (event: PointerEvent) => void; readonly dragged: () => boolean } {
  const at = useRef<{ x: number; y: number; far: boolean } | null>(null);
  const wasFar = useRef(false);
  return {
    down: (event) => {
      wasFar.current = false;
      at.current = event.button === 0 || event.button === 1 ? { x: event.clientX, y: event.clientY, far: false } : null;
    },
    move: (event) => {
      const from = at.current;
      if (!from || event.buttons === 0) return;
      const [dx, dy] = [event.clientX - from.x, event.clientY - from.y];
      if (!from.far && Math.hypot(dx, dy) < SLOP) return;
      if (!from.far) (event.currentTarget as Element).setPointerCapture?.(event.pointerId);
      wasFar.current = true;
      at.current = { x: event.clientX, y: event.clientY, far: true };
      pan(dx, dy);
    },
    dragged: () => wasFar.current,
  };
}
