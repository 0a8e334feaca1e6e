/** Running a recorded step again, where the host can. */

import type { ReplayModel } from "../../shared/replay_model";
import type { ReplayActions } from "./page";

/** The host restores the step and runs it again under its debugger. */
export function askToReplay({ at, shown, offers }: ReplayModel, actions: ReplayActions, say: (problem: string) => void): void {
  const step = at?.kind === "step" ? at.step : (shown?.snapshot.stop.step ?? -1);
  if (!offers.replayStep || at === null || step < 0) return;
  actions.ask("replayStep", { rank: at.rank, step }).catch((error: unknown) => say(error instanceof Error ? error.message : String(error)));
}
