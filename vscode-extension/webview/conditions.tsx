/** What stops backward: a line while any condition is set, and the list where they are set, switched and removed. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { conditionName, readLimit, switched, withCondition, withoutCondition, type NewCondition } from "../shared/conditions";
import type { Condition } from "../shared/session";
import { conditionsText as text } from "../shared/text";
import { Glyph, Twistie } from "./components/glyph";

export interface ConditionsProps {
  readonly conditions: readonly Condition[];
  readonly open: boolean;
  /** The condition that made this stop; -1 for none. */
  readonly hit: number;
  readonly onOpen: (open: boolean) => void;
  readonly onChange: (conditions: readonly Condition[]) => void;
}

export function Conditions(props: ConditionsProps): JSX.Element | null {
  const { conditions, open, onOpen } = props;
  const set = conditions.filter(({ kind }) => kind !== "next node");
  if (!open && set.length === 0) return null;
  return (
    <section class="conditions" aria-label={text.title}>
      <h3>
        <button type="button" class="conditions-head" aria-expanded={open} onClick={() => onOpen(!open)}>
          <Twistie open={open} />
          <span class="name">{text.title}</span>
          {set.length > 0 && <span class="dim clip">{open ? text.count(set.length) : summary(set)}</span>}
        </button>
      </h3>
      {open && <Editor {...props} conditions={set} />}
    </section>
  );
}

/** Those that are on, by name; what is off only counts. */
function summary(set: readonly Condition[]): string {
  const on = set.filter(({ enabled }) => enabled !== false);
  const names = on.map((condition) => [conditionName(condition), text.hits(condition.hits ?? 0)].filter(Boolean).join(" · "));
  const off = set.length - on.length;
  return [...names, ...(off > 0 ? [text.off(off)] : [])].join(", ");
}

const NON_FINITE: NewCondition = { kind: "first non-finite" };

function Editor({ conditions, hit, onChange }: ConditionsProps): JSX.Element {
  const nonFinite = conditions.find(({ kind }) => kind === "first non-finite");
  const others = conditions.filter((condition) => condition !== nonFinite);
  const setNonFinite = (on: boolean): void => {
    if (nonFinite) onChange(on ? switched(conditions, nonFinite.id, true) : withoutCondition(conditions, nonFinite.id));
    else onChange(withCondition(conditions, NON_FINITE));
  };
  return (
    <div class="conditions-body">
      <ul>
        <li class={nonFinite && nonFinite.id === hit ? "hit" : ""}>
          <label>
            <input
              type="checkbox"
              checked={nonFinite !== undefined && nonFinite.enabled !== false}
              onChange={(event) => setNonFinite(event.currentTarget.checked)}
            />
            <span class="clip">{text.firstNonFinite}</span>
          </label>
          <Hits condition={nonFinite} hit={hit} />
        </li>
        {others.map((condition) => (
          <ConditionItem
            key={condition.id}
            condition={condition}
            hit={hit}
            onSwitch={(on) => onChange(switched(conditions, condition.id, on))}
            onRemove={() => onChange(withoutCondition(conditions, condition.id))}
          />
        ))}
      </ul>
      <NormForm onSet={(limit) => onChange(withCondition(conditions, { kind: "norm exceeds", limit }))} />
      <p class="dim">{text.lasts}</p>
    </div>
  );
}

interface ConditionItemProps {
  readonly condition: Condition;
  readonly hit: number;
  readonly onSwitch: (on: boolean) => void;
  readonly onRemove: () => void;
}

function ConditionItem({ condition, hit, onSwitch, onRemove }: ConditionItemProps): JSX.Element {
  const name = conditionName(condition);
  return (
    <li class={condition.id === hit ? "hit" : ""}>
      <label title={condition.line ? `${name}\n${condition.line}` : name}>
        <input type="checkbox" checked={condition.enabled !== false} onChange={(event) => onSwitch(event.currentTarget.checked)} />
        <span class="clip">{name}</span>
      </label>
      <Hits condition={condition} hit={hit} />
      <button type="button" class="remove" aria-label={text.remove(name)} title={text.remove(name)} onClick={onRemove}>
        <svg viewBox="0 0 10 10" aria-hidden="true">
          <path d="M2 2 8 8M8 2 2 8" />
        </svg>
      </button>
    </li>
  );
}

function Hits({ condition, hit }: { readonly condition: Condition | undefined; readonly hit: number }): JSX.Element | null {
  if (!condition) return null;
  if (condition.id === hit) {
    return (
      <span class="hits c-accent">
        <Glyph id="stop" label="" />
        {text.hit}
      </span>
    );
  }
  return <span class="hits dim">{text.hits(condition.hits ?? 0)}</span>;
}

function NormForm({ onSet }: { readonly onSet: (limit: number) => void }): JSX.Element {
  const [typed, setTyped] = useState("");
  const [error, setError] = useState("");
  const submit = (event: Event): void => {
    event.preventDefault();
    const read = readLimit(typed);
    if ("error" in read) return setError(read.error);
    onSet(read.limit);
    setTyped("");
    setError("");
  };
  return (
    <form class="norm-form" noValidate onSubmit={submit}>
      <label for="gw-norm">{text.norm}</label>
      <input
        id="gw-norm"
        class="field"
        type="text"
        inputMode="decimal"
        autocomplete="off"
        placeholder="1e3"
        value={typed}
        aria-invalid={error !== ""}
        aria-describedby="gw-norm-note"
        onInput={(event) => {
          setTyped(event.currentTarget.value);
          setError("");
        }}
      />
      <button type="submit" class="btn">
        {text.set}
      </button>
      <span id="gw-norm-note" class={error === "" ? "note dim" : "note error"} role={error === "" ? undefined : "alert"}>
        {error === "" ? text.normUnit : error}
      </span>
    </form>
  );
}
