import { describe, expect, test, vi } from "vitest";
import { KernelFiles } from "../webview/notebook/kernel_files";
import { isFromKernel, type ToKernel, type WidgetFile } from "../webview/notebook/messages";
import { PAGE, PagedBytes } from "../webview/notebook/paged_bytes";

const bytesFrom = (from: number, length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => (from + i) & 0xff);

describe("bytes that come in pieces", () => {
  test("are read across pages once all of them are there", () => {
    const bytes = new PagedBytes(8 * PAGE);
    bytes.write(PAGE - 2, bytesFrom(PAGE - 2, 4));
    expect(bytes.read(PAGE - 2, 4)).toEqual(bytesFrom(PAGE - 2, 4));
    expect(bytes.read(PAGE - 3, 2)).toBeNull();
    expect(bytes.read(5, 0)).toEqual(new Uint8Array());
  });

  test("what is missing is named in whole pages", () => {
    const bytes = new PagedBytes(8 * PAGE);
    bytes.write(0, bytesFrom(0, PAGE));
    expect(bytes.missing(10, PAGE - 10)).toBeNull();
    expect(bytes.missing(10, 3 * PAGE)).toEqual({ offset: PAGE, length: 3 * PAGE });
  });

  test("a piece apart from what its page knows takes its place and is never joined to it", () => {
    const bytes = new PagedBytes(8 * PAGE);
    bytes.write(0, bytesFrom(0, 10));
    bytes.write(100, bytesFrom(100, 10));
    expect(bytes.read(100, 10)).toEqual(bytesFrom(100, 10));
    expect(bytes.read(0, 10)).toBeNull();
    expect(bytes.read(0, 110)).toBeNull();
  });

  test("what follows or overlaps is joined", () => {
    const bytes = new PagedBytes(8 * PAGE);
    bytes.write(10, bytesFrom(10, 10));
    bytes.write(20, bytesFrom(20, 10));
    bytes.write(5, bytesFrom(5, 8));
    expect(bytes.read(5, 25)).toEqual(bytesFrom(5, 25));
  });

  test("are bounded: the page that was not used for longest goes", () => {
    const bytes = new PagedBytes(3 * PAGE);
    for (const page of [0, 1, 2]) bytes.write(page * PAGE, bytesFrom(0, PAGE));
    bytes.read(0, 1);
    bytes.write(3 * PAGE, bytesFrom(0, PAGE));
    expect(bytes.kept).toBe(3 * PAGE);
    expect(bytes.read(0, 1)).not.toBeNull();
    expect(bytes.read(PAGE, 1)).toBeNull();
  });
});

const FILES: readonly WidgetFile[] = [
  { name: "run.gradwatch", place: "/runs/run.gradwatch", other: false },
  { name: "other.gradwatch", place: "/runs/other.gradwatch", other: true },
];

function kernelFiles(): { files: KernelFiles; asked: ToKernel[]; push: (offset: number, bytes: Uint8Array, size?: number, file?: number) => boolean } {
  const asked: ToKernel[] = [];
  const files = new KernelFiles(FILES, (message) => asked.push(message), () => undefined);
  return { files, asked, push: (offset, bytes, size = -1, file = 0) => files.take({ type: "bytes", file, offset, size }, bytes) };
}

describe("files whose bytes are in the kernel", () => {
  test("pushed bytes are read without asking", async () => {
    const { files, asked, push } = kernelFiles();
    expect(push(0, bytesFrom(0, 100), 100)).toBe(true);
    const [{ source }] = files.sources(false) as [ReturnType<typeof files.sources>[0]];
    expect(await source.size()).toBe(100);
    expect(await source.read(90, 50)).toEqual(bytesFrom(90, 10));
    expect(asked).toEqual([]);
  });

  test("the size is awaited until the kernel has told one", async () => {
    const { files, push } = kernelFiles();
    const size = files.sources(false)[0]!.source.size();
    expect(files.waits).toBe(true);
    expect(push(0, bytesFrom(0, 10), -1)).toBe(false);
    push(10, bytesFrom(10, 10), 20);
    expect(await size).toBe(20);
    expect(files.waits).toBe(false);
  });

  test("what is missing is asked for once, in messages of at most 4 MiB, and answers in any order serve", async () => {
    const { files, asked, push } = kernelFiles();
    push(0, bytesFrom(0, 1), 6 << 20);
    const read = files.sources(false)[0]!.source.read(0, 6 << 20);
    await vi.waitFor(() => expect(asked).toEqual([{ type: "read", file: 0, offset: 0, length: 4 << 20 }]));
    push(0, bytesFrom(0, 4 << 20));
    expect(asked.slice(1)).toEqual([{ type: "read", file: 0, offset: 4 << 20, length: 2 << 20 }]);
    push(4 << 20, bytesFrom(4 << 20, 2 << 20));
    const bytes = await read;
    expect(bytes.length).toBe(6 << 20);
    expect([bytes[1], bytes[(5 << 20) + 7]]).toEqual([1, 7]);
    expect(asked).toHaveLength(2);
  });

  test("bytes that are pushed after all serve who asked the kernel for them", async () => {
    const { files, asked, push } = kernelFiles();
    push(50, bytesFrom(50, 50), 100);
    const read = files.sources(false)[0]!.source.read(0, 100);
    await vi.waitFor(() => expect(asked).toHaveLength(1));
    push(0, bytesFrom(0, 100));
    expect(await read).toEqual(bytesFrom(0, 100));
    expect(asked).toHaveLength(1);
  });

  test("a refusal is the error of whoever waits, with the kernel's reason", async () => {
    const { files, asked, push } = kernelFiles();
    push(0, new Uint8Array(), 100);
    const read = files.sources(false)[0]!.source.read(0, 10);
    await vi.waitFor(() => expect(asked).toHaveLength(1));
    files.fail({ type: "failed", file: 0, offset: 0, reason: "run.gradwatch is not there any more." });
    await expect(read).rejects.toThrow("run.gradwatch is not there any more.");
    expect(files.waits).toBe(false);
  });

  test("a kernel that did not hear is asked again", async () => {
    const { files, asked, push } = kernelFiles();
    push(0, new Uint8Array(), 100);
    void files.sources(false)[0]!.source.read(0, 10);
    await vi.waitFor(() => expect(asked).toHaveLength(1));
    files.askAgain();
    expect(asked).toHaveLength(2);
    expect(asked[1]).toEqual(asked[0]);
  });

  test("sessions to compare with are kept apart", () => {
    const { files } = kernelFiles();
    expect(files.sources(false).map(({ name }) => name)).toEqual(["run.gradwatch"]);
    expect(files.sources(true).map(({ place }) => place)).toEqual(["/runs/other.gradwatch"]);
    expect(files.sizes).toEqual([-1, -1]);
  });

  test("a message about a file that there is not changes nothing", () => {
    const { files, push } = kernelFiles();
    expect(push(0, bytesFrom(0, 10), 10, 7)).toBe(false);
    files.fail({ type: "failed", file: 7, offset: 0, reason: "" });
    expect(files.sizes).toEqual([-1, -1]);
  });

  test("what is no message is none", () => {
    expect([null, 3, "bytes", {}, { type: 4 }].some(isFromKernel)).toBe(false);
    expect(isFromKernel({ type: "notice", text: "" })).toBe(true);
  });
});
