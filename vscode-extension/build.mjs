/**
 * Builds dist/: the extension host, the panel, the session editor, and the copy of gradwatch that ships inside the
 * extension; and the notebook's widget into the library.
 * `--dev` keeps names and writes source maps.
 */

import { build } from "esbuild";
import { cpSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { buildNotebook } from "./build_notebook.mjs";

const here = import.meta.dirname;
const dist = path.join(here, "dist");
const library = path.join(here, "..", "kernel_ext", "gradwatch");
const dev = process.argv.includes("--dev");

/** The library and the extension are one release. */
function checkVersions() {
  const { version } = JSON.parse(readFileSync(path.join(here, "package.json"), "utf8"));
  const [, library_version] = /__version__ = "(.+)"/.exec(readFileSync(path.join(library, "_version.py"), "utf8")) ?? [];
  if (version !== library_version) throw new Error(`package.json says ${version}, _version.py says ${library_version}: make them equal.`);
}

/** Every Python file, and the statistics kernel where it was built: on another machine blocked torch ops serve instead. */
function copyLibrary() {
  const wanted = (file) => path.basename(file) !== "__pycache__" && (!path.extname(file) || /\.py$|\.typed$|_statistics\.(so|dylib|dll)$/.test(file));
  cpSync(library, path.join(dist, "python", "gradwatch"), { recursive: true, filter: wanted });
}

/** The licences of the packages whose files went in. */
function writeNotices(files) {
  const names = new Set(files.flatMap((file) => /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(file)?.[1] ?? []));
  const licence = (name) => `${name}\n\n${readFileSync(path.join(here, "node_modules", name, "LICENSE"), "utf8")}`;
  writeFileSync(path.join(dist, "THIRD_PARTY.txt"), `This extension contains:\n\n${[...names].sort().map(licence).join("\n\n")}`);
}

const common = { bundle: true, metafile: true, minify: !dev, sourcemap: dev, legalComments: "none", logLevel: "warning", absWorkingDir: here, loader: { ".py": "text" } };

rmSync(dist, { recursive: true, force: true });
checkVersions();
const page = { ...common, outdir: "dist", platform: "browser", format: "iife", target: "es2022", jsx: "automatic", jsxImportSource: "preact" };
const built = await Promise.all([
  build({ ...common, entryPoints: ["src/extension.ts"], outfile: "dist/extension.js", platform: "node", format: "cjs", target: "node20", external: ["vscode"] }),
  build({ ...page, entryPoints: { panel: "webview/main.tsx" } }),
  build({ ...page, entryPoints: { replay: "webview/replay_main.tsx" } }),
]);
copyLibrary();
writeNotices(built.flatMap(({ metafile }) => Object.keys(metafile.inputs)));
const size = (name) => `dist/${name} (${Math.round(statSync(path.join(dist, name)).size / 1024)} KiB)`;
console.log(`${["extension.js", "panel.js", "replay.js"].map(size).join(", ")}, dist/python/gradwatch, ${await buildNotebook({ dev })}`);
