/** One row of the graph: name and detail, bytes saved with their bar, and a gradient norm where one is known. */

import type { JSX } from "preact";
import { formatBytes, formatCount, plainNumber } from "../../shared/format";
import { bornAt } from "../../shared/graph_gradients";
import { opName, shortName, siteOf } from "../../shared/graph_model";
import type { GraphTree } from "../../shared/graph_groups";
import type { GraphRow } from "../../shared/graph_rows";
import { summarise, type RowSummary, type ShownNorm } from "../../shared/graph_summary";
import { compiledGroup, innerOp, ofCompiled, parameterNames, rowName, shownDetail } from "../../shared/graph_words";
import type { CompiledOp } from "../../shared/graph_compiled";
import type { Site } from "../../shared/session";
import { compiledText, graphText } from "../../shared/text";
import { Twistie } from "../components/glyph";
import { MagnitudeText } from "../components/number";
import { SiteLink } from "./source_lines";

export interface GraphRowProps {
  readonly tree: GraphTree;
  readonly row: GraphRow;
  readonly narrow: boolean;
  /** The list without groups. */
  readonly flat: boolean;
  readonly most: number;
  /** How many matches of the search it stands for. */
  readonly found: number;
  /** Opens a line of source; `focus`: and goes there. */
  readonly open: (site: Site, focus: boolean) => void;
}

const INDENT = 14;
/** Deeper rows keep the indent of this level: the name needs the room. */
const DEEPEST = { narrow: 3, wide: 6 } as const;

export function GraphRowCells({ tree, row, narrow, flat, most, found, open }: GraphRowProps): JSX.Element {
  const inner = innerOp(tree, row);
  const summary = summarise(tree, row.start, row.end);
  const indent = Math.min(row.level - 1, narrow ? DEEPEST.narrow : DEEPEST.wide) * (narrow ? 10 : INDENT);
  const heading = row.kind === "open";
  return (
    <>
      <span />
      <div class="op" style={{ paddingLeft: `${indent}px` }}>
        <Twistie open={row.expanded} />
        <code title={row.name}>
          <Name text={rowName(tree, row, narrow || hasWord(tree, row, summary))} />
        </code>
        {row.kind === "fold" && <span class="times">{graphText.times(row.count)}</span>}
        <Words tree={tree} row={row} summary={summary} />
        <span class="at">
          {row.kind === "fold" ? "· " : ""}
          {shownDetail(tree, row, summary, flat)}
        </span>
        {found > 0 && row.expanded === false && <span class="found">{graphText.found(formatCount(found))}</span>}
      </div>
      {heading ? <span /> : inner ? <Kept op={inner} /> : <Saved summary={summary} most={most} bar={row.kind === "op" || compiledGroup(tree, row)} />}
      {heading ? <span class="nrm" /> : inner ? <Line tree={tree} row={row} open={open} /> : <Norm tree={tree} row={row} norm={summary.norm} />}
    </>
  );
}

/** A word beside the name takes the room of its suffix. */
function hasWord(tree: GraphTree, row: GraphRow, { state, trouble }: RowSummary): boolean {
  return row.kind === "op" && (state === "running" || trouble === "NaN" || trouble === "Inf" || tree.model.labels.has(tree.order.node[row.start]!));
}

/** "Backward0" is dim: what tells one operation from another is before it. */
function Name({ text }: { readonly text: string }): JSX.Element {
  const short = shortName(text);
  return short.length < text.length ? (
    <>
      {short}
      <s>{text.slice(short.length)}</s>
    </>
  ) : (
    <>{text}</>
  );
}

