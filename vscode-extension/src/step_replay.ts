/** Runs a kept step of a session again, under the debugger. */

import * as fs from "node:fs/promises";
import * as path from "node:path";
import * as vscode from "vscode";
import type { Condition } from "../shared/session";
import { CARRIED_CONDITIONS } from "./conditions";
import * as texts from "./replay_texts";

const DEBUG_TYPE = "debugpy";
const ENTRY = /^[\p{L}_][\p{L}\p{N}_]*(\.[\p{L}_][\p{L}\p{N}_]*)*:[\p{L}_][\p{L}\p{N}_]*(\.[\p{L}_][\p{L}\p{N}_]*)*$/u;

/** What a replay needs of the window: what was typed before, and the conditions that are set in the panel. */
export interface ReplaySurroundings {
  readonly memory: vscode.Memento;
  conditions(): readonly Condition[];
}

/** Rejects with a sentence where the step cannot be run again. */
export async function replayStep(place: string, step: number, around: ReplaySurroundings): Promise<void> {
  if (!vscode.workspace.isTrusted) throw new Error(texts.untrusted());
  if (!path.isAbsolute(place)) throw new Error(texts.replayNotHere(place));
  const kept = await keptSteps(place);
  if (!kept.includes(step)) throw new Error(texts.stepNotKept(step, kept));
  if (!debuggerIsThere()) throw new Error(texts.noDebugger());
  const folder = folderOf(place);
  const entry = rememberedEntry(folder, around.memory) ?? (await askEntry(folder, around.memory));
  if (entry === null) return;
  const launch = launchOf({ place, step, entry, folder, conditions: around.conditions() });
  if (!(await vscode.debug.startDebugging(folder, launch))) throw new Error(texts.replayNotStarted());
}

/** Numbers of the steps that lie beside a session, in order. */
export async function keptSteps(place: string): Promise<readonly number[]> {
  const entries = await fs.readdir(`${place}.steps`, { withFileTypes: true }).catch(() => []);
  const numbers = entries.map((entry) => (entry.isDirectory() ? (/^step-(\d+)$/.exec(entry.name)?.[1] ?? null) : null));
  return numbers.filter((each) => each !== null).map(Number).sort((a, b) => a - b);
}

interface Replay {
  readonly place: string;
  readonly step: number;
  readonly entry: string;
  readonly folder: vscode.WorkspaceFolder | undefined;
  readonly conditions: readonly Condition[];
}

/** Without `python`: the interpreter is the one that is selected, as for any launch. */
function launchOf({ place, step, entry, folder, conditions }: Replay): vscode.DebugConfiguration {
  const enabled = conditions.filter((condition) => condition.enabled !== false);
  const stops = enabled.length > 0 ? ["--conditions", JSON.stringify(enabled)] : [];
  return {
    type: DEBUG_TYPE,
    request: "launch",
    name: texts.replayName(step),
    module: "gradwatch",
    args: ["replay", place, "--step", String(step), "--entry", entry, ...stops],
    cwd: folder?.uri.fsPath ?? path.dirname(place),
    [CARRIED_CONDITIONS]: conditions,
  };
}

/** The folder whose code made the session. */
function folderOf(place: string): vscode.WorkspaceFolder | undefined {
  return vscode.workspace.getWorkspaceFolder(vscode.Uri.file(place)) ?? vscode.workspace.workspaceFolders?.[0];
}

/** Asks for the entry of the folder that a session, or the window, belongs to. */
export async function setReplayEntry(place: string | null, memory: vscode.Memento): Promise<void> {
  const folder = place === null ? vscode.workspace.workspaceFolders?.[0] : folderOf(place);
  const entry = await askEntry(folder, memory);
  if (entry !== null) void vscode.window.showInformationMessage(texts.entrySet(entry));
}

function entryKey(folder: vscode.WorkspaceFolder | undefined): string {
  return `gradwatch.replayEntry ${folder?.uri.toString() ?? ""}`;
}

function rememberedEntry(folder: vscode.WorkspaceFolder | undefined, memory: vscode.Memento): string | null {
  const stored: unknown = memory.get(entryKey(folder));
  return typeof stored === "string" && ENTRY.test(stored) ? stored : null;
}

/** Null where the user gave none. */
async function askEntry(folder: vscode.WorkspaceFolder | undefined, memory: vscode.Memento): Promise<string | null> {
  const typed = await vscode.window.showInputBox({
    title: texts.entryTitle(),
    prompt: texts.entryPrompt(),
    placeHolder: texts.entryPlaceholder(),
    value: rememberedEntry(folder, memory) ?? "",
    ignoreFocusOut: true,
    validateInput: (text) => (ENTRY.test(text.trim()) ? null : texts.entryInvalid()),
  });
  const entry = typed?.trim() ?? "";
  if (!ENTRY.test(entry)) return null;
  await memory.update(entryKey(folder), entry);
  return entry;
}

/** Whoever contributes the debug type: the Python Debugger extension. */
function debuggerIsThere(): boolean {
  return vscode.extensions.all.some(({ packageJSON }) => {
    const contributed: unknown = (packageJSON as { contributes?: { debuggers?: unknown } } | undefined)?.contributes?.debuggers;
    return Array.isArray(contributed) && contributed.some((each: { type?: unknown } | null) => each?.type === DEBUG_TYPE);
  });
}
