/** The panel in a real JupyterLab, on the version of ipykernel that GRADWATCH_E2E_KERNEL names. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import path from "node:path";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { pathToFileURL } from "node:url";
import type { Browser, Page } from "playwright-core";
import { launchBrowser } from "../e2e/browser.ts";
import { end, eventually } from "../e2e/processes.ts";
import { labPython, screenshots, shutDownKernels, startLab, type Lab } from "./lab.ts";
import { SETUP, ended, isBusy, openInNotebook7, openNotebook, runAll, save, savedOutputs, writeNotebook } from "./notebook.ts";
import { Panel } from "./panel.ts";

const WIDGET = "application/vnd.jupyter.widget-view+json";
const SVG = "image/svg+xml";
const PICTURE = 'img[src*="gradwatch-picture"], svg.gradwatch-picture';
const kernel = process.env["GRADWATCH_E2E_KERNEL"] ?? "newest";

let lab: Lab;
let browser: Browser;
let page: Page;
let errors: string[];

before(async () => {
  lab = await startLab(kernel, "light");
  browser = await launchBrowser();
  mkdirSync(screenshots, { recursive: true });
});

after(async () => {
  await browser?.close();
  if (lab !== undefined) await end(lab.process);
});

beforeEach(async () => {
  page = await browser.newPage({ viewport: { width: 1280, height: 1000 } });
  errors = [];
  // The panel's module is loaded from a blob; errors of the notebook's own are none of ours.
  page.on("pageerror", (error) => (error.stack ?? "").includes("blob:") && errors.push(error.stack ?? ""));
});

afterEach(async () => {
  await page.close();
  await shutDownKernels(lab);
  assert.deepEqual(errors, [], "the panel threw nothing");
});

/** Kept where it was looked at. */
async function shoot(name: string): Promise<void> {
  await page.screenshot({ path: path.join(screenshots, `${kernel}-${name}.png`) });
}

test("while a cell trains, its panel grows, and its playhead, views and keys work", async () => {
  const file = writeNotebook(lab, "live.ipynb", kernel, [SETUP, "%%gradwatch\ntrain(500, 0.05)"]);
  await openNotebook(page, lab, "live.ipynb");
  await runAll(page);
  const panel = await Panel.in(page);
  const first = await panel.lastStep();
  await eventually("more steps", async () => ((await panel.lastStep()) > first + 5 ? true : undefined));
  await panel.drag(0.3);
  const dragged = await panel.step();
  assert.ok(dragged < (await panel.lastStep()) / 2, "the playhead is where it was dragged");
  await panel.page.locator('[role="slider"]').first().press("ArrowLeft");
  await eventually("the step before", async () => ((await panel.step()) === dragged - 1 ? true : undefined));
  for (const [key, view] of [["2", "Graph"], ["3", "Held"], ["1", "Gradients"]] as const) {
    await page.keyboard.press(key);
    await eventually(view, async () => ((await panel.tab()).startsWith(view) ? true : undefined));
  }
  const before = await panel.lastStep();
  await eventually("steps go on", async () => ((await panel.lastStep()) > before ? true : undefined));
  assert.equal(await panel.step(), dragged - 1, "what grows does not move the playhead");
  assert.ok(await isBusy(page, 1), "all of this was while the cell ran");
  assert.equal(await page.locator(".jp-Cell").count(), 2);
  await shoot("live");
  await ended(page, 1);
  await eventually("the last step", async () => ((await panel.lastStep()) === 499 ? true : undefined));
  await eventually("the picture", async () => ((await page.locator(PICTURE).count()) === 1 ? true : undefined));
  assert.equal(await page.locator(PICTURE).isVisible(), false, "the picture gives way to the panel");
  await save(page);
  const outputs = savedOutputs(file, 1);
  assert.equal(outputs.length, 2);
  assert.ok(WIDGET in (outputs[0]?.data ?? {}));
  assert.ok(SVG in (outputs[1]?.data ?? {}));
});

