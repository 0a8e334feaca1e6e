/** Recorded sessions in this window: their editors, their source texts, and their commands. */

import * as vscode from "vscode";
import type { ReplayCommand } from "../shared/replay";
import type { ReplayPages } from "./commands";
import { chooseAndOpen, openFolderOfRanks, openRecording, recordingOf, type RunningRecording } from "./open_session";
import { RecentSessions } from "./recent_sessions";
import { RecordedTexts } from "./recorded_text";
import { replayDoors } from "./replay_doors";
import * as texts from "./replay_texts";
import { SessionEditors } from "./session_editors";
import type { Sessions } from "./sessions";
import { setReplayEntry } from "./step_replay";
import { messageOf } from "./texts";

/** Commands that the page of a session carries out, because only it knows where it stands. */
const IN_PAGE: Readonly<Record<string, ReplayCommand>> = {
  "gradwatch.nextStep": "nextStep",
  "gradwatch.previousStep": "previousStep",
  "gradwatch.forwardSteps": "forwardSteps",
  "gradwatch.backSteps": "backSteps",
  "gradwatch.firstStep": "firstStep",
  "gradwatch.lastStep": "lastStep",
  "gradwatch.nextMark": "nextMark",
  "gradwatch.previousMark": "previousMark",
  "gradwatch.play": "play",
  "gradwatch.follow": "follow",
  "gradwatch.compare": "compare",
  "gradwatch.replayStep": "replayStep",
};

/** Where the keyboard is decides whether a command is the panel's or an editor's. */
export class Replay implements ReplayPages, vscode.Disposable {
  readonly editors: SessionEditors;
  readonly #recent: RecentSessions;
  readonly #sessions: Sessions;
  readonly #memory: vscode.Memento;
  readonly #panelHasKeys: () => boolean;
  readonly #parts: vscode.Disposable;

  constructor(context: vscode.ExtensionContext, sessions: Sessions, panelHasKeys: () => boolean) {
    const recorded = new RecordedTexts();
    this.#recent = new RecentSessions(context.globalState);
    this.#sessions = sessions;
    this.#memory = context.workspaceState;
    this.#panelHasKeys = panelHasKeys;
    const conditions = () => sessions.selected?.root.conditions ?? [];
    const shared = { recent: this.#recent, recorded, memory: context.workspaceState, conditions };
    this.editors = new SessionEditors(context.extensionUri, (editor) => replayDoors(editor, shared), (uri) => this.#recent.add(uri));
    this.#parts = vscode.Disposable.from(this.editors.register(), recorded.register(), this.#registerInPage(), this.#registerOwn());
  }

  dispose(): void {
    this.#parts.dispose();
  }

  takes(name: ReplayCommand): boolean {
    return !this.#panelHasKeys() && this.editors.command(name);
  }

  #registerInPage(): vscode.Disposable {
    const run = (name: ReplayCommand): void => {
      if (!this.editors.command(name)) void vscode.window.showWarningMessage(`gradwatch: ${texts.noEditor()}`);
    };
    return vscode.Disposable.from(...Object.entries(IN_PAGE).map(([command, name]) => vscode.commands.registerCommand(command, () => run(name))));
  }

  #registerOwn(): vscode.Disposable {
    const choose = (): Promise<void> => chooseAndOpen(recordingOf(this.#sessions.selected), this.#recent);
    const own: Readonly<Record<string, (given: unknown) => Promise<void>>> = {
      "gradwatch.openSession": (given) => (isRecording(given) ? openRecording(given, choose) : choose()),
      "gradwatch.openSessionFolder": (given) => openFolderOfRanks(given instanceof vscode.Uri ? given : null),
      "gradwatch.setReplayEntry": () => setReplayEntry(this.#activeFile(), this.#memory),
    };
    return vscode.Disposable.from(...Object.entries(own).map(([command, run]) => vscode.commands.registerCommand(command, (given: unknown) => warned(() => run(given)))));
  }

  #activeFile(): string | null {
    const uri = this.editors.active?.uri;
    return uri?.scheme === "file" ? uri.fsPath : null;
  }
}

function isRecording(given: unknown): given is RunningRecording {
  return typeof given === "object" && given !== null && "path" in given && "uri" in given;
}

async function warned(run: () => Promise<void>): Promise<void> {
  try {
    await run();
  } catch (error) {
    void vscode.window.showWarningMessage(`gradwatch: ${messageOf(error)}`);
  }
}
