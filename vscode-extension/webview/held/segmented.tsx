/** A choice of one among few: arrow keys move it, Tab visits it once. */

import type { JSX, TargetedKeyboardEvent } from "preact";

interface SegmentedProps<T extends string> {
  readonly label: string;
  readonly options: readonly T[];
  readonly names: Readonly<Record<T, string>>;
  readonly value: T;
  readonly onValue: (value: T) => void;
}

const STEPS: Readonly<Record<string, number>> = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

export function Segmented<T extends string>({ label, options, names, value, onValue }: SegmentedProps<T>): JSX.Element {
  const onKeyDown = (event: TargetedKeyboardEvent<HTMLElement>): void => {
    const step = STEPS[event.key];
    if (!step || event.ctrlKey || event.altKey || event.metaKey) return;
    const at = (options.indexOf(value) + step + options.length) % options.length;
    const next = options[at];
    if (!next) return;
    event.preventDefault();
    event.stopPropagation();
    onValue(next);
    event.currentTarget.querySelectorAll("button")[at]?.focus();
  };
  return (
    <div class="held-choice" role="radiogroup" aria-label={label} onKeyDown={onKeyDown}>
      {options.map((option) => (
        <button
          key={option}
          type="button"
          role="radio"
          class={`tog${option === value ? " on" : ""}`}
          aria-checked={option === value}
          tabIndex={option === value ? 0 : -1}
          onClick={() => onValue(option)}
        >
          {names[option]}
        </button>
      ))}
    </div>
  );
}
