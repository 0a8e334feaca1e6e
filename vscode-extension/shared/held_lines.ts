/** What each source line holds for backward: the editor's end-of-line notes and their hovers. */

import { formatBytes, formatCount, formatPercent, formatShape } from "./format";
import { countedRows, heldGroups, type HeldGroup } from "./held_groups";
import { heldModel, savedTensor, type HeldModel, type SavedTensor } from "./held_model";
import type { Snapshot } from "./session";
import { heldText } from "./text";

/** `text` follows the line: "96.0 MiB held · softmax result". `hover` is Markdown, one entry a paragraph. */
export interface HeldLine {
  readonly line: number;
  readonly bytes: number;
  readonly tensors: number;
  readonly text: string;
  readonly hover: readonly string[];
}

const MOST_IN_HOVER = 8;

/** The lines of each file that hold something now, in line order. Empty where nothing was read. */
export function heldByLine(snapshot: Snapshot): Map<string, readonly HeldLine[]> {
  const model = heldModel(snapshot);
  const files = new Map<string, HeldLine[]>();
  if (!model) return files;
  for (const group of heldGroups(model, "line")) {
    const { identity } = group;
    if (identity.kind !== "line" || group.bytes <= 0) continue;
    const lines = files.get(identity.file) ?? [];
    files.set(identity.file, lines);
    lines.push(lineOf(model, group, identity.line));
  }
  for (const lines of files.values()) lines.sort((a, b) => a.line - b.line);
  return files;
}

function lineOf(model: HeldModel, group: HeldGroup, line: number): HeldLine {
  const rows = countedRows(model, group.rows);
  const first = rows.slice(0, MOST_IN_HOVER).map((row) => savedTensor(model, row));
  return {
    line,
    bytes: group.bytes,
    tensors: rows.length,
    text: heldText.lineNote(formatBytes(group.bytes), first[0] ? savedName(first[0]) : ""),
    hover: hoverOf(model, group, first, rows.length - first.length),
  };
}

/** "softmax result": the op without its suffix, and what it saved. */
export function savedName({ op, role }: Pick<SavedTensor, "op" | "role">): string {
  return `${shortOp(op)} ${role}`;
}

/**
 * The op as torch calls it: "native_layer_norm" of "NativeLayerNormBackward0". Names without autograd's number are
 * the program's own Functions and keep their spelling.
 */
export function shortOp(op: string): string {
  if (!/Backward\d+$/.test(op)) return op.replace(/Backward$/, "");
  const name = op.replace(/Backward\d+$/, "");
  return name.replace(/(?<=[a-z\d])(?=[A-Z])/g, "_").toLowerCase();
}

function hoverOf(model: HeldModel, group: HeldGroup, tensors: readonly SavedTensor[], more: number): readonly string[] {
  const share = formatPercent(group.bytes / model.total);
  const head = heldText.hoverHead(formatBytes(group.bytes), share, formatBytes(model.total));
  const tail = more > 0 ? [heldText.andMore(formatCount(more))] : [];
  const gone = group.released > 0 ? [heldText.alreadyReleased(formatBytes(group.released))] : [];
  return [head, tensors.map(hoverRow).join("\n"), ...tail, ...gone];
}

function hoverRow(tensor: SavedTensor): string {
  const { op, role, shape, dtype, storageBytes } = tensor;
  const slice = tensor.bytes < storageBytes ? `, ${heldText.slice(formatBytes(tensor.bytes))}` : "";
  return `- \`${op}\` \`${role}\` \`${formatShape(shape)} ${dtype}\` ${formatBytes(storageBytes)}${slice}`;
}
