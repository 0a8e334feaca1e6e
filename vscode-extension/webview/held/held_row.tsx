/** One row of the held table: a group with its bar, or a saved tensor under it. */

import type { ComponentChildren, JSX } from "preact";
import { fileName, formatBytes, formatCount, formatPercent, formatShape } from "../../shared/format";
import { labeller, type Grouping, type HeldGroup } from "../../shared/held_groups";
import { shortOp } from "../../shared/held_lines";
import { moduleOf, type HeldModel, type SavedTensor } from "../../shared/held_model";
import type { GroupRow, HeldRow, TensorRow } from "../../shared/held_rows";
import { heldText } from "../../shared/text";
import { Bar } from "../components/bar";
import { Twistie } from "../components/glyph";

export interface RowSettings {
  readonly model: HeldModel;
  readonly axis: number;
  readonly narrow: boolean;
  readonly grouping: Grouping;
  readonly onOpen: (file: string, line: number, focus: boolean) => void;
}

export function HeldRowView({ row, settings }: { readonly row: HeldRow; readonly settings: RowSettings }): JSX.Element {
  return row.kind === "group" ? <Group row={row} settings={settings} /> : <Tensor row={row} settings={settings} />;
}

/** What a screen reader says of a row, in full at every width. */
export function rowSentence(row: HeldRow, model: HeldModel): string {
  if (row.kind === "tensor") return tensorSentence(row.tensor, model);
  const { label, bytes, released, identity } = row.group;
  const name = identity.kind === "line" && identity.text ? `${label}, ${identity.text}` : label;
  const gone = bytes === 0 && released > 0;
  return heldText.row(name, formatBytes(gone ? released : bytes), shareOf(bytes, model), gone);
}

/** A row as it is copied: exact bytes, tab separated. */
export function copiedRow(row: HeldRow, model: HeldModel): string {
  if (row.kind === "group") return [row.group.label, row.group.bytes, row.group.released].join("\t");
  const { op, role, shape, dtype, bytes, storageBytes, tensorClass } = row.tensor;
  return [labeller(model, "line")(row.tensor.row), op, role, formatShape(shape), dtype, bytes, storageBytes, tensorClass].join("\t");
}

/** What typing ahead compares with. */
export function rowName(row: HeldRow): string {
  const { identity, label } = row.group;
  return identity.kind === "line" ? `${fileName(identity.file)}:${identity.line}` : label;
}

function shareOf(bytes: number, model: HeldModel): string {
  return model.total > 0 ? formatPercent(bytes / model.total) : "";
}

function Group({ row, settings }: { readonly row: GroupRow; readonly settings: RowSettings }): JSX.Element {
  const { group } = row;
  const { model, axis } = settings;
  const gone = group.bytes === 0 && group.released > 0;
  const shown = gone ? group.released : group.bytes;
  return (
    <div class={`held-row${gone ? " held-released" : ""}${group.identity.kind === "line" ? "" : " held-wide"}`}>
      <Twistie open={row.expanded} />
      <GroupName group={group} settings={settings} />
      <Bar class="held-track" share={axis > 0 ? shown / axis : 0} outlined={gone} />
      <span class="num">{formatBytes(shown)}</span>
      <span class="num dim held-percent">{gone ? heldText.releasedWord : shareOf(group.bytes, model)}</span>
    </div>
  );
}

function GroupName({ group, settings }: { readonly group: HeldGroup; readonly settings: RowSettings }): JSX.Element {
  const { identity, label } = group;
  switch (identity.kind) {
    case "line":
      return (
        <>
          <LineLink file={identity.file} line={identity.line} label={label} settings={settings} />
          <code class="held-source" title={identity.text}>
            {identity.text || identity.function}
          </code>
        </>
      );
    case "module":
      return (
        <span class="held-source" title={`${label} ${identity.className}`}>
          {label} <em>{identity.className}</em>
        </span>
      );
    case "op":
      return (
        <span class="held-source" title={label}>
          <code>{settings.narrow ? label.replace(/Backward\d*$/, "") : label}</code> <em>{heldText.tensors(formatCount(group.rows.length))}</em>
        </span>
      );
    default:
      return <span class="held-source">{label}</span>;
  }
}

