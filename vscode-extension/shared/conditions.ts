/** The set of conditions as the panel edits it: pure changes, and each condition in words. */

import { fileName, plainNumber } from "./format";
import type { Condition } from "./session";
import { conditionsText as text } from "./text";

/** What can be added: the set gives it its id. */
export type NewCondition = Omit<Condition, "id">;

/** Whether both stop at the same place, whatever their ids, hits and switches. */
export function sameCondition(a: NewCondition, b: NewCondition): boolean {
  return placeKey(a) === placeKey(b);
}

function placeKey({ kind, node = -1, graph_digest = "", name = "", module = "", line = "", parameter = "", limit = 0 }: NewCondition): string {
  return JSON.stringify([kind, node, graph_digest, name, module, line, parameter, limit]);
}

/** The set with one more. One that is there already is switched on again instead. */
export function withCondition(conditions: readonly Condition[], added: NewCondition): readonly Condition[] {
  const known = conditions.find((condition) => sameCondition(condition, added));
  if (known) return switched(conditions, known.id, true);
  const id = 1 + Math.max(0, ...conditions.map((condition) => condition.id));
  return [...conditions, { enabled: true, hits: 0, ...added, id }];
}

/** The set with one switched on or off. */
export function switched(conditions: readonly Condition[], id: number, enabled: boolean): readonly Condition[] {
  return conditions.map((condition) => (condition.id === id ? { ...condition, enabled } : condition));
}

/** The set without one. */
export function withoutCondition(conditions: readonly Condition[], id: number): readonly Condition[] {
  return conditions.filter((condition) => condition.id !== id);
}

/** The condition in a few words: "SoftmaxBackward0, model.attn, model.py:51". */
export function conditionName(condition: NewCondition): string {
  switch (condition.kind) {
    case "first non-finite":
      return text.firstNonFinite;
    case "norm exceeds":
      return text.normAbove(limitText(condition.limit ?? 0));
    case "node":
      return text.node(condition.name ?? "", [condition.module ?? "", fileName(condition.line ?? "")].filter(Boolean).join(", "));
    case "parameter":
      return text.parameter(condition.parameter ?? "");
    case "module":
      return text.module(condition.module ?? "");
    case "next node":
      return text.nextNode;
  }
}

/** As it was typed, as long as that is short: 250, 0.5, 1.00e3. */
function limitText(limit: number): string {
  const plain = String(limit);
  return plain.length <= 5 && !plain.includes("e") ? plain : plainNumber(limit);
}

/** A number above 0, or what is wrong with the text. */
export function readLimit(typed: string): { readonly limit: number } | { readonly error: string } {
  const trimmed = typed.trim().replace("−", "-");
  if (trimmed === "") return { error: text.normMissing };
  const limit = Number(trimmed);
  return Number.isFinite(limit) && limit > 0 ? { limit } : { error: text.normInvalid(typed.trim()) };
}
