/** What every view is given. Views draw; the shell in app.tsx owns what they share. */

import type { ComponentChildren } from "preact";
import type { GradientHistory } from "../shared/gradient_history";
import type { Method, Requests } from "../shared/messages";
import type { Selection } from "../shared/selection";
import type { Parameter, Snapshot } from "../shared/session";

/** Asks the host. Rejects with an Error whose message can be shown. */
export type Ask = <M extends Method>(method: M, params: Requests[M]["params"]) => Promise<Requests[M]["result"]>;

export type Tab = "gradients" | "graph" | "held";

/** What keys and commands ask of the view that is shown. */
export type ViewCommand = "filter" | "nextTrouble" | "previousTrouble" | "showAsTable";

/**
 * What a recorded session adds to the views. Where it is there, the snapshot was recorded and no program waits: there are
 * no tensors to read values of, nothing to step, break at or ask again.
 */
export interface Recorded {
  /** Norms over the last steps; null until they were read. */
  readonly history: GradientHistory | null;
  /** One gradient over all steps. */
  readonly curveOf: (parameter: Parameter) => ComponentChildren;
  /** The page is low: charts give way to rows. */
  readonly low?: boolean;
  /** How what was held was let go over backward; null where that is not known. */
  readonly heldCurve: ComponentChildren;
}

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
  /** Says why a gradient is as it is: in the findings, or as Python answers. Absent where nobody can be asked. */
  readonly why?: (selection: Selection) => void;
  /** Width of the panel in CSS px: below 420 is narrow. */
  readonly width: number;
  /** Absent at a live stop. */
  readonly recorded?: Recorded;
}
