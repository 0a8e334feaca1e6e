/** The keyboard of the whole panel: who takes letters, and what the panel reads itself. */

import { useEffect, useRef } from "preact/hooks";
import type { Host } from "./host";
import { isField, keyCommand, staysInField, type KeyCommand } from "./keyboard";

/** Where the host binds keys, only Esc is read here, and the host is told whether letters are commands now. */
export function useKeys(root: { current: HTMLElement | null }, host: Host, onCommand: (command: KeyCommand) => void): void {
  const latest = useRef(onCommand);
  latest.current = onCommand;
  useEffect(() => {
    const target: HTMLElement | Document | null = host.bindsKeys ? document : root.current;
    const onKeyDown = (event: Event): void => {
      if (!(event instanceof KeyboardEvent) || event.defaultPrevented) return;
      const inField = isField(event.target);
      if (staysInField(event, inField)) return event.stopPropagation();
      const command = keyCommand(event, inField);
      if (command === null || (host.bindsKeys && command !== "closeDock")) return;
      event.preventDefault();
      latest.current(command);
    };
    target?.addEventListener("keydown", onKeyDown);
    return () => target?.removeEventListener("keydown", onKeyDown);
  }, [host]);
  useEffect(() => (host.bindsKeys ? tellFocus((keys) => host.post({ type: "focus", keys })) : undefined), [host]);
}

/** Tells whether letters are commands now, at once and whenever that changes, until the returned function is called. */
export function tellFocus(tellHost: (keys: boolean) => void): () => void {
  let told: boolean | null = null;
  const tell = (): void => {
    const keys = document.hasFocus() && !isField(document.activeElement);
    if (keys !== told) tellHost(keys);
    told = keys;
  };
  // While focus moves from one element to the next, neither has it.
  const soon = (): void => queueMicrotask(tell);
  const events = ["focus", "blur", "focusin", "focusout"] as const;
  for (const name of events) window.addEventListener(name, soon);
  tell();
  return () => {
    for (const name of events) window.removeEventListener(name, soon);
  };
}
