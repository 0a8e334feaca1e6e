/** One widget's session in this page, shared by all of its views. */

import { KernelFiles } from "./kernel_files";
import { isFromKernel, type WidgetFile, type WidgetModel } from "./messages";

/** What of a view hears that files grew, that bytes are awaited, and what the kernel says. */
export interface SessionListener {
  grown(): void;
  waiting(waits: boolean): void;
  notice(text: string): void;
}

/** Lives from the model's first view to the model's end. */
export class SessionModel {
  readonly files: KernelFiles;
  readonly listeners = new Set<SessionListener>();
  readonly name: string;
  /** What the kernel wanted said, for views that come later. */
  notice = "";

  constructor(private readonly model: WidgetModel) {
    this.name = String(model.get("name") ?? "");
    this.files = new KernelFiles(listedFiles(model.get("files")), (message) => model.send(message), this.#tellWaiting);
    model.on("msg:custom", this.#receive);
    this.ready();
  }

  /** Tells the kernel that its messages are heard, and asks again for what it may not have heard. */
  ready(): void {
    this.model.send({ type: "ready", sizes: this.files.sizes });
    this.files.askAgain();
  }

  end(): void {
    this.model.off("msg:custom", this.#receive);
    this.listeners.clear();
  }

  readonly #tellWaiting = (): void => this.listeners.forEach((listener) => listener.waiting(this.files.waits));

  readonly #receive = (content: unknown, buffers: unknown): void => {
    if (!isFromKernel(content)) return;
    if (content.type === "bytes") {
      const grown = this.files.take(content, firstBuffer(buffers));
      if (grown) this.listeners.forEach((listener) => listener.grown());
    } else if (content.type === "failed") {
      this.files.fail(content);
    } else {
      this.notice = content.text;
      this.listeners.forEach((listener) => listener.notice(content.text));
    }
  };
}

function listedFiles(value: unknown): readonly WidgetFile[] {
  return Array.isArray(value) ? (value as readonly WidgetFile[]) : [];
}

/** Hosts hand buffers over as DataViews, or as ArrayBuffers. */
function firstBuffer(buffers: unknown): Uint8Array {
  const first: unknown = Array.isArray(buffers) ? buffers[0] : undefined;
  if (first instanceof ArrayBuffer) return new Uint8Array(first);
  return ArrayBuffer.isView(first) ? new Uint8Array(first.buffer, first.byteOffset, first.byteLength) : new Uint8Array();
}
