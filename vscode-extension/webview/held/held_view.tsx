/** The Held view: how many bytes backward keeps, of which class, where they were saved, and what cannot be seen. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { formatBytes } from "../../shared/format";
import { GROUPINGS, type Grouping } from "../../shared/held_groups";
import { heldModel, runningModule, type HeldModel } from "../../shared/held_model";
import { isPartial, whyNoLedger } from "../../shared/held_unseen";
import { heldText } from "../../shared/text";
import { useStored } from "../stored";
import type { ViewProps } from "../view";
import { ViewFrame } from "../view_frame";
import { ClassBar } from "./class_bar";
import { HeldTable } from "./held_table";
import { SavedDock } from "./saved_dock";
import { Segmented } from "./segmented";
import { Treemap } from "./treemap";
import { UnseenList } from "./unseen_list";

const TREEMAP_HEIGHT = 216;

export function HeldView(props: ViewProps): JSX.Element {
  const model = heldModel(props.snapshot);
  return model ? <Ledger props={props} model={model} /> : <NoLedger {...props} />;
}

function NoLedger({ snapshot, select, dimmed }: ViewProps): JSX.Element {
  return (
    <ViewFrame class={dimmed ? "held dimmed" : "held"}>
      <div class="held-none">
        <b>{heldText.noGraphTitle}</b>
        <p>{whyNoLedger(snapshot)}</p>
      </div>
      <UnseenList snapshot={snapshot} select={select} />
    </ViewFrame>
  );
}

function Ledger({ props, model }: { readonly props: ViewProps; readonly model: HeldModel }): JSX.Element {
  const [stored, choose] = useStored<Grouping>("held.grouping", "line");
  const grouping = GROUPINGS.includes(stored) ? stored : "line";
  const [shown, show] = useState<number | null>(null);
  useEffect(
    () =>
      props.onCommand((command) => {
        if (command === "showAsTable") choose("module");
        return command === "showAsTable";
      }),
    [props.onCommand, choose],
  );
  const isShown = shown !== null && props.selection.kind === "node" && model.node[shown] === props.selection.index;
  return (
    <ViewFrame class={props.dimmed ? "held dimmed" : "held"} dock={isShown ? <SavedDock props={props} model={model} row={shown} /> : null}>
      <Total model={model} recorded={props.recorded !== undefined} />
      <ClassBar model={model} />
      <UnseenList snapshot={props.snapshot} select={props.select} />
      {props.recorded?.heldCurve}
      <div class="held-head">
        <h3>{heldText.heldBy}</h3>
        <span class="sp" />
        <Segmented label={heldText.groupBy} options={GROUPINGS} names={heldText.groupings} value={grouping} onValue={choose} />
      </div>
      <HeldTable key={grouping} props={props} model={model} grouping={grouping} onTensor={show} />
      <Treemap
        model={model}
        height={TREEMAP_HEIGHT}
        selection={props.selection}
        select={props.select}
        running={runningModule(model)}
        onTable={() => choose("module")}
      />
    </ViewFrame>
  );
}

function Total({ model, recorded }: { readonly model: HeldModel; readonly recorded: boolean }): JSX.Element {
  return (
    <div class="held-total">
      <b>{formatBytes(model.total)}</b>
      <span class="dim">{recorded ? heldText.captionRecorded : isPartial(model.snapshot) ? heldText.captionPartial : heldText.caption}</span>
      <span class="sp" />
      {model.releasedBytes > 0 && <span class="dim">{heldText.released(formatBytes(model.releasedBytes))}</span>}
    </div>
  );
}
