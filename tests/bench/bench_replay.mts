/**
 * Prints how long a recorded session takes to open, to show a step and a curve, and to follow while it is written, each
 * beside what is wanted: `node tests/bench/bench_replay.mts [FILE] [--steps N] [--json FILE]`. Without FILE one is
 * written first (make_long_session.py, 100,000 steps by default, about 2 GB) and removed afterwards. Files are read warm.
 */

import { spawn } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync, statSync, truncateSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import * as zlib from "node:zlib";
import { figureOf, writeFigures, type Figure } from "./figures.mts";

const ROOT = path.join(import.meta.dirname, "../..");
const EXTENSION = path.join(ROOT, "vscode-extension");
const PYTHON = path.join(ROOT, ".venv/bin/python");
const MAKE = path.join(import.meta.dirname, "make_long_session.py");
const ROUNDS = 5;
const SEEKS = 200;
const TAIL_STEPS = 200;
const TAIL_STEP_MS = 30;
const STATISTICS = ["l2", "min", "max"] as const;

/** Milliseconds that are wanted at most. */
const WANTED: ReadonlyMap<string, number> = new Map([
  ["open", 100],
  ["a step's snapshot", 1],
  ...STATISTICS.map((statistic) => [`whole curve of ${statistic}`, 100] as const),
]);
/** Limits of what nothing is wanted of. */
const LIMITS: ReadonlyMap<string, number> = new Map([
  ["open and overview", 1000],
  ["open, without its end", 2000],
  ["follow: step to refreshed", 200],
]);

interface Session {
  readonly steps: { readonly length: number; number(at: number): number; endNs(at: number): bigint | number | null };
  readonly parameters: readonly { readonly id: number }[];
  readonly finished: boolean;
  refresh(): Promise<boolean>;
  snapshotOfStep(step: number): Promise<unknown>;
  curve(subject: Subject): Promise<unknown>;
  curveOf(subject: Subject, statistic: (typeof STATISTICS)[number]): Promise<{ readonly values: Float64Array }>;
  totals(): Promise<{ readonly gradientNorm: Float64Array }>;
}

interface Subject {
  readonly kind: "parameter";
  readonly id: number;
}

interface File {
  size(): Promise<number>;
  close(): Promise<void>;
}

interface Tail {
  start(): void;
  stop(): void;
}

/** What is measured, as the extension has it. */
interface Replay {
  readonly RecordedSession: { open(source: File, options: object): Promise<Session> };
  readonly SessionFile: { open(path: string): Promise<File> };
  readonly SessionTail: new (files: readonly File[], sizes: readonly number[], events: object) => Tail;
  readonly bestDecompress: (zlib: unknown) => Promise<unknown>;
}

const { values: options, positionals } = parseArgs({ allowPositionals: true, options: { steps: { type: "string", default: "100000" }, json: { type: "string" } } });
const figures: Figure[] = [];
const folder = mkdtempSync(path.join(tmpdir(), "gradwatch-bench-"));
try {
  const replay = await bundled();
  const file = positionals[0] ?? (await written(path.join(folder, "long.gradwatch"), ["--steps", options.steps]));
  console.log(`node ${process.version}, ${(statSync(file).size / 1e9).toFixed(2)} GB\n`);
  const on = await measure(replay, file);
  const unfinished = path.join(folder, "unfinished.gradwatch");
  copyFileSync(file, unfinished);
  truncateSync(unfinished, statSync(file).size - 16); // a footer that does not fit is as good as none
  await print("open, without its end", on, repeated(async () => (await opened(replay, unfinished)).file.close()));
  rmSync(unfinished);
  await print("follow: step to refreshed", stepsOf(TAIL_STEPS), follow(replay, path.join(folder, "live.gradwatch")));
  writeFigures(options.json, figures);
} finally {
  rmSync(folder, { recursive: true });
}

/** What of it is asked of a finished session; says which that was. */
async function measure(replay: Replay, file: string): Promise<string> {
  const { session, file: handle } = await opened(replay, file);
  const on = stepsOf(session.steps.length);
  const ids = session.parameters.map(({ id }) => id);
  const anyone = (): Subject => ({ kind: "parameter", id: ids[Math.floor(Math.random() * ids.length)] ?? 0 });
  const anew = (ask: (session: Session) => Promise<unknown>): Promise<readonly number[]> => inNewSessions(replay, file, ask);

  await print("open", on, repeated(async () => (await opened(replay, file)).file.close()));
  await print("open and overview", on, repeated(async () => {
    const { session, file: handle } = await opened(replay, file);
    await session.totals();
    await handle.close();
  }));
  console.log(`  ${session.steps.length.toLocaleString("en")} steps, ${session.parameters.length} parameters`);
  await print("a step's snapshot", on, seeks(session));
  for (const statistic of STATISTICS) await print(`whole curve of ${statistic}`, on, anew((each) => each.curveOf(anyone(), statistic)));
  await print("all statistics, no series", on, anew((each) => each.curve(anyone())));
  await handle.close();
  return on;
}

