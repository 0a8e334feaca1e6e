/** Held bytes by line, module, op or dtype: a tree whose groups open to their saved tensors. */

import type { JSX } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { heldGroups, selectedGroup, selectionOf, type Grouping, type HeldGroup } from "../../shared/held_groups";
import type { HeldModel } from "../../shared/held_model";
import { axisBytes, heldRows, rowKey, type HeldRow } from "../../shared/held_rows";
import type { Selection } from "../../shared/selection";
import { heldText } from "../../shared/text";
import { VirtualRows } from "../components/virtual_rows";
import { useStored } from "../stored";
import type { ViewProps } from "../view";
import { copiedRow, HeldRowView, rowName, rowSentence, type RowSettings } from "./held_row";

interface HeldTableProps {
  readonly props: ViewProps;
  readonly model: HeldModel;
  readonly grouping: Grouping;
  /** The ledger row of the saved tensor that is active; null for none. */
  readonly onTensor: (row: number | null) => void;
}

const NARROW = 420;
const ROW_HEIGHT = 22;
/** So many groups are shown at first: the treemap below stays in reach. */
const AT_FIRST = 13;

export function HeldTable({ props, model, grouping, onTensor }: HeldTableProps): JSX.Element {
  const all = useMemo(() => heldGroups(model, grouping), [model, grouping]);
  const [whole, setWhole] = useState(false);
  const [opened, setOpened] = useStored<readonly string[]>(`held.open.${grouping}`, []);
  const selected = selectedGroup(model, all, props.selection);
  const groups = whole || selected >= AT_FIRST ? all : all.slice(0, AT_FIRST);
  const rows = useMemo(() => heldRows(model, groups, new Set(opened)), [model, groups, opened]);
  const [active, choose] = useActive(props, rows, all[selected]);
  const activeRow = rows.find(({ key }) => key === active);
  const tensor = activeRow?.kind === "tensor" ? activeRow.tensor.row : null;
  useEffect(() => onTensor(tensor), [model, tensor]);
  const settings: RowSettings = {
    model,
    axis: axisBytes(all),
    narrow: props.width < NARROW,
    grouping,
    onOpen: (file, line, focus) => openSource(props, file, line, focus),
  };
  if (all.length === 0) return <p class="held-empty">{heldText.nothingHeldWhy}</p>;
  return (
    <>
      <VirtualRows
        rows={rows}
        role="tree"
        label={heldText.table(heldText.groupings[grouping])}
        rowHeight={ROW_HEIGHT}
        active={active}
        onActive={choose}
        onToggle={({ key }, open) => setOpened(open ? [...opened, key] : opened.filter((other) => other !== key))}
        onEnter={(row, focus) => enter(props, row, focus)}
        typeAhead={rowName}
        copy={(row) => copiedRow(row, model)}
        rowLabel={(row) => rowSentence(row, model)}
        render={(row) => <HeldRowView row={row} settings={settings} />}
      />
      {(groups.length < all.length || whole) && (
        <button type="button" class="link held-more" onClick={() => setWhole(!whole)}>
          {whole ? heldText.showFewer : heldText.showAll(all.length)}
        </button>
      )}
    </>
  );
}

interface Choice {
  readonly key: string;
  /** What was selected when the row was chosen: another selection elsewhere ends the choice. */
  readonly selection: Selection;
}

/** The active row's key: the one chosen here, else the group that the selection falls into. */
function useActive(props: ViewProps, rows: readonly HeldRow[], selected: HeldGroup | undefined): readonly [string | null, (row: HeldRow) => void] {
  const [choice, setChoice] = useState<Choice | null>(null);
  const choose = (row: HeldRow): void => {
    const selection = rowSelection(row);
    setChoice({ key: row.key, selection: selection ?? props.selection });
    if (selection) props.select(selection);
  };
  const holds = choice !== null && isSame(choice.selection, props.selection) && rows.some(({ key }) => key === choice.key);
  return [holds ? choice.key : (selected ? rowKey(selected) : null), choose];
}

function rowSelection(row: HeldRow): Selection | null {
  if (row.kind === "group") return selectionOf(row.group);
  return row.tensor.node < 0 ? null : { kind: "node", index: row.tensor.node };
}

function isSame(a: Selection, b: Selection): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** Enter: a line opens in the editor, a saved tensor's node in the graph. */
function enter(props: ViewProps, row: HeldRow, focus: boolean): void {
  const { identity } = row.group;
  if (row.kind === "tensor") props.showTab("graph");
  else if (identity.kind === "line") openSource(props, identity.file, identity.line, focus);
}

function openSource(props: ViewProps, file: string, line: number, focus: boolean): void {
  props.select({ kind: "line", file, line });
  props.ask("openSource", { file, line, focus }).catch(() => undefined); // the shell shows why a request failed
}
