/** Wires the rooms together: debug adapters, sessions, the panel, recorded sessions, decorations, commands. */

import * as vscode from "vscode";
import { decodeColumns } from "../shared/answer";
import type { Snapshot } from "../shared/session";
import type { PanelSettings, ToHost } from "../shared/messages";
import { registerCommands } from "./commands";
import { watchDebugAdapters } from "./debug_adapter";
import type { Debuggee } from "./debuggee";
import { HeldDecorations } from "./decorations";
import { FindingDecorations } from "./finding_decorations";
import { Measurements } from "./measurements";
import type { Measurement } from "./measurements";
import { Panel } from "./panel";
import { PanelFeed, delayOf } from "./panel_feed";
import { Replay } from "./replay";
import { requestHandlers, respond } from "./requests";
import type { ReplayPaint } from "./session_editors";
import { Sessions } from "./sessions";
import type { Onlooker } from "./sessions";
import { ShippedCopy } from "./shipped_copy";
import type { SnapshotText } from "./stop";

/** What another extension, or a test, can read of this one. */
export interface Exports {
  readonly measurements: readonly Measurement[];
  /** Of the pages of recorded sessions. */
  readonly paints: readonly ReplayPaint[];
}

export function activate(context: vscode.ExtensionContext): Exports {
  const extension = new Extension(context);
  context.subscriptions.push(extension);
  return { measurements: extension.measurements.list, paints: extension.replay.editors.paints };
}

class Extension implements vscode.Disposable, Onlooker {
  readonly measurements = new Measurements();
  readonly replay: Replay;
  readonly #panel: Panel;
  readonly #feed: PanelFeed;
  readonly #sessions: Sessions;
  readonly #decorations = new HeldDecorations();
  readonly #found = new FindingDecorations();
  readonly #parts: vscode.Disposable;
  readonly #contextKeys = new Map<string, boolean>();
  #publishing: ReturnType<typeof setTimeout> | null = null;
  #publishScheduled = false;
  #decorated: SnapshotText | null = null;

  constructor(context: vscode.ExtensionContext) {
    this.#panel = new Panel(context.extensionUri, {
      visibilityChanged: (visible) => this.#visibilityChanged(visible),
      received: (message) => void this.#received(message),
    });
    this.#feed = new PanelFeed((message) => this.#panel.post(message), () => this.looking);
    this.#sessions = new Sessions(new ShippedCopy(vscode.Uri.joinPath(context.extensionUri, "dist", "python").fsPath), this);
    this.replay = new Replay(context, this.#sessions, () => this.#contextKeys.get("gradwatch.keys") === true);
    this.#parts = vscode.Disposable.from(
      watchDebugAdapters(this.#sessions),
      this.#panel.register(),
      this.replay,
      registerCommands(this.#sessions, this.#panel, this.replay),
      vscode.debug.onDidChangeActiveDebugSession((session) => session && this.#sessions.follow(session.id)),
      vscode.workspace.onDidChangeConfiguration((event) => event.affectsConfiguration("gradwatch") && this.changed()),
    );
  }

  dispose(): void {
    this.#parts.dispose();
    this.#decorations.dispose();
    this.#found.dispose();
    if (this.#publishing !== null) clearTimeout(this.#publishing);
  }

  // Onlooker

  get looking(): boolean {
    return this.#panel.visible;
  }

  get budgetMs(): number {
    return this.#settings().budgetMs;
  }

  /** Several changes of one turn are told once: "stopped" and "reading" come together. */
  changed(): void {
    const delay = delayOf(this.#sessions.selected);
    if (delay > 0) {
      this.#publishing ??= setTimeout(() => this.#publish(), delay);
    } else if (!this.#publishScheduled) {
      this.#publishScheduled = true;
      queueMicrotask(() => this.#publish());
    }
  }

  answered(debuggee: Debuggee, answer: SnapshotText): void {
    this.measurements.answered(debuggee.id, answer);
    if (this.#sessions.selected === debuggee) this.#feed.snapshot(debuggee, answer);
  }

  forget(session: string): void {
    this.#feed.forget(session);
  }

  #publish(): void {
    if (this.#publishing !== null) clearTimeout(this.#publishing);
    this.#publishing = null;
    this.#publishScheduled = false;
    this.#feed.publish(this.#sessions, this.#settings());
    this.#setContext("gradwatch.stopped", this.#sessions.selected?.isStopped === true);
    this.#setContext("gradwatch.inBackward", this.#sessions.selected?.inBackward === true);
    this.#decorate();
  }

  #decorate(): void {
    const debuggee = this.#sessions.selected;
    const { activity } = debuggee?.state ?? { activity: null };
    const ready = activity?.kind === "stopped" && activity.outcome.kind === "ready";
    const reading = activity?.kind === "stopped" && activity.outcome.kind === "reading";
    const answer = debuggee !== null && ready && this.#settings().decorations ? debuggee.answer : null;
    if (answer === this.#decorated || reading) return;
    this.#decorated = answer;
    // The reply was parsed when it came: only its columns are still encoded.
    if (debuggee === null || answer === null) {
      this.#decorations.clear();
      this.#found.clear();
      return;
    }
    const snapshot = decodeColumns(answer.value) as Snapshot;
    this.#found.show(snapshot, debuggee.adapter.session);
    this.#decorations.show(snapshot, debuggee.adapter.session);
  }

  #setContext(key: string, value: boolean): void {
    if (this.#contextKeys.get(key) === value) return;
    this.#contextKeys.set(key, value);
    void vscode.commands.executeCommand("setContext", key, value);
  }

  #settings(): PanelSettings {
    const settings = vscode.workspace.getConfiguration("gradwatch");
    return { decorations: settings.get<boolean>("heldDecorations", true), budgetMs: settings.get<number>("budgetMs", 2000) };
  }

  #visibilityChanged(visible: boolean): void {
    if (visible) this.#sessions.look();
    else this.#setContext("gradwatch.keys", false);
    this.changed();
  }

  async #received(message: ToHost): Promise<void> {
    switch (message.type) {
      case "ready":
        this.#feed.reset();
        this.#visibilityChanged(this.looking);
        break;
      case "focus":
        this.#setContext("gradwatch.keys", message.keys);
        break;
      case "painted":
        this.measurements.painted(message.session, message.stop, message.parts);
        break;
      case "request":
        this.#panel.post(await respond(requestHandlers(this.#sessions), message));
        break;
    }
  }
}
