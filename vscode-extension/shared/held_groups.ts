/** The held bytes by line, module, op or dtype: rows of the held table, largest first. */

import { dtypeOf, isHeld, moduleOf, opOf, type HeldModel } from "./held_model";
import { lineName } from "./held_names";
import type { Selection } from "./selection";

export const GROUPINGS = ["line", "module", "op", "dtype"] as const;
export type Grouping = (typeof GROUPINGS)[number];

/** What a group stands for. Without an identity: no module, an unknown line. */
export type GroupIdentity =
  | { readonly kind: "line"; readonly file: string; readonly line: number; readonly text: string; readonly function: string }
  | { readonly kind: "module"; readonly root: string; readonly path: string; readonly className: string }
  | { readonly kind: "op" | "dtype" | "unknown" };

/** `bytes` are held now, `released` were let go in the running backward. `rows` are all its saved tensors. */
export interface HeldGroup {
  readonly label: string;
  readonly identity: GroupIdentity;
  readonly bytes: number;
  readonly released: number;
  readonly rows: readonly number[];
}

interface Draft {
  readonly label: string;
  readonly first: number;
  bytes: number;
  released: number;
  readonly rows: number[];
  charged: boolean;
}

/** Groups that a storage is charged to: what is held first, then what was released; each largest first. */
export function heldGroups(model: HeldModel, grouping: Grouping): readonly HeldGroup[] {
  const groups = [...drafts(model, grouping).values()].filter((draft) => draft.charged);
  const unsaved = withoutSaver(model);
  return [...groups.map((draft) => finished(model, grouping, draft)), ...unsaved].sort(byHeld);
}

function drafts(model: HeldModel, grouping: Grouping): Map<string, Draft> {
  const label = labeller(model, grouping);
  const found = new Map<string, Draft>();
  for (let row = 0; row < model.storage.length; row++) {
    const name = label(row);
    let draft = found.get(name);
    if (!draft) found.set(name, (draft = { label: name, first: row, bytes: 0, released: 0, rows: [], charged: false }));
    draft.rows.push(row);
    charge(model, draft, row);
  }
  return found;
}

function charge(model: HeldModel, draft: Draft, row: number): void {
  const storage = model.storage[row] ?? -1;
  if (storage < 0 || model.chargedRow[storage] !== row || !isHeld(model, storage)) return;
  const bytes = model.storageBytes[storage] ?? 0;
  if (model.released[storage]) draft.released += bytes;
  else draft.bytes += bytes;
  draft.charged = true;
}

function finished(model: HeldModel, grouping: Grouping, draft: Draft): HeldGroup {
  const { label, bytes, released, rows } = draft;
  return { label, identity: identityOf(model, grouping, draft.first), bytes, released, rows };
}

/** Storages that pack hooks saw and no node is known to hold. */
function withoutSaver(model: HeldModel): readonly HeldGroup[] {
  let bytes = 0;
  let any = false;
  model.chargedRow.forEach((row, storage) => {
    if (row >= 0 || !isHeld(model, storage)) return;
    bytes += model.storageBytes[storage] ?? 0;
    any = true;
  });
  return any ? [{ label: "(no saver)", identity: { kind: "unknown" }, bytes, released: 0, rows: [] }] : [];
}

function byHeld(a: HeldGroup, b: HeldGroup): number {
  return b.bytes - a.bytes || b.released - a.released || (a.label < b.label ? -1 : a.label > b.label ? 1 : 0);
}

/** What turns a row into the label it is grouped under: the labels of `HeldView.by`. */
export function labeller(model: HeldModel, grouping: Grouping): (row: number) => string {
  const directory = model.snapshot.run.working_directory;
  switch (grouping) {
    case "line":
      return remembered(model.site, (id) => {
        const site = model.sites.get(id);
        return site ? lineName(site, directory) : "(unknown line)";
      });
    case "module":
      return (row) => model.moduleNames.get(moduleOf(model, row)) || "(no module)";
    case "op":
      return (row) => opOf(model, row);
    case "dtype":
      return (row) => dtypeOf(model, row);
  }
}

/** The label of a row by its site's id: many rows share one. */
function remembered(ids: Int32Array, label: (id: number) => string): (row: number) => string {
  const known = new Map<number, string>();
  return (row) => {
    const id = ids[row] ?? -1;
    const name = known.get(id) ?? label(id);
    known.set(id, name);
    return name;
  };
}

function identityOf(model: HeldModel, grouping: Grouping, row: number): GroupIdentity {
  if (grouping === "line") return lineIdentity(model, row);
  if (grouping === "module") return moduleIdentity(model, row);
  return { kind: grouping };
}

function lineIdentity(model: HeldModel, row: number): GroupIdentity {
  const site = model.sites.get(model.site[row] ?? -1);
  if (!site) return { kind: "unknown" };
  return {
    kind: "line",
    file: site.file,
    line: site.line,
    text: model.siteTexts.get(site.id) ?? "",
    function: site.function,
  };
}

function moduleIdentity(model: HeldModel, row: number): GroupIdentity {
  const module = model.modules.get(moduleOf(model, row));
  return module ? { kind: "module", root: module.root, path: module.path, className: module.class_name } : { kind: "unknown" };
}

/** Charged rows first, largest first; then those that another row is charged for; not held classes last. */
export function detailOrder(model: HeldModel, rows: readonly number[]): readonly number[] {
  const rank = (row: number): number => {
    const storage = model.storage[row] ?? -1;
    if (!isHeld(model, storage)) return -2;
    return model.chargedRow[storage] === row ? (model.storageBytes[storage] ?? 0) : -1;
  };
  return [...rows].sort((a, b) => rank(b) - rank(a) || a - b);
}

/** The rows that a group's bytes are charged to and that are held now, largest first. */
export function countedRows(model: HeldModel, rows: readonly number[]): readonly number[] {
  const bytes = (row: number): number => model.storageBytes[model.storage[row] ?? -1] ?? 0;
  return rows.filter((row) => isCounted(model, row)).sort((a, b) => bytes(b) - bytes(a) || a - b);
}

function isCounted(model: HeldModel, row: number): boolean {
  const storage = model.storage[row] ?? -1;
  return model.chargedRow[storage] === row && !model.released[storage] && isHeld(model, storage);
}

/** The selection that a group stands for, null where no view could follow. */
export function selectionOf(group: HeldGroup): Selection | null {
  const { identity } = group;
  if (identity.kind === "line") return { kind: "line", file: identity.file, line: identity.line };
  if (identity.kind === "module") return { kind: "module", root: identity.root, path: identity.path };
  return null;
}

/** The group that the selection falls into: itself, or where its node saved something. -1 for none. */
export function selectedGroup(model: HeldModel, groups: readonly HeldGroup[], selection: Selection): number {
  return groups.findIndex(({ identity, rows }) => {
    if (selection.kind === "node") return rows.some((row) => model.node[row] === selection.index);
    if (selection.kind === "line" && identity.kind === "line")
      return identity.file === selection.file && identity.line === selection.line;
    if (selection.kind === "module" && identity.kind === "module")
      return identity.root === selection.root && identity.path === selection.path;
    return false;
  });
}
