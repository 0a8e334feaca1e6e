/** The dock of the Held view: a saved tensor, what is counted for it, and its values. */

import type { JSX } from "preact";
import { formatShape } from "../../shared/format";
import { savedTensor, type HeldModel } from "../../shared/held_model";
import { heldText } from "../../shared/text";
import { HeatMap } from "../components/heat_map";
import type { ViewProps } from "../view";
import { countedSentence } from "./held_row";

interface SavedDockProps {
  readonly props: ViewProps;
  readonly model: HeldModel;
  readonly row: number;
}

export function SavedDock({ props, model, row }: SavedDockProps): JSX.Element {
  const tensor = savedTensor(model, row);
  const { role, op, shape, dtype, node, released } = tensor;
  return (
    <div class="dock held-dock">
      <div class="held-dock-title">
        <b>
          <code>{heldText.saved(role, op)}</code>
        </b>
        <span class="dim">
          {formatShape(shape)} {dtype}
        </span>
      </div>
      <p class="dim">{countedSentence(tensor, model)}</p>
      {!released && props.recorded === undefined && (
        <HeatMap ask={props.ask} subject={{ stop: props.snapshot.stop.number, field: "saved", node, role }} shape={shape} dtype={dtype} title={heldText.values} />
      )}
    </div>
  );
}
