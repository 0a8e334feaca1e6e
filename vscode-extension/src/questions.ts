/** What is asked of the debugged program: one Python expression a question, one JSON text back. */

import { inflateSync } from "node:zlib";
import type { SnapshotPart, ValuesRequest } from "../shared/messages";
import type { Condition, Failure, Snapshot } from "../shared/session";
import door from "./python/door.py";

/** `stop` counts the `stopped` events of the debug session: questions with one number are about one stop. */
export type Question =
  | {
      readonly question: "snapshot";
      readonly stop: number;
      readonly budget_ms: number;
      readonly root: string | null;
      readonly parts: readonly SnapshotPart[];
      readonly frame: { readonly file: string; readonly line: number; readonly function: string };
    }
  | (Omit<ValuesRequest, "findNonFinite"> & {
      readonly question: "values";
      readonly find_nonfinite: boolean;
      readonly budget_ms: number;
    })
  | { readonly question: "conditions"; readonly conditions: readonly Condition[] }
  | { readonly question: "next node" }
  /** Ends the answer being computed, with what it has. */
  | { readonly question: "enough" };

/** What the host reads of an answer. Columns stay encoded: the panel decodes them. */
export type Reply =
  | { readonly kind: "Snapshot"; readonly value: Pick<Snapshot, "state" | "run" | "stop" | "callers" | "conditions" | "recording"> }
  | { readonly kind: "Values"; readonly value: unknown }
  | { readonly kind: "Conditions"; readonly value: readonly Condition[] }
  | { readonly kind: "Failure"; readonly value: Failure }
  | { readonly kind: "No torch"; readonly value: unknown }
  | { readonly kind: "Not importable"; readonly value: { readonly executable: string; readonly version: string } };

const REPLIES = new Set<unknown>(["Snapshot", "Values", "Conditions", "Failure", "No torch", "Not importable"]);

/** A Python expression. The door is found inside a lambda and called outside of it, in the frame's own names. */
export function expressionOf(question: Question): string {
  return `(lambda space: __import__("builtins").exec(${pythonString(door)}, space) or space["door"])({})(${pythonString(asciiJson({ ...question, packed: true }))})`;
}

const PACKED = "deflate:";

/** The answer's text: long ones travel deflated, in base64. Throws when what came is cut. */
export function unpacked(text: string): string {
  return text.startsWith(PACKED) ? inflateSync(Buffer.from(text.slice(PACKED.length), "base64")).toString("utf8") : text;
}

/** Any text as a Python string literal on one line, for which Python and JavaScript agree on every escape. */
export function pythonString(text: string): string {
  return JSON.stringify(text).replace(/[^ -~]/gu, (character) => {
    const hex = (character.codePointAt(0) ?? 0).toString(16);
    return hex.length > 4 ? `\\U${hex.padStart(8, "0")}` : `\\u${hex.padStart(4, "0")}`;
  });
}

/** JSON in ASCII. A character beyond the first plane is two escapes here, one in a Python literal. */
export function asciiJson(value: unknown): string {
  return JSON.stringify(value).replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** Null when the text is none of the answers: then what answered is not gradwatch, and perhaps not Python. */
export function readReply(text: string): Reply | null {
  try {
    const parsed: unknown = JSON.parse(text);
    return typeof parsed === "object" && parsed !== null && REPLIES.has((parsed as { kind?: unknown }).kind) ? (parsed as Reply) : null;
  } catch {
    return null;
  }
}

/** Rejects when the promise takes longer; what was asked goes on. */
export async function within<T>(promise: Promise<T>, ms: number, message: () => string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(message())), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
