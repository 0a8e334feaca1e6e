/** One session as the page sees it: its ranks, the overview of one of them, and how that changed since it was last told. */

import type { Unpacker } from "./mcap_bytes";
import type { RecordedSession } from "./recorded_session";
import type { Overview, RankItem, SessionSource } from "./replay";
import { overviewOf } from "./replay_overview";
import { MOST_FILES, ReplayRanks } from "./replay_ranks";
import { totalsOf, type Totals } from "./replay_totals";
import { replaySourceText as text } from "./text";

/** Missing ranks that are named. */
const NAMED_RANKS = 8;
/** `opened` waits this long for what takes longer to read; then `grown` brings it. */
const PATIENCE_MS = 250;

/** An overview, what it is of, and what is still being read where something was left out. */
export interface Told {
  readonly overview: Overview;
  readonly recorded: RecordedSession;
  readonly rest: Promise<unknown> | null;
}

/** Throws a sentence where no file opens. */
export class ReplaySession {
  private constructor(
    readonly name: string,
    readonly ranks: ReplayRanks,
  ) {}

  static async open(files: readonly SessionSource[], name: string, unpacker: Unpacker, onProgress: (share: number) => void): Promise<ReplaySession> {
    const ranks = await ReplayRanks.open(files, unpacker, onProgress);
    if (ranks.ranks.length === 0) throw new Error(whyNone(ranks));
    return new ReplaySession(name, ranks);
  }

  /** The overview of a rank as it was last read; leaves out what takes long unless told to wait for it. */
  async tell(rank: number, wait: boolean): Promise<Told> {
    const session = await this.ranks.session(rank);
    const totals = totalsOf(session);
    const soon = wait ? await totals : await within(totals, PATIENCE_MS);
    return { overview: this.#overview(session, soon), recorded: session, rest: soon ? null : totals };
  }

  #overview(session: RecordedSession, totals: Totals | null): Overview {
    const { name, ranks } = this;
    const items = ranks.items();
    return overviewOf(session, { name, bytes: ranks.bytes, ranks: items, sentences: sentencesOf(ranks, items, session.run.world_size) }, totals);
  }
}

/** What it gives by then, else null. Rejects as it does. */
function within<T>(work: Promise<T>, ms: number): Promise<T | null> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => resolve(null), ms);
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

function whyNone({ files }: ReplayRanks): string {
  const [first] = files;
  if (!first) return text.noFiles;
  const reason = first.failure ?? text.noFiles;
  return files.length === 1 ? reason : text.noneOpens(files.length, reason);
}

function sentencesOf({ files, leftOut, ranks }: ReplayRanks, items: readonly RankItem[], world: number): readonly string[] {
  const failed = items.filter(({ failure }) => failure !== null).length;
  return [
    ...(files.length > 1 && leftOut === 0 ? missingRanks(ranks, world) : []),
    ...(failed > 0 ? [text.filesFailed(failed, files.length)] : []),
    ...(leftOut > 0 ? [text.filesLeftOut(leftOut, MOST_FILES)] : []),
  ];
}

/** `world` is the file's own claim: nothing is made as large as it. */
function missingRanks(ranks: readonly number[], world: number): readonly string[] {
  const within = new Set(ranks.filter((rank) => rank >= 0 && rank < world));
  const count = world - within.size;
  if (count <= 0) return [];
  const named: number[] = [];
  for (let rank = 0; named.length < Math.min(NAMED_RANKS, count); rank++) if (!within.has(rank)) named.push(rank);
  return [text.ranksMissing(named, count, world)];
}
