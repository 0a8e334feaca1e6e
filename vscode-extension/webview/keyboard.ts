/** The panel's keys. Where the host binds them they arrive as commands; elsewhere they are read here. */

import type { PanelCommand } from "../shared/messages";

/** What a key asks for; Esc, which no host binds, closes the dock. */
export type KeyCommand = PanelCommand | "closeDock";

const LETTERS: Readonly<Record<string, PanelCommand>> = {
  "1": "gradients",
  "2": "graph",
  "3": "held",
  "/": "filter",
  f: "nextTrouble",
  F: "previousTrouble",
  b: "breakHere",
  n: "stepToNextNode",
};

/** The part of a KeyboardEvent that decides. */
export interface Pressed {
  readonly key: string;
  readonly ctrlKey: boolean;
  readonly metaKey: boolean;
  readonly altKey: boolean;
  readonly isComposing?: boolean;
}

/** Null where the key is somebody else's: with a modifier, or a letter while a field has the focus. */
export function keyCommand(pressed: Pressed, inField: boolean): KeyCommand | null {
  if (pressed.ctrlKey || pressed.metaKey || pressed.altKey || pressed.isComposing) return null;
  if (pressed.key === "Escape") return "closeDock";
  return inField ? null : (LETTERS[pressed.key] ?? null);
}

/** A letter typed into a field must not reach the host's bindings, which know nothing of fields. */
export function staysInField(pressed: Pressed, inField: boolean): boolean {
  return inField && !pressed.ctrlKey && !pressed.metaKey && !pressed.altKey && pressed.key.length === 1;
}

/** Where letters are text: fields, and lists that are chosen from by their first letter. */
export function isField(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target instanceof HTMLInputElement) return !["checkbox", "radio", "button", "range"].includes(target.type);
  return target.matches("textarea, select") || target.isContentEditable === true;
}
