/** What every view is given. Views draw; the shell in app.tsx owns what they share. */

import type { Method, Requests } from "../shared/messages";
import type { Selection } from "../shared/selection";
import type { Snapshot } from "../shared/session";

/** Asks the host. Rejects with an Error whose message can be shown. */
export type Ask = <M extends Method>(method: M, params: Requests[M]["params"]) => Promise<Requests[M]["result"]>;

export type Tab = "gradients" | "graph" | "held";

/** What keys and commands ask of the view that is shown. */
export type ViewCommand = "filter" | "nextTrouble" | "previousTrouble" | "showAsTable";

export interface ViewProps {
  readonly session: string;
  readonly snapshot: Snapshot;
  /** The snapshot of the stop before, for what changed. */
  readonly previous: Snapshot | null;
  /** True while another stop is read or the program runs: draw the same, dimmed. */
  readonly dimmed: boolean;
  readonly selection: Selection;
  readonly select: (selection: Selection) => void;
  readonly showTab: (tab: Tab) => void;
  readonly ask: Ask;
  /** Listens until the returned function is called. The listener says whether it acted. */
  readonly onCommand: (listener: (command: ViewCommand) => boolean) => () => void;
  /** Adds the condition that stops backward at the selection; says so, or why not, in the panel. */
  readonly breakHere: (selection: Selection) => void;
  /** Width of the panel in CSS px: below 420 is narrow. */
  readonly width: number;
}
