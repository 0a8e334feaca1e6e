/** What a comparison found: the first parting, held memory before and after, graphs that differ, notes. */

import type { ComponentChildren, JSX } from "preact";
import { numberOf, type ComparedNode, type ComparedNumber, type Comparison, type GraphDifference, type HeldChange, type HeldDifference, type Parting, type StatisticGap } from "../../shared/compare";
import { fileName, formatBytes, formatCount, formatPercent, fullPrecision, MISSING, plainNumber } from "../../shared/format";
import { currentStep, type ReplayModel } from "../../shared/replay_model";
import { momentNear } from "../../shared/replay_play";
import { positionOf } from "../../shared/replay_timeline";
import { plainValue, stepNumber } from "../../shared/replay_words";
import { replayText as text } from "../../shared/text";
import { Glyph } from "../components/glyph";
import type { ReplayActions } from "./page";
import { SheetFrame } from "./sheet";
import { comparandName, partingOf, type ComparisonState } from "./use_comparison";

export interface CompareSheetProps {
  readonly model: ReplayModel;
  readonly actions: ReplayActions;
  readonly comparison: ComparisonState;
  readonly onClose: () => void;
}

export function CompareSheet(props: CompareSheetProps): JSX.Element | null {
  const { model, comparison, onClose } = props;
  if (model.comparand === null) return null;
  const name = comparandName(model.comparand);
  return (
    <SheetFrame title={text.compareTitle(name)} head={model.comparand.kind === "step" && <StepPickers {...props} />} onClose={onClose}>
      <div class="rp-sheet-body rp-compare-body" data-scroll>
        {comparison.kind === "reading" && <p class="dim">{text.comparing}</p>}
        {comparison.kind === "failed" && (
          <p role="alert">
            <Glyph id="warning" label="" /> {text.compareFailed(comparison.reason)}
          </p>
        )}
        {comparison.kind === "ready" && <Found result={comparison.result} name={name} model={model} actions={props.actions} />}
      </div>
    </SheetFrame>
  );
}

/** The step that is shown, and the one beside it. */
function StepPickers({ model, actions }: CompareSheetProps): JSX.Element {
  const { timeline, facts, comparand } = model;
  const { steps } = timeline;
  const other = comparand?.kind === "step" ? comparand.step : -1;
  const nearestTo = (value: string): number | null => {
    const moment = value.trim() === "" || !Number.isFinite(Number(value)) ? null : momentNear(steps, facts?.rank ?? 0, Number(value));
    return moment?.kind === "step" ? moment.step : null;
  };
  const field = (label: string, value: number, choose: (step: number) => void): JSX.Element => (
    <label class="rp-step-field">
      {label}
      <input
        class="field"
        type="number"
        min={steps[0]}
        max={steps[steps.length - 1]}
        value={String(value)}
        aria-invalid={positionOf(steps, value) < 0}
        onChange={(event) => {
          const step = nearestTo(event.currentTarget.value);
          if (step !== null) choose(step);
          event.currentTarget.value = String(step ?? value);
        }}
      />
    </label>
  );
  return (
    <>
      {field(text.stepFrom, currentStep(model), (step) => actions.go(momentNear(steps, facts?.rank ?? 0, step)))}
      {field(text.stepWith, other, (step) => actions.compare({ kind: "step", step }))}
    </>
  );
}

interface FoundProps {
  readonly result: Comparison;
  readonly name: string;
  readonly model: ReplayModel;
  readonly actions: ReplayActions;
}

