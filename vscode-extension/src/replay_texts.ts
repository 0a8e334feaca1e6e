/** What the host says to the user about recorded sessions, in one place, ready for translation. */

import { l10n } from "vscode";
import { formatBytes } from "../shared/format";

export function notAFile(path: string): string {
  return l10n.t("{0} is not a file. Open a .gradwatch file, or a folder that holds some.", path);
}

export function noSession(path: string): string {
  return l10n.t("{0} is not there, or cannot be reached from where VS Code's extensions run. It opens by itself when it comes back; else close this editor.", path);
}

export function unreadableSession(path: string, code: string): string {
  return l10n.t("{0} cannot be read ({1}). Check its permissions, or copy it to a folder that you may read.", path, code);
}

export function fileClosed(path: string): string {
  return l10n.t("{0} was closed.", path);
}

export function emptyFolder(folder: string): string {
  return l10n.t("{0} holds no .gradwatch file. Sessions come from gradwatch run or gradwatch.watch; under torchrun each rank writes its own.", folder);
}

export function tooLargeToRead(name: string, scheme: string, size: number, limit: number): string {
  return l10n.t(
    "{0} holds {1}, and files of {2}: can only be read whole, which is done up to {3}. Copy it to a folder of this machine and open it there.",
    name,
    formatBytes(size),
    scheme,
    formatBytes(limit),
  );
}

export function cannotOpen(name: string): string {
  return l10n.t("{0} cannot be opened", name);
}

export function removedWhileOpen(path: string): string {
  return l10n.t("{0} was removed. What is open stays readable until its editor is closed.", path);
}

/** Opening and choosing. */

export function chooseSession(): string {
  return l10n.t("Open a recorded session");
}

export function chooseToCompare(): string {
  return l10n.t("Compare with another session");
}

export function chooseRun(folder: string): string {
  return l10n.t("{0} holds several runs", folder);
}

export function runLabel(stem: string, count: number): { readonly label: string; readonly description: string } {
  const ranks = count === 1 ? l10n.t("1 file") : l10n.t("{0} files", count);
  return { label: stem === "" ? l10n.t("Files that name no rank") : stem, description: ranks };
}

export function beingRecorded(): string {
  return l10n.t("being recorded");
}

export function inSameFolder(): string {
  return l10n.t("same folder");
}

export function openedBefore(): string {
  return l10n.t("opened recently");
}

export function browseFile(): string {
  return l10n.t("Browse for a file…");
}

export function browseFolder(): string {
  return l10n.t("Browse for a folder of rank files…");
}

export function openButton(): string {
  return l10n.t("Open");
}

export function copyPathButton(): string {
  return l10n.t("Copy Path");
}

export function browseButton(): string {
  return l10n.t("Browse…");
}

export function notReachable(path: string): string {
  return l10n.t("The program records to {0} where it runs, and that file cannot be read here. Copy it to this machine, or add pathMappings to the debug configuration.", path);
}

export function noEditor(): string {
  return l10n.t("No recorded session is open. Open a .gradwatch file first.");
}

/** Source files. */

export function outsideWorkspace(path: string): string {
  return l10n.t("The session names {0}, which is outside of this workspace. Open it?", path);
}

export function noSource(file: string): string {
  return l10n.t("{0} was not recorded with the session and is not in this workspace.", file);
}

export function notLocal(file: string): string {
  return l10n.t("{0} is not a path on this machine and was not recorded with the session.", file);
}

export function recordedName(base: string): string {
  return l10n.t("(recorded) {0}", base);
}

export function recordedTextGone(): string {
  return l10n.t("This text was shown from a recorded session. Open the line from the session again to see it.");
}

/** Replaying a step. */

export function untrusted(): string {
  return l10n.t("Replaying a step runs code of this workspace. Trust the workspace first (Workspaces: Manage Workspace Trust).");
}

export function noDebugger(): string {
  return l10n.t("Replaying a step needs the debug type debugpy. Install the Python Debugger extension (ms-python.debugpy).");
}

export function stepNotKept(step: number, kept: readonly number[]): string {
  if (kept.length === 0) {
    return l10n.t("Step {0} cannot be run again: this session keeps no step. Record with gradwatch.watch(model, path, keep_steps=100), or gradwatch.replay.KeepSteps(on_nonfinite=True).", step);
  }
  const shown = kept.slice(0, 20).join(", ") + (kept.length > 20 ? " …" : "");
  return l10n.t("Step {0} cannot be run again: it was not kept. Kept are: {1}.", step, shown);
}

export function replayNotHere(place: string): string {
  return l10n.t("A step can only be run again where its session is a file of this machine: {0}.", place);
}

export function entryTitle(): string {
  return l10n.t("Replay step: what builds your model?");
}

export function entryPrompt(): string {
  return l10n.t("module:function, called with nothing, returns model, optimizer, step function as before training. Asked once; Set Replay Entry changes it.");
}

export function entryPlaceholder(): string {
  return "train:build";
}

export function entryInvalid(): string {
  return l10n.t("Write module:function, such as train:build.");
}

export function entrySet(entry: string): string {
  return l10n.t("Steps of sessions in this folder are replayed with {0}.", entry);
}

export function replayName(step: number): string {
  return l10n.t("Replay step {0}", step);
}

export function replayNotStarted(): string {
  return l10n.t("The debugger did not start. Its output says why; the interpreter that is selected must have gradwatch[replay].");
}

export function whyUntrusted(): string {
  return l10n.t("To ask Python why, trust this workspace: its code is run for it.");
}

export function whyByHand(place: string, name: string): string {
  return l10n.t("Ask where the file is: gradwatch why {0} {1}", place, name);
}

export function whyFailed(interpreter: string, place: string, name: string, reason: string): string {
  return l10n.t("{0} could not say why: {1}. Select an interpreter that has gradwatch, or ask in a terminal: gradwatch why {2} {3}", interpreter, reason, place, name);
}

export function whyNothing(name: string): string {
  return l10n.t("Nothing is known against the gradient of {0}.", name);
}

export function fix(words: string): string {
  return l10n.t("Fix: {0}", words);
}
