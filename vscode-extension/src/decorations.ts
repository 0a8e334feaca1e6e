/** Quiet notes at the ends of lines that hold memory for backward, while the program stands. */

import * as vscode from "vscode";
import { heldByLine } from "../shared/held_lines";
import type { HeldLine } from "../shared/held_lines";
import type { Snapshot } from "../shared/session";
import { localUri } from "./sources";

type HeldFiles = ReadonlyMap<string, readonly HeldLine[]>;

export class HeldDecorations implements vscode.Disposable {
  readonly #type = vscode.window.createTextEditorDecorationType({
    after: { margin: "0 0 0 3em", color: new vscode.ThemeColor("gradwatch.held") },
    rangeBehavior: vscode.DecorationRangeBehavior.ClosedOpen,
  });
  readonly #editors: vscode.Disposable;
  #files: HeldFiles = new Map();

  constructor() {
    this.#editors = vscode.window.onDidChangeVisibleTextEditors(() => this.#draw());
  }

  show(snapshot: Snapshot, session: vscode.DebugSession): void {
    const byPath = [...heldByLine(snapshot)].map(([file, lines]) => [localUri(file, session).toString(), lines] as const);
    this.#files = new Map(byPath);
    this.#draw();
  }

  clear(): void {
    if (this.#files.size === 0) return;
    this.#files = new Map();
    this.#draw();
  }

  dispose(): void {
    this.#editors.dispose();
    this.#type.dispose();
  }

  #draw(): void {
    for (const editor of vscode.window.visibleTextEditors) {
      const lines = this.#files.get(editor.document.uri.toString()) ?? [];
      const inside = lines.filter(({ line }) => line >= 1 && line <= editor.document.lineCount);
      editor.setDecorations(this.#type, inside.map((line) => decoration(editor.document, line)));
    }
  }
}

function decoration(document: vscode.TextDocument, held: HeldLine): vscode.DecorationOptions {
  const { end } = document.lineAt(held.line - 1).range;
  return {
    range: new vscode.Range(end, end),
    hoverMessage: held.hover.map((paragraph) => new vscode.MarkdownString(paragraph)),
    renderOptions: { after: { contentText: held.text } },
  };
}
