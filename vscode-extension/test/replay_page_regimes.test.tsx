// @vitest-environment jsdom
/** The page over a scaled, distributed program: header, marks, table and the map of ranks. */

import { act } from "preact/test-utils";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { SessionSource } from "../shared/replay";
import { mountReplay } from "../webview/replay/mount";
import { memoryStore } from "../webview/stored";
import { MemoryFile } from "./recorded_files";
import { fakeReplay, goldenSource, memorySource } from "./replay_fake";
import { finish, parameters, sessionBytes, stepRecords } from "./session_builder";

let dispose: () => void = () => undefined;

afterEach(() => {
  act(() => dispose());
  document.body.replaceChildren();
});

function root(): HTMLElement {
  return document.body.firstElementChild as HTMLElement;
}

async function opened(files: readonly SessionSource[]): Promise<void> {
  const replay = await fakeReplay(files);
  document.body.append(document.createElement("div"));
  act(() => {
    dispose = mountReplay(root(), { post: replay.post, listen: (listener) => replay.listen((message) => act(() => listener(message))), store: memoryStore() });
  });
  await vi.waitFor(() => expect(root().querySelector(".gradients [role=treeitem]")).not.toBeNull(), { timeout: 5000 });
}

function press(key: string): void {
  act(() => void root().querySelector(".rp-timeline")!.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true })));
}

function button(words: string): HTMLElement {
  return [...root().querySelectorAll<HTMLElement>("button")].find((one) => one.textContent!.trim() === words)!;
}

function rank(number: number, own: number): SessionSource {
  const step = stepRecords(0, { 0: 3, 1: 4 }, { local: { 0: own, 1: 2 } });
  return memorySource(`rank${number}`, new MemoryFile(sessionBytes([[parameters("a", "b")], step, [finish(1)]], { rank: number, world_size: 3 })));
}

describe("the page of a scaled program", () => {
  it("says the loss scale in the header, and the norm without and with it beside the timeline", async () => {
    await opened([goldenSource("regimes")]);
    press("Home");
    await vi.waitFor(() => expect(root().querySelector(".rp-hd")!.textContent).toContain("65,536"));
    expect(root().querySelector(".rp-skipped")).toBeNull();
    expect(root().querySelector(".rp-values")!.textContent).toContain("1.08e1scaled 7.06e5");
    expect(root().querySelector(".rp-curves")!.textContent).toContain("log, unscaled");
  });

  it("goes to a skipped update as to any mark, and says so in the header, to a screen reader and in the table", async () => {
    await opened([goldenSource("regimes")]);
    press("Home");
    act(() => root().querySelector<HTMLElement>('[aria-label="1 step whose update was skipped"]')!.click());
    expect(root().querySelector(".rp-timeline")!.getAttribute("aria-valuetext")).toBe("step 1, NaN, update skipped");
    expect(root().querySelector(".rp-skipped")!.getAttribute("title")).toBe("update skipped: inf or NaN in the scaled gradients");
    act(() => button("Show as table").click());
    const rows = [...root().querySelectorAll('[role="option"]')].map((row) => row.getAttribute("aria-label")!);
    expect(rows[1]).toContain("loss scale 65,536");
    expect(rows[1]).toContain("update skipped: inf or NaN in the scaled gradients");
    expect(rows[2]).toContain("loss scale 32,768");
    expect(rows[2]).not.toContain("skipped");
  });

  it("draws the mark of the skip where NaN and Inf begin in the same step", async () => {
    await opened([goldenSource("regimes")]);
    const titles = [...root().querySelectorAll(".rp-curves g > title")].map((title) => title.textContent);
    expect(titles).toEqual(["update skipped: inf or NaN in the scaled gradients"]);
  });
});

describe("the map of ranks", () => {
  it("changes to local gradients, where ranks part though the reduced ones agree", async () => {
    await opened([rank(0, 1), rank(1, 1), rank(2, 7)]);
    act(() => button("Ranks").click());
    await vi.waitFor(() => expect(root().querySelector(".rp-ranks .limits")).not.toBeNull());
    const said = (): string => root().querySelector(".rp-ranks .limits")!.textContent!;
    expect(said()).toContain("No rank parts from the others at this step.Before reduction rank 2 parts");
    act(() => root().querySelector<HTMLElement>(".rp-ranks .grad-switch button:last-child")!.click());
    await vi.waitFor(() => expect(said()).toContain("Rank 2 parts from the others in 1 of 2 parameters, most in a: 7.00e0 where they have 1.00e0."));
    expect(root().querySelector(".rp-ranks .grad-switch [aria-pressed=true]")!.textContent).toBe("local");
  });
});
