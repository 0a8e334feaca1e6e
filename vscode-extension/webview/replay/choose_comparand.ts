/** What a session can be compared with, and how each comes: by the picker, or by the command. */

import { currentStep, type Comparand, type ReplayModel } from "../../shared/replay_model";
import { momentNear } from "../../shared/replay_play";
import { replayText as text } from "../../shared/text";
import type { Sheet } from "./app";
import type { ReplayActions } from "./page";

/** Another session, another step of this one, another rank: "session", "step", "rank 3". */
export function comparands({ facts, offers, timeline }: ReplayModel): readonly string[] {
  const ranks = (facts?.ranks ?? []).filter(({ rank, failure }) => failure === null && rank !== facts?.rank);
  return [...(offers.chooseOther ? ["session"] : []), ...(timeline.steps.length > 1 ? ["step"] : []), ...ranks.map(({ rank }) => text.rank(rank))];
}

export interface Choosing {
  readonly model: ReplayModel;
  readonly actions: ReplayActions;
  readonly setSheet: (sheet: Sheet) => void;
  readonly say: (problem: string) => void;
}

/** Shows what was chosen once it is there; "none" ends comparing. */
export function chooseComparand(value: string, { model, actions, setSheet, say }: Choosing): void {
  comparandFor(value, model, actions).then(
    (chosen) => {
      if (chosen === undefined) return;
      actions.compare(chosen);
      setSheet(chosen ? "compare" : "none");
    },
    (error: unknown) => say(error instanceof Error ? error.message : String(error)),
  );
}

/** Undefined where nothing was chosen after all. */
async function comparandFor(value: string, model: ReplayModel, actions: ReplayActions): Promise<Comparand | null | undefined> {
  if (value === "none") return null;
  if (value === "session") {
    const other = await actions.ask("chooseOther", {});
    return other === null ? undefined : { kind: "session", other };
  }
  if (value === "step") return stepBefore(model);
  if (!value.startsWith("rank ") || !model.facts) return undefined;
  const rank = Number(value.slice(5));
  const overview = await actions.ask("overview", { rank });
  // An overview makes its rank the one that growth is told of: that stays the one that is shown.
  await actions.ask("overview", { rank: model.facts.rank });
  return { kind: "rank", rank, overview };
}

/** The nearest step that is not the one shown, to begin with. */
function stepBefore(model: ReplayModel): Comparand | undefined {
  const { timeline, facts } = model;
  const here = currentStep(model);
  const before = momentNear(timeline.steps.filter((step) => step !== here), facts?.rank ?? 0, here - 1);
  return before?.kind === "step" ? { kind: "step", step: before.step } : undefined;
}
