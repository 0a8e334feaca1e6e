/** The heads of the tree's columns: a press sorts, the third gives the model's order back. */

import type { JSX } from "preact";
import type { Sort, SortColumn } from "../../shared/gradient_sort";
import type { Beside } from "../../shared/gradient_model";
import { scaleWords } from "../../shared/replay_words";
import { gradientsText as text, replayText } from "../../shared/text";

export interface ColumnHeadsProps {
  readonly sort: Sort | null;
  /** null: nothing is known of before, and the column is left out. */
  readonly earlier: string | null;
  /** Takes the place of the change: how many of the last steps a row draws; 0 for none. */
  readonly spark?: number;
  /** Which norm stands beside the norm, and what the norms are without. */
  readonly beside?: Beside | null;
  readonly scale?: number;
  readonly onPress: (column: SortColumn) => void;
}

const COLUMNS: readonly SortColumn[] = ["name", "shape", "range", "norm", "ratio", "state"];

export function ColumnHeads({ sort, earlier, spark = 0, beside = null, scale = 1, onPress }: ColumnHeadsProps): JSX.Element {
  return (
    <div class="grad-cells grad-heads" role="group" aria-label={text.sortBy}>
      {COLUMNS.filter((column) => column !== "ratio" || earlier !== null || spark > 0).flatMap((column) => {
        if (column === "ratio" && spark > 0) return <SparkHead key={column} steps={spark} />;
        const direction = sort?.column === column ? (sort.descending ? "descending" : "ascending") : null;
        const help = column === "norm" && scale !== 1 ? text.unscaledHelp(scaleWords(scale)) : text.columnHelp[column === "ratio" ? "norm" : column];
        const head = (
          <button
            key={column}
            type="button"
            class={`head-${column}`}
            aria-pressed={direction !== null}
            aria-label={text.sortLabel(text.columns[column], direction)}
            title={column === "ratio" ? text.columnHelp.ratio(earlier ?? "") : help}
            onClick={() => onPress(column)}
          >
            <span>{text.columns[column]}</span>
            {direction !== null && <Arrow direction={direction} />}
          </button>
        );
        return column === "norm" && beside !== null ? [head, <BesideHead key="beside" beside={beside} scale={scale} />] : [head];
      })}
    </div>
  );
}

/** Not sorted by: it is ordered as the norm is, or it is no part of the training. */
function BesideHead({ beside, scale }: { readonly beside: Beside; readonly scale: number }): JSX.Element {
  return (
    <span class="head-beside" title={beside === "scaled" ? text.besideTitle.scaled(scaleWords(scale)) : text.besideTitle.local}>
      {text.beside[beside]}
    </span>
  );
}

/** Not sorted by: a shape has no order. */
function SparkHead({ steps }: { readonly steps: number }): JSX.Element {
  return (
    <span class="head-ratio head-spark" title={replayText.sparklineTitle(steps)}>
      {replayText.sparkline(steps)}
    </span>
  );
}

function Arrow({ direction }: { readonly direction: "ascending" | "descending" }): JSX.Element {
  return (
    <svg class="grad-arrow" viewBox="0 0 8 8" aria-hidden="true">
      <path d={direction === "descending" ? "M1.5 2.5 4 5.5 6.5 2.5" : "M1.5 5.5 4 2.5 6.5 5.5"} />
    </svg>
  );
}
