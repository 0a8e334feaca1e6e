/** What is said aloud when the shown state changes: each stop once, and each state that asks for something. */

import type { SessionModel } from "../shared/panel_model";
import { announcement } from "../shared/stop_summary";
import { announceText, stateText } from "../shared/text";

/** Reading, running and stale say nothing: they pass by themselves. */
export function announced(id: string, { state, snapshot, previous, stop }: SessionModel): { readonly text: string; readonly occasion: string } {
  const at = `${id} ${state.kind} ${stop?.number ?? -1}`;
  switch (state.kind) {
    case "ready":
      return { text: snapshot ? announcement(snapshot, previous) : "", occasion: at };
    case "not importable":
      return { text: stateText.notImportable, occasion: at };
    case "no torch":
      return { text: stateText.noTorch, occasion: at };
    case "nothing differentiable":
      return { text: stateText.nothing, occasion: at };
    case "failed":
      return { text: announceText.state(stateText.failed, state.reason), occasion: at };
    default:
      return { text: "", occasion: id };
  }
}
