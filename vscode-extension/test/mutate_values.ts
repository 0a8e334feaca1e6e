/** Changes one value in a MessagePack record, by its bytes: the record around it stays whole, or does not. */

import { viewOf } from "../shared/mcap_bytes";
import { joined, type Random } from "./mutate";

interface Value {
  readonly start: number;
  readonly end: number;
  /** Where the bytes of a text or of binary data begin, else `start`. */
  readonly body: number;
  readonly kind: "bin" | "text" | "number" | "list" | "other";
}

const DEEPEST = 64;

/** `payload` with a value replaced, doubled, cut or torn. */
export function changedPayload(payload: Uint8Array, random: Random): Uint8Array {
  const values: Value[] = [];
  walk(payload, 0, 0, values);
  const value = values[random(values.length)];
  if (value === undefined) return payload;
  const own = payload.subarray(value.start, value.end);
  const kind = random(10);
  if (value.kind === "bin" && kind < 6) return spliced(payload, value, binary(columnChanged(payload.slice(value.body, value.end), random)));
  if (value.kind === "text" && kind < 4) return spliced(payload, value, text(TEXTS[random(TEXTS.length)]!));
  if (value.kind === "number" && kind < 6) return spliced(payload, value, NUMBERS[random(NUMBERS.length)]!);
  if (value.kind === "list" && kind < 4) return spliced(payload, value, listOf(own, random));
  return spliced(payload, value, OTHERS[random(OTHERS.length)]!());
}

function spliced(payload: Uint8Array, { start, end }: Value, by: Uint8Array): Uint8Array {
  return joined(payload.subarray(0, start), by, payload.subarray(end));
}

/** Notes every value from `at` on that can be read; returns where it ends. */
function walk(bytes: Uint8Array, at: number, depth: number, values: Value[]): number {
  const tag = bytes[at];
  if (tag === undefined || depth > DEEPEST) return bytes.length;
  const counts = childrenOf(bytes, at, tag);
  if (counts !== null) {
    const place = values.push({ start: at, end: at, body: at, kind: counts.isMap ? "other" : "list" }) - 1;
    let end = at + counts.head;
    for (let left = counts.children; left > 0 && end < bytes.length; left--) end = walk(bytes, end, depth + 1, values);
    values[place] = { ...values[place]!, end };
    return end;
  }
  const [head, length, kind] = plainSize(bytes, at, tag);
  const end = Math.min(bytes.length, at + head + length);
  values.push({ start: at, end, body: Math.min(end, at + head), kind });
  return end;
}

function childrenOf(bytes: Uint8Array, at: number, tag: number): { head: number; children: number; isMap: boolean } | null {
  if (tag >= 0x80 && tag <= 0x8f) return { head: 1, children: 2 * (tag & 15), isMap: true };
  if (tag >= 0x90 && tag <= 0x9f) return { head: 1, children: tag & 15, isMap: false };
  if (tag < 0xdc || tag > 0xdf || at + 5 > bytes.length) return null;
  const wide = tag === 0xdd || tag === 0xdf;
  const count = wide ? viewOf(bytes).getUint32(at + 1) : viewOf(bytes).getUint16(at + 1);
  const isMap = tag >= 0xde;
  return { head: wide ? 5 : 3, children: isMap ? 2 * count : count, isMap };
}

function plainSize(bytes: Uint8Array, at: number, tag: number): readonly [head: number, length: number, kind: Value["kind"]] {
  const sized = (width: 1 | 2 | 4): number => {
    if (at + 1 + width > bytes.length) return 0;
    const view = viewOf(bytes);
    return width === 1 ? view.getUint8(at + 1) : width === 2 ? view.getUint16(at + 1) : view.getUint32(at + 1);
  };
  if (tag >= 0xa0 && tag <= 0xbf) return [1, tag & 31, "text"];
  if (tag >= 0xd9 && tag <= 0xdb) return [1 + (1 << (tag - 0xd9)), sized((1 << (tag - 0xd9)) as 1 | 2 | 4), "text"];
  if (tag >= 0xc4 && tag <= 0xc6) return [1 + (1 << (tag - 0xc4)), sized((1 << (tag - 0xc4)) as 1 | 2 | 4), "bin"];
  if (tag >= 0xcc && tag <= 0xd3) return [1 + (1 << ((tag - 0xcc) & 3)), 0, "number"];
  if (tag === 0xca) return [5, 0, "number"];
  if (tag === 0xcb) return [9, 0, "number"];
  return [1, 0, tag < 0x80 || tag >= 0xe0 ? "number" : "other"];
}

