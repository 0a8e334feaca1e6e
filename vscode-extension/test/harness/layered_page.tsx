/** The layered graph alone on a page, over a snapshot that `shoot_layered.mjs` hands it or a scene of the tests. */

import "../../webview/gradwatch.css";
import "../../webview/page.css";
import "../../webview/shell.css";

import { render } from "preact";
import { useState } from "preact/hooks";
import { parseAnswer } from "../../shared/answer";
import { bestDecompress } from "../../shared/mcap_zstd";
import { RecordedSession } from "../../shared/recorded_session";
import { snapshotOfStep } from "../../shared/recorded_snapshot";
import { NOTHING, type Selection } from "../../shared/selection";
import type { Snapshot } from "../../shared/session";
import { LayeredGraphView } from "../../webview/graph/layered_view";
import type { Ask, ViewProps } from "../../webview/view";
import { snapshotOf, Tape, transformer } from "../graph_snapshot";

interface Options {
  readonly text?: string;
  readonly scene?: string;
  /** A session file in base64, and its step. */
  readonly file?: string;
  readonly step?: number;
  readonly recorded?: boolean;
  readonly width: number;
}

interface Page {
  show: (options: Options) => Promise<void>;
  /** Draws the same graph again with other values, and says what each took in ms. */
  replay: (steps: number) => number[];
  select: (selection: Selection) => void;
}

const SCENES: Readonly<Record<string, () => Snapshot>> = {
  transformer: () => snapshotOf(transformer(12), { norms: normsOf(transformer(12)) }),
  nan: () => nanScene(),
  shares: () => snapshotOf(transformer(3), { norms: normsOf(transformer(3)), outputs: new Map(transformer(3).nodes.map((_, op) => [op, [8, 8]])) }),
  open: () => snapshotOf(transformer(20), { norms: normsOf(transformer(20)) }),
  wide: () => snapshotOf(wide(40)),
  dense: () => snapshotOf(dense(16)),
};

function normsOf(tape: Tape, seed = 1): Map<number, number> {
  return new Map(tape.nodes.map((_, op) => [op, 0.01 * (1 + ((op * 7 + seed) % 13))]));
}

function nanScene(): Snapshot {
  const tape = transformer(12);
  const running = tape.nodes.findIndex(({ name, module }) => name === "SoftmaxBackward0" && module === "blocks.7.attn");
  const norms = new Map(tape.nodes.map((_, op) => [op, 0.02] as const).filter(([op]) => op >= running));
  return snapshotOf(tape, { running, norms, computed: new Map([[running, { norm: 1, nan: 6144 }]]) });
}

/** Branches beside one another, joined at the end. */
function wide(count: number): Tape {
  const tape = new Tape();
  const x = tape.op("EmbeddingBackward0", [], { line: 3 });
  const ends = Array.from({ length: count }, (_, i) => {
    const a = tape.op(i % 3 === 0 ? "MulBackward0" : "TanhBackward0", [x], { line: 10 + i, saved: [1024 * (i + 1)] });
    return i % 2 === 0 ? tape.op("SumBackward1", [a], { line: 60 }) : a;
  });
  tape.op("StackBackward0", ends, { line: 80 });
  return tape;
}

/** Every operation uses all before it. */
function dense(count: number): Tape {
  const tape = new Tape();
  for (let i = 0; i < count; i++) tape.op(["ConvolutionBackward0", "CatBackward0", "ReluBackward0"][i % 3]!, Array.from({ length: i }, (_, j) => j), { line: i + 1, saved: [4096 * (i + 1)] });
  return tape;
}

const root = document.getElementById("root")!;
const page: Page = { show, replay: () => [], select: () => {} };
(globalThis as unknown as { page: Page }).page = page;

async function show({ text, file, step = 0, scene = "transformer", recorded = false }: Options): Promise<void> {
  const first = text ? snapshotIn(text) : file ? await snapshotOfStep(await openSession(file), step) : SCENES[scene]!();
  render(<View first={first} recorded={recorded} />, root);
}

async function openSession(file: string): Promise<RecordedSession> {
  const bytes = Uint8Array.from(atob(file), (character) => character.charCodeAt(0));
  const source = { size: () => Promise.resolve(bytes.length), read: (offset: number, length: number) => Promise.resolve(bytes.slice(offset, offset + length)) };
  return RecordedSession.open(source, { name: "run.gradwatch", decompress: await bestDecompress(null) });
}

function snapshotIn(text: string): Snapshot {
  const answer = parseAnswer(text);
  if (answer.kind !== "Snapshot") throw new Error(`A snapshot is expected, not ${answer.kind}.`);
  return answer.value;
}

function View({ first, recorded }: { readonly first: Snapshot; readonly recorded: boolean }) {
  const [snapshot, setSnapshot] = useState(first);
  const [selection, select] = useState<Selection>(NOTHING);
  page.select = select;
  page.replay = (steps) =>
    Array.from({ length: steps }, (_, step) => {
      const next = { ...snapshot, gradients: snapshotOf(transformer(20), { norms: normsOf(transformer(20), step) }).gradients ?? [] };
      const began = performance.now();
      setSnapshot(next);
      render(<View first={first} recorded={recorded} />, root);
      void root.offsetHeight;
      return performance.now() - began;
    });
  const props: ViewProps = {
    session: "page",
    snapshot,
    previous: null,
    dimmed: false,
    selection,
    select,
    showTab: () => {},
    ask: (() => new Promise(() => {})) as Ask,
    onCommand: () => () => {},
    breakHere: () => {},
    width: root.clientWidth,
    ...(recorded ? { recorded: { history: null, curveOf: () => null, heldCurve: null } } : {}),
  };
  return (
    <div class="gw" data-width="wide">
      <div class="view">
        <LayeredGraphView {...props} />
      </div>
    </div>
  );
}

