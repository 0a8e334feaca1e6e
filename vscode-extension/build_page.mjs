/**
 * Builds the page that `gradwatch export --to html` writes into the library: kernel_ext/gradwatch/static/page.js and
 * page.css. `--dev` keeps names. Run by build.mjs, and alone by `make page`.
 */

import { build } from "esbuild";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const here = import.meta.dirname;
const out = path.join(here, "..", "kernel_ext", "gradwatch", "static");

/** One script and one sheet. Both stand within a page: neither may hold what ends its element. */
export async function buildPage({ dev }) {
  const { metafile } = await build({
    metafile: true,
    absWorkingDir: here,
    entryPoints: { page: "webview/page_export.tsx" },
    outdir: out,
    bundle: true,
    minify: !dev,
    legalComments: "none",
    logLevel: "warning",
    platform: "browser",
    format: "iife",
    target: "es2022",
    jsx: "automatic",
    jsxImportSource: "preact",
  });
  for (const [name, end] of [["page.js", "</script"], ["page.css", "</style"]]) {
    const text = readFileSync(path.join(out, name), "utf8");
    if (text.toLowerCase().includes(end) || text.includes("<!--")) throw new Error(`${name} holds ${end} or a comment's start: it cannot stand in a page.`);
  }
  writeFileSync(path.join(out, "PAGE_THIRD_PARTY.txt"), notices(Object.keys(metafile.inputs)));
  return `kernel_ext/gradwatch/static/page.js (${Math.round(statSync(path.join(out, "page.js")).size / 1024)} KiB)`;
}

/** The licences of the packages whose files went in. */
function notices(files) {
  const names = new Set(files.flatMap((file) => /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(file)?.[1] ?? []));
  const licence = (name) => `${name}\n\n${readFileSync(path.join(here, "node_modules", name, "LICENSE"), "utf8")}`;
  return `The exported page contains:\n\n${[...names].sort().map(licence).join("\n\n")}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(await buildPage({ dev: process.argv.includes("--dev") }));
