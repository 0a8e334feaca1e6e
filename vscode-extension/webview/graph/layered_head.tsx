/** Around the layered drawing: the legend, the axis at the left, and the buttons that zoom. */

import type { JSX } from "preact";
import type { GraphModel } from "../../shared/graph_model";
import { graphText, layeredText } from "../../shared/text";
import { Glyph } from "../components/glyph";
import type { ViewportControl } from "./layered_use_viewport";

/** What the marks mean, as far as this graph has them. */
export function LayeredLegend({ model, done, shares }: { readonly model: GraphModel; readonly done: boolean; readonly shares: boolean }): JSX.Element {
  const inBackward = model.running >= 0;
  const onPath = model.gradients.trouble.some((trouble) => trouble > 0);
  return (
    <div class="layered-legend">
      {(inBackward || done) && (
        <span>
          <Glyph id="fired" label="" /> {graphText.states.fired}
        </span>
      )}
      {inBackward && (
        <span class="c-accent">
          <Glyph id="running" label="" /> {graphText.states.running}
        </span>
      )}
      {inBackward && (
        <span>
          <Glyph id="pending" label="" /> {graphText.states.pending}
        </span>
      )}
      {onPath && (
        <span class="c-nan">
          <Glyph id="on path" label="" /> {graphText.onPath}
        </span>
      )}
      <span class="size">{graphText.sizeIsBytes}</span>
      {shares && <span class="size">{layeredText.widthIsShare}</span>}
    </div>
  );
}

/** Which way is up. */
export function LayeredAxis(): JSX.Element {
  const { input, backward, loss } = layeredText.axis;
  return (
    <div class="layered-axis" aria-hidden="true">
      <i />
      <span>{input}</span>
      <span>{backward}</span>
      <span>{loss}</span>
    </div>
  );
}

const STEP = 1.25;

export function CanvasTools({ viewport, showTable }: { readonly viewport: ViewportControl; readonly showTable: () => void }): JSX.Element {
  return (
    <div class="layered-tools">
      <Tool title={layeredText.zoomOut} text="−" act={() => viewport.zoom(1 / STEP)} />
      <Tool title={layeredText.zoomIn} text="+" act={() => viewport.zoom(STEP)} />
      <Tool title={layeredText.fit} text={layeredText.fitWord} act={viewport.fit} />
      <Tool title={layeredText.showTable} text={layeredText.showTableWord} act={showTable} />
    </div>
  );
}

function Tool({ title, text, act }: { readonly title: string; readonly text: string; readonly act: () => void }): JSX.Element {
  return (
    <button class="btn quiet" type="button" title={title} aria-label={title} onClick={act}>
      {text}
    </button>
  );
}
