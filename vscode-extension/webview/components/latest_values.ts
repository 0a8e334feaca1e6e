/** Asks for windows of values, one question at a time: what was wanted in between is never asked. */

import { useEffect, useRef, useState } from "preact/hooks";
import type { ValuesRequest } from "../../shared/messages";
import type { Subject } from "../../shared/session";
import { parseValues, readWindow, type Window } from "../../shared/values";
import type { Ask } from "../view";

/** `window` is the last one that came, also while the next is read and after a failure. */
export type WindowState =
  | { readonly kind: "reading"; readonly window: Window | null }
  | { readonly kind: "ready"; readonly window: Window }
  | { readonly kind: "failed"; readonly window: Window | null; readonly message: string };

/** A debuggee answers one question after the other, so a held key must not queue up windows. */
export class LatestValues {
  private wanted: ValuesRequest | null = null;
  private asking = false;
  private closed = false;

  /** `window` is what to show until the first answer: the same tensor at the stop before. */
  constructor(
    private readonly ask: Ask,
    private readonly report: (state: WindowState) => void,
    private window: Window | null = null,
  ) {}

  want(request: ValuesRequest): void {
    this.wanted = request;
    this.report({ kind: "reading", window: this.window });
    if (!this.asking) void this.askNext();
  }

  /** Answers that are still under way are dropped. */
  close(): void {
    this.closed = true;
  }

  private async askNext(): Promise<void> {
    const request = this.wanted;
    if (!request) return;
    this.asking = true;
    const state = await this.answerTo(request);
    this.asking = false;
    if (this.closed) return;
    if (this.wanted !== request) return this.askNext();
    if (state.kind === "ready") this.window = state.window;
    this.report(state);
  }

  private async answerTo(request: ValuesRequest): Promise<WindowState> {
    try {
      return { kind: "ready", window: readWindow(parseValues(await this.ask("values", request))) };
    } catch (error) {
      return { kind: "failed", window: this.window, message: error instanceof Error ? error.message : String(error) };
    }
  }
}

/** The state of the window that `request` asks for (null: none yet), and a way to ask again. */
export function useLatestValues(ask: Ask, request: ValuesRequest | null): readonly [WindowState, () => void] {
  const [state, setState] = useState<WindowState>({ kind: "reading", window: null });
  const latest = useRef<LatestValues | null>(null);
  const subject = request ? JSON.stringify(request.subject) : "";
  useEffect(() => {
    const own = new LatestValues(ask, setState, sameTensor(state.window, request) ? state.window : null);
    latest.current = own;
    return () => own.close();
  }, [ask, subject]);
  const again = (): void => {
    if (request) latest.current?.want(request);
  };
  useEffect(again, [ask, request ? JSON.stringify(request) : ""]);
  return [state, again];
}

function sameTensor(window: Window | null, request: ValuesRequest | null): boolean {
  return window !== null && request !== null && tensorKey(window.values.subject) === tensorKey(request.subject);
}

/** Which tensor a subject names, whatever the stop. */
export function tensorKey(subject: Subject): string {
  const { field, parameter = -1, variable = -1, node = -1, role = "", position = 0 } = subject;
  return [field, parameter, variable, node, role, position].join(" ");
}
