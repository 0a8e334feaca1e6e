/** Fields for the slice of a tensor: an index for each leading dimension, and where rows and columns begin. */

import type { JSX, TargetedEvent } from "preact";
import { valuesText } from "../../shared/text";
import { clampPlace, leadingOf, planeOf, type Cells, type Place } from "../../shared/values";

export interface SlicePickerProps {
  readonly shape: readonly number[];
  readonly cells: Cells;
  readonly place: Place;
  readonly onPlace: (place: Place) => void;
}

export function SlicePicker({ shape, cells, place, onPlace }: SlicePickerProps): JSX.Element {
  const plane = planeOf(shape);
  const go = (change: Partial<Place>): void => onPlace(clampPlace(shape, cells, { ...place, ...change }));
  return (
    <div class="hm-picker" role="group" aria-label={valuesText.slice}>
      {leadingOf(shape).map((size, dimension) => (
        <IndexField
          key={dimension}
          label={valuesText.dimension(dimension)}
          value={place.index[dimension] ?? 0}
          size={size}
          onValue={(at) => go({ index: place.index.map((old, i) => (i === dimension ? at : old)) })}
        />
      ))}
      {shape.length > 1 && (
        <IndexField label={valuesText.rowsFrom} value={place.row} size={plane.rows} onValue={(row) => go({ row })} />
      )}
      <IndexField label={valuesText.columnsFrom(shape.length)} value={place.column} size={plane.columns} onValue={(column) => go({ column })} />
    </div>
  );
}

interface IndexFieldProps {
  readonly label: string;
  readonly value: number;
  readonly size: number;
  readonly onValue: (value: number) => void;
}

function IndexField({ label, value, size, onValue }: IndexFieldProps): JSX.Element {
  const change = (event: TargetedEvent<HTMLInputElement>): void => {
    const at = Number.parseInt(event.currentTarget.value, 10);
    if (Number.isFinite(at)) onValue(Math.max(0, Math.min(at, size - 1)));
    else event.currentTarget.value = String(value);
  };
  return (
    <label class="hm-field">
      <span>{label}</span>
      <input class="field" type="number" min={0} max={size - 1} value={value} onChange={change} disabled={size <= 1} />
      <span class="hm-of">{valuesText.ofSize(size)}</span>
    </label>
  );
}
