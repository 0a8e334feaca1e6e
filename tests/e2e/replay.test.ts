/** Recorded sessions in the editor of the real VS Code: opened, played, followed while they are written, replayed. */

import assert from "node:assert/strict";
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { Locator } from "playwright-core";
import { eventually } from "./processes.ts";
import { record, RunningRecording } from "./recordings.ts";
import { ReplayPage } from "./replay_page.ts";
import { scenario } from "./scenario.ts";
import type { Workbench } from "./workbench.ts";

const LAUNCH = { program: "replayed.py" };
const NAN_AT = 40;
const PART_AT = 25;

async function openSession(workbench: Workbench, file: string): Promise<ReplayPage> {
  await workbench.openFile(file);
  await workbench.bridge.command("workbench.action.closeSidebar");
  const page = new ReplayPage(workbench.page);
  await page.shows(/Replay step|Live, step/);
  return page;
}

async function pictures(workbench: Workbench, name: string): Promise<void> {
  for (const theme of ["light", "high-contrast", "dark"] as const) {
    await workbench.theme(theme);
    await workbench.screenshot(`${name}-${theme}`);
  }
}

scenario("a recorded session opens, is dragged, played and searched for marks", LAUNCH, async (workbench) => {
  await record(workbench.folder, "run.gradwatch");
  const page = await openSession(workbench, "run.gradwatch");
  const { keyboard, mouse } = workbench.page;
  assert.equal(await page.step(), NAN_AT, "a session that is over opens where its trouble begins");

  const box = await (await page.playhead()).boundingBox();
  assert.ok(box !== null);
  const y = box.y + box.height / 2;
  await mouse.move(box.x + 0.8 * box.width, y);
  await mouse.down();
  await mouse.move(box.x + 0.5 * box.width, y, { steps: 8 });
  const dragged = await page.standsAt((step) => step > 10 && step < 50);
  await mouse.up();
  await page.shows(new RegExp(`Replay step ${dragged} of 5?6?\\d`));

  await (await page.playhead()).press("Home");
  await page.standsAt(0);
  await keyboard.press("ArrowRight");
  await page.standsAt(1);
  await keyboard.press("Space");
  await page.standsAt((step) => step >= 4);
  await keyboard.press("Space");
  const paused = await page.step();
  await keyboard.press(".");
  await page.standsAt(NAN_AT);
  assert.ok(paused < NAN_AT);
  await page.shows("NaN");
  await keyboard.press("2");
  await pictures(workbench, "session-nan");
  await workbench.command("gradwatch: First Step");
  await page.standsAt(0);

  const paints = await eventually("painted steps", async () => {
    const all = (await workbench.bridge.ask("paints", {})) ?? [];
    return all.some(({ step }) => step === NAN_AT) ? all : undefined;
  });
  assert.ok(paints.every(({ ms }) => ms >= 0));
});

scenario("a session is compared with another that parts from it", LAUNCH, async (workbench) => {
  await record(workbench.folder, "run.gradwatch");
  await record(workbench.folder, "other.gradwatch", ["--part-at", String(PART_AT)]);
  const page = await openSession(workbench, "run.gradwatch");
  const frame = await page.frame();
  await frame.getByLabel("Compare with", { exact: true }).selectOption("session");
  const choices = workbench.page.locator(".quick-input-widget");
  await choices.locator(".monaco-list-row", { hasText: "other.gradwatch" }).first().click();
  await page.shows(new RegExp(`first parts at step ${PART_AT}`));
  await pictures(workbench, "session-compared");
});

scenario("a session that a second process writes is followed to its end", LAUNCH, async (workbench) => {
  const recording = new RunningRecording(workbench.folder, "live.gradwatch");
  try {
    await eventually("the session's file", () => (readFileSync(path.join(workbench.folder, "live.gradwatch")).length > 0 ? true : undefined), 60_000);
    const page = await openSession(workbench, "live.gradwatch");
    await page.shows("Follow");
    const first = await page.step();
    const later = await page.standsAt((step) => step >= first + 5);
    await workbench.screenshot("session-live-dark");
    await (await page.playhead()).press("Home");
    await page.standsAt(0);
    await eventually("new steps, while an old one is looked at", async () => {
      const last = Number(await (await page.playhead()).getAttribute("aria-valuemax"));
      return last > later ? true : undefined;
    });
    assert.equal(await page.step(), 0, "what is looked at stays");
    await recording.enough();
    const follow = (await page.frame()).getByRole("button", { name: "Follow", exact: true });
    await eventually("the end of the recording in the page", async () => ((await follow.count()) === 0 ? true : undefined));
  } finally {
    await recording.kill();
  }
});

scenario("a gradient is asked why it is as it is, and the selected interpreter answers", LAUNCH, async (workbench) => {
  await record(workbench.folder, "run.gradwatch", ["--steps", "4"]);
  const page = await openSession(workbench, "run.gradwatch");
  const frame = await page.frame();
  await frame.getByRole("treeitem", { name: /embed\.weight/ }).first().click();
  await (await page.button("Why?")).click();
  await page.shows(/its gradient is finite, norm [\d.e-]+ at step 3, reached at every one of 4 steps/);
  await workbench.screenshot("session-why-dark");
});

