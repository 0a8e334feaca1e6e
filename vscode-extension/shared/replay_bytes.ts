/** A session that is in memory already, as in a test or in a page that carries its file. */

import type { ReadAt } from "./mcap_bytes";

/** Reads from `bytes`; gives views of them, not copies. */
export function fileSource(bytes: Uint8Array): ReadAt {
  return {
    size: () => Promise.resolve(bytes.length),
    read: (offset, length) => Promise.resolve(bytes.subarray(offset, offset + length)),
  };
}
