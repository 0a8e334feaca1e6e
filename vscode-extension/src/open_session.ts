/** Opens recorded sessions in their editor: from the palette, the explorer, and the panel while a program records. */

import * as fs from "node:fs/promises";
import * as vscode from "vscode";
import { browseFolder, chooseRun, chooseSession } from "./choose_session";
import type { Debuggee } from "./debuggee";
import type { RecentSessions } from "./recent_sessions";
import * as texts from "./replay_texts";
import { EDITOR } from "./session_editors";
import { localUri } from "./sources";

/** A file that a debugged program records into, by its own path and by ours. */
export interface RunningRecording {
  readonly path: string;
  readonly uri: vscode.Uri;
}

/** Null where the program records nothing, or has not said so yet. */
export function recordingOf(debuggee: Debuggee | null): RunningRecording | null {
  const path = debuggee?.answer?.value.recording?.path;
  return debuggee === null || path === undefined || path === "" ? null : { path, uri: localUri(path, debuggee.adapter.session) };
}

/** A session that is still written opens at its end and follows it: its page does so by itself. */
export async function openSession(uri: vscode.Uri): Promise<void> {
  await vscode.commands.executeCommand("vscode.openWith", uri, EDITOR);
}

/** What the panel shows is opened at once, else the user chooses. */
export async function openRecording(recording: RunningRecording | null, choose: () => Promise<void>): Promise<void> {
  if (recording === null) return choose();
  if (await isHere(recording.uri)) return openSession(recording.uri);
  const asked = await vscode.window.showWarningMessage(texts.notReachable(recording.path), texts.copyPathButton(), texts.browseButton());
  if (asked === texts.copyPathButton()) await vscode.env.clipboard.writeText(recording.path);
  else if (asked === texts.browseButton()) await choose();
}

/** From the palette: what is being recorded first, then what was opened before, then the file system. */
export async function chooseAndOpen(recording: RunningRecording | null, recent: RecentSessions): Promise<void> {
  const here = recording !== null && (await isHere(recording.uri)) ? recording.uri : null;
  const uri = await chooseSession({ title: texts.chooseSession(), beside: null, recording: here }, recent);
  if (uri !== null) await openSession(uri);
}

/** From the palette, or with the folder that was clicked in the explorer. */
export async function openFolderOfRanks(clicked: vscode.Uri | null): Promise<void> {
  const uri = clicked === null ? await browseFolder(null) : await chooseRun(clicked);
  if (uri !== null) await openSession(uri);
}

async function isHere(uri: vscode.Uri): Promise<boolean> {
  if (uri.scheme !== "file") return false;
  return (await fs.stat(uri.fsPath).catch(() => null))?.isFile() === true;
}
