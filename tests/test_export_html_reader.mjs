/**
 * Opens an exported page in Chromium from file://, with no network, and tells as JSON what stands there before and
 * after the playhead is moved: `node test_export_html_reader.mjs chromium page.html [picture.png] [dark|light]`.
 */

import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

const require = createRequire(path.join(import.meta.dirname, "..", "vscode-extension", "package.json"));
const { chromium } = require("playwright-core");
const [executablePath, page_file, picture, colorScheme = "light"] = process.argv.slice(2);

const browser = await chromium.launch({ executablePath, headless: true, args: ["--no-sandbox", "--disable-gpu"] });
try {
  const context = await browser.newContext({ offline: true, colorScheme, viewport: { width: 1400, height: 860 } });
  const page = await context.newPage();
  const told = { requests: [], errors: [], before: null, after: null, tabs: [] };
  page.on("request", (request) => { if (!/^(file|data|blob):/.test(request.url())) told.requests.push(request.url()); });
  page.on("pageerror", (error) => told.errors.push(String(error)));
  page.on("console", (message) => { if (message.type() === "error") told.errors.push(message.text()); });
  page.on("dialog", (dialog) => { told.errors.push(`a dialog: ${dialog.message()}`); void dialog.dismiss(); });
  await page.goto(pathToFileURL(path.resolve(page_file)).href);
  const slider = page.getByRole("slider").first();
  await slider.waitFor({ timeout: 90_000 });
  await page.getByRole("treeitem").first().waitFor({ timeout: 90_000 });
  told.before = await slider.getAttribute("aria-valuetext");
  await slider.focus();
  await page.keyboard.press("Home");
  await page.waitForFunction((was) => document.querySelector('[role="slider"]')?.getAttribute("aria-valuetext") !== was, told.before, { timeout: 15_000 }).catch(() => {});
  told.after = await slider.getAttribute("aria-valuetext");
  await page.waitForTimeout(300);
  told.title = await page.title();
  told.text = await page.evaluate(() => document.body.innerText);
  told.rows = await page.getByRole("treeitem").count();
  told.paths = await page.locator("svg path, svg rect, svg circle").count();
  told.background = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  if (picture) await page.screenshot({ path: picture });
  console.log(JSON.stringify(told));
} finally {
  await browser.close();
}