scenario("a source line opens the workspace's file, and once that has changed the recorded text", LAUNCH, async (workbench) => {
  await record(workbench.folder, "run.gradwatch", ["--steps", "4"]);
  const page = await openSession(workbench, "run.gradwatch");
  const source = path.join(workbench.folder, "replayed.py");
  await openLine(page);
  const here = await textShown(workbench, "file");
  assert.equal(here.file, source);
  assert.match(readFileSync(source, "utf8").split("\n")[here.line - 1] ?? "", /self|loss/);
  await workbench.screenshot("session-source-dark");
  await workbench.bridge.command("workbench.action.closeEditorsInOtherGroups");

  writeFileSync(source, `# changed\n${readFileSync(source, "utf8")}`);
  await openLine(page);
  const recorded = await textShown(workbench, "gradwatch-recorded");
  assert.equal(recorded.line, here.line);
  await workbench.page.locator(".tab", { hasText: "(recorded) replayed.py" }).waitFor();
  await workbench.screenshot("session-recorded-text-dark");
});

/** The first place in the page that leads to the program. */
async function openLine(page: ReplayPage): Promise<void> {
  const frame = await page.frame();
  await frame.getByText(/replayed\.py:\d+/).first().click();
}

async function textShown(workbench: Workbench, scheme: string): Promise<{ readonly file: string; readonly line: number }> {
  return eventually(`an editor of ${scheme}:`, async () => {
    const texts = await workbench.bridge.ask("texts", {});
    const found = texts.find((text) => text.scheme === scheme && text.line > 1);
    if (found) return found;
    throw new Error(`there are ${JSON.stringify(texts)}`);
  });
}

scenario("a file that is no session says so, and opens by itself once it is one", LAUNCH, async (workbench) => {
  const file = path.join(workbench.folder, "run.gradwatch");
  writeFileSync(file, "no session at all\n".repeat(100));
  await workbench.openFile("run.gradwatch");
  const page = new ReplayPage(workbench.page);
  await page.shows("is not a gradwatch session");
  await workbench.screenshot("session-failed-dark");
  await record(workbench.folder, "later.gradwatch", ["--steps", "4"]);
  renameSync(path.join(workbench.folder, "later.gradwatch"), file);
  await page.shows("Replay step 3 of 4");
});

/** A menu does not act on a click that comes right after the one that opened it. */
async function chooseInMenu(item: Locator): Promise<void> {
  await item.waitFor();
  await eventually("the end of the menu", async () => {
    if (!(await item.isVisible())) return true;
    await item.click({ timeout: 1000 });
    return undefined;
  });
}

scenario("a folder of rank files opens as one session, and again after a reload", LAUNCH, async (workbench) => {
  mkdirSync(path.join(workbench.folder, "ranks"));
  for (const rank of ["0", "1"]) await record(workbench.folder, `ranks/run.rank${rank}.gradwatch`, ["--steps", "12"], { RANK: rank, WORLD_SIZE: "2" });
  const { page: window } = workbench;
  const folder = window.locator(".explorer-folders-view .monaco-list-row", { hasText: "ranks" }).first();
  await folder.click({ button: "right" });
  await chooseInMenu(window.getByRole("menuitem", { name: "Open Session Folder…" }));
  const page = new ReplayPage(window);
  await page.shows("2 ranks");
  await page.standsAt(11);
  await pictures(workbench, "session-ranks");
  await workbench.bridge.command("workbench.action.keepEditor");
  // The window's own command: the browser's does not wait until the open editors are written down.
  const loaded = window.waitForEvent("load");
  void workbench.bridge.command("workbench.action.reloadWindow").catch(() => undefined);
  await loaded;
  await page.shows("2 ranks");
});

scenario("a kept step runs again under the debugger", LAUNCH, async (workbench) => {
  await record(workbench.folder, "run.gradwatch", ["--steps", "21"]);
  await workbench.toggleBreakpoint("replayed.py", "loss");
  const page = await openSession(workbench, "run.gradwatch");
  await page.standsAt(20);
  await (await page.button("Replay step under debugger")).click();
  await workbench.page.locator(".quick-input-widget input").waitFor();
  await workbench.page.keyboard.type("replayed:build");
  await workbench.page.keyboard.press("Enter");
  await workbench.stopped(90_000);
  await workbench.cursorAt("replayed.py", workbench.line("replayed.py", "loss"));
  await workbench.screenshot("session-replayed-step-dark");
});

scenario("a replayed step stops where the panel's conditions say", { program: "scopes.py" }, async (workbench) => {
  const { bridge, page: window } = workbench;
  await record(workbench.folder, "run.gradwatch", ["--steps", String(NAN_AT + 1)]);
  await workbench.stopAt("scopes.py", "in log");
  await workbench.command("gradwatch: Break at First Non-Finite Gradient");
  const page = await openSession(workbench, "run.gradwatch");
  await page.standsAt(NAN_AT);
  await (await page.button("Replay step under debugger")).click();
  await window.locator(".quick-input-widget input").waitFor();
  await window.keyboard.type("replayed:build");
  await window.keyboard.press("Enter");
  await workbench.stoppedSomewhere(90_000);
  // The program that was stopped first keeps the focus until it ends.
  await bridge.command("workbench.action.debug.continue");
  await eventually("the stop inside backward", async () => ((await bridge.evaluate<string>("node.name()")) === "SqrtBackward0" ? true : undefined));
  assert.match(await bridge.evaluate<string>("reason"), /NaN|Inf/);
  await workbench.screenshot("session-replayed-condition-dark");
});
