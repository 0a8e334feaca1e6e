/** "Gradient norm by depth": one mark for each module, its parameters as ticks, rails for what has no norm. */

import type { JSX } from "preact";
import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import type { GradientHistory } from "../../shared/gradient_history";
import { gradientsText as text } from "../../shared/text";
import type { Flow, FlowPoint } from "../../shared/gradient_flow";
import { useOwnId } from "../own_ids";
import { flowGeometry, LETTER, shortLabel, type FlowGeometry } from "./flow_geometry";
import { StateMark, stateWord } from "./state_mark";
import { plainNumber } from "../../shared/format";

export interface FlowChartProps {
  readonly flow: Flow;
  readonly width: number;
  readonly height: number;
  /** "stop 3" where the hollow marks are all values of that stop; null where `.grad` itself holds them. */
  readonly earlier: string | null;
  /** Index of the point that is selected, and of the one that backward is in; -1 none. */
  readonly selected: number;
  readonly running: number;
  readonly onSelect: (point: FlowPoint) => void;
  /** Of a recorded session: the band of what the norms of its last steps were. */
  readonly history?: GradientHistory | null;
}

export function FlowChart(props: FlowChartProps): JSX.Element {
  const { flow, width, height, selected, running } = props;
  const ids = useOwnId();
  const [letter, ruler] = useLetterWidth();
  const at = useMemo(() => flowGeometry(flow, { width, height, letter }, [running, selected]), [flow, width, height, letter, running, selected]);
  const [active, setActive] = useState(0);
  const cursor = Math.min(active, flow.points.length - 1);
  const onKeyDown = (event: KeyboardEvent): void => {
    const to = keyTarget(event.key, cursor, flow.points.length);
    if (to !== null) setActive(to);
    else if (event.key === "Enter" || event.key === " ") props.onSelect(flow.points[cursor]!);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <svg
      class="flow"
      width={width}
      height={height}
      role="listbox"
      tabIndex={0}
      aria-orientation="horizontal"
      aria-label={flowSentence(flow)}
      aria-activedescendant={`${ids}-${cursor}`}
      onKeyDown={onKeyDown}
      onFocus={() => selected >= 0 && setActive(selected)}
    >
      <text ref={ruler} class="flow-ruler" aria-hidden="true">
        {RULER}
      </text>
      <Decades at={at} />
      <Rails at={at} flow={flow} />
      <Reached {...props} at={at} />
      {props.history && <Band at={at} points={flow.points} history={props.history} />}
      <PreviousLine at={at} points={flow.points} />
      <NormLine at={at} points={flow.points} />
      {flow.points.map((point, index) => (
        <Point key={point.key} {...{ point, index, at, props }} id={`${ids}-${index}`} focused={index === cursor} onPress={() => setActive(index)} />
      ))}
    </svg>
  );
}

/** Letters as names of modules have them. */
const RULER = "embedding head norm attn mlp 0123456789";

/** The host's font and its size are the user's, and may change: measured whenever it is drawn. */
function useLetterWidth(): readonly [number, { current: SVGTextElement | null }] {
  const ruler = useRef<SVGTextElement>(null);
  const [letter, setLetter] = useState(LETTER);
  useLayoutEffect(() => {
    const length = ruler.current?.getComputedTextLength?.() ?? 0;
    if (length > 0) setLetter(length / RULER.length);
  });
  return [letter, ruler];
}

function keyTarget(key: string, from: number, count: number): number | null {
  const moves: Readonly<Record<string, number>> = { ArrowLeft: from - 1, ArrowRight: from + 1, Home: 0, End: count - 1 };
  const to = moves[key];
  return to === undefined ? null : Math.max(0, Math.min(count - 1, to));
}

/** One sentence: how many, the largest and smallest with their places, what is wrong. */
export function flowSentence({ points }: Flow): string {
  const measured = points.filter((point) => point.norm !== null).sort((a, b) => a.norm! - b.norm!);
  const end = (point: FlowPoint | undefined): { norm: string; name: string } | null =>
    point === undefined ? null : { norm: plainNumber(point.norm!), name: point.fullName };
  const wrong = points.filter((point) => point.summary.trouble);
  return text.flowSentence({
    modules: points.length,
    largest: end(measured.at(-1)),
    smallest: end(measured[0]),
    trouble: wrong.map((point) => ({ name: point.fullName, state: stateWord(point.summary) })),
  });
}

