/** The dock of a parameter or leaf: its numbers, the spread of magnitudes, the values themselves. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { formatShape } from "../../shared/format";
import { earlierOf } from "../../shared/gradient_changes";
import { histogramBars } from "../../shared/gradient_histogram";
import type { ParameterNode } from "../../shared/gradient_tree";
import { gradientsText as text, replayText } from "../../shared/text";
import { HeatMap } from "../components/heat_map";
import { DockActions } from "./dock_actions";
import { DockFrame, type DockProps } from "./dock";
import { FactTable, gradientFacts } from "./fact_table";
import { Pictures } from "./pictures";
import { StateLine } from "./state_mark";

export function ParameterDock({ node, view, model }: DockProps & { readonly node: ParameterNode }): JSX.Element {
  const { row } = node;
  const { shape, dtype, device } = row.parameter;
  const before = earlierOf(model.previous)(row.parameter)?.histogram ?? null;
  const bars = histogramBars([row.statistics?.histogram ?? null], row.before ? [] : [before]);
  const about = [<StateLine summary={row} unit={model.snapshot.states?.stale_unit ?? "steps"} />, `${formatShape(shape)} ${dtype} ${device}`];
  return (
    <DockFrame title={node.fullName} about={about} onClose={() => view.select({ kind: "none" })}>
      <FactTable facts={gradientFacts(row, view.recorded !== undefined)} />
      <Pictures
        bars={row.statistics === null ? null : bars}
        missing={row.statistics === null ? "" : text.histogramMissing}
        earlier={bars?.before === null ? null : model.earlier}
        narrow={view.width < 420}
        scale={row.scale}
        values={view.recorded ? <>{view.recorded.curveOf(row.parameter)}</> : <Values node={node} view={view} model={model} />}
        {...(view.recorded ? { valuesName: replayText.overSteps } : {})}
      />
      <DockActions view={view} node={node} model={model} />
    </DockFrame>
  );
}

/** A window of `.grad`, or of the parameter. Asked for only while it is on show. */
function Values({ node, view, model }: DockProps & { readonly node: ParameterNode }): JSX.Element {
  const { id, shape, dtype } = node.row.parameter;
  const { statistics, state, before } = node.row;
  const hasGrad = state !== "frozen" && state !== "None" && !(state === "pending" && statistics === null);
  const [field, setField] = useState<"grad" | "value">(hasGrad ? "grad" : "value");
  if (view.dimmed) return <p class="dock-note">{text.valuesAtStop}</p>;
  const shown = hasGrad ? field : "value";
  const ofGrad = shown === "grad" && !before && statistics !== null;
  return (
    <HeatMap
      ask={view.ask}
      subject={{ stop: model.snapshot.stop.number, field: shown, parameter: id }}
      shape={shape}
      dtype={dtype}
      title={text.values}
      {...(ofGrad ? { absMax: statistics.absMax, nonFinite: statistics.nan + statistics.inf } : {})}
      control={hasGrad ? <FieldSwitch field={shown} onField={setField} /> : <span class="dock-note">{text.valueOnly}</span>}
    />
  );
}

interface FieldSwitchProps {
  readonly field: "grad" | "value";
  readonly onField: (field: "grad" | "value") => void;
}

function FieldSwitch({ field, onField }: FieldSwitchProps): JSX.Element {
  const option = (name: "grad" | "value", words: string): JSX.Element => (
    <button type="button" class={field === name ? "on" : ""} aria-pressed={field === name} onClick={() => onField(name)}>
      {words}
    </button>
  );
  return (
    <span class="grad-switch" role="group" aria-label={text.whichTensor}>
      {option("grad", text.showGrad)}
      {option("value", text.showValue)}
    </span>
  );
}
