/** Marks of the layered drawing with their labels, and the boxes of open groups. Each is an item of the tree. */

import type { JSX } from "preact";
import type { CompiledOp } from "../../shared/graph_compiled";
import { labelOf, TWISTIE_ROOM } from "../../shared/graph_layered_label";
import { HEAD_HEIGHT, MARK_HEIGHT, type LayoutBox, type LayoutMark } from "../../shared/graph_layered_layout";
import type { Area } from "../../shared/graph_layered_window";
import type { GraphRow, GraphRows } from "../../shared/graph_rows";
import { summarise, type RowSummary } from "../../shared/graph_summary";
import { innerOp, rowName, rowSentence } from "../../shared/graph_words";
import { graphText } from "../../shared/text";
import { GlyphAt } from "../components/glyph";

export interface MarksProps {
  readonly id: string;
  readonly rows: GraphRows;
  readonly flat: boolean;
  /** The active row's key. */
  readonly active: string | null;
  readonly most: number;
  /** The backward of the step is over: what it does not name as pending has fired. */
  readonly done: boolean;
  /** So small that no label could be read. */
  readonly far: boolean;
  readonly found: (row: GraphRow) => boolean;
}

/** The id of a row's element: keys hold no space. */
export function itemId(id: string, row: GraphRow): string {
  return `${id}-${encodeURIComponent(row.key)}`;
}

interface ItemProps {
  readonly shared: MarksProps;
  readonly row: GraphRow;
  /** Its name and, in words, its state. */
  readonly sentence: string;
}

/** What the tree says of an item. */
function itemAttributes({ shared, row, sentence }: ItemProps): Readonly<Record<string, string | number>> {
  return {
    id: itemId(shared.id, row),
    role: "treeitem",
    "aria-label": sentence,
    "aria-level": row.level,
    "aria-setsize": row.setSize,
    "aria-posinset": row.posInSet,
    "aria-selected": row.key === shared.active ? "true" : "false",
    ...(row.expanded === null ? {} : { "aria-expanded": row.expanded ? "true" : "false" }),
  };
}

export function BoxItem({ shared, box }: { readonly shared: MarksProps; readonly box: LayoutBox }): JSX.Element {
  const { tree, rows } = shared.rows;
  const row = rows[box.row]!;
  const summary = summarise(tree, row.start, row.end);
  const { x, y, width, height } = box;
  return (
    <g class={`box${row.key === shared.active ? " active" : ""}`} data-key={row.key} {...itemAttributes({ shared, row, sentence: rowSentence(tree, row, summary) })}>
      <rect class="frame" x={x} y={y} width={Math.max(0, width)} height={Math.max(0, height)} rx={3} />
      <g class="head">
        <rect class="grip" x={x} y={y} width={Math.max(0, width)} height={HEAD_HEIGHT + 2} />
        {!shared.far && <Chevron x={x + 11} y={y + HEAD_HEIGHT / 2 + 1} open={true} />}
        {!shared.far && (
          <text class="name group" x={x + 19} y={y + HEAD_HEIGHT / 2 + 5}>
            {labelOf(tree, row, summary, { room: width, flat: false }).name}
          </text>
        )}
        <title>{rowName(tree, row, false)}</title>
      </g>
    </g>
  );
}

export function MarkItem({ shared, mark }: { readonly shared: MarksProps; readonly mark: LayoutMark }): JSX.Element {
  const { tree, rows } = shared.rows;
  const row = rows[mark.row]!;
  const summary = summarise(tree, row.start, row.end);
  const state = summary.state === "idle" && shared.done ? "fired" : summary.state;
  const tone = summary.trouble ? (summary.trouble === "on path" ? " bad path" : " bad") : "";
  const active = row.key === shared.active ? " active" : "";
  const found = shared.found(row) ? " match" : "";
  const sentence = rowSentence(tree, row, summary);
  return (
    <g class={`mark ${row.kind} ${state}${tone}${active}${found}`} data-key={row.key} {...itemAttributes({ shared, row, sentence })}>
      <rect class="grip" {...gripOf(mark, row)} rx={2} />
      <Shape shared={shared} row={row} summary={summary} mark={mark} fired={state === "fired"} />
      {!shared.far && <Label shared={shared} row={row} summary={summary} mark={mark} />}
      <title>{sentence}</title>
    </g>
  );
}

/** How far a mark reaches from its middle: labels begin behind it. */
function halfOf(row: GraphRow): number {
  return row.kind === "fold" ? 17 : row.kind === "closed" ? 13 : 12;
}

/** What of the drawing a mark and its label take. */
export function gripOf({ x, y, side, room }: LayoutMark, row: GraphRow): Area {
  const half = halfOf(row) + 3;
  const width = half * 2 + room + 4;
  return { x: side === "left" ? x + half - width : x - half, y: y - MARK_HEIGHT / 2, width, height: MARK_HEIGHT };
}

interface ShapeProps {
  readonly shared: MarksProps;
  readonly row: GraphRow;
  readonly summary: RowSummary;
  readonly mark: LayoutMark;
  readonly fired: boolean;
}

