/** The timeline as a table: every step with its numbers and marks. */

import type { JSX } from "preact";
import { useMemo, useRef } from "preact/hooks";
import { exactCount, formatBytes, MISSING, plainNumber } from "../../shared/format";
import type { Mark, Timeline } from "../../shared/replay";
import { currentPosition, type ReplayModel } from "../../shared/replay_model";
import { momentAt } from "../../shared/replay_play";
import { plainValue, scaleWords, stepNumber } from "../../shared/replay_words";
import { replayText as text } from "../../shared/text";
import { Glyph } from "../components/glyph";
import { VirtualRows, type VirtualRow } from "../components/virtual_rows";
import { MARK_GLYPHS } from "./header";
import type { ReplayActions } from "./page";
import { SheetFrame } from "./sheet";

interface StepRow extends VirtualRow {
  readonly position: number;
}

export interface StepsTableProps {
  readonly model: ReplayModel;
  readonly actions: ReplayActions;
  readonly onClose: () => void;
}

export function StepsTable({ model, actions, onClose }: StepsTableProps): JSX.Element {
  const { timeline, facts } = model;
  const { steps } = timeline;
  const rows = useMemo<readonly StepRow[]>(() => Array.from(steps, (step, position) => ({ key: String(step), level: 1, position })), [steps]);
  const marks = useMemo(() => marksByStep(facts?.marks ?? []), [facts]);
  const body = useRef<HTMLDivElement>(null);
  const position = currentPosition(model);
  const words = (row: StepRow): readonly string[] => wordsOf(model, row.position);
  return (
    <SheetFrame title={text.steps} onClose={onClose}>
      <div class={`rp-steps-head ${rowClass(timeline)}`} aria-hidden="true">
        {columnsOf(timeline).map((name) => (
          <span key={name}>{name}</span>
        ))}
      </div>
      <div ref={body} class="rp-sheet-body" data-scroll>
        <VirtualRows
          rows={rows}
          role="listbox"
          label={text.steps}
          rowHeight={22}
          active={position < 0 ? null : String(steps[position])}
          onActive={(row) => actions.go(momentAt(steps, facts?.rank ?? 0, row.position))}
          copy={(row) => words(row).join("\t")}
          rowLabel={(row) => rowLabel(columnsOf(timeline), words(row), marks.get(steps[row.position]!) ?? [])}
          render={(row) => (
            <div class={rowClass(timeline)}>
              {words(row).map((word, at) => (
                <span key={at} class={at === 3 && word !== "0" && word !== MISSING ? "c-nan" : ""}>
                  {word}
                </span>
              ))}
              <span>
                {(marks.get(steps[row.position]!) ?? []).map((mark, at) => (
                  <span key={at} title={mark.text}>
                    <Glyph id={MARK_GLYPHS[mark.kind]} label="" /> {mark.text}{" "}
                  </span>
                ))}
              </span>
            </div>
          )}
        />
      </div>
    </SheetFrame>
  );
}

/** Loss scales have a column where any step has one. */
function columnsOf({ lossScale }: Timeline): readonly string[] {
  const { marks, ...others } = text.tableColumns;
  return [...Object.values(others), ...(lossScale ? [text.tableLossScale] : []), marks];
}

function rowClass({ lossScale }: Timeline): string {
  return lossScale ? "rp-steps-row scaled" : "rp-steps-row";
}

function marksByStep(marks: readonly Mark[]): ReadonlyMap<number, readonly Mark[]> {
  const byStep = new Map<number, Mark[]>();
  for (const mark of marks) byStep.set(mark.step, [...(byStep.get(mark.step) ?? []), mark]);
  return byStep;
}

/** In the order of the columns. */
function wordsOf({ timeline }: ReplayModel, at: number): readonly string[] {
  const { steps, loss, lossSeen, gradientNorm, nonfinite, heldBytes, lossScale } = timeline;
  const known = (value: number): number | null => (Number.isNaN(value) ? null : value);
  const bad = known(nonfinite[at]!);
  const scale = lossScale ? [known(lossScale[at]!)] : [];
  return [stepNumber(steps[at]!), plainValue(lossSeen[at] === 1 ? loss[at]! : null), plainNumber(known(gradientNorm[at]!)), bad === null ? MISSING : exactCount(bad), formatBytes(heldBytes[at]), ...scale.map((one) => (one === null ? MISSING : scaleWords(one)))];
}

function rowLabel(names: readonly string[], words: readonly string[], marks: readonly Mark[]): string {
  return [...words.map((word, at) => `${names[at]} ${word}`), ...marks.map((mark) => mark.text)].join(", ");
}
