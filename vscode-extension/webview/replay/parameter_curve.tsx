/** One gradient over all steps, beside another session's or every rank's; a press goes to a step. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { plainNumber } from "../../shared/format";
import type { Curve, CurveStatistic, SessionFacts, Timeline } from "../../shared/replay";
import type { Comparand } from "../../shared/replay_model";
import { momentNear } from "../../shared/replay_play";
import { columnsOf, extentOf, firstFrom, linearAxis, logAxis, positive, shareOf, stepAt, stepScale, stepTicks, thinned, xOf, type StepScale, type ValueAxis } from "../../shared/replay_timeline";
import { plainValue, stepNumber } from "../../shared/replay_words";
import type { Parameter, Snapshot } from "../../shared/session";
import { replayText as text } from "../../shared/text";
import { GlyphAt } from "../components/glyph";
import { useShownWidth } from "../components/shown_width";
import { useStored } from "../stored";
import type { ReplayActions } from "./page";
import { columnPath } from "./timeline_curves";
import { comparandName } from "./use_comparison";

export interface ParameterCurveProps {
  readonly parameter: Parameter;
  readonly snapshot: Snapshot;
  readonly facts: SessionFacts;
  readonly timeline: Timeline;
  readonly comparand: Comparand | null;
  readonly step: number;
  readonly actions: ReplayActions;
}

const STATISTICS: readonly CurveStatistic[] = ["l2", "min", "max"];

export function ParameterCurve(props: ParameterCurveProps): JSX.Element {
  const [width, ref] = useShownWidth();
  const [kept, setStatistic] = useStored<CurveStatistic>("replay.statistic", "l2");
  const statistic = STATISTICS.includes(kept) ? kept : "l2";
  const [allRanks, setAllRanks] = useState(false);
  const state = useCurves(props, statistic, allRanks);
  return (
    <div ref={ref} class="rp-pcurve">
      <div class="sh">
        <h3>{text.overSteps}</h3>
        <span class="grad-switch" role="group" aria-label={text.curveStatistic}>
          {STATISTICS.map((one) => (
            <button key={one} type="button" class={one === statistic ? "on" : ""} aria-pressed={one === statistic} onClick={() => setStatistic(one)}>
              {text.statistics[one]}
            </button>
          ))}
        </span>
        <span class="sp" />
        {props.facts.ranks.length > 1 && (
          <label class="rp-check">
            <input type="checkbox" checked={allRanks} onChange={(event) => setAllRanks(event.currentTarget.checked)} />
            {text.allRanks}
          </label>
        )}
      </div>
      {typeof state === "string" ? <p class="dock-note">{state}</p> : <Drawing curves={state} width={width || UNMEASURED} statistic={statistic} props={props} />}
    </div>
  );
}

const UNMEASURED = 200;
const HEIGHT = 78;

interface Curves {
  readonly own: Curve;
  readonly beside: readonly Curve[];
  /** Why a curve that was asked for is not there. */
  readonly note: string;
}

/** The curves, or what is to be said in their place. While the same are read again those before stay. */
function useCurves(props: ParameterCurveProps, statistic: CurveStatistic, allRanks: boolean): Curves | string {
  const { parameter, facts, comparand, actions, timeline } = props;
  const [state, setState] = useState<Curves | string>(text.curveReading);
  const beside = allRanks ? "ranks" : comparand === null ? "" : comparand.kind === "session" ? comparand.other.id : comparand.kind === "rank" ? `rank ${comparand.rank}` : "";
  // A long run that grows is not read again with each step: at most once for each hundredth of it.
  const grown = facts.finished ? 0 : Math.floor(Math.log(Math.max(1, timeline.steps.length)) * 100);
  useEffect(() => {
    let wanted = true;
    const read = async (): Promise<Curves> => {
      const own = await actions.ask("curve", { rank: facts.rank, subject: { kind: "parameter", id: parameter.id }, statistic });
      return { own, ...(await besideOf(props, statistic, allRanks)) };
    };
    read().then(
      (curves) => wanted && setState(curves),
      (error: unknown) => wanted && setState(text.curveFailed(error instanceof Error ? error.message : String(error))),
    );
    return () => void (wanted = false);
  }, [parameter.id, facts.rank, statistic, beside, grown]);
  return state;
}

async function besideOf({ parameter, snapshot, facts, comparand, actions }: ParameterCurveProps, statistic: CurveStatistic, allRanks: boolean): Promise<Omit<Curves, "own">> {
  const name = curveName(parameter, snapshot);
  if (allRanks || comparand?.kind === "rank") {
    const curves = await actions.ask("rankCurves", { name, statistic });
    const wanted = curves.filter(({ rank }) => rank !== facts.rank && (allRanks || (comparand?.kind === "rank" && rank === comparand.rank)));
    return { beside: wanted.map(({ curve }) => curve), note: "" };
  }
  if (comparand?.kind !== "session") return { beside: [], note: "" };
  const curve = await actions.ask("otherCurve", { other: comparand.other.id, name, statistic });
  return curve === null ? { beside: [], note: text.otherHasNone(comparandName(comparand)) } : { beside: [curve], note: "" };
}

