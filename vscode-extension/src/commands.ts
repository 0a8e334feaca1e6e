/** The commands of the palette, the view's title and the keyboard. */

import * as vscode from "vscode";
import type { PanelCommand } from "../shared/messages";
import type { ReplayCommand } from "../shared/replay";
import type { Debuggee } from "./debuggee";
import type { Panel } from "./panel";
import type { Sessions } from "./sessions";
import * as texts from "./texts";

/** Commands that a page carries out, because only it knows what is selected there: the panel, or a session's editor. */
const IN_PAGE: Readonly<Record<string, PanelCommand>> = {
  "gradwatch.showGradients": "gradients",
  "gradwatch.showGraph": "graph",
  "gradwatch.showHeld": "held",
  "gradwatch.filter": "filter",
  "gradwatch.nextTrouble": "nextTrouble",
  "gradwatch.previousTrouble": "previousTrouble",
  "gradwatch.breakHere": "breakHere",
  "gradwatch.showAsTable": "showAsTable",
  "gradwatch.why": "why",
};

/** Editors of recorded sessions, as far as commands are theirs too. */
export interface ReplayPages {
  /** False where it is not theirs: the panel has the focus, or no session is in front. */
  takes(name: ReplayCommand): boolean;
}

type SharedCommand = PanelCommand & ReplayCommand;

const SHARED: ReadonlySet<string> = new Set<SharedCommand>(["gradients", "graph", "held", "filter", "nextTrouble", "previousTrouble", "showAsTable", "why"]);

function isShared(name: PanelCommand): name is SharedCommand {
  return SHARED.has(name);
}

export function registerCommands(sessions: Sessions, panel: Panel, pages: ReplayPages): vscode.Disposable {
  const own: Readonly<Record<string, () => Promise<void> | void>> = {
    "gradwatch.focus": () => panel.focus(),
    "gradwatch.refresh": () => withSelected(sessions, (debuggee) => debuggee.refresh()),
    "gradwatch.stepToNextNode": () => withSelected(sessions, stepToNextNode),
    "gradwatch.useShippedCopy": () => withSelected(sessions, useShippedCopy),
    "gradwatch.breakAtFirstNonFinite": () =>
      withSelected(sessions, (debuggee) => sessions.addCondition(debuggee, { kind: "first non-finite", enabled: true })),
    "gradwatch.breakWhenNormExceeds": () => withSelected(sessions, (debuggee) => breakWhenNormExceeds(sessions, debuggee)),
  };
  const inPanel = Object.entries(IN_PAGE).map(([command, name]) =>
    vscode.commands.registerCommand(command, async () => {
      if (isShared(name) && pages.takes(name)) return;
      if (!panel.visible) await panel.focus();
      panel.post({ type: "command", name });
    }),
  );
  return vscode.Disposable.from(...inPanel, ...Object.entries(own).map(([command, run]) => vscode.commands.registerCommand(command, run)));
}

/** Stops once more at the next node that backward runs. */
export async function stepToNextNode(debuggee: Debuggee): Promise<void> {
  const { reply } = await debuggee.askAtStop({ question: "next node" }, 1000);
  if (reply.kind !== "Conditions") throw new Error(texts.cannotStep());
  await debuggee.goOn();
}

export async function useShippedCopy(debuggee: Debuggee): Promise<void> {
  await debuggee.useShippedCopy();
}

async function breakWhenNormExceeds(sessions: Sessions, debuggee: Debuggee): Promise<void> {
  const value = await vscode.window.showInputBox({
    prompt: texts.normPrompt(),
    value: "1e3",
    validateInput: (text) => (normLimit(text) === null ? texts.normInvalid() : null),
  });
  const limit = value === undefined ? null : normLimit(value);
  if (limit !== null) sessions.addCondition(debuggee, { kind: "norm exceeds", enabled: true, limit });
}

/** Null where the text is not a finite number above 0. */
export function normLimit(text: string): number | null {
  const limit = text.trim() === "" ? Number.NaN : Number(text);
  return Number.isFinite(limit) && limit > 0 ? limit : null;
}

async function withSelected(sessions: Sessions, run: (debuggee: Debuggee) => Promise<void> | void): Promise<void> {
  try {
    if (sessions.selected === null) throw new Error(texts.noDebugSession());
    await run(sessions.selected);
  } catch (error) {
    void vscode.window.showWarningMessage(`gradwatch: ${texts.messageOf(error)}`);
  }
}
