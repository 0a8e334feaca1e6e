/** Paths that a session names: a stranger's text, so only what leads into the workspace is followed unasked. */

import * as path from "node:path";

/** Directories of a recorded path that are tried below a workspace folder: a run may have been recorded elsewhere. */
const LONGEST_TAIL = 8;

/** An absolute path on a disk of this machine: no network share, no device, no address. */
export function isLocalPath(file: string, style: path.PlatformPath = path): boolean {
  if (/^[\\/]{2}/.test(file) || /[\u0000-\u001f]/.test(file)) return false;
  return style === path.win32 || style.sep === "\\" ? /^[a-z]:[\\/]/i.test(file) && !file.slice(2).includes(":") : file.startsWith("/");
}

/** Whether a path, both made plain before, is that folder or below it. */
export function isInside(file: string, folder: string, style: path.PlatformPath = path): boolean {
  const between = style.relative(folder, file);
  return between === "" || (between !== ".." && !between.startsWith(`..${style.sep}`) && !style.isAbsolute(between));
}

/** The path itself where it is in the workspace, then its tails below each folder, the longest first. */
export function candidates(file: string, folders: readonly string[], style: path.PlatformPath = path): readonly string[] {
  const found = new Set<string>();
  if (isLocalPath(file, style)) {
    const plain = style.normalize(file);
    if (folders.some((folder) => isInside(plain, folder, style))) found.add(plain);
  }
  const parts = file.replace(/^[a-z]:(?=[\\/])/i, "").split(/[\\/]+/).filter((part) => part !== "");
  if (parts.length === 0 || parts.some((part) => part === "." || part === ".." || part.includes(":") || part.includes("\0"))) return [...found];
  for (let length = Math.min(LONGEST_TAIL, parts.length); length > 0; length--) {
    for (const folder of folders) found.add(style.join(folder, ...parts.slice(-length)));
  }
  return [...found];
}

/** Whether a file's text is the recorded one, whatever ends its lines. */
export function isSameText(text: string, recorded: string): boolean {
  return plainText(text) === plainText(recorded);
}

function plainText(text: string): string {
  return text.replace(/^\ufeff/, "").replaceAll(/\r\n?/g, "\n");
}
