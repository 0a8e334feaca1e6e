/** What every bundle has in common: how esbuild is asked, and the licences of what went in. */

import { build } from "esbuild";
import { readFileSync, statSync } from "node:fs";
import path from "node:path";

export const here = import.meta.dirname;
/** Pages that the library carries; a wheel needs them, and git does not know them. */
export const carried = path.join(here, "..", "kernel_ext", "gradwatch", "static");

/** Bundles with what `options` says; `dev` keeps names. Resolves to the names of the files that went in. */
export async function bundle({ dev, ...options }) {
  const { metafile } = await build({ bundle: true, metafile: true, minify: !dev, legalComments: "none", logLevel: "warning", absWorkingDir: here, ...options });
  return Object.keys(metafile.inputs);
}

/** Bundles a page's script and its sheet, in the format "iife" or "esm". */
export function bundlePage(options) {
  return bundle({ platform: "browser", format: "iife", target: "es2022", jsx: "automatic", jsxImportSource: "preact", ...options });
}

/** The licences of the packages among `files`. */
export function notices(what, files) {
  const names = new Set(files.flatMap((file) => /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(file)?.[1] ?? []));
  const licence = (name) => `${name}\n\n${readFileSync(path.join(here, "node_modules", name, "LICENSE"), "utf8")}`;
  return `${what} contains:\n\n${[...names].sort().map(licence).join("\n\n")}`;
}

/** A file and its size, to print. */
export function sized(folder, name) {
  return `${path.relative(path.join(here, ".."), path.join(folder, name))} (${Math.round(statSync(path.join(folder, name)).size / 1024)} KiB)`;
}
