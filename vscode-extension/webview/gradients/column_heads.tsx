/** The heads of the tree's columns: a press sorts, the third gives the model's order back. */

import type { JSX } from "preact";
import type { Sort, SortColumn } from "../../shared/gradient_sort";
import { gradientsText as text } from "../../shared/text";

export interface ColumnHeadsProps {
  readonly sort: Sort | null;
  /** null: nothing is known of before, and the column is left out. */
  readonly earlier: string | null;
  readonly onPress: (column: SortColumn) => void;
}

const COLUMNS: readonly SortColumn[] = ["name", "shape", "range", "norm", "ratio", "state"];

export function ColumnHeads({ sort, earlier, onPress }: ColumnHeadsProps): JSX.Element {
  return (
    <div class="grad-cells grad-heads" role="group" aria-label={text.sortBy}>
      {COLUMNS.filter((column) => column !== "ratio" || earlier !== null).map((column) => {
        const direction = sort?.column === column ? (sort.descending ? "descending" : "ascending") : null;
        return (
          <button
            key={column}
            type="button"
            class={`head-${column}`}
            aria-pressed={direction !== null}
            aria-label={text.sortLabel(text.columns[column], direction)}
            title={column === "ratio" ? text.columnHelp.ratio(earlier ?? "") : text.columnHelp[column]}
            onClick={() => onPress(column)}
          >
            <span>{text.columns[column]}</span>
            {direction !== null && <Arrow direction={direction} />}
          </button>
        );
      })}
    </div>
  );
}

function Arrow({ direction }: { readonly direction: "ascending" | "descending" }): JSX.Element {
  return (
    <svg class="grad-arrow" viewBox="0 0 8 8" aria-hidden="true">
      <path d={direction === "descending" ? "M1.5 2.5 4 5.5 6.5 2.5" : "M1.5 5.5 4 2.5 6.5 5.5"} />
    </svg>
  );
}
