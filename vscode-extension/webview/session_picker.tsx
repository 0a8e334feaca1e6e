/** Which process is shown: ranks and subprocesses. One alone is only named. */

import type { JSX } from "preact";
import type { SessionItem } from "../shared/state";
import { headerText as text } from "../shared/text";
import type { Ask } from "./view";

export interface SessionPickerProps {
  readonly sessions: readonly SessionItem[];
  readonly selected: string | null;
  /** Of a run that is not distributed the rank says nothing. */
  readonly distributed?: boolean;
  readonly ask: Ask;
}

export function SessionPicker({ sessions, selected, distributed = true, ask }: SessionPickerProps): JSX.Element | null {
  const current = sessions.find(({ id }) => id === selected);
  if (sessions.length > 1) return <Picker {...{ sessions, selected, ask }} />;
  const rank = distributed ? (current?.rank ?? -1) : -1;
  if (!current || (rank < 0 && current.pid < 0)) return null;
  return (
    <span class="dim session" title={current.name}>
      <span class="hide-n">{text.session(rank, current.pid)}</span>
      <span class="only-n">{text.sessionNarrow(rank, current.pid)}</span>
    </span>
  );
}

function Picker({ sessions, selected, ask }: Omit<SessionPickerProps, "distributed">): JSX.Element {
  return (
    <span class="pick">
      <select
        aria-label={text.sessionLabel}
        value={selected ?? ""}
        onChange={(event) => void ask("selectSession", { session: event.currentTarget.value }).catch(() => undefined)}
      >
        {sessions.map((item) => (
          <option key={item.id} value={item.id}>
            {text.sessionOption(optionName(item, sessions), !item.stopped)}
          </option>
        ))}
      </select>
    </span>
  );
}

/** Rank and pid tell processes apart; before their first answer, the debug session's name does. */
function optionName({ name, rank, pid }: SessionItem, all: readonly SessionItem[]): string {
  if (rank < 0 && pid < 0) return name;
  const ranks = all.filter((item) => item.rank === rank).length;
  return rank >= 0 && ranks === 1 ? text.session(rank, pid) : pid >= 0 ? `${name} · ${text.session(-1, pid)}` : name;
}