function Decades({ at }: { readonly at: FlowGeometry }): JSX.Element {
  return (
    <g aria-hidden="true">
      {at.decades.map((exponent) => (
        <g key={exponent}>
          <path class="flow-grid" d={`M${at.left} ${at.y(10 ** exponent)}H${at.right}`} />
          <text x={at.left - 5} y={at.y(10 ** exponent) + 3.5} text-anchor="end">
            {`1e${exponent}`.replace("-", "−")}
          </text>
        </g>
      ))}
    </g>
  );
}

function Rails({ at, flow }: { readonly at: FlowGeometry; readonly flow: Flow }): JSX.Element {
  const above = flow.points.some((point) => point.rail.above !== null);
  const below = flow.points.some((point) => point.rail.none && point.summary.trouble);
  return (
    <g aria-hidden="true">
      <path class="flow-grid" d={`M${at.left} ${at.top - 3}H${at.right}M${at.left} ${at.bottom + 4}H${at.right}`} />
      <text x={at.left - 5} y={at.railAbove + 3.5} text-anchor="end" class={above ? "c-nan" : ""}>
        {text.railNan}
      </text>
      <text x={at.left - 5} y={at.railBelow + 3.5} text-anchor="end" class={below ? "c-none" : ""}>
        {text.railNone}
      </text>
    </g>
  );
}

/** What waits for the running backward is shaded, with the place it has reached. */
function Reached({ flow, at, earlier, running }: FlowChartProps & { readonly at: FlowGeometry }): JSX.Element | null {
  if (flow.reached < 0) return null;
  const edge = running >= 0 ? at.x(running) : at.left + at.column * flow.reached;
  const wide = edge - at.left > 90;
  return (
    <g aria-hidden="true">
      <rect class="flow-pending" x={at.left} y={at.top} width={edge - at.left} height={at.bottom - at.top} />
      <path class="flow-here" d={`M${edge} ${at.top - 2}V${at.bottom}`} />
      {wide && (
        <text x={edge - 5} y={at.bottom - 5} text-anchor="end">
          {text.pendingFrom(earlier)}
        </text>
      )}
      {at.right - edge > 30 && (
        <text x={edge + 5} y={at.bottom - 5}>
          {text.fired}
        </text>
      )}
    </g>
  );
}

/** Broken where a point has no norm. */
function pathOf(at: FlowGeometry, values: readonly (number | null)[]): string {
  let path = "";
  values.forEach((value, index) => {
    if (value !== null) path += `${(values[index - 1] ?? null) === null ? "M" : "L"}${at.x(index).toFixed(1)} ${at.y(value).toFixed(1)}`;
  });
  return path;
}

interface Line {
  readonly at: FlowGeometry;
  readonly points: readonly FlowPoint[];
}

function NormLine({ at, points }: Line): JSX.Element {
  return <path class="flow-line" d={pathOf(at, points.map((point) => point.norm))} />;
}

function PreviousLine({ at, points }: Line): JSX.Element {
  return <path class="flow-previous" d={pathOf(at, points.map((point) => point.previous))} />;
}

/** From the 10th to the 90th percentile, between neighbours that both have one. */
function Band({ at, points, history }: Line & { readonly history: GradientHistory }): JSX.Element {
  const bands = points.map((point) => history.band(point));
  let path = "";
  for (let from = 0; from < bands.length; from++) {
    if (bands[from] === null) continue;
    let to = from;
    while (to + 1 < bands.length && bands[to + 1] !== null) to++;
    path += outline(at, bands, from, to);
    from = to;
  }
  return <path class="flow-band" d={path} aria-hidden="true" />;
}

