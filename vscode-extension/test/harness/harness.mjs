/** The panel alone in a browser: its bundle, a fake host, the variables of a theme, the content policy of the webview. */

import { build } from "esbuild";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import path from "node:path";
import { chromium } from "playwright-core";
import { STATES } from "./states.mjs";

const here = import.meta.dirname;
const extension = path.join(here, "..", "..");
const THEMES = JSON.parse(readFileSync(path.join(here, "themes.json"), "utf8"));
const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data:; worker-src blob:";
const FONTS = `--vscode-font-family: "Segoe WPC", "Segoe UI", "Liberation Sans", sans-serif; --vscode-editor-font-family: "DejaVu Sans Mono", monospace;`;

async function bundle() {
  const { outputFiles } = await build({
    absWorkingDir: extension, entryPoints: { panel: "webview/main.tsx" }, outdir: "dist", bundle: true, write: false, minify: false,
    platform: "browser", format: "iife", target: "es2022", jsx: "automatic", jsxImportSource: "preact", logLevel: "warning",
  });
  const text = (end) => outputFiles.find((file) => file.path.endsWith(end))?.text ?? "";
  return { js: text(".js"), css: text(".css") };
}

function themeCss(name, fontSize) {
  const { colors, scheme } = THEMES[name];
  const variables = Object.entries(colors).map(([id, colour]) => `--vscode-${id}: ${colour};`);
  return `html { color-scheme: ${scheme}; --vscode-font-size: ${fontSize}px; ${FONTS} ${variables.join(" ")} }\n`;
}

function pageHtml(theme) {
  return `<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="${POLICY}">
<link rel="stylesheet" href="/theme.css?theme=${theme}"><link rel="stylesheet" href="/panel.css"><title>gradwatch</title></head>
<body class="${THEMES[theme].kind}"><div id="root"></div><script src="/fake_host.js"></script><script src="/panel.js"></script></body></html>`;
}

async function serve(files) {
  const fakeHost = readFileSync(path.join(here, "fake_host.js"), "utf8");
  const server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url, "http://127.0.0.1");
    const theme = searchParams.get("theme") ?? "dark";
    const [type, body] = {
      "/panel.js": ["text/javascript", files.js], "/panel.css": ["text/css", files.css], "/fake_host.js": ["text/javascript", fakeHost],
      "/theme.css": ["text/css", themeCss(theme, Number(searchParams.get("fontSize") ?? 13))], "/": ["text/html", pageHtml(theme)],
    }[pathname] ?? ["text/plain", ""];
    response.setHeader("content-type", `${type}; charset=utf-8`);
    response.end(body);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

/** Bundles once and opens any number of panels. Close it at the end. */
export async function openHarness() {
  const server = await serve(await bundle());
  const browser = await chromium.launch({ executablePath: process.env.GRADWATCH_CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
  return {
    panel: (options) => openPanel(browser, server.address().port, options),
    close: async () => {
      await browser.close();
      server.close();
    },
  };
}

/** `errors` collects what the page reports, refused styles included. */
async function openPanel(browser, port, { theme = "dark", width = 480, height = 1180, state = "ready", tab, text = "", previous, fail = "", scale = 1, media = {}, fonts }) {
  const page = await browser.newPage({ viewport: { width, height }, deviceScaleFactor: scale });
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (message) => message.type() === "error" && !message.text().includes("favicon") && errors.push(message.text()));
  await page.emulateMedia(media);
  await page.goto(`http://127.0.0.1:${port}/?theme=${theme}&fail=${fail}`);
  if (fonts) await page.evaluate((size) => document.documentElement.style.setProperty("--vscode-font-size", `${size}px`), fonts);
  await page.evaluate(() => window.harness.whenReady);
  const messages = [...STATES[state]({ text, previous }), ...(tab ? [{ type: "command", name: tab }] : [])];
  await page.evaluate((sent) => window.harness.send(sent), messages);
  return { page, errors };
}
