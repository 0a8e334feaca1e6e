/** What stands still while the playhead moves: curves, axes, spans, gaps and marks. Drawn anew only with other data or another size. */

import { Component, type JSX } from "preact";
import { formatBytes, plainNumber } from "../../shared/format";
import type { GapSpan, Mark, SessionFacts, Timeline, VariantSpan } from "../../shared/replay";
import {
  bytesAxis, columnsOf, extentOf, labelled, linearAxis, logAxis, positive, shareOf, stepScale, stepTicks, thinned, withinScale, xOf,
  type Columns, type StepScale, type ValueAxis,
} from "../../shared/replay_timeline";
import { stepNumber } from "../../shared/replay_words";
import { replayText as text } from "../../shared/text";
import { GlyphAt } from "../components/glyph";
import { useOwnId } from "../own_ids";
import { MARK_GLYPHS } from "./header";
import type { RowName, TimelineGeometry, TimelineRow } from "./timeline_geometry";

export interface CurvesProps {
  readonly timeline: Timeline;
  readonly facts: SessionFacts;
  readonly axes: TimelineAxes;
  readonly at: TimelineGeometry;
}

/** The same axes for the curves and for the playhead's dots. */
export interface TimelineAxes {
  readonly scale: StepScale;
  readonly axes: Readonly<Record<RowName, ValueAxis | null>>;
  /** What is laid over, as far as the axis of steps goes. */
  readonly other: Timeline | null;
}

/** With a comparison each axis has room for both. */
export function timelineAxes(timeline: Timeline, whole: Timeline | null, at: TimelineGeometry): TimelineAxes {
  const scale = stepScale(timeline.steps, at.right - at.left);
  const other = whole && withinScale(whole, scale);
  const both = (pick: (of: Timeline) => Float64Array): Float64Array[] => [pick(timeline), ...(other ? [pick(other)] : [])];
  const ticks = at.rows[0]!.height < 30 ? 1.4 : 2.4;
  const loss = extentOf(both((of) => of.loss));
  const norm = extentOf(both((of) => of.gradientNorm), 0);
  const held = extentOf(both((of) => of.heldBytes));
  return {
    scale,
    other,
    axes: { loss: loss && linearAxis(loss, ticks), norm: norm && logAxis(norm, ticks), held: held && bytesAxis(held[1], ticks) },
  };
}

export class TimelineCurves extends Component<CurvesProps> {
  override shouldComponentUpdate(next: Readonly<CurvesProps>): boolean {
    const { timeline, facts, axes, at } = this.props;
    return next.timeline !== timeline || next.facts !== facts || next.axes !== axes || next.at !== at;
  }

  override render(props: CurvesProps): JSX.Element {
    return <Curves {...props} />;
  }
}

function Curves(props: CurvesProps): JSX.Element {
  const { facts, axes, at } = props;
  const id = useOwnId();
  return (
    <svg class="rp-curves" width={at.width} height={at.height} aria-hidden="true">
      <defs>
        <pattern id={`${id}-hatch`} width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
          <path class="rp-hatch" d="M0 0V5" />
        </pattern>
      </defs>
      <path class="rp-grid" d={`M${at.left} ${at.marksY}H${at.right}`} />
      <Variants spans={facts.variants} scale={axes.scale} at={at} />
      <Gaps gaps={facts.gaps} scale={axes.scale} at={at} fill={`url(#${id}-hatch)`} />
      {at.rows.map((row) => (
        <Row key={row.name} row={row} axis={axes.axes[row.name]} props={props} scale={axes.scale} />
      ))}
      <Marks marks={facts.marks} scale={axes.scale} at={at} />
    </svg>
  );
}

const NAMES: Readonly<Record<RowName, string>> = { loss: text.rowLoss, norm: text.rowNorm, held: text.rowHeld };

interface RowProps {
  readonly row: TimelineRow;
  readonly axis: ValueAxis | null;
  readonly props: CurvesProps;
  readonly scale: StepScale;
}

function Row({ row, axis, props, scale }: RowProps): JSX.Element {
  const { timeline, at } = props;
  const { other } = props.axes;
  return (
    <g>
      <rect class="rp-lane" x={at.left} y={row.top} width={at.right - at.left} height={row.height} />
      <RowName row={row} axis={axis} at={at} scaled={timeline.lossScale !== undefined} />
      {axis === null ? (
        <text x={at.left + 8} y={row.top + row.height / 2 + 3.5}>
          {text.notRecorded}
        </text>
      ) : (
        <>
          <Ticks row={row} axis={axis} at={at} />
          {other && <path class="rp-other" d={pathOf(other, row, axis, scale, at)} />}
          <path class="rp-line" d={pathOf(timeline, row, axis, scale, at)} />
        </>
      )}
      <Rail row={row} timeline={timeline} scale={scale} at={at} />
    </g>
  );
}