/** One point alone has the width of its mark. */
function outline(at: FlowGeometry, bands: readonly (readonly [number, number] | null)[], from: number, to: number): string {
  const reach = from === to ? 4 : 0;
  const places = Array.from({ length: to - from + 1 }, (_, i) => from + i);
  const corner = (index: number, side: 0 | 1, shift: number): string => `${(at.x(index) + shift).toFixed(1)} ${at.y(bands[index]![side]).toFixed(1)}`;
  const above = [...places.map((index) => corner(index, 1, -reach)), ...(reach > 0 ? [corner(from, 1, reach)] : [])];
  const below = [...(reach > 0 ? [corner(from, 0, reach)] : []), ...places.reverse().map((index) => corner(index, 0, -reach))];
  return `M${[...above, ...below].join("L")}Z`;
}

/** A model of three layers is not striped by its selection. */
const WIDEST_MARKING = 40;

interface PointProps {
  readonly id: string;
  readonly point: FlowPoint;
  readonly index: number;
  readonly at: FlowGeometry;
  readonly props: FlowChartProps;
  readonly focused: boolean;
  readonly onPress: () => void;
}

function Point({ id, point, index, at, props, focused, onPress }: PointProps): JSX.Element {
  const selected = index === props.selected;
  const label = pointSentence(point);
  const wide = Math.min(at.column, WIDEST_MARKING);
  const press = (): void => {
    onPress();
    props.onSelect(point);
  };
  return (
    <g
      id={id}
      role="option"
      aria-label={label}
      aria-selected={selected}
      class={`flow-point${selected ? " on" : ""}${focused ? " at" : ""}`}
      onClick={press}
    >
      <title>{label}</title>
      <rect class="flow-hit" x={at.left + at.column * index} y={0} width={at.column} height={at.height} />
      <rect class="flow-column" x={at.x(index) - wide / 2} y={0} width={wide} height={at.height} />
      <Ticks {...{ point, index, at }} />
      <Mark {...{ point, index, at }} />
      <RailMarks {...{ point, index, at }} />
      {at.labels.has(index) && (
        <text x={at.labels.get(index)} y={at.height - 2} text-anchor="middle" class={index === props.running ? "here" : selected ? "on" : ""}>
          {shortLabel(point.label)}
        </text>
      )}
    </g>
  );
}

/** Name, norm and state of one point, in words. */
function pointSentence(point: FlowPoint): string {
  const { summary, norm } = point;
  return text.flowPoint({
    name: point.fullName,
    norm: norm === null ? null : plainNumber(norm),
    state: stateWord(summary),
    before: summary.before,
  });
}

interface Part {
  readonly point: FlowPoint;
  readonly index: number;
  readonly at: FlowGeometry;
}

/** One path for all, so that thousands of parameters are not thousands of elements. */
function Ticks({ point, index, at }: Part): JSX.Element | null {
  if (point.ticks.length < 2) return null;
  const half = Math.min(3, at.column / 2 - 0.5);
  const heights = [...new Set(point.ticks.map((norm) => at.y(norm).toFixed(1)))];
  const [x, all] = [at.x(index), heights.map(Number)];
  return (
    <>
      <path class="flow-span" d={`M${x} ${Math.min(...all)}V${Math.max(...all)}`} />
      <path class="flow-ticks" d={heights.map((y) => `M${(x - half).toFixed(1)} ${y}h${(half * 2).toFixed(1)}`).join("")} />
    </>
  );
}

/** A dot; hollow when the value is from before; the state's own glyph when its size is trouble. */
function Mark({ point, index, at }: Part): JSX.Element | null {
  if (point.norm === null) return null;
  const { summary, norm } = point;
  const [x, y] = [at.x(index), at.y(norm)];
  const { state } = summary;
  if (state === "vanishing" || state === "exploding") return <StateMark summary={summary} x={x} y={y} size={9} />;
  return <circle class={`flow-mark${summary.before ? " before" : ""}`} cx={x} cy={y} r={at.column < 8 ? 2 : 3} />;
}

function RailMarks({ point, index, at }: Part): JSX.Element {
  const { rail, summary } = point;
  const size = Math.min(10, Math.max(6, at.column));
  return (
    <>
      {rail.above !== null && <StateMark summary={{ state: rail.above, trouble: true }} x={at.x(index)} y={at.railAbove} size={size} />}
      {rail.none !== null && <StateMark summary={{ state: rail.none, trouble: summary.trouble }} x={at.x(index)} y={at.railBelow} size={size - 1} />}
    </>
  );
}
