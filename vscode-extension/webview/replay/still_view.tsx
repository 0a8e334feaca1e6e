/** One view over the shown snapshot. Drawn again only with something else to draw: while the playhead is dragged it stands still. */

import { Component, type JSX } from "preact";
import type { Snapshot } from "../../shared/session";
import { replayText as text } from "../../shared/text";
import { GradientsView } from "../gradients/gradients_view";
import { GraphView } from "../graph/graph_view";
import { LayeredGraphView } from "../graph/layered_view";
import { HeldView } from "../held/held_view";
import type { Ask, Recorded, Tab, ViewProps } from "../view";
import { ViewSlot } from "../view_slot";
import type { ReplayActions } from "./page";

const VIEWS: Readonly<Record<Tab, (props: ViewProps) => JSX.Element>> = { gradients: GradientsView, graph: GraphView, held: HeldView };

export interface StillViewProps {
  readonly tab: Tab;
  readonly shown: boolean;
  readonly region: boolean;
  /** There is room for the graph in two dimensions. */
  readonly layered: boolean;
  readonly snapshot: Snapshot;
  readonly previous: Snapshot | null;
  readonly dimmed: boolean;
  readonly selection: ViewProps["selection"];
  readonly width: number;
  readonly recorded: Recorded;
  readonly actions: ReplayActions;
  readonly ask: Ask;
  readonly setTab: (tab: Tab) => void;
  readonly say: (problem: string) => void;
  readonly listen: ViewProps["onCommand"];
  readonly why: (selection: ViewProps["selection"]) => void;
}

export class StillView extends Component<StillViewProps> {
  override shouldComponentUpdate(next: Readonly<StillViewProps>): boolean {
    const keys = ["shown", "region", "layered", "snapshot", "previous", "dimmed", "selection", "width", "recorded", "ask"] as const;
    return keys.some((key) => next[key] !== this.props[key]);
  }

  readonly #reporting: Ask = ((method, params) =>
    this.props.ask(method, params).catch((error: unknown) => {
      // The lines of a node stay as they are where they cannot be read.
      if (method !== "sourceLines" && method !== "values") this.props.say(error instanceof Error ? error.message : String(error));
      throw error;
    })) as Ask;

  override render({ tab, shown, region, layered, snapshot, previous, dimmed, selection, width, recorded, actions, setTab, listen }: StillViewProps): JSX.Element {
    const View = tab === "graph" && layered ? LayeredGraphView : VIEWS[tab];
    const props: ViewProps = {
      session: actions.page,
      snapshot,
      previous,
      dimmed,
      selection,
      select: actions.select,
      showTab: setTab,
      ask: this.#reporting,
      onCommand: listen,
      breakHere: () => this.props.say(text.notInReplay),
      why: this.props.why,
      width,
      recorded,
    };
    return (
      <div class="rp-view" data-view={tab}>
        <ViewSlot tab={tab} shown={shown} occasion={snapshot} {...(region ? { region: text[tab] } : {})}>
          {() => <View {...props} />}
        </ViewSlot>
      </div>
    );
  }
}
