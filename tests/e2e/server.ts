/** VS Code's workbench as a server on loopback, with its own folders, the packed extension and the test-only one. */

import { execFile } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import * as places from "./places.ts";
import { end, eventually, freePort, start } from "./processes.ts";

const run = promisify(execFile);
const home = path.join(places.runs, "server");

const SETTINGS = {
  "chat.disableAIFeatures": true,
  "debug.internalConsoleOptions": "neverOpen",
  "debug.openDebug": "neverOpen",
  "debug.showInStatusBar": "never",
  "debug.toolBarLocation": "docked",
  "editor.fontFamily": "DejaVu Sans Mono",
  "editor.minimap.enabled": false,
  "extensions.autoCheckUpdates": false,
  "extensions.autoUpdate": false,
  "git.openRepositoryInParentFolders": "never",
  "python.defaultInterpreterPath": places.python,
  "security.workspace.trust.enabled": false,
  "telemetry.telemetryLevel": "off",
  "workbench.colorTheme": "Default Dark Modern",
  "workbench.secondarySideBar.defaultVisibility": "hidden",
  "workbench.startupEditor": "none",
};

export interface Server {
  readonly url: string;
  readonly process: ChildProcess;
}

export async function startServer(): Promise<Server> {
  rmSync(home, { recursive: true, force: true });
  const settings = path.join(home, "user", "User", "settings.json");
  mkdirSync(path.dirname(settings), { recursive: true });
  writeFileSync(settings, JSON.stringify(SETTINGS, null, 2));
  await Promise.all([newestVsix(), packShim()]).then(install);
  const port = await freePort();
  const flags = ["--disable-telemetry", "--disable-update-check", "--disable-workspace-trust", "--disable-getting-started-override"];
  const given = [...folders(), "--auth", "none", "--bind-addr", `127.0.0.1:${port}`, ...flags, "--ignore-last-opened"];
  const child = start(places.codeServer, given, path.join(home, "server.log"), environment());
  const url = `http://127.0.0.1:${port}`;
  const isUp = async (): Promise<true | undefined> => ((await fetch(`${url}/healthz`)).ok ? true : undefined);
  await eventually("the workbench's server", isUp).catch(async (error: unknown) => {
    await end(child);
    throw error;
  });
  return { url, process: child };
}

function folders(): string[] {
  return ["--user-data-dir", path.join(home, "user"), "--extensions-dir", path.join(home, "extensions")];
}

/** Nothing is looked for outside: no gallery, no configuration of the user. */
function environment(): NodeJS.ProcessEnv {
  return {
    ...process.env,
    PATH: `${places.node}:${process.env["PATH"]}`,
    EXTENSIONS_GALLERY: JSON.stringify({ serviceUrl: "http://127.0.0.1:9/none", itemUrl: "", resourceUrlTemplate: "" }),
    XDG_CONFIG_HOME: path.join(home, "config"),
    XDG_DATA_HOME: path.join(home, "data"),
    GRADWATCH_E2E_PYTHON: places.python,
  };
}

/** As a user does: by `--install-extension`. */
async function install(packages: readonly string[]): Promise<void> {
  const wanted = packages.flatMap((file) => ["--install-extension", file]);
  await run(places.codeServer, [...folders(), ...wanted, "--force"], { env: environment() });
}

/** What is tested: the newest that was built, or the one that GRADWATCH_E2E_VSIX names. */
function newestVsix(): string {
  const named = process.env["GRADWATCH_E2E_VSIX"];
  if (named !== undefined) return path.resolve(named);
  const dist = path.join(places.root, "dist");
  const files = readdirSync(dist).filter((name) => name.endsWith(".vsix"));
  const [newest] = files.map((name) => path.join(dist, name)).sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs);
  if (newest === undefined) throw new Error(`There is no .vsix in ${dist}: make vsix builds it.`);
  return newest;
}

async function packShim(): Promise<string> {
  const out = path.join(home, "debugpy-shim.vsix");
  const vsce = path.join(places.extension, "node_modules", ".bin", "vsce");
  const given = ["package", "--no-dependencies", "--allow-missing-repository", "--skip-license", "--out", out];
  await run(vsce, given, { cwd: path.join(import.meta.dirname, "debugpy_shim"), env: environment() });
  return out;
}
