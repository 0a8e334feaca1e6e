/** Answers the panel's requests. A handler that throws becomes a response with its message. */

import * as vscode from "vscode";
import type { Method, RequestMessage, Requests, ToPanel } from "../shared/messages";
import { findingsText } from "../shared/text";
import { stepToNextNode, useShippedCopy } from "./commands";
import type { Debuggee } from "./debuggee";
import { recordingOf } from "./open_session";
import type { Sessions } from "./sessions";
import { openSource, sourceLines } from "./sources";
import * as texts from "./texts";
import { askWhy } from "./why";

const VALUES_BUDGET_MS = 1000;

type Handlers = { readonly [M in Method]: (params: Requests[M]["params"]) => Promise<Requests[M]["result"]> };

/** The response to one request; never rejects. */
export async function respond(handlers: Handlers, message: RequestMessage): Promise<ToPanel> {
  const { id, method } = message;
  try {
    // The map pairs each method with its own parameters, which the union of messages cannot say.
    const handler = handlers[method] as ((params: RequestMessage["params"]) => Promise<unknown>) | undefined;
    if (handler === undefined) throw new Error(texts.noRequest(String(method)));
    return { type: "response", id, ok: true, value: await handler(message.params) };
  } catch (error) {
    return { type: "response", id, ok: false, error: texts.messageOf(error) };
  }
}

export function requestHandlers(sessions: Sessions): Handlers {
  return { ...questionHandlers(sessions), ...sessionHandlers(sessions), ...workbenchHandlers(sessions) };
}

function questionHandlers(sessions: Sessions): Pick<Handlers, "values" | "chooseRoot" | "retry" | "setConditions" | "stepToNextNode" | "useShippedCopy"> {
  return {
    values: async ({ findNonFinite, ...rest }) => {
      const question = { question: "values", ...rest, find_nonfinite: findNonFinite, budget_ms: VALUES_BUDGET_MS } as const;
      return (await selected(sessions).askAtStop(question, VALUES_BUDGET_MS)).text;
    },
    chooseRoot: async ({ expression }) => {
      selected(sessions).chooseRoot(expression);
      return null;
    },
    retry: async (detail) => {
      selected(sessions).refresh(detail);
      return null;
    },
    setConditions: async ({ conditions }) => {
      sessions.setConditions(selected(sessions), conditions);
      return null;
    },
    stepToNextNode: async () => {
      await stepToNextNode(selected(sessions));
      return null;
    },
    useShippedCopy: async () => {
      await useShippedCopy(selected(sessions));
      return null;
    },
  };
}

function sessionHandlers(sessions: Sessions): Pick<Handlers, "selectSession" | "selectCaller" | "pause" | "startDebugging"> {
  return {
    selectSession: async ({ session }) => {
      if (!sessions.pick(session)) throw new Error(texts.noDebugSession());
      return null;
    },
    selectCaller: async ({ depth }) => {
      const debuggee = selected(sessions);
      const { file, line } = await debuggee.selectCaller(depth);
      await openSource(debuggee.adapter.session, { file, line, focus: false }).catch(() => undefined);
      return null;
    },
    pause: async () => {
      await selected(sessions).adapter.pause();
      return null;
    },
    startDebugging: async () => {
      await vscode.commands.executeCommand("workbench.action.debug.start");
      return null;
    },
  };
}

function workbenchHandlers(sessions: Sessions): Pick<Handlers, "sourceLines" | "openSource" | "copyText" | "openSession" | "why"> {
  const session = (): vscode.DebugSession | null => sessions.selected?.adapter.session ?? null;
  return {
    sourceLines: (place) => sourceLines(session(), place),
    openSource: async (place) => {
      await openSource(session(), place);
      return null;
    },
    why: async ({ name }) => {
      const recording = recordingOf(sessions.selected);
      if (recording === null) throw new Error(findingsText.whyNotRecorded(name));
      const python: unknown = session()?.configuration["python"];
      return askWhy(recording.uri.fsPath, name, typeof python === "string" && python !== "" ? python : null);
    },
    copyText: async ({ text }) => {
      await vscode.env.clipboard.writeText(text);
      return null;
    },
    openSession: async () => {
      await vscode.commands.executeCommand("gradwatch.openSession", recordingOf(sessions.selected));
      return null;
    },
  };
}

function selected(sessions: Sessions): Debuggee {
  if (sessions.selected === null) throw new Error(texts.noDebugSession());
  return sessions.selected;
}
