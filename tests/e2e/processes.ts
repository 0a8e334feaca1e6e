/** Processes that end with what they started, by their own ids. */

import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { closeSync, mkdirSync, openSync } from "node:fs";
import { createServer } from "node:net";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";

/** A process that leads its own group; what it prints goes to a file. */
export function start(command: string, given: readonly string[], log: string, env: NodeJS.ProcessEnv): ChildProcess {
  mkdirSync(path.dirname(log), { recursive: true });
  const file = openSync(log, "a");
  const child = spawn(command, given, { detached: true, stdio: ["ignore", file, file], env });
  closeSync(file);
  return child;
}

/** Ends the group: asks, and after a while insists. */
export async function end(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || !signal(child.pid, "SIGTERM")) return;
  for (let tries = 0; tries < 30; tries++) {
    await pause(100);
    if (!signal(child.pid, 0)) return;
  }
  signal(child.pid, "SIGKILL");
}

function signal(pid: number, what: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(-pid, what);
  } catch {
    return false;
  }
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      const port = address !== null && typeof address === "object" ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}

/** Asks until the answer is not undefined. `what` says in the error what did not come. */
export async function eventually<T>(what: string, ask: () => Promise<T | undefined> | T | undefined, limitMs = 30_000): Promise<T> {
  const until = Date.now() + limitMs;
  let last: unknown;
  while (Date.now() < until) {
    try {
      const found = await ask();
      if (found !== undefined) return found;
      last = undefined;
    } catch (error) {
      last = error;
    }
    await pause(50);
  }
  throw new Error(`${what} did not come within ${limitMs / 1000} s`, { cause: last });
}
