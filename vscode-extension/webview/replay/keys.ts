/** The page's keys. Where the host binds them they arrive as commands; those of the playhead's slider are always its own. */

import { useEffect, useRef } from "preact/hooks";
import type { ReplayCommand } from "../../shared/replay";
import { FAR } from "../../shared/replay_play";
import { isField, staysInField, type Pressed } from "../keyboard";
import { tellFocus } from "../use_keys";
import type { ReplayHost } from "./host";
import type { ReplayActions } from "./page";

/** Esc closes a sheet or the dock: no host binds it. */
export type ReplayKey = ReplayCommand | "closeDock";

const LETTERS: Readonly<Record<string, ReplayCommand>> = {
  "1": "gradients",
  "2": "graph",
  "3": "held",
  "/": "filter",
  f: "nextTrouble",
  F: "previousTrouble",
  ".": "nextMark",
  ",": "previousMark",
};

const SLIDER: Readonly<Record<string, ReplayCommand>> = {
  ArrowLeft: "previousStep",
  ArrowDown: "previousStep",
  ArrowRight: "nextStep",
  ArrowUp: "nextStep",
  PageUp: "backSteps",
  PageDown: "forwardSteps",
  Home: "firstStep",
  End: "lastStep",
};

/** Null where the key is somebody else's. Space presses a button that has the focus. */
export function replayKey(pressed: Pressed, target: EventTarget | null): ReplayKey | null {
  if (pressed.ctrlKey || pressed.metaKey || pressed.altKey || pressed.isComposing) return null;
  if (pressed.key === "Escape") return "closeDock";
  if (isField(target)) return null;
  if (pressed.key === " ") return isPressable(target) ? null : "play";
  return LETTERS[pressed.key] ?? null;
}

/** What presses the element that has the focus. */
function presses({ key, ctrlKey, metaKey, altKey }: Pressed): boolean {
  return (key === " " || key === "Enter") && !ctrlKey && !metaKey && !altKey;
}

function isPressable(target: EventTarget | null): boolean {
  return target instanceof Element && target.closest("button, a, summary, input, select, [role=tree], [role=listbox], [role=grid], [role=application]") !== null;
}

/** What a key does on the playhead's slider. */
export function sliderKey({ key, ctrlKey, metaKey, altKey }: Pressed): ReplayCommand | null {
  return ctrlKey || metaKey || altKey ? null : (SLIDER[key] ?? null);
}

/** Commands that move the playhead. */
export function runKey(key: ReplayCommand, actions: ReplayActions): void {
  switch (key) {
    case "nextStep":
      return actions.by(1);
    case "previousStep":
      return actions.by(-1);
    case "forwardSteps":
      return actions.by(FAR);
    case "backSteps":
      return actions.by(-FAR);
    case "firstStep":
      return actions.toEnd("first");
    case "lastStep":
      return actions.toEnd("last");
    case "nextMark":
      return actions.toMark(1);
    case "previousMark":
      return actions.toMark(-1);
    default:
      return;
  }
}

/** Where the host binds keys, only Esc is read here, and the host is told whether letters are commands now. */
export function useReplayKeys(root: { current: HTMLElement | null }, host: ReplayHost, bound: boolean, onKey: (key: ReplayKey) => void): void {
  const latest = useRef(onKey);
  latest.current = onKey;
  useEffect(() => {
    const target: HTMLElement | Document | null = bound ? document : root.current;
    const onKeyDown = (event: Event): void => {
      if (!(event instanceof KeyboardEvent)) return;
      // The host, which knows nothing of buttons and lists, would play besides, even where a list has used the key up.
      if (bound && presses(event) && isPressable(event.target)) return event.stopPropagation();
      if (event.defaultPrevented) return;
      if (staysInField(event, isField(event.target))) return event.stopPropagation();
      const key = replayKey(event, event.target);
      if (key === null || (bound && key !== "closeDock")) return;
      event.preventDefault();
      latest.current(key);
    };
    target?.addEventListener("keydown", onKeyDown);
    return () => target?.removeEventListener("keydown", onKeyDown);
  }, [host, bound]);
  useEffect(() => (bound ? tellFocus((keys) => host.post({ type: "focus", keys })) : undefined), [host, bound]);
}
