import { appendFileSync, cpSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type * as vscodeTypes from "vscode";
import { activate } from "../src/extension";
import type { Exports } from "../src/extension";
import * as vscode from "./fake_vscode";
import { python, settle, snapshotText, stop } from "./host_world";
import { GOLDEN } from "./recorded_files";
import { sessionBytes, stepRecords } from "./session_builder";

let folder: string;
let exports: Exports;
let subscriptions: { dispose(): unknown }[] = [];
const panels: vscode.FakeEditorPanel[] = [];

beforeEach(() => {
  vscode.resetVscode();
  folder = mkdtempSync(path.join(tmpdir(), "gradwatch-"));
  const memory = { globalState: new vscode.FakeMemento(), workspaceState: new vscode.FakeMemento() };
  exports = activate({ extensionUri: vscode.Uri.file("/extension"), subscriptions, ...memory } as unknown as vscodeTypes.ExtensionContext);
});
afterEach(() => {
  panels.splice(0).forEach((panel) => panel.dispose());
  subscriptions.splice(0).forEach((item) => item.dispose());
  rmSync(folder, { recursive: true, force: true });
});

function golden(name: string, as = `${name}.gradwatch`): string {
  cpSync(path.join(GOLDEN, `${name}.gradwatch`), path.join(folder, as));
  return path.join(folder, as);
}

/** An editor whose page has loaded. */
function show(file: string | vscode.Uri): vscode.FakeEditorPanel {
  const panel = new vscode.FakeEditorPanel();
  panels.push(panel);
  const provider = vscode.window.customEditors!;
  provider.resolveCustomEditor(provider.openCustomDocument(typeof file === "string" ? vscode.Uri.file(file) : file), panel);
  panel.received.fire({ type: "ready" });
  return panel;
}

function told(panel: vscode.FakeEditorPanel, type: string): Record<string, unknown>[] {
  return panel.messages.filter((message) => message["type"] === type);
}

async function next(panel: vscode.FakeEditorPanel, type: string, count = 1): Promise<Record<string, unknown>> {
  await vi.waitFor(() => expect(told(panel, type).length).toBeGreaterThanOrEqual(count), { timeout: 8000, interval: 10 });
  return told(panel, type)[count - 1]!;
}

let lastId = 0;
async function ask(panel: vscode.FakeEditorPanel, method: string, params: unknown): Promise<Record<string, unknown>> {
  const id = ++lastId;
  panel.received.fire({ type: "request", id, method, params });
  const answer = (): Record<string, unknown> | undefined => told(panel, "response").find((message) => message["id"] === id);
  await vi.waitFor(() => expect(answer()).toBeDefined(), { timeout: 8000, interval: 10 });
  return answer()!;
}

interface Opened {
  readonly facts: { readonly name: string; readonly finished: boolean; readonly ranks: readonly { rank: number; name: string }[] };
  readonly timeline: { readonly steps: Float64Array };
}
const overview = (message: Record<string, unknown>): Opened => message["overview"] as Opened;
const context = (key: string): unknown => vscode.executed.filter(({ command, args }) => command === "setContext" && args[0] === key).at(-1)?.args[1];
const quiet = (ms = 300): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe("the editor of a session", () => {
  it("opens a recorded file, and answers its page", async () => {
    const panel = show(golden("seed"));
    const { facts, timeline } = overview(await next(panel, "opened"));
    expect([facts.name, facts.finished, timeline.steps.length > 0]).toEqual(["seed.gradwatch", true, true]);
    const answer = await ask(panel, "snapshot", { at: { kind: "step", rank: facts.ranks[0]!.rank, step: timeline.steps[0] } });
    expect(answer).toMatchObject({ ok: true });
  });

  it("keeps its page while it is hidden, and has one page for each editor of a file", () => {
    expect(vscode.window.customEditorOptions).toEqual({ webviewOptions: { retainContextWhenHidden: true }, supportsMultipleEditorsPerDocument: true });
  });

  it("has a policy that allows its own files and nonce, and nothing remote", () => {
    const { html, options } = show(golden("seed")).webview;
    const policy = /Content-Security-Policy" content="([^"]+)"/.exec(html)?.[1] ?? "";
    expect(policy).toMatch(/^default-src 'none'; script-src 'nonce-[\w+/=]+'; /);
    expect(policy).not.toMatch(/unsafe|\*|http:/);
    expect(html).toMatch(/dist\/replay\.css.*dist\/replay\.js/s);
    expect(options).toMatchObject({ enableScripts: true, localResourceRoots: [vscode.Uri.file("/extension/dist")] });
  });

  it("opens anew when its page is loaded anew, and ignores what is no message", async () => {
    const panel = show(golden("seed"));
    await next(panel, "opened");
    panel.received.fire({ type: "ready" });
    for (const nonsense of [null, 7, "ready", {}]) panel.received.fire(nonsense);
    await next(panel, "opened", 2);
  });

  it("opens the ranks of a folder as one session", async () => {
    for (const rank of [0, 1]) writeFileSync(path.join(folder, `run.rank${rank}.gradwatch`), sessionBytes([stepRecords(0, {})], { rank, world_size: 2 }));
    const { facts } = overview(await next(show(folder), "opened"));
    expect([facts.name, facts.ranks.map(({ rank }) => rank)]).toEqual(["run", [0, 1]]);
  });

  it("opens the ranks of a folder that can be read, and names the one that cannot", async () => {
    writeFileSync(path.join(folder, "run.rank0.gradwatch"), sessionBytes([stepRecords(0, {})], { rank: 0, world_size: 2 }));
    symlinkSync(path.join(folder, "gone"), path.join(folder, "run.rank1.gradwatch"));
    const { facts } = overview(await next(show(folder), "opened"));
    expect(facts.ranks).toMatchObject([{ name: "run.rank0.gradwatch", failure: null }, { name: "run.rank1.gradwatch", failure: expect.stringContaining("is not there") }]);
  });

  it("remembers what was opened, for the next time, unless it is gone by then", async () => {
    const [file, gone] = [golden("seed"), golden("variants")];
    await next(show(gone), "opened");
    await next(show(file), "opened");
    rmSync(gone);
    await vscode.commands.executeCommand("gradwatch.openSession");
    const offered = vscode.picks.offered.filter(({ description }) => description === "opened recently");
    expect(offered.map(({ label }) => label)).toEqual(["seed.gradwatch"]);
  });

  it("keeps how long the page took to paint a step, for the bench", () => {
    show(golden("seed")).received.fire({ type: "painted", step: 3, ms: 12 });
    expect(exports.paints).toEqual([{ step: 3, ms: 12 }]);
  });
});

describe("bad files", () => {
  it.each([
    ["an empty file", () => write("")],
    ["a text", () => write("hello, I am no session at all\n".repeat(50))],
    ["half a head", () => write(readFileSync(golden("seed")).subarray(0, 40))],
    ["a file that is not there", () => path.join(folder, "none.gradwatch")],
    ["a folder without sessions", () => folder],
  ])("%s fails in words", async (_what, make) => {
    const failed = await next(show(make()), "failed");
    expect(String(failed["title"]).length).toBeGreaterThan(5);
    expect(String(failed["reason"])).toMatch(/gradwatch/);
  });

  it("of a newer format name both versions and the way out", async () => {
    const bytes = readFileSync(golden("seed"));
    const at = bytes.indexOf("format_version") + "format_version".length + 4;
    bytes[at] = 0x39;
    const failed = await next(show(write(bytes)), "failed");
    expect(String(failed["reason"])).toMatch(/\(format 9\); this is .*\(format \d\)\. Update the gradwatch extension/);
  });

  it("that are cut open with what is whole", async () => {
    const { facts } = overview(await next(show(golden("torn")), "opened"));
    expect(facts.finished).toBe(false);
  });

  it("open by themselves once they are there", async () => {
    const panel = show(path.join(folder, "late.gradwatch"));
    await next(panel, "failed");
    await quiet(1200);
    expect(told(panel, "failed")).toHaveLength(1);
    golden("seed", "late.gradwatch");
    await next(panel, "opened");
  });

  it("open by themselves once the recorder has written their head", async () => {
    const bytes = readFileSync(golden("seed"));
    const file = write("");
    const panel = show(file);
    await next(panel, "failed");
    appendFileSync(file, bytes);
    await next(panel, "opened");
  });

  function write(content: string | Uint8Array): string {
    const file = path.join(folder, "bad.gradwatch");
    writeFileSync(file, content);
    return file;
  }
});

describe("a file that is being written", () => {
  const whole = readFileSync(path.join(GOLDEN, "seed.gradwatch"));

  /** Its first part, and the rest. */
  function begun(): { file: string; rest: Uint8Array } {
    const cut = Math.floor(whole.length * 0.4);
    const file = path.join(folder, "live.gradwatch");
    writeFileSync(file, whole.subarray(0, cut));
    return { file, rest: whole.subarray(cut) };
  }

  it("is followed to its end", async () => {
    const { file, rest } = begun();
    const panel = show(file);
    expect(overview(await next(panel, "opened")).facts.finished).toBe(false);
    appendFileSync(file, rest);
    await vi.waitFor(() => expect((told(panel, "grown").at(-1)?.["facts"] as Opened["facts"] | undefined)?.finished).toBe(true), { timeout: 8000 });
  });

  it("costs nothing while the page is hidden, and is caught up with when it is shown", async () => {
    const { file, rest } = begun();
    const panel = show(file);
    await next(panel, "opened");
    await quiet();
    panel.show(false);
    const before = panel.messages.length;
    appendFileSync(file, rest);
    await quiet(500);
    expect(panel.messages).toHaveLength(before);
    panel.show(true);
    await next(panel, "grown");
  });

  it("that is replaced by a new run opens anew", async () => {
    const file = golden("seed", "run.gradwatch");
    const panel = show(file);
    await next(panel, "opened");
    renameSync(golden("variants"), file);
    await next(panel, "opened", 2);
  });

  it("that is removed stays readable, and the user is told once", async () => {
    const { file } = begun();
    const panel = show(file);
    const { facts, timeline } = overview(await next(panel, "opened"));
    rmSync(file);
    await vi.waitFor(() => expect(vscode.warnings).toHaveLength(1), { timeout: 8000 });
    expect(vscode.warnings[0]).toMatch(/live\.gradwatch was removed.*stays readable/);
    expect(await ask(panel, "snapshot", { at: { kind: "step", rank: facts.ranks[0]!.rank, step: timeline.steps[0] } })).toMatchObject({ ok: true });
    expect(told(panel, "failed")).toEqual([]);
  });
});

describe("commands", () => {
  it("of the keyboard go to the page that has the focus, and to none without one", async () => {
    const [one, two] = [show(golden("seed")), show(golden("variants"))];
    one.show(true, false);
    two.received.fire({ type: "focus", keys: true });
    expect(context("gradwatch.replayKeys")).toBe(true);
    await vscode.commands.executeCommand("gradwatch.nextMark");
    await vscode.commands.executeCommand("gradwatch.showGraph");
    expect(told(two, "command")).toEqual([{ type: "command", name: "nextMark" }, { type: "command", name: "graph" }]);
    expect(told(one, "command")).toEqual([]);
    two.dispose();
    expect(context("gradwatch.replayKeys")).toBe(false);
    one.dispose();
    await vscode.commands.executeCommand("gradwatch.play");
    expect(vscode.warnings.at(-1)).toMatch(/No recorded session is open/);
  });

  it("that the panel has too stay the panel's while it has the focus", async () => {
    const page = show(golden("seed"));
    const view = new vscode.FakeView();
    vscode.window.provider?.resolveWebviewView(view);
    view.received.fire({ type: "ready" });
    view.received.fire({ type: "focus", keys: true });
    await vscode.commands.executeCommand("gradwatch.showHeld");
    expect(view.messages.filter((message) => message["type"] === "command")).toEqual([{ type: "command", name: "held" }]);
    view.received.fire({ type: "focus", keys: false });
    await vscode.commands.executeCommand("gradwatch.showHeld");
    expect(told(page, "command")).toEqual([{ type: "command", name: "held" }]);
  });

  it("that are contributed are there, with titles, and every key has one", () => {
    const read = (name: string): unknown => JSON.parse(readFileSync(path.join(import.meta.dirname, "..", name), "utf8"));
    const { contributes } = read("package.json") as { contributes: Record<"commands" | "keybindings", { command: string; title: string }[]> };
    const words = read("package.nls.json") as Record<string, string>;
    const contributed = contributes.commands.map(({ command }) => command);
    expect(contributed.filter((command) => !vscode.registered.has(command))).toEqual([]);
    expect(contributes.commands.filter(({ title }) => words[title.replaceAll("%", "")] === undefined)).toEqual([]);
    expect(contributes.keybindings.filter(({ command }) => !contributed.includes(command))).toEqual([]);
  });

  it("keys are given back when the page is hidden", () => {
    const panel = show(golden("seed"));
    panel.received.fire({ type: "focus", keys: true });
    panel.show(false);
    expect(context("gradwatch.replayKeys")).toBe(false);
  });
});

describe("opening", () => {
  const openedWith = (): unknown[] => vscode.executed.filter(({ command }) => command === "vscode.openWith").map(({ args }) => [(args[0] as vscode.Uri).toString(), args[1]]);

  async function recording(file: string): Promise<vscode.FakeView> {
    const view = new vscode.FakeView();
    vscode.window.provider?.resolveWebviewView(view);
    view.received.fire({ type: "ready" });
    const session = new vscode.FakeSession("train", python(({ question }) => (question === "snapshot" ? snapshotText({ recording: { path: file, detail: "modules", steps: 3, cost: 0.01 } }) : '{"kind":"Conditions","value":[]}')));
    stop(session);
    await settle();
    return view;
  }

  it("from the panel goes straight to what the program records", async () => {
    const file = golden("seed");
    const view = await recording(file);
    view.received.fire({ type: "request", id: 1, method: "openSession", params: {} });
    await vi.waitFor(() => expect(openedWith()).toEqual([[`file:${file}`, "gradwatch.session"]]));
  });

  it("from the panel says where the file is when it cannot be reached", async () => {
    const view = await recording("/elsewhere/run.gradwatch");
    vscode.picks.button = "Copy Path";
    view.received.fire({ type: "request", id: 1, method: "openSession", params: {} });
    await vi.waitFor(() => expect(vscode.clipboard.text).toBe("/elsewhere/run.gradwatch"));
    expect(vscode.warnings.at(-1)).toMatch(/records to \/elsewhere\/run\.gradwatch/);
    expect(openedWith()).toEqual([]);
  });

  it("from the palette offers what is being recorded first, then the file system", async () => {
    await recording(golden("seed"));
    vscode.picks.item = "Browse for a file…";
    vscode.picks.files = [vscode.Uri.file("/chosen.gradwatch")];
    await vscode.commands.executeCommand("gradwatch.openSession");
    expect(vscode.picks.offered.map(({ label }) => label)).toEqual(["seed.gradwatch", "Browse for a file…", "Browse for a folder of rank files…"]);
    expect(openedWith()).toEqual([["file:/chosen.gradwatch", "gradwatch.session"]]);
  });

  it("a folder with several runs asks which", async () => {
    for (const name of ["a.rank0", "a.rank1", "b.rank0", "b.rank1"]) golden("seed", `${name}.gradwatch`);
    vscode.picks.item = "b";
    await vscode.commands.executeCommand("gradwatch.openSessionFolder", vscode.Uri.file(folder));
    expect(openedWith()).toEqual([[`file:${folder}?run=b`, "gradwatch.session"]]);
  });

  it("a folder with one run opens as that, with one file as the file, with none says so", async () => {
    await vscode.commands.executeCommand("gradwatch.openSessionFolder", vscode.Uri.file(folder));
    expect(vscode.warnings.at(-1)).toMatch(/holds no \.gradwatch file/);
    golden("seed", "run.rank0.gradwatch");
    await vscode.commands.executeCommand("gradwatch.openSessionFolder", vscode.Uri.file(folder));
    golden("seed", "run.rank1.gradwatch");
    await vscode.commands.executeCommand("gradwatch.openSessionFolder", vscode.Uri.file(folder));
    expect(openedWith().map((each) => (each as string[])[0])).toEqual([`file:${folder}/run.rank0.gradwatch`, `file:${folder}`]);
  });

  it("another to compare with offers the neighbours, and closes it with the editor", async () => {
    const panel = show(golden("seed"));
    golden("variants");
    await next(panel, "opened");
    vscode.picks.item = "variants.gradwatch";
    expect(await ask(panel, "chooseOther", {})).toMatchObject({ ok: true, value: { overview: expect.anything() } });
    expect(vscode.picks.offered.map(({ label }) => label)).not.toContain("seed.gradwatch");
    vscode.picks.item = null;
    expect(await ask(panel, "chooseOther", {})).toMatchObject({ ok: true, value: null });
  });
});
