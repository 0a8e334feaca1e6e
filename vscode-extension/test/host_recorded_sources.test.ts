import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { candidates, isLocalPath, isSameText } from "../src/recorded_paths";
import { openRecordedSource, workspaceLines } from "../src/recorded_sources";
import { RecordedTexts } from "../src/recorded_text";
import * as vscode from "./fake_vscode";

let root: string;
let recordedTexts: RecordedTexts;

beforeEach(() => {
  vscode.resetVscode();
  root = mkdtempSync(path.join(tmpdir(), "gradwatch-"));
  vscode.workspace.workspaceFolders = [{ uri: vscode.Uri.file(path.join(root, "project")), name: "project" }];
  write("project/src/train.py", "one\ntwo\n");
  recordedTexts = new RecordedTexts();
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function write(name: string, text: string): string {
  const file = path.join(root, name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, text);
  return file;
}

const open = (file: string, recorded: string | null, focus = false): Promise<void> => openRecordedSource(recordedTexts, { file, line: 2, focus, recorded });

describe("a source line of a session", () => {
  it("opens in the workspace's file where the text is the recorded one, and keeps the focus", async () => {
    const file = path.join(root, "project/src/train.py");
    await open(file, "one\r\ntwo\r\n");
    expect(vscode.shownDocuments).toMatchObject([{ uri: { scheme: "file", path: file }, options: { preserveFocus: true, selection: { start: { line: 1 } } } }]);
    await open(file, "one\ntwo\n", true);
    expect(vscode.shownDocuments[1]).toMatchObject({ options: { preserveFocus: false } });
  });

  it("opens the same text in the workspace though it was recorded at another place", async () => {
    await open("/home/somebody/run/src/train.py", "one\ntwo\n");
    expect(vscode.shownDocuments).toMatchObject([{ uri: { path: path.join(root, "project/src/train.py") } }]);
    await open("C:\\work\\src\\train.py", "one\ntwo\n");
    expect(vscode.shownDocuments).toMatchObject([{}, { uri: { path: path.join(root, "project/src/train.py") } }]);
  });

  it("shows the recorded text, named so, where the file has changed since", async () => {
    await open(path.join(root, "project/src/train.py"), "one\nTWO\n");
    const [{ uri } = { uri: null }] = vscode.shownDocuments;
    expect([uri?.scheme, uri?.path]).toEqual(["gradwatch-recorded", `${root}/project/src/(recorded) train.py`]);
    expect(recordedTexts.provideTextDocumentContent(uri as never)).toBe("one\nTWO\n");
  });

  it("counts unsaved changes as another text", async () => {
    const file = path.join(root, "project/src/train.py");
    const { document } = vscode.fakeEditor(file, "unsaved");
    vscode.workspace.textDocuments = [{ ...document, isDirty: true }];
    await open(file, "one\ntwo\n");
    expect(vscode.shownDocuments[0]?.uri.scheme).toBe("gradwatch-recorded");
    expect(await workspaceLines(file, "unsaved")).toEqual(["unsaved"]);
  });

  it("goes by the file, not by an editor that has not heard of its change", async () => {
    const file = path.join(root, "project/src/train.py");
    vscode.workspace.textDocuments = [vscode.fakeEditor(file, "as it was\n").document];
    await open(file, "as it was\n");
    expect(vscode.shownDocuments[0]?.uri.scheme).toBe("gradwatch-recorded");
  });

  it("outside of the workspace is not touched unless the user agrees", async () => {
    const secret = write("secret.py", "password\n");
    await open(secret, null);
    expect([vscode.shownDocuments.length, vscode.warnings.length]).toEqual([0, 1]);
    expect(vscode.warnings[0]).toContain(secret);
    vscode.picks.button = "Open";
    await open(secret, null);
    expect(vscode.shownDocuments).toMatchObject([{ uri: { path: secret } }]);
    expect(await workspaceLines(secret, null)).toBeNull();
    expect(await workspaceLines(secret, "password\n")).toBeNull();
  });

  it("does not follow a link that leads out of the workspace", async () => {
    symlinkSync(write("secret.py", "password\n"), path.join(root, "project/inside.py"));
    expect(await workspaceLines(path.join(root, "project/inside.py"), "password\n")).toBeNull();
    expect(await workspaceLines(path.join(root, "project/../secret.py"), "password\n")).toBeNull();
  });

  it.each(["//host/share/train.py", "\\\\host\\share\\train.py", "\\\\?\\C:\\train.py", "http://example.org/train.py", "<ipython-input-1>", "train.py"])(
    "never looks for %s, which is no path of this machine",
    async (file) => {
      vscode.picks.button = "Open";
      await expect(open(file, null)).rejects.toThrow(/not a path on this machine/);
      expect(vscode.warnings).toEqual([]);
      await open(file, "as it was");
      expect(vscode.shownDocuments[0]?.uri.scheme).toBe("gradwatch-recorded");
    },
  );

  it("has lines of the workspace's file only where they are the recorded ones", async () => {
    const file = path.join(root, "project/src/train.py");
    expect(await workspaceLines(file, "one\ntwo\n")).toEqual(["one", "two", ""]);
    expect(await workspaceLines(file, null)).toEqual(["one", "two", ""]);
    expect(await workspaceLines(file, "other")).toBeNull();
  });
});

describe("a recorded document", () => {
  it("has a title without characters that turn or hide others", () => {
    const uri = recordedTexts.uriOf("/a/evil\u202eyp.exe\u0000.py", "text");
    expect(uri.path).toBe("/a/(recorded) evil?yp.exe?.py");
  });

  it("of an earlier window says where to get it again", () => {
    expect(recordedTexts.provideTextDocumentContent(vscode.Uri.parse("gradwatch-recorded:/train.py?00") as never)).toMatch(/Open the line/);
  });
});

describe("paths of a stranger", () => {
  it("are local only with a drive or a root, on either system", () => {
    expect(["/a/b.py", "C:\\a.py"].map((file) => isLocalPath(file, path.posix))).toEqual([true, false]);
    expect(["/a/b.py", "C:\\a.py", "c:/a.py", "C:\\a.py:stream", "\\\\host\\a"].map((file) => isLocalPath(file, path.win32))).toEqual([false, true, true, false, false]);
    expect(isLocalPath("/a\u0000b", path.posix)).toBe(false);
  });

  it("with steps upwards lead nowhere else", () => {
    expect(candidates("/code/../etc/passwd", ["/code"], path.posix)).toEqual([]);
    expect(candidates("/code/a/../b.py", ["/code"], path.posix)).toEqual(["/code/b.py"]);
    expect(candidates("/coded/b.py", ["/code"], path.posix)).toEqual(["/code/coded/b.py", "/code/b.py"]);
  });

  it("of any length cost a few looks", () => {
    expect(candidates("/x".repeat(5000), ["/code"], path.posix)).toHaveLength(8);
  });

  it("have the same text whatever ends its lines", () => {
    expect([isSameText("\ufeffa\r\nb", "a\nb"), isSameText("a\nb", "a\nb\n")]).toEqual([true, false]);
  });
});
