/** The replay page as a file of its own: sessions stand in it as base64, and nothing is asked of a network. */

import "./replay/styles";
import "./page_export.css";
import type { ReadAt } from "../shared/mcap_bytes";
import type { SessionSource } from "../shared/replay";
import { localReplayHost } from "./local_replay_host";
import { mountReplay } from "./replay/mount";

const BLOCKS = 'script[type="application/octet-stream;base64"]';

/** Every session in the page, by name: blocks of one name follow each other. Takes them out, for they are large. */
function sessionsIn(page: Document): SessionSource[] {
  const parts = new Map<string, Uint8Array[]>();
  for (const block of page.querySelectorAll<HTMLElement>(BLOCKS)) {
    const name = block.dataset["file"] ?? "";
    parts.set(name, [...(parts.get(name) ?? []), bytesOf(block.textContent ?? "")]);
    block.remove();
  }
  return [...parts].map(([name, blocks]) => ({ name, place: name, source: inMemory(blocks) }));
}

function bytesOf(base64: string): Uint8Array {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

function inMemory(blocks: readonly Uint8Array[]): ReadAt {
  const bytes = new Uint8Array(blocks.reduce((total, block) => total + block.length, 0));
  let at = 0;
  for (const block of blocks) {
    bytes.set(block, at);
    at += block.length;
  }
  return {
    size: () => Promise.resolve(bytes.length),
    read: (offset, length) => Promise.resolve(bytes.slice(offset, offset + length)),
  };
}

const root = document.getElementById("root");
if (root === null) throw new Error("The page has no element with the id root.");
root.replaceChildren();
const sessions = sessionsIn(document);
mountReplay(root, localReplayHost(sessions, sessions[0]?.name ?? document.title));