function Shape(props: ShapeProps): JSX.Element {
  const { row, summary, mark } = props;
  const { x, y } = mark;
  return (
    <>
      {summary.state === "running" && row.kind === "op" && <circle class="ring" cx={x} cy={y} r={12.5} />}
      {row.kind === "op" ? <NodeShape {...props} /> : <GroupShape {...props} />}
    </>
  );
}

function NodeShape({ row, summary, mark: { x, y }, shared: { most, rows } }: ShapeProps): JSX.Element {
  const inner = innerOp(rows.tree, row);
  if (inner) return <InnerShape op={inner} x={x} y={y} most={most} />;
  const large = summary.state === "running";
  if (summary.trouble === "NaN" || summary.trouble === "Inf") return <GlyphAt id={summary.trouble} x={x} y={y} size={large ? 15 : 13} />;
  if (summary.unseen > 0) return <GlyphAt id="unseen" x={x} y={y} size={12} />;
  if (large) return <circle class="core" cx={x} cy={y} r={4} />;
  return <circle class="body" cx={x} cy={y} r={radiusOf(summary.held + summary.released, most)} />;
}

/** A compiled op: its area by what it keeps, hollow where backward computes it again. */
function InnerShape({ op: { saved, bytes, recomputedAs }, x, y, most }: { readonly op: CompiledOp; readonly x: number; readonly y: number; readonly most: number }): JSX.Element {
  const radius = saved && bytes > 0 ? radiusOf(bytes, Math.max(most, bytes)) : radiusOf(0, most);
  if (recomputedAs.length > 0) return <circle class="body again" cx={x} cy={y} r={Math.max(3.6, radius)} />;
  return <circle class={saved ? "body kept" : "body"} cx={x} cy={y} r={radius} />;
}

/** Area in proportion to the bytes saved. */
export function radiusOf(bytes: number, most: number): number {
  return bytes <= 0 || most <= 0 ? 2.6 : Math.max(2.6, 12 * Math.sqrt(bytes / most));
}

/** A box; of several alike, with more behind it. Its lower part is filled as far as backward has come up. */
function GroupShape({ row, summary, mark: { x, y }, fired }: ShapeProps): JSX.Element {
  const fold = row.kind === "fold";
  const [half, height] = fold ? [17, 18] : [13, 14];
  const [left, top] = [x - half, y - height / 2];
  const level = !fired && summary.fired > 0 ? (height * summary.fired) / (row.end - row.start) : 0;
  const nonFinite = summary.trouble === "NaN" || summary.trouble === "Inf" ? summary.trouble : null;
  return (
    <>
      {fold && <rect class="behind" x={left + 6} y={top - 6} width={half * 2} height={height} rx={2} />}
      {fold && <rect class="behind" x={left + 3} y={top - 3} width={half * 2} height={height} rx={2} />}
      <rect class="body" x={left} y={top} width={half * 2} height={height} rx={2} />
      {level > 0 && <rect class="level" x={left} y={top + height - level} width={half * 2} height={level} />}
      {fold && (
        <text class="times" x={x} y={y + 4} text-anchor="middle">
          {graphText.times(row.count)}
        </text>
      )}
      {nonFinite && <GlyphAt id={nonFinite} x={fold ? left + half * 2 : x} y={fold ? top : y} size={10} />}
      {summary.state === "running" && <rect class="ring" x={left - 3} y={top - 3} width={half * 2 + 6} height={height + 6} rx={3} />}
    </>
  );
}

function Label({ shared, row, summary, mark }: Omit<ShapeProps, "fired">): JSX.Element {
  const { name, word, bad, detail } = labelOf(shared.rows.tree, row, summary, { room: mark.room, flat: shared.flat });
  const left = mark.side === "left";
  const sign = left ? -1 : 1;
  const start = mark.x + sign * (halfOf(row) + 6);
  const text = start + (row.expanded === null ? 0 : sign * TWISTIE_ROOM);
  return (
    <>
      {row.expanded !== null && <Chevron x={start + sign * 3} y={mark.y} open={row.expanded} />}
      <text class="text" x={text} y={mark.y + 4} text-anchor={left ? "end" : "start"}>
        <tspan class={row.kind === "op" ? "name" : "name group"}>{name}</tspan>
        {detail && (
          <tspan class="detail" dx="5">
            {detail}
          </tspan>
        )}
        {word && (
          <tspan class={bad ? "word bad" : "word"} dx="5">
            {word}
          </tspan>
        )}
      </text>
    </>
  );
}

/** Opens and closes: a press here does not select. */
function Chevron({ x, y, open }: { readonly x: number; readonly y: number; readonly open: boolean }): JSX.Element {
  return (
    <g class="twist">
      <rect class="hit" x={x - 9} y={y - 11} width={18} height={22} />
      <path d={open ? `M${x - 3.5} ${y - 1.8}l3.5 3.5 3.5-3.5` : `M${x - 1.8} ${y - 3.5}l3.5 3.5-3.5 3.5`} />
    </g>
  );
}
