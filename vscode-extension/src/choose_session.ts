/** Lets the user choose a session: what is near first, then the file system. */

import * as path from "node:path";
import * as vscode from "vscode";
import type { RecentSessions } from "./recent_sessions";
import * as texts from "./replay_texts";
import { runsIn, sessionNames, uriOfRun } from "./session_files";

/** What is offered before the file system is. */
export interface Nearby {
  readonly title: string;
  /** The session beside which another is chosen; it is not offered itself. */
  readonly beside: vscode.Uri | null;
  /** What a debugged program records into now. */
  readonly recording: vscode.Uri | null;
}

interface Choice extends vscode.QuickPickItem {
  readonly open: () => Promise<vscode.Uri | null>;
}

/** Null where nothing was chosen. */
export async function chooseSession(nearby: Nearby, recent: RecentSessions): Promise<vscode.Uri | null> {
  const near = await choicesNear(nearby, recent);
  const browse: Choice[] = [
    { label: texts.browseFile(), iconPath: new vscode.ThemeIcon("file"), open: () => browseFile(nearby.beside) },
    { label: texts.browseFolder(), iconPath: new vscode.ThemeIcon("folder"), open: () => browseFolder(nearby.beside) },
  ];
  const options = { title: nearby.title, matchOnDescription: true, matchOnDetail: true };
  const chosen = await vscode.window.showQuickPick([...near, ...browse], options);
  return (await chosen?.open()) ?? null;
}

async function choicesNear({ beside, recording }: Nearby, recent: RecentSessions): Promise<readonly Choice[]> {
  const found = new Map<string, Choice>();
  const add = (uri: vscode.Uri, description: string): void => {
    const key = uri.toString();
    if (key !== beside?.toString() && !found.has(key)) found.set(key, choiceOf(uri, description));
  };
  if (recording !== null) add(recording, texts.beingRecorded());
  for (const uri of await besides(beside)) add(uri, texts.inSameFolder());
  for (const uri of await recent.here()) add(uri, texts.openedBefore());
  return [...found.values()];
}

function choiceOf(uri: vscode.Uri, description: string): Choice {
  return { label: path.posix.basename(uri.path), description, detail: vscode.workspace.asRelativePath(uri), iconPath: new vscode.ThemeIcon("graph-line"), open: async () => uri };
}

/** The newest names are the likeliest, but dates are not worth a look at each of hundreds of files. */
async function besides(uri: vscode.Uri | null): Promise<readonly vscode.Uri[]> {
  if (uri === null || uri.scheme !== "file") return [];
  const folder = path.dirname(uri.fsPath);
  const names = (await sessionNames(folder)).sort((a, b) => b.localeCompare(a, "en", { numeric: true }));
  return names.slice(0, 50).map((name) => vscode.Uri.file(path.join(folder, name)));
}

async function browseFile(beside: vscode.Uri | null): Promise<vscode.Uri | null> {
  const [file] = (await vscode.window.showOpenDialog({ ...startingAt(beside), filters: { gradwatch: ["gradwatch"] } })) ?? [];
  return file ?? null;
}

export async function browseFolder(beside: vscode.Uri | null): Promise<vscode.Uri | null> {
  const options = { ...startingAt(beside), canSelectFiles: false, canSelectFolders: true };
  const [folder] = (await vscode.window.showOpenDialog(options)) ?? [];
  return folder === undefined ? null : chooseRun(folder);
}

/** The run of a folder: the user chooses where there are several. */
export async function chooseRun(folder: vscode.Uri): Promise<vscode.Uri | null> {
  if (folder.scheme !== "file") return folder;
  const runs = await runsIn(folder.fsPath);
  if (runs.length === 0) throw new Error(texts.emptyFolder(folder.fsPath));
  const files = runs.map((run) => ({ ...run, open: addressOf(folder, run.stem, run.names, runs.length) }));
  if (files.length === 1) return files[0]!.open;
  const items = files.map(({ stem, names, open }) => ({ ...texts.runLabel(stem, names.length), open }));
  return (await vscode.window.showQuickPick(items, { title: texts.chooseRun(folder.fsPath) }))?.open ?? null;
}

/** One file alone is opened as itself. */
function addressOf(folder: vscode.Uri, stem: string, names: readonly string[], runs: number): vscode.Uri {
  if (names.length === 1) return vscode.Uri.joinPath(folder, names[0]!);
  return runs === 1 ? folder : uriOfRun(folder, stem);
}

function startingAt(beside: vscode.Uri | null): { readonly defaultUri?: vscode.Uri } {
  const folder = beside !== null && beside.scheme === "file" ? vscode.Uri.file(path.dirname(beside.fsPath)) : vscode.workspace.workspaceFolders?.[0]?.uri;
  return folder === undefined ? {} : { defaultUri: folder };
}
