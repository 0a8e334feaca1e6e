/** The chart with its heading, or the same as a table, or neither. */

import type { JSX } from "preact";
import { plainNumber } from "../../shared/format";
import type { FlowPoint } from "../../shared/gradient_flow";
import { pointOf, runningPoint, type GradientModel } from "../../shared/gradient_model";
import type { GradientNode } from "../../shared/gradient_tree";
import { gradientsText as text } from "../../shared/text";
import type { ViewProps } from "../view";
import { FlowChart } from "./flow_chart";
import { StateGlyph, stateWord } from "./state_mark";
import type { Arrangement } from "./use_arrangement";

export interface FlowSectionProps {
  readonly view: ViewProps;
  readonly model: GradientModel;
  readonly arrangement: Arrangement;
  readonly node: GradientNode | undefined;
  readonly choose: (node: GradientNode) => void;
  readonly narrow: boolean;
}

export function FlowSection({ view, model, arrangement, node, choose, narrow }: FlowSectionProps): JSX.Element | null {
  const { flow, earlier } = model;
  const { chart, change } = arrangement;
  if (flow.points.length < 2) return null;
  const drawn = flow.points.some((point) => point.norm !== null || point.previous !== null || point.rail.above !== null);
  const line = flow.points.some((point) => point.previous !== null) ? (earlier ?? (view.recorded ? text.previousStep : text.previousStop)) : null;
  const press = (point: FlowPoint): void => {
    arrangement.reveal(point.nodes[0]!.key);
    choose(point.nodes[0]!);
  };
  return (
    <section class="sec flow-section" aria-label={text.chartTitle}>
      <div class="sh">
        <h3>{text.chartTitle}</h3>
        <span class="sp" />
        {line !== null && chart === "chart" && drawn && !narrow && <span class="flow-legend">{text.lineFrom(line)}</span>}
        {drawn && (
          <button type="button" class="link" onClick={() => change({ chart: chart === "table" ? "chart" : "table" })}>
            {chart === "table" ? text.showChart : narrow ? text.showTableNarrow : text.showTable}
          </button>
        )}
      </div>
      {!drawn ? (
        <p class="grad-nothing">{whyNone(view) ?? text.noGradients}</p>
      ) : chart === "table" ? (
        <FlowTable points={flow.points} earlier={line} onSelect={press} />
      ) : (
        <FlowChart
          flow={flow}
          width={view.width - (narrow ? 20 : 24)}
          height={view.recorded?.low ? 112 : narrow ? 150 : 168}
          earlier={model.rows.some((row) => row.ofPreviousStop) ? earlier : null}
          selected={pointOf(flow, node)}
          running={runningPoint(model)}
          history={view.recorded?.history ?? null}
          onSelect={press}
        />
      )}
    </section>
  );
}

/** What an answer, or a recorded step, says of gradients that it lacks. */
function whyNone({ snapshot }: ViewProps): string | undefined {
  return (snapshot.missing ?? []).find(({ part }) => part === "gradients")?.reason;
}

interface FlowTableProps {
  readonly points: readonly FlowPoint[];
  readonly earlier: string | null;
  readonly onSelect: (point: FlowPoint) => void;
}

function FlowTable({ points, earlier, onSelect }: FlowTableProps): JSX.Element {
  return (
    <div class="flow-table">
      <table>
        <thead>
          <tr>
            <th scope="col">{text.columns.name}</th>
            <th scope="col">{text.columns.norm}</th>
            {earlier !== null && <th scope="col">{earlier}</th>}
            <th scope="col">{text.columns.state}</th>
          </tr>
        </thead>
        <tbody>
          {points.map((point) => (
            <tr key={point.key}>
              <th scope="row">
                <button type="button" class="link" onClick={() => onSelect(point)}>
                  {point.fullName}
                </button>
              </th>
              <td class="num">{plainNumber(point.norm)}</td>
              {earlier !== null && <td class="num">{plainNumber(point.previous)}</td>}
              <td class="state">
                <StateGlyph summary={point.summary} /> {stateWord(point.summary) || text.finite}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
