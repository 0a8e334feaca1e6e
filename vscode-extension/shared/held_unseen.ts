/** What the held bytes cannot show, and why: labels of nodes and notices. What the budget cut short the shell says. */

import { heldText } from "./text";
import type { NodeLabel, Snapshot } from "./session";

/** One reason and the nodes it holds for; no nodes for what concerns the whole answer. */
export interface Unseen {
  readonly label: NodeLabel["label"] | null;
  readonly text: string;
  readonly nodes: readonly number[];
}

/** Labels whose node holds something that cannot be counted. The others only say how it was saved. */
const HIDES: ReadonlySet<NodeLabel["label"]> = new Set(["compiled", "checkpointed", "functorch", "hidden"]);

/** Labels that say nothing about memory. */
const SILENT: ReadonlySet<NodeLabel["label"]> = new Set(["custom"]);

/** Every reason once, those of most nodes first. */
export function unseenReasons(snapshot: Snapshot): readonly Unseen[] {
  const reasons = new Map<string, { label: NodeLabel["label"]; text: string; nodes: Set<number> }>();
  for (const { node, label, text } of snapshot.graph?.labels ?? []) {
    if (SILENT.has(label)) continue;
    const reason = reasons.get(`${label} ${text}`) ?? { label, text, nodes: new Set() };
    reasons.set(`${label} ${text}`, reason);
    reason.nodes.add(node);
  }
  const labelled = [...reasons.values()]
    .map(({ label, text, nodes }) => ({ label, text: heldText.reason(text, nodes.size), nodes: [...nodes] }))
    .sort((a, b) => b.nodes.length - a.nodes.length);
  return [...labelled, ...notices(snapshot)];
}

/** How many nodes of each label hold something that is not counted: "1 compiled, 12 checkpointed". */
export function unseenCounts(snapshot: Snapshot): ReadonlyMap<NodeLabel["label"], number> {
  const nodes = new Map<NodeLabel["label"], Set<number>>();
  for (const { node, label } of snapshot.graph?.labels ?? []) {
    if (HIDES.has(label)) nodes.set(label, (nodes.get(label) ?? new Set()).add(node));
  }
  return new Map([...nodes].map(([label, of]) => [label, of.size]));
}

/** True where the ledger was cut short: every sum is then a lower bound. */
export function isPartial(snapshot: Snapshot): boolean {
  return (snapshot.missing ?? []).some(({ part }) => part === "held" || part === "graph");
}

function notices(snapshot: Snapshot): readonly Unseen[] {
  return (snapshot.notices ?? [])
    .filter(({ kind, subject_kind }) => (kind === "not observable" || kind === "partial") && subject_kind !== "parameter")
    .map(({ text }) => ({ label: null, text, nodes: [] }));
}

/** Why nothing about held memory is there; null where it is. */
export function whyNoLedger(snapshot: Snapshot): string | null {
  if (snapshot.ledger) return null;
  const cut = (snapshot.missing ?? []).find(({ part }) => part === "held");
  if (cut) return heldText.cutShort(cut.reason, cut.done ?? 0, cut.total ?? 0);
  return snapshot.backward?.unobserved ?? (snapshot.graph ? heldText.noLedger : heldText.noGraph);
}
