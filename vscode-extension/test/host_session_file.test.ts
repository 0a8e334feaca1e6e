import { appendFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, truncateSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Uri } from "vscode";
import { closeFiles, namesIn, openFiles, runsIn, uriOfRun } from "../src/session_files";
import { SessionFile } from "../src/session_file";
import { SessionTail } from "../src/session_tail";
import * as vscode from "./fake_vscode";
import { held } from "./host_world";

let folder: string;
const open: SessionFile[] = [];

beforeEach(() => {
  vscode.resetVscode();
  folder = mkdtempSync(path.join(tmpdir(), "gradwatch-"));
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((file) => file.close()));
  rmSync(folder, { recursive: true, force: true });
});

function write(name: string, bytes: string | Uint8Array = "0123456789"): string {
  const file = path.join(folder, name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, bytes);
  return file;
}

async function opened(name = "run.gradwatch"): Promise<SessionFile> {
  const file = await SessionFile.open(write(name));
  open.push(file);
  return file;
}

const uriOf = (file: string): Uri => vscode.Uri.file(file) as unknown as Uri;
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

describe("a session file", () => {
  it("is read at any offset, and gives fewer bytes where it ends", async () => {
    const file = await opened();
    expect(text(await file.read(2, 3))).toBe("234");
    expect(text(await file.read(8, 100))).toBe("89");
    expect((await file.read(50, 10)).length).toBe(0);
  });

  it("takes no more memory than there are bytes, whatever is asked for", async () => {
    const file = await opened();
    expect((await file.read(0, Number.MAX_SAFE_INTEGER)).buffer.byteLength).toBe(10);
  });

  it("shows what was appended since", async () => {
    const file = await opened();
    appendFileSync(file.path, "abc");
    expect([await file.size(), text(await file.read(9, 10))]).toEqual([13, "9abc"]);
  });

  it("stays readable when it is removed, and says that it was", async () => {
    const file = await opened();
    rmSync(file.path);
    expect(text(await file.read(0, 2))).toBe("01");
    expect(await file.fate(10)).toBe("removed");
  });

  it("tells a new file in its place, and one that was cut short, from one that grew", async () => {
    const file = await opened();
    appendFileSync(file.path, "abc");
    expect(await file.fate(10)).toBe("there");
    truncateSync(file.path, 4);
    expect(await file.fate(10)).toBe("replaced");
    renameSync(write("other"), file.path);
    expect(await file.fate(4)).toBe("replaced");
  });

  it("that is not there, or is no file, is refused in words", async () => {
    await expect(SessionFile.open(path.join(folder, "none.gradwatch"))).rejects.toThrow(/none\.gradwatch is not there/);
    await expect(SessionFile.open(folder)).rejects.toThrow(/is not a file/);
  });

  it("that was closed says so, and closes once", async () => {
    const file = await opened();
    await Promise.all([file.close(), file.close()]);
    await expect(file.read(0, 1)).rejects.toThrow(/was closed/);
  });
});

