import { describe, expect, it } from "vitest";
import { heldModel } from "../shared/held_model";
import { heldTreemap, squarify, type Box, type TreemapCell } from "../shared/held_treemap";
import { heldSnapshot } from "./held_snapshot";

/** The same numbers every time. */
function randoms(seed: number): () => number {
  let state = seed;
  return () => (state = (state * 1664525 + 1013904223) >>> 0) / 2 ** 32;
}

const area = (box: Box): number => box.width * box.height;

function overlap(a: Box, b: Box): number {
  const width = Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x);
  const height = Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y);
  return width > 1e-6 && height > 1e-6 ? width * height : 0;
}

function worstOverlap(boxes: readonly Box[]): number {
  return Math.max(0, ...boxes.flatMap((box, i) => boxes.slice(i + 1).map((other) => overlap(box, other))));
}

describe("squarified rectangles", () => {
  it("have areas in proportion, do not overlap and stay inside, for any values", () => {
    const random = randoms(7);
    for (let trial = 0; trial < 200; trial++) {
      const values = Array.from({ length: 1 + Math.floor(random() * 40) }, () => 10 ** (random() * 6)).sort((a, b) => b - a);
      const box = { x: 3, y: 5, width: 20 + random() * 500, height: 20 + random() * 300 };
      const boxes = squarify(values, box);
      const total = values.reduce((sum, value) => sum + value, 0);
      expect(boxes).toHaveLength(values.length);
      boxes.forEach((placed, i) => expect(area(placed)).toBeCloseTo(((values[i] ?? 0) / total) * area(box), 4));
      expect(worstOverlap(boxes)).toBe(0);
      for (const placed of boxes) {
        expect(placed.x).toBeGreaterThanOrEqual(box.x - 1e-6);
        expect(placed.x + placed.width).toBeLessThanOrEqual(box.x + box.width + 1e-6);
        expect(placed.y + placed.height).toBeLessThanOrEqual(box.y + box.height + 1e-6);
      }
    }
  });

  it("keep the order given: rows from the top, each from the left", () => {
    const boxes = squarify([3, 9, 1, 4, 4, 2], { x: 0, y: 0, width: 300, height: 200 });
    const reading = boxes.map((box, i) => ({ box, i })).sort((a, b) => a.box.y - b.box.y || a.box.x - b.box.x);
    expect(reading.map(({ i }) => i)).toEqual([0, 1, 2, 3, 4, 5]);
  });

  it("come out square where values are equal and the area allows it", () => {
    for (const { width, height } of squarify([1, 1, 1, 1], { x: 0, y: 0, width: 100, height: 100 })) {
      expect([width, height]).toEqual([50, 50]);
    }
  });

  it("give nothing an area of nothing", () => {
    expect(squarify([0, 0], { x: 0, y: 0, width: 10, height: 10 }).map(area)).toEqual([0, 0]);
  });
});

/** Blocks of attn (300), mlp (100) each, and an embedding of 50. */
function blocks(count: number) {
  const modules = ["", "emb", ...Array.from({ length: count }, (_, i) => [`blocks.${i}.attn`, `blocks.${i}.mlp`]).flat()];
  const nodes = modules.slice(1).map((_, i) => ({ op: "MulBackward0", module: i + 1 }));
  const bytes = modules.slice(1).map((path) => (path === "emb" ? 50 : path.endsWith("attn") ? 300 : 100));
  return heldSnapshot({
    modules,
    nodes,
    saved: nodes.map((_, node) => ({ node, storage: node })),
    storages: bytes.map((size) => ({ bytes: size })),
  });
}

function cellsOf(count: number, width = 460, height = 216): readonly TreemapCell[] {
  const model = heldModel(blocks(count));
  return model ? heldTreemap(model, width, height).flatMap((group) => group.cells) : [];
}

describe("the treemap of held modules", () => {
  it("opens the container that holds nearly everything, divides each block by its children, in model order", () => {
    const cells = cellsOf(4);
    expect(cells.slice(0, 3).map(({ label, fullLabel, bytes, rank }) => ({ label, fullLabel, bytes, rank }))).toEqual([
      { label: "emb", fullLabel: "emb", bytes: 50, rank: 0 },
      { label: "blocks.0.attn", fullLabel: "blocks.0.attn", bytes: 300, rank: 0 },
      { label: "mlp", fullLabel: "blocks.0.mlp", bytes: 100, rank: 1 },
    ]);
    expect(cells.at(-2)?.label).toBe("blocks.3.attn");
  });

  it("covers the whole area in proportion to bytes, without overlaps", () => {
    const cells = cellsOf(7);
    const bytes = cells.reduce((sum, cell) => sum + cell.bytes, 0);
    expect(bytes).toBe(7 * 400 + 50);
    expect(worstOverlap(cells)).toBe(0);
    for (const cell of cells) expect(area(cell)).toBeCloseTo((cell.bytes / bytes) * 460 * 216, 4);
  });

  it("puts what would be too small to see together, and loses no bytes", () => {
    const cells = cellsOf(2000, 300, 100);
    expect(cells.length).toBeLessThan(200);
    expect(cells.reduce((sum, cell) => sum + cell.bytes, 0)).toBe(2000 * 400 + 50);
    expect(cells.reduce((sum, cell) => sum + cell.others, 0)).toBeGreaterThan(1000);
  });

  it("is empty where nothing is held", () => {
    const model = heldModel(heldSnapshot({ nodes: [], saved: [], storages: [] }));
    expect(model && heldTreemap(model, 300, 200)).toEqual([]);
  });
});
