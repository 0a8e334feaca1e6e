/** zstd frames: what they say they hold, checked before anything is unpacked, and who unpacks them in this host. */

import { decompress as unpackSlowly } from "fzstd";
import { ZSTDDecoder } from "zstddec";
import { UnreadableError, sizeAt, viewOf, type Decompress } from "./mcap_bytes";

const MAGIC_NUMBER = 0xfd2fb528;
const LARGEST_BLOCK = 128 << 10;

/** One frame: the bytes it unpacks to (-1: it does not say), and how many bytes it takes. */
export interface Frame {
  readonly contentSize: number;
  readonly length: number;
}

/** Reads the heads of a frame and its blocks. Throws an UnreadableError, or a RangeError where it is cut. */
export function frameOf(bytes: Uint8Array): Frame {
  const view = viewOf(bytes);
  if (view.getUint32(0, true) !== MAGIC_NUMBER) throw new UnreadableError("it holds no zstd frame");
  const flags = view.getUint8(4);
  const singleSegment = (flags >> 5) & 1;
  const sizeAtByte = 6 - singleSegment + [0, 1, 2, 4][flags & 3]!;
  const sizeBytes = [singleSegment, 2, 4, 8][flags >> 6]!;
  return { contentSize: contentSize(view, sizeAtByte, sizeBytes), length: blocksEnd(view, sizeAtByte + sizeBytes) + (flags & 4) };
}

function contentSize(view: DataView, at: number, bytes: number): number {
  if (bytes === 0) return -1;
  if (bytes === 1) return view.getUint8(at);
  if (bytes === 2) return view.getUint16(at, true) + 256;
  return bytes === 4 ? view.getUint32(at, true) : sizeAt(view, at);
}

function blocksEnd(view: DataView, start: number): number {
  for (let at = start; ; ) {
    const head = view.getUint16(at, true) + (view.getUint8(at + 2) << 16);
    const type = (head >> 1) & 3;
    if (type === 3 || head >> 3 > LARGEST_BLOCK) throw new UnreadableError("a zstd block has no such kind or size");
    at += 3 + (type === 1 ? 1 : head >> 3);
    if (head & 1) return at;
  }
}

/** Node's own, where its version has it. */
export interface NodeZlib {
  readonly zstdDecompressSync?: (bytes: Uint8Array, options: { maxOutputLength: number; chunkSize: number }) => Uint8Array;
}

/** Below this Node's own takes longer to set up (50 us) than WebAssembly to unpack. */
const SMALL = 16 << 10;

/**
 * The fastest that this host has: Node's own (22.15 and later) for large frames, WebAssembly, or plain JavaScript where
 * a content security policy forbids that.
 */
export async function bestDecompress(zlib: NodeZlib | null): Promise<Decompress> {
  const small = (await webAssembly()) ?? plainDecompress;
  const own = zlib?.zstdDecompressSync;
  if (!own) return small;
  // One output buffer of the right size: by default it is put together from pieces of 16 KiB.
  const large: Decompress = (bytes, size) => own(bytes, { maxOutputLength: size, chunkSize: size });
  return (bytes, size) => (size < SMALL ? small : large)(bytes, size);
}

async function webAssembly(): Promise<Decompress | null> {
  const decoder = new ZSTDDecoder();
  try {
    await decoder.init();
    return (bytes, size) => decoder.decode(bytes, size);
  } catch {
    return null;
  }
}

/** In plain JavaScript: a sixth of the speed, and no WebAssembly. */
export const plainDecompress: Decompress = (bytes, size) => unpackSlowly(bytes, new Uint8Array(size));