describe("what an address opens", () => {
  it("a folder is the ranks of its newest run, in rank order", async () => {
    for (const name of ["old.rank0.gradwatch", "run.rank10.gradwatch", "run.rank2.gradwatch", "notes.txt"]) write(name);
    const late = new Date(Date.now() + 5000);
    for (const rank of [2, 10]) utimesSync(path.join(folder, `run.rank${rank}.gradwatch`), late, late);
    const files = await openFiles(uriOf(folder));
    expect([files.name, files.folder, files.sources.map(({ name }) => name)]).toEqual(["run", folder, ["run.rank2.gradwatch", "run.rank10.gradwatch"]]);
    await closeFiles(files);
    expect((await runsIn(folder)).map(({ stem }) => stem)).toEqual(["run", "old"]);
    expect(await namesIn(uriOfRun(uriOf(folder), "old"))).toEqual(["old.rank0.gradwatch"]);
  });

  it("files that name no rank are one session too", async () => {
    for (const name of ["a.gradwatch", "b.gradwatch"]) write(name);
    const files = await openFiles(uriOf(folder));
    expect([files.name, files.sources.length]).toEqual([path.basename(folder), 2]);
    await closeFiles(files);
  });

  it("a folder without sessions says what makes some", async () => {
    await expect(openFiles(uriOf(folder))).rejects.toThrow(/holds no \.gradwatch file.*gradwatch run/);
  });

  it("a virtual file is read whole, up to a limit that is named", async () => {
    const uri = vscode.Uri.parse("vscode-vfs:/repo/run.gradwatch") as unknown as Uri;
    await expect(openFiles(uri)).rejects.toThrow(/is not there/);
    vscode.virtualFiles.set("/repo/run.gradwatch", { size: 3, bytes: Uint8Array.of(1, 2, 3) });
    const { sources, files } = await openFiles(uri);
    expect([await sources[0]!.source.size(), [...(await sources[0]!.source.read(1, 9))], files.length]).toEqual([3, [2, 3], 0]);
    vscode.virtualFiles.set("/repo/run.gradwatch", { size: 257 << 20, bytes: Uint8Array.of() });
    await expect(openFiles(uri)).rejects.toThrow(/257 MiB.*up to 256 MiB/);
  });
});

describe("the watch on a file that grows", () => {
  const told = { grown: 0, replaced: 0, removed: [] as string[] };
  let reading: Promise<void> = Promise.resolve();
  let growing = true;
  let tail: SessionTail;

  async function watch(): Promise<SessionFile> {
    Object.assign(told, { grown: 0, replaced: 0, removed: [] });
    growing = true;
    reading = Promise.resolve();
    const file = await opened();
    tail = new SessionTail([file], [10], {
      get growing() {
        return growing;
      },
      grown: () => {
        told.grown += 1;
        return reading;
      },
      replaced: () => void told.replaced++,
      removed: (gone) => void told.removed.push(gone),
    });
    return file;
  }
  afterEach(() => tail.stop());
  const until = (is: () => boolean): Promise<void> => vi.waitFor(() => expect(is()).toBe(true), { timeout: 5000, interval: 20 });

  it("tells of what was appended, also before it began, and not of what was known", async () => {
    const file = await watch();
    tail.start();
    appendFileSync(file.path, "a");
    await until(() => told.grown === 1);
    tail.stop();
    appendFileSync(file.path, "b");
    tail.start();
    await until(() => told.grown === 2);
  });

  it("tells later of what came while the last was read, though it was stopped in between", async () => {
    const file = await watch();
    const { promise, resolve } = held<void>();
    reading = promise;
    tail.start();
    appendFileSync(file.path, "a");
    await until(() => told.grown === 1);
    appendFileSync(file.path, "b");
    await new Promise((done) => setTimeout(done, 250));
    tail.stop();
    expect(told.grown).toBe(1);
    resolve();
    tail.start();
    await until(() => told.grown === 2);
  });

  it("tells at most ten times a second, and of the last write for sure", async () => {
    const file = await watch();
    tail.start();
    const began = performance.now();
    let written = 0;
    for (; performance.now() < began + 550; written++) {
      appendFileSync(file.path, "x");
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    const last = told.grown;
    await until(() => told.grown > 1 && told.grown >= last);
    expect(told.grown).toBeLessThanOrEqual(Math.ceil((performance.now() - began) / 100) + 1);
    expect(written).toBeGreaterThan(told.grown);
  });

  it("is silent once it is stopped, or all is read", async () => {
    const file = await watch();
    growing = false;
    tail.start();
    tail.stop();
    appendFileSync(file.path, "abc");
    await new Promise((resolve) => setTimeout(resolve, 350));
    expect(told.grown).toBe(0);
  });

  it("tells of a file that was replaced, also a finished one", async () => {
    const file = await watch();
    growing = false;
    tail.start();
    renameSync(write("new"), file.path);
    await until(() => told.replaced > 0);
  });

  it("tells once of a file that was removed, and again when it was there between", async () => {
    const file = await watch();
    tail.start();
    rmSync(file.path);
    await until(() => told.removed.length === 1);
    expect(told.removed).toEqual([file.path]);
  });
});
