/** A tensor's values as coloured cells: asks for one bounded window at a time. */

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import type { Subject } from "../../shared/session";
import { valuesText } from "../../shared/text";
import { exactText, fitCells, indexText, isRounded, placeOfIndex, sliceText, valueAt, windowRequest } from "../../shared/values";
import type { Ask } from "../view";
import { FirstNonFinite } from "./first_nonfinite";
import { HeatCells } from "./heat_cells";
import { HeatLegend } from "./heat_legend";
import { useHeatPlace, useLimit, type HeatPlace } from "./heat_place";
import { tensorKey, useLatestValues, type WindowState } from "./latest_values";
import { SlicePicker } from "./slice_picker";
import { useShownWidth } from "./shown_width";

export interface HeatMapProps {
  readonly ask: Ask;
  readonly subject: Subject;
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly title: string;
  readonly unit?: string;
  /** The tensor's largest finite magnitude where it is known: windows then share one scale. */
  readonly absMax?: number;
  /** How many NaN and Inf the statistics counted; 0 hides the search for the first. */
  readonly nonFinite?: number;
  /** Height of the cells' area in px. */
  readonly height?: number;
  readonly onError?: (message: string) => void;
  /** Drawn beside the title: what else the same place could show. */
  readonly control?: ComponentChildren;
}

const DEFAULT_HEIGHT = 64;

export function HeatMap(props: HeatMapProps): JSX.Element {
  const { shape, subject } = props;
  if (shape.some((size) => size === 0)) return <EmptyTensor title={props.title} control={props.control} />;
  return <HeatMapOf key={`${tensorKey(subject)} ${shape.join()}`} {...props} />;
}

function EmptyTensor({ title, control }: Pick<HeatMapProps, "title" | "control">): JSX.Element {
  return (
    <section class="hm">
      <div class="hm-head">
        <h3>{title}</h3>
        {control}
      </div>
      <p class="hm-note">{valuesText.empty}</p>
    </section>
  );
}

function HeatMapOf(props: HeatMapProps): JSX.Element {
  const { ask, subject, shape, height = DEFAULT_HEIGHT } = props;
  const [width, frame] = useShownWidth();
  const cells = useMemo(() => fitCells(shape, width, height), [shape.join(), width, height]);
  const heat = useHeatPlace(shape, cells);
  const [state, again] = useLatestValues(ask, width > 0 ? windowRequest(subject, shape, cells, heat.place) : null);
  const limit = useLimit(subject, state.window, props.absMax);
  const old = state.kind !== "ready" && state.window?.values.subject.stop !== subject.stop;
  useEffect(() => {
    if (state.kind === "failed") props.onError?.(state.message);
  }, [state]);
  const label = valuesText.describe(props.title, shape, props.dtype);
  return (
    <section class="hm" aria-busy={state.kind === "reading"}>
      <Head {...props} heat={heat} cells={cells} />
      <div ref={frame}>
        {state.kind === "failed" ? (
          <Failed message={state.message} again={again} />
        ) : (
          <HeatCells {...{ label, shape, cells, heat, state, limit, old }} />
        )}
      </div>
      {state.kind !== "failed" && <HeatLegend limit={limit} window={state.window} unit={props.unit} />}
      {state.kind !== "failed" && <Caption props={props} heat={heat} state={state} old={old} />}
      {(props.nonFinite ?? 0) > 0 && (
        <FirstNonFinite ask={ask} subject={subject} shape={shape} onFound={(index) => heat.show(placeOfIndex(shape, cells, index))} />
      )}
    </section>
  );
}

function Head({ title, control, shape, heat, cells }: HeatMapProps & { readonly heat: HeatPlace; readonly cells: ReturnType<typeof fitCells> }): JSX.Element {
  const [picking, setPicking] = useState(false);
  return (
    <>
      <div class="hm-head">
        <h3>{title}</h3>
        {control}
        <span class="hm-slice">{shape.length > 0 && sliceText(shape, cells, heat.place)}</span>
        <span class="sp" />
        {shape.length > 0 && (
          <button type="button" class="link" aria-expanded={picking} onClick={() => setPicking(!picking)}>
            {valuesText.slice}
          </button>
        )}
      </div>
      {picking && <SlicePicker shape={shape} cells={cells} place={heat.place} onPlace={heat.go} />}
    </>
  );
}

function Failed({ message, again }: { readonly message: string; readonly again: () => void }): JSX.Element {
  return (
    <div class="hm-failed" role="alert">
      <p>{valuesText.failed(message)}</p>
      <button type="button" class="btn" onClick={again}>
        {valuesText.retry}
      </button>
    </div>
  );
}

interface CaptionProps {
  readonly props: HeatMapProps;
  readonly heat: HeatPlace;
  readonly state: WindowState;
  readonly old: boolean;
}

/** The value under the cursor in full precision; said aloud as the keys move it. */
function Caption({ props, heat: { cursor, place }, state, old }: CaptionProps): JSX.Element {
  const value = cursor && state.window && !old ? valueAt(state.window, place.index, cursor) : undefined;
  if (!cursor || value === undefined) return <EmptyCaption state={state} />;
  return (
    <div class="hm-caption" role="status">
      {props.shape.length > 0 && <span class="dim">{indexText(props.shape, place.index, cursor)} </span>}
      <output class={Number.isFinite(value) ? "" : "c-nan"}>{exactText(value)}</output>
      {props.unit ? ` ${props.unit}` : ""}
      {isRounded(props.dtype) && <span class="dim"> {valuesText.rounded}</span>}
    </div>
  );
}

function EmptyCaption({ state }: { readonly state: WindowState }): JSX.Element {
  const missing = (state.window?.values.missing ?? []).map(({ reason }) => reason).join(" ");
  return (
    <div class="hm-caption dim" role="status">
      {state.kind === "reading" ? valuesText.reading : missing}
    </div>
  );
}
