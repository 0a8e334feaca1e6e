/** The copy of gradwatch inside this extension, made importable in one debugged process; nothing is written there. */

import * as fs from "node:fs/promises";
import * as path from "node:path";
import { promisify } from "node:util";
import { deflate } from "node:zlib";
import program from "./python/shipped_copy.py";
import { asciiJson, pythonString } from "./questions";

interface Report {
  readonly done: boolean;
  readonly needs_sources?: boolean;
  readonly reason?: string;
}

export class ShippedCopy {
  readonly #folder: string;
  #sources: Promise<string> | null = null;

  /** The folder that holds `gradwatch/`. */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** By its folder where the process sees it; in a container or on another machine by sending the sources. */
  async install(evaluate: (expression: string) => Promise<string>): Promise<void> {
    let report = readReport(await evaluate(installExpression(this.#folder, null)));
    if (report.needs_sources === true) {
      this.#sources ??= packSources(this.#folder);
      report = readReport(await evaluate(installExpression(this.#folder, await this.#sources)));
    }
    if (!report.done) throw new Error(report.reason ?? "the copy could not be made importable");
  }
}

export function installExpression(folder: string, sources: string | null): string {
  const space = `__import__("json").loads(${pythonString(asciiJson({ folder, sources }))})`;
  return `(lambda space: __import__("builtins").exec(${pythonString(program)}, space) or space["report"])(${space})`;
}

function readReport(text: string): Report {
  const parsed: unknown = JSON.parse(text);
  if (typeof parsed === "object" && parsed !== null && "done" in parsed) return parsed as Report;
  throw new Error(text.slice(0, 200));
}

/** base64 of zlib of a JSON object from path ("gradwatch/debugger.py") to text: about 200 KB. */
async function packSources(folder: string): Promise<string> {
  const texts: Record<string, string> = {};
  for (const file of await fs.readdir(folder, { recursive: true })) {
    if (file.endsWith(".py")) texts[file.split(path.sep).join("/")] = await fs.readFile(path.join(folder, file), "utf8");
  }
  const packed = await promisify(deflate)(asciiJson(texts));
  return packed.toString("base64");
}
