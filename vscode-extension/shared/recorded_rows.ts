/** Rows of Gradients messages, read where they stand: a record object for each would cost more than its numbers. */

import { UnreadableError, viewOf } from "./mcap_bytes";
import type { Unpacked } from "./recorded_chunks";
import { MessagePack } from "./recorded_msgpack";
import type { SessionReader } from "./recorded_reader";
import type { Topics } from "./session";

/** Where a column stands in its chunk. */
export interface ColumnPlace {
  readonly dtype: string;
  readonly at: number;
  readonly bytes: number;
}

/** Where a Gradients message has what. */
export interface GradientsPlaces {
  step: number;
  backward: number;
  kind: string;
  stop: number;
  subjects: ColumnPlace | null;
  readonly columns: Map<string, ColumnPlace>;
}

/** Hands over the messages of a topic in a chunk; one that does not fit is a gap. */
export function eachMessage(
  reader: SessionReader,
  topic: keyof Topics,
  { entry, content }: Unpacked,
  take: (view: DataView, message: MessagePack) => void,
): void {
  const channel = reader.channelOf(topic);
  const view = viewOf(content.data);
  for (let i = 0; i < content.count; i++) {
    if (content.channel[i] !== channel) continue;
    try {
      take(view, new MessagePack(content.data, content.start[i], content.end[i]));
    } catch (error) {
      if (!(error instanceof UnreadableError)) throw error;
      reader.reportRecord(topic, entry, content.start[i]!, error);
    }
  }
}

/** Throws an UnreadableError. */
export function placesIn(from: MessagePack): GradientsPlaces {
  const places: GradientsPlaces = { step: Number.NaN, backward: Number.NaN, kind: "", stop: -1, subjects: null, columns: new Map() };
  for (let left = from.map(); left > 0; left--) {
    switch (from.key()) {
      case "step": places.step = Number(from.int()); break;
      case "backward": places.backward = Number(from.int()); break;
      case "subject_kind": places.kind = from.key(); break;
      case "stop": places.stop = Number(from.int()); break;
      case "subjects": places.subjects = columnIn(from); break;
      case "columns": for (let more = from.map(); more > 0; more--) places.columns.set(from.key(), columnIn(from)); break;
      default: from.skip();
    }
  }
  if (Number.isNaN(places.step) || Number.isNaN(places.backward)) throw new UnreadableError("it lacks the field step or backward");
  return places;
}

/** A Column, wherever one stands. Throws an UnreadableError. */
export function columnIn(from: MessagePack): ColumnPlace {
  let [dtype, at, bytes] = ["", 0, -1];
  for (let left = from.map(); left > 0; left--) {
    const key = from.key();
    if (key === "dtype") dtype = from.key();
    else if (key === "data") {
      bytes = from.bin().length;
      at = from.at - bytes;
    } else from.skip();
  }
  if (dtype === "" || bytes < 0) throw new UnreadableError("a column lacks its dtype or its data");
  return { dtype, at, bytes };
}

/** NaN where there is no such column. Throws an UnreadableError where it has no such row. */
export function valueAt(view: DataView, place: ColumnPlace | undefined, row: number): number {
  if (place === undefined) return Number.NaN;
  const { dtype, at, bytes } = place;
  const size = dtype.endsWith("8") ? 8 : 4;
  if ((row + 1) * size > bytes) throw new UnreadableError(`a column of ${JSON.stringify(dtype.slice(0, 8))} has no row ${row}`);
  const start = at + row * size;
  switch (dtype) {
    case "<f4": return view.getFloat32(start, true);
    case "<f8": return view.getFloat64(start, true);
    case "<u8": return view.getUint32(start, true) + view.getUint32(start + 4, true) * 2 ** 32;
    case "<i8": return Number(view.getBigInt64(start, true));
    case "<u4": return view.getUint32(start, true);
    case "<i4": return view.getInt32(start, true);
    default: throw new UnreadableError(`a column says its numbers are ${JSON.stringify(dtype.slice(0, 40))}`);
  }
}
