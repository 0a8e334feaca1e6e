/** Makes of a snapshot every model that the panel's views draw, so that what they cannot take shows. */

import { gradientModel } from "../shared/gradient_model";
import { graphModel } from "../shared/graph_model";
import { heldByLine } from "../shared/held_lines";
import type { Snapshot } from "../shared/session";
import { stopSummary } from "../shared/stop_summary";

export function buildScene(snapshot: Snapshot): void {
  gradientModel(snapshot, null);
  graphModel(snapshot);
  heldByLine(snapshot);
  stopSummary(snapshot, null);
}
