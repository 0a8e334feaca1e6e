/** JupyterLab as a server on loopback, with folders of its own. */

import { cpSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import type { ChildProcess } from "node:child_process";
import path from "node:path";
import * as places from "../e2e/places.ts";
import { end, eventually, freePort, start } from "../e2e/processes.ts";

const installed = path.join(places.root, "build", "notebook", "lab");
export const screenshots = path.join(places.screenshots, "notebook");

/** Nothing is asked of a network, and nothing pops up. */
const QUIET = {
  // Cells out of sight stay in the page.
  "@jupyterlab/notebook-extension:tracker": { windowingMode: "none" },
  "@jupyterlab/apputils-extension:notification": { fetchNews: "false", checkForUpdates: false, doNotDisturbMode: true },
};

export interface Lab {
  readonly url: string;
  /** Where notebooks are. */
  readonly folder: string;
  readonly process: ChildProcess;
}

export async function startLab(name: string, theme: "light" | "dark"): Promise<Lab> {
  const home = path.join(places.root, "build", "notebook", "runs", name);
  rmSync(home, { recursive: true, force: true });
  const folder = path.join(home, "notebooks");
  mkdirSync(folder, { recursive: true });
  // Settings of the application; those of the installation stay as they are.
  const application = path.join(home, "lab");
  cpSync(path.join(installed, "share", "jupyter", "lab"), application, { recursive: true });
  mkdirSync(path.join(application, "settings"), { recursive: true });
  const themes = { "@jupyterlab/apputils-extension:themes": { theme: theme === "dark" ? "JupyterLab Dark" : "JupyterLab Light" } };
  writeFileSync(path.join(application, "settings", "overrides.json"), JSON.stringify({ ...QUIET, ...themes }));
  const port = await freePort();
  const child = start(path.join(installed, "bin", "jupyter-lab"), flags(port, folder, application), path.join(home, "server.log"), environment(home));
  const url = `http://127.0.0.1:${port}`;
  const isUp = async (): Promise<true | undefined> => ((await fetch(`${url}/api/status`)).ok ? true : undefined);
  await eventually("JupyterLab", isUp, 60_000).catch(async (error: unknown) => {
    await end(child);
    throw error;
  });
  return { url, folder, process: child };
}

function flags(port: number, folder: string, application: string): string[] {
  const server = [`--ServerApp.root_dir=${folder}`, "--ServerApp.token=", "--ServerApp.password=", `--ServerApp.port=${port}`, "--ServerApp.port_retries=0", "--ServerApp.disable_check_xsrf=True"];
  const root = process.getuid?.() === 0 ? ["--allow-root"] : [];
  return ["--no-browser", "--ServerApp.ip=127.0.0.1", ...server, `--LabApp.app_dir=${application}`, "--LabServerApp.news_url=", ...root];
}

function environment(home: string): NodeJS.ProcessEnv {
  const own = (name: string): string => path.join(home, name);
  return {
    ...process.env,
    HOME: home,
    IPYTHONDIR: own("ipython"),
    JUPYTER_CONFIG_DIR: own("config"),
    JUPYTER_DATA_DIR: own("data"),
    JUPYTER_RUNTIME_DIR: own("runtime"),
    OMP_NUM_THREADS: "1",
  };
}

export const labPython = path.join(installed, "bin", "python");

/** Ends every kernel, and what notebooks know of theirs. */
export async function shutDownKernels({ url }: Lab): Promise<void> {
  const sessions = (await (await fetch(`${url}/api/sessions`)).json()) as readonly { readonly id: string }[];
  for (const { id } of sessions) await fetch(`${url}/api/sessions/${id}`, { method: "DELETE" });
}
