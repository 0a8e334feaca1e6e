/** What is posted to a page: VS Code's channel to a webview carries JSON and the buffers behind typed arrays, no bigint. */

/** A view is copied out of a buffer that is this much larger: the whole buffer crosses with it. */
const MOST_BESIDE = 4096;

/**
 * `value` with Numbers in place of bigints (times lose what a double does not hold, a quarter of a microsecond). What has
 * none is given back as it is; so is a typed array, unless it is a small part of a large buffer, or a kind of its own.
 */
export function plain<T>(value: T): T {
  return converted(value) as T;
}

function converted(value: unknown): unknown {
  if (typeof value === "bigint") return Number(value);
  if (typeof value !== "object" || value === null) return value;
  if (ArrayBuffer.isView(value)) return ownBytes(value);
  return Array.isArray(value) ? convertedList(value) : convertedFields(value as Record<string, unknown>);
}

function convertedList(list: readonly unknown[]): readonly unknown[] {
  let copy: unknown[] | null = null;
  for (let i = 0; i < list.length; i++) {
    const now = converted(list[i]);
    if (now !== list[i] && !Number.isNaN(now)) (copy ??= [...list])[i] = now;
  }
  return copy ?? list;
}

function convertedFields(fields: Record<string, unknown>): Record<string, unknown> {
  let copy: Record<string, unknown> | null = null;
  for (const key of Object.keys(fields)) {
    const now = converted(fields[key]);
    if (now !== fields[key] && !Number.isNaN(now)) (copy ??= { ...fields })[key] = now;
  }
  return copy ?? fields;
}

/** A Node Buffer would arrive as a list of numbers. */
function ownBytes(view: ArrayBufferView): ArrayBufferView {
  const foreign = view instanceof Uint8Array && view.constructor !== Uint8Array;
  if (foreign || (view instanceof Uint8Array && view.buffer.byteLength - view.byteLength > MOST_BESIDE)) return new Uint8Array(view);
  return view;
}
