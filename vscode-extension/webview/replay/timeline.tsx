/** The timeline: a slider over the steps. The playhead moves with the pointer; what it stands on follows. */

import type { JSX } from "preact";
import { useMemo, useRef } from "preact/hooks";
import { currentPosition, currentStep, otherTimeline, type ReplayModel } from "../../shared/replay_model";
import { momentNear, momentOfMark } from "../../shared/replay_play";
import { stepAt, xOf } from "../../shared/replay_timeline";
import { playheadWords, rowWords, stepNumber, type ValueWords } from "../../shared/replay_words";
import { replayText as text } from "../../shared/text";
import { runKey, sliderKey, type ReplayKey } from "./keys";
import type { ReplayActions } from "./page";
import { StepAxis, timelineAxes, TimelineCurves, valuesOf, yOf, type TimelineAxes } from "./timeline_curves";
import { timelineGeometry, type TimelineGeometry } from "./timeline_geometry";
import { comparandName } from "./use_comparison";

export interface TimelineProps {
  readonly model: ReplayModel;
  readonly actions: ReplayActions;
  readonly width: number;
  readonly compact: boolean;
  readonly narrow: boolean;
  readonly onKey: (key: ReplayKey) => void;
}

export function Timeline({ model, actions, width, compact, narrow }: TimelineProps): JSX.Element {
  const { timeline, facts } = model;
  const other = otherTimeline(model);
  const at = useMemo(() => timelineGeometry(width, compact, narrow), [width, compact, narrow]);
  const axes = useMemo(() => timelineAxes(timeline, other, at), [timeline, other, at]);
  const pointer = usePointer(model, actions, axes, at);
  const onKeyDown = (event: KeyboardEvent): void => {
    const key = sliderKey(event);
    if (key === null) return;
    event.preventDefault();
    event.stopPropagation();
    runKey(key, actions);
  };
  const onWheel = (event: WheelEvent): void => {
    if (event.ctrlKey || document.activeElement !== event.currentTarget) return;
    event.preventDefault();
    if (event.deltaY !== 0) actions.by(event.deltaY > 0 ? 1 : -1);
  };
  const { steps } = timeline;
  return (
    <div
      class="rp-timeline"
      style={{ height: `${at.height}px` }}
      role="slider"
      tabIndex={0}
      aria-label={text.timeline}
      aria-orientation="horizontal"
      aria-valuemin={steps[0] ?? 0}
      aria-valuemax={steps[steps.length - 1] ?? 0}
      aria-valuenow={currentStep(model)}
      aria-valuetext={playheadWords(model)}
      onKeyDown={onKeyDown}
      onWheel={onWheel}
      {...pointer}
    >
      {facts && <TimelineCurves timeline={timeline} facts={facts} axes={axes} at={at} />}
      <StepAxis scale={axes.scale} at={at} without={currentStep(model)} />
      {model.comparand?.kind === "step" && <Beside step={model.comparand.step} axes={axes} at={at} />}
      <Playhead model={model} axes={axes} at={at} />
      <Values model={model} at={at} />
    </div>
  );
}

interface Pointer {
  readonly onPointerDown: (event: PointerEvent) => void;
  readonly onPointerMove: (event: PointerEvent) => void;
}

/** On the row of marks a press goes to the mark under it. */
const MARK_REACH = 8;

function usePointer(model: ReplayModel, actions: ReplayActions, axes: TimelineAxes, at: TimelineGeometry): Pointer {
  const latest = useRef({ model, axes, at });
  latest.current = { model, axes, at };
  const place = (event: PointerEvent): { x: number; y: number } => {
    const box = (event.currentTarget as HTMLElement).getBoundingClientRect();
    // Under zoom that is not the browser's own, the box is not as wide as what is drawn in it.
    const zoom = box.width > 0 ? latest.current.at.width / box.width : 1;
    return { x: (event.clientX - box.left) * zoom - latest.current.at.left, y: (event.clientY - box.top) * zoom };
  };
  const goTo = (x: number): void => {
    const { model: now, axes: { scale } } = latest.current;
    actions.go(momentNear(now.timeline.steps, now.facts?.rank ?? 0, stepAt(scale, x)));
  };
  return useMemo(
    () => ({
      onPointerDown: (event) => {
        if (event.button !== 0) return;
        const { x, y } = place(event);
        (event.currentTarget as HTMLElement).setPointerCapture?.(event.pointerId);
        const mark = y < 18 ? markNear(latest.current.model, latest.current.axes, x) : null;
        if (mark) actions.go(mark);
        else goTo(x);
      },
      onPointerMove: (event) => {
        if ((event.currentTarget as HTMLElement).hasPointerCapture?.(event.pointerId)) goTo(place(event).x);
      },
    }),
    [],
  );
}

