/** Bytes held over one step: from the first saved tensor, or from backward's start, until all was let go. */

import type { JSX } from "preact";
import { numbers } from "../../shared/answer";
import { formatBytes, formatDuration } from "../../shared/format";
import { heldModel } from "../../shared/held_model";
import { bytesAxis } from "../../shared/replay_timeline";
import type { Selection } from "../../shared/selection";
import type { Held, Snapshot } from "../../shared/session";
import { replayText as text } from "../../shared/text";
import { useShownWidth } from "../components/shown_width";

export interface HeldCurveProps {
  readonly held: Held | null;
  readonly snapshot: Snapshot | null;
  readonly selection: Selection;
  /** False while the step's own is read: the one before stays. */
  readonly known: boolean;
}

const HEIGHT = 104;
const MARGIN = { left: 34, right: 6, top: 16, bottom: 16 } as const;

export function HeldCurve({ held, snapshot, selection, known }: HeldCurveProps): JSX.Element | null {
  const [width, ref] = useShownWidth();
  if (held === null) return known ? <p class="dock-note rp-held-none">{text.heldCurveNone}</p> : null;
  return (
    <div ref={ref} class="rp-held-curve">
      {width > 0 && <Curve held={held} width={width} here={released(held, snapshot, selection)} />}
    </div>
  );
}

interface CurveProps {
  readonly held: Held;
  readonly width: number;
  /** When what is selected had been let go, ns from backward's start; null where that is not known. */
  readonly here: number | null;
}

function Curve({ held, width, here }: CurveProps): JSX.Element {
  const [times, bytes] = [numbers(held.curve_ns), numbers(held.curve_bytes)];
  const peakAt = Number(held.peak_ns);
  const [first, last] = [Math.min(times[0] ?? 0, 0), Math.max(times[times.length - 1] ?? 0, 1)];
  const axis = bytesAxis(Math.max(held.peak_bytes, 1), 3);
  const bottom = HEIGHT - MARGIN.bottom;
  const x = (ns: number): number => MARGIN.left + (Math.max(0, Math.min(1, (ns - first) / (last - first))) * (width - MARGIN.left - MARGIN.right));
  const y = (size: number): number => bottom - (Math.min(size, axis.high) / axis.high) * (bottom - MARGIN.top);
  const line = stepPath(times, bytes, x, y);
  const unit = formatBytes(axis.ticks[axis.ticks.length - 1] ?? 1).split(" ")[1] ?? "";
  const divisor = 1024 ** ["B", "KiB", "MiB", "GiB", "TiB"].indexOf(unit);
  const peak = Math.max(MARGIN.left + 4, Math.min(width - MARGIN.right - 4, x(peakAt)));
  const peakLeft = peak > width / 2;
  return (
    <svg width={width} height={HEIGHT} role="img" aria-label={text.heldCurve(formatBytes(held.peak_bytes))}>
      {axis.ticks.map((tick, at) => (
        <g key={tick}>
          <path class="rp-grid" d={`M${MARGIN.left} ${y(tick).toFixed(1)}H${width - MARGIN.right}`} />
          <text x={MARGIN.left - 5} y={y(tick) + 3.5} text-anchor="end">
            {`${Number((tick / divisor).toPrecision(3))}${at === axis.ticks.length - 1 && width > 240 ? "" : ""}`}
          </text>
        </g>
      ))}
      <text x={MARGIN.left - 5} y={10} text-anchor="end">
        {unit}
      </text>
      {times.length > 0 && <path class="rp-held-area" d={`${line}V${bottom}H${x(times[0] ?? 0).toFixed(1)}Z`} />}
      <path class="rp-line" d={line} />
      <path class="rp-edge" d={`M${peak.toFixed(1)} ${y(held.peak_bytes).toFixed(1)}V${bottom}`} />
      <path class="rp-peak" d={`M${(peak - 4).toFixed(1)} ${MARGIN.top - 8}h8l-4 6Z`} />
      <text class="rp-name" x={peak + (peakLeft ? -8 : 8)} y={MARGIN.top - 2} text-anchor={peakLeft ? "end" : "start"}>
        {text.heldPeak(formatBytes(held.peak_bytes))}
      </text>
      {here !== null && <Here x={x(here)} y={y(bytesAt(times, bytes, here))} bytes={bytesAt(times, bytes, here)} bottom={bottom} width={width} />}
      <text x={x(first)} y={HEIGHT - 3}>
        {first < 0 ? text.forward : text.backward}
      </text>
      {first < 0 && (
        <text x={Math.max(x(0), MARGIN.left + 48)} y={HEIGHT - 3}>
          {text.backward}
        </text>
      )}
      <text x={width - MARGIN.right} y={HEIGHT - 3} text-anchor="end">
        {held.release_source === "estimated" && width > 300 ? text.estimatedRelease : formatDuration(last / 1e6)}
      </text>
    </svg>
  );
}

interface HereProps {
  readonly x: number;
  readonly y: number;
  readonly bytes: number;
  readonly bottom: number;
  readonly width: number;
}

function Here({ x, y, bytes, bottom, width }: HereProps): JSX.Element {
  const left = x > width - 120;
  return (
    <g>
      <path class="rp-here" d={`M${x.toFixed(1)} ${MARGIN.top}V${bottom}`} />
      <circle class="rp-dot" cx={x} cy={y} r={2.5} />
      <text class="here" x={x + (left ? -5 : 5)} y={MARGIN.top + 9} text-anchor={left ? "end" : "start"}>
        {text.heldHere(formatBytes(bytes))}
      </text>
    </g>
  );
}

/** Most points of a curve that are drawn: of more, each stands for a stretch, by its highest. */
const MOST_POINTS = 2000;

/** Bytes stay until the next release: steps, not slopes. */
function stepPath(times: ArrayLike<number>, bytes: ArrayLike<number>, x: (ns: number) => number, y: (size: number) => number): string {
  const every = Math.max(1, Math.ceil(times.length / MOST_POINTS));
  let path = "";
  for (let i = 0; i < times.length; i += every) {
    let most = 0;
    for (let j = i; j < Math.min(times.length, i + every); j++) most = Math.max(most, bytes[j]!);
    path += `${i === 0 ? `M${x(times[i]!).toFixed(1)} ` : `H${x(times[i]!).toFixed(1)}V`}${y(most).toFixed(1)}`;
  }
  return path;
}

function bytesAt(times: ArrayLike<number>, bytes: ArrayLike<number>, ns: number): number {
  let at = 0;
  while (at + 1 < times.length && times[at + 1]! <= ns) at++;
  return bytes[at] ?? 0;
}

/** When the last of what the selected node saved was let go. */
function released(held: Held, snapshot: Snapshot | null, selection: Selection): number | null {
  const model = snapshot && heldModel(snapshot);
  if (!model || selection.kind !== "node" || held.ledger !== snapshot.ledger?.id) return null;
  const ends = numbers(held.released_ns);
  let last = -1;
  for (let row = 0; row < model.node.length; row++) {
    if (model.node[row] === selection.index) last = Math.max(last, ends[model.storage[row] ?? -1] ?? -1);
  }
  return last < 0 ? null : last;
}
