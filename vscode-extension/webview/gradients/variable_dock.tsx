/** The dock of a tensor with a grad_fn, an input, a module without parameters or an optimizer. */

import type { JSX } from "preact";
import { formatCount, formatShape } from "../../shared/format";
import type { VariableNode } from "../../shared/gradient_tree";
import type { Variable } from "../../shared/session";
import { gradientsText as text } from "../../shared/text";
import { HeatMap } from "../components/heat_map";
import { DockFrame, type DockProps } from "./dock";
import { FactTable, type Fact } from "./fact_table";

export function VariableDock({ node, view, model }: DockProps & { readonly node: VariableNode }): JSX.Element {
  const { variable, index } = node;
  const { kind, class_name, shape = [], dtype = "", device = "", grad_fn = null } = variable;
  const isTensor = kind === "tensor";
  const showGraph = (): void => {
    if (view.recorded === undefined) view.ask("chooseRoot", { expression: variable.expression }).catch(() => undefined);
    view.showTab("graph");
  };
  return (
    <DockFrame title={node.fullName} about={[isTensor ? `${formatShape(shape)} ${dtype} ${device}` : class_name]} onClose={() => view.select({ kind: "none" })}>
      <FactTable facts={factsOf(variable)} />
      {isTensor && !view.dimmed && view.recorded === undefined ? (
        <HeatMap ask={view.ask} subject={{ stop: model.snapshot.stop.number, field: "value", variable: index }} shape={shape} dtype={dtype} title={text.values} />
      ) : null}
      {grad_fn !== null ? (
        <div class="grad-acts">
          <button type="button" class="btn" onClick={showGraph}>
            {text.showGraph}
          </button>
        </div>
      ) : null}
    </DockFrame>
  );
}

function factsOf({ kind, requires_grad = false, grad_fn, number, parameter_count = 0 }: Variable): Fact[] {
  if (kind !== "tensor") return [{ name: text.kv.parameters, value: formatCount(parameter_count) }];
  const facts: Fact[] = [{ name: text.kv.requiresGrad, value: requires_grad ? text.yes : text.no }];
  if (grad_fn !== null && grad_fn !== undefined) facts.push({ name: text.kv.gradFn, value: <code>{grad_fn}</code> });
  if (number !== null && number !== undefined) facts.push({ name: text.kv.value, value: number.replaceAll("-", "−") });
  return facts;
}
