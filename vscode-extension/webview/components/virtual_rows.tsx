/** Rows of one height in any number: only those in view are in the document, the active one always is. */

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { useOwnId } from "../own_ids";
import { rowAction, TypeAhead, type VirtualRow } from "./row_keys";
import { rowRange, ScrollArea, type RowRange } from "./row_window";

export type { VirtualRow } from "./row_keys";

export type RowsRole = "tree" | "treegrid" | "listbox" | "grid";

const ROW_ROLES = { tree: "treeitem", treegrid: "row", listbox: "option", grid: "row" } as const;

/** For whoever holds `control`: the list acts, nothing is read back. */
export interface RowsControl {
  readonly scrollTo: (index: number) => void;
  readonly focus: () => void;
}

/**
 * The list scrolls with the nearest `data-scroll` ancestor (the view's one scroll area; heads that stick inside it
 * have `data-sticky`), or by itself where there is none and its class gives it a height.
 */
export interface VirtualRowsProps<Row extends VirtualRow> {
  readonly rows: readonly Row[];
  readonly role: RowsRole;
  /** The list's accessible name. */
  readonly label: string;
  readonly rowHeight: number;
  readonly render: (row: Row, index: number) => ComponentChildren;
  /** Key of the active row, which is the selected one; null for none. */
  readonly active: string | null;
  readonly onActive: (row: Row, index: number) => void;
  readonly onToggle?: (row: Row, open: boolean) => void;
  /** Enter and double click; `focus` with Ctrl or Cmd: the focus moves along. */
  readonly onEnter?: (row: Row, focus: boolean) => void;
  /** What type-ahead compares with. */
  readonly typeAhead?: (row: Row) => string;
  /** Ctrl+C on the active row, in full precision. */
  readonly copy?: (row: Row) => string;
  /** Keys before the list sees them; true takes the key. */
  readonly onKey?: (event: KeyboardEvent, row: Row | null) => boolean;
  readonly rowClass?: (row: Row) => string;
  /** One sentence in place of the row's own text. */
  readonly rowLabel?: (row: Row) => string;
  readonly class?: string;
  /** Drawn behind the rows, for what runs across them; given the rows that are drawn. */
  readonly backdrop?: (range: RowRange) => ComponentChildren;
  readonly control?: { current: RowsControl | null };
}

export function VirtualRows<Row extends VirtualRow>(props: VirtualRowsProps<Row>): JSX.Element {
  const { rows, rowHeight, role, active } = props;
  const id = useOwnId();
  const list = useRef<HTMLDivElement>(null);
  const indexOf = useMemo(() => new Map(rows.map((row, index) => [row.key, index])), [rows]);
  const activeIndex = active === null ? -1 : (indexOf.get(active) ?? -1);
  const [range, area] = useRange(list, rows.length, rowHeight);
  const hovered = useStillUnderPointer(area, indexOf, rowHeight);
  useRevealed(area, active, activeIndex, rowHeight);
  const act = useRowKeys(props, area, activeIndex);
  useControl(props, list, area);
  const drawn = drawnRows(range, activeIndex);
  const rowId = (index: number): string => `${id}-${encodeURIComponent(rows[index]!.key)}`;
  return (
    <div
      ref={list}
      class={`vrows ${props.class ?? ""}`}
      role={role}
      aria-label={props.label}
      aria-rowcount={role === "grid" || role === "treegrid" ? rows.length : undefined}
      aria-activedescendant={activeIndex < 0 ? undefined : rowId(activeIndex)}
      tabIndex={0}
      onKeyDown={act}
      onCopy={(event) => copyRow(event, props, activeIndex)}
      onPointerLeave={() => void (hovered.current = null)}
    >
      <div class="vrows-all" role="presentation" style={{ height: `${rows.length * rowHeight}px` }}>
        {props.backdrop?.(range)}
        {drawn.map((index) => (
          <RowBox key={rows[index]!.key} id={rowId(index)} list={props} index={index} active={index === activeIndex} hovered={hovered} />
        ))}
      </div>
    </div>
  );
}

