/** The view's own state: what is open, filtered and sorted, and the rows that follow from it. */

import { useMemo, useRef } from "preact/hooks";
import { parseFilter, type Filter } from "../../shared/gradient_filter";
import type { Beside, GradientModel } from "../../shared/gradient_model";
import { nextSort, type Sort, type SortColumn } from "../../shared/gradient_sort";
import type { GradientNode } from "../../shared/gradient_tree";
import { keysAbove, visibleRows, type VisibleRow } from "../../shared/gradient_visible";
import { useStored } from "../stored";

/** How the user has arranged the view: kept while stops and tabs come and go. */
export interface Arranged {
  readonly filter: string;
  readonly troubleOnly: boolean;
  readonly sort: Sort | null;
  /** Opened or closed by hand, by the keys of nodes: they are the same at every stop. */
  readonly opened: Readonly<Record<string, boolean>>;
  /** Closed by hand while a filter opens everything. */
  readonly closedInFilter: readonly string[];
  readonly chart: "chart" | "table";
  /** Which norm stands beside the norm, of those that there are. */
  readonly beside: Beside | null;
}

const FRESH: Arranged = { filter: "", troubleOnly: false, sort: null, opened: {}, closedInFilter: [], chart: "chart", beside: null };

/** Models this small are shown open. */
const SMALL = 24;

export interface Arrangement extends Arranged {
  readonly parsed: Filter;
  readonly rows: readonly VisibleRow[];
  readonly change: (change: Partial<Arranged>) => void;
  readonly toggle: (key: string, open: boolean) => void;
  readonly pressHead: (column: SortColumn) => void;
  /** Opens what stands above a row. */
  readonly reveal: (key: string) => void;
}

export function useArrangement(model: GradientModel): Arrangement {
  const [kept, keep] = useStored<Arranged>("gradients.arranged", FRESH);
  const arranged = { ...FRESH, ...kept };
  const latest = useRef(arranged);
  latest.current = arranged;
  const { filter, troubleOnly, sort, opened, closedInFilter } = arranged;
  const parsed = useMemo(() => parseFilter(filter, troubleOnly), [filter, troubleOnly]);
  const first = useMemo(() => openAtFirst(model), [model]);
  const rows = useMemo(() => {
    const closed = new Set(closedInFilter);
    const isOpen = ({ key }: GradientNode): boolean => (parsed.empty ? (opened[key] ?? first.has(key)) : !closed.has(key));
    return visibleRows(model.tree, { isOpen, filter: parsed, sort });
  }, [model, parsed, sort, opened, closedInFilter, first]);
  const change = (part: Partial<Arranged>): void => {
    latest.current = { ...latest.current, ...part };
    keep(latest.current);
  };
  return {
    ...arranged,
    parsed,
    rows,
    change,
    toggle: (key, open) => change(toggled(latest.current, parsed, key, open)),
    pressHead: (column) => change({ sort: nextSort(latest.current.sort, column) }),
    reveal: (key) => {
      const above = keysAbove(model.tree, key) ?? [];
      const shut = above.filter((one) => !(latest.current.opened[one] ?? first.has(one)));
      if (shut.length > 0) change({ opened: { ...latest.current.opened, ...Object.fromEntries(shut.map((one) => [one, true])) } });
    },
  };
}

function toggled({ opened, closedInFilter }: Arranged, filter: Filter, key: string, open: boolean): Partial<Arranged> {
  if (filter.empty) return { opened: { ...opened, [key]: open } };
  const others = closedInFilter.filter((one) => one !== key);
  return { closedInFilter: open ? others : [...others, key] };
}

/** Variables and groups, small models, and the way to the first gradient that is not finite. */
function openAtFirst({ tree, rows, byKey, keyOfParameter }: GradientModel): ReadonlySet<string> {
  if (rows.length <= SMALL) return new Set(byKey.keys());
  const open = new Set(tree.map((node) => node.key));
  const bad = rows.find((row) => row.state === "NaN" || row.state === "Inf");
  const key = bad === undefined ? undefined : keyOfParameter.get(bad.parameter.id);
  if (key !== undefined) for (const above of keysAbove(tree, key) ?? []) open.add(above);
  return open;
}
