/** The custom editor of *.gradwatch files and of folders with rank files: which editors are open, and who has the keys. */

import * as vscode from "vscode";
import type { ReplayCommand, ReplayDoors } from "../shared/replay";
import { SessionEditor, type EditorEvents } from "./session_editor";

export const EDITOR = "gradwatch.session";
const KEYS = "gradwatch.replayKeys";

/** Milliseconds from a message's arrival in the page to the painted step. */
export interface ReplayPaint {
  readonly step: number;
  readonly ms: number;
}

const KEPT_PAINTS = 1000;

/** An address is all that editors of one file share: each has its own page, position and reading. */
class SessionDocument implements vscode.CustomDocument {
  constructor(readonly uri: vscode.Uri) {}
  dispose(): void {}
}

export class SessionEditors implements vscode.CustomReadonlyEditorProvider<SessionDocument>, EditorEvents {
  readonly paints: ReplayPaint[] = [];
  readonly #dist: vscode.Uri;
  readonly #doorsOf: (editor: () => SessionEditor) => ReplayDoors;
  readonly #onOpened: (uri: vscode.Uri) => void;
  readonly #editors = new Set<SessionEditor>();
  #withKeys: SessionEditor | null = null;

  constructor(extension: vscode.Uri, doorsOf: (editor: () => SessionEditor) => ReplayDoors, onOpened: (uri: vscode.Uri) => void) {
    this.#dist = vscode.Uri.joinPath(extension, "dist");
    this.#doorsOf = doorsOf;
    this.#onOpened = onOpened;
  }

  /** A hidden page keeps its document: what a long session was asked is not asked again each time its tab is shown. */
  register(): vscode.Disposable {
    const options = { webviewOptions: { retainContextWhenHidden: true }, supportsMultipleEditorsPerDocument: true };
    return vscode.window.registerCustomEditorProvider(EDITOR, this, options);
  }

  openCustomDocument(uri: vscode.Uri): SessionDocument {
    return new SessionDocument(uri);
  }

  resolveCustomEditor(document: SessionDocument, panel: vscode.WebviewPanel): void {
    const editor: SessionEditor = new SessionEditor(document.uri, panel, this.#dist, this.#doorsOf(() => editor), this);
    this.#editors.add(editor);
  }

  /** The editor that is in front. */
  get active(): SessionEditor | null {
    return [...this.#editors].find(({ panel }) => panel.active) ?? null;
  }

  get haveKeys(): boolean {
    return this.#withKeys !== null;
  }

  /** False where no session is in front. */
  command(name: ReplayCommand): boolean {
    const editor = this.#withKeys ?? this.active;
    editor?.command(name);
    return editor !== null;
  }

  // EditorEvents

  keysChanged(editor: SessionEditor, keys: boolean): void {
    const before = this.haveKeys;
    if (keys) this.#withKeys = editor;
    else if (this.#withKeys === editor) this.#withKeys = null;
    if (before !== this.haveKeys) void vscode.commands.executeCommand("setContext", KEYS, this.haveKeys);
  }

  opened(editor: SessionEditor): void {
    this.#onOpened(editor.uri);
  }

  painted(step: number, ms: number): void {
    this.paints.push({ step, ms });
    if (this.paints.length > KEPT_PAINTS) this.paints.shift();
  }

  disposed(editor: SessionEditor): void {
    this.keysChanged(editor, false);
    this.#editors.delete(editor);
  }
}
