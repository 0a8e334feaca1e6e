/** The panel's held bytes against those that `gradwatch.session` counts in the same snapshots. */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parseAnswer } from "../shared/answer";
import { heldGroups, type Grouping } from "../shared/held_groups";
import { heldModel } from "../shared/held_model";
import { heldTreemap } from "../shared/held_treemap";
import type { Snapshot } from "../shared/session";

const GOLDEN = join(import.meta.dirname, "../../tests/golden");
const NAMES = readdirSync(join(GOLDEN, "held"));

interface Expected {
  readonly total: number;
  readonly classes: Readonly<Record<string, number>>;
  readonly by: Readonly<Record<Grouping, readonly (readonly [string, number])[]>>;
}

function snapshotOf(name: string): Snapshot {
  const answer = parseAnswer(readFileSync(join(GOLDEN, "snapshots", name), "utf8"));
  if (answer.kind !== "Snapshot") throw new Error(`${name} is ${answer.kind}`);
  return answer.value;
}

/** As if backward had not begun: what was released is a matter of the stop, not of the ledger. */
function beforeBackward(snapshot: Snapshot): Snapshot {
  return { ...snapshot, stop: { ...snapshot.stop, node_states: null, in_backward: false } };
}

describe.each(NAMES)("%s", (name) => {
  const expected = JSON.parse(readFileSync(join(GOLDEN, "held", name), "utf8")) as Expected;
  const model = heldModel(beforeBackward(snapshotOf(name)));
  if (!model) throw new Error(`${name} has no ledger`);

  it("holds the total and the classes that the session counts", () => {
    expect(model.total).toBe(expected.total);
    expect(model.classBytes).toEqual(expected.classes);
  });

  it.each(["line", "module", "op", "dtype"] as const)("holds the session's bytes by %s, in its order", (grouping) => {
    expect(heldGroups(model, grouping).map(({ label, bytes }) => [label, bytes])).toEqual(expected.by[grouping]);
  });

  it("is drawn whole in the treemap", () => {
    const cells = heldTreemap(model, 300, 200).flatMap((group) => group.cells);
    expect(cells.reduce((sum, cell) => sum + cell.bytes, 0)).toBe(expected.total);
  });

  it("adds up, of what is held and what was released, to the same total inside backward", () => {
    const now = heldModel(snapshotOf(name));
    expect(heldGroups(model, "line").reduce((sum, group) => sum + group.bytes, 0)).toBe(expected.total);
    expect((now?.total ?? 0) + (now?.releasedBytes ?? 0)).toBeGreaterThanOrEqual(expected.total);
  });
});
