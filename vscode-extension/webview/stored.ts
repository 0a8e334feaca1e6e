/** What a view remembers across stops, tab switches and reloads of the panel: what is open, sorted, filtered. */

import { createContext } from "preact";
import { useCallback, useContext, useState } from "preact/hooks";

/** A JSON value under a name. */
export interface Store {
  get(key: string): unknown;
  set(key: string, value: unknown): void;
}

/** Lives as long as the page: where the host keeps nothing. */
export function memoryStore(): Store {
  const values = new Map<string, unknown>();
  return { get: (key) => values.get(key), set: (key, value) => void values.set(key, value) };
}

export const StoreContext = createContext<Store>(memoryStore());

/**
 * State that is kept under `key` (say whose: `gradients.sort`). The value must be JSON. A value of another type than
 * `initial`'s, from an older version of the panel, is dropped.
 */
export function useStored<T>(key: string, initial: T): readonly [T, (next: T) => void] {
  const store = useContext(StoreContext);
  const [value, setValue] = useState<T>(() => {
    const kept = store.get(key);
    return isLike(kept, initial) ? kept : initial;
  });
  const keep = useCallback(
    (next: T): void => {
      store.set(key, next);
      setValue(() => next);
    },
    [store, key],
  );
  return [value, keep];
}

function isLike<T>(kept: unknown, initial: T): kept is T {
  if (kept === undefined || kept === null) return kept === initial;
  return initial === null || (typeof kept === typeof initial && Array.isArray(kept) === Array.isArray(initial));
}
