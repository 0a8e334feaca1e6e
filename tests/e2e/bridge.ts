/** What the test-only extension tells from inside the extension host. */

import { readFileSync } from "node:fs";
import path from "node:path";
import { eventually } from "./processes.ts";

/** A message between VS Code and a debug adapter; see debugpy_shim/bridge.js. */
export interface Message {
  readonly atMs: number;
  readonly to: "adapter" | "editor";
  /** "focus": VS Code selected a frame. */
  readonly type: "request" | "response" | "event" | "focus";
  readonly session: string;
  readonly seq: number;
  readonly name: string;
  readonly answers?: number;
  readonly success?: boolean;
  /** Of our own questions. */
  readonly question?: string;
  readonly kind?: string;
  readonly characters: number;
  readonly costMs?: Readonly<Record<string, number>>;
  readonly missing?: readonly { readonly part: string; readonly reason: string }[];
  readonly reason?: string;
}

export interface Measurement {
  readonly stop: number;
  readonly stoppedMs: number;
  readonly evaluateMs: number;
  readonly characters: number;
  readonly paint: { readonly parseMs: number; readonly modelMs: number; readonly layoutMs: number; readonly paintMs: number } | null;
  readonly panelMs: number;
}

interface Requests {
  messages: { given: { since: number }; value: readonly Message[] };
  evaluate: { given: { expression: string }; value: string };
  command: { given: { id: string; given?: readonly unknown[] }; value: unknown };
  setting: { given: { name: string; value: unknown }; value: null };
  focused: { given: Record<string, never>; value: { session: string | null; name: string | null; frame: number } };
  editor: { given: Record<string, never>; value: { file: string; line: number } | null };
  /** Text editors in view, whether they have the focus or not. */
  texts: { given: Record<string, never>; value: readonly { readonly scheme: string; readonly file: string; readonly line: number }[] };
  breakpoints: { given: Record<string, never>; value: readonly number[] };
  measurements: { given: Record<string, never>; value: readonly Measurement[] | null };
  paints: { given: Record<string, never>; value: readonly { readonly step: number; readonly ms: number }[] | null };
  active: { given: Record<string, never>; value: boolean | null };
}

export class Bridge {
  readonly #url: string;

  private constructor(port: number) {
    this.#url = `http://127.0.0.1:${port}`;
  }

  /** The extension host begins a while after the workbench shows. */
  static async open(folder: string): Promise<Bridge> {
    const file = path.join(folder, ".vscode", "bridge.json");
    const { port } = await eventually("the extension host", () => JSON.parse(readFileSync(file, "utf8")) as { port: number }, 60_000);
    return new Bridge(port);
  }

  async ask<K extends keyof Requests>(name: K, given: Requests[K]["given"]): Promise<Requests[K]["value"]> {
    const reply = await fetch(`${this.#url}/${name}`, { method: "POST", body: JSON.stringify(given) });
    const answer = (await reply.json()) as { ok: true; value: Requests[K]["value"] } | { ok: false; error: string };
    if (!answer.ok) throw new Error(`${name}: ${answer.error}`);
    return answer.value;
  }

  messages(since = 0): Promise<readonly Message[]> {
    return this.ask("messages", { since });
  }

  /** The value of a Python expression in the focused frame, by way of JSON. */
  async evaluate<T>(expression: string): Promise<T> {
    const text = await this.ask("evaluate", { expression: `__import__("json").dumps(${expression})` });
    return JSON.parse(text) as T;
  }

  async command(id: string, ...given: readonly unknown[]): Promise<void> {
    await this.ask("command", { id, given });
  }
}
