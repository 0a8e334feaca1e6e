/** Held bytes as a treemap: modules as areas in proportion, each divided into its children. */

import { isHeld, moduleOf, type HeldModel } from "./held_model";
import type { Module } from "./session";

/** A rectangle in the units of the area given. */
export interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** Where a module, or what several small ones hold together (`others` > 0), is drawn. */
export interface TreemapCell extends Box {
  readonly key: string;
  /** The module's name after its group's, e.g. "attn"; the group's own for its first cell. */
  readonly label: string;
  readonly fullLabel: string;
  readonly bytes: number;
  /** Place among the cells of its group by bytes: 0 the largest. */
  readonly rank: number;
  readonly module: { readonly root: string; readonly path: string } | null;
  readonly others: number;
}

/** One area of the first level and its cells. */
export interface TreemapGroup extends Box {
  readonly key: string;
  readonly label: string;
  readonly bytes: number;
  readonly cells: readonly TreemapCell[];
}

/** Bytes held by a module and everything inside it. `own` were saved by the module itself. */
interface Branch {
  readonly key: string;
  readonly label: string;
  readonly root: string;
  readonly path: string | null;
  bytes: number;
  own: number;
  readonly children: Map<string, Branch>;
}

/** A container that holds more than this share of everything is shown by its children instead. */
const DOMINANT = 0.4;
/** Areas below this many square pixels are drawn together. */
const SMALLEST = 60;
const MOST_GROUPS = 64;

/** The groups and cells that fill `width` times `height`; empty where nothing is held. */
export function heldTreemap(model: HeldModel, width: number, height: number): readonly TreemapGroup[] {
  const top = branchOf(model);
  if (top.bytes <= 0 || width <= 0 || height <= 0) return [];
  const perByte = (width * height) / top.bytes;
  const branches = joinSmall(firstLevel(top), SMALLEST * 2, perByte, MOST_GROUPS);
  const boxes = squarify(branches.map((branch) => branch.bytes), { x: 0, y: 0, width, height });
  return branches.map((branch, i) => groupOf(branch, boxes[i] ?? EMPTY, perByte));
}

const EMPTY: Box = { x: 0, y: 0, width: 0, height: 0 };

function branchOf(model: HeldModel): Branch {
  const top = newBranch("", "", "", null);
  for (const [id, bytes] of bytesByModule(model)) addBytes(top, model.modules.get(id), bytes);
  return top;
}

/** In the order in which modules first saved something; -1 for no module. */
function bytesByModule(model: HeldModel): ReadonlyMap<number, number> {
  const found = new Map<number, number>();
  model.chargedRow.forEach((row, storage) => {
    if (model.released[storage] || !isHeld(model, storage)) return;
    const id = row < 0 ? -1 : moduleOf(model, row);
    found.set(id, (found.get(id) ?? 0) + (model.storageBytes[storage] ?? 0));
  });
  return found;
}

function newBranch(key: string, label: string, root: string, path: string | null): Branch {
  return { key, label, root, path, bytes: 0, own: 0, children: new Map() };
}

function addBytes(top: Branch, module: Module | undefined, bytes: number): void {
  let branch = top;
  branch.bytes += bytes;
  if (!module) {
    branch.own += bytes;
    return;
  }
  for (const step of stepsTo(module)) {
    let next = branch.children.get(step.key);
    if (!next) branch.children.set(step.key, (next = newBranch(step.key, step.label, module.root, step.path)));
    next.bytes += bytes;
    branch = next;
  }
  branch.own += bytes;
}

interface Step {
  readonly key: string;
  readonly label: string;
  readonly path: string;
}

/** The root, then each module on the way: paths "", "blocks", "blocks.0". */
function stepsTo(module: Module): readonly Step[] {
  const parts = module.path ? module.path.split(".") : [];
  const paths = ["", ...parts.map((_, i) => parts.slice(0, i + 1).join("."))];
  return paths.map((path) => ({
    key: `${module.root}\n${path}`,
    label: path || module.root || "(root)",
    path,
  }));
}

/** Opens the containers that hold most of everything, so that areas compare what the model repeats. */
function firstLevel(top: Branch): readonly Branch[] {
  let level = partsOf(top);
  for (let opened = 0; opened < 8; opened++) {
    const at = level.findIndex((branch) => branch.children.size > 0 && branch.bytes > DOMINANT * top.bytes && opens(branch));
    const branch = level[at];
    if (!branch) break;
    level = [...level.slice(0, at), ...partsOf(branch), ...level.slice(at + 1)];
  }
  return level;
}

/** A module whose own bytes dominate says more as one area. */
function opens(branch: Branch): boolean {
  return branch.own < branch.bytes / 2;
}

/** The children, and what the module itself saved as one more part. */
function partsOf(branch: Branch): readonly Branch[] {
  const parts = [...branch.children.values()];
  if (branch.own <= 0) return parts;
  const own = newBranch(`${branch.key}\nown`, branch.path === null ? NO_MODULE : branch.label, branch.root, branch.path);
  own.bytes = own.own = branch.own;
  return [...parts, own];
}

const NO_MODULE = "(no module)";

