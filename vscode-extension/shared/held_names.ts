/** How modules and lines are called in the held view: as `gradwatch.session` calls them. */

import type { Module, Parameter, Site, Snapshot } from "./session";

/** Module id to name: the path alone while there is one root, "(root)" for a nameless root. */
export function moduleNames(snapshot: Snapshot): Map<number, string> {
  const modules = snapshot.modules ?? [];
  const withRoot = rootCount(modules, snapshot.parameters ?? []) > 1;
  return new Map(modules.map((module) => [module.id, composed(module, withRoot)]));
}

function rootCount(modules: readonly Module[], parameters: readonly Parameter[]): number {
  const owned = parameters.filter((parameter) => !parameter.is_leaf_tensor);
  return new Set([...modules, ...owned].map((entry) => entry.root)).size;
}

function composed({ root, path }: Module, withRoot: boolean): string {
  if (!path) return root || "(root)";
  return withRoot && root ? `${root}.${path}` : path;
}

/** "file.py:12", relative to where the program was started, or to site-packages. */
export function lineName(site: Site, directory: string): string {
  return `${shortFile(site.file, directory)}:${site.line}`;
}

/** A path relative to the program's directory, or to site-packages; else as it is. */
export function shortFile(file: string, directory: string): string {
  const base = directory.replace(/[/\\]+$/, "");
  if (directory && (file.startsWith(`${base}/`) || file.startsWith(`${base}\\`))) return file.slice(base.length + 1);
  const packages = file.lastIndexOf("site-packages/");
  return packages < 0 ? file : file.slice(packages + "site-packages/".length);
}
