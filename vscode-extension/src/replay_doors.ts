/** What VS Code does for the page of a recorded session. */

import * as vscode from "vscode";
import type { ReplayDoors } from "../shared/replay";
import { chooseSession } from "./choose_session";
import type { RecentSessions } from "./recent_sessions";
import { openRecordedSource, workspaceLines } from "./recorded_sources";
import type { RecordedTexts } from "./recorded_text";
import * as texts from "./replay_texts";
import type { SessionEditor } from "./session_editor";
import { replayStep, type ReplaySurroundings } from "./step_replay";
import { askWhy } from "./why";

/** What all editors share. */
export interface Shared extends ReplaySurroundings {
  readonly recent: RecentSessions;
  readonly recorded: RecordedTexts;
}

const OFFERS = { openSource: true, chooseOther: true, replayStep: true, bindsKeys: true, why: true } as const;

/** `editor` is asked for once the page asks something: the doors are made before it. */
export function replayDoors(editor: () => SessionEditor, shared: Shared): ReplayDoors {
  return {
    offers: OFFERS,
    workspaceLines,
    openSource: (file, line, focus, recorded) => openRecordedSource(shared.recorded, { file, line, focus, recorded }),
    chooseOther: async () => {
      const nearby = { title: texts.chooseToCompare(), beside: editor().uri, recording: null };
      const uri = await chooseSession(nearby, shared.recent);
      return uri === null ? null : editor().openOther(uri);
    },
    replayStep: (place, step) => replayStep(place, step, shared),
    why: (place, name) => askWhy(place, name),
    copyText: async (text) => vscode.env.clipboard.writeText(text),
  };
}
