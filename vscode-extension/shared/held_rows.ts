/** The held table's rows as they stand on the screen: groups, and the saved tensors of those that are open. */

import { detailOrder, type HeldGroup } from "./held_groups";
import { savedTensor, type HeldModel, type SavedTensor } from "./held_model";

interface Row {
  readonly key: string;
  readonly level: number;
  readonly setSize: number;
  readonly posInSet: number;
  readonly group: HeldGroup;
}

export interface GroupRow extends Row {
  readonly kind: "group";
  readonly expanded: boolean;
}

export interface TensorRow extends Row {
  readonly kind: "tensor";
  readonly tensor: SavedTensor;
}

export type HeldRow = GroupRow | TensorRow;

/** Groups in order; under each whose key is in `open`, its saved tensors. */
export function heldRows(model: HeldModel, groups: readonly HeldGroup[], open: ReadonlySet<string>): readonly HeldRow[] {
  return groups.flatMap((group, i): readonly HeldRow[] => {
    const key = rowKey(group);
    const expanded = open.has(key);
    const row: GroupRow = { kind: "group", key, level: 1, setSize: groups.length, posInSet: i + 1, group, expanded };
    return expanded ? [row, ...tensorRows(model, group)] : [row];
  });
}

function tensorRows(model: HeldModel, group: HeldGroup): readonly TensorRow[] {
  return detailOrder(model, group.rows).map((row, i) => ({
    kind: "tensor",
    key: `${rowKey(group)}/${row}`,
    level: 2,
    setSize: group.rows.length,
    posInSet: i + 1,
    group,
    tensor: savedTensor(model, row),
  }));
}

/** Free of spaces: keys become ids in the document. */
export function rowKey(group: HeldGroup): string {
  return encodeURIComponent(group.label);
}

/** The length of the bars' common axis: what the largest group holds or held. */
export function axisBytes(groups: readonly HeldGroup[]): number {
  return groups.reduce((most, { bytes, released }) => Math.max(most, bytes, released), 0);
}
