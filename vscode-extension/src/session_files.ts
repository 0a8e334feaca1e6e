/** What an editor shows, from its address: one session file, or the files of all ranks in a folder. */

import * as fs from "node:fs/promises";
import * as path from "node:path";
import * as vscode from "vscode";
import type { ReadAt } from "../shared/mcap_bytes";
import type { SessionSource } from "../shared/replay";
import * as texts from "./replay_texts";
import { SessionFile } from "./session_file";

/** A file that this machine cannot read in pieces is read whole, up to this size. */
export const LARGEST_WHOLE = 256 << 20;
/** Files of a folder that are opened as ranks. */
export const MOST_RANKS = 1024;

const SUFFIX = ".gradwatch";
const RANK_FILE = /^(.*)\.rank(\d+)\.gradwatch$/;

/** Open session files; `files` are those that can grow. */
export interface OpenFiles {
  readonly name: string;
  /** The folder whose files these are; null for a single file. */
  readonly folder: string | null;
  readonly sources: readonly SessionSource[];
  readonly files: readonly SessionFile[];
}

/** Rejects with a sentence that can be shown. */
export async function openFiles(uri: vscode.Uri): Promise<OpenFiles> {
  if (uri.scheme !== "file") return openWhole(uri);
  const there = await fs.stat(uri.fsPath).catch(() => null);
  if (there?.isDirectory()) return openFolder(uri);
  const file = await SessionFile.open(uri.fsPath);
  return { name: path.basename(file.path), folder: null, sources: [sourceOf(file)], files: [file] };
}

export async function closeFiles(opened: OpenFiles | null): Promise<void> {
  await Promise.all((opened?.files ?? []).map((file) => file.close()));
}

function sourceOf(file: SessionFile): SessionSource {
  return { name: path.basename(file.path), place: file.path, source: file };
}

/** Names of the files that would be opened now; empty where there are none. */
export async function namesIn(uri: vscode.Uri): Promise<readonly string[]> {
  const there = await fs.stat(uri.fsPath).catch(() => null);
  if (there?.isDirectory()) return (await runAt(uri))?.names.slice(0, MOST_RANKS) ?? [];
  return there === null ? [] : [path.basename(uri.fsPath)];
}

async function runAt(uri: vscode.Uri): Promise<RunFiles | undefined> {
  const runs = await runsIn(uri.fsPath);
  return runs.find(({ stem }) => stem === runOf(uri)) ?? runs[0];
}

async function openFolder(uri: vscode.Uri): Promise<OpenFiles> {
  const folder = uri.fsPath;
  const run = await runAt(uri);
  if (run === undefined) throw new Error(texts.emptyFolder(folder));
  const paths = run.names.slice(0, MOST_RANKS).map((name) => path.join(folder, name));
  const opened = await Promise.all(paths.map((each) => SessionFile.open(each).catch((error: unknown) => unopened(each, error))));
  const files = opened.filter((each) => each instanceof SessionFile);
  if (files.length === 0) await opened[0]?.size();
  const sources = opened.map((source, i) => ({ name: path.basename(paths[i]!), place: paths[i]!, source }));
  return { name: run.stem === "" ? path.basename(folder) : run.stem, folder, sources, files };
}

/** One rank that cannot be read does not hide the others: it says why in its own place. */
function unopened(file: string, error: unknown): ReadAt {
  const fail = (): Promise<never> => Promise.reject(error instanceof Error ? error : new Error(texts.unreadableSession(file, String(error))));
  return { size: fail, read: fail };
}

/** Rank files of one run, in rank order; `stem` is "" for files that do not name their rank. */
export interface RunFiles {
  readonly stem: string;
  readonly names: readonly string[];
}

/** The newest run first; files that name no rank last. */
export async function runsIn(folder: string): Promise<readonly RunFiles[]> {
  const names = (await sessionNames(folder)).sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  const stems = new Map<string, string[]>();
  for (const name of names) {
    const stem = RANK_FILE.exec(name)?.[1] ?? "";
    stems.set(stem, [...(stems.get(stem) ?? []), name]);
  }
  const dated = [...stems].map(async ([stem, found]) => ({ stem, names: found, at: stem === "" ? -1 : await changedAt(path.join(folder, found[0]!)) }));
  return (await Promise.all(dated)).sort((a, b) => b.at - a.at);
}

async function changedAt(file: string): Promise<number> {
  return (await fs.stat(file).catch(() => null))?.mtimeMs ?? 0;
}

/** Names of the session files in a folder; none where it cannot be read. */
export async function sessionNames(folder: string): Promise<string[]> {
  const entries = await fs.readdir(folder, { withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => !entry.isDirectory() && entry.name.endsWith(SUFFIX)).map((entry) => entry.name);
}

/** The address of one run among several in a folder. */
export function uriOfRun(folder: vscode.Uri, stem: string): vscode.Uri {
  return stem === "" ? folder : folder.with({ query: `run=${encodeURIComponent(stem)}` });
}

function runOf(uri: vscode.Uri): string | null {
  return new URLSearchParams(uri.query).get("run");
}

/** From a virtual file system: it hands over whole files only. */
async function openWhole(uri: vscode.Uri): Promise<OpenFiles> {
  const name = path.posix.basename(uri.path);
  const { size } = await readable(uri, () => vscode.workspace.fs.stat(uri));
  if (size > LARGEST_WHOLE) throw new Error(texts.tooLargeToRead(name, uri.scheme, size, LARGEST_WHOLE));
  const bytes = await readable(uri, () => vscode.workspace.fs.readFile(uri));
  return { name, folder: null, sources: [{ name, place: uri.toString(), source: inMemory(bytes) }], files: [] };
}

async function readable<T>(uri: vscode.Uri, read: () => Thenable<T>): Promise<T> {
  try {
    return await read();
  } catch {
    throw new Error(texts.noSession(uri.toString()));
  }
}

function inMemory(bytes: Uint8Array): ReadAt {
  return { size: async () => bytes.length, read: async (offset, length) => bytes.slice(offset, offset + length) };
}
