/** What the panel shows for one debug session. One state at a time; values of an earlier stop are kept beside it. */

/** A frame that could be looked at instead: `depth` 1 is the caller of the selected one. */
export interface CallerScope {
  readonly depth: number;
  readonly function: string;
  readonly tensorCount: number;
}

export type PanelState =
  | { readonly kind: "no session" }
  | { readonly kind: "running"; readonly program: string; readonly lastStop: LastStop | null }
  | { readonly kind: "reading"; readonly budgetMs: number; readonly startedMs: number }
  | { readonly kind: "not importable"; readonly executable: string; readonly version: string }
  | { readonly kind: "no torch" }
  | { readonly kind: "nothing differentiable"; readonly function: string; readonly callers: readonly CallerScope[] }
  | { readonly kind: "failed"; readonly expression: string; readonly reason: string; readonly budgetMs: number }
  | { readonly kind: "ready" }
  | { readonly kind: "stale"; readonly lastStop: LastStop };

/** Where values that are shown came from. `step` is -1 where it is not known; `atMs` is the host's clock. */
export interface LastStop {
  readonly number: number;
  readonly step: number;
  readonly atMs: number;
}

/** A debug session in the picker: rank and pid are -1 until its first answer. */
export interface SessionItem {
  readonly id: string;
  readonly name: string;
  readonly rank: number;
  readonly pid: number;
  readonly stopped: boolean;
}
