import { describe, expect, it } from "vitest";
import { GROUPINGS, detailOrder, heldGroups, selectedGroup } from "../shared/held_groups";
import { heldModel, heldTotal, savedTensor, type HeldModel } from "../shared/held_model";
import type { Snapshot } from "../shared/session";
import { heldSnapshot, type TestLedger } from "./held_snapshot";

const MODEL = "/home/someone/project/model.py";

/** A linear layer, a ReLU and a second linear layer: the ReLU's result is saved twice. */
const CHAIN: TestLedger = {
  modules: ["", "fc1", "fc2"],
  lines: [
    { file: MODEL, line: 5, text: "h = self.fc1(x)" },
    { file: MODEL, line: 6, text: "h = h.relu()" },
    { file: MODEL, line: 7, text: "return self.fc2(h)" },
  ],
  nodes: [
    { op: "AddmmBackward0", module: 1, site: 0 },
    { op: "ReluBackward0", module: 0, site: 1 },
    { op: "AddmmBackward0", module: 2, site: 2 },
  ],
  saved: [
    { node: 0, role: "mat1", storage: 0, shape: [4, 8] },
    { node: 1, role: "result", storage: 1, shape: [4, 16] },
    { node: 2, role: "mat1", storage: 1, shape: [4, 16] },
    { node: 2, role: "mat2", storage: 2, shape: [16, 2] },
  ],
  storages: [{ bytes: 128, tensorClass: "input" }, { bytes: 256 }, { bytes: 128, tensorClass: "parameter" }],
};

function modelOf(snapshot: Snapshot): HeldModel {
  const model = heldModel(snapshot);
  if (!model) throw new Error("no ledger");
  return model;
}

const bytesBy = (model: HeldModel, grouping: (typeof GROUPINGS)[number]): Record<string, number> =>
  Object.fromEntries(heldGroups(model, grouping).map((group) => [group.label, group.bytes]));

describe("held bytes", () => {
  it("count a storage that two nodes saved once, to its first saver in forward order", () => {
    const model = modelOf(heldSnapshot(CHAIN));
    expect(bytesBy(model, "line")).toEqual({ "model.py:6": 256, "model.py:5": 128 });
    expect(bytesBy(model, "module")).toEqual({ model: 256, fc1: 128 });
    expect(bytesBy(model, "op")).toEqual({ ReluBackward0: 256, AddmmBackward0: 128 });
    expect(bytesBy(model, "dtype")).toEqual({ float32: 384 });
  });

  it("leave parameters out of the total and keep them in their class", () => {
    const model = modelOf(heldSnapshot(CHAIN));
    expect(model.total).toBe(384);
    expect(model.classBytes).toMatchObject({ activation: 256, input: 128, parameter: 128 });
  });

  it("sum to the held bytes of the backward call over all classes", () => {
    const snapshot = heldSnapshot(CHAIN);
    const all = Object.values(modelOf(snapshot).classBytes).reduce((a, b) => a + b, 0);
    expect(all).toBe(snapshot.backward?.held_bytes);
  });

  it("sum to the same total however they are grouped", () => {
    const model = modelOf(heldSnapshot(CHAIN));
    for (const grouping of GROUPINGS) {
      expect(heldGroups(model, grouping).reduce((sum, group) => sum + group.bytes, 0)).toBe(model.total);
    }
  });

  it("charge a slice its whole storage", () => {
    const snapshot = heldSnapshot({
      nodes: [{ op: "MulBackward0" }],
      saved: [{ node: 0, storage: 0, shape: [2] }],
      storages: [{ bytes: 4096 }],
    });
    const model = modelOf(snapshot);
    expect(model.total).toBe(4096);
    expect(savedTensor(model, 0)).toMatchObject({ bytes: 8, storageBytes: 4096, charged: true });
  });

  it("count bytes that no node is known to hold", () => {
    const snapshot = heldSnapshot({ nodes: [{ op: "MulBackward0" }], saved: [], storages: [{ bytes: 64, tensorClass: "not observable" }] });
    expect(bytesBy(modelOf(snapshot), "line")).toEqual({ "(no saver)": 64 });
  });

  it("prefer a known node to a row whose node is not known", () => {
    const snapshot = heldSnapshot({
      nodes: [{ op: "MulBackward0" }, { op: "ExpBackward0" }],
      saved: [
        { node: -1, storage: 0 },
        { node: 1, storage: 0 },
      ],
      storages: [{ bytes: 64 }],
    });
    expect(bytesBy(modelOf(snapshot), "op")).toEqual({ ExpBackward0: 64 });
  });

  it("count what one node saved twice at the first of its rows", () => {
    const saved = [
      { node: 0, role: "self", storage: 0 },
      { node: 0, role: "other", storage: 0 },
    ];
    const model = modelOf(heldSnapshot({ nodes: [{ op: "MulBackward0" }], saved, storages: [{ bytes: 64 }] }));
    expect([savedTensor(model, 0).charged, savedTensor(model, 1).charged]).toEqual([true, false]);
  });

  it("use a row's own line before its node's", () => {
    const snapshot = heldSnapshot({ ...CHAIN, saved: [{ node: 0, storage: 0, site: 2 }], storages: [{ bytes: 8 }] });
    expect(bytesBy(modelOf(snapshot), "line")).toEqual({ "model.py:7": 8 });
  });

  it("are not known without a ledger", () => {
    expect(heldTotal({ ...heldSnapshot(CHAIN), ledger: null })).toBeNull();
  });
});

