/** A session file on this machine, read in pieces through one descriptor: what was opened stays readable to the end. */

import * as fs from "node:fs/promises";
import type { ReadAt } from "../shared/mcap_bytes";
import * as texts from "./replay_texts";

/** What became of the path since the file was opened. */
export type Fate = "there" | "replaced" | "removed";

export class SessionFile implements ReadAt {
  readonly path: string;
  readonly #handle: fs.FileHandle;
  /** As far as the file is known to reach. */
  #end = 0;
  #closed = false;

  private constructor(path: string, handle: fs.FileHandle) {
    this.path = path;
    this.#handle = handle;
  }

  /** Rejects with a sentence. A pipe or a device is not opened: it may never answer. */
  static async open(path: string): Promise<SessionFile> {
    try {
      if (!(await fs.stat(path)).isFile()) throw new Error(texts.notAFile(path));
      return new SessionFile(path, await fs.open(path, "r"));
    } catch (error) {
      throw sentenceOf(error, path);
    }
  }

  async size(): Promise<number> {
    return (this.#end = (await this.#whileOpen(() => this.#handle.stat())).size);
  }

  /** No more memory than there are bytes is taken, whatever length is asked for. */
  async read(offset: number, length: number): Promise<Uint8Array> {
    const end = offset + length <= this.#end ? this.#end : await this.size();
    const there = Math.max(0, Math.min(length, end - offset));
    const bytes = new Uint8Array(there);
    let filled = 0;
    while (filled < there) {
      const { bytesRead } = await this.#whileOpen(() => this.#handle.read(bytes, filled, there - filled, offset + filled));
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    return filled === there ? bytes : bytes.subarray(0, filled);
  }

  /** A file that was cut short counts as replaced: what was read of it is no longer true. */
  async fate(knownSize: number): Promise<Fate> {
    try {
      const [now, opened] = await Promise.all([fs.stat(this.path), this.#whileOpen(() => this.#handle.stat())]);
      return now.ino === opened.ino && now.dev === opened.dev && opened.size >= knownSize ? "there" : "replaced";
    } catch (error) {
      return codeOf(error) === "ENOENT" ? "removed" : "there";
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#handle.close().catch(() => undefined);
  }

  async #whileOpen<T>(use: () => Promise<T>): Promise<T> {
    if (this.#closed) throw new Error(texts.fileClosed(this.path));
    try {
      return await use();
    } catch (error) {
      throw this.#closed ? new Error(texts.fileClosed(this.path)) : sentenceOf(error, this.path);
    }
  }
}

/** The system's error in words, with its code kept. */
function sentenceOf(error: unknown, path: string): Error {
  const code = codeOf(error);
  if (code === null) return error instanceof Error ? error : new Error(String(error));
  const sentence = code === "ENOENT" ? texts.noSession(path) : texts.unreadableSession(path, code);
  return Object.assign(new Error(sentence), { code });
}

function codeOf(error: unknown): string | null {
  const code = error instanceof Error && "code" in error ? error.code : null;
  return typeof code === "string" ? code : null;
}
