/** What a row says to a screen reader, and in full on hover: the same words. */

import { exactCount, formatRatio, formatShape, fullPrecision, plainNumber } from "../../shared/format";
import { ratioOf, type GradientSummary } from "../../shared/gradient_summary";
import { parametersBelow, type GradientNode, type ParameterNode, type VariableNode } from "../../shared/gradient_tree";
import { gradientsText as text } from "../../shared/text";
import { stateWord } from "./state_mark";

/** One sentence: name, state, norm, what changed. */
export function rowLabel(node: GradientNode, earlier: string | null): string {
  if (node.kind === "variable") return variableWords(node).join(", ");
  const parts = [node.fullName, ...summaryWords(node, earlier, plainNumber)];
  if (node.kind === "parameter") parts.push(...tiedWords(node));
  return parts.join(", ");
}

function summaryWords(node: GradientNode, earlier: string | null, number: (value: number) => string): string[] {
  const { summary } = node;
  if (summary === null) return [];
  const ofPrevious = node.kind === "parameter" && node.row.ofPreviousStop && earlier !== null;
  const { statistics, before, changed } = summary;
  const ratio = ratioOf(summary);
  const words = [stateWord(summary) || text.finite];
  if (statistics !== null && !Number.isNaN(statistics.norm)) words.push(text.normIs(number(statistics.norm)));
  words.push(...besideWords(summary, number));
  if (before) words.push(ofPrevious ? text.valuesOf(earlier) : text.valuesBefore);
  if (changed) words.push(Number.isNaN(ratio) ? text.changed : `${text.changed} ${formatRatio(ratio)}`);
  return words;
}

/** The same gradient with the loss scale, and before it was reduced. */
function besideWords({ statistics, scale, local }: GradientSummary, number: (value: number) => string): string[] {
  const words: string[] = [];
  if (scale !== 1 && statistics !== null && !Number.isNaN(statistics.norm)) words.push(text.scaledIs(number(statistics.norm * scale)));
  if (local !== null) words.push(local.nonfinite > 0 ? text.localIs(text.localBad(exactCount(local.nonfinite))) : text.localIs(number(local.norm)));
  return words;
}

function tiedWords({ row }: ParameterNode): string[] {
  const aliases = row.parameter.aliases ?? [];
  return aliases.length > 0 ? [text.tiedWith(aliases)] : [];
}

/** One thing a line, numbers in full. */
export function tooltipOf(node: GradientNode, earlier: string | null): string {
  if (node.kind === "variable") return variableWords(node).join("\n");
  const lines = [node.fullName];
  if (node.kind === "parameter") {
    const { shape, dtype, device } = node.row.parameter;
    lines.push(`${formatShape(shape)} ${dtype} ${device}`, ...tiedWords(node));
  } else if (node.kind === "module" || node.kind === "root") {
    lines.push(`${node.className} ${text.parameters(exactCount(parametersBelow(node).length))}`.trim());
  }
  if (node.summary !== null) lines.push(summaryWords(node, earlier, fullPrecision).join(", "), text.stateMeaning[node.summary.state]);
  return lines.join("\n");
}

function variableWords({ variable, name }: VariableNode): string[] {
  const { kind, class_name, shape = [], dtype = "", device = "", grad_fn, number, parameter_count = 0 } = variable;
  const parts =
    kind === "tensor"
      ? [class_name, formatShape(shape), dtype, device, grad_fn ?? "", number ?? ""]
      : [class_name, parameter_count > 0 ? text.parameters(exactCount(parameter_count)) : ""];
  return [name, ...parts.filter((part) => part !== "")];
}

/** For a spreadsheet: name, norm, abs max, zeros, NaN, Inf, state. */
export function copiedRow(node: GradientNode): string {
  const { summary } = node;
  if (node.kind === "variable" || summary === null) return node.fullName;
  const { norm, absMax, zeros, nan, inf } = summary.statistics ?? { norm: null, absMax: null, zeros: null, nan: null, inf: null };
  const numbers = [norm, absMax, zeros, nan, inf].map((value) => (value === null ? "" : String(value)));
  return [node.fullName, ...numbers, stateWord(summary) || text.finite].join("\t");
}
