/**
 * Answers the page that replays a recorded session: every request of `replay.ts`, and what is new as the file grows.
 * Runs in the extension host, or next to the page where there is none.
 */

import type { Unpacker } from "./mcap_bytes";
import type { Side } from "./compare";
import { compareSessions } from "./compare_sessions";
import type { FromReplay, Moment, ReplayDoors, ReplayMethod, ReplayRequestMessage, ReplayRequests, SessionSource, ToReplay } from "./replay";
import { curveByName, rankCurves } from "./replay_curves";
import { reasonOf } from "./replay_file";
import { Latest, SUPERSEDED } from "./replay_latest";
import { recordedText, sourceLines } from "./replay_lines";
import { LiveOverview } from "./replay_live";
import { recentNorms } from "./replay_norms";
import { ReplayOthers } from "./replay_others";
import { plain } from "./replay_plain";
import { rankNorms, type RankSessions } from "./replay_rank_norms";
import { unscaledCurve } from "./replay_scale";
import { ReplaySession } from "./replay_session";
import { KeptStepNorms } from "./replay_step_norms";
import type { RecordedSession } from "./recorded_session";
import type { Held, Snapshot } from "./session";
import { findingsText, replaySourceText as text } from "./text";

type Params<M extends ReplayMethod> = ReplayRequests[M]["params"];
type Result<M extends ReplayMethod> = Promise<ReplayRequests[M]["result"]>;
type Answers = { readonly [M in Exclude<ReplayMethod, "overview">]: (params: Params<M>) => Result<M> };

/** One session, of one file or a file for each rank. Posts nothing after `dispose`. */
export class ReplaySource {
  readonly #others: ReplayOthers;
  readonly #live: LiveOverview;
  readonly #newest = { snapshot: new Latest(), held: new Latest(), recentNorms: new Latest(), rankNorms: new Latest(), rankCurves: new Latest() };
  readonly #post: (message: ToReplay) => void;
  readonly #norms = new KeptStepNorms();
  #comparisons = 0;
  #disposed = false;

  constructor(
    files: readonly SessionSource[],
    name: string,
    unpacker: Unpacker,
    private readonly doors: ReplayDoors,
    post: (message: ToReplay) => void,
  ) {
    this.#post = (message) => {
      if (!this.#disposed) post(plain(message));
    };
    this.#others = new ReplayOthers(unpacker);
    this.#live = new LiveOverview((onProgress) => ReplaySession.open(files, name, unpacker, onProgress), name, doors.offers, this.#post);
  }

