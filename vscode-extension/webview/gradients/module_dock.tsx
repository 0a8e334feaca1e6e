/** The dock of a module: its gradients together, and how many are in which state. */

import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import { exactCount, formatCount } from "../../shared/format";
import { earlierOf } from "../../shared/gradient_changes";
import { histogramBars, type HistogramBars } from "../../shared/gradient_histogram";
import type { GradientModel } from "../../shared/gradient_model";
import type { GradientRow } from "../../shared/gradient_rows";
import { stateRank, type GradientState } from "../../shared/gradient_state";
import { parametersBelow, type ModuleNode } from "../../shared/gradient_tree";
import { gradientsText as text } from "../../shared/text";
import { DockActions } from "./dock_actions";
import { DockFrame, type DockProps } from "./dock";
import { FactTable, gradientFacts, type Fact } from "./fact_table";
import { Pictures } from "./pictures";
import { StateGlyph, stateWord } from "./state_mark";

export function ModuleDock({ node, view, model }: DockProps & { readonly node: ModuleNode }): JSX.Element {
  const rows = useMemo(() => parametersBelow(node).map((one) => one.row), [node]);
  const bars = useMemo(() => barsOf(rows, model), [rows, model]);
  const about = [node.className, <StateCounts rows={rows} />, sizeOf(rows)].filter((part) => part !== "");
  return (
    <DockFrame title={node.fullName} about={about} onClose={() => view.select({ kind: "none" })}>
      <FactTable facts={[...gradientFacts(node.summary, view.recorded !== undefined), ...readFacts(rows)]} />
      <Pictures bars={bars} missing={node.summary.statistics === null ? "" : text.histogramMissing} earlier={bars?.before ? model.earlier : null} narrow={view.width < 420} scale={model.scale} values={null} />
      <DockActions view={view} node={node} model={model} />
    </DockFrame>
  );
}

function barsOf(rows: readonly GradientRow[], { previous }: GradientModel): HistogramBars | null {
  const shown = rows.filter((row) => row.statistics !== null);
  const earlier = earlierOf(previous);
  const before = previous === null ? [] : shown.map((row) => earlier(row.parameter)?.histogram ?? null);
  return histogramBars(shown.map((row) => row.statistics!.histogram), before);
}

/** "2 parameters, 3,168 elements". */
function sizeOf(rows: readonly GradientRow[]): JSX.Element {
  const elements = rows.reduce((sum, row) => sum + row.parameter.numel, 0);
  return <span title={exactCount(elements)}>{text.size(formatCount(rows.length), formatCount(elements))}</span>;
}

function readFacts(rows: readonly GradientRow[]): Fact[] {
  const read = rows.filter((row) => row.state !== "unread").length;
  return read < rows.length ? [{ name: text.kv.read, value: text.partRead(read, rows.length), wrong: false }] : [];
}

/** "1 NaN, 3 None": worst first, finite left out. */
function StateCounts({ rows }: { readonly rows: readonly GradientRow[] }): JSX.Element {
  const counts = new Map<GradientState, GradientRow[]>();
  for (const row of rows) {
    if (row.state === "finite") continue;
    if (!counts.has(row.state)) counts.set(row.state, []);
    counts.get(row.state)!.push(row);
  }
  const worst = [...counts].sort(([a], [b]) => stateRank(a) - stateRank(b));
  if (worst.length === 0) return <>{text.finite}</>;
  return (
    <>
      {worst.slice(0, 3).map(([state, found]) => (
        <span key={state} class="state-count">
          <StateGlyph summary={found[0]!} /> {formatCount(found.length)} {stateWord({ state, stale: 0 })}
        </span>
      ))}
    </>
  );
}
