/** Builds the notebook's widget, into the library. Run by build.mjs, and alone by `make widget`. */

import { existsSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { bundlePage, carried, notices, sized } from "./bundle.mjs";

/** A module for anywidget, and its sheet beside it. */
export async function buildNotebook({ dev }) {
  const files = await bundlePage({ dev, entryPoints: { widget: "webview/notebook/main.ts" }, outdir: carried, format: "esm" });
  if (!existsSync(path.join(carried, "widget.css"))) throw new Error("The notebook's widget has no sheet: webview/notebook/main.ts imports none.");
  writeFileSync(path.join(carried, "THIRD_PARTY.txt"), notices("The notebook's page", files));
  return sized(carried, "widget.js");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(await buildNotebook({ dev: process.argv.includes("--dev") }));
