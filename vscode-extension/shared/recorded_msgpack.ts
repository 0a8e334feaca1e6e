/** A cursor over MessagePack. No length is believed before the bytes are there, and nothing recurses. */

import { UnreadableError, textOf, viewOf } from "./mcap_bytes";

/** What stands at the cursor; `ext` is never what a record holds. */
export type MessagePackKind = "nil" | "bool" | "int" | "float" | "str" | "bin" | "list" | "map" | "ext";

const SHORT = 24;

/** Every reading moves on, and throws an UnreadableError at what does not fit or is of another kind. */
export class MessagePack {
  at: number;
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  readonly #end: number;

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#view = viewOf(bytes);
    this.at = start;
    this.#end = end;
  }

  get done(): boolean {
    return this.at >= this.#end;
  }

  kind(): MessagePackKind {
    const tag = this.#peek();
    if (tag <= 0x7f || tag >= 0xe0) return "int";
    if (tag <= 0x8f) return "map";
    if (tag <= 0x9f) return "list";
    if (tag <= 0xbf) return "str";
    return KINDS[tag - 0xc0]!;
  }

  nil(): boolean {
    if (this.#peek() !== 0xc0) return false;
    this.at++;
    return true;
  }

  bool(): boolean {
    const tag = this.#peek();
    if (tag !== 0xc2 && tag !== 0xc3) throw this.#other("bool");
    this.at++;
    return tag === 0xc3;
  }

  /** A bigint where it is beyond 2^53. */
  int(): number | bigint {
    const tag = this.#peek();
    if (tag <= 0x7f) return this.at++, tag;
    if (tag >= 0xe0) return this.at++, tag - 256;
    if (tag < 0xcc || tag > 0xd3) throw this.#other("int");
    const at = this.#take(1, 1 << (tag & 3)) + 1;
    switch (tag) {
      case 0xcc: return this.#view.getUint8(at);
      case 0xcd: return this.#view.getUint16(at);
      case 0xce: return this.#view.getUint32(at);
      case 0xcf: return plain(this.#view.getBigUint64(at));
      case 0xd0: return this.#view.getInt8(at);
      case 0xd1: return this.#view.getInt16(at);
      case 0xd2: return this.#view.getInt32(at);
      default: return plain(this.#view.getBigInt64(at));
    }
  }

  /** An int stands for a float too. */
  float(): number {
    const tag = this.#peek();
    if (tag === 0xca) return this.#view.getFloat32(this.#take(1, 4) + 1);
    if (tag === 0xcb) return this.#view.getFloat64(this.#take(1, 8) + 1);
    return Number(this.int());
  }

  str(): string {
    const [start, end] = this.#span("str", 0xa0, 0x1f, 0xd9);
    return textOf(this.#bytes.subarray(start, end));
  }

  /** The short names of fields, which are met over and over. */
  key(): string {
    const [start, end] = this.#span("str", 0xa0, 0x1f, 0xd9);
    return end - start > SHORT ? textOf(this.#bytes.subarray(start, end)) : shortName(this.#bytes, start, end);
  }

  /** A view, not a copy. */
  bin(): Uint8Array {
    const [start, end] = this.#span("bin", -1, 0, 0xc4);
    return this.#bytes.subarray(start, end);
  }

  /** How many entries follow: not more than there are bytes for. */
  list(): number {
    return this.#count("list", 0x90, 0xdc, 1);
  }

  /** How many keys and values follow. */
  map(): number {
    return this.#count("map", 0x80, 0xde, 2);
  }

  /** Goes behind one value, whatever it is. */
  skip(): void {
    for (let left = 1; left > 0; left--) {
      const kind = this.kind();
      if (kind === "list") left += this.list();
      else if (kind === "map") left += 2 * this.map();
      else this.#skipOne(kind);
      if (left > this.#end - this.at + 1) throw new UnreadableError(`a value at byte ${this.at} claims more than there is`);
    }
  }

  #skipOne(kind: MessagePackKind): void {
    if (kind === "nil") this.at++;
    else if (kind === "bool") this.bool();
    else if (kind === "int") this.int();
    else if (kind === "float") this.float();
    else if (kind === "str") this.#span("str", 0xa0, 0x1f, 0xd9);
    else if (kind === "bin") this.bin();
    else this.#skipExt();
  }

  #skipExt(): void {
    const tag = this.#peek();
    if (tag >= 0xd4 && tag <= 0xd8) this.#take(2, 1 << (tag - 0xd4));
    else if (tag >= 0xc7 && tag <= 0xc9) this.#lengthBehind(tag - 0xc7, 1);
    else throw new UnreadableError(`byte ${this.at} begins no value (0x${tag.toString(16)})`);
  }

  #peek(): number {
    if (this.at >= this.#end) throw new UnreadableError(`it is cut at byte ${this.at}`);
    return this.#bytes[this.at]!;
  }

  /** Moves over `head` and `length` bytes, which must be there; gives where they began. */
  #take(head: number, length: number): number {
    const start = this.at;
    if (start + head + length > this.#end) throw new UnreadableError(`a value at byte ${start} claims ${length} bytes`);
    this.at = start + head + length;
    return start;
  }

  /** Content behind a length of 1, 2 or 4 bytes (`size` 0, 1, 2); gives where it begins. */
  #lengthBehind(size: number, extra = 0): number {
    const start = this.at + 1;
    const bytes = 1 << size;
    if (start + bytes > this.#end) throw new UnreadableError(`it is cut at byte ${this.at}`);
    const length = size === 0 ? this.#view.getUint8(start) : size === 1 ? this.#view.getUint16(start) : this.#view.getUint32(start);
    return this.#take(1 + bytes + extra, length) + 1 + bytes + extra;
  }

  #span(kind: MessagePackKind, fixed: number, mask: number, first: number): [number, number] {
    const tag = this.#peek();
    if (fixed >= 0 && (tag & ~mask) === fixed) {
      const start = this.#take(1, tag & mask) + 1;
      return [start, this.at];
    }
    if (tag < first || tag > first + 2) throw this.#other(kind);
    const start = this.#lengthBehind(tag - first);
    return [start, this.at];
  }

  #count(kind: MessagePackKind, fixed: number, first: number, each: number): number {
    const tag = this.#peek();
    const start = this.at;
    let count = tag & 0x0f;
    if ((tag & 0xf0) === fixed) this.at++;
    else if (tag === first) count = this.#view.getUint16(this.#take(1, 2) + 1);
    else if (tag === first + 1) count = this.#view.getUint32(this.#take(1, 4) + 1);
    else throw this.#other(kind);
    if (count * each > this.#end - this.at) throw new UnreadableError(`a ${kind} at byte ${start} claims ${count} entries`);
    return count;
  }

  #other(wanted: MessagePackKind): UnreadableError {
    return new UnreadableError(`a ${this.kind()} stands at byte ${this.at}, where ${wanted === "int" ? "an" : "a"} ${wanted} should be`);
  }
}

/** 0xc0 to 0xdf. 0xc1 is none. */
const KINDS: readonly MessagePackKind[] = [
  "nil", "ext", "bool", "bool", "bin", "bin", "bin", "ext", "ext", "ext", "float", "float", "int", "int", "int", "int",
  "int", "int", "int", "int", "ext", "ext", "ext", "ext", "ext", "str", "str", "str", "list", "list", "map", "map",
];

function plain(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

interface KnownName {
  readonly bytes: Uint8Array;
  readonly name: string;
}

const NAMES = new Map<number, KnownName[]>();
const MOST_NAMES = 8;
const MOST_LOOKS = 1024;

function shortName(bytes: Uint8Array, start: number, end: number): string {
  const length = end - start;
  if (length === 0) return "";
  const look = length + (bytes[start]! << 5) + (bytes[start + (length >> 1)]! << 13) + (bytes[end - 1]! << 21);
  let known = NAMES.get(look);
  if (!known && NAMES.size < MOST_LOOKS) NAMES.set(look, (known = []));
  for (const one of known ?? []) if (same(one.bytes, bytes, start, end)) return one.name;
  const own = bytes.slice(start, end);
  const name = textOf(own);
  if (known && known.length < MOST_NAMES) known.push({ bytes: own, name });
  return name;
}

function same(known: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  if (known.length !== end - start) return false;
  for (let i = 0; i < known.length; i++) if (known[i] !== bytes[start + i]) return false;
  return true;
}
