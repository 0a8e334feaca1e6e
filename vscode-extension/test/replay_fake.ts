/** A recorded session answered in the test itself: what a page would be told, and what it would be answered. */

import * as zlib from "node:zlib";
import { bestDecompress, type NodeZlib } from "../shared/mcap_zstd";
import type { FromReplay, ReplayAsk, ReplayDoors, ReplayMethod, ReplayRequests, SessionSource, ToReplay } from "../shared/replay";
import { fileSource } from "../shared/replay_bytes";
import { ReplaySource } from "../shared/replay_source";
import type { MemoryFile } from "./recorded_files";
import { goldenBytes } from "./recorded_files";

/** A page's host without a page. */
export interface FakeReplay {
  readonly source: ReplaySource;
  /** Everything that was posted but responses. */
  readonly messages: ToReplay[];
  readonly ask: ReplayAsk;
  post(message: FromReplay): void;
  listen(listener: (message: ToReplay) => void): () => void;
  /** The next message of a type, or the last one that came already and was not waited for. */
  told<T extends ToReplay["type"]>(type: T): Promise<Extract<ToReplay, { type: T }>>;
}

/** A golden session as a file to open. */
export function goldenSource(name: string): SessionSource {
  return { name: `${name}.gradwatch`, place: `/runs/${name}.gradwatch`, source: fileSource(goldenBytes(name)) };
}

export function memorySource(name: string, file: MemoryFile): SessionSource {
  return { name, place: `/runs/${name}`, source: file };
}

const NO_DOORS: ReplayDoors = {
  offers: { openSource: true, chooseOther: true, replayStep: true, bindsKeys: false },
  workspaceLines: null,
  openSource: () => Promise.resolve(),
  chooseOther: () => Promise.resolve(null),
  replayStep: () => Promise.resolve(),
  copyText: () => Promise.resolve(),
};

/** Tells nothing before it gets `ready`, as a host does. */
export async function fakeReplay(files: readonly SessionSource[], doors: Partial<ReplayDoors> = {}, name = "run"): Promise<FakeReplay> {
  const decompress = await bestDecompress(zlib as NodeZlib);
  const messages: ToReplay[] = [];
  const listeners = new Set<(message: ToReplay) => void>();
  const waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  const source = new ReplaySource(files, name, { decompress }, { ...NO_DOORS, ...doors }, (message) => {
    if (message.type === "response") {
      const one = waiting.get(message.id);
      waiting.delete(message.id);
      if (message.ok) one?.resolve(message.value);
      else one?.reject(new Error(message.error));
    } else messages.push(message);
    listeners.forEach((listener) => listener(message));
  });
  let last = 1_000_000;
  const ask = <M extends ReplayMethod>(method: M, params: ReplayRequests[M]["params"]): Promise<ReplayRequests[M]["result"]> => {
    const id = ++last;
    const answer = new Promise<ReplayRequests[M]["result"]>((resolve, reject) => waiting.set(id, { resolve: resolve as (value: unknown) => void, reject }));
    source.receive({ type: "request", id, method, params } as FromReplay);
    return answer;
  };
  const listen = (listener: (message: ToReplay) => void): (() => void) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  };
  let read = 0;
  const told = <T extends ToReplay["type"]>(type: T): Promise<Extract<ToReplay, { type: T }>> =>
    new Promise((resolve) => {
      const look = (): boolean => {
        const at = messages.findIndex((message, i) => i >= read && message.type === type);
        if (at < 0) return false;
        read = at + 1;
        resolve(messages[at] as Extract<ToReplay, { type: T }>);
        return true;
      };
      if (look()) return;
      const stop = listen(() => {
        if (look()) stop();
      });
    });
  return { source, messages, ask, post: (message) => source.receive(message), listen, told };
}

/** `ready` was sent, and `opened` has come. */
export async function openedReplay(files: readonly SessionSource[], doors: Partial<ReplayDoors> = {}, name = "run") {
  const replay = await fakeReplay(files, doors, name);
  replay.post({ type: "ready" });
  const { overview } = await replay.told("opened");
  return { ...replay, overview };
}
