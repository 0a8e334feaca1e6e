/** Wires of the layered drawing: one path for all that look alike, so that thousands cost a handful of elements. */

import type { JSX } from "preact";
import { gradientShare, type LayeredEdge } from "../../shared/graph_layered_edges";
import { wirePath, type LayoutWire } from "../../shared/graph_layered_layout";
import { FLOWS } from "../../shared/graph_lanes";
import type { GraphModel } from "../../shared/graph_model";
import { layeredText } from "../../shared/text";
import { edgeWidth } from "./lane_paths";

export interface WiresProps {
  readonly model: GraphModel;
  readonly edges: readonly LayeredEdge[];
  readonly wires: readonly LayoutWire[];
  /** The active row, whose edges stand out; -1 for none. */
  readonly active: number;
}

const FLOW_CLASS = FLOWS.map((flow) => flow.replace(" ", "-"));

/** Decoration: the dock lists the edges of a node. */
export function Wires({ model, edges, wires, active }: WiresProps): JSX.Element {
  const alike = new Map<string, { readonly flow: number; readonly width: number; d: string }>();
  const numbers = new Map<number, JSX.Element>();
  for (const wire of wires) {
    const share = shareOf(model, edges, wire);
    const flow = wire.edges.reduce((most, edge) => Math.max(most, edges[edge]!.flow), 0);
    const width = widthOf(edges, wire, share, flow === 3);
    const key = `${flow} ${width}`;
    const known = alike.get(key);
    if (known) known.d += wirePath(wire);
    else alike.set(key, { flow, width, d: wirePath(wire) });
    const edge = wire.edges[0]!;
    if (share !== null && !Number.isNaN(wire.lane) && !numbers.has(edge)) numbers.set(edge, <ShareText key={wire.key} wire={wire} share={share} />);
  }
  // What matters most is drawn last, over the rest.
  const strokes = [...alike.values()].sort((a, b) => a.flow - b.flow || b.width - a.width);
  const own = wires.filter(({ upper, edges: all }) => active >= 0 && (upper === active || all.some((edge) => edges[edge]!.lower === active)));
  return (
    <g class="wires" aria-hidden="true">
      {strokes.map(({ flow, width, d }) => (
        <path key={`${flow} ${width}`} class={`wire ${FLOW_CLASS[flow]}`} d={d} stroke-width={width} />
      ))}
      {own.length > 0 && <path class={`wire active ${activeFlow(edges, own)}`} d={own.map(wirePath).join("")} />}
      {[...numbers.values()]}
    </g>
  );
}

/** Of one edge alone: what several carry together is not known. */
function shareOf(model: GraphModel, edges: readonly LayeredEdge[], { edges: of }: LayoutWire): number | null {
  return of.length === 1 ? gradientShare(model, edges[of[0]!]!) : null;
}

/** 0.8 px and 3.6 more for all of a gradient; where its share was not measured, by how many edges there are. */
function widthOf(edges: readonly LayeredEdge[], { edges: of }: LayoutWire, share: number | null, onPath: boolean): number {
  const count = of.reduce((sum, edge) => sum + edges[edge]!.count, 0);
  const width = share === null ? edgeWidth(count) : 0.8 + 3.6 * Math.min(1, share);
  return Math.round((onPath ? Math.max(1.6, width * 0.7) : width) * 5) / 5;
}

function activeFlow(edges: readonly LayeredEdge[], wires: readonly LayoutWire[]): string {
  return wires.some(({ edges: all }) => all.some((edge) => edges[edge]!.flow === 3)) ? "on-path" : "";
}

function ShareText({ wire, share }: { readonly wire: LayoutWire; readonly share: number }): JSX.Element {
  const text = share.toFixed(2);
  return (
    <text class="share" x={wire.lane + 7} y={(wire.y0 + wire.y1) / 2 + 4}>
      {text}
      <title>{layeredText.shareTitle(text)}</title>
    </text>
  );
}