  /** The page's messages, in any order. */
  receive(message: FromReplay): void {
    if (this.#disposed) return;
    if (message.type === "ready") void this.#live.start();
    else if (message.type === "request") void this.#respond(message);
  }

  /** To be called when a file has grown, or may have. A call while another is under way makes one more. */
  async refresh(): Promise<void> {
    if (!this.#disposed) await this.#live.refresh();
  }

  /** Takes the page to a moment. */
  go(at: Moment): void {
    this.#post({ type: "go", at });
  }

  /** Lets go of every file. */
  dispose(): void {
    this.#disposed = true;
    this.#live.close();
    this.#others.close();
    this.#norms.clear();
  }

  async #respond(message: ReplayRequestMessage): Promise<void> {
    const { id } = message;
    const tell = (value: unknown): void => this.#post({ type: "response", id, ok: true, value });
    try {
      // In its turn: what has grown since must not come before it.
      if (message.method === "overview") await this.#live.choose(message.params.rank, tell);
      else tell(await this.#answer(message));
    } catch (error) {
      this.#post({ type: "response", id, ok: false, error: reasonOf(error) });
    }
  }

  #answer({ method, params }: ReplayRequestMessage): Promise<unknown> {
    const answer = Object.hasOwn(this.#answers, method) ? (this.#answers as Record<string, (params: unknown) => Promise<unknown>>)[method] : undefined;
    return answer ? answer(params) : Promise.reject(new Error(text.notAsked(method)));
  }

  readonly #answers: Answers = {
    snapshot: ({ at }) => this.#newest.snapshot.run(() => this.#snapshot(at)),
    held: ({ at }) => this.#newest.held.run(() => this.#held(at)),
    curve: async ({ rank, subject, statistic }) => {
      const session = await this.#of(rank);
      return unscaledCurve(session, await session.curveOf(subject, statistic));
    },
    otherCurve: async ({ other, name, statistic }) => curveByName(await this.#others.session(other), name, statistic),
    recentNorms: ({ rank, step, count }) => this.#newest.recentNorms.run(async () => recentNorms(this.#norms, await this.#of(rank), step, count)),
    rankNorms: ({ step, local = false }) => this.#newest.rankNorms.run(async (goOn) => rankNorms(await this.#ranks(goOn), step, local)),
    rankCurves: ({ name, statistic }) => this.#newest.rankCurves.run(async (goOn) => rankCurves(await this.#ranks(goOn), name, statistic)),
    compare: ({ a, b, tolerance }) => this.#compare(a, b, tolerance),
    sourceLines: async (params) => sourceLines(await this.#of(params.rank), this.doors, params),
    openSource: (params) => this.#openSource(params),
    chooseOther: async () => {
      const files = await this.doors.chooseOther();
      return files && files.length > 0 ? this.#others.open(files) : null;
    },
    replayStep: (params) => this.#replayStep(params),
    why: async ({ rank, name }) => {
      const { ranks } = await this.#live.session();
      if (!this.doors.why) throw new Error(findingsText.whyInTerminal(name));
      return this.doors.why(ranks.file(rank).source.place, name);
    },
    copyText: async ({ text: copied }) => {
      await this.doors.copyText(copied);
      return null;
    },
  };

  /** The rank that is shown as it was last told, the others as they are now. */
  async #of(rank: number): Promise<RecordedSession> {
    const { ranks } = await this.#live.session();
    return rank === this.#live.rank ? ranks.session(rank) : ranks.fresh(rank);
  }

  async #ranks(goOn: () => void): Promise<RankSessions> {
    const { ranks } = (await this.#live.session()).ranks;
    return { ranks, open: (rank) => this.#of(rank), goOn };
  }

  async #snapshot(at: Moment): Promise<Snapshot> {
    const session = await this.#of(at.rank);
    const snapshot = await (at.kind === "stop" ? session.snapshotOfStop(at.stop) : session.snapshotOfStep(at.step));
    this.#live.noteGaps(session);
    return snapshot;
  }

  /** Of the backward call whose ledger the snapshot shows. */
  async #held(at: Moment): Promise<Held | null> {
    const session = await this.#of(at.rank);
    const { backward, ledger } = await (at.kind === "stop" ? session.snapshotOfStop(at.stop) : session.snapshotOfStep(at.step));
    if (!ledger || !backward) return null;
    return session.heldOfStep(backward.step, backward.index);
  }

  /** A newer comparison ends one that is under way: long sessions take long. */
  async #compare(a: Side, b: Side, tolerance: number | null): Result<"compare"> {
    const turn = ++this.#comparisons;
    const goOn = (): void => {
      if (turn !== this.#comparisons || this.#disposed) throw new Error(SUPERSEDED);
    };
    const [one, other] = await Promise.all([this.#side(a), this.#side(b)]);
    goOn();
    // Ranks see different data: only what they reduce together can be the same.
    const ranks = a.session === b.session && a.rank !== b.rank && a.step === b.step;
    return compareSessions(one, other, { tolerance, stepA: a.step, stepB: b.step, ranks, onProgress: goOn });
  }

  #side({ session, rank }: Side): Promise<RecordedSession> {
    return session === "" ? this.#of(rank) : this.#others.session(session, rank);
  }

  async #openSource({ rank, file, line, focus }: Params<"openSource">): Result<"openSource"> {
    await this.doors.openSource(file, line, focus, await recordedText(await this.#of(rank), file));
    return null;
  }

  async #replayStep({ rank, step }: Params<"replayStep">): Result<"replayStep"> {
    const { ranks } = await this.#live.session();
    await this.doors.replayStep(ranks.file(rank).source.place, step);
    return null;
  }
}
