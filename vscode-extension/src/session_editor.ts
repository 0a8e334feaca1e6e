/** One editor of a recorded session: its page, the open files behind it, and the watch on those that still grow. */

import * as zlib from "node:zlib";
import * as vscode from "vscode";
import type { Unpacker } from "../shared/mcap_bytes";
import { bestDecompress, type NodeZlib } from "../shared/mcap_zstd";
import type { FromReplay, ReplayCommand, ReplayDoors, SessionFacts, SessionSource, ToReplay } from "../shared/replay";
import { ReplaySource } from "../shared/replay_source";
import { pageDocument } from "./page_document";
import * as texts from "./replay_texts";
import { closeFiles, namesIn, openFiles, type OpenFiles } from "./session_files";
import { SessionTail } from "./session_tail";
import { messageOf } from "./texts";

/** Between looks for a file that is not there, or for a rank's file that came later. */
const LOOK_AGAIN_MS = 1000;

/** What the editor tells the rest of the extension. */
export interface EditorEvents {
  keysChanged(editor: SessionEditor, keys: boolean): void;
  opened(editor: SessionEditor): void;
  painted(step: number, ms: number): void;
  disposed(editor: SessionEditor): void;
}

export class SessionEditor {
  readonly uri: vscode.Uri;
  readonly panel: vscode.WebviewPanel;
  readonly #doors: ReplayDoors;
  readonly #events: EditorEvents;
  /** What became known while the page was hidden, in order. */
  readonly #unsent: ToReplay[] = [];
  /** Opened to compare with. */
  readonly #others: OpenFiles[] = [];
  #files: OpenFiles | null = null;
  #source: ReplaySource | null = null;
  #tail: SessionTail | null = null;
  #around: ReturnType<typeof setInterval> | null = null;
  /** Counts openings: what an earlier one still does is dropped. */
  #opening = 0;
  #growing = true;
  #failed = false;
  /** Why, as the page was told last: the same is not told again. */
  #reason = "";
  #disposed = false;

  constructor(uri: vscode.Uri, panel: vscode.WebviewPanel, dist: vscode.Uri, doors: ReplayDoors, events: EditorEvents) {
    this.uri = uri;
    this.panel = panel;
    this.#doors = doors;
    this.#events = events;
    panel.webview.options = { enableScripts: true, localResourceRoots: [dist] };
    panel.onDidDispose(() => this.#dispose());
    panel.onDidChangeViewState(() => this.#viewChanged());
    panel.webview.onDidReceiveMessage((message: unknown) => {
      if (isFromReplay(message)) this.#received(message);
    });
    panel.webview.html = pageDocument(panel.webview, dist, "replay");
  }

  command(name: ReplayCommand): void {
    this.#post({ type: "command", name });
  }

  /** Opens another session for this page; it is closed with the editor. */
  async openOther(uri: vscode.Uri): Promise<readonly SessionSource[]> {
    const opened = await openFiles(uri);
    if (this.#disposed) await closeFiles(opened);
    else this.#others.push(opened);
    return opened.sources;
  }

  #received(message: FromReplay): void {
    switch (message.type) {
      case "ready":
        this.#unsent.length = 0;
        this.#reason = "";
        void this.#open();
        break;
      case "focus":
        this.#events.keysChanged(this, message.keys);
        break;
      case "painted":
        this.#events.painted(message.step, message.ms);
        break;
      case "request":
        if (this.#source !== null) this.#source.receive(message);
        else this.#post({ type: "response", id: message.id, ok: false, error: texts.fileClosed(this.uri.path) });
        break;
    }
  }

  /** From the start: the page is new, or the file is another. Never rejects: what goes wrong becomes `failed`. */
  async #open(): Promise<void> {
    const opening = ++this.#opening;
    await this.#close();
    let files: OpenFiles | null = null;
    try {
      files = await openFiles(this.uri);
      const unpacker = await unpackerHere();
      const sizes = await Promise.all(files.files.map((file) => file.size()));
      if (opening !== this.#opening) return await closeFiles(files);
      this.#begin(files, sizes, unpacker);
    } catch (error) {
      await closeFiles(files);
      if (opening === this.#opening) this.#couldNotOpen(messageOf(error));
    }
  }

  #begin(files: OpenFiles, sizes: readonly number[], unpacker: Unpacker): void {
    this.#files = files;
    this.#source = new ReplaySource(files.sources, files.name, unpacker, this.#doors, (message) => this.#fromSource(message));
    this.#tail = new SessionTail(files.files, sizes, this.#tailEvents());
    this.#source.receive({ type: "ready" });
    this.#watch();
  }

  #couldNotOpen(reason: string): void {
    this.#fromSource({ type: "failed", title: texts.cannotOpen(nameOf(this.uri)), reason });
    this.#watch();
  }

  #fromSource(message: ToReplay): void {
    if (message.type === "failed") return this.#tellFailure(message);
    if (message.type === "opened") this.#opened(message.overview.facts);
    else if (message.type === "grown") this.#growing = stillGrowing(message.facts);
    this.#post(message);
  }

  #tellFailure(message: Extract<ToReplay, { type: "failed" }>): void {
    this.#failed = true;
    if (message.reason !== this.#reason) this.#post(message);
    this.#reason = message.reason;
  }

  #opened(facts: SessionFacts): void {
    this.#failed = false;
    this.#reason = "";
    this.#growing = stillGrowing(facts);
    this.#watch();
    this.#events.opened(this);
  }

