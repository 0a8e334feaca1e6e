/** What the bytes above do not show, as sentences: each leads to the first of its nodes. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { unseenReasons, type Unseen } from "../../shared/held_unseen";
import type { Selection } from "../../shared/selection";
import type { Snapshot } from "../../shared/session";
import { heldText } from "../../shared/text";

interface UnseenListProps {
  readonly snapshot: Snapshot;
  readonly select: (selection: Selection) => void;
}

const AT_FIRST = 3;

export function UnseenList({ snapshot, select }: UnseenListProps): JSX.Element | null {
  const [all, setAll] = useState(false);
  const reasons = unseenReasons(snapshot);
  if (reasons.length === 0) return null;
  const shown = all ? reasons : reasons.slice(0, AT_FIRST);
  return (
    <ul class="held-unseen" aria-label={heldText.unseenTitle}>
      {shown.map((reason, i) => (
        <Reason key={i} reason={reason} select={select} />
      ))}
      {shown.length < reasons.length && (
        <li>
          <button type="button" class="link" onClick={() => setAll(true)}>
            {heldText.moreReasons(reasons.length - shown.length)}
          </button>
        </li>
      )}
    </ul>
  );
}

function Reason({ reason, select }: { readonly reason: Unseen; readonly select: (selection: Selection) => void }): JSX.Element {
  const first = reason.nodes[0];
  return (
    <li>
      <i class="held-class-unseen" aria-hidden="true" />
      <span>{reason.text}</span>
      {first !== undefined && (
        <button type="button" class="link" onClick={() => select({ kind: "node", index: first })}>
          {heldText.showNode}
        </button>
      )}
    </li>
  );
}
