/** Asks Python why a gradient of a recorded session is as it is: `gradwatch why FILE NAME --json`. */

import { execFile } from "node:child_process";
import * as path from "node:path";
import * as vscode from "vscode";
import * as texts from "./replay_texts";

const TIMEOUT_MS = 60_000;
const MOST_BYTES = 4 << 20;

/** One sentence after the other, each with its fix. Rejects with a sentence that says how to ask by hand. */
export async function askWhy(place: string, name: string, python: string | null = null): Promise<string> {
  if (!vscode.workspace.isTrusted) throw new Error(texts.whyUntrusted());
  if (!path.isAbsolute(place)) throw new Error(texts.whyByHand(place, name));
  const interpreter = python ?? (await selectedInterpreter(vscode.Uri.file(place)));
  const answer = await run(interpreter, ["-m", "gradwatch", "why", place, name, "--json"], path.dirname(place)).catch((error: unknown) => {
    throw new Error(texts.whyFailed(interpreter, place, name, lastLine(error)));
  });
  return whyWords(answer) ?? texts.whyNothing(name);
}

/** What the answer says, wherever in it findings stand; null where there is none. */
export function whyWords(answer: string): string | null {
  let parsed: unknown;
  try {
    parsed = JSON.parse(answer);
  } catch {
    return null;
  }
  const sentences = [...new Set(findingsIn(parsed).map(({ sentence, fix }) => (fix === "" ? sentence : `${sentence} ${texts.fix(fix)}`)))];
  return sentences.length === 0 ? null : sentences.join("\n");
}

interface Said {
  readonly sentence: string;
  readonly fix: string;
}

function findingsIn(value: unknown): Said[] {
  if (Array.isArray(value)) return value.flatMap(findingsIn);
  if (typeof value !== "object" || value === null) return [];
  const { sentence, fix } = value as { sentence?: unknown; fix?: unknown };
  if (typeof sentence === "string" && sentence !== "") return [{ sentence, fix: typeof fix === "string" ? fix : "" }];
  return Object.values(value).flatMap(findingsIn);
}

function run(file: string, args: readonly string[], cwd: string): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(file, [...args], { cwd, timeout: TIMEOUT_MS, maxBuffer: MOST_BYTES, windowsHide: true }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(Object.assign(error, { said: stderr }));
    });
  });
}

/** A command line's own words about what went wrong come last. */
function lastLine(error: unknown): string {
  const said = String((error as { said?: unknown }).said ?? "").trim();
  return said.split("\n").at(-1) || (error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error));
}

/** What the Python extension has chosen, else what its setting says, else what the path has. */
async function selectedInterpreter(near: vscode.Uri): Promise<string> {
  const extension = vscode.extensions.getExtension<PythonExports>("ms-python.python");
  const active = extension?.isActive ? extension.exports?.environments?.getActiveEnvironmentPath?.(near)?.path : undefined;
  if (active !== undefined && path.isAbsolute(active)) return active;
  const set = vscode.workspace.getConfiguration("python", near).get<string>("defaultInterpreterPath", "");
  if (path.isAbsolute(set)) return set;
  return process.platform === "win32" ? "python" : "python3";
}

/** The part of the Python extension's interface that is used. */
interface PythonExports {
  readonly environments?: { getActiveEnvironmentPath?(near: vscode.Uri): { readonly path: string } | undefined };
}