test("the panel of a recording grows while later cells run, and its picture is drawn when it ends", async () => {
  const cells = [SETUP, "%gradwatch watch model -o long.gradwatch\n%gradwatch panel", "train(60, 0.05)", "%gradwatch stop"];
  const file = writeNotebook(lab, "long.ipynb", kernel, cells);
  await openNotebook(page, lab, "long.ipynb");
  await runAll(page);
  const panel = await Panel.in(page);
  assert.ok(await isBusy(page, 2), "it had steps before the training ended");
  await ended(page, 3);
  await eventually("the last step", async () => ((await panel.lastStep()) === 59 ? true : undefined));
  await save(page);
  const said = savedOutputs(file, 1).map(({ data }) => String(data?.["text/plain"] ?? ""));
  assert.match(said.at(-1) ?? "", /60 steps · loss /);
});

test("a notebook that was saved and opened without its kernel shows the picture", async () => {
  writeNotebook(lab, "again.ipynb", kernel, [SETUP, "%%gradwatch\ntrain(5)"]);
  await openNotebook(page, lab, "again.ipynb");
  await runAll(page);
  await Panel.in(page);
  await ended(page, 1);
  await eventually("the picture", async () => ((await page.locator(PICTURE).count()) === 1 ? true : undefined));
  await save(page);
  await shutDownKernels(lab);
  await openNotebook(page, lab, "again.ipynb");
  await page.locator(PICTURE).waitFor({ state: "visible" });
  assert.equal(await page.locator(".gradwatch-live").count(), 0);
  await shoot("reopened");
});

test("an exported notebook shows the picture with no network", async () => {
  const file = path.join(lab.folder, "again.ipynb");
  execFileSync(labPython, ["-m", "nbconvert", "--to", "html", file], { stdio: "pipe" });
  await page.route("**/*", (route) => (route.request().url().startsWith("file:") ? route.continue() : route.abort()));
  await page.goto(pathToFileURL(file.replace(/ipynb$/, "html")).href, { waitUntil: "domcontentloaded" });
  const image = page.locator('img[src^="data:image/svg+xml"], svg.gradwatch-picture').last();
  await image.waitFor({ state: "visible" });
  const { width, height } = (await image.boundingBox()) ?? { width: 0, height: 0 };
  assert.ok(width > 300 && height > 150, `the picture has a size: ${width} x ${height}`);
  await image.scrollIntoViewIfNeeded();
  await shoot("exported");
});

/** Of such a session only the end and the first bytes are sent unasked. */
const LITTLE = "import gradwatch.notebook.feed as feed\nfeed.MOST_PUSHED, feed.TAIL = 4096, 512";

test("what was not sent is asked for, and a busy kernel that cannot answer is said to be busy", async () => {
  const record = "%gradwatch watch model -o asked.gradwatch\ntrain(40)\n%gradwatch stop";
  writeNotebook(lab, "asked.ipynb", kernel, [SETUP, `${record}\n${LITTLE}`, "%gradwatch open asked.gradwatch\ntime.sleep(8)"]);
  await openNotebook(page, lab, "asked.ipynb");
  await runAll(page);
  await page.locator(".gradwatch-widget").waitFor();
  if (kernel.startsWith("6.")) {
    const line = page.locator(".gradwatch-line");
    await line.waitFor({ state: "visible" });
    assert.match((await line.textContent()) ?? "", /^Waiting for the kernel/);
  } else {
    await Panel.in(page);
    assert.ok(await isBusy(page, 2), "a subshell of the kernel answered while the cell ran");
  }
  const panel = await Panel.in(page);
  assert.equal(await panel.lastStep(), 39);
  await ended(page, 2);
  await eventually("no waiting", async () => ((await page.locator(".gradwatch-line").isHidden()) ? true : undefined));
});

test("two sessions are opened to be compared, in Notebook 7", async () => {
  const record = (name: string, steps: number): string => `%gradwatch watch model -o ${name}.gradwatch --force\ntrain(${steps})\n%gradwatch stop`;
  writeNotebook(lab, "two.ipynb", kernel, [SETUP, `${record("a", 4)}\n${record("b", 6)}`, "%gradwatch open a.gradwatch b.gradwatch"]);
  await openInNotebook7(page, lab, "two.ipynb");
  await runAll(page);
  const panel = await Panel.in(page);
  assert.equal(await panel.lastStep(), 3);
  await shoot("notebook7");
});
