/**
 * Changes a session as a stranger could: its records, what the chunks say of their sizes, and the values packed in
 * them. Lengths, checksums and indexes are put right again, so that the changes reach what reads the records.
 */

import { crc32, viewOf } from "../shared/mcap_bytes";
import { plainDecompress } from "../shared/mcap_zstd";
import { changedPayload } from "./mutate_values";

export type Random = (below: number) => number;

/** mulberry32: the same numbers each time. */
export function randomFrom(seed: number): Random {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

/** A record of the file; a chunk has its unpacked `inner` records, and what it claims of itself where that is a lie. */
interface Piece {
  opcode: number;
  content: Uint8Array;
  inner: Inner[] | null;
  claims: { size?: bigint; packed?: bigint; crc?: number; channel?: number; repeat?: number };
}

interface Inner {
  opcode: number;
  content: Uint8Array;
}

const MESSAGE = 5;
const CHUNK = 6;
const MESSAGE_INDEX = 7;
const DATA_END = 15;
const MESSAGE_HEAD = 22;
const CHUNK_FIXED = 44;
const HUGE = [0n, 1n, 0xffn, 0x7fffffffn, 0xffffffffn, 1n << 53n, (1n << 63n) - 1n, (1n << 64n) - 1n] as const;

/** One of `sessions` after one to four changes. */
export function mutatedSession(sessions: readonly Uint8Array[], random: Random): Uint8Array {
  const pieces = takenApart(sessions[random(sessions.length)]!);
  for (let left = [1, 1, 2, 4][random(4)]!; left > 0; left--) change(pieces, sessions, random);
  const bytes = putTogether(pieces);
  return random(10) === 0 ? bytesChanged(bytes, random) : bytes;
}

function change(pieces: Piece[], sessions: readonly Uint8Array[], random: Random): void {
  const kind = random(14);
  if (kind < 8) changeMessage(pieces, random, (content) => joined(content.subarray(0, MESSAGE_HEAD), changedPayload(content.subarray(MESSAGE_HEAD), random)));
  else if (kind < 10) changeMessage(pieces, random, (content) => headChanged(content, random));
  else if (kind === 10) movePieces(pieces, sessions, random);
  else if (kind === 11) claim(pieces[random(pieces.length)], random);
  else if (kind === 12) doubleMessage(pieces, random);
  else changeOpcode(pieces[random(pieces.length)], random);
}

function takenApart(bytes: Uint8Array): Piece[] {
  const pieces: Piece[] = [];
  for (const { opcode, content } of recordsOf(bytes, 8)) {
    if (opcode === DATA_END) break;
    if (opcode !== MESSAGE_INDEX) pieces.push({ opcode, content, inner: opcode === CHUNK ? unpacked(content) : null, claims: {} });
  }
  return pieces;
}

function unpacked(content: Uint8Array): Inner[] {
  const size = Number(viewOf(content).getBigUint64(16, true));
  return recordsOf(plainDecompress(content.subarray(CHUNK_FIXED), size) as Uint8Array, 0);
}

function recordsOf(bytes: Uint8Array, start: number): Inner[] {
  const records: Inner[] = [];
  for (let at = start; at + 9 <= bytes.length; ) {
    const end = at + 9 + Number(viewOf(bytes).getBigUint64(at + 1, true));
    if (end > bytes.length) break;
    records.push({ opcode: bytes[at]!, content: bytes.slice(at + 9, end) });
    at = end;
  }
  return records;
}

function putTogether(pieces: readonly Piece[]): Uint8Array {
  const magic = Uint8Array.of(0x89, 0x4d, 0x43, 0x41, 0x50, 0x30, 0x0d, 0x0a);
  return joined(magic, ...pieces.map((piece) => (piece.inner ? chunk(piece, piece.inner) : record(piece.opcode, piece.content))));
}

/** A chunk and its message index. */
function chunk({ claims }: Piece, inner: readonly Inner[]): Uint8Array {
  const data = joined(...inner.map(({ opcode, content }) => record(opcode, content)));
  const frame = claims.repeat ? repeated(claims.repeat) : stored(data);
  const size = claims.repeat ?? data.length;
  const channel = claims.channel ?? channelOf(inner);
  const head = new Uint8Array(CHUNK_FIXED);
  const view = viewOf(head);
  view.setBigUint64(16, claims.size ?? BigInt(size), true);
  view.setUint32(24, claims.crc ?? (claims.repeat ? 0 : crc32(data)), true);
  head.set([4, 0, 0, 0, 0x7a, 0x73, 0x74, 0x64], 28);
  view.setBigUint64(36, claims.packed ?? BigInt(frame.length), true);
  const index = new Uint8Array(6);
  viewOf(index).setUint16(0, channel, true);
  return joined(record(CHUNK, joined(head, frame)), record(MESSAGE_INDEX, index));
}

function channelOf(inner: readonly Inner[]): number {
  const message = inner.find(({ opcode, content }) => opcode === MESSAGE && content.length >= 2);
  return message ? viewOf(message.content).getUint16(0, true) : 1;
}

/** A zstd frame of blocks that are stored as they are. */
function stored(data: Uint8Array): Uint8Array {
  return frameOf(data.length, (at, length, last) => joined(blockHead(length, 0, last), data.subarray(at, at + length)));
}

/** A zstd frame of zeros that takes some bytes and unpacks to many. */
function repeated(size: number): Uint8Array {
  return frameOf(size, (_, length, last) => joined(blockHead(length, 1, last), Uint8Array.of(0)));
}

function frameOf(size: number, block: (at: number, length: number, last: boolean) => Uint8Array): Uint8Array {
  const head = new Uint8Array(9);
  viewOf(head).setUint32(0, 0xfd2fb528, true);
  head[4] = 0xa0;
  viewOf(head).setUint32(5, size, true);
  const blocks: Uint8Array[] = [];
  for (let at = 0; at < size || at === 0; at += 1 << 17) blocks.push(block(at, Math.min(1 << 17, size - at), at + (1 << 17) >= size));
  return joined(head, ...blocks);
}

function blockHead(length: number, type: number, last: boolean): Uint8Array {
  const bits = (length << 3) | (type << 1) | (last ? 1 : 0);
  return Uint8Array.of(bits & 255, (bits >> 8) & 255, bits >> 16);
}

function record(opcode: number, content: Uint8Array): Uint8Array {
  const head = new Uint8Array(9);
  head[0] = opcode;
  viewOf(head).setBigUint64(1, BigInt(content.length), true);
  return joined(head, content);
}

export function joined(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Changes a message of a chunk: each chunk is as likely as another. */
function changeMessage(pieces: readonly Piece[], random: Random, to: (content: Uint8Array) => Uint8Array): void {
  const found = messageIn(pieces, random);
  if (found) found.content = to(found.content);
}

function messageIn(pieces: readonly Piece[], random: Random): Inner | undefined {
  const chunks = pieces.filter(({ inner }) => inner?.some(isMessage));
  const messages = chunks[random(chunks.length)]?.inner?.filter(isMessage) ?? [];
  return messages[random(messages.length)];
}

function isMessage({ opcode, content }: Inner): boolean {
  return opcode === MESSAGE && content.length > MESSAGE_HEAD;
}

/** Another channel, step or time. */
function headChanged(content: Uint8Array, random: Random): Uint8Array {
  const changed = content.slice();
  const view = viewOf(changed);
  const number = HUGE[random(HUGE.length)]!;
  const kind = random(3);
  if (kind === 0) view.setUint16(0, random(24), true);
  else if (kind === 1) view.setUint32(2, Number(number & 0xffffffffn), true);
  else view.setBigUint64(6, number, true);
  return changed;
}

function movePieces(pieces: Piece[], sessions: readonly Uint8Array[], random: Random): void {
  const at = random(pieces.length);
  const kind = random(3);
  if (kind === 0 && pieces.length > 1) pieces.splice(at, 1);
  else if (kind === 1) pieces.splice(at, 0, pieces[random(pieces.length)]!);
  else {
    const others = takenApart(sessions[random(sessions.length)]!);
    pieces.push(others[random(others.length)]!);
  }
}

/** Lets a chunk say of itself what is not so, or unpack to far more than it takes. */
function claim(piece: Piece | undefined, random: Random): void {
  if (!piece?.inner) return;
  const number = HUGE[random(HUGE.length)]!;
  const kind = random(5);
  if (kind === 0) piece.claims.size = number;
  else if (kind === 1) piece.claims.packed = number;
  else if (kind === 2) piece.claims.crc = Number(number & 0xffffffffn);
  else if (kind === 3) piece.claims.channel = random(24);
  else piece.claims.repeat = 1 << [12, 20, 24][random(3)]!;
}

function doubleMessage(pieces: readonly Piece[], random: Random): void {
  const inner = pieces.filter((piece) => piece.inner?.length)[0]?.inner;
  const found = messageIn(pieces, random);
  const home = found ? pieces.find((piece) => piece.inner?.includes(found))?.inner : inner;
  if (found && home) home.splice(random(home.length + 1), 0, { ...found });
}

function changeOpcode(piece: Piece | undefined, random: Random): void {
  const one = piece?.inner ? piece.inner[random(piece.inner.length)] : piece;
  if (one) one.opcode = [0, 1, 3, 4, 5, 6, 15, 128, 255][random(9)]!;
}

/** Flips, fills, cuts. */
function bytesChanged(bytes: Uint8Array, random: Random): Uint8Array {
  const changed = bytes.slice();
  const at = random(changed.length);
  const kind = random(3);
  if (kind === 0) changed[at]! ^= 1 << random(8);
  else if (kind === 1) changed.fill(0xff, at, at + 1 + random(8));
  return kind === 2 ? changed.subarray(0, at) : changed;
}
