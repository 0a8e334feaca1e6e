/** Which finding is chosen, and what each view selects for it. */

import { useMemo, useRef, useState } from "preact/hooks";
import { aimOf, findingKey, type Aim, type PlacedFinding } from "../../shared/findings";
import type { Selection } from "../../shared/selection";
import type { Snapshot } from "../../shared/session";
import type { Ask, Tab } from "../view";

export interface Chosen {
  readonly findings: readonly PlacedFinding[];
  /** Position of the chosen one, -1 for none. */
  readonly at: number;
  readonly choose: (at: number) => void;
  /** Opens its line. */
  readonly reveal: (at: number, focus: boolean) => void;
  /** The next one, round and round; false where there is none. */
  readonly step: (by: 1 | -1) => boolean;
  /** What a view selects: what the chosen finding is there, until something else is selected. */
  readonly selectionIn: (tab: Tab) => Selection;
}

export interface FindingsContext {
  readonly findings: readonly PlacedFinding[];
  readonly snapshot: Snapshot | null;
  /** Of the model: what was selected last, anywhere. */
  readonly selection: Selection;
  readonly select: (selection: Selection) => void;
  readonly ask: Ask;
  /** Tells apart what findings are of: a debug session, a rank. */
  readonly owner: string;
  readonly onChoose?: (placed: PlacedFinding) => void;
}

interface Choice {
  readonly owner: string;
  readonly key: string;
  readonly position: number;
}

export function useFindings(context: FindingsContext): Chosen {
  const { findings, snapshot, selection, select, ask, owner, onChoose } = context;
  const [choice, setChoice] = useState<Choice | null>(null);
  const at = choice === null || choice.owner !== owner ? -1 : positionOf(findings, choice);
  const aim = useAim(at < 0 ? null : findings[at]!, snapshot);
  const aimed = aim !== null && same(aim.main, selection);
  const choose = (to: number): void => {
    const placed = findings[to];
    if (placed === undefined) return;
    setChoice({ owner, key: findingKey(placed), position: to });
    if (snapshot) select(aimOf(placed, snapshot).main);
    onChoose?.(placed);
  };
  return {
    findings,
    at,
    choose,
    reveal: (of, focus) => {
      const site = findings[of]?.site;
      if (site) ask("openSource", { ...site, focus }).catch(() => undefined);
    },
    step: (by) => {
      if (findings.length === 0) return false;
      choose(at < 0 ? (by === 1 ? 0 : findings.length - 1) : (at + by + findings.length) % findings.length);
      return true;
    },
    selectionIn: (tab) => (aimed ? aim[tab] : selection),
  };
}

/** Two findings may have one key: then their order tells. */
function positionOf(findings: readonly PlacedFinding[], { key, position }: Choice): number {
  const there = findings[position];
  if (there !== undefined && findingKey(there) === key) return position;
  return findings.findIndex((placed) => findingKey(placed) === key);
}

/** The same objects while they say the same: views take another selection for a new one. */
function useAim(placed: PlacedFinding | null, snapshot: Snapshot | null): Aim | null {
  const last = useRef<Aim | null>(null);
  return useMemo(() => {
    const next = placed && snapshot ? aimOf(placed, snapshot) : null;
    if (next && last.current && JSON.stringify(next) === JSON.stringify(last.current)) return last.current;
    return (last.current = next);
  }, [placed, snapshot]);
}

function same(a: Selection, b: Selection): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
