/** What `gradwatch diff --json` says about the golden pairs is what is said here. */

import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import * as zlib from "node:zlib";
import { describe, expect, it } from "vitest";
import type { Comparison } from "../shared/compare";
import { ComparisonError, compareSessions } from "../shared/compare_sessions";
import { bestDecompress, type NodeZlib } from "../shared/mcap_zstd";
import { SessionError } from "../shared/recorded_errors";
import { RecordedSession } from "../shared/recorded_session";
import { GOLDEN, MemoryFile } from "./recorded_files";

const FOLDER = join(GOLDEN, "compare");
const FLIP_EVERY = 131;

interface Answer {
  readonly a: string;
  readonly b: string;
  readonly steps: readonly [number, number] | null;
  readonly tolerance: number | null;
  readonly ranks: boolean;
  readonly report?: Comparison;
  readonly error?: string;
}

const decompress = bestDecompress(zlib as NodeZlib);

function bytesOf(name: string): Uint8Array {
  return new Uint8Array(readFileSync(join(FOLDER, `${name}.gradwatch`)));
}

async function opened(name: string, bytes = bytesOf(name)): Promise<RecordedSession> {
  const shown = `${name.replace("../", "")}.gradwatch`;
  return RecordedSession.open(new MemoryFile(bytes), { name: shown, decompress: await decompress, version: "0.1.0" });
}

const cases = readdirSync(FOLDER)
  .filter((file) => file.endsWith(".json") && file !== "damaged.json")
  .map((file) => [file.replace(".json", ""), JSON.parse(readFileSync(join(FOLDER, file), "utf8")) as Answer] as const);

describe("a comparison", () => {
  it.each(cases)("of %s says what Python says", async (_, { a, b, steps, tolerance, ranks, report, error }) => {
    const first = await opened(a);
    const second = a === b ? first : await opened(b);
    const made = compareSessions(first, second, { tolerance, ranks, stepA: steps?.[0] ?? null, stepB: steps?.[1] ?? null });
    if (report) return expect(await made).toEqual(report);
    await expect(made).rejects.toThrow(ComparisonError);
    await expect(made).rejects.toThrow(error!);
  });

  it("of damaged files says what Python says, wherever a byte is flipped", async () => {
    const expected = JSON.parse(readFileSync(join(FOLDER, "damaged.json"), "utf8")) as unknown[];
    const bytes = bytesOf("scaled");
    for (const [i, said] of expected.entries()) {
      const flipped = bytes.slice();
      flipped[i * FLIP_EVERY]! ^= 0xff;
      expect(await aboutDamaged(flipped), `byte ${i * FLIP_EVERY}`).toEqual(said);
    }
  });
});

const KINDS = { "not a session": "NotASession", version: "SessionVersionError", damaged: "SessionDamaged", absent: "UsageError" } as const;

async function aboutDamaged(bytes: Uint8Array): Promise<unknown> {
  try {
    const { parts, gradients, loss, compared } = await compareSessions(await opened("plain"), await opened("damaged", bytes));
    const first = gradients && [gradients.step, gradients.first.kind, gradients.first.name];
    return [parts, first, loss?.step ?? null, compared.steps, compared.parameter, compared.module, compared.node];
  } catch (error) {
    if (error instanceof SessionError) return KINDS[error.kind];
    if (error instanceof ComparisonError) return "nothing";
    throw error;
  }
}
