/**
 * The filter's grammar: words match names (fuzzy) or shapes, ":nan" a state, ":norm>1e-3" a number; all must hold.
 * What cannot be read is told and left out, never thrown: the user is still typing.
 */

import type { GradientRow } from "./gradient_rows";
import { STATE_RANK } from "./glyphs";
import type { GradientState } from "./gradient_state";
import type { GradientStatistics } from "./gradient_statistics";
import { matchesFuzzy } from "./gradient_fuzzy";
import { ratioOf } from "./gradient_summary";
import type { Variable } from "./session";

/** A row without `row` is a variable whose gradient is not kept: it has a name and a shape. */
export interface FilterSubject {
  readonly names: readonly string[];
  readonly shape: readonly number[];
  readonly row: GradientRow | null;
}

export type FilterProblem =
  | { readonly kind: "unknown word"; readonly word: string; readonly known: readonly string[] }
  | { readonly kind: "number expected"; readonly word: string };

export interface Filter {
  /** True when everything matches. */
  readonly empty: boolean;
  readonly problems: readonly FilterProblem[];
  readonly matches: (subject: FilterSubject) => boolean;
}

type Test = (subject: FilterSubject) => boolean;
type Quantity = (row: GradientRow) => number;

const ofStatistics = (of: (one: GradientStatistics) => number): Quantity => (row) =>
  row.statistics === null ? Number.NaN : of(row.statistics);

/** Quantities a comparison may name; zeros in percent. */
const QUANTITIES: ReadonlyMap<string, Quantity> = new Map([
  ["norm", ofStatistics((one) => one.norm)],
  ["max", ofStatistics((one) => one.absMax)],
  ["rms", ofStatistics((one) => one.rms)],
  ["zeros", ofStatistics((one) => (one.zeros / one.count) * 100)],
  ["ratio", ratioOf],
  ["stale", (row) => row.stale],
  ["numel", (row) => row.parameter.numel],
]);

const STATES: ReadonlyMap<string, GradientState> = new Map(
  STATE_RANK.map((state) => [state.toLowerCase().replace("on path", "path"), state]),
);

const WORDS: ReadonlyMap<string, (row: GradientRow) => boolean> = new Map([
  ["trouble", (row) => row.trouble],
  ["changed", (row) => row.changed],
  ["tied", (row) => (row.parameter.aliases ?? []).length > 0],
  ...Array.from(STATES, ([word, state]) => [word, (row: GradientRow) => holds(row, state)] as const),
]);

/** Every word that may follow a colon. */
const FILTER_WORDS: readonly string[] = [...new Set([...WORDS.keys(), ...QUANTITIES.keys()])];

/** A gradient with both NaN and Inf shows NaN, and is found by either. */
function holds(row: GradientRow, state: GradientState): boolean {
  if (state === "Inf") return (row.statistics?.inf ?? 0) > 0;
  if (state === "stale") return row.stale > 0;
  if (state === "pending") return row.pending;
  return row.state === state;
}

export function parseFilter(text: string, troubleOnly: boolean): Filter {
  const problems: FilterProblem[] = [];
  const tests: Test[] = troubleOnly ? [(subject) => subject.row?.trouble === true] : [];
  for (const word of text.split(/\s+/)) {
    if (word === "" || word === ":") continue;
    const test = word.startsWith(":") ? condition(word) : name(word);
    if (typeof test === "function") tests.push(test);
    else if (!isBeginning(word)) problems.push(test);
  }
  return { empty: tests.length === 0, problems, matches: (subject) => tests.every((test) => test(subject)) };
}

/** ":no" is on its way to ":none": no reason to complain yet. */
function isBeginning(word: string): boolean {
  const typed = word.slice(1).toLowerCase();
  return FILTER_WORDS.some((known) => known !== typed && known.startsWith(typed));
}

function condition(word: string): Test | FilterProblem {
  const [, key = "", operator = "", limit = ""] = /^:([^<>=]*)([<>]=?|=)?(.*)$/.exec(word.toLowerCase()) ?? [];
  const quantity = QUANTITIES.get(key);
  if (operator !== "" && quantity !== undefined) return comparison(quantity, operator, limit) ?? { kind: "number expected", word };
  const state = operator === "" ? WORDS.get(key) : undefined;
  if (state !== undefined) return ({ row }) => row !== null && state(row);
  if (quantity !== undefined) return { kind: "number expected", word };
  return { kind: "unknown word", word, known: FILTER_WORDS };
}

/** null where the limit is no number. What is not known passes no comparison. */
function comparison(of: Quantity, operator: string, text: string): Test | null {
  const limit = Number(text.replace("−", "-"));
  if (text === "" || Number.isNaN(limit)) return null;
  const compare = COMPARE.get(operator)!;
  return ({ row }) => row !== null && compare(of(row), limit);
}

const COMPARE: ReadonlyMap<string, (value: number, limit: number) => boolean> = new Map([
  [">", (value: number, limit: number) => value > limit],
  ["<", (value: number, limit: number) => value < limit],
  [">=", (value: number, limit: number) => value >= limit],
  ["<=", (value: number, limit: number) => value <= limit],
  ["=", (value: number, limit: number) => value === limit],
]);

const SHAPE = /^\[?\d+([x×*]\d+)+\]?$|^\d+[x×*]$|^[x×*]\d+$/;

/** "768x768" is a shape; a bare number may be either. */
function name(word: string): Test {
  const wanted = word.replace(/[[\]]/g, "").replace(/[x*]/g, "×");
  const shaped: Test = ({ shape }) => shape.join("×").includes(wanted);
  if (SHAPE.test(word)) return shaped;
  const named: Test = ({ names }) => names.some((one) => matchesFuzzy(word, one));
  return /^\d{2,}$/.test(word) ? (subject) => named(subject) || subject.shape.includes(Number(word)) : named;
}

export function parameterSubject(row: GradientRow): FilterSubject {
  return { names: [row.name, ...(row.parameter.aliases ?? [])], shape: row.parameter.shape, row };
}

export function variableSubject(variable: Variable): FilterSubject {
  return { names: [variable.expression, variable.class_name], shape: variable.shape ?? [], row: null };
}
