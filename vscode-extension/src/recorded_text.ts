/** Source texts as they were when a session was recorded: read-only documents beside the workspace's files. */

import { createHash } from "node:crypto";
import * as vscode from "vscode";
import * as texts from "./replay_texts";

export const RECORDED = "gradwatch-recorded";

/** Documents whose text is kept; of older ones a sentence is left. */
const KEPT_TEXTS = 200;

export class RecordedTexts implements vscode.TextDocumentContentProvider {
  readonly #texts = new Map<string, string>();

  register(): vscode.Disposable {
    return vscode.workspace.registerTextDocumentContentProvider(RECORDED, this);
  }

  /** The address of a text; its title says that it is recorded. */
  uriOf(file: string, text: string): vscode.Uri {
    const parts = file.split(/[\\/]+/).filter((part) => part !== "" && part !== "." && part !== "..").map(printable);
    const base = texts.recordedName(parts.pop() ?? "source.py");
    const query = createHash("sha256").update(text).digest("hex").slice(0, 16);
    const uri = vscode.Uri.from({ scheme: RECORDED, path: `/${[...parts, base].join("/")}`, query });
    this.#keep(uri.toString(), text);
    return uri;
  }

  provideTextDocumentContent(uri: vscode.Uri): string {
    return this.#texts.get(uri.toString()) ?? texts.recordedTextGone();
  }

  #keep(key: string, text: string): void {
    this.#texts.delete(key);
    this.#texts.set(key, text);
    const oldest = this.#texts.keys().next().value;
    if (this.#texts.size > KEPT_TEXTS && oldest !== undefined) this.#texts.delete(oldest);
  }
}

/** Without characters that turn or hide what stands beside them in a title. */
function printable(part: string): string {
  return part.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, "?");
}