/** The active row is drawn wherever it is, so that `aria-activedescendant` always points at something. */
function drawnRows({ first, end }: RowRange, active: number): readonly number[] {
  const drawn = Array.from({ length: Math.max(0, end - first) }, (_, at) => first + at);
  if (active < 0 || (active >= first && active < end)) return drawn;
  return active < first ? [active, ...drawn] : [...drawn, active];
}

interface RowBoxProps<Row extends VirtualRow> {
  readonly id: string;
  readonly list: VirtualRowsProps<Row>;
  readonly index: number;
  readonly active: boolean;
  readonly hovered: { current: string | null };
}

function RowBox<Row extends VirtualRow>({ id, list, index, active, hovered }: RowBoxProps<Row>): JSX.Element {
  const row = list.rows[index]!;
  const expandable = row.expanded !== undefined && row.expanded !== null;
  return (
    <div
      id={id}
      class={`vrow ${list.rowClass?.(row) ?? ""}`}
      role={ROW_ROLES[list.role]}
      aria-label={list.rowLabel?.(row)}
      aria-level={row.level}
      aria-setsize={row.setSize}
      aria-posinset={row.posInSet}
      aria-rowindex={list.role === "grid" || list.role === "treegrid" ? index + 1 : undefined}
      aria-expanded={expandable ? (row.expanded ? "true" : "false") : undefined}
      aria-selected={active}
      style={{ top: `${index * list.rowHeight}px`, height: `${list.rowHeight}px` }}
      onPointerEnter={() => void (hovered.current = row.key)}
      onClick={(event) => onRowClick(event, list, row, index)}
      onDblClick={() => (expandable ? list.onToggle?.(row, !row.expanded) : list.onEnter?.(row, false))}
    >
      {list.render(row, index)}
    </div>
  );
}

/** A press on the twistie opens and leaves the selection alone; links and buttons in a row act by themselves. */
function onRowClick<Row extends VirtualRow>(event: MouseEvent, list: VirtualRowsProps<Row>, row: Row, index: number): void {
  const target = event.target instanceof Element ? event.target : null;
  if (target?.closest("a, button, input")) return;
  if (target?.closest(".tw") && row.expanded !== undefined && row.expanded !== null) list.onToggle?.(row, !row.expanded);
  else list.onActive(row, index);
}

function useRange(list: { current: HTMLDivElement | null }, count: number, rowHeight: number): readonly [RowRange, { current: ScrollArea | null }] {
  const area = useRef<ScrollArea | null>(null);
  const [range, setRange] = useState<RowRange>(() => rowRange(0, 600, rowHeight, count));
  const measure = (): void => {
    if (!area.current) return;
    const next = rowRange(Math.max(0, area.current.top), area.current.height, rowHeight, count);
    setRange((now) => (now.first === next.first && now.end === next.end ? now : next));
  };
  const latest = useRef(measure);
  latest.current = measure;
  useLayoutEffect(() => {
    area.current = new ScrollArea(list.current!);
    const { scroller } = area.current;
    const again = (): void => latest.current();
    scroller.addEventListener("scroll", again, { passive: true });
    const observer = typeof ResizeObserver === "undefined" ? null : new ResizeObserver(again);
    observer?.observe(scroller);
    return () => {
      scroller.removeEventListener("scroll", again);
      observer?.disconnect();
    };
  }, []);
  // What stands above the list may have grown: cheap to look again after every render.
  useLayoutEffect(measure);
  return [range.end > count ? rowRange(range.first * rowHeight, 600, rowHeight, count) : range, area];
}