interface RowNameProps {
  readonly row: TimelineRow;
  readonly axis: ValueAxis | null;
  readonly at: TimelineGeometry;
  /** Norms are without the loss scale. */
  readonly scaled: boolean;
}

function RowName({ row, axis, at, scaled }: RowNameProps): JSX.Element {
  const unit = row.name === "norm" ? (scaled ? text.rowNormUnscaled : text.rowNormUnit) : row.name === "held" && axis ? unitOf(axis) : "";
  if (at.captions) return <text class="rp-name" x={at.left} y={row.top - 4}>{[NAMES[row.name], unit].filter(Boolean).join(", ")}</text>;
  return (
    <>
      <text class="rp-name" x={16} y={row.top + 11}>
        {NAMES[row.name]}
      </text>
      <text x={16} y={row.top + 23}>
        {row.height < 24 ? "" : unit}
      </text>
    </>
  );
}

/** Ticks of bytes are all in the unit of the largest. */
function unitOf({ ticks }: ValueAxis): string {
  return formatBytes(ticks[ticks.length - 1] ?? 0).split(" ")[1] ?? "";
}

function tickText(name: RowName, axis: ValueAxis, tick: number): string {
  if (name === "norm") return `1e${Math.round(Math.log10(tick))}`.replace("-", "−");
  if (name === "loss") return Math.abs(tick) >= 1e4 || (tick !== 0 && Math.abs(tick) < 1e-3) ? plainNumber(tick) : String(Number(tick.toPrecision(6))).replace("-", "−");
  const unit = 1024 ** ["B", "KiB", "MiB", "GiB", "TiB"].indexOf(unitOf(axis));
  return String(Number((tick / unit).toPrecision(3)));
}

/** Between the baselines of two labels. */
const LABELS_APART = 9;

function Ticks({ row, axis, at }: { readonly row: TimelineRow; readonly axis: ValueAxis; readonly at: TimelineGeometry }): JSX.Element {
  const baseline = (tick: number): number => Math.min(row.top + row.height + 2, Math.max(row.top + 8, yOf(row, axis, tick) + 3.5));
  return (
    <>
      {labelled(axis.ticks, baseline, LABELS_APART).map((tick) => (
        <g key={tick}>
          <path class="rp-grid" d={`M${at.left} ${yOf(row, axis, tick).toFixed(1)}H${at.right}`} />
          <text x={at.left - 5} y={baseline(tick)} text-anchor="end">
            {tickText(row.name, axis, tick)}
          </text>
        </g>
      ))}
    </>
  );
}

export function yOf(row: TimelineRow, axis: ValueAxis, value: number): number {
  return row.top + row.height - 1 - shareOf(axis, value) * (row.height - 2);
}

export function valuesOf(timeline: Timeline, name: RowName): Float64Array {
  return name === "loss" ? timeline.loss : name === "norm" ? timeline.gradientNorm : timeline.heldBytes;
}

function pathOf(timeline: Timeline, row: TimelineRow, axis: ValueAxis, scale: StepScale, at: TimelineGeometry): string {
  const all = valuesOf(timeline, row.name);
  const columns = columnsOf({ steps: timeline.steps, values: row.name === "norm" ? positive(all) : all }, scale);
  return columnPath(columns, (x) => at.left + x, (value) => yOf(row, axis, value));
}

/** In each column from where the curve enters, over its lowest and highest, to where it leaves. A value alone is a dot. */
export function columnPath({ count, x, low, high, enter, leave, breaks }: Columns, across: (x: number) => number, up: (value: number) => number): string {
  const parts: string[] = [];
  for (let i = 0; i < count; i++) {
    const [left, first] = [across(x[i]!).toFixed(1), up(enter[i]!).toFixed(1)];
    parts.push(`${breaks[i] ? "M" : "L"}${left} ${first}`);
    if (low[i] !== high[i]) parts.push(`V${up(high[i]!).toFixed(1)}V${up(low[i]!).toFixed(1)}V${up(leave[i]!).toFixed(1)}`);
    else if (breaks[i] && (i + 1 === count || breaks[i + 1])) parts.push("h0.01");
  }
  return parts.join("");
}

/** A diamond on the row's upper edge wherever a value was not finite; a bow tie where it was infinite. */
function Rail({ row, timeline, scale, at }: { readonly row: TimelineRow; readonly timeline: Timeline; readonly scale: StepScale; readonly at: TimelineGeometry }): JSX.Element | null {
  if (row.name === "held") return null;
  const { steps, nonfinite, loss, lossSeen } = timeline;
  const wrong = row.name === "norm" ? (i: number) => nonfinite[i]! > 0 : (i: number) => lossSeen[i] === 1 && !Number.isFinite(loss[i]!);
  return (
    <>
      {thinned(steps, wrong, scale, 7).map((i) => (
        <GlyphAt key={i} id={row.name === "loss" && !Number.isNaN(loss[i]!) ? "Inf" : "NaN"} x={at.left + xOf(scale, steps[i]!)} y={row.top + 4} size={8} />
      ))}
    </>
  );
}

