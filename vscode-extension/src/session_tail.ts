/** Watches session files that are being written: their system's notices, and a look at their sizes where none come. */

import { watch, type FSWatcher } from "node:fs";
import type { SessionFile } from "./session_file";

/** Notices do not come over network file systems. */
const LOOK_MS = 100;
/** At most so many refreshes a second. */
const APART_MS = 100;
/** Every so many looks, whether the path still leads to the file. */
const LOOKS_A_FATE = 10;
/** Files whose size is asked at one look: many ranks take turns. */
const FILES_A_LOOK = 64;

/** What the watcher is told; `grown` is awaited, and not called again until it is done. */
export interface TailEvents {
  /** False once all that is written is read: then sizes are not looked at any more. */
  readonly growing: boolean;
  grown(): Promise<void>;
  replaced(): void;
  removed(path: string): void;
}

export class SessionTail {
  readonly #files: readonly SessionFile[];
  readonly #events: TailEvents;
  readonly #sizes = new Map<SessionFile, number>();
  readonly #gone = new Set<SessionFile>();
  #watchers: FSWatcher[] = [];
  #timer: ReturnType<typeof setInterval> | null = null;
  #next: ReturnType<typeof setTimeout> | null = null;
  #looks = 0;
  #grownAt = Number.NEGATIVE_INFINITY;
  #telling = false;
  #looking = false;
  /** Growth that was seen and not told yet. */
  #news = false;

  /** `sizes` is what the files held before they were opened: what came since is news. */
  constructor(files: readonly SessionFile[], sizes: readonly number[], events: TailEvents) {
    this.#files = files;
    this.#events = events;
    files.forEach((file, i) => this.#sizes.set(file, sizes[i] ?? 0));
  }

  /** Begins with a look: what was written while nobody watched is told at once. */
  start(): void {
    if (this.#timer !== null || this.#files.length === 0) return;
    this.#watchers = this.#files.slice(0, FILES_A_LOOK).flatMap((file) => this.#watch(file));
    this.#timer = setInterval(() => void this.#look(), LOOK_MS);
    this.#looks = 0;
    void this.#look();
  }

  stop(): void {
    this.#watchers.forEach((watcher) => watcher.close());
    this.#watchers = [];
    if (this.#timer !== null) clearInterval(this.#timer);
    if (this.#next !== null) clearTimeout(this.#next);
    this.#timer = null;
    this.#next = null;
  }

  #watch(file: SessionFile): FSWatcher[] {
    try {
      const watcher = watch(file.path, { persistent: false }, (event) => (event === "change" ? void this.#lookAt([file]) : void this.#look()));
      watcher.on("error", () => watcher.close());
      return [watcher];
    } catch {
      return [];
    }
  }

  async #look(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    try {
      const turn = this.#looks++;
      if (turn % LOOKS_A_FATE === 0) await this.#fates();
      if (this.#events.growing) await this.#lookAt(this.#turn(turn));
    } finally {
      this.#looking = false;
    }
  }

  #turn(turn: number): readonly SessionFile[] {
    const turns = Math.ceil(this.#files.length / FILES_A_LOOK);
    const from = (turn % turns) * FILES_A_LOOK;
    return this.#files.slice(from, from + FILES_A_LOOK);
  }

  async #lookAt(files: readonly SessionFile[]): Promise<void> {
    const grown = await Promise.all(files.map((file) => this.#hasGrown(file)));
    this.#news ||= grown.includes(true);
    if (this.#news) this.#tellSoon();
  }

  async #hasGrown(file: SessionFile): Promise<boolean> {
    const before = this.#sizes.get(file) ?? 0;
    const size = await file.size().catch(() => before);
    if (size > before) this.#sizes.set(file, size);
    if (size < before && this.#timer !== null) this.#events.replaced();
    return size > before;
  }

  async #fates(): Promise<void> {
    const fates = await Promise.all(this.#files.map((file) => file.fate(this.#sizes.get(file) ?? 0)));
    if (this.#timer === null) return;
    if (fates.includes("replaced")) return this.#events.replaced();
    this.#files.forEach((file, i) => {
      if (fates[i] !== "removed") this.#gone.delete(file);
      else if (!this.#gone.has(file)) {
        this.#gone.add(file);
        this.#events.removed(file.path);
      }
    });
  }

  #tellSoon(): void {
    if (this.#next !== null || this.#timer === null) return;
    this.#next = setTimeout(() => void this.#tell(), Math.max(0, this.#grownAt + APART_MS - performance.now()));
  }

  async #tell(): Promise<void> {
    this.#next = null;
    if (this.#telling) return this.#tellSoon();
    this.#telling = true;
    this.#news = false;
    this.#grownAt = performance.now();
    try {
      await this.#events.grown();
    } finally {
      this.#telling = false;
    }
  }
}
