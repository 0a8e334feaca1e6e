/** Order by a column. What has no value stands last either way; ties keep the model's order. */

import type { GradientRow } from "./gradient_rows";
import { stateRank } from "./gradient_state";
import { ratioOf } from "./gradient_summary";

export type SortColumn = "name" | "shape" | "range" | "norm" | "ratio" | "state";

export interface Sort {
  readonly column: SortColumn;
  readonly descending: boolean;
}

/** What a press on a column's head gives: that column, then the other way round, then the model's order. */
export function nextSort(current: Sort | null, column: SortColumn): Sort | null {
  const first = column !== "name" && column !== "state";
  if (current?.column !== column) return { column, descending: first };
  return current.descending === first ? { column, descending: !first } : null;
}

export function compareRows(a: GradientRow, b: GradientRow, { column, descending }: Sort): number {
  const order = column === "name" ? compareNames(a, b) : compareValues(valueOf(a, column), valueOf(b, column), descending);
  const directed = column === "name" && descending ? -order : order;
  return directed !== 0 ? directed : a.order - b.order;
}

/** layers.2 before layers.10. */
function compareNames(a: GradientRow, b: GradientRow): number {
  return NAMES.compare(a.name, b.name);
}

const NAMES = new Intl.Collator("en", { numeric: true });

function compareValues(a: number, b: number, descending: boolean): number {
  if (Number.isNaN(a) || Number.isNaN(b)) return Number(Number.isNaN(a)) - Number(Number.isNaN(b));
  if (a === b) return 0;
  return a < b === descending ? 1 : -1;
}

/** NaN: no value. A gradient with NaN or Inf counts as larger than any norm: its norm leaves them out. */
function valueOf(row: GradientRow, column: Exclude<SortColumn, "name">): number {
  switch (column) {
    case "shape":
      return row.parameter.numel;
    case "state":
      return stateRank(row.state);
    case "ratio":
      return ratioOf(row);
    case "range":
      return row.statistics?.rms ?? Number.NaN;
    case "norm":
      if (row.state === "NaN" || row.state === "Inf") return Number.POSITIVE_INFINITY;
      return row.statistics?.norm ?? Number.NaN;
  }
}