describe("inside backward", () => {
  it("a storage is released when every node that saved it has fired", () => {
    const model = modelOf(heldSnapshot({ ...CHAIN, states: ["pending", "running", "fired"] }));
    expect(model.total).toBe(384);
    const later = modelOf(heldSnapshot({ ...CHAIN, states: ["running", "fired", "fired"] }));
    expect(later.total).toBe(128);
    expect(later.releasedBytes).toBe(256);
    expect(heldGroups(later, "line").map(({ label, bytes, released }) => [label, bytes, released])).toEqual([
      ["model.py:5", 128, 0],
      ["model.py:6", 0, 256],
    ]);
  });

  it("nothing is released while the graph is retained", () => {
    const model = modelOf(heldSnapshot({ ...CHAIN, states: ["fired", "fired", "fired"], retainGraph: true }));
    expect([model.total, model.releasedBytes]).toEqual([384, 0]);
  });

  it("a node whose state is not known still holds", () => {
    const model = modelOf(heldSnapshot({ ...CHAIN, states: ["unknown", "unknown", "fired"] }));
    expect([model.total, model.releasedBytes]).toEqual([384, 0]);
  });

  it("what had fired before the walk is told from the call's own count", () => {
    const snapshot = heldSnapshot({ ...CHAIN, states: ["pending", "fired", "fired"] });
    const left = heldSnapshot({ ...CHAIN, saved: [{ node: 0, storage: 0 }], storages: [{ bytes: 128, tensorClass: "input" }], states: ["pending", "fired", "fired"] });
    const model = modelOf({ ...left, backward: snapshot.backward ?? null });
    expect([model.total, model.releasedBytes]).toEqual([128, 256]);
  });
});

describe("groups", () => {
  it("name modules with their root only where there are several", () => {
    const snapshot = heldSnapshot(CHAIN);
    const two = { ...snapshot, modules: [...(snapshot.modules ?? []), { id: 9, root: "teacher", path: "fc", class_name: "Linear" }] };
    expect(Object.keys(bytesBy(modelOf(two), "module"))).toEqual(["model", "model.fc1"]);
  });

  it("find the group of a selected node, line or module", () => {
    const model = modelOf(heldSnapshot(CHAIN));
    const byLine = heldGroups(model, "line");
    expect(selectedGroup(model, byLine, { kind: "node", index: 1 })).toBe(0);
    expect(selectedGroup(model, byLine, { kind: "line", file: MODEL, line: 5 })).toBe(1);
    expect(selectedGroup(model, byLine, { kind: "line", file: MODEL, line: 99 })).toBe(-1);
    expect(selectedGroup(model, heldGroups(model, "module"), { kind: "module", root: "model", path: "fc1" })).toBe(1);
  });

  it("list what is charged first, aliases next, parameters last", () => {
    const snapshot = heldSnapshot({
      ...CHAIN,
      saved: [...CHAIN.saved, { node: 2, role: "other", storage: 3 }],
      storages: [...CHAIN.storages, { bytes: 32 }],
    });
    const model = modelOf(snapshot);
    expect(detailOrder(model, [2, 3, 4])).toEqual([4, 2, 3]);
  });
});
