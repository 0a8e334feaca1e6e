/**
 * Builds the notebook's widget into the library: kernel_ext/gradwatch/static/widget.js and widget.css.
 * `--dev` keeps names. Run by build.mjs, and alone by `make widget`.
 */

import { build } from "esbuild";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const here = import.meta.dirname;
const out = path.join(here, "..", "kernel_ext", "gradwatch", "static");

/** A module for anywidget, and its sheet beside it. */
export async function buildNotebook({ dev }) {
  const { metafile } = await build({
    metafile: true,
    absWorkingDir: here,
    entryPoints: { widget: "webview/notebook/main.ts" },
    outdir: out,
    bundle: true,
    minify: !dev,
    legalComments: "none",
    logLevel: "warning",
    platform: "browser",
    format: "esm",
    target: "es2022",
    jsx: "automatic",
    jsxImportSource: "preact",
  });
  if (!existsSync(path.join(out, "widget.css"))) throw new Error("The notebook's widget has no sheet: webview/notebook/main.ts imports none.");
  writeFileSync(path.join(out, "THIRD_PARTY.txt"), notices(Object.keys(metafile.inputs)));
  return `kernel_ext/gradwatch/static/widget.js (${Math.round(statSync(path.join(out, "widget.js")).size / 1024)} KiB)`;
}

/** The licences of the packages whose files went in. */
function notices(files) {
  const names = new Set(files.flatMap((file) => /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(file)?.[1] ?? []));
  const licence = (name) => `${name}\n\n${readFileSync(path.join(here, "node_modules", name, "LICENSE"), "utf8")}`;
  return `The notebook's page contains:\n\n${[...names].sort().map(licence).join("\n\n")}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(await buildNotebook({ dev: process.argv.includes("--dev") }));