interface SpanProps {
  readonly scale: StepScale;
  readonly at: TimelineGeometry;
}

/** Dotted edges are drawn of so many; of more the shade alone. */
const MOST_EDGES = 24;

/** Where backward had another graph than the first; half a step on both sides, so that one step alone is seen. */
function Variants({ spans, scale, at }: SpanProps & { readonly spans: readonly VariantSpan[] }): JSX.Element | null {
  const shown = spans.filter(({ letter }) => letter !== "A");
  const edges = shown.map((span) => ({ span, left: edge(scale, at, span.from, -1), right: edge(scale, at, span.to, 1) }));
  const shade: string[] = [];
  let last = Number.NEGATIVE_INFINITY;
  for (const { left, right } of edges) {
    if (right < last + 0.5) continue;
    shade.push(`M${left.toFixed(1)} 2H${right.toFixed(1)}V16H${left.toFixed(1)}Z`, `M${left.toFixed(1)} 20H${right.toFixed(1)}V${at.bottom}H${left.toFixed(1)}Z`);
    last = right;
  }
  if (shade.length === 0) return null;
  return (
    <>
      <path class="rp-variant" d={shade.join("")} />
      {edges.length <= MOST_EDGES && <path class="rp-variant-edge" d={edges.map(({ left, right }) => `M${left} 17V${at.bottom}M${right} 17V${at.bottom}`).join("")} />}
      {edges.filter(({ left, right }) => right - left > 14).slice(0, MOST_EDGES).map(({ span, left, right }) => (
        <text key={span.from} class="rp-variant-name" x={(left + right) / 2} y={at.marksY + 3.5} text-anchor="middle">
          {right - left > 52 ? text.graphVariant(span.letter) : span.letter}
        </text>
      ))}
    </>
  );
}

function edge(scale: StepScale, at: TimelineGeometry, step: number, side: 1 | -1): number {
  return at.left + Math.max(0, Math.min(scale.width, xOf(scale, step + side * 0.5)));
}

function Gaps({ gaps, scale, at, fill }: SpanProps & { readonly gaps: readonly GapSpan[]; readonly fill: string }): JSX.Element {
  return (
    <>
      {gaps.slice(0, 500).map(({ from, to, text: why }) => {
        const left = Math.max(at.left, Math.min(at.right - 3, edge(scale, at, from, -1)));
        const width = Math.max(3, Math.min(at.right, edge(scale, at, to, 1)) - left);
        return (
          <rect key={from} x={left} y={2} width={width} height={at.bottom - 2} fill={fill}>
            <title>{why}</title>
          </rect>
        );
      })}
    </>
  );
}

function Marks({ marks, scale, at }: SpanProps & { readonly marks: readonly Mark[] }): JSX.Element {
  let last = Number.NEGATIVE_INFINITY;
  // What a scaler did about NaN and Inf says more than that they were there.
  const skipped = new Set(marks.filter(({ kind }) => kind === "skipped").map(({ step }) => step));
  const shown = marks.filter(({ kind, step }) => {
    const x = xOf(scale, step);
    if (kind === "variant" || (kind === "nonfinite" && skipped.has(step)) || (kind !== "stop" && x - last < 7)) return false;
    last = x;
    return true;
  });
  return (
    <g>
      {!at.captions && (
        <text class="rp-name" x={16} y={at.marksY + 4}>
          {text.rowMarks}
        </text>
      )}
      {shown.map((mark, index) => (
        <g key={index}>
          <title>{mark.text}</title>
          <GlyphAt id={mark.glyph ?? MARK_GLYPHS[mark.kind]} x={at.left + xOf(scale, mark.step)} y={at.marksY} size={10} />
        </g>
      ))}
    </g>
  );
}

export interface StepAxisProps extends SpanProps {
  /** Its own label stands there: -1 for none. */
  readonly without: number;
}

/** Apart from the curves: the number under the playhead gives way to the playhead's. */
export function StepAxis({ scale, at, without }: StepAxisProps): JSX.Element {
  const apart = 8 + 3.4 * (stepNumber(without).length + stepNumber(scale.last).length);
  const free = stepTicks(scale, 80).filter((step) => without < 0 || Math.abs(xOf(scale, step) - xOf(scale, without)) > apart);
  return (
    <svg class="rp-curves" width={at.width} height={at.height} aria-hidden="true">
      {free.map((step) => {
        const x = xOf(scale, step);
        const anchor = x < 10 ? "start" : x > scale.width - 14 ? "end" : "middle";
        return (
          <text key={step} x={at.left + x} y={at.height - 6} text-anchor={anchor}>
            {stepNumber(step)}
          </text>
        );
      })}
    </svg>
  );
}
