import { describe, expect, it } from "vitest";
import { lineName } from "../shared/held_names";
import { heldByLine, shortOp } from "../shared/held_lines";
import { isPartial, unseenCounts, unseenReasons, whyNoLedger } from "../shared/held_unseen";
import { heldSnapshot, type TestLedger } from "./held_snapshot";

const MODEL = "/home/someone/project/model.py";
const LOSS = "/home/someone/project/loss.py";
const MIB = 2 ** 20;

/** Two calls of line 51 (one also keeps a mask and a weight), one of line 20 in another file, one without a line. */
const ATTENTION: TestLedger = {
  lines: [
    { file: MODEL, line: 51, text: "att = scores.softmax(-1)" },
    { file: LOSS, line: 20, text: "return F.nll_loss(x, y)" },
    { file: MODEL, line: 12, text: "x = x[:2]" },
  ],
  nodes: [
    { op: "SoftmaxBackward0", site: 0 },
    { op: "SoftmaxBackward0", site: 0 },
    { op: "NllLossBackward0", site: 1 },
    { op: "MulBackward0" },
    { op: "SliceBackward0", site: 2 },
  ],
  saved: [
    { node: 0, role: "mask", storage: 3, shape: [512] },
    { node: 0, role: "result", storage: 0, shape: [8, 12, 512, 512] },
    { node: 1, role: "result", storage: 1, shape: [8, 12, 512, 512] },
    { node: 1, role: "weight", storage: 4, shape: [8] },
    { node: 2, role: "self", storage: 2, shape: [4] },
    { node: 3, role: "self", storage: 5, shape: [4] },
    { node: 4, role: "self", storage: 6, shape: [2] },
  ],
  storages: [
    { bytes: 96 * MIB },
    { bytes: 96 * MIB },
    { bytes: 16 },
    { bytes: 2048 },
    { bytes: 32, tensorClass: "parameter" },
    { bytes: 16 },
    { bytes: 4096 },
  ],
};

describe("the notes at the ends of lines", () => {
  it("say what a line holds and its largest saved tensor", () => {
    const lines = heldByLine(heldSnapshot(ATTENTION));
    expect([...lines.keys()]).toEqual([MODEL, LOSS]);
    expect(lines.get(MODEL)?.map(({ line, bytes, tensors, text }) => ({ line, bytes, tensors, text }))).toEqual([
      { line: 12, bytes: 4096, tensors: 1, text: "4.00 KiB held · slice self" },
      { line: 51, bytes: 192 * MIB + 2048, tensors: 3, text: "192 MiB held · softmax result" },
    ]);
  });

  it("list in the hover each tensor that is counted there, slices as such, parameters not at all", () => {
    const lines = heldByLine(heldSnapshot(ATTENTION));
    const [slice, softmax] = lines.get(MODEL) ?? [];
    expect(softmax?.hover[0]).toBe("**192 MiB** held for backward here, >99.9 % of 192 MiB");
    expect(softmax?.hover[1]?.split("\n")).toEqual([
      "- `SoftmaxBackward0` `result` `8×12×512×512 float32` 96.0 MiB",
      "- `SoftmaxBackward0` `result` `8×12×512×512 float32` 96.0 MiB",
      "- `SoftmaxBackward0` `mask` `512 float32` 2.00 KiB",
    ]);
    expect(slice?.hover[1]).toContain("4.00 KiB, slice of 8 B");
  });

  it("are gone where everything was released, and count what is left elsewhere", () => {
    const states = ["pending", "fired", "fired", "fired", "fired"] as const;
    const lines = heldByLine(heldSnapshot({ ...ATTENTION, states }));
    expect([...lines.keys()]).toEqual([MODEL]);
    const [only] = lines.get(MODEL) ?? [];
    expect(only).toMatchObject({ line: 51, bytes: 96 * MIB + 2048, tensors: 2 });
    expect(only?.hover.at(-1)).toBe("96.0 MiB of this line was released in this backward.");
  });

  it("are none without a ledger", () => {
    expect(heldByLine({ ...heldSnapshot(ATTENTION), ledger: null }).size).toBe(0);
  });

  it("write ops as torch does, and leave the names of the program's own Functions", () => {
    expect(["SoftmaxBackward0", "AddmmBackward0", "NativeLayerNormBackward0", "MyFunctionBackward", "CopySlices"].map(shortOp)).toEqual([
      "softmax",
      "addmm",
      "native_layer_norm",
      "MyFunction",
      "CopySlices",
    ]);
  });
});

