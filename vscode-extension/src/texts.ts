/** What the host says to the user, in one place, ready for translation. */

import { l10n } from "vscode";

export function notStopped(): string {
  return l10n.t("The program is not stopped in this debug session.");
}

export function wentOn(): string {
  return l10n.t("The program went on before the answer came.");
}

export function noAnswer(ms: number): string {
  return l10n.t(
    "No answer after {0} s. The question still waits on the stopped thread, perhaps for a lock that a suspended thread holds. Continue the program, or set PYDEVD_UNBLOCK_THREADS_TIMEOUT=1 in its environment.",
    Math.round(ms / 1000),
  );
}

export function notAnAnswer(text: string): string {
  return /^['"]\{/.test(text)
    ? l10n.t("The debugger returns text quoted and cut. A newer debugpy is needed: pip install --upgrade debugpy")
    : l10n.t("The debugged program answered something else: {0}", text.slice(0, 200));
}

/** Debuggers say these when a stop ends while they are asked; they do not say what the adapter can. */
export function isPassing(message: string): boolean {
  return /Unable to find thread|Wrong ID sent|quoted and cut|went on before|cancel/i.test(message);
}

export function cannotStep(): string {
  return l10n.t("The debugged program did not accept the step to the next node.");
}

export function frameHidden(name: string): string {
  return l10n.t("{0} is not in the call stack that the debugger shows. Set justMyCode to false to list library frames.", name);
}

export function noSuchFile(file: string): string {
  return l10n.t("{0} cannot be read on this machine. Where the program runs elsewhere, pathMappings of the debug configuration say where its files are here.", file);
}

export function noDebugSession(): string {
  return l10n.t("No debug session that runs Python.");
}

export function noRequest(method: string): string {
  return l10n.t("The panel asked for {0}, which this version does not know. Reload the window.", method);
}

export function copyFailed(reason: string): string {
  return l10n.t("The copy in this extension could not be made importable: {0}", reason);
}

export function normPrompt(): string {
  return l10n.t("Stop when the L2 norm of any gradient exceeds");
}

export function normInvalid(): string {
  return l10n.t("A finite number above 0, such as 1e3.");
}

export function heldTotal(size: string, count: number): string {
  return count === 1 ? l10n.t("{0} held for backward by 1 saved tensor", size) : l10n.t("{0} held for backward by {1} saved tensors", size, count);
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
