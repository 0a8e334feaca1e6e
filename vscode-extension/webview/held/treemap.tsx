/** Held bytes by module as areas: one choice among cells, moved by the arrow keys. */

import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";
import { formatBytes, formatPercent } from "../../shared/format";
import type { HeldModel } from "../../shared/held_model";
import { cellsOfModule, heldTreemap, type TreemapCell } from "../../shared/held_treemap";
import type { Selection } from "../../shared/selection";
import type { Module } from "../../shared/session";
import { heldText } from "../../shared/text";
import { useShownWidth } from "../components/shown_width";
import { useOwnId } from "../own_ids";

interface TreemapProps {
  readonly model: HeldModel;
  readonly height: number;
  readonly selection: Selection;
  readonly select: (selection: Selection) => void;
  /** The module of the node that runs, drawn with an accent outline. */
  readonly running: Module | undefined;
  readonly onTable: () => void;
}

export function Treemap(props: TreemapProps): JSX.Element | null {
  const { model, height, selection, select } = props;
  const [width, box] = useShownWidth();
  const cells = useMemo(() => heldTreemap(model, width, height).flatMap((group) => group.cells), [model, width, height]);
  const [active, setActive] = useState("");
  const ids = useOwnId();
  if (model.total <= 0) return null;
  const selected = selection.kind === "module" ? cellsOfModule(cells, selection) : [];
  const running = props.running ? cellsOfModule(cells, props.running) : [];
  const current = cells.find((cell) => cell.key === active) ?? selected[0] ?? cells[0];
  const choose = (cell: TreemapCell): void => {
    setActive(cell.key);
    if (cell.module) select({ kind: "module", ...cell.module });
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    if (!current || event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === "Enter" || event.key === " ") choose(current);
    else if (ARROWS[event.key]) setActive(neighbour(cells, current, event.key).key);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <section class="held-map">
      <div class="sh">
        <h3>{heldText.byModule}</h3>
        <span class="sp" />
        {running.length > 0 && <span class="dim held-hint">{heldText.outlined}</span>}
        <button type="button" class="link" onClick={props.onTable}>
          {heldText.asTable}
        </button>
      </div>
      <div
        ref={box}
        class="held-map-box"
        role="listbox"
        tabIndex={0}
        aria-label={heldText.treemap(cells.length, formatBytes(model.total))}
        aria-activedescendant={current ? idOf(ids, current) : undefined}
        onKeyDown={onKeyDown}
      >
        <svg width={width} height={height}>
          {cells.map((cell) => (
            <Cell
              key={cell.key}
              id={idOf(ids, cell)}
              cell={cell}
              total={model.total}
              selected={selected.includes(cell)}
              active={cell === current}
              running={running.includes(cell)}
              onChoose={() => choose(cell)}
            />
          ))}
        </svg>
      </div>
    </section>
  );
}

function idOf(ids: string, cell: TreemapCell): string {
  return `${ids}-${cell.key.replace(/\s/g, "-")}`;
}

interface CellProps {
  readonly id: string;
  readonly cell: TreemapCell;
  readonly total: number;
  readonly selected: boolean;
  readonly active: boolean;
  readonly running: boolean;
  readonly onChoose: () => void;
}

function Cell({ id, cell, total, selected, active, running, onChoose }: CellProps): JSX.Element {
  const name = cell.others > 0 ? heldText.others(cell.others) : cell.fullLabel;
  const bytes = formatBytes(cell.bytes);
  const sentence = heldText.cell(name, bytes, formatPercent(cell.bytes / total));
  const width = Math.max(0.5, cell.width - 1);
  const height = Math.max(0.5, cell.height - 1);
  const classes = `held-cell held-rank-${Math.min(2, cell.rank)}${selected ? " on" : ""}${active ? " active" : ""}${running ? " running" : ""}`;
  return (
    <g id={id} role="option" aria-selected={selected} aria-label={sentence} class={classes} onClick={onChoose}>
      <title>{sentence}</title>
      <rect x={cell.x} y={cell.y} width={width} height={height} />
      {(selected || active || running) && (
        <rect class="held-cell-outline" x={cell.x + 0.5} y={cell.y + 0.5} width={Math.max(0, width - 1)} height={Math.max(0, height - 1)} />
      )}
      <Label cell={cell} name={cell.others > 0 ? name : cell.label} bytes={bytes} />
    </g>
  );
}

/** Width of a character at the ticks' size, on the average. */
const CHARACTER = 5.1;
const PADDING = 5;

/** The name, and below it the bytes, where they fit; a path is shortened from the left. */
function Label({ cell, name, bytes }: { readonly cell: TreemapCell; readonly name: string; readonly bytes: string }): JSX.Element | null {
  const room = Math.floor((cell.width - PADDING - 3) / CHARACTER);
  const fitting = fit(name, room);
  if (!fitting || cell.height < 14) return null;
  return (
    <>
      <text x={cell.x + PADDING} y={cell.y + Math.min(12, cell.height - 3.5)} class="held-cell-name">
        {fitting}
      </text>
      {cell.height >= 32 && bytes.length <= room && (
        <text x={cell.x + PADDING} y={cell.y + 24}>
          {bytes}
        </text>
      )}
    </>
  );
}

/** Drops leading parts of a path until it fits: "blocks.0.attn", "0.attn", "attn"; "" where nothing does. */
export function fit(name: string, room: number): string {
  for (let rest = name; rest; rest = rest.slice(rest.indexOf(".") + 1)) {
    if (rest.length <= room) return rest;
    if (!rest.includes(".")) return "";
  }
  return "";
}

const ARROWS: Readonly<Record<string, readonly [number, number]>> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

/** The nearest cell in a direction, by the distance of centres; off the axis counts twice. */
export function neighbour(cells: readonly TreemapCell[], from: TreemapCell, key: string): TreemapCell {
  const [dx, dy] = ARROWS[key] ?? [0, 0];
  let best = from;
  let nearest = Infinity;
  for (const cell of cells) {
    const x = cell.x + cell.width / 2 - (from.x + from.width / 2);
    const y = cell.y + cell.height / 2 - (from.y + from.height / 2);
    const along = x * dx + y * dy;
    const across = Math.abs(x * dy) + Math.abs(y * dx);
    const distance = along + 2 * across;
    if (along > 0.5 && distance < nearest) [best, nearest] = [cell, distance];
  }
  return best;
}
