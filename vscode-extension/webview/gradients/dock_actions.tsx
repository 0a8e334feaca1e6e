/** What can be done with a gradient: stop when backward computes it, copy its numbers. */

import type { JSX } from "preact";
import { conditionFor } from "../break_here";
import { selectionOf } from "../../shared/gradient_model";
import type { ModuleNode, ParameterNode } from "../../shared/gradient_tree";
import { findingsText, gradientsText as text } from "../../shared/text";
import { Glyph } from "../components/glyph";
import type { DockProps } from "./dock";
import { copiedRow } from "./row_words";

export function DockActions({ view, model, node }: DockProps & { readonly node: ParameterNode | ModuleNode }): JSX.Element {
  const selection = selectionOf(node);
  const canBreak = view.recorded === undefined && conditionFor(selection, model.snapshot) !== null && !(node.kind === "parameter" && node.row.state === "frozen");
  const copy = (): void => {
    view.ask("copyText", { text: copiedRow(node) }).catch(() => undefined);
  };
  return (
    <div class="grad-acts">
      {canBreak && (
        <button type="button" class="btn" onClick={() => view.breakHere(selection)}>
          <Glyph id="break" label="" /> {node.kind === "parameter" ? text.breakParameter : text.breakModule}
        </button>
      )}
      {node.kind === "parameter" && view.why && (
        <button type="button" class="btn" title={findingsText.whyTitle} onClick={() => view.why?.(selection)}>
          {findingsText.why}
        </button>
      )}
      <button type="button" class="btn" onClick={copy}>
        {text.copy}
      </button>
    </div>
  );
}
