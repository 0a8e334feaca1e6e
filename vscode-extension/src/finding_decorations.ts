/** Marks at the lines that findings are about, with the sentence and the fix on hover, while the program stands. */

import * as vscode from "vscode";
import { foundByLine, type FoundLine } from "../shared/finding_lines";
import { findingsOf } from "../shared/findings";
import type { Finding, Snapshot } from "../shared/session";
import { localUri } from "./sources";

const COLOURS: Readonly<Record<Finding["severity"], string>> = { error: "gradwatch.nan", warning: "gradwatch.none", note: "gradwatch.held" };
const SEVERITIES = ["error", "warning", "note"] as const;

export class FindingDecorations implements vscode.Disposable {
  readonly #types = new Map(SEVERITIES.map((severity) => [severity, decorationType(COLOURS[severity], severity !== "note")]));
  readonly #editors: vscode.Disposable;
  #files: ReadonlyMap<string, readonly FoundLine[]> = new Map();

  constructor() {
    this.#editors = vscode.window.onDidChangeVisibleTextEditors(() => this.#files.size > 0 && this.#draw());
  }

  show(snapshot: Snapshot, session: vscode.DebugSession): void {
    const found = foundByLine(findingsOf(snapshot));
    if (found.size === 0) return this.clear();
    this.#files = new Map([...found].map(([file, lines]) => [localUri(file, session).toString(), lines]));
    this.#draw();
  }

  clear(): void {
    if (this.#files.size === 0) return;
    this.#files = new Map();
    this.#draw();
  }

  dispose(): void {
    this.#editors.dispose();
    for (const type of this.#types.values()) type.dispose();
  }

  #draw(): void {
    for (const editor of vscode.window.visibleTextEditors) {
      const lines = this.#files.get(editor.document.uri.toString()) ?? [];
      const inside = lines.filter(({ line }) => line >= 1 && line <= editor.document.lineCount);
      for (const [severity, type] of this.#types) {
        editor.setDecorations(type, inside.filter((line) => line.severity === severity).map((line) => decoration(editor.document, line)));
      }
    }
  }
}

/** At the end of the line, and in the ruler where it is more than a note. */
function decorationType(colour: string, inRuler: boolean): vscode.TextEditorDecorationType {
  const ruler = { overviewRulerColor: new vscode.ThemeColor(colour), overviewRulerLane: vscode.OverviewRulerLane.Right };
  return vscode.window.createTextEditorDecorationType({
    after: { margin: "0 0 0 2em", color: new vscode.ThemeColor(colour) },
    rangeBehavior: vscode.DecorationRangeBehavior.ClosedOpen,
    ...(inRuler ? ruler : {}),
  });
}

function decoration(document: vscode.TextDocument, found: FoundLine): vscode.DecorationOptions {
  const { range, firstNonWhitespaceCharacterIndex: start } = document.lineAt(found.line - 1);
  return {
    // The whole line, so that its text can be pointed at.
    range: new vscode.Range(found.line - 1, start, found.line - 1, range.end.character),
    hoverMessage: found.hover.map((paragraph) => new vscode.MarkdownString(paragraph)),
    renderOptions: { after: { contentText: found.text } },
  };
}
