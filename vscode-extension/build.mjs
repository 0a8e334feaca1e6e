/**
 * Builds dist/: the extension host, the panel, and the copy of gradwatch that ships inside the extension.
 * `--dev` keeps names and writes source maps.
 */

import { build } from "esbuild";
import { cpSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";

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

function writeNotices() {
  const licence = (name) => `${name}\n\n${readFileSync(path.join(here, "node_modules", name, "LICENSE"), "utf8")}`;
  writeFileSync(path.join(dist, "THIRD_PARTY.txt"), `This extension contains:\n\n${["preact"].map(licence).join("\n\n")}`);
}

const common = { bundle: true, minify: !dev, sourcemap: dev, legalComments: "none", logLevel: "warning", absWorkingDir: here, loader: { ".py": "text" } };

rmSync(dist, { recursive: true, force: true });
checkVersions();
const [, panel] = await Promise.all([
  build({ ...common, entryPoints: ["src/extension.ts"], outfile: "dist/extension.js", platform: "node", format: "cjs", target: "node20", external: ["vscode"] }),
  build({ ...common, entryPoints: { panel: "webview/main.tsx" }, outdir: "dist", platform: "browser", format: "iife", target: "es2022", jsx: "automatic", jsxImportSource: "preact", metafile: true }),
]);
if (!existsSync(path.join(dist, "panel.css"))) writeFileSync(path.join(dist, "panel.css"), "");
copyLibrary();
writeNotices();
const bytes = Object.entries(panel.metafile.outputs).filter(([name]) => name.endsWith("panel.js")).map(([, output]) => output.bytes)[0];
console.log(`dist/extension.js, dist/panel.js (${Math.round(bytes / 1024)} KiB), dist/python/gradwatch`);