function markNear({ facts, timeline }: ReplayModel, { scale }: TimelineAxes, x: number): ReturnType<typeof momentOfMark> {
  const near = (facts?.marks ?? []).map((mark) => ({ mark, away: Math.abs(xOf(scale, mark.step) - x) })).filter(({ away }) => away <= MARK_REACH);
  const [nearest] = near.sort((a, b) => a.away - b.away);
  return nearest && facts ? momentOfMark(nearest.mark, facts.rank, timeline.steps) : null;
}

interface PlayheadProps {
  readonly model: ReplayModel;
  readonly axes: TimelineAxes;
  readonly at: TimelineGeometry;
}

/** A layer of its own: it moves without the curves being drawn again. */
function Playhead({ model, axes, at }: PlayheadProps): JSX.Element | null {
  const step = currentStep(model);
  const position = currentPosition(model);
  if (position < 0) return null;
  const x = at.left + Math.max(0, Math.min(axes.scale.width, xOf(axes.scale, step)));
  const label = stepNumber(step);
  const half = 5 + label.length * 3.4;
  const shift = Math.max(at.left - 8 - (x - half), Math.min(0, at.right + 8 - (x + half)));
  return (
    <div class="rp-playhead" style={{ transform: `translateX(${Math.round(x)}px)`, height: `${at.height}px` }} aria-hidden="true">
      <i style={{ height: `${at.bottom + 2}px` }} />
      {at.rows.map((row) => {
        const axis = axes.axes[row.name];
        const value = valuesOf(model.timeline, row.name)[position] ?? Number.NaN;
        const shown = axis !== null && Number.isFinite(value) && !(row.name === "norm" && value <= 0);
        return shown && <u key={row.name} style={{ top: `${yOf(row, axis, value).toFixed(1)}px` }} />;
      })}
      <b style={{ top: `${at.height - 18}px`, marginLeft: `${(shift > 0 ? shift : Math.min(0, shift)).toFixed(1)}px` }}>{label}</b>
    </div>
  );
}

/** The step that is compared with. */
function Beside({ step, axes, at }: Pick<PlayheadProps, "axes" | "at"> & { readonly step: number }): JSX.Element {
  const x = at.left + xOf(axes.scale, step);
  return <div class="rp-beside" style={{ left: `${Math.round(x)}px`, height: `${at.bottom}px` }} aria-hidden="true" />;
}

function Values({ model, at }: { readonly model: ReplayModel; readonly at: TimelineGeometry }): JSX.Element {
  const { comparand } = model;
  const words = rowWords(model, otherTimeline(model), comparand ? comparandName(comparand) : "");
  return (
    <div class={at.captions ? "rp-values captions" : "rp-values"} aria-hidden="true">
      {at.rows.map((row) => (
        <ValueAt key={row.name} words={words[row.name]} at={at} top={row.top} />
      ))}
    </div>
  );
}

function ValueAt({ words, at, top }: { readonly words: ValueWords; readonly at: TimelineGeometry; readonly top: number }): JSX.Element {
  const place = at.captions ? { right: `${at.width - at.right}px`, top: `${top - 16}px` } : { left: `${at.right + 14}px`, top: `${top + 1}px` };
  return (
    <div style={place}>
      <b class={words.wrong ? "c-nan" : ""}>{words.value}</b>
      {words.compared !== "" && <span class="dim">{words.compared}</span>}
    </div>
  );
}