/** States that must not hang on a colour or a shape alone. */
function Words({ tree, row, summary }: { tree: GraphTree; row: GraphRow; summary: RowSummary }): JSX.Element | null {
  if (row.kind === "open") return compiledGroup(tree, row) ? <span class="label">{compiledText.label}</span> : null;
  const inner = innerOp(tree, row);
  if (inner) return <Marks op={inner} />;
  const node = compiledGroup(tree, row) ? tree.groups[row.group]!.node : row.kind === "op" ? tree.order.node[row.start]! : -1;
  const label = tree.model.labels.get(node) ?? (ofCompiled(tree, row) ? { label: compiledText.label, text: "" } : undefined);
  const trouble = summary.trouble === "NaN" || summary.trouble === "Inf" ? summary.trouble : null;
  return (
    <>
      {trouble && <span class="word c-nan">{row.kind === "op" && bornAt(tree.model.gradients, tree.order.node[row.start]!) ? graphText.born(trouble) : trouble}</span>}
      {summary.state === "running" && !trouble && <span class="word c-accent">{graphText.states.running}</span>}
      {label && (
        <span class="label" title={label.text}>
          {label.label}
        </span>
      )}
    </>
  );
}

/** What the compiler does with a result: kept for backward, or computed again there. */
function Marks({ op: { saved, bytes, recomputedAs } }: { readonly op: CompiledOp }): JSX.Element {
  return (
    <>
      {saved && (
        <span class="label kept" title={compiledText.savedTitle(Number.isNaN(bytes) ? "" : formatBytes(bytes))}>
          {compiledText.saved}
        </span>
      )}
      {recomputedAs.length > 0 && (
        <span class="label again" title={compiledText.recomputedTitle(recomputedAs)}>
          {compiledText.recomputed}
        </span>
      )}
    </>
  );
}

/** Bytes that an op's result keeps. No bar: they are counted at the compiled node. */
function Kept({ op: { saved, bytes } }: { readonly op: CompiledOp }): JSX.Element {
  return saved ? <KeptBytes bytes={bytes} /> : <span class="saved dim">·</span>;
}

function KeptBytes({ bytes }: { readonly bytes: number }): JSX.Element {
  return (
    <span class="saved gone" title={compiledText.savedTitle(Number.isNaN(bytes) ? "" : formatBytes(bytes))}>
      {formatBytes(bytes)}
    </span>
  );
}

/** Only the region as a whole has a gradient: an op's line stands in its place. */
function Line({ tree, row, open }: Pick<GraphRowProps, "tree" | "row" | "open">): JSX.Element {
  const site = siteOf(tree.model, tree.order.node[row.start]!);
  return <span class="num nrm">{site && <SiteLink site={site} short={true} open={(focus) => open(site, focus)} />}</span>;
}

function Saved({ summary, most, bar }: { summary: RowSummary; most: number; bar: boolean }): JSX.Element {
  const { held, released, kept } = summary;
  const bytes = held || released;
  if (bytes === 0 && kept > 0) return <KeptBytes bytes={kept} />;
  if (bytes === 0) return <span class="saved dim">·</span>;
  const share = bar && most > 0 ? Math.max(0.03, bytes / most) : 0;
  const title = held > 0 ? graphText.saved(formatBytes(held)) : graphText.released(formatBytes(released));
  return (
    <span class={held > 0 ? "saved" : "saved gone"} title={title}>
      {share > 0 && <i style={{ width: `${(100 * share).toFixed(1)}%` }} />}
      {formatBytes(bytes)}
    </span>
  );
}

function Norm({ tree, row, norm }: { tree: GraphTree; row: GraphRow; norm: ShownNorm | null }): JSX.Element {
  if (!norm) return <span class="num nrm dim">·</span>;
  return (
    <span class={`num nrm ${norm.from}`} title={normTitle(tree, row, norm)}>
      {norm.nonFinite ? <span class="c-nan">{norm.nonFinite}</span> : <MagnitudeText value={norm.norm} title="" />}
    </span>
  );
}

function normTitle(tree: GraphTree, row: GraphRow, { norm, nonFinite, from }: ShownNorm): string {
  const value = nonFinite ?? plainNumber(norm);
  if (from === "now") return `${graphText.normFrom.now} ${value}`;
  const whose = (row.kind === "op" && parameterNames(tree, row.start)) || row.name || opName(tree.model, tree.order.node[row.start]!);
  return graphText.parameterGrad(whose, value) + (from === "before" ? `. ${graphText.beforeTitle}` : "");
}
