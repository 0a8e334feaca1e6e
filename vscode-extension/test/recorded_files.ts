/** Golden sessions, and bytes in memory as a file that a test can change. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as zlib from "node:zlib";
import type { Decompress, ReadAt } from "../shared/mcap_bytes";
import { bestDecompress, type NodeZlib } from "../shared/mcap_zstd";
import { RecordedSession } from "../shared/recorded_session";
import { SessionReader } from "../shared/recorded_reader";

export const GOLDEN = join(import.meta.dirname, "../../tests/golden");

export function goldenBytes(name: string): Uint8Array {
  return new Uint8Array(readFileSync(join(GOLDEN, `${name}.gradwatch`)));
}

export function answersAbout<T>(name: string): T {
  return JSON.parse(readFileSync(join(GOLDEN, "answers", `${name}.json`), "utf8")) as T;
}

/** A file that grows when `bytes` is set anew. Counts what is read of it. */
export class MemoryFile implements ReadAt {
  bytesRead = 0;

  constructor(public bytes: Uint8Array) {}

  size(): Promise<number> {
    return Promise.resolve(this.bytes.length);
  }

  read(offset: number, length: number): Promise<Uint8Array> {
    const found = this.bytes.slice(offset, offset + length);
    this.bytesRead += found.length;
    return Promise.resolve(found);
  }
}

const unpacker: Promise<Decompress> = bestDecompress(zlib as NodeZlib);

export async function openReader(bytes: Uint8Array | MemoryFile): Promise<SessionReader> {
  return SessionReader.open(asFile(bytes), { name: "run.gradwatch", decompress: await unpacker, version: "0.1.0" });
}

export async function openSession(bytes: Uint8Array | MemoryFile): Promise<RecordedSession> {
  return RecordedSession.open(asFile(bytes), { name: "run.gradwatch", decompress: await unpacker, version: "0.1.0" });
}

function asFile(bytes: Uint8Array | MemoryFile): MemoryFile {
  return bytes instanceof MemoryFile ? bytes : new MemoryFile(bytes);
}

/** Reads everything of every topic, so that all gaps are known. */
export async function verify(reader: SessionReader): Promise<readonly (readonly [string | null, number])[]> {
  const { RECORD_OF } = await import("../shared/recorded_fields");
  for (const topic of Object.keys(RECORD_OF) as (keyof typeof RECORD_OF)[]) for await (const _ of reader.records(topic));
  return reader.gaps.map(({ topic, offset }) => [topic, offset]);
}

/** Opens a session as if nothing had been written of these topics: they have another name in it. */
export async function openWithout(bytes: Uint8Array, ...topics: readonly string[]): Promise<RecordedSession> {
  const unpack = await unpacker;
  const decompress = async (packed: Uint8Array, size: number): Promise<Uint8Array> => renamed(await unpack(packed, size), topics);
  return RecordedSession.open(new MemoryFile(renamed(withoutChecksums(bytes), topics)), { name: "run.gradwatch", decompress });
}

function renamed(bytes: Uint8Array, topics: readonly string[]): Uint8Array {
  const changed = Buffer.from(bytes);
  for (const topic of topics) for (let at = 0; (at = changed.indexOf(topic, at)) >= 0; at++) changed.write("~", at);
  return new Uint8Array(changed);
}

const CHUNK_NAME = Uint8Array.of(4, 0, 0, 0, 0x7a, 0x73, 0x74, 0x64);

/** With no checksums in its chunks: what they hold may be changed. */
export function withoutChecksums(bytes: Uint8Array): Uint8Array {
  const changed = bytes.slice();
  for (let at = 4; at < changed.length; at++) if (CHUNK_NAME.every((byte, i) => changed[at + i] === byte)) changed.fill(0, at - 4, at);
  return changed;
}
