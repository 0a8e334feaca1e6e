/** The frame of every view: one area that scrolls, and under it the dock, which does not. */

import type { ComponentChildren, JSX } from "preact";

export interface ViewFrameProps {
  /** What is selected, in detail; null closes the dock. */
  readonly dock?: ComponentChildren;
  readonly class?: string;
  readonly children: ComponentChildren;
}

export function ViewFrame({ dock = null, class: more = "", children }: ViewFrameProps): JSX.Element {
  return (
    <>
      <div class={`scroll ${more}`} data-scroll>
        {children}
      </div>
      {dock !== null && <div class="dock-frame">{dock}</div>}
    </>
  );
}