/** Other numbers, or another length than the record says. */
function columnChanged(data: Uint8Array, random: Random): Uint8Array {
  const kind = random(4);
  if (kind === 0) return data.subarray(0, random(data.length + 1));
  if (kind === 1) return joined(...Array.from({ length: [2, 3, 64][random(3)]! }, () => data));
  if (kind === 2) return data.fill([0, 1, 0x7f, 0x80, 0xff][random(5)]!);
  for (let i = random(8) + 1; i > 0 && data.length > 0; i--) data[random(data.length)] = random(256);
  return data;
}

/** The list twice in itself, or as often as makes it large. */
function listOf(own: Uint8Array, random: Random): Uint8Array {
  const times = [2, 3, 5000][random(3)]!;
  const one = own.length < 64 ? own : own.subarray(0, 0);
  return joined(wide(0xdd, one.length > 0 ? times : 0), ...Array.from({ length: one.length > 0 ? times : 0 }, () => one));
}

function wide(tag: number, count: number): Uint8Array {
  const head = new Uint8Array(5);
  head[0] = tag;
  viewOf(head).setUint32(1, count);
  return head;
}

function binary(data: Uint8Array): Uint8Array {
  return joined(wide(0xc6, data.length), data);
}

function text(of: string): Uint8Array {
  const bytes = new TextEncoder().encode(of);
  return joined(wide(0xdb, bytes.length), bytes);
}

const TEXTS = [
  "", "\0", "../../etc/passwd", "</script><script>alert(1)</script>", "__proto__", "constructor", "x".repeat(70_000), "\u202e\ufffe\u{10ffff}",
  "<f4", "<f8", "<u8", "<i8", "|u1", "<u4", ">f4", "|O", "parameter", "nodes", "nan",
] as const;

const NUMBERS = [
  Uint8Array.of(0), Uint8Array.of(0xff), Uint8Array.of(0x7f), Uint8Array.of(0xce, 0x7f, 0xff, 0xff, 0xff), Uint8Array.of(0xce, 0xff, 0xff, 0xff, 0xff),
  Uint8Array.of(0xcf, 0, 0x20, 0, 0, 0, 0, 0, 1), Uint8Array.of(0xcf, ...new Array<number>(8).fill(0xff)), Uint8Array.of(0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0),
  Uint8Array.of(0xca, 0x7f, 0xc0, 0, 0), Uint8Array.of(0xca, 0x7f, 0x80, 0, 0), Uint8Array.of(0xcb, 0x7f, 0xef, ...new Array<number>(6).fill(0xff)),
] as const;

/** Values of another kind, counts of what is not there, texts that are none, and deep nesting. */
const OTHERS: readonly (() => Uint8Array)[] = [
  () => Uint8Array.of(0xc0), () => Uint8Array.of(0xc3), () => Uint8Array.of(0x90), () => Uint8Array.of(0x80), () => Uint8Array.of(0xff), () => text("text"),
  () => binary(new Uint8Array(0)), () => binary(new Uint8Array(1 << 16)), () => Uint8Array.of(0xdd, 0xff, 0xff, 0xff, 0xff), () => Uint8Array.of(0xdf, 0xff, 0xff, 0xff, 0xff),
  () => Uint8Array.of(0xc6, 0x7f, 0xff, 0xff, 0xff), () => Uint8Array.of(0xa3, 0xff, 0xfe, 0xfd), () => Uint8Array.of(0xc1), () => new Uint8Array(0),
  () => joined(new Uint8Array(50_000).fill(0x91), Uint8Array.of(0xc0)), () => Uint8Array.of(0xc7, 8, 1),
];
