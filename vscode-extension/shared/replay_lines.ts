/** Source lines around a place: as they were recorded, or in the user's file where that says the same. */

import type { RecordedSession } from "./recorded_session";
import type { ReplayDoors, ReplayLines, ReplayRequests } from "./replay";

const MOST_AROUND = 200;
/** More of a line is not shown: a stranger's file may be one line. */
const MOST_COLUMNS = 2000;
const LINE_ENDS = /\r\n|\r|\n/;

/** The lines of a text; one that ends with a line end has no empty line behind it. */
export function linesOf(text: string): readonly string[] {
  return text.replace(/(\r\n|\r|\n)$/, "").split(LINE_ENDS);
}

/** Texts that were recorded, by path; null where the file's was not. */
export async function recordedText(session: RecordedSession, file: string): Promise<string | null> {
  return (await session.texts()).get(file) ?? null;
}

/** "workspace" where the user's own file can be opened at this place. */
export async function sourceLines(session: RecordedSession, doors: ReplayDoors, params: ReplayRequests["sourceLines"]["params"]): Promise<ReplayLines> {
  const recorded = await recordedText(session, params.file);
  const own = recorded === null ? null : linesOf(recorded);
  const workspace = await doors.workspaceLines?.(params.file, recorded).catch(() => null);
  if (workspace && (own === null || same(own, workspace))) return windowOf(workspace, params, "workspace");
  return own ? windowOf(own, params, "recorded") : { first: params.line, lines: [], from: "none" };
}

function windowOf(lines: readonly string[], { line, around }: ReplayRequests["sourceLines"]["params"], from: ReplayLines["from"]): ReplayLines {
  const reach = Math.min(Math.max(0, around), MOST_AROUND);
  const first = Math.max(1, line - reach);
  return { first, lines: lines.slice(first - 1, Math.max(0, line + reach)).map((text) => text.slice(0, MOST_COLUMNS)), from };
}

function same(recorded: readonly string[], lines: readonly string[]): boolean {
  const end = lines.at(-1) === "" && lines.length === recorded.length + 1 ? lines.length - 1 : lines.length;
  return end === recorded.length && recorded.every((line, at) => line === lines[at]);
}
