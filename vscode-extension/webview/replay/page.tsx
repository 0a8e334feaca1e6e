/** The page: its host's messages and the user's moves in, one synchronous drawing a change, at most one question of a kind out. */

import { render } from "preact";
import type { Moment, RecentNorms, ReplayAsk, ReplayCommand, ToReplay } from "../../shared/replay";
import { SUPERSEDED } from "../../shared/replay_latest";
import { EMPTY_REPLAY, momentAtEnd, momentBy, momentOfNextMark, replayed, type Comparand, type ReplayEvent, type ReplayModel } from "../../shared/replay_model";
import { duePosition, momentAt, sameMoment, type Speed } from "../../shared/replay_play";
import { positionOf } from "../../shared/replay_timeline";
import type { Selection } from "../../shared/selection";
import type { Held, Snapshot } from "../../shared/session";
import { CommandBus } from "../command_bus";
import { ReplayApp } from "./app";
import { ReplayChannel, type ReplayHost } from "./host";
import { Newest, type Fate } from "./newest";
import { isMoment, momentKey, SnapshotCache } from "./snapshots";

/** What the parts of the page can have done. Stable: the same object for the page's life. */
export interface ReplayActions {
  /** Tells pages of one document apart. */
  readonly page: string;
  readonly ask: ReplayAsk;
  go(at: Moment | null): void;
  by(steps: number): void;
  toEnd(end: "first" | "last"): void;
  toMark(direction: 1 | -1): void;
  play(speed: Speed): void;
  pause(): void;
  follow(on: boolean): void;
  select(selection: Selection): void;
  compare(comparand: Comparand | null): void;
  chooseRank(rank: number): Promise<void>;
  readAgain(): void;
}

/** Steps whose norms are kept for the band; the sparklines take the last of them. */
export const BAND_STEPS = 100;
const KEPT_AT = "replay.at";
let pages = 0;

