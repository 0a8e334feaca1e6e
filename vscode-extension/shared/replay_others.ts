/** Sessions that were opened beside the one that is shown, to compare with. */

import type { Unpacker } from "./mcap_bytes";
import type { RecordedSession } from "./recorded_session";
import type { OtherSession, SessionSource } from "./replay";
import { ReplaySession } from "./replay_session";
import { replaySourceText as text } from "./text";

/** The one that was used longest ago is closed for a further one. */
const MOST_OTHERS = 4;

/** By the ids that the page is given. */
export class ReplayOthers {
  readonly #open = new Map<string, ReplaySession>();
  #count = 0;

  constructor(private readonly unpacker: Unpacker) {}

  /** Throws a sentence where none of the files opens. */
  async open(files: readonly SessionSource[]): Promise<OtherSession> {
    const session = await ReplaySession.open(files, text.otherName(files[0]!.name, files.length - 1), this.unpacker, () => undefined);
    const { overview } = await session.tell(session.ranks.ranks[0]!, true);
    const id = `other ${++this.#count}`;
    this.#keep(id, session);
    return { id, overview };
  }

  /** The session of a rank as it is now, of the first where none is named. Throws where it was closed. */
  async session(id: string, rank?: number): Promise<RecordedSession> {
    const session = this.#open.get(id);
    if (!session) throw new Error(text.otherClosed);
    this.#keep(id, session);
    return session.ranks.fresh(rank ?? session.ranks.ranks[0]!);
  }

  close(): void {
    for (const session of this.#open.values()) session.ranks.close();
    this.#open.clear();
  }

  #keep(id: string, session: ReplaySession): void {
    this.#open.delete(id);
    this.#open.set(id, session);
    if (this.#open.size <= MOST_OTHERS) return;
    const [oldest, closed] = this.#open.entries().next().value!;
    closed.ranks.close();
    this.#open.delete(oldest);
  }
}
