/** Where things are: the checkout, what was built and installed for the tests, and what they leave behind. */

import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";

export const root = path.resolve(import.meta.dirname, "..", "..");
export const extension = path.join(root, "vscode-extension");
export const programs = path.join(import.meta.dirname, "workspace");
export const screenshots = path.join(root, "build", "screenshots");
/** One folder a scenario: its copy of the programs, and logs when it failed. */
export const runs = path.join(root, "build", "e2e");
export const node = path.join(root, "build", "workbench", "node", "node_modules", ".bin");
export const codeServer = path.join(root, "build", "workbench", "code_server", "node_modules", ".bin", "code-server");
export const python = process.env["GRADWATCH_E2E_PYTHON"] ?? path.join(root, ".venv", "bin", "python");

export function chromium(): string {
  const names = [process.env["CHROMIUM"] ?? "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
  const folders = (process.env["PATH"] ?? "").split(":");
  const found = names.flatMap((name) => (path.isAbsolute(name) ? [name] : folders.map((folder) => path.join(folder, name)))).find(existsSync);
  if (found === undefined) throw new Error(`No Chromium on PATH (${names.join(", ")}). Install one, or name it in CHROMIUM.`);
  return found;
}

/** Where that Python's packages are. */
export function sitePackages(): string {
  return execFileSync(python, ["-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], { encoding: "utf8" }).trim();
}
