/** Where the user left the layered drawing, kept for each session while steps, stops and tabs come and go. */

import type { Viewport } from "../../shared/graph_layered_window";

export interface LayeredKept {
  /** Null until it was first shown. */
  readonly view: Viewport | null;
  /** The user has moved it: it is not fitted again. */
  readonly moved: boolean;
  /** The graph that the viewport is of. */
  readonly digest: string;
  /** The list stands in for the drawing. */
  readonly asTable: boolean;
}

const FRESH: LayeredKept = { view: null, moved: false, digest: "", asTable: false };
const KEPT = new Map<string, LayeredKept>();

export function layeredKept(session: string): LayeredKept {
  return KEPT.get(session) ?? FRESH;
}

export function keepLayered(session: string, change: Partial<LayeredKept>): void {
  KEPT.set(session, { ...layeredKept(session), ...change });
}
