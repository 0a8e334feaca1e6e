/** The JSON that a debuggee answers when two lines of one file hold something. */

import type { Column } from "../shared/session";
import { heldSnapshot } from "./held_snapshot";

export const HELD_FILE = "/home/me/model.py";

export function heldSnapshotText(): string {
  const value = heldSnapshot({
    nodes: [
      { op: "MulBackward0", site: 0 },
      { op: "SoftmaxBackward0", site: 1 },
    ],
    saved: [
      { node: 0, role: "self", storage: 0, shape: [64, 64], site: 0 },
      { node: 1, role: "result", storage: 1, shape: [64, 128], site: 1 },
    ],
    storages: [{ bytes: 16_384 }, { bytes: 32_768 }],
    lines: [
      { file: HELD_FILE, line: 3, text: "x = a * b" },
      { file: HELD_FILE, line: 7, text: "y = x.softmax(-1)" },
    ],
  });
  return JSON.stringify({ kind: "Snapshot", value }, (_key, item: unknown) => (isColumn(item) ? encoded(item) : item));
}

function isColumn(value: unknown): value is Column {
  return typeof value === "object" && value !== null && (value as Partial<Column>).data instanceof Uint8Array;
}

function encoded({ dtype, data }: Column): { dtype: string; data: string } {
  return { dtype, data: Buffer.from(data).toString("base64") };
}
