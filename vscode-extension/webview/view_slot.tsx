/** Where a view lives: drawn when first shown, left alone while hidden, and alone in its failure. */

import { Component, type ComponentChildren, type JSX } from "preact";
import { shellText as text } from "../shared/text";
import { OwnIds } from "./own_ids";
import { panelId, tabId } from "./tabs";
import type { Tab } from "./view";

export interface ViewSlotProps {
  readonly tab: Tab;
  readonly shown: boolean;
  /** The occasion for another try after a failure: another snapshot. */
  readonly occasion: unknown;
  /** The name of a view that has a place of its own, and no tab. */
  readonly region?: string;
  readonly children: () => JSX.Element;
}

interface SlotState {
  readonly mounted: boolean;
  readonly failure: string | null;
  readonly occasion: unknown;
}

export class ViewSlot extends Component<ViewSlotProps, SlotState> {
  static override contextType = OwnIds;
  override state: SlotState = { mounted: this.props.shown, failure: null, occasion: this.props.occasion };

  static override getDerivedStateFromProps(props: Readonly<ViewSlotProps>, state: Readonly<SlotState>): Partial<SlotState> {
    const again = props.occasion !== state.occasion;
    return { mounted: state.mounted || props.shown, ...(again ? { failure: null, occasion: props.occasion } : {}) };
  }

  override shouldComponentUpdate(next: Readonly<ViewSlotProps>): boolean {
    return next.shown || this.props.shown;
  }

  override componentDidCatch(error: unknown): void {
    console.error(error);
    this.setState({ failure: error instanceof Error ? error.message : String(error) });
  }

  override render({ tab, shown, region, children }: ViewSlotProps, { mounted, failure }: SlotState, ids: string): JSX.Element {
    const named = region === undefined ? { role: "tabpanel" as const, "aria-labelledby": tabId(ids, tab) } : { role: "region" as const, "aria-label": region };
    return (
      <div id={panelId(ids, tab)} class="view" {...named} hidden={!shown}>
        {failure !== null ? <Failure message={failure} /> : mounted && <Drawn draw={children} />}
      </div>
    );
  }
}

/** A component of its own, so that what the view throws is caught by the slot. */
function Drawn({ draw }: { readonly draw: () => ComponentChildren }): JSX.Element {
  return <>{draw()}</>;
}

function Failure({ message }: { readonly message: string }): JSX.Element {
  return (
    <section class="es" role="alert">
      <h2>{text.viewFailed}</h2>
      <p>{text.viewFailedText(message)}</p>
    </section>
  );
}
