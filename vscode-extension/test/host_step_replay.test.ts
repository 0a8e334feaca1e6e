import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Memento } from "vscode";
import type { Condition } from "../shared/session";
import { RootSession } from "../src/conditions";
import { keptSteps, replayStep, setReplayEntry } from "../src/step_replay";
import * as vscode from "./fake_vscode";

let folder: string;
let session: string;
let memory: vscode.FakeMemento;
let conditions: Condition[];

beforeEach(() => {
  vscode.resetVscode();
  folder = mkdtempSync(path.join(tmpdir(), "gradwatch-"));
  session = path.join(folder, "run.gradwatch");
  for (const name of ["step-000812", "step-000000", "step-000100.77.new", "other"]) mkdirSync(`${session}.steps/${name}`, { recursive: true });
  vscode.workspace.workspaceFolders = [{ uri: vscode.Uri.file(folder), name: "project" }];
  vscode.extensions.all = [{ packageJSON: {} }, { packageJSON: { contributes: { debuggers: [{ type: "debugpy" }] } } }];
  vscode.input.answer = "train:build";
  memory = new vscode.FakeMemento();
  conditions = [];
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const replay = (step = 812): Promise<void> => replayStep(session, step, { memory: memory as unknown as Memento, conditions: () => conditions });

describe("replaying a step", () => {
  it("starts the debugger on the command line's replay, with the interpreter that is selected", async () => {
    await replay();
    expect(vscode.launched).toEqual([
      {
        folder: vscode.workspace.workspaceFolders![0],
        configuration: {
          type: "debugpy",
          request: "launch",
          name: "Replay step 812",
          module: "gradwatch",
          args: ["replay", session, "--step", "812", "--entry", "train:build"],
          cwd: folder,
          gradwatchConditions: [],
        },
      },
    ]);
  });

  it("asks for the entry once in each folder, and again when the user wants to", async () => {
    await replay();
    await replay(0);
    expect([vscode.input.asked, vscode.launched.length]).toEqual([1, 2]);
    vscode.input.answer = "other.module:make";
    await setReplayEntry(session, memory as unknown as Memento);
    await replay();
    expect(vscode.launched[2]?.configuration["args"]).toContain("other.module:make");
  });

  it("does nothing when no entry is given, and takes nothing that is none", async () => {
    for (const answer of [undefined, "", "train", "train:", "a b:c", "train:build; x"]) {
      vscode.input.answer = answer;
      await replay();
    }
    expect(vscode.launched).toEqual([]);
  });

  it("takes the panel's conditions along, and the new session has them", async () => {
    conditions = [{ id: 1, kind: "first non-finite", enabled: true }, { id: 2, kind: "norm exceeds", enabled: false, limit: 5 }];
    await replay();
    const { configuration } = vscode.launched[0]!;
    const given = configuration["args"] as string[];
    expect(JSON.parse(given[given.indexOf("--conditions") + 1]!)).toEqual([conditions[0]]);
    expect(new RootSession(configuration).conditions).toEqual(conditions);
    expect(new RootSession({ gradwatchConditions: "nonsense" }).version).toBe(0);
  });

  it("is refused where the workspace is not trusted, before anything is asked", async () => {
    vscode.workspace.isTrusted = false;
    await expect(replay()).rejects.toThrow(/Trust the workspace/);
    expect([vscode.input.asked, vscode.launched.length]).toEqual([0, 0]);
  });

  it("names the extension that is missing", async () => {
    vscode.extensions.all = [];
    await expect(replay()).rejects.toThrow(/ms-python\.debugpy/);
  });

  it("of a step that was not kept names those that are, or how to keep some", async () => {
    await expect(replay(5)).rejects.toThrow("Step 5 cannot be run again: it was not kept. Kept are: 0, 812.");
    rmSync(`${session}.steps`, { recursive: true });
    await expect(replay(5)).rejects.toThrow(/keep_steps=100/);
  });

  it("needs a session that is a file of this machine", async () => {
    await expect(replayStep("vscode-vfs:/run.gradwatch", 1, { memory: memory as unknown as Memento, conditions: () => [] })).rejects.toThrow(/file of this machine/);
  });

  it("knows the kept steps by their folders, in order", async () => {
    expect(await keptSteps(session)).toEqual([0, 812]);
    expect(await keptSteps(path.join(folder, "none"))).toEqual([]);
  });
});
