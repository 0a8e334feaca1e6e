/** What a key does in a list or tree of rows. Pure: the component applies the answer. */

/** What a row tells the list about itself. */
export interface VirtualRow {
  readonly key: string;
  /** Depth from 1; rows of a flat list have none. */
  readonly level?: number;
  /** Null or absent: nothing to open. */
  readonly expanded?: boolean | null;
  /** Among its siblings, counted from 1. */
  readonly setSize?: number;
  readonly posInSet?: number;
}

export type RowAction =
  | { readonly kind: "go"; readonly index: number }
  | { readonly kind: "toggle"; readonly index: number; readonly open: boolean }
  | { readonly kind: "enter"; readonly index: number };

export interface RowKeyContext {
  readonly rows: readonly VirtualRow[];
  /** -1 where no row is active yet. */
  readonly active: number;
  /** How many rows fit the view. */
  readonly page: number;
  /** The first row in view: where the arrows begin while no row is active. */
  readonly firstSeen: number;
}

/** Null where the key is not the list's. */
export function rowAction(key: string, context: RowKeyContext): RowAction | null {
  const { rows, active, page, firstSeen } = context;
  if (rows.length === 0) return null;
  const last = rows.length - 1;
  const go = (index: number): RowAction => ({ kind: "go", index: Math.min(last, Math.max(0, index)) });
  const here = Math.max(0, active);
  switch (key) {
    case "ArrowDown":
      return go(active < 0 ? firstSeen : active + 1);
    case "ArrowUp":
      return go(active < 0 ? firstSeen : active - 1);
    case "PageDown":
      return go(here + Math.max(1, page - 1));
    case "PageUp":
      return go(here - Math.max(1, page - 1));
    case "Home":
      return go(0);
    case "End":
      return go(last);
    case "ArrowRight":
      return active < 0 ? null : opened(rows, active);
    case "ArrowLeft":
      return active < 0 ? null : closed(rows, active);
    case "Enter":
      return active < 0 ? null : { kind: "enter", index: active };
    default:
      return null;
  }
}

/** Right: opens a closed row, then goes to its first child. */
function opened(rows: readonly VirtualRow[], active: number): RowAction | null {
  const row = rows[active]!;
  if (row.expanded === false) return { kind: "toggle", index: active, open: true };
  const next = rows[active + 1];
  return row.expanded && next && (next.level ?? 1) > (row.level ?? 1) ? { kind: "go", index: active + 1 } : null;
}

/** Left: closes an open row, then goes to its parent. */
function closed(rows: readonly VirtualRow[], active: number): RowAction | null {
  const row = rows[active]!;
  if (row.expanded) return { kind: "toggle", index: active, open: false };
  for (let index = active - 1; index >= 0; index--) {
    if ((rows[index]!.level ?? 1) < (row.level ?? 1)) return { kind: "go", index };
  }
  return null;
}

/** Letters that the panel itself answers to: they never begin a type-ahead, and may go on with one. */
const PANEL_LETTERS = "fnb123/[]";
const PAUSE_MS = 700;

/** Letters typed in quick succession, as one word. */
export class TypeAhead {
  #typed = "";
  #atMs = -Infinity;

  /** The row to go to; null where the letter is the panel's own or nothing matches; `taken` where it was typed here. */
  type(letter: string, now: number, labels: readonly string[], active: number): { readonly taken: boolean; readonly index: number | null } {
    const goesOn = now - this.#atMs < PAUSE_MS;
    const small = letter.toLowerCase();
    if (letter.length !== 1 || letter === " " || (!goesOn && PANEL_LETTERS.includes(small))) return { taken: false, index: null };
    this.#typed = goesOn ? this.#typed + small : small;
    this.#atMs = now;
    return { taken: true, index: this.#find(labels, active) };
  }

  /** One letter goes on to the next match, a longer word may stay on the row it is on. */
  #find(labels: readonly string[], active: number): number | null {
    const from = this.#typed.length === 1 ? active + 1 : Math.max(0, active);
    for (let step = 0; step < labels.length; step++) {
      const index = (from + step) % labels.length;
      if (labels[index]!.toLowerCase().startsWith(this.#typed)) return index;
    }
    return null;
  }
}
