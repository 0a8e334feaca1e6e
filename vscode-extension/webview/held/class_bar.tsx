/** What the saved tensors are: one bar of classes from zero, and its legend. */

import type { JSX } from "preact";
import { formatBytes, formatCount } from "../../shared/format";
import { HELD_CLASSES, type HeldModel, type TensorClass } from "../../shared/held_model";
import { unseenCounts } from "../../shared/held_unseen";
import { TENSOR_CLASSES } from "../../shared/session";
import { heldText } from "../../shared/text";

export function ClassBar({ model }: { readonly model: HeldModel }): JSX.Element | null {
  const parts = TENSOR_CLASSES.filter((name) => model.classBytes[name] > 0);
  const unseen = unseenText(model);
  if (parts.length === 0 && !unseen) return null;
  const sentence = [...parts.map((name) => classText(model, name)), ...(unseen ? [unseen] : [])].join(", ");
  return (
    <>
      <div class="held-classes" role="img" aria-label={heldText.classBar(sentence)}>
        {parts.map((name) => (
          <i key={name} class={swatch(name)} style={{ flexGrow: model.classBytes[name] }} />
        ))}
        {unseen && <i class="held-class-unseen held-class-nobytes" />}
      </div>
      <div class="held-legend" aria-hidden="true">
        {parts.map((name) => (
          <span key={name} class={HELD_CLASSES.includes(name) ? "" : "dim"} title={HELD_CLASSES.includes(name) ? "" : heldText.notCounted}>
            <i class={swatch(name)} />
            {classText(model, name)}
          </span>
        ))}
        {unseen && (
          <span>
            <i class="held-class-unseen" />
            {unseen}
          </span>
        )}
      </div>
    </>
  );
}

function classText(model: HeldModel, name: TensorClass): string {
  return `${heldText.classes[name]} ${formatBytes(model.classBytes[name])}`;
}

function swatch(name: TensorClass): string {
  return name === "not observable" ? "held-class-unseen" : `held-class-${name.replace(" ", "-")}`;
}

/** Regions whose bytes nobody can count: a hatch of fixed width, never 0. */
function unseenText(model: HeldModel): string | null {
  const counts = [...unseenCounts(model.snapshot)];
  if (counts.length === 0) return null;
  return heldText.unseen(counts.map(([label, nodes]) => heldText.unseenLabel(label, formatCount(nodes))).join(", "));
}
