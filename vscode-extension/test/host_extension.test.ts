import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type * as vscodeTypes from "vscode";
import { activate } from "../src/extension";
import type { Exports } from "../src/extension";
import { evaluations, python, selectFrame, settle, snapshotText, stop, usual } from "./host_world";
import type { Replies } from "./host_world";
import * as vscode from "./fake_vscode";
import { heldSnapshotText, HELD_FILE } from "./host_held";

let exports: Exports;
let view: vscode.FakeView;
let subscriptions: { dispose(): unknown }[] = [];

beforeEach(async () => {
  vi.useFakeTimers();
  vscode.resetVscode();
  subscriptions = [];
  const memory = { globalState: new vscode.FakeMemento(), workspaceState: new vscode.FakeMemento() };
  exports = activate({ extensionUri: vscode.Uri.file("/extension"), subscriptions, ...memory } as unknown as vscodeTypes.ExtensionContext);
  view = new vscode.FakeView();
  vscode.window.provider?.resolveWebviewView(view);
});
afterEach(() => {
  subscriptions.forEach((item) => item.dispose());
  vi.useRealTimers();
});

async function ready(): Promise<void> {
  view.received.fire({ type: "ready" });
  await settle();
}

function start(id = "train", replies: Replies = usual, parent?: vscode.FakeSession): vscode.FakeSession {
  return new vscode.FakeSession(id, python(replies), parent);
}

function told(type: string): Record<string, unknown>[] {
  return view.messages.filter((message) => message["type"] === type);
}

function states(): string[] {
  return told("state").map(({ state }) => (state as { kind: string }).kind);
}

let nextId = 0;
async function ask(method: string, params: unknown = {}): Promise<Record<string, unknown>> {
  const id = ++nextId;
  view.received.fire({ type: "request", id, method, params });
  await settle();
  return told("response").find((message) => message["id"] === id) ?? {};
}

