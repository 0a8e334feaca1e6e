import { describe, expect, it } from "vitest";
import { groupGraph, type GraphTree } from "../shared/graph_groups";
import { capOpen, MOST_ITEMS } from "../shared/graph_layered_cap";
import { gradientShare, layeredEdges, MOST_EDGES } from "../shared/graph_layered_edges";
import { labelOf, labelSize } from "../shared/graph_layered_label";
import { layOut, MARK_HEIGHT, type Layout, type LayoutMark } from "../shared/graph_layered_layout";
import { mixLayouts, shiftBetween } from "../shared/graph_layered_mix";
import { inOrder } from "../shared/graph_layered_order";
import { treeForModel } from "../shared/graph_layered_same";
import { fitWhole, keptIn, revealed, seenArea, zoomAbout } from "../shared/graph_layered_window";
import { graphModel } from "../shared/graph_model";
import { openAll, openAtFirst, revealPosition } from "../shared/graph_open";
import { buildRows, type GraphRows, type OpenKeys } from "../shared/graph_rows";
import { summarise } from "../shared/graph_summary";
import type { Snapshot } from "../shared/session";
import { column, snapshotOf, Tape, transformer } from "./graph_snapshot";

function treeOf(snapshot: Snapshot): GraphTree {
  return groupGraph(graphModel(snapshot)!, false);
}

function sizesOf({ tree, rows }: GraphRows) {
  return (row: number) => labelSize(tree, rows[row]!, summarise(tree, rows[row]!.start, rows[row]!.end), false);
}

function layoutOf(rows: GraphRows): Layout {
  return layOut(rows.rows, layeredEdges(rows).edges, sizesOf(rows));
}

/** Repeatable numbers from 0 to 1. */
function random(seed: number): () => number {
  let state = seed * 2654435761;
  return () => {
    state = (Math.imul(state ^ (state >>> 15), 2246822519) + 0x9e3779b9) >>> 0;
    return state / 2 ** 32;
  };
}

/** A forward pass of calls inside calls, each operation with up to three inputs from anywhere before it. */
function randomTape(seed: number, size: number): Tape {
  const next = random(seed);
  const pick = (count: number): number => Math.floor(next() * count);
  const tape = new Tape();
  let path: string[] = [];
  while (tape.nodes.length < size) {
    if (next() < 0.25) path = [...path, `m${pick(3)}`].slice(0, 4);
    else if (next() < 0.3) path = path.slice(0, pick(path.length + 1));
    const inputs = Array.from({ length: pick(4) }, () => Math.max(0, tape.nodes.length - 1 - pick(next() < 0.7 ? 3 : size))).filter((input) => input < tape.nodes.length);
    tape.op(`Op${pick(5)}Backward0`, [...new Set(inputs)], { module: path.length > 0 ? path.join(".") : undefined, line: 1 + pick(90), saved: next() < 0.4 ? [1024 * (1 + pick(999))] : [] });
  }
  return tape;
}

