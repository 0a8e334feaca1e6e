/** Builds the page that `gradwatch export --to html` writes, into the library. Run by build.mjs, and alone by `make page`. */

import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { bundlePage, carried, notices, sized } from "./bundle.mjs";

/** One script and one sheet. Both stand within a page: neither may hold what ends its element. */
export async function buildPage({ dev }) {
  const files = await bundlePage({ dev, entryPoints: { page: "webview/page_export.tsx" }, outdir: carried });
  for (const [name, end] of [["page.js", "</script"], ["page.css", "</style"]]) {
    const text = readFileSync(path.join(carried, name), "utf8");
    if (text.toLowerCase().includes(end) || text.includes("<!--")) throw new Error(`${name} holds ${end} or a comment's start: it cannot stand in a page.`);
  }
  writeFileSync(path.join(carried, "PAGE_THIRD_PARTY.txt"), notices("The exported page", files));
  return sized(carried, "page.js");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(await buildPage({ dev: process.argv.includes("--dev") }));