function Found(props: FoundProps): JSX.Element {
  const { result, name } = props;
  const steps = formatCount(result.compared.steps);
  const alone = [...result.only_a.parameters, ...result.only_b.parameters];
  return (
    <div class="rp-found">
      <div>
        {partingOf(result) === null && <p>{result.parts ? text.sameSteps(steps) : text.sameAll(steps)}</p>}
        {result.gradients && <FirstParting {...props} first={result.gradients.first} step={result.gradients.step} stepB={result.gradients.step_b} />}
        {result.loss && (
          <Part title={text.lossParts(result.loss.step)}>
            <p>
              <b>{plainValue(numberOf(result.loss.a))}</b> <span class="dim">{text.compared(name, plainValue(numberOf(result.loss.b)), "")}</span>
            </p>
          </Part>
        )}
        {result.only_b.steps.length > 0 && <p>{text.onlySteps(formatCount(result.only_b.steps.length), stepSpan(result.only_b.steps), name)}</p>}
        {alone.length > 0 && <p>{text.onlyParameters(alone.slice(0, 12).join(", ") + (alone.length > 12 ? ` ${text.moreRows(formatCount(alone.length - 12))}` : ""))}</p>}
      </div>
      {result.held && <HeldChanges held={result.held} name={name} />}
      <div>
        {result.graph && <GraphChanges graph={result.graph} name={name} />}
        {result.notes.length > 0 && (
          <Part title={text.notes}>
            <ul class="limits">
              {result.notes.map((note, at) => (
                <li key={at}>
                  <Glyph id="unseen" label="" />
                  <span>{note}</span>
                </li>
              ))}
            </ul>
          </Part>
        )}
      </div>
    </div>
  );
}

/** "60 to 159"; of one alone its number. */
function stepSpan(steps: readonly number[]): string {
  const [first, last] = [steps[0]!, steps[steps.length - 1]!];
  return first === last ? stepNumber(first) : text.stepsFromTo(stepNumber(first), stepNumber(last));
}

function Part({ title, about = "", children }: { readonly title: string; readonly about?: string; readonly children: ComponentChildren }): JSX.Element {
  return (
    <section class="rp-part">
      <div class="sh">
        <h3>{title}</h3>
        <span>{about}</span>
      </div>
      {children}
    </section>
  );
}

interface FirstPartingProps extends FoundProps {
  readonly first: Parting;
  readonly step: number;
  readonly stepB: number;
}

function FirstParting({ first, step, stepB, name, model, actions }: FirstPartingProps): JSX.Element {
  const { node } = first;
  const go = (): void => {
    actions.go(momentNear(model.timeline.steps, model.facts?.rank ?? 0, step));
    if (node) actions.select({ kind: "node", index: node.a.index });
  };
  return (
    <Part title={text.partingTitle} about={step === stepB ? "" : text.compared(name, text.stopStep(stepB), "")}>
      <p class="rp-first">
        <button type="button" class="link mono" onClick={go}>
          {text.firstPartsAt(step, node ? node.a.name : first.name)}
        </button>
        {node?.a.module && <span>{node.a.module}</span>}
        {node?.a.place && <Place node={node.a} model={model} actions={actions} />}
      </p>
      {node?.a.place?.text && <code class="rp-source">{node.a.place.text.trim()}</code>}
      {first.only !== null && <p>{first.only === "a" ? text.onlyHere : text.onlyThere(name)}</p>}
      {node && <p class="dim">{node.same_givers && node.givers_agree ? text.sameGivers : text.otherGivers}</p>}
      {first.gaps.length > 0 && <Gaps gaps={first.gaps} name={name} />}
    </Part>
  );
}

function Place({ node, model, actions }: { readonly node: ComparedNode; readonly model: ReplayModel; readonly actions: ReplayActions }): JSX.Element {
  const { file, line } = node.place!;
  const words = `${fileName(file)}:${line}`;
  if (!model.offers.openSource) return <code>{words}</code>;
  const open = (focus: boolean): void => void actions.ask("openSource", { rank: model.facts?.rank ?? 0, file, line, focus }).catch(() => undefined);
  return (
    <button type="button" class="link mono" title={`${file}:${line}`} onClick={(event) => open(event.ctrlKey || event.metaKey)}>
      {words}
    </button>
  );
}

const MOST_ROWS = 10;

function Heads({ first, name }: { readonly first: string; readonly name: string }): JSX.Element {
  return (
    <thead>
      <tr>
        <th scope="col">{first}</th>
        <th scope="col">{text.thisColumn}</th>
        <th scope="col">{name}</th>
        <th scope="col">{text.differenceColumn}</th>
      </tr>
    </thead>
  );
}

