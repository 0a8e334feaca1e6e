/** One file of a replayed session: what is known of it while it is closed, and whether it is still the one that was opened. */

import type { ReadAt, Unpacker } from "./mcap_bytes";
import { RecordedSession } from "./recorded_session";
import type { SessionSource } from "./replay";
import { replaySourceText as text } from "./text";

/** A recording that began anew in the same place differs here: the first chunk holds times, process and checksum. */
const HEAD_BYTES = 1024;
/** A file that was closed is looked at again after this long, not for each question about it. */
const FINISHED_REST_MS = 2000;
/** Where a summary stands is no measure of how far a file was read. */
const LAST_SHARE = 0.95;

/** What was found at the last look. `failure` says why it could not be opened. */
export class ReplayFile {
  rank = -1;
  bytes = 0;
  finished = false;
  failure: string | null = null;
  startNs: bigint | number = 0;
  #head = new Uint8Array(0);
  #lookedMs = 0;

  constructor(
    readonly source: SessionSource,
    private readonly unpacker: Unpacker,
  ) {}

  /** Throws what the reader throws. `onShare` hears how far it was read, 0 to 1. */
  async open(onShare: (share: number) => void = () => undefined): Promise<RecordedSession> {
    const { name, source } = this.source;
    const head = await source.read(0, HEAD_BYTES);
    const watched = new WatchedReads(source, onShare);
    const session = await RecordedSession.open(watched, { name, ...this.unpacker });
    watched.onShare = null;
    this.#head = new Uint8Array(head);
    this.rank = session.run.rank;
    this.startNs = session.run.start_ns;
    this.failure = null;
    await this.look(session);
    return session;
  }

  /** Opens it; where that fails, `failure` says why. */
  async tryOpen(onShare?: (share: number) => void): Promise<RecordedSession | null> {
    try {
      return await this.open(onShare);
    } catch (error) {
      this.failure = reasonOf(error);
      this.bytes = await this.source.source.size().catch(() => 0);
      return null;
    }
  }

  /** Whether it has another size than when it could not be opened. */
  async mayOpenNow(): Promise<boolean> {
    return this.failure !== null && (await this.source.source.size().catch(() => this.bytes)) !== this.bytes;
  }

  /** Takes note of how far it has been written. */
  async look(session: RecordedSession): Promise<void> {
    this.bytes = await this.source.source.size();
    this.finished = session.finished;
    this.#lookedMs = Date.now();
  }

  /** It was closed, and was so a moment ago. */
  get rests(): boolean {
    return this.finished && Date.now() - this.#lookedMs < FINISHED_REST_MS;
  }

  /** Whether it was replaced, cut or repaired: what grows at its end is not. */
  async isAnother(): Promise<boolean> {
    const { source } = this.source;
    const size = await source.size();
    if (size < this.bytes || (this.finished && size !== this.bytes)) return true;
    const head = await source.read(0, this.#head.length);
    return head.length !== this.#head.length || this.#head.some((byte, i) => byte !== head[i]);
  }
}

/** Tells how far a file was read while it is opened: most of that goes from its beginning to its end. */
class WatchedReads implements ReadAt {
  #size = Infinity;
  #share = 0;

  constructor(
    private readonly source: ReadAt,
    public onShare: ((share: number) => void) | null,
  ) {}

  async size(): Promise<number> {
    return (this.#size = await this.source.size());
  }

  read(offset: number, length: number): Promise<Uint8Array> {
    const share = offset / this.#size;
    if (this.onShare && share > this.#share && share < LAST_SHARE) this.onShare((this.#share = share));
    return this.source.read(offset, length);
  }
}

/** A sentence for whatever was thrown: what a disk or a network says (it has a code) gets a way out. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return text.cannotRead(String(error));
  return "code" in error ? text.cannotRead(error.message) : error.message;
}