interface Rect {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

function markRect(rows: GraphRows, { row, x, y, side, room }: LayoutMark): Rect {
  const { half } = sizesOf(rows)(row);
  const beside = half + 6 + room;
  const left = side === "left" ? beside : half;
  const right = side === "right" ? beside : half;
  return { x: x - left, y: y - MARK_HEIGHT / 2, width: left + right, height: MARK_HEIGHT };
}

function inside(a: Rect, b: Rect): boolean {
  return a.x >= b.x - 0.01 && a.y >= b.y - 0.01 && a.x + a.width <= b.x + b.width + 0.01 && a.y + a.height <= b.y + b.height + 0.01;
}

function meet(a: Rect, b: Rect): boolean {
  return a.x < b.x + b.width - 0.01 && b.x < a.x + a.width - 0.01 && a.y < b.y + b.height - 0.01 && b.y < a.y + a.height - 0.01;
}

/** Every drawn row by its rectangle. */
function rectsOf(rows: GraphRows, layout: Layout): Map<number, Rect> {
  return new Map<number, Rect>([...layout.boxes.map((box) => [box.row, box] as const), ...layout.marks.map((mark) => [mark.row, markRect(rows, mark)] as const)]);
}

const RANDOM = Array.from({ length: 24 }, (_, seed) => {
  const tree = treeOf(snapshotOf(randomTape(seed + 1, 20 + 9 * seed)));
  const all = [...openAll(tree)];
  const next = random(seed + 77);
  const some: OpenKeys = new Set(all.filter(() => next() < 0.6));
  return { seed, rows: buildRows(tree, capOpen(tree, seed % 2 === 0 ? new Set(all) : some).open, true) };
});

describe("the layered layout of random graphs", () => {
  it.each(RANDOM)("has every row inside the box of its group, and no two siblings meet (seed $seed)", ({ rows }) => {
    const layout = layoutOf(rows);
    const rects = rectsOf(rows, layout);
    expect(rects.size).toBe(rows.rows.length);
    const whole = { x: 0, y: 0, width: layout.width, height: layout.height };
    const siblings = new Map<number, Rect[]>();
    rows.rows.forEach((row, index) => {
      const rect = rects.get(index)!;
      expect(inside(rect, rects.get(row.parent) ?? whole)).toBe(true);
      const others = siblings.get(row.parent) ?? [];
      expect(others.some((other) => meet(other, rect))).toBe(false);
      siblings.set(row.parent, [...others, rect]);
    });
  });

  it.each(RANDOM)("draws what an operation uses above it (seed $seed)", ({ rows }) => {
    const layout = layoutOf(rows);
    const y = new Map(layout.marks.map((mark) => [mark.row, mark.y]));
    for (const { upper, lower } of layeredEdges(rows).edges) expect(y.get(upper)!).toBeLessThan(y.get(lower)!);
  });

  it.each(RANDOM)("joins the wires of every edge from mark to mark, down all the way (seed $seed)", ({ rows }) => {
    const layout = layoutOf(rows);
    const { edges } = layeredEdges(rows);
    const marks = new Map(layout.marks.map((mark) => [mark.row, mark]));
    edges.forEach(({ upper, lower }, index) => {
      const way = layout.wires.filter((wire) => wire.edges.includes(index)).sort((a, b) => a.y0 - b.y0);
      const points = way.flatMap((wire) => [`${wire.x0.toFixed(1)} ${wire.y0.toFixed(1)}`, `${wire.x1.toFixed(1)} ${wire.y1.toFixed(1)}`]);
      const [first, last] = [marks.get(upper)!, marks.get(lower)!];
      expect(points[0]).toBe(`${first.x.toFixed(1)} ${first.y.toFixed(1)}`);
      expect(points.at(-1)).toBe(`${last.x.toFixed(1)} ${last.y.toFixed(1)}`);
      for (let i = 1; i + 1 < points.length; i += 2) expect(points[i]).toBe(points[i + 1]);
      for (const { y0, bend0, bend1, y1 } of way) expect(y0 <= bend0 && bend0 <= bend1 && bend1 <= y1).toBe(true);
    });
  });

  it.each(RANDOM)("runs lanes beside the marks and boxes they pass (seed $seed)", ({ rows }) => {
    const layout = layoutOf(rows);
    const rects = rectsOf(rows, layout);
    for (const { key, lane, bend0, bend1 } of layout.wires) {
      if (Number.isNaN(lane)) continue;
      const group = Number(key.split(" ")[0]);
      const line = { x: lane - 1, y: bend0 + 30, width: 2, height: bend1 - bend0 - 60 };
      rows.rows.forEach((row, index) => {
        if (row.parent === group && line.height > 0) expect(meet(line, rects.get(index)!)).toBe(false);
      });
    }
  });

  it("is the same for the same graph, whatever was drawn before", () => {
    const { rows } = RANDOM[9]!;
    expect(layoutOf(rows)).toEqual(layoutOf(buildRows(treeOf(snapshotOf(randomTape(10, 20 + 9 * 9))), rowsOpen(rows), true)));
  });
});

function rowsOpen({ rows }: GraphRows): OpenKeys {
  return new Set(rows.flatMap((row) => (row.kind === "open" ? [row.key] : [row.unit, row.unfolded].filter(Boolean))));
}

describe("the layered layout of a transformer", () => {
  const tree = treeOf(snapshotOf(transformer(12)));
  const soft = Array.from(tree.order.node).findIndex((node) => tree.model.graph.names[tree.model.name[node]!] === "SoftmaxBackward0");
  const rows = buildRows(tree, revealPosition(tree, new Set(), soft), true);
  const layout = layoutOf(rows);
  const markOf = (name: string): LayoutMark => layout.marks.find((mark) => rows.rows[mark.row]!.name === name)!;

  it("has a straight line from the embedding to the loss", () => {
    const line = ["EmbeddingBackward0", "blocks.1–11", "MeanBackward0"].map((name) => markOf(name).x);
    expect(new Set(line).size).toBe(1);
  });

  it("routes the residual around the whole attention, inside its block", () => {
    const attention = layout.boxes.find((box) => rows.rows[box.row]!.name === "attn")!;
    const block = layout.boxes.find((box) => rows.rows[box.row]!.name === "blocks.0")!;
    const skips = layout.wires.filter(({ lane, bend0, bend1 }) => bend0 < attention.y && bend1 > attention.y + attention.height && !Number.isNaN(lane));
    expect(skips).toHaveLength(1);
    expect(skips[0]!.lane).toBeGreaterThan(attention.x + attention.width);
    expect(skips[0]!.lane).toBeLessThan(block.x + block.width);
  });

  it("puts q, k and v side by side and runs their branches straight down", () => {
    const permutes = layout.marks.filter((mark) => rows.rows[mark.row]!.name === "PermuteBackward0");
    expect(new Set(permutes.map(({ y }) => y)).size).toBe(1);
    expect(permutes.map(({ side }) => side).sort()).toEqual(["left", "right", "right"]);
    const [scores] = layout.marks.filter((mark) => rows.rows[mark.row]!.name === "BmmBackward0");
    expect(markOf("SoftmaxBackward0").x).toBeCloseTo(scores!.x);
  });
});

describe("places in a layer", () => {
  it("keep their order and gaps, and are where they are wanted when there is room", () => {
    const want = (...at: number[]) => at.map((one) => ({ at: one, weight: 1 }));
    expect(inOrder(want(0, 100, 300), [50, 50])).toEqual([0, 100, 300]);
    expect(inOrder(want(10, 10, 10), [20, 20])).toEqual([-10, 10, 30]);
    const next = random(5);
    for (let round = 0; round < 50; round++) {
      const wanted = Array.from({ length: 6 }, () => ({ at: 400 * next(), weight: 0.1 + next() }));
      const gaps = Array.from({ length: 5 }, () => 80 * next());
      const at = inOrder(wanted, gaps);
      gaps.forEach((gap, i) => expect(at[i + 1]! - at[i]!).toBeGreaterThanOrEqual(gap - 1e-9));
    }
  });
});

describe("labels", () => {
  it("never take more than their room, and keep the name and the word for trouble", () => {
    const tape = transformer(2);
    const running = 6;
    const snapshot = snapshotOf(tape, { running, norms: new Map([[running, 1]]), nan: [running] });
    const tree = treeOf(snapshot);
    const rows = buildRows(tree, openAll(tree), true);
    for (const row of rows.rows) {
      if (row.kind === "open") continue;
      const summary = summarise(tree, row.start, row.end);
      const { label } = labelSize(tree, row, summary, false);
      const shown = labelOf(tree, row, summary, { room: label, flat: false });
      if (shown.word === "") expect((shown.name.length + shown.detail.length) * 6.1).toBeLessThanOrEqual(label);
      expect(shown.name).not.toBe("");
    }
    const soft = rows.rows.find((row) => row.kind === "op" && summarise(tree, row.start, row.end).trouble === "NaN")!;
    expect(labelOf(tree, soft, summarise(tree, soft.start, soft.end), { room: 100, flat: false })).toMatchObject({ name: "Softmax", word: "NaN", bad: true });
  });
});

describe("what is drawn at most", () => {
  const tree = treeOf(snapshotOf(transformer(60)));

  it("keeps what was opened last, with the groups around it", () => {
    const open = [...openAll(tree)].sort();
    const last = tree.groups.find((group) => group.path === "blocks.31.attn")!;
    const capped = capOpen(tree, new Set([...open.filter((key) => key !== last.key), last.key]));
    expect(capped.drawable).toBe(true);
    const rows = buildRows(tree, capped.open, true).rows;
    expect(rows.length).toBeLessThanOrEqual(MOST_ITEMS);
    expect(rows.length).toBeGreaterThan(MOST_ITEMS / 2);
    expect(rows.some((row) => row.kind === "open" && row.key === last.key)).toBe(true);
  });

  it("changes nothing where there is little", () => {
    const open = openAtFirst(tree, -1);
    expect(capOpen(tree, open)).toEqual({ open, drawable: true });
  });
});

describe("the share of a gradient along an edge", () => {
  const tape = new Tape();
  const x = tape.op("EmbeddingBackward0", []);
  const inner = tape.op("TanhBackward0", [x]);
  tape.op("AddBackward0", [x, inner]);
  const norms = new Map([[0, 2], [1, 0.5], [2, 1.42]]);
  const outputs = new Map([[0, [4, 4]], [1, [4, 4]], [2, [4, 4]]]);
  const shares = (test: Parameters<typeof snapshotOf>[1]): (number | null)[] => {
    const tree = treeOf(snapshotOf(tape, test));
    return layeredEdges(buildRows(tree, new Set(), false)).edges.map((edge) => gradientShare(tree.model, edge));
  };

  it("is known where an addition hands it on, and unknown where nothing measured it", () => {
    expect(shares({ norms, outputs })).toEqual([null, expect.closeTo(0.71), null]);
  });

  it("is unknown where shapes are not known or differ: a sum over broadcast dimensions is no longer the same gradient", () => {
    expect(shares({ norms })).toEqual([null, null, null]);
    expect(shares({ norms, outputs: new Map([...outputs, [0, [1, 4]]]) })).toEqual([null, null, null]);
  });

  it("is never that of a gradient that is not finite", () => {
    expect(shares({ norms, outputs, nan: [2] })).toEqual([null, null, null]);
  });
});

describe("another step of the same graph", () => {
  it("keeps its tree; another structure under the same digest does not", () => {
    const tree = treeOf(snapshotOf(transformer(3)));
    const same = graphModel(snapshotOf(transformer(3), { norms: new Map([[2, 1]]) }))!;
    expect(treeForModel(tree, same)?.groups).toBe(tree.groups);
    expect(treeForModel(tree, same)?.model).toBe(same);
    expect(treeForModel(tree, graphModel(snapshotOf(transformer(4)))!)).toBeNull();
    const renamed = snapshotOf(transformer(3));
    const graph = { ...renamed.graph!, edge_target: column("<u4", Array.from({ length: renamed.graph!.edge_count }, () => 0)) };
    expect(treeForModel(tree, graphModel({ ...renamed, graph })!)).toBeNull();
  });
});

describe("between two layouts", () => {
  const tree = treeOf(snapshotOf(transformer(6)));
  const stateOf = (open: OpenKeys) => {
    const rows = buildRows(tree, open, true);
    return { rows: rows.rows, layout: layoutOf(rows) };
  };
  const before = stateOf(new Set());
  const fold = before.rows.find((row) => row.kind === "fold")!;
  const after = stateOf(new Set([fold.key]));

  it("begins where things were, and new ones where what stood for them was", () => {
    const mixed = mixLayouts(before, after, 0);
    const was = before.layout.marks.find((mark) => mark.key === fold.key)!;
    const blocks = mixed.marks.filter((mark) => after.rows[mark.row]!.name.startsWith("blocks."));
    expect(blocks).toHaveLength(6);
    for (const mark of blocks) expect([mark.x, mark.y]).toEqual([was.x, was.y]);
    expect(mixLayouts(before, after, 1)).toBe(after.layout);
  });

  it("says how far the drawing moved under the row that was opened", () => {
    const shift = shiftBetween(before, after, fold.key, { x: 0, y: 0 });
    expect(Number.isFinite(shift.x) && Number.isFinite(shift.y)).toBe(true);
    expect(shiftBetween(before, before, null, { x: 0, y: 0 })).toEqual({ x: 0, y: 0 });
  });
});

describe("the window on the drawing", () => {
  const drawing = { width: 400, height: 3000 };
  const window = { width: 600, height: 500 };

  it("zooms about the pointer, and fits no larger than life", () => {
    const view = { left: 10, top: -300, scale: 1 };
    const at = { x: 200, y: 100 };
    const zoomed = zoomAbout(view, 2, at);
    expect((at.x - zoomed.left) / zoomed.scale).toBeCloseTo((at.x - view.left) / view.scale);
    expect(fitWhole({ width: 100, height: 100 }, window, 1).scale).toBe(1);
    expect(seenArea(fitWhole(drawing, window, 1), window).height).toBeGreaterThanOrEqual(drawing.height - 0.01);
  });

  it("moves only as far as needed to show something, and never zooms for it", () => {
    const view = { left: 100, top: 0, scale: 1 };
    expect(revealed(view, window, { x: 50, y: 100, width: 100, height: 22 })).toBe(view);
    const moved = revealed(view, window, { x: 50, y: 900, width: 100, height: 22 });
    expect(moved).toEqual({ left: 100, top: 500 - 950, scale: 1 });
  });

  it("keeps the drawing in sight", () => {
    expect(keptIn(drawing, window, { left: 9e9, top: 9e9, scale: 1 })).toEqual({ left: 200, top: 0, scale: 1 });
    expect(keptIn(drawing, window, { left: -9e9, top: -9e9, scale: 1 })).toEqual({ left: 0, top: -2500, scale: 1 });
  });
});

describe("a stranger's graph", () => {
  const withEdges = (snapshot: Snapshot, edges: readonly (readonly [number, number])[]): Snapshot => ({
    ...snapshot,
    graph: {
      ...snapshot.graph!,
      edge_count: edges.length,
      edge_source: column("<u4", edges.map(([source]) => source)),
      edge_target: column("<u4", edges.map(([, target]) => target)),
      edge_slot: column("<u4", edges.map((_, slot) => slot)),
      edge_input_nr: column("<u4", edges.map(() => 0)),
    },
  });
  const chain = (count: number): Snapshot => {
    const tape = new Tape();
    for (let i = 0; i < count; i++) tape.op(`Op${i % 11}${i % 7}Backward0`, i > 0 ? [i - 1] : []);
    return snapshotOf(tape);
  };

  it("of 100,000 nodes side by side, with all edges into one, is not drawn and does not hang", () => {
    const snapshot = chain(100_000);
    const tree = treeOf(withEdges(snapshot, Array.from({ length: 99_999 }, (_, i) => [i + 1, 0] as const)));
    const { open, drawable } = capOpen(tree, new Set());
    const rows = buildRows(tree, open, true);
    expect(drawable).toBe(rows.rows.length <= MOST_ITEMS);
    expect(layeredEdges(rows).edges.length).toBeLessThanOrEqual(MOST_EDGES);
  });

  it("may have edges that go backwards, around, and to themselves", () => {
    const edges = Array.from({ length: 60 }, (_, i) => [[i, (i + 7) % 60], [i, i], [(i * 13) % 60, i]] as const).flat();
    const rows = buildRows(treeOf(withEdges(chain(60), edges)), new Set(), false);
    const layout = layoutOf(rows);
    expect(layout.marks).toHaveLength(60);
    for (const { x, y } of layout.marks) expect(Number.isFinite(x) && Number.isFinite(y)).toBe(true);
  });

  it("may have every operation use all others: what is left out is counted", () => {
    const rows = buildRows(treeOf(withEdges(chain(120), Array.from({ length: 120 * 119 }, (_, i) => [1 + Math.floor(i / 119), i % 119] as const).filter(([a]) => a < 120))), new Set(), false);
    const { edges, leftOut } = layeredEdges(rows);
    expect(edges).toHaveLength(MOST_EDGES);
    expect(leftOut).toBeGreaterThan(0);
    expect(layOut(rows.rows, edges, sizesOf(rows)).wires.length).toBeGreaterThan(0);
  });

  it("may have names of 10 KB: labels are cut in the middle", () => {
    const tape = new Tape();
    const long = `<script>${"x".repeat(10_000)}</script>`;
    const a = tape.op(long, [], { module: long, parameters: [long], line: 3 });
    tape.op("AddBackward0", [a]);
    const rows = buildRows(treeOf(snapshotOf(tape)), new Set(), true);
    expect(layoutOf(rows).width).toBeLessThan(1000);
  });

  it.each([150, 400])("may nest modules %i deep", (levels) => {
    const tape = new Tape();
    const parts = Array.from({ length: levels }, (_, i) => `m${i % 10}x`);
    let x = tape.op("InputBackward0", []);
    for (let depth = 1; depth < parts.length; depth += 2) x = tape.op("MulBackward0", [x, x], { module: parts.slice(0, depth).join(".") });
    const tree = treeOf(snapshotOf(tape));
    const { open, drawable } = capOpen(tree, openAll(tree));
    expect(drawable).toBe(true);
    const layout = layoutOf(buildRows(tree, open, true));
    expect(layout.marks.length + layout.boxes.length).toBeLessThanOrEqual(MOST_ITEMS);
    expect(Number.isFinite(layout.width) && Number.isFinite(layout.height)).toBe(true);
  });

  it("may fan views of a parameter out, or chain them without end", () => {
    const views = (count: number, inputs: (at: number) => number[]): Tape => {
      const tape = new Tape();
      tape.op("TBackward0", [], { parameters: ["weight"] });
      for (let i = 1; i < count; i++) tape.op("TBackward0", inputs(i));
      tape.op("MmBackward0", [count - 1]);
      return tape;
    };
    for (const tape of [views(80, (i) => [i - 1, i - 1]), views(20_000, (i) => [i - 1])]) {
      const tree = treeOf(snapshotOf(tape));
      expect(capOpen(tree, new Set()).open.size).toBe(0);
    }
    expect(treeOf(snapshotOf(views(5, (i) => [i - 1]))).order.node).toHaveLength(1);
  });

  it("may say that leaves lead to one another", () => {
    const tape = new Tape();
    tape.op("MulBackward0", [], { parameters: ["a", "b"] });
    const snapshot = withEdges(snapshotOf(tape), [[0, 1], [1, 0], [2, 0], [2, 1]]);
    expect(layoutOf(buildRows(treeOf(snapshot), new Set(), false)).marks.length).toBeGreaterThan(0);
  });
});