/** As a session names it: where it holds several models, with its model's name in front. */
function curveName({ path, root, is_leaf_tensor = false, id }: Parameter, { modules = [], parameters = [] }: Snapshot): string {
  if (is_leaf_tensor) return path || `tensor ${id}`;
  if (path === "") return root || "(root)";
  const roots = new Set([...modules, ...parameters.filter((one) => !one.is_leaf_tensor)].map((one) => one.root));
  return roots.size > 1 && root !== "" ? `${root}.${path}` : path;
}

interface DrawingProps {
  readonly curves: Curves;
  readonly width: number;
  readonly statistic: CurveStatistic;
  readonly props: ParameterCurveProps;
}

const MARGIN = { left: 38, right: 4, top: 10, bottom: 14 } as const;

function Drawing({ curves, width, statistic, props }: DrawingProps): JSX.Element {
  const { own, beside, note } = curves;
  const { timeline, step, facts, actions, parameter } = props;
  const [firstStep, lastStep] = [own.steps[0], own.steps[own.steps.length - 1]];
  if (firstStep === undefined || lastStep === undefined) return <p class="dock-note">{text.curveNothing}</p>;
  const scale = stepScale(timeline.steps.length > 0 ? timeline.steps : own.steps, width - MARGIN.left - MARGIN.right);
  const all = [own, ...beside].map((curve) => valuesWithin(curve, scale));
  const extent = extentOf(all, statistic === "l2" ? 0 : undefined);
  const axis = extent && (statistic === "l2" ? logAxis(extent, 3) : linearAxis(extent, 2));
  const y = (value: number): number => HEIGHT - MARGIN.bottom - (axis ? shareOf(axis, value) : 0) * (HEIGHT - MARGIN.bottom - MARGIN.top);
  const path = ({ steps, values }: Curve): string =>
    columnPath(columnsOf({ steps, values: statistic === "l2" ? positive(values) : values }, scale), (x) => MARGIN.left + x, y);
  const press = (event: MouseEvent): void => {
    const box = (event.currentTarget as SVGElement).getBoundingClientRect();
    const x = ((event.clientX - box.left) * width) / (box.width || width) - MARGIN.left;
    actions.go(momentNear(timeline.steps, facts.rank, stepAt(scale, x)));
  };
  const head = MARGIN.left + xOf(scale, step);
  return (
    <>
      <svg width={width} height={HEIGHT} class="rp-curve" role="img" aria-label={text.curve(parameter.path, text.statistics[statistic], stepNumber(firstStep), stepNumber(lastStep))} onClick={press}>
        <rect class="rp-lane" x={MARGIN.left} y={MARGIN.top - 4} width={Math.max(0, width - MARGIN.left - MARGIN.right)} height={HEIGHT - MARGIN.top - MARGIN.bottom + 4} />
        {axis && <Decades axis={axis} y={y} width={width} statistic={statistic} />}
        {axis && beside.map((curve, at) => <path key={at} class="rp-other" d={path(curve)} />)}
        {axis && <path class="rp-line" d={path(own)} />}
        {thinned(own.steps, (at) => own.nonfinite[at]! > 0, scale, 6).map((at) => (
          <GlyphAt key={at} id="NaN" x={MARGIN.left + xOf(scale, own.steps[at]!)} y={6} size={7} />
        ))}
        <path class="rp-here" d={`M${head.toFixed(1)} 2V${HEIGHT - MARGIN.bottom}`} />
        <StepNumbers scale={scale} />
      </svg>
      {note !== "" && <p class="dock-note">{note}</p>}
      {own.steps.length === 1 && <p class="dock-note">{text.curveOne(firstStep)}</p>}
    </>
  );
}

/** Another run's steps beyond these are not drawn: they do not count for the axis either. */
function valuesWithin({ steps, values }: Curve, { first, last }: StepScale): Float64Array {
  return values.subarray(firstFrom(steps, first), firstFrom(steps, last + 1));
}

function Decades({ axis, y, width, statistic }: { readonly axis: ValueAxis; readonly y: (value: number) => number; readonly width: number; readonly statistic: CurveStatistic }): JSX.Element {
  return (
    <>
      {axis.ticks.map((tick) => (
        <g key={tick}>
          <path class="rp-grid" d={`M${MARGIN.left} ${y(tick).toFixed(1)}H${width - MARGIN.right}`} />
          <text x={MARGIN.left - 4} y={y(tick) + 3.5} text-anchor="end">
            {statistic === "l2" ? `1e${Math.round(Math.log10(tick))}`.replace("-", "−") : tick === 0 ? "0" : Math.abs(tick) < 0.01 ? plainNumber(tick).replace(/\.?0+e/, "e") : plainValue(tick)}
          </text>
        </g>
      ))}
    </>
  );
}

function StepNumbers({ scale }: { readonly scale: StepScale }): JSX.Element {
  return (
    <>
      {stepTicks(scale, 60).map((step) => {
        const x = xOf(scale, step);
        return (
          <text key={step} x={MARGIN.left + x} y={HEIGHT - 2} text-anchor={x < 10 ? "start" : x > scale.width - 12 ? "end" : "middle"}>
            {stepNumber(step)}
          </text>
        );
      })}
    </>
  );
}