  #tailEvents(): ConstructorParameters<typeof SessionTail>[2] {
    const editor = this;
    return {
      get growing() {
        return editor.#growing || editor.#failed;
      },
      grown: async () => this.#source?.refresh(),
      replaced: () => void this.#open(),
      removed: (path) => void vscode.window.showWarningMessage(texts.removedWhileOpen(path)),
    };
  }

  #viewChanged(): void {
    if (this.panel.visible) for (const message of this.#unsent.splice(0)) this.#post(message);
    else this.#events.keysChanged(this, false);
    this.#watch();
  }

  /** While the page is hidden nothing is looked at, and nothing is told. */
  #watch(): void {
    if (this.#around !== null) clearInterval(this.#around);
    this.#around = null;
    if (!this.panel.visible || this.#disposed) return this.#tail?.stop();
    this.#tail?.start();
    const mayCome = this.uri.scheme === "file" && (this.#failed || this.#files?.folder !== null);
    if (mayCome) this.#around = setInterval(() => void this.#lookAround(), LOOK_AGAIN_MS);
  }

  /** The file came back, or another rank began to write. */
  async #lookAround(): Promise<void> {
    const known = this.#files?.sources.map(({ name }) => name).join("\n") ?? "";
    const opening = this.#opening;
    const now = (await namesIn(this.uri)).join("\n");
    if (now !== "" && now !== known && opening === this.#opening && (this.#failed || this.#growing)) await this.#open();
  }

  #post(message: ToReplay): void {
    if (this.#disposed) return;
    if (this.panel.visible || message.type === "response") void this.panel.webview.postMessage(message);
    else this.#unsent.push(message);
  }

  async #close(): Promise<void> {
    const { source, tail, files } = { source: this.#source, tail: this.#tail, files: this.#files };
    this.#source = this.#tail = this.#files = null;
    this.#failed = false;
    this.#growing = true;
    tail?.stop();
    source?.dispose();
    await closeFiles(files);
    await Promise.all(this.#others.splice(0).map(closeFiles));
  }

  #dispose(): void {
    this.#disposed = true;
    this.#opening += 1;
    this.#watch();
    this.#events.disposed(this);
    void this.#close();
  }
}

let unpacker: Promise<Unpacker> | null = null;

/** Node's own zstd and checksum, where its version has them. */
function unpackerHere(): Promise<Unpacker> {
  const own: NodeZlib & { readonly crc32?: (bytes: Uint8Array) => number } = zlib;
  const { crc32 } = own;
  return (unpacker ??= bestDecompress(own).then((decompress) => (crc32 ? { decompress, crc32: (bytes) => crc32(bytes) } : { decompress })));
}

/** A file that could not be opened as a session is watched too: it may only have been begun. */
function stillGrowing({ ranks }: SessionFacts): boolean {
  return ranks.some(({ finished }) => !finished);
}

function nameOf(uri: vscode.Uri): string {
  return uri.path.replace(/^.*\//, "") || uri.path;
}

function isFromReplay(message: unknown): message is FromReplay {
  return typeof message === "object" && message !== null && typeof (message as { type?: unknown }).type === "string";
}
