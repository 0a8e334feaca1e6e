/** Says a stop once, politely, to screen readers. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";

export interface AnnounceProps {
  /** Changes with what is to be said. */
  readonly text: string;
  /** Tells two stops with the same text apart. */
  readonly occasion: string;
}

/** A live region is read when its content changes: the same words at the next stop need another node. */
export function Announce({ text, occasion }: AnnounceProps): JSX.Element {
  const [said, setSaid] = useState({ text: "", occasion: "" });
  useEffect(() => setSaid({ text, occasion }), [text, occasion]);
  return (
    <div class="sr" role="status" aria-live="polite" aria-atomic="true">
      <span key={said.occasion}>{said.text}</span>
    </div>
  );
}
