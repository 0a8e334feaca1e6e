/** One line at the panel's foot: a request that failed or an answer, until it is dismissed; a thing done, for a moment. */

import { useCallback, useEffect, useMemo, useState } from "preact/hooks";
import type { Method } from "../shared/messages";
import type { Ask } from "./view";

export interface Message {
  readonly kind: "problem" | "answer" | "done";
  readonly text: string;
}

const SHOW_DONE_MS = 4000;

/** Views show these themselves, where the answer was to stand. */
const SHOWN_IN_PLACE: readonly Method[] = ["values", "sourceLines", "chooseRoot"];

export interface Messages {
  readonly message: Message | null;
  readonly say: (message: Message | null) => void;
  /** Like the host's, and a request that fails also says so here. */
  readonly ask: Ask;
}

export function useMessages(ask: Ask): Messages {
  const [message, say] = useState<Message | null>(null);
  useEffect(() => {
    if (message?.kind !== "done") return;
    const timer = setTimeout(() => say(null), SHOW_DONE_MS);
    return () => clearTimeout(timer);
  }, [message]);
  const reporting = useMemo<Ask>(() => (method, params) => reported(ask, say, method, params), [ask]);
  return { message, say: useCallback(say, []), ask: reporting };
}

const reported: (ask: Ask, say: (message: Message) => void, ...request: Parameters<Ask>) => ReturnType<Ask> = async (ask, say, method, params) => {
  try {
    return await ask(method, params);
  } catch (error) {
    if (!SHOWN_IN_PLACE.includes(method)) say({ kind: "problem", text: error instanceof Error ? error.message : String(error) });
    throw error;
  }
};
