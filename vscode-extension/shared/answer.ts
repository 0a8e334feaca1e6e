/** Reads the debuggee's JSON: one record of `session.ts` by its name, columns in base64. */

import type { Column, Condition, Failure, Snapshot, Values } from "./session";

export type Answer =
  | { readonly kind: "Snapshot"; readonly value: Snapshot }
  | { readonly kind: "Values"; readonly value: Values }
  | { readonly kind: "Conditions"; readonly value: readonly Condition[] }
  | { readonly kind: "Failure"; readonly value: Failure };

/** A numeric view of a column. 64-bit integers become numbers, exact to 2^53. */
export type Numbers = Float32Array | Float64Array | Int32Array | Uint32Array | Uint8Array;

/** Throws an Error that shows the beginning of the text when it is not an answer. */
export function parseAnswer(text: string): Answer {
  const parsed: unknown = parseJson(text);
  if (isAnswer(parsed)) return parsed;
  throw new Error(`The debuggee answered something else: ${text.slice(0, 200)}`);
}

function parseJson(text: string): unknown {
  try {
    return decodeColumns(JSON.parse(text) as unknown);
  } catch {
    return null;
  }
}

/** Of parsed JSON, in place: a reviver for JSON.parse takes five times as long on a first stop. Twice is as good as once. */
export function decodeColumns(value: unknown): unknown {
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return value;
  if (isEncodedColumn(value)) return decodeColumn(value);
  const entries = value as Record<string, unknown>;
  for (const key of Object.keys(entries)) {
    const entry = entries[key];
    if (typeof entry === "object" && entry !== null) entries[key] = decodeColumns(entry);
  }
  return value;
}

function isAnswer(value: unknown): value is Answer {
  return typeof value === "object" && value !== null && "kind" in value && "value" in value;
}

interface EncodedColumn {
  readonly dtype: string;
  readonly data: string;
}

function isEncodedColumn(value: unknown): value is EncodedColumn {
  if (typeof value !== "object" || value === null) return false;
  const column = value as { dtype?: unknown; data?: unknown };
  return typeof column.dtype === "string" && typeof column.data === "string";
}

function decodeColumn(encoded: EncodedColumn): Column {
  const binary = atob(encoded.data);
  const data = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) data[i] = binary.charCodeAt(i);
  return { dtype: encoded.dtype, data };
}

/** Throws a RangeError that names the dtype when it is none of the contract's. */
export function numbers(column: Column): Numbers {
  const { buffer, byteOffset, byteLength } = aligned(column.data);
  switch (column.dtype) {
    case "|u1":
      return new Uint8Array(buffer, byteOffset, byteLength);
    case "<i4":
      return new Int32Array(buffer, byteOffset, byteLength / 4);
    case "<u4":
      return new Uint32Array(buffer, byteOffset, byteLength / 4);
    case "<f4":
      return new Float32Array(buffer, byteOffset, byteLength / 4);
    case "<f8":
      return new Float64Array(buffer, byteOffset, byteLength / 8);
    case "<u8":
      return Float64Array.from(new BigUint64Array(buffer, byteOffset, byteLength / 8), Number);
    case "<i8":
      return Float64Array.from(new BigInt64Array(buffer, byteOffset, byteLength / 8), Number);
    default:
      throw new RangeError(`A column has the dtype ${column.dtype}, which this version cannot read.`);
  }
}

function aligned(data: Uint8Array): Uint8Array<ArrayBuffer> {
  return data.byteOffset % 8 === 0 && data.buffer instanceof ArrayBuffer
    ? (data as Uint8Array<ArrayBuffer>)
    : new Uint8Array(data);
}
