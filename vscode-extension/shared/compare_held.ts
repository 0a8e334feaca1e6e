/** What two backward calls held, side by side: lines are the same where their text is, wherever they moved to. */

import type { HeldChange, HeldDifference } from "./compare";
import type { CallPair } from "./compare_graphs";
import type { NamePairs } from "./compare_names";
import type { ComparedSide } from "./compare_side";
import { heldGroups, type Grouping } from "./held_groups";
import { heldModel, type HeldModel } from "./held_model";

interface Row {
  readonly label: string;
  readonly bytes: number;
}

type Key = (label: string) => string;
type PairedRow = readonly [a: Row | null, b: Row | null];

/** What one call held; null where its ledger is lost. */
interface HeldCall {
  readonly model: HeldModel;
  readonly peak: number | null;
}

/** Null where one of the ledgers is not in its file. */
export async function heldDifference(a: ComparedSide, b: ComparedSide, at: CallPair, names: NamePairs): Promise<HeldDifference | null> {
  const [heldA, heldB] = [await heldCall(a, at.a, at.backward), await heldCall(b, at.b, at.backward)];
  if (!heldA || !heldB) return null;
  const [textA, textB] = [(label: string) => a.textAt(label), (label: string) => b.textAt(label)];
  const lineKeys: (readonly [Key, Key])[] = [
    [(label) => JSON.stringify([label, textA(label)]), (label) => JSON.stringify([label, textB(label)])],
    [(label) => textA(label) ?? JSON.stringify(["first", label]), (label) => textB(label) ?? JSON.stringify(["second", label])],
    [same, same],
  ];
  const renamed = renamedModules(a, b, names);
  const lines = pairedRows(rowsBy(heldA.model, "line"), rowsBy(heldB.model, "line"), lineKeys);
  const modules = pairedRows(rowsBy(heldA.model, "module"), rowsBy(heldB.model, "module"), [[(name) => renamed.get(name) ?? name, same]]);
  return {
    step: at.a,
    step_b: at.b,
    backward: at.backward,
    total_a: heldA.model.total,
    total_b: heldB.model.total,
    peak_a: heldA.peak,
    peak_b: heldB.peak,
    by_line: lines.map((pair) => changeOf(pair, pair[1] ? textB(pair[1].label) : textA(pair[0]!.label))),
    by_module: modules.map((pair) => changeOf(pair, null)),
  };
}

async function heldCall({ session }: ComparedSide, step: number, index: number): Promise<HeldCall | null> {
  const backward = (await session.callsOfStep(step)).find((call) => call.index === index);
  const ledger = backward && backward.ledger >= 0 ? await session.reader.withId("/ledgers", backward.ledger) : null;
  if (!backward || !ledger) return null;
  const graph = ledger.graph < 0 ? null : await session.reader.withId("/graphs", ledger.graph);
  const model = heldModel({
    state: "ready",
    run: session.run,
    stop: { number: step, time_ns: 0, step, thread: 0, thread_name: "", file: "", line: 0, function: "" },
    modules: session.modules,
    parameters: session.parameters,
    sites: [...session.sites.values()],
    graph,
    ledger,
  });
  return model && { model, peak: (await session.heldOfStep(step, index))?.peak_bytes ?? null };
}

function rowsBy(model: HeldModel, grouping: Grouping): Row[] {
  return heldGroups(model, grouping).map(({ label, bytes }) => ({ label, bytes }));
}

/** Names of the first session's modules in the second. */
function renamedModules(a: ComparedSide, b: ComparedSide, names: NamePairs): Map<string, string> {
  return new Map(Array.from(names.module.secondOf, ([first, second]) => [a.moduleNames.get(first)!, b.moduleNames.get(second)!]));
}

/** By the first key that both have, then by the next; the largest change first. */
function pairedRows(rowsA: readonly Row[], rowsB: readonly Row[], keys: readonly (readonly [Key, Key])[]): PairedRow[] {
  const pairs: PairedRow[] = [];
  let [freeA, freeB] = [rowsA, rowsB];
  for (const [keyA, keyB] of keys) {
    const waiting = new Map<string, Row[]>();
    for (const row of [...freeB].reverse()) {
      const key = keyB(row.label);
      const known = waiting.get(key);
      if (known) known.push(row);
      else waiting.set(key, [row]);
    }
    const taken = new Set<Row>();
    freeA = freeA.filter((row) => {
      const other = waiting.get(keyA(row.label))?.pop();
      if (!other) return true;
      taken.add(other);
      pairs.push([row, other]);
      return false;
    });
    freeB = freeB.filter((row) => !taken.has(row));
  }
  for (const row of freeA) pairs.push([row, null]);
  for (const row of freeB) pairs.push([null, row]);
  return pairs.sort((x, y) => Math.abs(deltaOf(y)) - Math.abs(deltaOf(x)));
}

function deltaOf([a, b]: PairedRow): number {
  return (b?.bytes ?? 0) - (a?.bytes ?? 0);
}

function changeOf(pair: PairedRow, text: string | null): HeldChange {
  const [a, b] = pair;
  return { label_a: a?.label ?? null, label_b: b?.label ?? null, bytes_a: a?.bytes ?? 0, bytes_b: b?.bytes ?? 0, delta: deltaOf(pair), text };
}

function same(label: string): string {
  return label;
}
