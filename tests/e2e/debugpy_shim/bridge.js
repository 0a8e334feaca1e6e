// @ts-check
/**
 * What tests see of the extension host, over loopback: every message of every debug adapter and each frame that gets
 * the focus, as a list; an expression evaluated in the focused frame; a setting; the measurements of the extension
 * under test.
 */

const fs = require("node:fs");
const http = require("node:http");
const path = require("node:path");
const { inflateSync } = require("node:zlib");
const vscode = require("vscode");

/** @type {Record<string, unknown>[]} */
const messages = [];

exports.openBridge = () => {
  const server = http.createServer((request, response) => void answer(request, response));
  server.listen(0, "127.0.0.1", () => tellPort(server));
  const log = vscode.debug.registerDebugAdapterTrackerFactory("*", {
    createDebugAdapterTracker: (session) => ({
      onWillReceiveMessage: (message) => void messages.push({ ...summary(message), to: "adapter", session: session.id }),
      onDidSendMessage: (message) => void messages.push({ ...summary(message), to: "editor", session: session.id }),
    }),
  });
  const focus = vscode.debug.onDidChangeActiveStackItem((item) => {
    if (item instanceof vscode.DebugStackFrame) messages.push({ type: "focus", session: item.session.id, thread: item.threadId });
  });
  return vscode.Disposable.from(log, focus, { dispose: () => server.close() });
};

/** @param {http.Server} server */
function tellPort(server) {
  const folder = vscode.workspace.workspaceFolders?.[0]?.uri.fsPath;
  const address = server.address();
  if (folder === undefined || address === null || typeof address === "string") return;
  const file = path.join(folder, ".vscode", "bridge.json");
  fs.writeFileSync(`${file}.new`, JSON.stringify({ port: address.port }));
  fs.renameSync(`${file}.new`, file);
}

/** @param {any} message */
function summary({ type, seq, command, event, request_seq, success, arguments: given, body }) {
  const text = typeof body?.result === "string" ? body.result : "";
  return {
    atMs: performance.now(),
    type,
    seq,
    name: command ?? event,
    answers: request_seq,
    success,
    frame: given?.frameId,
    question: /question\\":\\"([a-z ]+)/.exec(given?.expression ?? "")?.[1],
    characters: text.length,
    ...(command === "evaluate" && /^(\{"kind":|deflate:)/.test(text) ? answered(text) : {}),
    ...(event === "stopped" ? { reason: body?.reason, thread: body?.threadId } : {}),
  };
}

/** @param {string} text */
function answered(text) {
  const packed = /^deflate:(.*)$/s.exec(text);
  const { kind, value } = JSON.parse(packed ? inflateSync(Buffer.from(packed[1], "base64")).toString() : text);
  return { kind, costMs: value?.cost_ms, missing: value?.missing, error: value?.error };
}

/** @type {Record<string, (given: any) => unknown>} */
const requests = {
  messages: ({ since }) => messages.slice(since),
  evaluate: async ({ expression }) => {
    const item = vscode.debug.activeStackItem;
    if (!(item instanceof vscode.DebugStackFrame)) throw new Error("no frame is focused");
    const reply = await item.session.customRequest("evaluate", {
      expression,
      frameId: item.frameId,
      context: "watch",
      format: { rawString: true },
    });
    return reply.result;
  },
  command: async ({ id, given }) => (await vscode.commands.executeCommand(id, ...(given ?? []))) ?? null,
  setting: async ({ name, value }) => {
    await vscode.workspace.getConfiguration().update(name, value, vscode.ConfigurationTarget.Global);
    return null;
  },
  focused: () => {
    const item = vscode.debug.activeStackItem;
    const frame = item instanceof vscode.DebugStackFrame ? item.frameId : -1;
    return { session: item?.session.id ?? null, name: item?.session.name ?? null, frame };
  },
  editor: () => {
    const editor = vscode.window.activeTextEditor;
    return editor ? { file: editor.document.uri.fsPath, line: editor.selection.active.line + 1 } : null;
  },
  texts: () =>
    vscode.window.visibleTextEditors.map(({ document, selection }) => ({ scheme: document.uri.scheme, file: document.uri.fsPath, line: selection.active.line + 1 })),
  breakpoints: () =>
    vscode.debug.breakpoints.map((item) => (item instanceof vscode.SourceBreakpoint ? item.location.range.start.line + 1 : -1)),
  measurements: () => vscode.extensions.getExtension("gradwatch.gradwatch")?.exports?.measurements ?? null,
  paints: () => vscode.extensions.getExtension("gradwatch.gradwatch")?.exports?.paints ?? null,
  active: () => vscode.extensions.getExtension("gradwatch.gradwatch")?.isActive ?? null,
};

/** @param {http.IncomingMessage} request @param {http.ServerResponse} response */
async function answer(request, response) {
  try {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const run = requests[(request.url ?? "/").slice(1)];
    if (run === undefined) throw new Error(`no request ${request.url}`);
    const value = await run(JSON.parse(Buffer.concat(chunks).toString() || "{}"));
    response.end(JSON.stringify({ ok: true, value }));
  } catch (error) {
    response.end(JSON.stringify({ ok: false, error: String(error instanceof Error ? error.message : error) }));
  }
}
