/** The lanes beside the rows: marks on the spine, links between them and skips around them, for the rows drawn. */

import type { JSX } from "preact";
import type { CompiledOp } from "../../shared/graph_compiled";
import { FLOWS, piecesBetween, type Lanes } from "../../shared/graph_lanes";
import type { GraphRow, GraphRows } from "../../shared/graph_rows";
import { summarise, type RowSummary } from "../../shared/graph_summary";
import { GlyphAt } from "../components/glyph";
import type { RowRange } from "../components/row_window";
import { innerOp } from "../../shared/graph_words";
import { branchPath, edgePath, edgesAt, edgeWidth, middleOf, nodeRadius, ROW_HEIGHT, trunkPath, type LaneGeometry } from "./lane_paths";

export interface LanesProps {
  readonly rows: GraphRows;
  readonly lanes: Lanes;
  readonly geometry: LaneGeometry;
  readonly range: RowRange;
  /** The active row's index, whose edges stand out; -1 for none. */
  readonly active: number;
  /** The most bytes that one node saved: the axis of all radii. */
  readonly most: number;
}

/** Decoration: each row says its state, and the dock lists the edges. */
export function LaneDrawing(props: LanesProps): JSX.Element {
  const { geometry, range } = props;
  const top = range.first * ROW_HEIGHT;
  const height = (range.end - range.first) * ROW_HEIGHT;
  return (
    <svg class="lanes" width={geometry.width} height={height} viewBox={`0 ${top} ${geometry.width} ${height}`} style={{ top: `${top}px` }} aria-hidden="true">
      <Edges {...props} />
      <ActiveEdges {...props} />
      <Marks {...props} />
    </svg>
  );
}

interface Stroke {
  readonly d: string;
  readonly flow: number;
  readonly count: number;
}

function Edges({ lanes, geometry, range }: LanesProps): JSX.Element {
  const [first, last] = [range.first - 1, range.end];
  const pieces = piecesBetween(lanes, first, last);
  const links = lanes.spine.slice(Math.max(0, linkStart(lanes, first)), last + 1).flatMap((edge) => (edge ? [edge] : []));
  const strokes: Stroke[] = [
    ...links.map((edge) => ({ d: edgePath(geometry, edge, 0), flow: edge.flow, count: edge.count })),
    ...pieces.trunks.map((trunk) => ({ d: trunkPath(geometry, trunk, [first, last]), flow: trunk.flow, count: trunk.count })),
    ...pieces.branches.map((branch) => ({ d: branchPath(geometry, branch), flow: branch.flow, count: branch.count })),
  ];
  // What matters most is drawn last, over the rest.
  strokes.sort((a, b) => a.flow - b.flow);
  return (
    <>
      {strokes.map(({ d, flow, count }) => d && <path key={d} class={`edge ${FLOW_CLASS[flow]}`} d={d} stroke-width={edgeWidth(count)} />)}
    </>
  );
}

const FLOW_CLASS = FLOWS.map((flow) => flow.replace(" ", "-"));

/** A link may begin rows above the window: headings have no mark. */
function linkStart({ spine }: Lanes, first: number): number {
  let at = first;
  while (at > 0 && !spine[at]) at--;
  return at;
}

function ActiveEdges({ lanes, geometry, active, range }: LanesProps): JSX.Element | null {
  if (active < range.first || active >= range.end) return null;
  return (
    <>
      {edgesAt(lanes, active).map(({ edge, lane }) => (
        <path key={`${edge.upper}-${edge.lower}`} class={`edge active ${FLOW_CLASS[edge.flow]}`} d={edgePath(geometry, edge, lane)} />
      ))}
    </>
  );
}

function Marks({ rows, geometry, range, most }: LanesProps): JSX.Element {
  const marks: JSX.Element[] = [];
  for (let index = range.first; index < range.end; index++) {
    const row = rows.rows[index];
    if (!row || row.kind === "open") continue;
    marks.push(<Mark key={row.key} row={row} rows={rows} x={geometry.x[0]!} y={middleOf(index)} most={most} />);
  }
  return <>{marks}</>;
}

interface MarkProps {
  readonly row: GraphRow;
  readonly rows: GraphRows;
  readonly x: number;
  readonly y: number;
  readonly most: number;
}

function Mark({ row, rows, x, y, most }: MarkProps): JSX.Element {
  const summary = summarise(rows.tree, row.start, row.end);
  const tone = summary.trouble ? "bad" : "";
  const inner = innerOp(rows.tree, row);
  const shape = inner ? <InnerMark op={inner} x={x} y={y} most={most} /> : row.kind === "op" ? <NodeMark summary={summary} x={x} y={y} most={most} /> : <GroupMark row={row} summary={summary} x={x} y={y} />;
  return (
    <g class={`mark ${summary.state} ${tone}`}>
      {summary.state === "running" && <circle class="ring" cx={x} cy={y} r={10} />}
      {shape}
    </g>
  );
}

function NodeMark({ summary, x, y, most }: { summary: RowSummary; x: number; y: number; most: number }): JSX.Element {
  if (summary.trouble === "NaN" || summary.trouble === "Inf") return <GlyphAt id={summary.trouble} x={x} y={y} size={12} />;
  if (summary.unseen > 0) return <GlyphAt id="unseen" x={x} y={y} size={11} />;
  if (summary.state === "running") return <circle class="core" cx={x} cy={y} r={3.2} />;
  return <circle class="body" cx={x} cy={y} r={nodeRadius(summary.held + summary.released, most)} />;
}

/** A compiled op: its area by what it keeps, hollow where backward computes it again. */
function InnerMark({ op: { saved, bytes, recomputedAs }, x, y, most }: { op: CompiledOp; x: number; y: number; most: number }): JSX.Element {
  const radius = saved && bytes > 0 ? nodeRadius(bytes, Math.max(most, bytes)) : nodeRadius(0, most);
  if (recomputedAs.length > 0) return <circle class="body again" cx={x} cy={y} r={Math.max(3.2, radius)} />;
  return <circle class={saved ? "body kept" : "body"} cx={x} cy={y} r={radius} />;
}

/** A box; of several alike, with another behind it. Its lower part is filled as far as backward has come up. */
function GroupMark({ row, summary, x, y }: { row: GraphRow; summary: RowSummary; x: number; y: number }): JSX.Element {
  const fold = row.kind === "fold";
  const [half, height] = fold ? [8, 13] : [6, 10];
  const top = y - height / 2;
  const filled = summary.state === "partly" || summary.state === "running" ? (height * summary.fired) / (row.end - row.start) : 0;
  return (
    <>
      {fold && <rect class="behind" x={x - half + 3} y={top - 2.5} width={half * 2} height={height} rx={1.5} />}
      <rect class="body" x={x - half} y={top} width={half * 2} height={height} rx={1.5} />
      {filled > 0 && <rect class="level" x={x - half} y={top + height - filled} width={half * 2} height={filled} />}
      {(summary.trouble === "NaN" || summary.trouble === "Inf") && <GlyphAt id={summary.trouble} x={x} y={y} size={8} />}
    </>
  );
}
