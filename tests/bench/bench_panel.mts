/**
 * Prints how long a stop takes until the panel is painted, in a real VS Code, and where the time goes: medians of ten
 * stops and the 95th percentile, after two that are not counted (imports, compilation):
 * `node tests/bench/bench_panel.mts [--json FILE]`.
 */

import { cpSync } from "node:fs";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";
import type { Measurement, Message } from "../e2e/bridge.ts";
import { launchBrowser } from "../e2e/browser.ts";
import * as places from "../e2e/places.ts";
import { end, eventually } from "../e2e/processes.ts";
import { startServer } from "../e2e/server.ts";
import type { Tab } from "../e2e/panel.ts";
import { Workbench } from "../e2e/workbench.ts";
import { figureOf, isReached, writeFigures, type Figure } from "./figures.mts";

const STOPS = 10;
const UNCOUNTED = 2;
const QUIET_MS = 1500;

interface Case {
  readonly nodes: number;
  readonly wantedMs: number;
  readonly tab: Tab;
}

const CASES: readonly Case[] = [
  { nodes: 1_000, wantedMs: 150, tab: "Gradients" },
  { nodes: 1_000, wantedMs: 150, tab: "Graph" },
  { nodes: 10_000, wantedMs: 600, tab: "Gradients" },
  { nodes: 10_000, wantedMs: 600, tab: "Graph" },
];

/** Milliseconds of one stop by part; "total" is from the `stopped` event to the painted frame. */
type Parts = Readonly<Record<string, number>>;

function partsOf(measured: Measurement, answer: Message): Parts {
  const { stoppedMs, evaluateMs, paint, panelMs } = measured;
  if (paint === null) throw new Error("a stop was not painted");
  const inProgram = Object.values(answer.costMs ?? {}).reduce((sum, ms) => sum + ms, 0);
  const { parseMs, modelMs, layoutMs, paintMs } = paint;
  return {
    total: stoppedMs + panelMs,
    "until asked": stoppedMs - evaluateMs,
    "in the program": inProgram,
    transfer: evaluateMs - inProgram,
    "to the panel": panelMs - parseMs - modelMs - layoutMs - paintMs,
    parse: parseMs,
    model: modelMs,
    layout: layoutMs,
    paint: paintMs,
    "answer KB": measured.characters / 1000,
  };
}

async function measure(workbench: Workbench, { tab }: Case): Promise<readonly Parts[]> {
  const { bridge, panel } = workbench;
  await workbench.toggleBreakpoint("panel_program.py", "stop");
  await bridge.command("gradwatch.focus");
  await workbench.widenPanel(480);
  await workbench.startDebugging();
  const stops: Parts[] = [];
  for (let stop = 1; stop <= STOPS + UNCOUNTED; stop++) {
    await pause(QUIET_MS); // asking the extension host meanwhile would be measured too
    const measured = await eventually("the painted stop", async () => {
      const found = (await bridge.ask("measurements", {}))?.find((item) => item.stop === stop);
      return found?.paint ? found : undefined;
    });
    const answer = (await bridge.messages()).filter(({ kind }) => kind === "Snapshot").at(-1);
    if (answer?.missing?.length) throw new Error(`the answer lacks: ${JSON.stringify(answer.missing)}`);
    if (answer && stop > UNCOUNTED) stops.push(partsOf(measured, answer));
    if (stop === 1) await panel.tab(tab);
    await workbench.focusEditor();
    await workbench.resume();
  }
  return stops;
}

function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const at = share * (sorted.length - 1);
  const [low, high] = [sorted[Math.floor(at)] ?? NaN, sorted[Math.ceil(at)] ?? NaN];
  return low + (high - low) * (at % 1);
}

function print({ nodes, wantedMs, tab }: Case, stops: readonly Parts[]): Figure {
  const all = (part: string): readonly number[] => stops.map((stop) => stop[part] ?? NaN);
  const shown = `${nodes.toLocaleString("en")} nodes`;
  const figure = figureOf("stop to painted panel", `${shown}, ${tab}`, all("total"), { unit: "ms", wanted: wantedMs });
  console.log(`\n1,000 parameters, ${shown}, ${tab} shown: ${figure.value.toFixed(0)} ms of at most ${wantedMs} ms${isReached(figure) === false ? "  OVER" : ""}`);
  for (const part of Object.keys(stops[0] ?? {})) {
    console.log(`  ${part.padEnd(16)} ${quantile(all(part), 0.5).toFixed(1).padStart(9)}   p95 ${quantile(all(part), 0.95).toFixed(1).padStart(9)}`);
  }
  return figure;
}

const { values: options } = parseArgs({ options: { json: { type: "string" } } });
const figures: Figure[] = [];
const programs = path.join(places.runs, "bench-programs");
cpSync(path.join(import.meta.dirname, "panel_program.py"), path.join(programs, "panel_program.py"));
const server = await startServer();
const browser = await launchBrowser();
try {
  for (const each of CASES) {
    const launch = { program: "panel_program.py", args: [String(each.nodes)] };
    const workbench = await Workbench.open(browser, server.url, { name: "bench", launch, programs });
    try {
      figures.push(print(each, await measure(workbench, each)));
    } finally {
      await workbench.bridge.command("workbench.action.debug.stop").catch(() => undefined);
      await workbench.close();
    }
  }
} finally {
  await browser.close();
  await end(server.process);
}
writeFigures(options.json, figures);