interface LineLinkProps {
  readonly file: string;
  readonly line: number;
  readonly label: string;
  readonly settings: RowSettings;
}

function LineLink({ file, line, label, settings }: LineLinkProps): JSX.Element {
  const open = (event: MouseEvent): void => {
    event.preventDefault();
    settings.onOpen(file, line, event.ctrlKey || event.metaKey);
  };
  return (
    <a class="held-link" href="#" tabIndex={-1} title={heldText.open(label)} onClick={open}>
      {!settings.narrow && <span>{fileName(file)}</span>}:{line}
    </a>
  );
}

function Tensor({ row, settings }: { readonly row: TensorRow; readonly settings: RowSettings }): JSX.Element {
  const { tensor } = row;
  const { model } = settings;
  const uncounted = uncountedWord(tensor);
  const note = noteOf(tensor) || placeOf(tensor, settings);
  return (
    <div class={`held-row held-tensor${tensor.released ? " held-released" : ""}`} title={tensorSentence(tensor, model)}>
      <code class="held-role">{tensor.role}</code>
      <span class="held-source">
        {formatShape(tensor.shape)} {tensor.dtype}
        <em> {note}</em>
      </span>
      <span class="num">{uncounted ? <span class="dim">{uncounted}</span> : formatBytes(tensor.storageBytes)}</span>
      <Percent tensor={tensor} uncounted={uncounted !== null} model={model} />
    </div>
  );
}

function Percent({ tensor, uncounted, model }: { tensor: SavedTensor; uncounted: boolean; model: HeldModel }): ComponentChildren {
  const text = uncounted ? "" : tensor.released ? heldText.releasedWord : shareOf(tensor.storageBytes, model);
  return <span class="num dim held-percent">{text}</span>;
}

/** Why a row has no bytes of its own: null where it has. */
function uncountedWord({ held, charged, tensorClass }: SavedTensor): string | null {
  if (!held) return heldText.classes[tensorClass];
  return charged ? null : heldText.shared;
}

/** What the group does not already say: the op, and where the same line or op ran several times, its module. */
function placeOf(tensor: SavedTensor, { model, grouping }: RowSettings): string {
  const op = shortOp(tensor.op);
  if (grouping === "module") return op;
  const module = model.moduleNames.get(moduleOf(model, tensor.row)) ?? "";
  return [grouping === "op" ? "" : op, module].filter(Boolean).join(" · ");
}

function noteOf({ bytes, storageBytes, charged, held, recomputed }: SavedTensor): string {
  const slice = charged && held && bytes < storageBytes ? heldText.slice(formatBytes(bytes)) : "";
  return [slice, recomputed ? heldText.recomputed : ""].filter(Boolean).join(", ");
}

function tensorSentence(tensor: SavedTensor, model: HeldModel): string {
  const { role, op, shape, dtype } = tensor;
  const what = `${role} of ${op}, ${formatShape(shape)} ${dtype}`;
  return `${what}. ${countedSentence(tensor, model)}`;
}

/** How a saved tensor counts: its bytes, or why they are counted elsewhere or not at all. */
export function countedSentence(tensor: SavedTensor, model: HeldModel): string {
  const [own, whole] = [formatBytes(tensor.bytes), formatBytes(tensor.storageBytes)];
  if (!tensor.held) return heldText.notHeld(heldText.classes[tensor.tensorClass], whole);
  if (!tensor.charged) return heldText.elsewhere(labeller(model, "line")(tensor.chargedRow));
  if (tensor.released) return heldText.wasReleased(whole);
  return tensor.bytes < tensor.storageBytes ? heldText.sliceTitle(own, whole) : heldText.countedHere(whole);
}