function stepsOf(count: number): string {
  return `${count.toLocaleString("en")} steps (TypeScript)`;
}

async function opened(replay: Replay, file: string): Promise<{ session: Session; file: File }> {
  const handle = await replay.SessionFile.open(file);
  const options = { name: file, decompress: await replay.bestDecompress(zlib), crc32: (zlib as { crc32?: unknown }).crc32 };
  return { session: await replay.RecordedSession.open(handle, options), file: handle };
}

async function once(act: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await act();
  return performance.now() - start;
}

async function repeated(act: () => Promise<unknown>): Promise<readonly number[]> {
  const found: number[] = [];
  for (let round = 0; round < ROUNDS; round++) found.push(await once(act));
  return found;
}

/** Each in a session of its own, as one keeps what it has read; opening it is not counted. */
async function inNewSessions(replay: Replay, file: string, ask: (session: Session) => Promise<unknown>): Promise<readonly number[]> {
  const found: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const { session, file: handle } = await opened(replay, file);
    found.push(await once(() => ask(session)));
    await handle.close();
  }
  return found;
}

async function seeks(session: Session): Promise<readonly number[]> {
  const found: number[] = [];
  for (let seek = 0; seek < SEEKS; seek++) {
    const step = session.steps.number(Math.floor(Math.random() * session.steps.length));
    found.push(await once(() => session.snapshotOfStep(step)));
  }
  return found;
}

/** Milliseconds from the end of each step, by the writer's clock, until a reader that follows has it. */
async function follow(replay: Replay, file: string): Promise<readonly number[]> {
  const writer = spawn(PYTHON, [MAKE, file, "--steps", String(TAIL_STEPS), "--step-ms", String(TAIL_STEP_MS)], { stdio: "ignore" });
  const ended = new Promise((done) => writer.once("close", done));
  await waitFor(file);
  const { session, file: handle } = await opened(replay, file);
  const found: number[] = [];
  let known = session.steps.length;
  const grown = async (): Promise<void> => {
    await session.refresh();
    for (; known < session.steps.length; known++) found.push(Date.now() - Number(session.steps.endNs(known)) / 1e6);
  };
  const tail = new replay.SessionTail([handle], [await handle.size()], {
    get growing() { return !session.finished; }, grown, replaced: () => undefined, removed: () => undefined,
  });
  tail.start();
  await ended;
  tail.stop();
  await handle.close();
  return found;
}

async function waitFor(file: string): Promise<void> {
  for (;;) {
    if ((statSync(file, { throwIfNoEntry: false })?.size ?? 0) > 0) return;
    await new Promise((done) => setTimeout(done, 20));
  }
}

async function written(file: string, more: readonly string[]): Promise<string> {
  const writer = spawn(PYTHON, [MAKE, file, ...more], { stdio: "inherit" });
  const status = await new Promise((done) => writer.once("close", done));
  if (status !== 0) throw new Error(`make_long_session.py ended with ${String(status)}`);
  return file;
}

async function bundled(): Promise<Replay> {
  const esbuild = createRequire(path.join(EXTENSION, "package.json"))("esbuild") as {
    build(options: object): Promise<unknown>;
  };
  const outfile = path.join(folder, "replay.mjs");
  const contents = [
    'export { RecordedSession } from "./shared/recorded_session";',
    'export { bestDecompress } from "./shared/mcap_zstd";',
    'export { SessionFile } from "./src/session_file";',
    'export { SessionTail } from "./src/session_tail";',
  ].join("\n");
  await esbuild.build({
    stdin: { contents, resolveDir: EXTENSION, loader: "ts" }, outfile, bundle: true, format: "esm", platform: "node", logLevel: "error",
    alias: { vscode: path.join(EXTENSION, "test/fake_vscode.ts") },
  });
  return (await import(outfile)) as Replay;
}

/** The median is held to what is wanted; to a limit, of many the 95th percentile. */
async function print(what: string, on: string, measuring: Promise<readonly number[]>): Promise<void> {
  const found = await measuring;
  const figure = figureOf(what, on, found, { unit: "ms", wanted: WANTED.get(what) ?? null });
  figures.push(figure);
  const many = found.length > ROUNDS;
  const high = quantile(found, 0.95);
  const spread = many ? `  p95 ${high.toFixed(1).padStart(8)}` : " ".repeat(14);
  const most = figure.wanted ?? LIMITS.get(what);
  const held = many && figure.wanted === null ? high : figure.value;
  const limit = most === undefined ? "" : `  of at most ${most} ms${held > most ? "  OVER" : ""}`;
  console.log(`  ${what.padEnd(28)} ${figure.value.toFixed(1).padStart(8)} ms${spread}${limit}`);
}

function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}
