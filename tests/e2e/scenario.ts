/** One test: a window of its own, and when it fails the picture, the panel's text and the debug adapter's messages. */

import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import type { Browser } from "playwright-core";
import { launchBrowser } from "./browser.ts";
import * as places from "./places.ts";
import { ReplayPage } from "./replay_page.ts";
import { Workbench } from "./workbench.ts";
import type { Launch } from "./workbench.ts";

const LIMIT_MS = 150_000;

let browser: Browser | null = null;
before(async () => {
  browser = await launchBrowser();
});
after(() => browser?.close());

export function scenario(name: string, launch: Launch, run: (workbench: Workbench) => Promise<void>): void {
  test(name, { timeout: LIMIT_MS }, async () => {
    const url = process.env["GRADWATCH_E2E_URL"];
    if (url === undefined || browser === null) throw new Error("Start the tests with run.ts: it starts the workbench's server.");
    mkdirSync(places.screenshots, { recursive: true });
    const workbench = await Workbench.open(browser, url, { name: folderOf(name), launch, programs: places.programs });
    const complaints: string[] = [];
    workbench.page.on("console", (message) => complaints.push(`${message.type()}: ${message.text()}`));
    try {
      await run(workbench);
    } catch (error) {
      await keepEvidence(workbench, complaints);
      throw error;
    } finally {
      await workbench.bridge.command("workbench.action.debug.stop").catch(() => undefined);
      await workbench.close();
    }
  });
}

function folderOf(name: string): string {
  return name.replaceAll(/\W+/g, "-").slice(0, 40);
}

async function keepEvidence(workbench: Workbench, complaints: readonly string[]): Promise<void> {
  const folder = path.dirname(workbench.folder);
  if (!existsSync(folder)) return;
  await workbench.page.screenshot({ path: path.join(folder, "failed.png") }).catch(() => undefined);
  const messages = await workbench.bridge.messages().catch(() => []);
  writeFileSync(path.join(folder, "messages.jsonl"), messages.map((message) => JSON.stringify(message)).join("\n"));
  writeFileSync(path.join(folder, "console.log"), complaints.join("\n"));
  const pages = [workbench.panel.text(), new ReplayPage(workbench.page).text()].map((page) => page.catch((error: unknown) => String(error)));
  writeFileSync(path.join(folder, "pages.txt"), (await Promise.all(pages)).join("\n\n"));
  console.error(`What was seen is kept in ${path.relative(places.root, folder)}`);
}
