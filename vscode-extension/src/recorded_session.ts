/** A recorded session is shown by the command line, in a terminal of this window. */

import * as vscode from "vscode";

export async function openRecordedSession(): Promise<void> {
  const [file] = (await vscode.window.showOpenDialog({ filters: { gradwatch: ["gradwatch"] } })) ?? [];
  if (file === undefined) return;
  const terminal = vscode.window.createTerminal({ name: "gradwatch" });
  terminal.show();
  terminal.sendText(`gradwatch show ${shellQuoted(file.fsPath, vscode.env.shell)}`);
}

/** One argument for the shell that the terminal runs: PowerShell and cmd on Windows, POSIX shells elsewhere. */
export function shellQuoted(text: string, shell: string): string {
  if (/cmd(\.exe)?$/i.test(shell)) return `"${text}"`;
  const quote = /(powershell|pwsh)(\.exe)?$/i.test(shell) ? "''" : "'\\''";
  return `'${text.replaceAll("'", quote)}'`;
}
