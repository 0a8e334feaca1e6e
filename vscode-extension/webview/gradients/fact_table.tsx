/** Names and numbers of one gradient, in two or three columns. */

import type { JSX } from "preact";
import { exactCount, formatPercent, formatRatio, fullPrecision } from "../../shared/format";
import type { GradientStatistics, LocalNorm } from "../../shared/gradient_statistics";
import { ratioOf, type GradientSummary } from "../../shared/gradient_summary";
import { gradientsText as text } from "../../shared/text";
import { MagnitudeText } from "../components/number";
import { known } from "./numbers";

export interface Fact {
  readonly name: string;
  readonly value: JSX.Element | string;
  /** In full, on hover. */
  readonly exact?: string;
  readonly wrong?: boolean;
  /** Left out of a narrow panel. */
  readonly minor?: boolean;
}

export function FactTable({ facts }: { readonly facts: readonly Fact[] }): JSX.Element {
  return (
    <dl class={facts.length < 4 ? "grad-kv few" : "grad-kv"}>
      {facts.map(({ name, value, exact, wrong = false, minor = false }) => (
        <div key={name} title={exact} class={minor ? "minor" : ""}>
          <dt>{name}</dt>
          <dd class={wrong ? "c-nan" : ""}>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** The same for a parameter and for a module's gradients together. */
export function gradientFacts(summary: GradientSummary, recorded = false): Fact[] {
  const { statistics } = summary;
  if (statistics === null) return [];
  const of = (name: string, value: number): Fact => ({ name, value: <MagnitudeText value={known(value)} title="" />, exact: fullPrecision(known(value)) });
  return [
    of(text.kv.norm, statistics.norm),
    ...(summary.scale === 1 ? [] : [of(text.kv.scaled, statistics.norm * summary.scale)]),
    ...(summary.local === null ? [] : [localFact(summary.local)]),
    of(text.kv.absMax, statistics.absMax),
    { name: text.kv.zeros, value: formatPercent(statistics.zeros / statistics.count), exact: `${statistics.zeros} / ${statistics.count}` },
    changeFact(summary, recorded),
    { ...of(text.kv.rms, statistics.rms), minor: true },
    nonFiniteFact(statistics),
    of(text.kv.mean, statistics.mean),
    of(text.kv.min, statistics.min),
    of(text.kv.max, statistics.max),
  ];
}

function localFact({ norm, nonfinite }: LocalNorm): Fact {
  const value = nonfinite > 0 ? text.localBad(exactCount(nonfinite)) : <MagnitudeText value={known(norm)} title="" />;
  return { name: text.kv.local, value, exact: nonfinite > 0 ? "" : fullPrecision(known(norm)), wrong: nonfinite > 0 };
}

/** In a session what is changed is changed since the step before. */
function changeFact(summary: GradientSummary, recorded: boolean): Fact {
  const ratio = ratioOf(summary);
  const { changed, before, previousNorm } = summary;
  const comparable = previousNorm >= 0 && !before;
  const value = Number.isNaN(ratio) && comparable && !changed ? text.same : formatRatio(ratio);
  return { name: recorded ? text.kv.sinceLastStep : text.kv.sinceLastStop, value, exact: comparable ? fullPrecision(previousNorm) : "" };
}

function nonFiniteFact({ nan, inf }: GradientStatistics): Fact {
  return { name: text.kv.nonFinite, value: `${nan.toLocaleString("en-US")}, ${inf.toLocaleString("en-US")}`, wrong: nan + inf > 0 };
}