/** Rows may come and go above the pointer: the row it is on stays under it. */
function useStillUnderPointer(area: { current: ScrollArea | null }, indexOf: ReadonlyMap<string, number>, rowHeight: number): { current: string | null } {
  const hovered = useRef<string | null>(null);
  const before = useRef(indexOf);
  useLayoutEffect(() => {
    const [was, is] = [before.current, indexOf].map((indices) => indices.get(hovered.current ?? "")) as [number | undefined, number | undefined];
    before.current = indexOf;
    if (was !== undefined && is !== undefined) area.current?.scrollBy((is - was) * rowHeight);
  }, [indexOf]);
  return hovered;
}

/** A row that becomes active comes into view, and stays in view when a dock opens below it. */
function useRevealed(area: { current: ScrollArea | null }, active: string | null, index: number, rowHeight: number): void {
  const found = index >= 0;
  const top = useRef(-1);
  top.current = found ? index * rowHeight : -1;
  useLayoutEffect(() => {
    if (found) area.current?.reveal(top.current, top.current + rowHeight);
  }, [active, found]);
  useLayoutEffect(() => {
    const scroller = area.current?.scroller;
    if (!scroller || typeof ResizeObserver === "undefined") return;
    let height = scroller.clientHeight;
    const observer = new ResizeObserver(() => {
      const shrunk = height - scroller.clientHeight;
      height = scroller.clientHeight;
      if (shrunk > 0 && top.current >= 0 && area.current?.wasSeen(top.current, top.current + rowHeight, shrunk)) {
        area.current.reveal(top.current, top.current + rowHeight);
      }
    });
    observer.observe(scroller);
    return () => observer.disconnect();
  }, []);
}

function useRowKeys<Row extends VirtualRow>(props: VirtualRowsProps<Row>, area: { current: ScrollArea | null }, active: number): (event: KeyboardEvent) => void {
  const typing = useRef(new TypeAhead());
  return (event) => {
    if (event.target !== event.currentTarget && isField(event.target)) return;
    const { rows, rowHeight } = props;
    if (props.onKey?.(event, rows[active] ?? null)) return taken(event);
    if (event.altKey || ((event.ctrlKey || event.metaKey) && event.key !== "Enter")) return;
    const firstSeen = Math.max(0, Math.ceil((area.current?.top ?? 0) / rowHeight));
    const page = Math.floor((area.current?.height ?? 600) / rowHeight);
    const action = event.shiftKey ? null : rowAction(event.key, { rows, active, page, firstSeen });
    if (action) {
      const row = rows[action.index]!;
      if (action.kind === "go") props.onActive(row, action.index);
      else if (action.kind === "toggle") props.onToggle?.(row, action.open);
      else props.onEnter?.(row, event.ctrlKey || event.metaKey);
      return taken(event);
    }
    if (!props.typeAhead) return;
    const typed = typing.current.type(event.key, event.timeStamp, rows.map(props.typeAhead), active);
    if (typed.taken) taken(event);
    if (typed.index !== null) props.onActive(rows[typed.index]!, typed.index);
  };
}

function useControl<Row extends VirtualRow>(props: VirtualRowsProps<Row>, list: { current: HTMLDivElement | null }, area: { current: ScrollArea | null }): void {
  useEffect(() => {
    const { control, rowHeight } = props;
    if (!control) return;
    control.current = {
      scrollTo: (index) => area.current?.reveal(index * rowHeight, (index + 1) * rowHeight),
      focus: () => list.current?.focus(),
    };
    return () => void (control.current = null);
  }, [props.control, props.rowHeight]);
}

function copyRow<Row extends VirtualRow>(event: ClipboardEvent, { rows, copy }: VirtualRowsProps<Row>, active: number): void {
  const row = rows[active];
  if (!copy || !row || !event.clipboardData || !document.getSelection()?.isCollapsed) return;
  event.clipboardData.setData("text/plain", copy(row));
  event.preventDefault();
}

function isField(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.matches("input, textarea, select, button, a") || target.isContentEditable);
}

function taken(event: Event): void {
  event.preventDefault();
  event.stopPropagation();
}
