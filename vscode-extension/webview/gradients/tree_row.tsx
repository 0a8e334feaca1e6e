/** What stands in one row of the tree: name, shape, range, norm, change, state. */

import type { JSX } from "preact";
import { formatCount, formatShape } from "../../shared/format";
import type { GradientHistory } from "../../shared/gradient_history";
import type { Beside } from "../../shared/gradient_model";
import type { GradientSummary } from "../../shared/gradient_summary";
import type { GradientNode, VariableNode } from "../../shared/gradient_tree";
import type { VisibleRow } from "../../shared/gradient_visible";
import { gradientsText as text } from "../../shared/text";
import { Twistie } from "../components/glyph";
import { BesideNumber, NormNumber, RatioNumber } from "./numbers";
import { RangeGlyph } from "./range_glyph";
import { tooltipOf } from "./row_words";
import { Sparkline } from "./sparkline";
import { StateGlyph, StateWord } from "./state_mark";

export interface TreeRowProps {
  readonly row: VisibleRow;
  /** Levels above that are not indented: a root variable's own. */
  readonly outdent: number;
  /** The only model's own name, which a list of full names leaves out. */
  readonly leave: string;
  readonly earlier: string | null;
  /** Of a recorded session: drawn in place of the change. */
  readonly history?: GradientHistory | null;
  /** Before the host's menu opens, the row is selected: the menu's commands are about what is. */
  readonly onMenu?: () => void;
  /** Which norm stands beside the norm. */
  readonly beside?: Beside | null;
}

/** What the host's menu is told of the row under the pointer. */
const ON_PARAMETER = { "data-vscode-context": '{"webviewSection":"parameter","preventDefaultContextMenuItems":true}' };

export function TreeRow({ row, outdent, leave, earlier, onMenu, history = null, beside = null }: TreeRowProps): JSX.Element {
  const { node, level, expanded } = row;
  return (
    <div class="grad-cells" title={tooltipOf(node, earlier)} {...(node.kind === "parameter" ? ON_PARAMETER : {})} onContextMenu={onMenu}>
      <div class="nm" style={{ paddingLeft: `${row.full ? 2 : Math.max(0, level - 1 - outdent) * 11}px` }}>
        {!row.full && <Twistie open={expanded} />}
        <ShortName name={row.full ? without(leave, node.fullName) : nameOf(node)} />
        <Note node={node} />
      </div>
      {node.kind === "variable" ? <VariableCells node={node} /> : <SummaryCells node={node} summary={node.summary} history={history} beside={beside} />}
    </div>
  );
}

function without(start: string, name: string): string {
  return start !== "" && name.startsWith(`${start}.`) ? name.slice(start.length + 1) : name;
}

/** Classes of the row around it. Numbers over the finite part alone are dim, as are those from before. */
export function rowClass({ node }: VisibleRow): string {
  const { kind, summary } = node;
  const parts = ["grad-row", `is-${kind}`];
  if (summary?.before) parts.push("before");
  if (summary?.state === "NaN" || summary?.state === "Inf") parts.push("in-part");
  if (summary?.changed && !summary.before) parts.push("changed");
  return parts.join(" ");
}

export function nameOf(node: GradientNode): string {
  return node.kind === "variables" || node.kind === "modules" || node.kind === "optimizers" ? text.groups[node.kind] : node.name;
}

/** Names shorten in the middle: "blocks.11…fc2.weight". The start says which block, the end which parameter. */
export function ShortName({ name }: { readonly name: string }): JSX.Element {
  const [head, middle, tail] = cutName(name);
  if (middle === "") return <span class="short-name">{name}</span>;
  return (
    <span class="short-name three">
      <span class="head">{head}</span>
      <span class="middle">{middle}</span>
      <span class="tail">{tail}</span>
    </span>
  );
}

const SHORT = 16;

/** What stays, what gives way, what stays. Without a middle nothing gives way but the end. */
export function cutName(name: string): readonly [string, string, string] {
  if (name.length <= SHORT) return [name, "", ""];
  const parts = name.split(/(?=\.)/);
  if (parts.length < 4) return [name.slice(0, 6), name.slice(6, -8), name.slice(-8)];
  const numbered = parts.findIndex((part) => /^\.\d+$/.test(part));
  const head = numbered > 0 && numbered < parts.length - 2 ? numbered + 1 : 1;
  const tail = Math.max(head + 1, parts.length - 2);
  return [parts.slice(0, head).join(""), parts.slice(head, tail).join(""), parts.slice(tail).join("")];
}

function Note({ node }: { readonly node: GradientNode }): JSX.Element | null {
  const words = noteOf(node);
  return words === "" ? null : <em>{words}</em>;
}

function noteOf(node: GradientNode): string {
  switch (node.kind) {
    case "parameter":
      return (node.row.parameter.aliases ?? []).length > 0 ? text.tied : "";
    case "root":
      return node.className;
    case "variable":
      return node.variable.kind === "tensor" ? "" : node.variable.class_name;
    default:
      return "";
  }
}

interface SummaryCellsProps {
  readonly node: GradientNode;
  readonly summary: GradientSummary | null;
  readonly history: GradientHistory | null;
  readonly beside: Beside | null;
}

function SummaryCells({ node, summary, history, beside }: SummaryCellsProps): JSX.Element | null {
  if (summary === null) return null;
  return (
    <>
      <span class="shape">{node.kind === "parameter" ? formatShape(node.row.parameter.shape) : ""}</span>
      <RangeGlyph summary={summary} />
      <span class="num">
        <NormNumber summary={summary} />
      </span>
      {beside !== null && (
        <span class="num beside">
          <BesideNumber summary={summary} beside={beside} />
        </span>
      )}
      <span class="num ratio">
        {history ? <Sparkline history={history} node={node} summary={summary} /> : <RatioNumber summary={summary} />}
      </span>
      <span class="state">
        <StateGlyph summary={summary} />
        <StateWord summary={summary} />
      </span>
    </>
  );
}

/** Autograd keeps no `.grad` of it: what it is stands in place of the numbers. */
function VariableCells({ node: { variable } }: { readonly node: VariableNode }): JSX.Element {
  const { kind, shape = [], number = null, grad_fn = null, parameter_count = 0 } = variable;
  if (kind !== "tensor") {
    return <span class="of-variable">{parameter_count > 0 ? text.parameters(formatCount(parameter_count)) : ""}</span>;
  }
  return (
    <>
      <span class="shape">{formatShape(shape)}</span>
      <span class="of-variable">
        {number !== null && <span class="value">{number.replaceAll("-", "−")}</span>}
        <code>{grad_fn ?? ""}</code>
      </span>
    </>
  );
}
