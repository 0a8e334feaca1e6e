/** The comparison with what was chosen: asked for once for each pair of sides. */

import { useEffect, useState } from "preact/hooks";
import type { Comparison, Side } from "../../shared/compare";
import { fileName } from "../../shared/format";
import type { ReplayAsk } from "../../shared/replay";
import { currentStep, type Comparand, type ReplayModel } from "../../shared/replay_model";
import { replayText as text } from "../../shared/text";

export type ComparisonState =
  | { readonly kind: "none" }
  | { readonly kind: "reading" }
  | { readonly kind: "failed"; readonly reason: string }
  | { readonly kind: "ready"; readonly result: Comparison };

const SETTLED_MS = 250;

interface Sides {
  readonly a: Side;
  readonly b: Side;
}

/** While another step is chosen the answer before stays until the new one is there. */
export function useComparison(ask: ReplayAsk, model: ReplayModel): ComparisonState {
  const sides = sidesOf(model);
  const key = JSON.stringify(sides);
  const [state, setState] = useState<ComparisonState>({ kind: "none" });
  useEffect(() => {
    if (sides === null) return setState({ kind: "none" });
    let wanted = true;
    const again = state.kind === "ready" && model.comparand?.kind === "step";
    if (!again) setState({ kind: "reading" });
    const start = (): void =>
      void ask("compare", { ...sides, tolerance: null }).then(
        (result) => wanted && setState({ kind: "ready", result }),
        (error: unknown) => wanted && setState({ kind: "failed", reason: error instanceof Error ? error.message : String(error) }),
      );
    // While the playhead is dragged not every step that it passes is compared.
    const timer = again ? setTimeout(start, SETTLED_MS) : undefined;
    if (!again) start();
    return () => {
      wanted = false;
      clearTimeout(timer);
    };
  }, [key]);
  return sides === null ? { kind: "none" } : state;
}

function sidesOf(model: ReplayModel): Sides | null {
  const { comparand, facts } = model;
  if (comparand === null || facts === null) return null;
  const own = { session: "", rank: facts.rank, step: null };
  switch (comparand.kind) {
    case "session":
      return { a: own, b: { session: comparand.other.id, rank: comparand.other.overview.facts.rank, step: null } };
    case "rank":
      return { a: own, b: { session: "", rank: comparand.rank, step: null } };
    case "step":
      return { a: { ...own, step: currentStep(model) }, b: { ...own, step: comparand.step } };
  }
}

/** What the other side is called beside its numbers. */
export function comparandName(comparand: Comparand): string {
  switch (comparand.kind) {
    case "session":
      return fileName(comparand.other.overview.facts.name).replace(/\.gradwatch$/, "");
    case "rank":
      return text.rank(comparand.rank);
    case "step":
      return text.stopStep(comparand.step);
  }
}

/** The first step at which anything parts, and what it is; null where nothing does. */
export function partingOf({ gradients, loss }: Comparison): { readonly step: number; readonly name: string } | null {
  if (gradients && (loss === null || gradients.step <= loss.step)) {
    const { first } = gradients;
    return { step: gradients.step, name: first.node?.a.module ?? first.name };
  }
  return loss === null ? null : { step: loss.step, name: text.rowLoss };
}
