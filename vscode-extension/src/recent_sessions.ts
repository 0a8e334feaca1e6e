/** Sessions that were opened lately, the newest first, over windows and restarts. */

import * as fs from "node:fs/promises";
import * as vscode from "vscode";

const KEY = "gradwatch.recentSessions";
const MOST = 10;

export class RecentSessions {
  readonly #memory: vscode.Memento;

  constructor(memory: vscode.Memento) {
    this.#memory = memory;
  }

  get all(): readonly vscode.Uri[] {
    const stored: unknown = this.#memory.get(KEY);
    const known = Array.isArray(stored) ? stored.filter((each): each is string => typeof each === "string") : [];
    return known.map((each) => vscode.Uri.parse(each));
  }

  /** Without files that are gone. */
  async here(): Promise<readonly vscode.Uri[]> {
    const found = this.all.map(async (uri) => (uri.scheme !== "file" || (await fs.stat(uri.fsPath).catch(() => null)) !== null ? [uri] : []));
    return (await Promise.all(found)).flat();
  }

  add(uri: vscode.Uri): void {
    const text = uri.toString();
    const others = this.all.map((each) => each.toString()).filter((each) => each !== text);
    void this.#memory.update(KEY, [text, ...others].slice(0, MOST));
  }
}
