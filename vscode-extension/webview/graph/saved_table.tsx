/** What a node saved for backward: a click shows the tensor's values below the table. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { formatBytes, formatShape, shortDtype } from "../../shared/format";
import type { SavedTensor } from "../../shared/held_model";
import type { Snapshot } from "../../shared/session";
import { numbers } from "../../shared/answer";
import { graphText } from "../../shared/text";
import { HeatMap } from "../components/heat_map";
import type { Ask } from "../view";

export interface SavedTableProps {
  readonly ask: Ask;
  readonly snapshot: Snapshot;
  readonly node: number;
  readonly saved: readonly SavedTensor[];
  /** False for a recorded graph, whose tensors are gone. */
  readonly live?: boolean;
}

export function SavedTable({ ask, snapshot, node, saved, live = true }: SavedTableProps): JSX.Element {
  const [shown, setShown] = useState<number | null>(null);
  const tensor = saved.find((row) => row.row === shown);
  return (
    <>
      <div class="saved-table" role="table" aria-label={graphText.savedTensor}>
        <div role="row" class="dim">
          <span role="columnheader">{graphText.savedTensor}</span>
          <span role="columnheader">{graphText.shape}</span>
          <span role="columnheader" class="num">
            {graphText.bytes}
          </span>
          <span role="columnheader" class="wide">
            {graphText.tensorClass}
          </span>
        </div>
        {saved.map((row) => (
          <SavedRow key={row.row} row={row} live={live} device={deviceOf(snapshot, row.row)} shown={row.row === shown} show={() => setShown(row.row === shown ? null : row.row)} />
        ))}
      </div>
      {tensor && (
        <HeatMap
          key={tensor.row}
          ask={ask}
          subject={{ stop: snapshot.stop.number, field: "saved", node, role: tensor.role }}
          shape={tensor.shape}
          dtype={tensor.dtype}
          title={graphText.savedValues(tensor.role)}
        />
      )}
    </>
  );
}

interface SavedRowProps {
  readonly row: SavedTensor;
  readonly live: boolean;
  readonly device: string;
  readonly shown: boolean;
  readonly show: () => void;
}

function SavedRow({ row, live, device, shown, show }: SavedRowProps): JSX.Element {
  const { role, shape, dtype, tensorClass, released } = row;
  return (
    <div role="row" class={shown ? "on" : ""}>
      <span role="cell">
        {released || !live ? (
          <code>{role}</code>
        ) : (
          <button class="link" type="button" aria-expanded={shown} title={graphText.showValues(role)} onClick={show}>
            <code>{role}</code>
          </button>
        )}
      </span>
      <span role="cell" title={device}>
        {formatShape(shape)} <span class="dim">{shortDtype(dtype)}</span>
      </span>
      <span role="cell" class={row.charged && !released ? "num" : "num dim"} title={bytesTitle(row)}>
        {formatBytes(row.charged ? row.storageBytes : row.bytes)}
      </span>
      <span role="cell" class="wide dim">
        {released ? graphText.releasedTensor : tensorClass}
        {device !== "" && device !== "cpu" ? ` ${device}` : ""}
      </span>
    </div>
  );
}

function bytesTitle({ bytes, storageBytes, charged }: SavedTensor): string | undefined {
  if (!charged) return graphText.chargedElsewhere;
  return bytes < storageBytes ? graphText.sliceOf(formatBytes(storageBytes)) : undefined;
}

function deviceOf({ ledger }: Snapshot, row: number): string {
  if (!ledger) return "";
  const storage = numbers(ledger.storage)[row] ?? -1;
  return ledger.devices[numbers(ledger.storage_device)[storage] ?? -1] ?? "";
}