describe("the panel", () => {
  it("has a policy that allows its own files and nonce, and nothing remote", () => {
    const policy = /Content-Security-Policy" content="([^"]+)"/.exec(view.webview.html)?.[1] ?? "";
    expect(policy).toMatch(/^default-src 'none'; script-src 'nonce-[\w+/=]+'; style-src https:\/\/webview\.test; /);
    expect(policy).not.toMatch(/unsafe|\*|http:/);
    expect(view.webview.options).toMatchObject({ enableScripts: true, localResourceRoots: [vscode.Uri.file("/extension/dist")] });
    const nonces = [...view.webview.html.matchAll(/nonce(?:="|-)([\w+/=]+)/g)].map((match) => match[1]);
    expect(new Set(nonces).size).toBe(1);
  });

  it("is told the settings and that there is no session, once", async () => {
    await ready();
    expect(view.messages.map((message) => message["type"])).toEqual(["settings", "sessions", "state"]);
    expect(states()).toEqual(["no session"]);
  });

  it("is told of a stop in this order: reading, values, ready", async () => {
    await ready();
    const session = start();
    stop(session);
    await settle();
    await vi.advanceTimersByTimeAsync(10);
    const order = view.messages.map((message) => (message["type"] === "state" ? (message["state"] as { kind: string }).kind : message["type"]));
    expect(order.slice(order.indexOf("reading")).filter((name) => !["sessions", "conditions"].includes(String(name)))).toEqual(["reading", "snapshot", "ready"]);
    expect(told("snapshot")[0]).toMatchObject({ session: "train", json: new TextEncoder().encode(snapshotText()) });
    expect(told("sessions").at(-1)).toMatchObject({ selected: "train", items: [{ id: "train", rank: 2, pid: 77, stopped: true }] });
  });

  it("costs nothing while hidden: no message, no question; then shows the stop it missed", async () => {
    await ready();
    const session = start();
    await settle();
    view.show(false);
    await settle();
    const before = view.messages.length;
    stop(session);
    await vi.advanceTimersByTimeAsync(5000);
    expect(view.messages).toHaveLength(before);
    expect(session.requests).toHaveLength(0);
    view.show(true);
    await settle();
    await vi.advanceTimersByTimeAsync(10);
    expect(states().at(-1)).toBe("ready");
    expect(evaluations(session)).toHaveLength(1);
  });

  it("costs nothing before it was ever opened", async () => {
    const session = start();
    stop(session);
    await vi.advanceTimersByTimeAsync(5000);
    expect([view.messages.length, session.requests.length]).toEqual([0, 0]);
  });

  it("does not flicker while stepping, and is stale when the program runs on", async () => {
    await ready();
    const session = start();
    stop(session);
    await settle();
    session.will("next", { threadId: 1 });
    session.event("continued", { threadId: 1, allThreadsContinued: true });
    await vi.advanceTimersByTimeAsync(60);
    stop(session);
    await settle();
    await vi.advanceTimersByTimeAsync(400);
    expect(states()).toEqual(["no session", "reading", "ready", "reading", "ready"]);
    session.event("continued", { threadId: 1, allThreadsContinued: true });
    await vi.advanceTimersByTimeAsync(400);
    expect(states().at(-1)).toBe("stale");
  });

  it("is given the values again when it is loaded anew", async () => {
    await ready();
    stop(start());
    await settle();
    view.messages.length = 0;
    await ready();
    expect(told("snapshot")).toHaveLength(1);
    expect(states()).toEqual(["ready"]);
  });

  it("measures from the stop to the painted panel", async () => {
    await ready();
    stop(start());
    await settle();
    view.received.fire({ type: "painted", session: "train", stop: 1, parts: { parseMs: 1, modelMs: 2, layoutMs: 3, paintMs: 4 } });
    expect(exports.measurements).toMatchObject([{ session: "train", stop: 1, characters: snapshotText().length, paint: { paintMs: 4 } }]);
  });
});

describe("several sessions", () => {
  it("the first to stop is shown, another only when VS Code turns to it", async () => {
    await ready();
    const [zero, one] = [start("rank 0"), start("rank 1")];
    stop(one);
    await settle();
    stop(zero);
    await settle();
    expect(told("sessions").at(-1)).toMatchObject({ selected: "rank 1" });
    expect(zero.requests).toHaveLength(0);
    vscode.activeSessionChanged.fire(zero);
    await settle();
    expect(told("sessions").at(-1)).toMatchObject({ selected: "rank 0" });
    expect(evaluations(zero)).toHaveLength(1);
  });

  it("a session that the user picked stays, until it ends", async () => {
    await ready();
    const [zero, one] = [start("rank 0"), start("rank 1")];
    expect(await ask("selectSession", { session: "rank 1" })).toMatchObject({ ok: true });
    stop(zero);
    vscode.activeSessionChanged.fire(zero);
    selectFrame(zero, 1, 11);
    await settle();
    expect(told("sessions").at(-1)).toMatchObject({ selected: "rank 1" });
    expect(evaluations(zero)).toHaveLength(0);
    vscode.sessionTerminated.fire(one);
    await settle();
    expect(told("sessions").at(-1)).toMatchObject({ selected: "rank 0", items: [{ id: "rank 0" }] });
    expect(evaluations(zero)).toHaveLength(1);
  });

  it("are forgotten when they end", async () => {
    await ready();
    const session = start();
    stop(session);
    await settle();
    vscode.sessionTerminated.fire(session);
    await settle();
    expect(told("forget")).toEqual([{ type: "forget", session: "train" }]);
    expect(states().at(-1)).toBe("no session");
    expect(await ask("selectSession", { session: "train" })).toMatchObject({ ok: false, error: expect.stringContaining("No debug session") });
  });
});

describe("requests", () => {
  it("open a source at its line, leaving the focus in the panel unless asked", async () => {
    await ready();
    expect(await ask("openSource", { file: "/home/me/train.py", line: 11, focus: false })).toMatchObject({ ok: true });
    expect(vscode.shownDocuments[0]).toMatchObject({ uri: { path: "/home/me/train.py" }, options: { preserveFocus: true, selection: { start: { line: 10 } } } });
    await ask("openSource", { file: "/home/me/train.py", line: 11, focus: true });
    expect(vscode.shownDocuments[1]).toMatchObject({ options: { preserveFocus: false } });
  });

  it("follow the debug configuration's path mappings to local files", async () => {
    await ready();
    const session = start();
    session.configuration = { pathMappings: [{ localRoot: "/home/me/project", remoteRoot: "/app/" }] };
    await ask("openSource", { file: "/app/src/model.py", line: 1, focus: false });
    await ask("openSource", { file: "/application/model.py", line: 1, focus: false });
    expect(vscode.shownDocuments.map(({ uri }) => uri.path)).toEqual(["/home/me/project/src/model.py", "/application/model.py"]);
  });

  it("say what is missing when a source cannot be opened", async () => {
    await ready();
    expect(await ask("openSource", { file: "/missing.py", line: 1, focus: false })).toMatchObject({ ok: false, error: expect.stringContaining("pathMappings") });
    expect(await ask("sourceLines", { file: "/missing.py", line: 1, around: 1 })).toMatchObject({ ok: false });
  });

  it("give lines around a place, from the editor where it is open", async () => {
    await ready();
    expect(await ask("sourceLines", { file: "/a.py", line: 1, around: 2 })).toMatchObject({ value: { first: 1, lines: ["one", "two", "three"] } });
    vscode.workspace.textDocuments = [vscode.fakeEditor("/a.py", "unsaved\nlines").document];
    expect(await ask("sourceLines", { file: "/a.py", line: 2, around: 0 })).toMatchObject({ value: { first: 2, lines: ["lines"] } });
  });

  it("step to the next node: the question first, then the program goes on", async () => {
    await ready();
    const session = start();
    stop(session);
    await settle();
    expect(await ask("stepToNextNode")).toMatchObject({ ok: true });
    expect(evaluations(session).at(-1)).toEqual({ question: "next node", packed: true });
    expect(session.requests.at(-1)).toEqual({ command: "continue", args: { threadId: 1 } });
  });

  it("do not let the program go when the step was not accepted", async () => {
    await ready();
    const session = start("train", (question, id) => (question.question === "next node" ? '{"kind":"Failure","value":{"message":"not in backward"}}' : usual(question, id)));
    stop(session);
    await settle();
    expect(await ask("stepToNextNode")).toMatchObject({ ok: false, error: "not in backward" });
    expect(session.requests.some(({ command }) => command === "continue")).toBe(false);
  });

  it("choose the root and ask again, with the same stop", async () => {
    await ready();
    const session = start();
    stop(session);
    await settle();
    await ask("chooseRoot", { expression: "aux_loss" });
    await ask("retry", { budgetMs: 10_000, parts: ["gradients"] });
    expect(evaluations(session).slice(1)).toMatchObject([
      { root: "aux_loss", budget_ms: 2000, stop: 1 },
      { root: "aux_loss", budget_ms: 10_000, parts: ["gradients"], stop: 1 },
    ]);
  });

  it("pause the first thread, copy, and start debugging", async () => {
    await ready();
    const session = start();
    await ask("pause");
    expect(session.requests.at(-1)).toEqual({ command: "pause", args: { threadId: 1 } });
    await ask("copyText", { text: "pip install gradwatch" });
    expect(vscode.clipboard.text).toBe("pip install gradwatch");
    await ask("startDebugging");
    expect(vscode.executed.at(-1)?.command).toBe("workbench.action.debug.start");
  });

  it("that need a session, or that are unknown, are refused in words", async () => {
    await ready();
    expect(await ask("stepToNextNode")).toMatchObject({ ok: false, error: expect.stringContaining("No debug session") });
    expect(await ask("nonsense")).toMatchObject({ ok: false, error: expect.stringContaining("nonsense") });
  });
});

describe("commands", () => {
  it("break when a norm exceeds what was typed, if it is a number above 0", async () => {
    await ready();
    stop(start());
    await settle();
    for (const [typed, count] of [[undefined, 0], ["-1", 0], ["1e999", 0], ["", 0], [" 1e3 ", 1]] as const) {
      vscode.input.answer = typed;
      await vscode.commands.executeCommand("gradwatch.breakWhenNormExceeds");
      await settle();
      const { conditions } = told("conditions").at(-1) as { conditions: { limit: number }[] };
      expect(conditions).toHaveLength(count);
      if (count === 1) expect(conditions[0]).toMatchObject({ kind: "norm exceeds", limit: 1000, enabled: true });
    }
  });

  it("of the panel's keys reach the panel", async () => {
    await ready();
    await vscode.commands.executeCommand("gradwatch.showHeld");
    expect(told("command")).toEqual([{ type: "command", name: "held" }]);
  });

  it("warn instead of failing when there is nothing to act on", async () => {
    await vscode.commands.executeCommand("gradwatch.stepToNextNode");
    expect(vscode.warnings).toEqual(["gradwatch: No debug session that runs Python."]);
  });

  it("set the context keys that enable them", async () => {
    await ready();
    const session = start("train", () => snapshotText({ stop: { number: 1, step: 0, function: "f", in_backward: true } }));
    stop(session);
    await settle();
    const key = (name: string): unknown => vscode.executed.filter(({ command, args }) => command === "setContext" && args[0] === name).at(-1)?.args[1];
    expect([key("gradwatch.stopped"), key("gradwatch.inBackward")]).toEqual([true, true]);
    session.event("continued", { allThreadsContinued: true });
    await vi.advanceTimersByTimeAsync(200);
    expect([key("gradwatch.stopped"), key("gradwatch.inBackward")]).toEqual([false, false]);
  });
});

describe("notes on lines that hold memory", () => {
  const source = Array.from({ length: 40 }, (_, line) => `line ${line + 1}`).join("\n");

  async function stopHolding(): Promise<vscode.FakeSession> {
    await ready();
    const session = start("train", () => heldSnapshotText());
    stop(session);
    await settle();
    return session;
  }

  it("stand at the ends of their lines in visible editors, and go when the program goes on", async () => {
    const [editor, other] = [vscode.fakeEditor(HELD_FILE, source), vscode.fakeEditor("/other.py", source)];
    vscode.window.visibleTextEditors = [editor, other];
    const session = await stopHolding();
    expect(editor.decorations.length).toBeGreaterThan(0);
    expect(editor.decorations[0]).toMatchObject({ renderOptions: { after: { contentText: expect.stringContaining("KiB") } }, hoverMessage: expect.anything() });
    expect(other.decorations).toEqual([]);
    session.event("continued", { allThreadsContinued: true });
    await vi.advanceTimersByTimeAsync(200);
    expect(editor.decorations).toEqual([]);
  });

  it("come with an editor that is opened at the stop", async () => {
    await stopHolding();
    const editor = vscode.fakeEditor(HELD_FILE, source);
    vscode.window.visibleTextEditors = [editor];
    vscode.visibleEditorsChanged.fire([editor]);
    expect(editor.decorations.length).toBeGreaterThan(0);
  });

  it("are off by the setting, at once", async () => {
    const editor = vscode.fakeEditor(HELD_FILE, source);
    vscode.window.visibleTextEditors = [editor];
    await stopHolding();
    vscode.settings["heldDecorations"] = false;
    vscode.configurationChanged.fire({ affectsConfiguration: (name) => name === "gradwatch" });
    await settle();
    expect(editor.decorations).toEqual([]);
    expect(told("settings").at(-1)).toMatchObject({ settings: { decorations: false } });
  });
});

describe("marks at lines that findings are about", () => {
  const source = Array.from({ length: 40 }, (_, line) => `line ${line + 1}`).join("\n");
  const found = (): string => {
    const answer = JSON.parse(heldSnapshotText()) as { value: Record<string, unknown> };
    answer.value["sites"] = [{ id: 0, file: "/project/found.py", line: 7, function: "forward" }, { id: 1, file: "/project/found.py", line: 900, function: "forward" }];
    answer.value["findings"] = [
      { kind: "nan", severity: "error", title: "NaN born in sqrt", sentence: "It divides by 0.", fix: "Add 1e-12.", site: 0 },
      { kind: "held", severity: "error", title: "Beyond the end", sentence: "Of a file that has changed.", site: 1 },
    ];
    return JSON.stringify(answer);
  };

  it("stand in the editor with sentence and fix on hover, and go when the program goes on", async () => {
    const editor = vscode.fakeEditor("/project/found.py", source);
    const marks: unknown[][] = [];
    editor.setDecorations = (_type: unknown, list: unknown[]) => void (list.length > 0 && marks.push(list));
    vscode.window.visibleTextEditors = [editor];
    await ready();
    const session = start("train", found);
    stop(session);
    await settle();
    const of = marks.flat().filter((one) => JSON.stringify(one).includes("NaN born"));
    expect(of).toHaveLength(1);
    expect(of[0]).toMatchObject({ renderOptions: { after: { contentText: "◆ NaN born in sqrt" } } });
    expect(JSON.stringify(of[0])).toMatch(/It divides by 0\..*Fix: Add 1e-12/);
    expect(JSON.stringify(marks)).not.toContain("Beyond the end");
    const cleared: unknown[][] = [];
    editor.setDecorations = (_type: unknown, list: unknown[]) => void cleared.push(list);
    session.event("continued", { allThreadsContinued: true });
    await vi.advanceTimersByTimeAsync(200);
    expect(cleared.length).toBeGreaterThanOrEqual(3);
    expect(cleared.every((list) => list.length === 0)).toBe(true);
  });
});
