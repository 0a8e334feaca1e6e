/** Runs the notebook's end-to-end tests once for each version of ipykernel: `node run.ts 6.31.0 7.3.0 newest`. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import path from "node:path";
import { screenshots } from "./lab.ts";

const LIMIT_MS = 8 * 60_000;

const kernels = process.argv.slice(2);
if (kernels.length === 0) throw new Error("Name a version of ipykernel, or newest.");
rmSync(screenshots, { recursive: true, force: true });
for (const kernel of kernels) {
  console.log(`ipykernel ${kernel}`);
  const given = ["--test", "--test-concurrency=1", "--test-reporter=spec", path.join(import.meta.dirname, "notebook.test.ts")];
  const tests = spawn(process.execPath, given, { stdio: "inherit", env: { ...process.env, GRADWATCH_E2E_KERNEL: kernel } });
  const limit = setTimeout(() => tests.kill("SIGTERM"), LIMIT_MS);
  const [code] = (await once(tests, "exit")) as [number | null];
  clearTimeout(limit);
  if (code !== 0) process.exitCode = code ?? 1;
}
