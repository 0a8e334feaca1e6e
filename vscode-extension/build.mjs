/**
 * Builds dist/: the extension host, the panel, the session editor, and the copy of gradwatch that ships inside the
 * extension; and the library's own pages, into the library.
 * `--dev` keeps names and writes source maps.
 */

import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { buildNotebook } from "./build_notebook.mjs";
import { buildPage } from "./build_page.mjs";
import { bundle, bundlePage, here, notices, sized } from "./bundle.mjs";

const dist = path.join(here, "dist");
const library = path.join(here, "..", "kernel_ext", "gradwatch");
const dev = process.argv.includes("--dev");

/** The library and the extension are one release. */
function checkVersions() {
  const { version } = JSON.parse(readFileSync(path.join(here, "package.json"), "utf8"));
  const [, library_version] = /__version__ = "(.+)"/.exec(readFileSync(path.join(library, "_version.py"), "utf8")) ?? [];
  if (version !== library_version) throw new Error(`package.json says ${version}, _version.py says ${library_version}: make them equal.`);
}

/** Every Python file, and the statistics kernel where it was built: elsewhere blocked torch ops serve instead. */
function copyLibrary() {
  const wanted = (file) => path.basename(file) !== "__pycache__" && (!path.extname(file) || /\.py$|\.typed$|_statistics\.(so|dylib|dll)$/.test(file));
  cpSync(library, path.join(dist, "python", "gradwatch"), { recursive: true, filter: wanted });
}

rmSync(dist, { recursive: true, force: true });
checkVersions();
const common = { dev, sourcemap: dev, outdir: "dist" };
const host = { entryPoints: ["src/extension.ts"], platform: "node", format: "cjs", target: "node20", external: ["vscode"], loader: { ".py": "text" } };
const files = await Promise.all([
  bundle({ ...common, ...host }),
  bundlePage({ ...common, entryPoints: { panel: "webview/main.tsx" } }),
  bundlePage({ ...common, entryPoints: { replay: "webview/replay_main.tsx" } }),
]);
const pages = [await buildNotebook({ dev }), await buildPage({ dev })];
copyLibrary();
writeFileSync(path.join(dist, "THIRD_PARTY.txt"), notices("This extension", files.flat()));
console.log([...["extension.js", "panel.js", "replay.js"].map((name) => sized(dist, name)), ...pages].join(", "));
