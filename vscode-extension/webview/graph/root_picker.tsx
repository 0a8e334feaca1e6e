/** Which variable's graph is shown: those of the frame with a grad_fn, or the backward that runs. */

import type { JSX } from "preact";
import { formatShape } from "../../shared/format";
import { shortName } from "../../shared/graph_model";
import type { Snapshot, Variable } from "../../shared/session";
import { graphText } from "../../shared/text";

/** Variables that have a graph. */
export function rootVariables(snapshot: Snapshot): readonly Variable[] {
  return (snapshot.variables ?? []).filter((variable) => variable.kind === "tensor" && variable.grad_fn);
}

/** "loss · MeanBackward0 · scalar · 2.31". */
export function describeVariable(variable: Variable, narrow: boolean): string {
  const { expression, grad_fn, shape = [], number } = variable;
  const name = grad_fn ?? "";
  if (narrow) return `${expression} · ${shortName(name)}`;
  return [expression, name, number ? `= ${number}` : formatShape(shape)].join(" · ");
}

export interface RootPickerProps {
  readonly snapshot: Snapshot;
  readonly narrow: boolean;
  readonly choose: (expression: string | null) => void;
}

export function RootPicker({ snapshot, narrow, choose }: RootPickerProps): JSX.Element {
  const variables = rootVariables(snapshot);
  const chosen = snapshot.variables?.[snapshot.root ?? -1]?.expression ?? "";
  const none = snapshot.stop.in_backward ? graphText.runningBackward : graphText.newestScalar;
  return (
    <span class="pick root" title={graphText.rootTitle}>
      <select aria-label={graphText.root} value={chosen} onChange={(event) => choose(event.currentTarget.value || null)}>
        {(snapshot.stop.in_backward || chosen === "") && <option value="">{none}</option>}
        {variables.map((variable) => (
          <option key={variable.expression} value={variable.expression}>
            {describeVariable(variable, narrow)}
          </option>
        ))}
      </select>
    </span>
  );
}
