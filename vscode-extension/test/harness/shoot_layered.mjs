/**
 * One picture of the layered graph:
 * node test/harness/shoot_layered.mjs --snapshot F.json | --session F.gradwatch --step N | --scene transformer|nan|shares|open|wide|dense --theme dark|light|hc|hc-light
 *   --width 640 --height 700 --recorded 1 --click SELECTOR ... --dbl SELECTOR ... --key KEY ... --wheel DY --scale 2 --out X.png
 * Steps run in the order they are given.
 */

import { build } from "esbuild";
import { readFileSync } from "node:fs";
import path from "node:path";
import { chromium } from "playwright-core";

const here = import.meta.dirname;
const THEMES = JSON.parse(readFileSync(path.join(here, "themes.json"), "utf8"));
const FONTS = `--vscode-font-family: "Segoe WPC", "Segoe UI", "Liberation Sans", sans-serif; --vscode-editor-font-family: "DejaVu Sans Mono", monospace;`;

const options = { theme: "dark", width: "640", height: "720", scale: "1", wait: "200", out: "layered.png", fonts: "13" };
const steps = [];
for (let i = 2; i < process.argv.length; i += 2) {
  const [name, value] = [process.argv[i].replace(/^--/, ""), process.argv[i + 1]];
  if (["click", "dbl", "key", "wheel", "drag"].includes(name)) steps.push([name, value]);
  else options[name] = value;
}

const { outputFiles } = await build({
  absWorkingDir: path.join(here, "..", ".."), entryPoints: { page: "test/harness/layered_page.tsx" }, outdir: "dist", bundle: true, write: false,
  platform: "browser", format: "iife", target: "es2022", jsx: "automatic", jsxImportSource: "preact", logLevel: "warning",
});
const text = (end) => outputFiles.find((file) => file.path.endsWith(end))?.text ?? "";
const { colors, scheme, kind } = THEMES[options.theme];
const ground = `--vscode-sideBar-background: ${colors["editor-background"] ?? colors["sideBar-background"]};`;
const theme = `html { color-scheme: ${scheme}; --vscode-font-size: ${options.fonts}px; ${FONTS} ${Object.entries(colors).map(([id, colour]) => `--vscode-${id}: ${colour};`).join(" ")} ${ground} }`;

const browser = await chromium.launch({ executablePath: process.env.GRADWATCH_CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
try {
  const page = await browser.newPage({ viewport: { width: Number(options.width), height: Number(options.height) }, deviceScaleFactor: Number(options.scale) });
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  await page.emulateMedia(options.forced ? { forcedColors: "active" } : {});
  await page.setContent(`<!DOCTYPE html><html lang="en"><head><style>${theme}</style><style>${text(".css")}</style></head><body class="${kind}"><div id="root"></div></body></html>`);
  await page.addScriptTag({ content: text(".js") });
  const given = { text: options.snapshot && readFileSync(options.snapshot, "utf8"), scene: options.scene, file: options.session && readFileSync(options.session, "base64"), step: Number(options.step ?? 0), recorded: Boolean(options.recorded) };
  await page.evaluate((value) => window.page.show(value), given);
  await page.waitForTimeout(150);
  for (const [name, value] of steps) {
    if (name === "click") await page.click(value, { timeout: 3000 });
    else if (name === "dbl") await page.dblclick(value, { timeout: 3000 });
    else if (name === "key") await page.keyboard.press(value);
    else if (name === "drag") {
      await page.mouse.move(300, 400);
      await page.mouse.down();
      await page.mouse.move(300, 400 + Number(value), { steps: 4 });
      await page.mouse.up();
    } else {
      await page.mouse.move(300, 400);
      await page.mouse.wheel(0, Number(value));
    }
    await page.waitForTimeout(200);
  }
  await page.waitForTimeout(Number(options.wait));
  await page.screenshot({ path: options.out });
  const counts = await page.evaluate(() => ({ elements: document.querySelectorAll("*").length, items: document.querySelectorAll('[role="treeitem"]').length }));
  const replay = options.replay ? await page.evaluate((count) => window.page.replay(count), Number(options.replay)) : undefined;
  console.log(JSON.stringify({ out: options.out, ...counts, replay, errors }));
  process.exitCode = errors.length > 0 ? 1 : 0;
} finally {
  await browser.close();
}
