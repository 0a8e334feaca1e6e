/** The webview view: its document under a strict content policy, and typed messages in both directions. */

import * as vscode from "vscode";
import type { ToHost, ToPanel } from "../shared/messages";
import { pageDocument } from "./page_document";

export const VIEW = "gradwatch.panel";

export interface PanelEvents {
  visibilityChanged(visible: boolean): void;
  received(message: ToHost): void;
}

/** A hidden view keeps its document, so that showing it is instant and what changed since the last stop is known. */
export class Panel implements vscode.WebviewViewProvider {
  readonly #dist: vscode.Uri;
  readonly #events: PanelEvents;
  #view: vscode.WebviewView | null = null;
  #loaded = false;

  constructor(extension: vscode.Uri, events: PanelEvents) {
    this.#dist = vscode.Uri.joinPath(extension, "dist");
    this.#events = events;
  }

  register(): vscode.Disposable {
    return vscode.window.registerWebviewViewProvider(VIEW, this, { webviewOptions: { retainContextWhenHidden: true } });
  }

  get visible(): boolean {
    return this.#loaded && this.#view?.visible === true;
  }

  post(message: ToPanel): void {
    void this.#view?.webview.postMessage(message);
  }

  async focus(): Promise<void> {
    await vscode.commands.executeCommand(`${VIEW}.focus`);
  }

  resolveWebviewView(view: vscode.WebviewView): void {
    this.#view = view;
    this.#loaded = false;
    view.webview.options = { enableScripts: true, localResourceRoots: [this.#dist] };
    view.onDidChangeVisibility(() => this.#events.visibilityChanged(this.visible));
    view.onDidDispose(() => this.#closed(view));
    view.webview.onDidReceiveMessage((message: unknown) => {
      if (isToHost(message)) this.#received(message);
    });
    view.webview.html = pageDocument(view.webview, this.#dist, "panel");
  }

  #received(message: ToHost): void {
    if (message.type === "ready") this.#loaded = true;
    this.#events.received(message);
  }

  #closed(view: vscode.WebviewView): void {
    if (this.#view !== view) return;
    this.#view = null;
    this.#loaded = false;
    this.#events.visibilityChanged(false);
  }
}

function isToHost(message: unknown): message is ToHost {
  return typeof message === "object" && message !== null && typeof (message as { type?: unknown }).type === "string";
}
