/** Which rows of a long list are drawn: those in view, a few around them, at most 60 while they fit the view. */

/** Overscan: what one turn of the wheel uncovers is drawn before it is seen. */
const AROUND = 6;
const MOST_ROWS = 59;

export interface RowRange {
  readonly first: number;
  /** One past the last. */
  readonly end: number;
}

/** `top` is how far the list's beginning is scrolled out of view, in px; rows in view are always drawn. */
export function rowRange(top: number, height: number, rowHeight: number, count: number): RowRange {
  const firstSeen = Math.min(count, Math.max(0, Math.floor(top / rowHeight)));
  const endSeen = Math.min(count, Math.max(firstSeen, Math.ceil((top + height) / rowHeight)));
  const around = Math.max(0, Math.min(AROUND, Math.floor((MOST_ROWS - (endSeen - firstSeen)) / 2)));
  return { first: Math.max(0, firstSeen - around), end: Math.min(count, endSeen + around) };
}

/** The area that scrolls a list: its own, or the view's (`data-scroll`), with sticky heads above the rows. */
export class ScrollArea {
  readonly #scroller: HTMLElement;
  readonly #list: HTMLElement;

  constructor(list: HTMLElement) {
    this.#list = list;
    this.#scroller = list.closest<HTMLElement>("[data-scroll]") ?? list;
  }

  get scroller(): HTMLElement {
    return this.#scroller;
  }

  /** Where no layout runs, a view of usual height. */
  get height(): number {
    return this.#scroller.clientHeight || 600;
  }

  /** How far the list's beginning lies above the area's upper edge. */
  get top(): number {
    return this.#scroller.getBoundingClientRect().top - this.#list.getBoundingClientRect().top;
  }

  scrollBy(delta: number): void {
    if (delta !== 0) this.#scroller.scrollTop += delta;
  }

  /** Whether the rows were in view while the area was higher by `more`. */
  wasSeen(top: number, bottom: number, more: number): boolean {
    return top >= this.top && bottom <= this.top + this.height + more;
  }

  /** Brings rows from `top` to `bottom` (px within the list) into view: at the edge, or centred when far away. */
  reveal(top: number, bottom: number): void {
    const from = this.top + this.#stickyHeight();
    const to = this.top + this.height;
    if (top >= from && bottom <= to) return;
    const near = top > from - 3 * (bottom - top) && bottom < to + 3 * (bottom - top);
    if (near) this.scrollBy(top < from ? top - from : bottom - to);
    else this.scrollBy((top + bottom) / 2 - (from + to) / 2);
  }

  #stickyHeight(): number {
    let height = 0;
    for (const head of this.#scroller.querySelectorAll("[data-sticky]")) height += head.getBoundingClientRect().height;
    return height;
  }
}