describe("what cannot be seen", () => {
  const text = "a compiled region: its inner ops and lines are not observable";
  const labels = [
    { node: 0, label: "compiled" as const, text },
    { node: 2, label: "checkpointed" as const, text: "inside a checkpoint" },
    { node: 1, label: "checkpointed" as const, text: "inside a checkpoint" },
    { node: 1, label: "checkpointed" as const, text: "inside a checkpoint" },
    { node: 3, label: "custom" as const, text: "a custom Function" },
    { node: 3, label: "offloaded" as const, text: "saved on the CPU by save_on_cpu" },
  ];

  it("is told once a reason, as sentences, with its nodes", () => {
    expect(unseenReasons(heldSnapshot({ ...ATTENTION, labels }))).toEqual([
      { label: "checkpointed", text: "Inside a checkpoint (2 nodes).", nodes: [2, 1] },
      { label: "compiled", text: `A${text.slice(1)} (1 node).`, nodes: [0] },
      { label: "offloaded", text: "Saved on the CPU by save_on_cpu (1 node).", nodes: [3] },
    ]);
  });

  it("counts only nodes that hide bytes", () => {
    expect([...unseenCounts(heldSnapshot({ ...ATTENTION, labels }))]).toEqual([
      ["compiled", 1],
      ["checkpointed", 2],
    ]);
  });

  it("includes what the budget cut short: the sums are then lower bounds", () => {
    const snapshot = heldSnapshot(ATTENTION);
    const cut = { ...snapshot, missing: [{ part: "held" as const, reason: "The budget of 2 s ended.", done: 912, total: 1140 }] };
    expect(isPartial(snapshot)).toBe(false);
    expect(isPartial(cut)).toBe(true);
    expect(whyNoLedger({ ...cut, ledger: null })).toBe("The budget of 2 s ended. 912 of 1140 were read; the rest is not guessed.");
  });

  it("tells why there is no ledger at all", () => {
    const snapshot = heldSnapshot(ATTENTION);
    const unobserved = snapshot.backward ? { ...snapshot.backward, unobserved: "functorch" } : null;
    expect(whyNoLedger(snapshot)).toBeNull();
    expect(whyNoLedger({ ...snapshot, ledger: null, backward: unobserved })).toBe("functorch");
    expect(whyNoLedger({ ...snapshot, ledger: null, backward: null, graph: null })).toContain("grad_fn");
  });

  it("passes notices of the whole answer on, not those of single parameters", () => {
    const notices = [
      { kind: "not observable" as const, text: "DTensor is not read." },
      { kind: "not observable" as const, text: "one parameter", subject_kind: "parameter" as const, subject: 1 },
      { kind: "recorder" as const, text: "recorder" },
    ];
    expect(unseenReasons({ ...heldSnapshot(ATTENTION), notices }).map(({ text: of }) => of)).toEqual(["DTensor is not read."]);
  });
});

describe("lineName", () => {
  const site = { id: 0, file: "/app/train.py", line: 3, function: "train" };

  it("is relative to where the program was started, also at the root of a container", () => {
    expect(lineName(site, "/app")).toBe("train.py:3");
    expect(lineName(site, "/app/")).toBe("train.py:3");
    expect(lineName(site, "/")).toBe("app/train.py:3");
  });

  it("is whole where that is not known", () => expect(lineName(site, "")).toBe("/app/train.py:3"));
});