/** In the order given; those that are too small, or not among the `most` largest, put together at the end. */
function joinSmall(branches: readonly Branch[], smallest: number, perByte: number, most: number): readonly Joined[] {
  const held: readonly Joined[] = branches.filter((branch) => branch.bytes > 0).map((branch) => ({ ...branch, others: 0 }));
  const least = held.map((branch) => branch.bytes).sort((a, b) => b - a)[most - 1] ?? 0;
  const isSmall = (branch: Branch): boolean => branch.bytes < least || branch.bytes * perByte < smallest;
  const small = held.filter(isSmall);
  if (small.length < 2) return held;
  const bytes = sumOf(small.map((branch) => branch.bytes));
  const joined = { ...newBranch(`${small[0]?.key ?? ""}\nothers`, "", "", null), bytes, own: bytes, others: small.length };
  return [...held.filter((branch) => !isSmall(branch)), joined];
}

type Joined = Branch & { readonly others: number };

function groupOf(branch: Joined, box: Box, perByte: number): TreemapGroup {
  const parts = branch.others || branch.children.size === 0 ? [branch] : largestFirst(joinSmall(partsOf(branch), SMALLEST, perByte, 8));
  const boxes = slices(parts.map((part) => part.bytes), box);
  const cells = parts.map((part, rank) => cellOf(branch, part, rank, boxes[rank] ?? EMPTY));
  return { ...box, key: branch.key, label: branch.label, bytes: branch.bytes, cells };
}

function largestFirst(branches: readonly Joined[]): readonly Joined[] {
  return [...branches].sort((a, b) => b.bytes - a.bytes);
}

function cellOf(group: Branch, part: Joined, rank: number, box: Box): TreemapCell {
  return {
    ...box,
    key: part.key,
    label: rank > 0 ? innerLabel(group, part) : part.label,
    fullLabel: part.label,
    bytes: part.bytes,
    rank,
    module: part.path === null ? null : { root: part.root, path: part.path },
    others: part.others,
  };
}

function innerLabel(group: Branch, part: Branch): string {
  return part.label.startsWith(`${group.label}.`) ? part.label.slice(group.label.length + 1) : part.label;
}

/** Parts of a group one above the other, side by side only where the group is very flat: alike groups look alike. */
function slices(values: readonly number[], box: Box): readonly Box[] {
  return bands(values, box, box.width > box.height * 3.5 ? "x" : "y");
}

function bands(values: readonly number[], box: Box, along: "x" | "y"): readonly Box[] {
  const total = sumOf(values);
  const length = along === "x" ? box.width : box.height;
  let at = 0;
  return values.map((value) => {
    const size = total > 0 ? (length * value) / total : 0;
    const start = at;
    at += size;
    return along === "x"
      ? { ...box, x: box.x + start, width: size }
      : { ...box, y: box.y + start, height: size };
  });
}

/** The cells that a module is drawn as: those inside it, else the innermost one that it is part of. */
export function cellsOfModule(
  cells: readonly TreemapCell[],
  { root, path }: { readonly root: string; readonly path: string },
): readonly TreemapCell[] {
  const within = (inner: string, outer: string): boolean => inner === outer || outer === "" || inner.startsWith(`${outer}.`);
  const ofRoot = cells.filter(({ module }) => module?.root === root);
  const inside = ofRoot.filter(({ module }) => module && within(module.path, path));
  if (inside.length > 0) return inside;
  const around = ofRoot.filter(({ module }) => module && within(path, module.path));
  return around.sort((a, b) => (b.module?.path.length ?? 0) - (a.module?.path.length ?? 0)).slice(0, 1);
}

/**
 * Rectangles of areas in proportion to `values` that fill the box: the rows that are squarest on the whole while the
 * order given is kept, so that the model reads from the top left to the bottom right.
 */
export function squarify(values: readonly number[], box: Box): readonly Box[] {
  const total = sumOf(values);
  if (total <= 0) return values.map(() => ({ ...box, width: 0, height: 0 }));
  const areas = values.map((value) => (value / total) * box.width * box.height);
  const placed: Box[] = [];
  let y = box.y;
  for (const row of squarestRows(areas, box.width)) {
    const height = sumOf(row) / box.width;
    placed.push(...bands(row, { ...box, y, height }, "x"));
    y += height;
  }
  return placed;
}

/** The division into rows whose shapes, weighed by area, are squarest: slivers of nearly nothing hardly count. */
function squarestRows(areas: readonly number[], width: number): readonly (readonly number[])[] {
  const best: { cost: number; from: number }[] = [{ cost: 0, from: 0 }];
  for (let end = 1; end <= areas.length; end++) {
    const found = { cost: Infinity, from: 0 };
    for (let from = 0; from < end; from++) {
      const cost = (best[from]?.cost ?? Infinity) + rowCost(areas.slice(from, end), width);
      if (cost < found.cost) Object.assign(found, { cost, from });
    }
    best.push(found);
  }
  const rows: (readonly number[])[] = [];
  for (let end = areas.length; end > 0; end = best[end]?.from ?? 0) rows.unshift(areas.slice(best[end]?.from, end));
  return rows;
}

/** Length to breadth of each area, weighed by area. */
function rowCost(areas: readonly number[], width: number): number {
  const height = sumOf(areas) / width;
  return areas.reduce((cost, area) => cost + (area > 0 ? area * ratio(area / height, height) : 0), 0);
}

function sumOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}

function ratio(a: number, b: number): number {
  return a > b ? a / b : b / a;
}
