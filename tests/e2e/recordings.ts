/** Sessions made by the real recorder, in processes of their own. */

import { execFile } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import * as places from "./places.ts";
import { end, eventually, start } from "./processes.ts";

const run = promisify(execFile);

/** Runs replayed.py of the workspace, which records itself. As a rank of several, where one is given. */
export async function record(folder: string, file: string, given: readonly string[] = [], rank: Readonly<Record<string, string>> = {}): Promise<void> {
  await run(places.python, ["replayed.py", file, ...given], { cwd: folder, env: { ...process.env, ...rank } });
}

/** A program that trains until it is told that it is enough. */
export class RunningRecording {
  readonly #folder: string;
  readonly #process: ChildProcess;

  constructor(folder: string, to: string) {
    this.#folder = folder;
    const given = ["-m", "gradwatch", "run", "-o", path.join(folder, to), path.join(folder, "endless.py"), path.join(folder, "enough")];
    this.#process = start(places.python, given, path.join(path.dirname(folder), "recorder.log"), process.env);
  }

  /** Lets it end in order, and waits until it has. */
  async enough(): Promise<void> {
    writeFileSync(path.join(this.#folder, "enough"), "");
    await eventually("the end of the recording", () => (this.#process.exitCode === null ? undefined : true), 60_000);
  }

  async kill(): Promise<void> {
    await end(this.#process);
  }
}
