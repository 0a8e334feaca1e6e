/** What the page knows of the session, and what it must be told: that it is open, has grown, was replaced, or cannot be read. */

import { reasonOf, type ReplayFile } from "./replay_file";
import type { ReplaySession } from "./replay_session";
import { firstChange, tailOf } from "./replay_tail";
import { Turns } from "./recorded_turns";
import type { RecordedSession } from "./recorded_session";
import type { Overview, ReplayOffers, ToReplay } from "./replay";
import { replaySourceText as text } from "./text";

/** Everything that changes what the page knows happens in turn, so that a tail always fits what was sent before. */
export class LiveOverview {
  readonly #turns = new Turns();
  #session: ReplaySession | null = null;
  #opening: Promise<void> | null = null;
  #refreshing: Promise<void> | null = null;
  #rank = -1;
  #told: Overview | null = null;
  /** What it was told of. */
  #recorded: RecordedSession | null = null;
  /** Nothing was left out of what was told. */
  #whole = false;
  #gaps = 0;
  #closed = false;
  /** Why the page shows a failure in place of the session. */
  #broken: string | null = null;

  constructor(
    private readonly opener: (onProgress: (share: number) => void) => Promise<ReplaySession>,
    private readonly name: string,
    private readonly offers: ReplayOffers,
    private readonly post: (message: ToReplay) => void,
  ) {}

  /** The rank that `grown` speaks of. */
  get rank(): number {
    return this.#rank;
  }

  /** Waits while it is being opened. Throws the sentence that the page was told where it cannot be. */
  async session(): Promise<ReplaySession> {
    await this.#opening;
    if (this.#broken !== null || !this.#session) throw new Error(this.#broken ?? text.notOpen);
    return this.#session;
  }

  /** Tells a page that has just come up. */
  start(): Promise<void> {
    this.#opening = this.#turns.run(() => {
      const sound = this.#session !== null && this.#broken === null;
      this.#broken = null;
      return sound ? this.#guarded(this.name, () => this.#tellAll()) : this.#open((share) => this.post({ type: "loading", name: this.name, share }));
    });
    return this.#opening;
  }

  /** Tells what is new; of those that wait, one is enough. */
  refresh(): Promise<void> {
    if (this.#refreshing) return this.#refreshing;
    const turn = this.#turns.run(() => {
      this.#refreshing = null;
      return this.#readOn(false);
    });
    this.#refreshing = turn;
    return turn;
  }

  /** Another rank from now on; `tell` gets its overview before anything that follows from it. */
  async choose(rank: number, tell: (overview: Overview) => void): Promise<void> {
    const { ranks } = await this.session();
    return this.#turns.run(async () => {
      await ranks.fresh(rank);
      await this.#tell(rank, false, tell);
    });
  }

  /** Tells of places that were found unreadable while questions were answered. */
  noteGaps(session: RecordedSession): void {
    if (session.run.rank === this.#rank && session.gaps.length !== this.#gaps) void this.refresh();
  }

  close(): void {
    this.#closed = true;
    this.#session?.ranks.close();
    this.#session = null;
    this.#told = null;
    this.#recorded = null;
  }

  async #open(onProgress: (share: number) => void): Promise<void> {
    onProgress(0);
    await this.#guarded(this.name, async () => {
      const session = await this.opener(onProgress);
      if (this.#closed) return session.ranks.close();
      this.#session = session;
      this.#rank = session.ranks.ranks[0]!;
      await this.#tellAll();
    });
  }

  /** What goes wrong is told, once. */
  async #guarded(name: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      const reason = reasonOf(error);
      if (reason !== this.#broken) this.post({ type: "failed", title: text.cannotOpen(name), reason });
      this.#broken = reason;
    }
  }

  async #tellAll(): Promise<void> {
    await this.#tell(this.#rank, false, (overview) => this.post({ type: "opened", overview, offers: this.offers }));
    this.#broken = null;
  }

  /** `wait`: for what takes long to read, too. */
  async #tell(rank: number, wait: boolean, tell: (overview: Overview) => void): Promise<void> {
    const session = this.#session;
    if (!session) return;
    const { overview, recorded, rest } = await session.tell(rank, wait);
    if (session !== this.#session) return;
    this.#rank = rank;
    this.#told = overview;
    this.#whole = rest === null;
    this.#recorded = recorded;
    this.#gaps = recorded.gaps.length;
    tell(overview);
    rest?.then(() => this.#turns.run(() => (this.#told === overview ? this.#readOn(true) : Promise.resolve()))).catch(() => undefined);
  }

  async #readOn(wait: boolean): Promise<void> {
    const session = this.#session;
    if (!session) return this.#opening === null ? undefined : this.#open(() => undefined);
    await this.#guarded(this.name, async () => {
      const file = session.ranks.file(this.#rank);
      if (this.#broken !== null || (await file.isAnother())) await this.#reopen(session, file);
      else await this.#grow(session, file, wait);
    });
  }

  async #reopen(session: ReplaySession, file: ReplayFile): Promise<void> {
    await session.ranks.reopen(file);
    this.#rank = file.rank;
    await this.#tellAll();
  }

  async #grow(session: ReplaySession, file: ReplayFile, wait: boolean): Promise<void> {
    const before = this.#told;
    const recorded = await session.ranks.session(this.#rank);
    const joined = await session.ranks.retry();
    // It may have been closed to make room, and opened again since.
    const grown = (await recorded.refresh()) || joined || recorded !== this.#recorded;
    await file.look(recorded);
    const gaps = recorded.gaps.length !== this.#gaps;
    if (before === null || (!grown && !gaps && this.#whole)) return;
    await this.#tell(this.#rank, wait || this.#whole, (overview) => {
      const from = firstChange(before.timeline, overview.timeline);
      if (from === null && !grown && !gaps) return;
      const start = from ?? overview.timeline.steps.length;
      this.post({ type: "grown", from: start, timeline: tailOf(overview.timeline, start), facts: overview.facts });
    });
  }
}
