/** The replay page in a browser over files that the harness serves: `?files=a,b&compare=c&state=…`. */

import "../../webview/page.css";
import "../../webview/replay/styles";
import type { ReadAt } from "../../shared/mcap_bytes";
import type { SessionSource } from "../../shared/replay";
import { localReplayHost } from "../../webview/local_replay_host";
import { mountReplay } from "../../webview/replay/mount";

const params = new URLSearchParams(location.search);
const named = (key: string): string[] => (params.get(key) ?? "").split(",").filter(Boolean);

async function fileOf(name: string): Promise<SessionSource> {
  const bytes = new Uint8Array(await (await fetch(`/file/${name}`)).arrayBuffer());
  const source: ReadAt = {
    size: () => Promise.resolve(bytes.length),
    read: (offset, length) => Promise.resolve(bytes.slice(offset, offset + length)),
  };
  return { name, place: name, source };
}

async function start(): Promise<void> {
  const files = await Promise.all(named("files").map(fileOf));
  const others = named("compare");
  const host = localReplayHost(files, params.get("name") ?? files[0]?.name ?? "none", {
    doors: {
      offers: { openSource: true, chooseOther: others.length > 0, replayStep: true, bindsKeys: false },
      openSource: () => Promise.resolve(),
      chooseOther: () => Promise.all(others.map(fileOf)),
      replayStep: () => Promise.resolve(),
    },
  });
  mountReplay(document.getElementById("root")!, host);
  Object.assign(window, { replayHost: host });
}

void start();
