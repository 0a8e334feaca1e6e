/** Ids of elements, each mount's its own: several widgets may share a document, and a notebook loads the code once for each. */

import { createContext } from "preact";
import { useContext, useId, useMemo } from "preact/hooks";

/** What the ids of a mount begin with. */
export const OwnIds = createContext("gw");

/** For the root of a mount: a counter would begin anew in each copy of this code. */
export function useNewIds(): string {
  return useMemo(() => `gw-${Math.random().toString(36).slice(2, 10)}`, []);
}

/** As useId, which counts within a mount alone. */
export function useOwnId(): string {
  return `${useContext(OwnIds)}-${useId()}`;
}
