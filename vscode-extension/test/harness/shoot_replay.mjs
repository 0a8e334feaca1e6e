/**
 * One picture of the replay page over real session files:
 * node test/harness/shoot_replay.mjs --file RUN.gradwatch[,RANK1.gradwatch] --theme dark|light|hc|hc-light --width 1680 --height 1050
 *   --step 812 --stop 3 --select NAME_OR_ROW --compare OTHER.gradwatch --click SELECTOR --key KEY --scale 2 --wait MS --out X.png
 * `--click`, `--key` and `--type` run in the order they are given, after the step is shown.
 */

import { build } from "esbuild";
import { createReadStream, readFileSync, statSync } from "node:fs";
import { createServer } from "node:http";
import path from "node:path";
import { chromium } from "playwright-core";

const here = import.meta.dirname;
const THEMES = JSON.parse(readFileSync(path.join(here, "themes.json"), "utf8"));
const POLICY = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; font-src 'self'; img-src 'self' data:; worker-src blob:; connect-src 'self' data:";
const options = { theme: "dark", width: "1680", height: "1050", scale: "1", wait: "300", out: "replay.png" };
const steps = [];
for (let i = 2; i < process.argv.length; i += 2) {
  const [name, value] = [process.argv[i].replace(/^--/, ""), process.argv[i + 1]];
  if (["click", "key", "type"].includes(name)) steps.push([name, value]);
  else options[name] = value;
}
if (!options.file) throw new Error("Say which session to show: --file RUN.gradwatch");

const split = (list) => (list ? list.split(",") : []);
const served = new Map([...split(options.file), ...split(options.compare)].map((file) => [path.basename(file), file]));

const { outputFiles } = await build({
  absWorkingDir: path.join(here, "..", ".."), entryPoints: { replay: "test/harness/replay_page.ts" }, outdir: "dist", bundle: true, write: false,
  platform: "browser", format: "iife", target: "es2022", jsx: "automatic", jsxImportSource: "preact", logLevel: "warning",
});
const text = (end) => outputFiles.find((file) => file.path.endsWith(end))?.text ?? "";
const { colors, scheme, kind } = THEMES[options.theme];
const fonts = `--vscode-font-size: 13px; --vscode-font-family: "Segoe WPC", "Segoe UI", "Liberation Sans", sans-serif; --vscode-editor-font-family: "DejaVu Sans Mono", monospace;`;
const theme = `html { color-scheme: ${scheme}; ${fonts} ${Object.entries(colors).map(([id, colour]) => `--vscode-${id}: ${colour};`).join(" ")} }\n`;
const html = `<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="${POLICY}">
<link rel="stylesheet" href="/theme.css"><link rel="stylesheet" href="/replay.css"><title>gradwatch</title></head>
<body class="${kind}"><div id="root"></div><script src="/replay.js"></script></body></html>`;
const pages = { "/": ["text/html", html], "/theme.css": ["text/css", theme], "/replay.css": ["text/css", text(".css")], "/replay.js": ["text/javascript", text(".js")] };

const server = createServer((request, response) => {
  const { pathname } = new URL(request.url, "http://127.0.0.1");
  const file = served.get(decodeURIComponent(pathname.replace("/file/", "")));
  if (pathname.startsWith("/file/") && file) {
    response.setHeader("content-length", statSync(file).size);
    return createReadStream(file).pipe(response);
  }
  const [type, body] = pages[pathname] ?? ["text/plain", ""];
  response.setHeader("content-type", `${type}; charset=utf-8`);
  response.end(body);
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const browser = await chromium.launch({ executablePath: process.env.GRADWATCH_CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
try {
  const page = await browser.newPage({ viewport: { width: Number(options.width), height: Number(options.height) }, deviceScaleFactor: Number(options.scale) });
  if (options.media) await page.emulateMedia(JSON.parse(options.media));
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.stack ?? String(error)));
  page.on("console", (message) => message.type() === "error" && !message.text().includes("favicon") && errors.push(message.text()));
  const query = new URLSearchParams({ files: split(options.file).map((file) => path.basename(file)).join(","), compare: split(options.compare).map((file) => path.basename(file)).join(","), ...(options.name ? { name: options.name } : {}) });
  await page.goto(`http://127.0.0.1:${server.address().port}/?${query}`);
  await page.waitForSelector(options.ready ?? ".rp-view, .es[role]", { timeout: 15000 });
  if (options.step) await page.evaluate((step) => window.replayHost.go({ kind: "step", rank: 0, step }), Number(options.step));
  if (options.stop) await page.evaluate((stop) => window.replayHost.go({ kind: "stop", rank: 0, stop }), Number(options.stop));
  await page.waitForTimeout(Number(options.wait));
  if (options.compare) {
    await page.selectOption(".rp-compare select", "session");
    await page.waitForTimeout(800);
    if (!options.sheet) await page.keyboard.press("Escape");
  }
  if (options.select) await page.click(`.vrow:has-text("${options.select}")`, { timeout: 3000 });
  for (const [name, value] of steps) {
    if (name === "click") await page.click(value, { timeout: 3000 }).catch((error) => errors.push(error.message));
    else if (name === "key") await page.keyboard.press(value);
    else await page.keyboard.type(value);
    await page.waitForTimeout(150);
  }
  await page.waitForTimeout(Number(options.wait));
  await page.screenshot({ path: options.out });
  const [nodes, wide] = await page.evaluate(() => [document.querySelectorAll("*").length, document.documentElement.scrollWidth > window.innerWidth]);
  console.log(JSON.stringify({ out: options.out, nodes, wide, errors }));
  process.exitCode = errors.length > 0 ? 1 : 0;
} finally {
  await browser.close();
  server.close();
}