function Gaps({ gaps, name }: { readonly gaps: readonly StatisticGap[]; readonly name: string }): JSX.Element {
  return (
    <table class="rp-table">
      <Heads first={text.statisticColumn} name={name} />
      <tbody>
        {gaps.slice(0, MOST_ROWS).map(({ statistic, a, b, relative, parts }) => (
          <tr key={statistic} class={parts ? "" : "dim"}>
            <th scope="row">{statistic}</th>
            <Cell value={a} />
            <Cell value={b} />
            <td>{relative === 0 ? "0" : formatRelative(relative)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Cell({ value }: { readonly value: ComparedNumber }): JSX.Element {
  const number = numberOf(value);
  const whole = Number.isInteger(number) && Math.abs(number) < 1e7;
  return (
    <td class={Number.isFinite(number) ? "" : "c-nan"} title={fullPrecision(number)}>
      {whole ? formatCount(number) : plainNumber(number)}
    </td>
  );
}

function formatRelative(relative: ComparedNumber): string {
  const number = numberOf(relative);
  if (!Number.isFinite(number)) return number === Infinity ? "∞" : MISSING;
  return number >= 0.001 && number < 10 ? formatPercent(number) : plainNumber(number);
}

function HeldChanges({ held, name }: { readonly held: HeldDifference; readonly name: string }): JSX.Element {
  const other = held.by_line.filter((row) => row.delta !== 0);
  const rows = other.slice(0, MOST_ROWS);
  if (other.length === 0) {
    return (
      <Part title={text.heldBefore} about={text.heldAt(held.step)}>
        <p>{text.heldSame(formatBytes(held.total_a))}</p>
      </Part>
    );
  }
  return (
    <Part title={text.heldBefore} about={text.heldAt(held.step)}>
      <table class="rp-table rp-held-table">
        <Heads first={text.heldBefore} name={name} />
        <tbody>
          <tr>
            <th scope="row">{text.held}</th>
            <td>{formatBytes(held.total_a)}</td>
            <td>{formatBytes(held.total_b)}</td>
            <td>{delta(held.total_b - held.total_a)}</td>
          </tr>
          {rows.map((row, at) => (
            <HeldRow key={at} row={row} />
          ))}
        </tbody>
      </table>
      {other.length > rows.length && <p class="dim">{text.moreRows(formatCount(other.length - rows.length))}</p>}
    </Part>
  );
}

function HeldRow({ row }: { readonly row: HeldChange }): JSX.Element {
  const label = row.label_a ?? row.label_b ?? MISSING;
  return (
    <tr>
      <th scope="row" title={[label, row.text ?? ""].filter(Boolean).join("\n")}>
        <code>{fileName(label)}</code> <code class="dim">{row.text?.trim() ?? ""}</code>
      </th>
      <td>{row.label_a === null ? "·" : formatBytes(row.bytes_a)}</td>
      <td>{row.label_b === null ? "·" : formatBytes(row.bytes_b)}</td>
      <td>{delta(row.delta)}</td>
    </tr>
  );
}

function delta(bytes: number): string {
  return bytes === 0 ? "±0" : `${bytes > 0 ? "+" : "−"}${formatBytes(Math.abs(bytes))}`;
}

function GraphChanges({ graph, name }: { readonly graph: GraphDifference; readonly name: string }): JSX.Element {
  const rows = [
    ...graph.only_a.map((node) => ({ node, words: text.onlyHere })),
    ...graph.only_b.map((node) => ({ node, words: text.onlyThere(name) })),
    ...graph.changed.map(({ a, what }) => ({ node: a, words: text.changedNode(what.map((one) => text.changedWhat[one]).join(", ")) })),
  ];
  return (
    <Part title={text.graphsDiffer(graph.step)} about={text.graphNodes(formatCount(graph.nodes_a), formatCount(graph.nodes_b))}>
      <ul class="rp-nodes">
        {rows.slice(0, MOST_ROWS).map(({ node, words }, at) => (
          <li key={at}>
            <code>{node.name}</code> <span>{node.module ?? ""}</span> <code class="dim">{node.place ? `${fileName(node.place.file)}:${node.place.line}` : ""}</code>
            <span class="dim">{words}</span>
          </li>
        ))}
      </ul>
      {rows.length > MOST_ROWS && <p class="dim">{text.moreRows(formatCount(rows.length - MOST_ROWS))}</p>}
    </Part>
  );
}
