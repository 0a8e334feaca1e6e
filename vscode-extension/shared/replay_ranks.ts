/** The files of one session, a rank each. Only so many are kept open as fit in memory; the others are opened when asked. */

import type { Unpacker } from "./mcap_bytes";
import type { RecordedSession } from "./recorded_session";
import type { RankItem, SessionSource } from "./replay";
import { ReplayFile, reasonOf } from "./replay_file";
import { replaySourceText as text } from "./text";

/** More files are not opened: each takes a look at its beginning and its end. */
export const MOST_FILES = 1024;
/** Open sessions take this much together, by their index. */
const MOST_OPEN_BYTES = 512 << 20;
/** Of an open session: its recent chunks and tables. */
const BYTES_OPEN = 4 << 20;
const BYTES_PER_CHUNK = 48;
const BYTES_PER_STEP = 200;
const FILES_AT_ONCE = 4;
/** Progress is told in steps of this. */
const TOLD_SHARE = 0.05;

/** Ranks by their number. Throws sentences. */
export class ReplayRanks {
  readonly files: readonly ReplayFile[];
  readonly leftOut: number;
  readonly #shown = new Map<number, ReplayFile>();
  /** Last used last. */
  readonly #open = new Map<ReplayFile, RecordedSession>();

  private constructor(sources: readonly SessionSource[], unpacker: Unpacker) {
    this.files = sources.slice(0, MOST_FILES).map((source) => new ReplayFile(source, unpacker));
    this.leftOut = sources.length - this.files.length;
  }

  /** Opens all. Those that fail say so in `items`. */
  static async open(sources: readonly SessionSource[], unpacker: Unpacker, onProgress: (share: number) => void): Promise<ReplayRanks> {
    const ranks = new ReplayRanks(sources, unpacker);
    const progress = new Progress(ranks.files.length, onProgress);
    const waiting = [...ranks.files.entries()];
    const openSome = async (): Promise<void> => {
      for (let next = waiting.shift(); next; next = waiting.shift()) {
        const [at, file] = next;
        const session = await file.tryOpen((share) => progress.set(at, share));
        if (session) ranks.#keep(file, session);
        progress.set(at, 1);
      }
    };
    await Promise.all(Array.from({ length: FILES_AT_ONCE }, openSome));
    ranks.#settle();
    return ranks;
  }

  /** Ranks that can be shown, ascending. */
  get ranks(): readonly number[] {
    return [...this.#shown.keys()].sort((a, b) => a - b);
  }

  get bytes(): number {
    return this.files.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** Ascending; a file that could not be opened has no rank, -1, and comes last. */
  items(): readonly RankItem[] {
    const items = this.files.map((file): RankItem => {
      const { rank, bytes, finished } = file;
      return { rank, name: file.source.name, bytes, finished, failure: file.failure ?? this.#whyHidden(file) };
    });
    return items.sort((a, b) => place(a) - place(b));
  }

  /** Throws where no file has this rank. */
  file(rank: number): ReplayFile {
    const file = this.#shown.get(rank);
    if (!file) throw new Error(text.noRank(rank));
    return file;
  }

  /** As it was when it was last read. */
  async session(rank: number): Promise<RecordedSession> {
    const file = this.file(rank);
    const session = this.#open.get(file) ?? (await file.open());
    this.#keep(file, session);
    return session;
  }

  /** With what was written since. A file that is another one by now is opened anew. */
  async fresh(rank: number): Promise<RecordedSession> {
    const file = this.file(rank);
    if (file.rests) return this.session(rank);
    if (await file.isAnother()) return this.reopen(file);
    const session = await this.session(rank);
    await session.refresh();
    await file.look(session);
    return session;
  }

  /** Throws where it cannot be opened any more; `failure` says so too, until it can. */
  async reopen(file: ReplayFile): Promise<RecordedSession> {
    this.#open.delete(file);
    try {
      const session = await file.open();
      this.#keep(file, session);
      this.#settle();
      return session;
    } catch (error) {
      file.failure = reasonOf(error);
      throw error;
    }
  }

  /** Opens what could not be opened and was written since; whether there was something. */
  async retry(): Promise<boolean> {
    let opened = false;
    for (const file of this.files) {
      const session = (await file.mayOpenNow()) ? await file.tryOpen() : null;
      if (!session) continue;
      this.#keep(file, session);
      opened = true;
    }
    if (opened) this.#settle();
    return opened;
  }

  close(): void {
    this.#open.clear();
    this.#shown.clear();
  }

  /** Which file stands for a rank: of several the one that was begun last, so that attempts are not mixed. */
  #settle(): void {
    this.#shown.clear();
    for (const file of this.files) {
      if (file.rank < 0) continue;
      const other = this.#shown.get(file.rank);
      if (!other || file.startNs > other.startNs) this.#shown.set(file.rank, file);
    }
  }

  #whyHidden(file: ReplayFile): string | null {
    const shown = this.#shown.get(file.rank);
    return shown && shown !== file ? text.sameRank(file.rank, shown.source.name) : null;
  }

  #keep(file: ReplayFile, session: RecordedSession): void {
    this.#open.delete(file);
    this.#open.set(file, session);
    let bytes = 0;
    for (const one of this.#open.values()) bytes += weight(one);
    for (const [oldest, one] of this.#open) {
      if (bytes <= MOST_OPEN_BYTES || this.#open.size === 1) return;
      this.#open.delete(oldest);
      bytes -= weight(one);
    }
  }
}

/** How far all files together are, in steps that are worth telling. */
class Progress {
  readonly #shares: Float64Array;
  #told = 0;

  constructor(
    files: number,
    private readonly tell: (share: number) => void,
  ) {
    this.#shares = new Float64Array(files);
  }

  set(file: number, share: number): void {
    this.#shares[file] = share;
    const all = this.#shares.reduce((sum, one) => sum + one, 0) / this.#shares.length;
    if (all - this.#told < TOLD_SHARE && all < 1) return;
    this.#told = all;
    this.tell(all);
  }
}

function place({ rank, failure }: RankItem): number {
  return (rank < 0 ? 2 ** 32 : rank) + (failure === null ? 0 : 0.5);
}

function weight({ reader, steps }: RecordedSession): number {
  return BYTES_OPEN + reader.index.total * BYTES_PER_CHUNK + steps.length * BYTES_PER_STEP;
}
