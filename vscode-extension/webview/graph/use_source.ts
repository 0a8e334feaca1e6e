/** The lines of source around a place, as the host can read them; the recorded line alone until then, or for good. */

import { useEffect, useState } from "preact/hooks";
import type { SourceLines } from "../../shared/messages";
import type { Run, Site, Snapshot } from "../../shared/session";
import type { Ask } from "../view";

/** A stop's lines are read once: the file may be edited before the next. The steps of a recorded session share their run, and its lines. */
const KNOWN = new WeakMap<Run, Map<string, SourceLines>>();

export interface SourcePlace {
  readonly ask: Ask;
  readonly snapshot: Snapshot;
  readonly site: Site;
  /** The line as the debuggee read it, "" where it could not. */
  readonly text: string;
}

export function useSource({ ask, snapshot, site, text }: SourcePlace): SourceLines {
  const { file, line } = site;
  const key = `${file}:${line}`;
  const known = KNOWN.get(snapshot.run) ?? new Map<string, SourceLines>();
  KNOWN.set(snapshot.run, known);
  const [, redraw] = useState(0);
  useEffect(() => {
    if (known.has(key)) return;
    let wanted = true;
    ask("sourceLines", { file, line, around: 1 }).then(
      (lines) => {
        if (lines.lines.length > 0) known.set(key, lines);
        if (wanted) redraw((count) => count + 1);
      },
      () => undefined, // a file that the host cannot read: the recorded line stays
    );
    return () => void (wanted = false);
  }, [snapshot.run, key]);
  return known.get(key) ?? { first: line, lines: text === "" ? [] : [text] };
}
