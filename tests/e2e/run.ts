/** Runs the end-to-end tests: `node run.ts [part of a file's name]`. Starts the workbench's server and ends it. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, rmSync } from "node:fs";
import path from "node:path";
import * as places from "./places.ts";
import { end } from "./processes.ts";
import { startServer } from "./server.ts";

const LIMIT_MS = 25 * 60_000;

const wanted = process.argv[2] ?? "";
const files = readdirSync(import.meta.dirname).filter((name) => name.endsWith(".test.ts") && name.includes(wanted));
if (files.length === 0) throw new Error(`No test's file has "${wanted}" in its name.`);
if (wanted === "") rmSync(places.screenshots, { recursive: true, force: true });

const server = await startServer();
const given = ["--test", "--test-concurrency=1", "--test-reporter=spec", ...files.map((name) => path.join(import.meta.dirname, name))];
const tests = spawn(process.execPath, given, { stdio: "inherit", env: { ...process.env, GRADWATCH_E2E_URL: server.url } });
const limit = setTimeout(() => tests.kill("SIGTERM"), LIMIT_MS);
for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, () => tests.kill(name));
try {
  const [code] = (await once(tests, "exit")) as [number | null];
  process.exitCode = code ?? 1;
} finally {
  clearTimeout(limit);
  await end(server.process);
}