export class ReplayPage {
  readonly #element: HTMLElement;
  readonly #host: ReplayHost;
  readonly #channel: ReplayChannel;
  readonly #commands = new CommandBus<ReplayCommand>();
  readonly #cache = new SnapshotCache();
  readonly #snapshots: Newest<Moment, Snapshot>;
  readonly #before: Newest<Moment, Snapshot>;
  readonly #recent: Newest<Moment, RecentNorms>;
  readonly #held: Newest<Moment, Held | null>;
  readonly #actions: ReplayActions;
  #model: ReplayModel = EMPTY_REPLAY;
  #wanted = "";
  #wantedAt = 0;
  #drawing = false;
  #drawAgain = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(element: HTMLElement, host: ReplayHost) {
    this.#element = element;
    this.#host = host;
    this.#channel = new ReplayChannel((message) => host.post(message));
    const { ask } = this.#channel;
    this.#snapshots = new Newest((at) => ask("snapshot", { at }), (at, answer) => this.#arrived(at, answer));
    this.#before = new Newest((at) => ask("snapshot", { at }), (at, answer) => this.#arrivedBefore(at, answer));
    this.#recent = new Newest((at) => this.#askRecent(at), (at, answer, fate) => this.#arrivedRecent(at, answer, fate));
    this.#held = new Newest((at) => ask("held", { at }), (at, answer, fate) => {
      if (fate === "wanted") this.#change({ type: "held", at, held: answer instanceof Error ? null : answer });
    });
    this.#actions = this.#makeActions();
  }

  receive(message: ToReplay): void {
    if (message.type === "response") return this.#channel.respond(message);
    if (message.type === "command") return void this.#commands.dispatch(message.name);
    if (message.type === "opened") this.#forgetRead();
    if (message.type === "go" && this.#model.phase === "open" && message.at.rank !== this.#model.facts?.rank) return this.#goToRank(message.at);
    const kept = this.#host.store.get(KEPT_AT);
    const last = this.#model.timeline.steps.at(-1);
    const length = this.#model.timeline.steps.length;
    if (message.type === "grown" && message.from + message.timeline.steps.length > length) this.#forgetFrom(last);
    this.#change({ type: "host", message, nowMs: Date.now(), remembered: isMoment(kept) ? kept : null });
  }

  dispose(): void {
    clearTimeout(this.#timer);
    render(null, this.#element);
  }

  #makeActions(): ReplayActions {
    const go = (at: Moment | null): void => {
      if (at !== null) this.#change({ type: "go", at, nowMs: Date.now() });
    };
    return {
      page: `replay ${++pages}`,
      ask: this.#channel.ask,
      go,
      by: (steps) => go(momentBy(this.#model, steps)),
      toEnd: (end) => go(momentAtEnd(this.#model, end)),
      toMark: (direction) => go(momentOfNextMark(this.#model, direction)),
      play: (speed) => this.#change({ type: "play", speed, nowMs: Date.now() }),
      pause: () => this.#change({ type: "pause" }),
      follow: (on) => this.#change({ type: "follow", on, nowMs: Date.now() }),
      select: (selection) => this.#change({ type: "select", selection }),
      compare: (comparand) => this.#change({ type: "compare", comparand }),
      chooseRank: (rank) => this.#chooseRank(rank),
      readAgain: () => {
        this.#forgetRead();
        this.#change({ type: "pause" });
        this.#readOn();
      },
    };
  }

  async #chooseRank(rank: number, to?: Moment): Promise<void> {
    const overview = await this.#channel.ask("overview", { rank });
    this.#forgetRead();
    this.#change({ type: "rank", overview, nowMs: Date.now(), ...(to === undefined ? {} : { to }) });
  }

  #goToRank(at: Moment): void {
    this.#chooseRank(at.rank, at).catch(() => undefined); // a rank that cannot be read: the page stays where it is
  }

  #forgetRead(): void {
    this.#cache.clear();
    this.#recent.forget();
    this.#held.forget();
    this.#wanted = "";
  }

  /** A step that was cut short when it was read may be whole now. */
  #forgetFrom(step: number | undefined): void {
    if (step === undefined) return;
    this.#cache.forgetFrom(step);
    const { at } = this.#model;
    if (at?.kind === "step" && at.step >= step) this.#wanted = "";
  }

  #change(event: ReplayEvent): void {
    const next = replayed(this.#model, event);
    if (next === this.#model) return;
    const moved = !sameMoment(next.at, this.#model.at);
    const started = next.playing !== null && this.#model.playing === null;
    const ended = next.playing === null && this.#model.playing !== null;
    this.#model = next;
    if (moved) this.#host.store.set(KEPT_AT, next.at);
    this.draw();
    if (started) this.#playOn();
    if (ended) this.#readBefore();
    this.#readOn();
  }

  /** Reads what the playhead stands on, unless it is known, or is being read. */
  #readOn(): void {
    const { at, phase } = this.#model;
    if (phase !== "open" || at === null || this.#wanted === momentKey(at)) return;
    this.#wanted = momentKey(at);
    this.#wantedAt = performance.now();
    const known = this.#cache.get(at);
    if (known) this.#show(at, known);
    else this.#snapshots.want(at);
  }

  /** Also of a moment that the playhead has left: while it is dragged, what was on the way is seen. */
  #arrived(at: Moment, answer: Snapshot | Error): void {
    if (at.rank !== this.#model.at?.rank) return;
    if (!(answer instanceof Error)) return this.#show(at, this.#cache.keep(at, answer));
    if (momentKey(at) !== this.#wanted) return;
    if (answer.message === SUPERSEDED) this.#snapshots.want(at);
    else this.#change({ type: "unread", at, reason: answer.message });
  }

  #show(at: Moment, snapshot: Snapshot): void {
    const previous = this.#momentBefore(at);
    const known = previous && this.#cache.get(previous);
    this.#change({ type: "snapshot", at, snapshot, previous: known ?? null, nowMs: Date.now() });
    this.#tellPainted(at, snapshot);
    if (!sameMoment(at, this.#model.at)) return;
    this.#readBeside(at, snapshot);
    if (!known) this.#readBefore();
  }

  /** The step before what is shown, for what changed; while steps are played there is no time for it. */
  #readBefore(): void {
    const { shown, playing, at } = this.#model;
    if (shown === null || shown.previous !== null || playing !== null || !sameMoment(shown.at, at)) return;
    const previous = this.#momentBefore(shown.at);
    if (previous) this.#before.want(previous);
  }

  /** Norms of the last steps and the held curve, unless they are those of this moment already. */
  #readBeside(at: Moment, snapshot: Snapshot): void {
    const { recent, held } = this.#model;
    if (recent !== null && recent.steps.at(-1) === snapshot.stop.step) this.#recent.forget();
    else this.#recent.want(at);
    if (sameMoment(held?.at ?? null, at)) this.#held.forget();
    else this.#held.want(at);
  }

  #arrivedBefore(at: Moment, answer: Snapshot | Error): void {
    if (answer instanceof Error) return;
    const kept = this.#cache.keep(at, answer);
    const { shown } = this.#model;
    if (shown && sameMoment(this.#momentBefore(shown.at), at)) this.#change({ type: "previous", of: shown.snapshot, previous: kept });
  }

  /** The end of the step before; null before the first. */
  #momentBefore(at: Moment): Moment | null {
    if (at.kind === "stop") return null;
    const { steps } = this.#model.timeline;
    return momentAt(steps, at.rank, positionOf(steps, at.step) - 1);
  }

  /** A run that is followed may end its steps faster than their history is read: that of a step before is better than none. */
  #arrivedRecent(at: Moment, answer: RecentNorms | Error, fate: Fate): void {
    const { recent, follow } = this.#model;
    if (!(answer instanceof Error)) {
      if (fate === "wanted" || (fate === "overtaken" && (follow || recent === null))) this.#change({ type: "recent", recent: answer });
    } else if (fate === "wanted") {
      if (answer.message === SUPERSEDED) this.#recent.want(at);
      else this.#change({ type: "recent", recent: null });
    }
  }

  #askRecent(at: Moment): Promise<RecentNorms> {
    const step = at.kind === "step" ? at.step : (this.#model.shown?.snapshot.stop.step ?? -1);
    return this.#channel.ask("recentNorms", { rank: at.rank, step, count: BAND_STEPS });
  }

  #playOn(): void {
    clearTimeout(this.#timer);
    const { playing, timeline } = this.#model;
    if (playing === null) return;
    const { position, over } = duePosition(playing, Date.now(), timeline.steps.length);
    this.#change({ type: "due", position, over, nowMs: Date.now() });
    if (!over) this.#timer = setTimeout(() => this.#playOn(), Math.max(16, 250 / playing.speed));
  }

  #tellPainted(at: Moment, snapshot: Snapshot): void {
    const since = this.#wantedAt;
    const step = at.kind === "step" ? at.step : snapshot.stop.step;
    requestAnimationFrame(() => setTimeout(() => this.#host.post({ type: "painted", step, ms: performance.now() - since })));
  }

  /** What changes while it is drawn, as from a view's effect, is drawn after it. */
  draw(): void {
    this.#drawAgain = true;
    if (this.#drawing) return;
    this.#drawing = true;
    try {
      while (this.#drawAgain) {
        this.#drawAgain = false;
        render(<ReplayApp model={this.#model} host={this.#host} actions={this.#actions} commands={this.#commands} />, this.#element);
      }
    } finally {
      this.#drawing = false;
    }
  }
}
