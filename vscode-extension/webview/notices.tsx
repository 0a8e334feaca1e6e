/** What the answer lacks, and what cannot be seen: never silent, never in the way. */

import type { JSX } from "preact";
import { formatCount, formatDuration } from "../shared/format";
import type { SnapshotPart } from "../shared/messages";
import type { Missing, Notice, Snapshot } from "../shared/session";
import { noticesText as text } from "../shared/text";
import { Glyph } from "./components/glyph";
import type { Ask } from "./view";

/** Everything a stop can be asked for. */
export const ALL_PARTS: readonly SnapshotPart[] = ["gradients", "histograms", "graph", "held"];

/** A budget that ended is offered five-fold, at least 10 s. */
export function longerBudget(budgetMs: number): number {
  return Math.max(10_000, 5 * budgetMs);
}

export interface NoticesProps {
  readonly snapshot: Snapshot;
  readonly budgetMs: number;
  /** Values of the past cannot be read again. */
  readonly past: boolean;
  /** Whether what cannot be seen is spelt out; what is missing always is. */
  readonly open: boolean;
  readonly ask: Ask;
}

export function Notices({ snapshot, budgetMs, past, open, ask }: NoticesProps): JSX.Element | null {
  const missing = snapshot.missing ?? [];
  const notices = (snapshot.notices ?? []).filter((notice) => open || isFault(notice));
  if (missing.length + notices.length === 0) return null;
  return (
    <div class="notices">
      {missing.length > 0 && <MissingParts missing={missing} budgetMs={budgetMs} past={past} ask={ask} />}
      {notices.length > 0 && (
        <ul class="limits">
          {notices.map((notice, at) => (
            <li key={at}>
              <Glyph id={isFault(notice) ? "warning" : "unseen"} label="" />
              <span>{notice.text}</span>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

/** Something of ours that failed is not waited to be asked for. */
function isFault({ kind }: Notice): boolean {
  return kind === "probe stopped" || kind === "recorder";
}

/** How many limits of what can be seen stay folded behind the header's button. */
export function foldedNotices(snapshot: Snapshot): number {
  return (snapshot.notices ?? []).filter((notice) => !isFault(notice)).length;
}

function MissingParts({ missing, budgetMs, past, ask }: Omit<NoticesProps, "snapshot" | "open"> & { readonly missing: readonly Missing[] }): JSX.Element {
  const longer = longerBudget(budgetMs);
  return (
    <div class="missing">
      <Glyph id="warning" label="" />
      <ul>
        {missing.map((part) => (
          <li key={part.part}>{missingSentence(part)}</li>
        ))}
      </ul>
      {!past && (
        <button type="button" class="btn" onClick={() => void ask("retry", { budgetMs: longer, parts: ALL_PARTS }).catch(() => undefined)}>
          {text.retry(formatDuration(longer))}
        </button>
      )}
    </div>
  );
}

function missingSentence({ part, reason, done = -1, total = -1 }: Missing): string {
  const name = text.parts[part];
  return done >= 0 && total > 0 ? text.missing(name, formatCount(done), formatCount(total), reason) : text.missingAll(name, reason);
}
