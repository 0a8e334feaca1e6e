/** Records out of MessagePack, field by field as `recorded_fields.ts` says they must be. */

import { UnreadableError } from "./mcap_bytes";
import { FIELDS, RECORD_OF, type Shape } from "./recorded_fields";
import { MessagePack } from "./recorded_msgpack";
import type { Topics } from "./session";

/** Lists and maps of one record hold no more entries than this together: a hundred thousand parameters need half. */
const MOST_ENTRIES = 4_000_000;

interface Decoding {
  readonly from: MessagePack;
  left: number;
}

type Decoder = (decoding: Decoding) => unknown;

interface RecordDecoder {
  readonly fields: ReadonlyMap<string, Decoder>;
  readonly required: readonly string[];
}

const RECORDS = new Map<string, RecordDecoder>();

/** Throws an UnreadableError that names the field. Unknown fields are ignored. */
export function decodeRecord<T extends keyof Topics>(topic: T, bytes: Uint8Array, start: number, end: number): Topics[T] {
  const from = new MessagePack(bytes, start, end);
  const record = decoded(recordDecoder(RECORD_OF[topic]), { from, left: MOST_ENTRIES });
  if (!from.done) throw new UnreadableError(`${end - from.at} bytes stand behind it`);
  return record as unknown as Topics[T];
}

function recordDecoder(name: string): RecordDecoder {
  const known = RECORDS.get(name);
  if (known) return known;
  const shapes = Object.entries(FIELDS[name] ?? {});
  const fields = new Map(shapes.map(([key, shape]) => [key.replace(/\?$/, ""), decoderOf(shape)]));
  const made = { fields, required: shapes.map(([key]) => key).filter((key) => !key.endsWith("?")) };
  RECORDS.set(name, made);
  return made;
}

function decoded({ fields, required }: RecordDecoder, decoding: Decoding): Record<string, unknown> {
  const record: Record<string, unknown> = {};
  for (let left = take(decoding, decoding.from.map()); left > 0; left--) {
    const name = decoding.from.key();
    const decoder = fields.get(name);
    if (decoder) record[name] = named(name, decoder, decoding);
    else decoding.from.skip();
  }
  for (const name of required) if (record[name] === undefined) throw new UnreadableError(`it lacks the field ${name}`);
  return record;
}

function named(name: string, decoder: Decoder, decoding: Decoding): unknown {
  try {
    return decoder(decoding);
  } catch (error) {
    if (!(error instanceof UnreadableError) || error.message.startsWith("in ")) throw error;
    throw new UnreadableError(`in ${name}, ${error.message}`);
  }
}

function take(decoding: Decoding, count: number): number {
  decoding.left -= count;
  if (decoding.left < 0) throw new UnreadableError(`it has more than ${MOST_ENTRIES} entries`);
  return count;
}

function decoderOf(shape: Shape): Decoder {
  if (typeof shape === "string") return PLAIN[shape] ?? ((decoding) => decoded(recordDecoder(shape), decoding));
  if ("list" in shape) return listDecoder(decoderOf(shape.list));
  if ("map" in shape) return mapDecoder(decoderOf(shape.map));
  if ("words" in shape) return wordDecoder(shape.words);
  const inner = decoderOf(shape.maybe);
  return (decoding) => (decoding.from.nil() ? null : inner(decoding));
}

const PLAIN: Readonly<Record<string, Decoder>> = {
  str: ({ from }) => from.str(),
  bool: ({ from }) => from.bool(),
  int: ({ from }) => Number(from.int()),
  time: ({ from }) => from.int(),
  float: ({ from }) => from.float(),
  bytes: ({ from }) => from.bin(),
};

function listDecoder(item: Decoder): Decoder {
  return (decoding) => {
    const list: unknown[] = [];
    for (let left = take(decoding, decoding.from.list()); left > 0; left--) list.push(item(decoding));
    return list;
  };
}

function mapDecoder(value: Decoder): Decoder {
  return (decoding) => {
    const map: Record<string, unknown> = {};
    for (let left = take(decoding, decoding.from.map()); left > 0; left--) {
      const key = decoding.from.key();
      const one = value(decoding);
      // Assigned, that name would change the map's prototype.
      if (key !== "__proto__") map[key] = one;
    }
    return map;
  };
}

function wordDecoder(words: readonly string[]): Decoder {
  return ({ from }) => {
    const word = from.key();
    if (!words.includes(word)) throw new UnreadableError(`${JSON.stringify(word.slice(0, 40))} is none of: ${words.join(", ")}`);
    return word;
  };
}
