/** What the views ask, put to a recorded session: it has source lines and a way to open them, and no program to ask. */

import type { Method, Requests } from "../../shared/messages";
import type { ReplayAsk } from "../../shared/replay";
import { replayText } from "../../shared/text";
import type { Ask } from "../view";

/** Lines of a place are asked for once: playing would ask at every step. */
const KEPT_PLACES = 256;

export function viewAsk(ask: ReplayAsk, rank: number): Ask {
  const lines = new Map<string, Promise<Requests["sourceLines"]["result"]>>();
  const sourceLines = (params: Requests["sourceLines"]["params"]): Promise<Requests["sourceLines"]["result"]> => {
    const key = `${params.file}:${params.line}:${params.around}`;
    const known = lines.get(key) ?? ask("sourceLines", { rank, ...params });
    known.catch(() => lines.delete(key));
    lines.set(key, known);
    if (lines.size > KEPT_PLACES) lines.delete(lines.keys().next().value!);
    return known;
  };
  const answer = (method: Method, params: unknown): Promise<unknown> => {
    switch (method) {
      case "sourceLines":
        return sourceLines(params as Requests["sourceLines"]["params"]);
      case "openSource":
        return ask("openSource", { rank, ...(params as Requests["openSource"]["params"]) });
      case "copyText":
        return ask("copyText", params as Requests["copyText"]["params"]);
      case "why":
        return ask("why", { rank, ...(params as Requests["why"]["params"]) });
      case "values":
        return Promise.reject(new Error(replayText.noValues));
      default:
        return Promise.reject(new Error(replayText.notInReplay));
    }
  };
  // The result is that of the method asked for, which its type cannot say.
  return answer as Ask;
}
