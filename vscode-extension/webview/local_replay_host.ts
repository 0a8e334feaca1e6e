/** A replay host inside the page itself: sessions whose bytes the page can reach, in a notebook or an exported page. */

import type { Decompress, Unpacker } from "../shared/mcap_bytes";
import { bestDecompress } from "../shared/mcap_zstd";
import type { FromReplay, Moment, ReplayDoors, SessionSource, ToReplay } from "../shared/replay";
import { ReplaySource } from "../shared/replay_source";
import { localText } from "../shared/text";
import type { ReplayHost } from "./replay/host";
import { memoryStore, type Store } from "./stored";

/** A replay host that can be told that its files have grown. */
export interface LocalReplayHost extends ReplayHost {
  /** Reads what the files hold since they were read last. */
  refresh(): Promise<void>;
  go(at: Moment): void;
  /** Hands the page a message beside those of the session: a command, or that nothing can be opened. */
  tell(message: ToReplay): void;
  dispose(): void;
}

export interface LocalReplayOptions {
  readonly doors?: Partial<ReplayDoors>;
  /** Where the page keeps what is open and sorted; by default for as long as it lives. */
  readonly store?: Store;
}

/** Replays `files`, called `name`, within this page: nothing is asked of a network or of another process. */
export function localReplayHost(files: readonly SessionSource[], name: string, options: LocalReplayOptions = {}): LocalReplayHost {
  const listeners = new Set<(message: ToReplay) => void>();
  const tell = (message: ToReplay): void => listeners.forEach((listener) => listener(message));
  const source = new ReplaySource(files, name, localUnpacker(), localDoors(options.doors), tell);
  return {
    // As a message from elsewhere would, an answer comes after the call that asked has returned.
    post: (message: FromReplay) => queueMicrotask(() => source.receive(message)),
    listen: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    store: options.store ?? memoryStore(),
    refresh: () => source.refresh(),
    go: (at) => source.go(at),
    tell,
    dispose: () => {
      listeners.clear();
      source.dispose();
    },
  };
}

let decompressor: Promise<Decompress> | null = null;

/** WebAssembly, or plain JavaScript where the page's policy forbids it; found out once, at the first chunk. */
function localUnpacker(): Unpacker {
  let ready: Decompress | null = null;
  return {
    decompress: (bytes, size) => {
      if (ready) return ready(bytes, size);
      decompressor ??= bestDecompress(null);
      return decompressor.then((found) => (ready = found)(bytes, size));
    },
  };
}

/** No editor and no files of the user's; the clipboard where the browser grants it. */
function localDoors(given: Partial<ReplayDoors> = {}): ReplayDoors {
  const closed = (): Promise<never> => Promise.reject(new Error(localText.notHere));
  const none = { offers: { openSource: false, chooseOther: false, replayStep: false, bindsKeys: false }, workspaceLines: null };
  return { ...none, openSource: closed, chooseOther: closed, replayStep: closed, copyText, ...given };
}

async function copyText(text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    throw new Error(localText.noClipboard);
  }
}
