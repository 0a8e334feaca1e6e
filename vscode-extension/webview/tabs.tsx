/** The three views as tabs with their totals. Arrows move between tabs; Tab goes on into the view. */

import type { JSX } from "preact";
import { useContext, useRef } from "preact/hooks";
import type { StopSummary } from "../shared/stop_summary";
import { shellText as text } from "../shared/text";
import { OwnIds } from "./own_ids";
import type { Tab } from "./view";

export const TABS: readonly Tab[] = ["gradients", "graph", "held"];

export interface TabsProps {
  /** All three, where not said. */
  readonly tabs?: readonly Tab[];
  readonly shown: Tab;
  readonly totals: StopSummary["totals"];
  readonly onTab: (tab: Tab) => void;
}

export function Tabs({ tabs = TABS, shown, totals, onTab }: TabsProps): JSX.Element {
  const list = useRef<HTMLDivElement>(null);
  const ids = useContext(OwnIds);
  const onKeyDown = (event: KeyboardEvent): void => {
    const next = nextTab(shown, event.key, tabs);
    if (next === null) return;
    event.preventDefault();
    onTab(next);
    list.current?.querySelector<HTMLElement>(`#${tabId(ids, next)}`)?.focus();
  };
  return (
    <div ref={list} class="tabs" role="tablist" aria-label={text.views} onKeyDown={onKeyDown}>
      {tabs.map((tab) => (
        <button
          key={tab}
          id={tabId(ids, tab)}
          type="button"
          role="tab"
          aria-selected={tab === shown}
          aria-controls={panelId(ids, tab)}
          tabIndex={tab === shown ? 0 : -1}
          onClick={() => onTab(tab)}
        >
          {text[tab]}
          {totals[tab] !== "" && <small>{totals[tab]}</small>}
        </button>
      ))}
    </div>
  );
}

/** `ids` is what the ids of this mount begin with. */
export function tabId(ids: string, tab: Tab): string {
  return `${ids}-tab-${tab}`;
}

export function panelId(ids: string, tab: Tab): string {
  return `${ids}-view-${tab}`;
}

/** Null where the key does not move between tabs. */
export function nextTab(shown: Tab, key: string, tabs: readonly Tab[] = TABS): Tab | null {
  const at = tabs.indexOf(shown);
  const to: Readonly<Record<string, number>> = { ArrowRight: at + 1, ArrowLeft: at + tabs.length - 1, Home: 0, End: tabs.length - 1 };
  const index = to[key];
  return index === undefined ? null : tabs[index % tabs.length]!;
}
