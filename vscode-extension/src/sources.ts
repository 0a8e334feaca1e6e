/** Source files that the debugged program names, on this side: read, and opened in the editor. */

import * as vscode from "vscode";
import type { Requests, SourceLines } from "../shared/messages";
import * as texts from "./texts";

export async function sourceLines(session: vscode.DebugSession | null, place: Requests["sourceLines"]["params"]): Promise<SourceLines> {
  const lines = await readLines(localUri(place.file, session));
  const first = Math.max(1, place.line - place.around);
  return { first, lines: lines.slice(first - 1, place.line + place.around) };
}

/** Beside nothing: in the editor that is there. The panel keeps the focus unless it is given away. */
export async function openSource(session: vscode.DebugSession | null, place: Requests["openSource"]["params"]): Promise<void> {
  const uri = localUri(place.file, session);
  const start = new vscode.Position(Math.max(0, place.line - 1), 0);
  const selection = new vscode.Range(start, start);
  try {
    await vscode.window.showTextDocument(uri, { preserveFocus: !place.focus, preview: true, selection });
  } catch {
    throw new Error(texts.noSuchFile(place.file));
  }
}

/** Text as in the editor, unsaved changes included, else as on disk. */
async function readLines(uri: vscode.Uri): Promise<readonly string[]> {
  const open = vscode.workspace.textDocuments.find((document) => document.uri.toString() === uri.toString());
  if (open !== undefined) return open.getText().split(/\r?\n/);
  try {
    return new TextDecoder().decode(await vscode.workspace.fs.readFile(uri)).split(/\r?\n/);
  } catch {
    throw new Error(texts.noSuchFile(uri.fsPath));
  }
}

/** By the debug configuration's pathMappings, in which the program's files have other paths than here. */
export function localUri(file: string, session: vscode.DebugSession | null): vscode.Uri {
  if (/^[a-z][a-z0-9+.-]+:/i.test(file) && !/^[a-z]:[\\/]/i.test(file)) return vscode.Uri.parse(file);
  for (const { localRoot, remoteRoot } of pathMappings(session)) {
    const inside = remainder(file, remoteRoot);
    if (inside !== null) return vscode.Uri.joinPath(vscode.Uri.file(localRoot), inside);
  }
  return vscode.Uri.file(file);
}

function remainder(file: string, root: string): string | null {
  const folder = root.replace(/[\\/]+$/, "");
  if (folder === "" || folder === "." || !file.startsWith(folder)) return null;
  const rest = file.slice(folder.length);
  return rest === "" || /^[\\/]/.test(rest) ? rest.replaceAll("\\", "/") : null;
}

interface PathMapping {
  readonly localRoot: string;
  readonly remoteRoot: string;
}

function pathMappings(session: vscode.DebugSession | null): readonly PathMapping[] {
  const mappings: unknown = session?.configuration["pathMappings"];
  return Array.isArray(mappings) ? mappings.filter(isPathMapping) : [];
}

function isPathMapping(value: unknown): value is PathMapping {
  const { localRoot, remoteRoot } = (value ?? {}) as Partial<Record<keyof PathMapping, unknown>>;
  return typeof localRoot === "string" && typeof remoteRoot === "string";
}
