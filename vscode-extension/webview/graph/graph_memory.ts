/** How the user has arranged the graph, kept for each debug session while stops and tabs come and go. */

import type { OpenKeys } from "../../shared/graph_rows";

export interface GraphArranged {
  /** Null until the first graph of the session says what to open. */
  readonly open: OpenKeys | null;
  readonly byModule: boolean;
  readonly withLeaves: boolean;
  readonly query: string;
  /** The stop whose running node was selected: once, so that the user may look elsewhere. */
  readonly followedStop: number;
  /** The row that the keys are on while nothing in the graph is selected. */
  readonly active: string | null;
  /** The fold that the dock tells of: no selection stands for it. */
  readonly shown: string | null;
}

const FRESH: GraphArranged = { open: null, byModule: true, withLeaves: false, query: "", followedStop: -1, active: null, shown: null };

const KEPT = new Map<string, GraphArranged>();

export function arrangedOf(session: string): GraphArranged {
  return KEPT.get(session) ?? FRESH;
}

export function keepArranged(session: string, arranged: GraphArranged): void {
  KEPT.set(session, arranged);
}
