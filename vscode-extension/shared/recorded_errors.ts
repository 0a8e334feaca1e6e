/** Why a session file cannot be opened or read on. Each says what happened, with the value, and the way out. */

import { FORMAT_VERSION } from "./session";

export type SessionErrorKind = "not a session" | "version" | "damaged" | "absent";

/** The only error that the reader throws at what a file holds. */
export class SessionError extends Error {
  override readonly name = "SessionError";

  constructor(readonly kind: SessionErrorKind, message: string) {
    super(message);
  }
}

/** The file does not begin as a session does. */
export function notASession(name: string, reason: string): SessionError {
  return new SessionError("not a session", `${name} is not a gradwatch session: ${reason}. Sessions end in .gradwatch and come from gradwatch run or gradwatch.watch.`);
}

/** The file is in a format that this version does not read. */
export function otherVersion(name: string, writtenBy: string, format: number, ours: string): SessionError {
  const wayOut = format > FORMAT_VERSION ? "Update the gradwatch extension." : `Read it with: pip install gradwatch==${writtenBy}`;
  return new SessionError("version", `${name} was written by gradwatch ${writtenBy} (format ${format}); this is ${ours} (format ${FORMAT_VERSION}). ${wayOut}`);
}

/** What was asked for was never recorded; `has` says what was. */
export function absent(name: string, what: string, has: string): SessionError {
  return new SessionError("absent", `${name} has no ${what}. ${has}`);
}

/** What was asked for is cut or corrupted. */
export function damaged(name: string, what: string): SessionError {
  return new SessionError("damaged", `${name} is damaged: ${what}. Keep what is whole with: gradwatch repair ${name}`);
}
