/** Source lines that a session names: in the workspace's file where its text is the recorded one, else as recorded. */

import * as fs from "node:fs/promises";
import * as path from "node:path";
import * as vscode from "vscode";
import { candidates, isInside, isLocalPath, isSameText } from "./recorded_paths";
import type { RecordedTexts } from "./recorded_text";
import * as texts from "./replay_texts";

/** Longer files are not source code of anybody. */
const LARGEST_SOURCE = 8 << 20;

/** The lines of the workspace's file; null where it has none, or another text than the recorded one. */
export async function workspaceLines(file: string, recorded: string | null): Promise<readonly string[] | null> {
  const found = await workspaceFile(file, recorded);
  return found === null ? null : found.text.split(/\r?\n/);
}

/** Opens the place in an editor. Rejects with a sentence where there is nothing to show. */
export async function openRecordedSource(recordedTexts: RecordedTexts, place: SourcePlace): Promise<void> {
  const { file, recorded } = place;
  const found = await workspaceFile(file, recorded);
  if (found !== null) return show(vscode.Uri.file(found.path), place);
  if (recorded !== null) return showRecorded(recordedTexts.uriOf(file, recorded), place);
  if (!isLocalPath(file)) throw new Error(texts.notLocal(file));
  await openOutside(place);
}

export interface SourcePlace {
  readonly file: string;
  readonly line: number;
  readonly focus: boolean;
  readonly recorded: string | null;
}

/** A session can name any path: none outside of the workspace is touched before the user has agreed. */
async function openOutside(place: SourcePlace): Promise<void> {
  const agreed = await vscode.window.showWarningMessage(texts.outsideWorkspace(place.file), texts.openButton());
  if (agreed !== texts.openButton()) return;
  try {
    await show(vscode.Uri.file(place.file), place);
  } catch {
    throw new Error(texts.noSource(place.file));
  }
}

async function showRecorded(uri: vscode.Uri, place: SourcePlace): Promise<void> {
  const document = await vscode.workspace.openTextDocument(uri);
  if (/\.py$/i.test(place.file)) await vscode.languages.setTextDocumentLanguage(document, "python").then(undefined, () => undefined);
  await show(uri, place);
}

async function show(uri: vscode.Uri, { line, focus }: SourcePlace): Promise<void> {
  const start = new vscode.Position(Math.max(0, line - 1), 0);
  const viewColumn = besideSession();
  await vscode.window.showTextDocument(uri, { preserveFocus: !focus, preview: true, selection: new vscode.Range(start, start), ...viewColumn });
}

/** Where a text editor is in view already, there; else beside the session, which stays in sight. */
function besideSession(): { readonly viewColumn?: vscode.ViewColumn } {
  const beside = vscode.window.visibleTextEditors.find(({ viewColumn }) => viewColumn !== undefined);
  return { viewColumn: beside?.viewColumn ?? vscode.ViewColumn.Beside };
}

interface WorkspaceFile {
  readonly path: string;
  readonly text: string;
}

async function workspaceFile(file: string, recorded: string | null): Promise<WorkspaceFile | null> {
  const folders = (vscode.workspace.workspaceFolders ?? []).filter(({ uri }) => uri.scheme === "file").map(({ uri }) => uri.fsPath);
  // Without the recorded text a file of the same name elsewhere could be any.
  const places = candidates(file, folders).filter((place) => recorded !== null || place === path.normalize(file));
  for (const place of places) {
    const text = await textAt(place, folders);
    if (text !== null && (recorded === null || isSameText(text, recorded))) return { path: place, text };
  }
  return null;
}

/** As in the editor, unsaved changes included, else as on disk; null where a link leads out of the workspace. */
async function textAt(file: string, folders: readonly string[]): Promise<string | null> {
  const uri = vscode.Uri.file(file).toString();
  // One without changes of the user's own may be older than the file: the editor learns of a change a moment later.
  const changed = vscode.workspace.textDocuments.find((document) => document.isDirty && document.uri.toString() === uri);
  if (changed !== undefined) return changed.getText();
  try {
    const [real, ...realFolders] = await Promise.all([file, ...folders].map((each) => fs.realpath(each)));
    if (real === undefined || !realFolders.some((folder) => isInside(real, folder))) return null;
    const about = await fs.stat(real);
    return about.isFile() && about.size <= LARGEST_SOURCE ? await fs.readFile(real, "utf8") : null;
  } catch {
    return null;
  }
}
