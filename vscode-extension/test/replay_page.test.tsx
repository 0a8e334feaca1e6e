// @vitest-environment jsdom
import { act } from "preact/test-utils";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { FromReplay, ReplayMethod, ReplayOffers, ReplayRequestMessage, ToReplay } from "../shared/replay";
import { SUPERSEDED } from "../shared/replay_latest";
import type { ReplayHost } from "../webview/replay/host";
import { mountReplay } from "../webview/replay/mount";
import { memoryStore, type Store } from "../webview/stored";
import { fakeReplay, goldenSource } from "./replay_fake";
import { overviewOf, snapshotAt } from "./replay_page_overviews";

const OFFERS: ReplayOffers = { openSource: true, chooseOther: true, replayStep: true, bindsKeys: false };

/** A host that keeps what is posted and says what a test has it say. */
class FakeHost implements ReplayHost {
  readonly posted: FromReplay[] = [];
  readonly #answered = new Set<number>();
  readonly store: Store;
  #listener: (message: ToReplay) => void = () => undefined;

  constructor(store: Store = memoryStore()) {
    this.store = store;
  }

  post(message: FromReplay): void {
    this.posted.push(message);
  }

  listen(listener: (message: ToReplay) => void): () => void {
    this.#listener = listener;
    return () => (this.#listener = () => undefined);
  }

  say(...messages: ToReplay[]): void {
    for (const message of messages) act(() => this.#listener(message));
  }

  asked<M extends ReplayMethod>(method: M): Extract<ReplayRequestMessage, { method: M }>[] {
    return this.posted.filter((message): message is Extract<ReplayRequestMessage, { method: M }> => message.type === "request" && message.method === method);
  }

  async answer(request: { id: number } | undefined, value: unknown): Promise<void> {
    this.#answered.add(request!.id);
    await act(async () => {
      this.#listener({ type: "response", id: request!.id, ok: true, value });
      await new Promise((resolve) => setTimeout(resolve));
    });
  }

  /** Answers every step that was asked for, and those that are asked for then. */
  async showAll(): Promise<void> {
    for (let waiting = this.#unanswered(); waiting.length > 0; waiting = this.#unanswered()) {
      for (const request of waiting) await this.answer(request, snapshotAt(request.params.at.kind === "step" ? request.params.at.step : 0));
    }
  }

  #unanswered(): Extract<ReplayRequestMessage, { method: "snapshot" }>[] {
    return this.asked("snapshot").filter(({ id }) => !this.#answered.has(id));
  }

  async refuse(request: { id: number } | undefined, error: string): Promise<void> {
    await act(async () => {
      this.#listener({ type: "response", id: request!.id, ok: false, error });
      await new Promise((resolve) => setTimeout(resolve));
    });
  }
}

let unmount = (): void => undefined;
const root = (): HTMLElement => document.querySelector<HTMLElement>("#root")!;

function mounted(host: ReplayHost): void {
  document.body.innerHTML = `<div id="root"></div>`;
  act(() => void (unmount = mountReplay(root(), host)));
}

/** A page at the last of twenty steps, with its values. */
async function openPage(wanted: Parameters<typeof overviewOf>[1] = {}, offers: Partial<ReplayOffers> = {}, store?: Store): Promise<FakeHost> {
  const host = new FakeHost(store);
  mounted(host);
  host.say({ type: "opened", overview: overviewOf(20, wanted), offers: { ...OFFERS, ...offers } });
  await host.answer(host.asked("snapshot")[0], snapshotAt(19));
  return host;
}

const text = (): string => root().textContent ?? "";
const slider = (): HTMLElement => root().querySelector<HTMLElement>("[role=slider]")!;
const title = (): string => root().querySelector("h2")!.textContent!;
const press = (element: Element, key: string): void => {
  act(() => void element.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true })));
};
const click = (element: Element | null | undefined): void => {
  act(() => (element as HTMLElement).click());
};
const button = (name: string): HTMLButtonElement | undefined => [...root().querySelectorAll("button")].find((one) => (one.getAttribute("aria-label") ?? one.textContent) === name);

afterEach(() => {
  act(() => unmount());
  vi.useRealTimers();
});

describe("a page before it has a session", () => {
  it("asks for it, and says how far it was read", () => {
    const host = new FakeHost();
    mounted(host);
    expect(host.posted[0]).toEqual({ type: "ready" });
    host.say({ type: "loading", name: "run.gradwatch", share: 0.4 });
    expect(root().querySelector("[role=progressbar]")!.getAttribute("aria-valuenow")).toBe("40");
    expect(text()).toContain("Opening run.gradwatch");
  });

  it("says why it cannot be opened, and opens it when it can", () => {
    const host = new FakeHost();
    mounted(host);
    host.say({ type: "failed", title: "run.gradwatch cannot be opened", reason: "It was written by version 9." });
    expect(root().querySelector("[role=alert]")!.textContent).toContain("It was written by version 9.");
    host.say({ type: "opened", overview: overviewOf(20, {}), offers: OFFERS });
    expect(title()).toBe("Replay step 19 of 20");
  });

  it("waits for the first step of a recording that runs", () => {
    const host = new FakeHost();
    mounted(host);
    host.say({ type: "opened", overview: overviewOf(0, { finished: false }), offers: OFFERS });
    expect(text()).toContain("Recording, no step has ended");
    const { timeline, facts } = overviewOf(1, { finished: false });
    host.say({ type: "grown", from: 0, timeline, facts });
    expect(host.asked("snapshot")[0]?.params).toEqual({ at: { kind: "step", rank: 0, step: 0 } });
  });
});

describe("the playhead", () => {
  it("is a slider that says its step and what is wrong with it", async () => {
    await openPage({ marks: [{ kind: "nonfinite", step: 12, stop: -1, text: "NaN in 3" }], nonfinite: [12] });
    expect([slider().getAttribute("aria-valuemin"), slider().getAttribute("aria-valuemax"), slider().getAttribute("aria-valuenow")]).toEqual(["0", "19", "12"]);
    expect(slider().getAttribute("aria-valuetext")).toBe("step 12, NaN");
  });

  it("moves with the keys, and the values follow", async () => {
    const host = await openPage();
    await host.answer(host.asked("recentNorms")[0], { steps: Float64Array.of(19), parameters: Uint32Array.of(1), norms: Float32Array.of(1) });
    const keys = ["ArrowLeft", "PageUp", "PageDown", "Home"].map((key) => (press(slider(), key), title()));
    expect(keys).toEqual(["Replay step 18 of 20", "Replay step 0 of 20", "Replay step 19 of 20", "Replay step 0 of 20"]);
    await host.showAll();
    expect(host.asked("recentNorms").at(-1)?.params).toMatchObject({ step: 0, rank: 0 });
  });

  it("asks for one step at a time, and of those that were passed for the newest alone", async () => {
    const host = await openPage();
    const before = host.asked("snapshot").length;
    for (const key of ["ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowLeft"]) press(slider(), key);
    expect(host.asked("snapshot").slice(before).map(({ params }) => params.at)).toEqual([{ kind: "step", rank: 0, step: 18 }]);
    await host.answer(host.asked("snapshot").at(-1), snapshotAt(18));
    const steps = host.asked("snapshot").slice(before).map(({ params }) => (params.at.kind === "step" ? params.at.step : -1));
    expect(steps).toEqual([18, 15]);
  });

  it("comes back to a step that it knows without a question", async () => {
    const host = await openPage();
    press(slider(), "ArrowLeft");
    await host.answer(host.asked("snapshot")[1], snapshotAt(18));
    const asked = host.asked("snapshot").length;
    press(slider(), "ArrowRight");
    expect(host.asked("snapshot").filter(({ params }) => params.at.kind === "step" && params.at.step === 19).length).toBe(1);
    expect(host.asked("snapshot").length).toBeLessThanOrEqual(asked + 1);
  });

  it("asks again for a step that was passed over by the host", async () => {
    const host = await openPage();
    press(slider(), "ArrowLeft");
    await host.refuse(host.asked("snapshot").at(-1), SUPERSEDED);
    expect(host.asked("snapshot").at(-1)?.params).toEqual({ at: { kind: "step", rank: 0, step: 18 } });
    expect(root().querySelector(".rp-unread")).toBeNull();
  });

  it("says why a step cannot be read, keeps the values of before, and reads it again", async () => {
    const host = await openPage();
    press(slider(), "ArrowLeft");
    await host.refuse(host.asked("snapshot").at(-1), "Chunk 7 does not unpack.");
    expect(root().querySelector(".rp-unread")!.textContent).toContain("Chunk 7 does not unpack.");
    expect(root().querySelector(".gradients")).not.toBeNull();
    const asked = host.asked("snapshot").length;
    click(button("Read again"));
    expect(host.asked("snapshot").length).toBe(asked + 1);
  });

  it("is where it was when the page is opened again", async () => {
    const store = memoryStore();
    await openPage({}, {}, store);
    press(slider(), "Home");
    act(() => unmount());
    const host = new FakeHost(store);
    mounted(host);
    host.say({ type: "opened", overview: overviewOf(20, {}), offers: OFFERS });
    expect(title()).toBe("Replay step 0 of 20");
  });

  it("goes where the host sends it, to another rank too", async () => {
    const host = await openPage();
    host.say({ type: "go", at: { kind: "step", rank: 0, step: 4 } });
    expect(title()).toBe("Replay step 4 of 20");
    await host.answer(host.asked("snapshot").at(-1), snapshotAt(4));
    host.say({ type: "go", at: { kind: "step", rank: 1, step: 7 } });
    await host.answer(host.asked("overview")[0], overviewOf(20, { rank: 1 }));
    expect(host.asked("snapshot").at(-1)?.params.at).toEqual({ kind: "step", rank: 1, step: 7 });
  });
});

describe("the timeline", () => {
  it("lays no label of an axis over another, however narrow its range", () => {
    const host = new FakeHost();
    mounted(host);
    const { facts, timeline } = overviewOf(20, {});
    host.say({ type: "opened", overview: { facts, timeline: { ...timeline, loss: timeline.steps.map((step) => 1.36 + step * 0.0042) } }, offers: OFFERS });
    const places = [...root().querySelectorAll(".rp-curves g > g > text[text-anchor=end]")].map((label) => Number(label.getAttribute("y"))).sort((a, b) => a - b);
    expect(places.length).toBeGreaterThanOrEqual(3);
    expect(Math.min(...places.slice(1).map((place, at) => place - places[at]!))).toBeGreaterThanOrEqual(9);
  });
});

describe("a recorded stop", () => {
  it("is a moment of its own, named by its number and place", async () => {
    const host = await openPage({ marks: [{ kind: "stop", step: 6, stop: 3, text: "stopped" }] });
    press(root().querySelector(".rp-hd")!, ",");
    expect(host.asked("snapshot").at(-1)?.params.at).toEqual({ kind: "stop", rank: 0, stop: 3 });
    expect([title(), slider().getAttribute("aria-valuetext")]).toEqual(["Stop 3", "step 6, stop 3"]);
    const snapshot = snapshotAt(6);
    await host.answer(host.asked("snapshot").at(-1), { ...snapshot, stop: { ...snapshot.stop, number: 3, file: "/home/me/model.py", line: 51 } });
    expect(title()).toBe("Stop 3 at model.py:51");
  });
});

describe("playing", () => {
  it("moves by the time that has passed, and ends at the last step", async () => {
    const host = await openPage();
    vi.useFakeTimers();
    press(slider(), "Home");
    click(button("Play"));
    act(() => void vi.advanceTimersByTime(520));
    expect(title()).toBe("Replay step 5 of 20");
    act(() => void vi.advanceTimersByTime(5000));
    expect([title(), button("Play") !== undefined]).toEqual(["Replay step 19 of 20", true]);
    expect(host.asked("snapshot").length).toBeLessThan(8);
  });
});

describe("a recording that grows", () => {
  it("is followed until the playhead is moved back", async () => {
    const host = await openPage({ finished: false });
    const more = overviewOf(2, { finished: false }, 20);
    host.say({ type: "grown", from: 20, timeline: more.timeline, facts: more.facts });
    expect([title(), button("Follow")!.getAttribute("aria-pressed")]).toEqual(["Live, step 21", "true"]);
    press(slider(), "ArrowLeft");
    expect(button("Follow")!.getAttribute("aria-pressed")).toBe("false");
  });

  it("is a replay once it has ended, with nothing to follow", async () => {
    const host = await openPage({ finished: false });
    const more = overviewOf(2, { finished: true }, 20);
    host.say({ type: "grown", from: 20, timeline: more.timeline, facts: more.facts });
    expect([title(), button("Follow")]).toEqual(["Replay step 21 of 22", undefined]);
  });

  it("shows a history though the next step ends before it is read, and keeps it until the next is", async () => {
    const host = await openPage({ finished: false });
    const grow = async (step: number): Promise<void> => {
      const more = overviewOf(1, { finished: false }, step);
      host.say({ type: "grown", from: step, timeline: more.timeline, facts: more.facts });
      await host.showAll();
    };
    await grow(20);
    await grow(21);
    await host.answer(host.asked("recentNorms")[0], RECENT);
    expect(root().querySelector(".head-spark")!.textContent).toBe("3 steps");
    await grow(22);
    // Overtaken: the next one is asked for. Passed over by the host: it is asked for again.
    await host.refuse(host.asked("recentNorms").at(-1), SUPERSEDED);
    await host.refuse(host.asked("recentNorms").at(-1), SUPERSEDED);
    expect(host.asked("recentNorms").slice(-2).map(({ params }) => params.step)).toEqual([22, 22]);
    expect(root().querySelector(".head-spark")!.textContent).toBe("3 steps");
  });
});

const RECENT = { steps: Float64Array.of(17, 18, 19), parameters: Uint32Array.of(1), norms: Float32Array.of(1, 2, 3) };

describe("a recorded step", () => {
  it("has no words of a stop while its history is read", async () => {
    const host = new FakeHost();
    mounted(host);
    host.say({ type: "opened", overview: overviewOf(20, {}), offers: OFFERS });
    const snapshot = snapshotAt(19);
    const changes = { parameters: Uint32Array.of(1), changed: Uint8Array.of(1), previous_norm: Float32Array.of(0.25) };
    await host.answer(host.asked("snapshot")[0], { ...snapshot, changes });
    expect([root().querySelector(".gradients") !== null, /previous stop/.test(root().innerHTML), root().querySelector(".head-ratio")]).toEqual([true, false, null]);
  });

  it("offers nothing that only a running program can do", async () => {
    await openPage();
    const parameter = [...root().querySelectorAll(".gradients [role=treeitem]")].find((row) => row.classList.contains("is-parameter"));
    click(parameter);
    expect(root().querySelector(".grad-dock")).not.toBeNull();
    expect([...root().querySelectorAll("button")].map((one) => one.textContent).filter((words) => /break|next node/i.test(words ?? ""))).toEqual([]);
    expect(root().querySelector(".hm-grid, .hm")).toBeNull();
  });

  it("shows a chosen parameter over all steps", async () => {
    const host = await openPage();
    click([...root().querySelectorAll(".gradients [role=treeitem]")].find((row) => row.classList.contains("is-parameter")));
    await act(async () => new Promise((resolve) => setTimeout(resolve, 5)));
    expect(host.asked("curve")[0]?.params).toEqual({ rank: 0, subject: { kind: "parameter", id: 1 }, statistic: "l2" });
    const steps = Float64Array.from({ length: 20 }, (_, at) => at);
    await host.answer(host.asked("curve")[0], { steps, values: steps.map((step) => 10 ** -step), nonfinite: new Float64Array(20) });
    expect(root().querySelector(".rp-curve")!.getAttribute("aria-label")).toContain("norm of weight over steps, from 0 to 19");
  });
});

describe("comparing", () => {
  it("asks for the other session, lays its curves over, and leads to the first parting", async () => {
    const host = await openPage();
    const picker = root().querySelector<HTMLSelectElement>(".rp-compare select")!;
    await act(async () => {
      picker.value = "session";
      picker.dispatchEvent(new Event("change", { bubbles: true }));
      await Promise.resolve();
    });
    await host.answer(host.asked("chooseOther")[0], { id: "2", overview: overviewOf(20, { loss: 1 }) });
    expect(host.asked("compare")[0]?.params).toEqual({ a: { session: "", rank: 0, step: null }, b: { session: "2", rank: 0, step: null }, tolerance: null });
    expect(root().querySelectorAll(".rp-other").length).toBe(3);
    await host.answer(host.asked("compare")[0], COMPARISON);
    click([...root().querySelectorAll("button")].find((one) => one.textContent === "step 3, layers.0"));
    expect(title()).toBe("Replay step 3 of 20");
    expect(text()).toContain("Compared with run");
  });

  it("by the command does what the picker does for another session, and then shows and hides the sheet", async () => {
    const host = await openPage();
    host.say({ type: "command", name: "compare" });
    await host.answer(host.asked("chooseOther")[0], { id: "2", overview: overviewOf(20, { loss: 1 }) });
    expect([host.asked("compare").length, text().includes("Compared with run")]).toEqual([1, true]);
    host.say({ type: "command", name: "compare" });
    expect([host.asked("chooseOther").length, root().querySelector(".rp-sheet")]).toEqual([1, null]);
  });

  it("by the command begins with a step where no other session can be chosen", async () => {
    const host = await openPage({}, { chooseOther: false });
    host.say({ type: "command", name: "compare" });
    await act(async () => new Promise((resolve) => setTimeout(resolve)));
    expect([host.asked("chooseOther").length, root().querySelectorAll(".rp-step-field").length]).toEqual([0, 2]);
  });

  it("draws nothing of a longer run beyond the shown one, and says what only that has", async () => {
    const host = await openPage();
    host.say({ type: "command", name: "compare" });
    await host.answer(host.asked("chooseOther")[0], { id: "2", overview: overviewOf(60, { loss: 1 }) });
    const only_b = { ...COMPARISON.only_b, steps: Array.from({ length: 40 }, (_, at) => 20 + at) };
    await host.answer(host.asked("compare")[0], { ...COMPARISON, only_b });
    const right = (of: string): number => Math.max(...[...root().querySelectorAll(of)].flatMap((path) => [...path.getAttribute("d")!.matchAll(/[ML]([\d.]+) /g)].map(([, x]) => Number(x))));
    expect(right(".rp-other")).toBe(right(".rp-line"));
    expect(text()).toContain("Only in run: 40 steps, 20–59.");
  });

  it("says why it could not be done", async () => {
    const host = await openPage();
    const picker = root().querySelector<HTMLSelectElement>(".rp-compare select")!;
    await act(async () => {
      picker.value = "step";
      picker.dispatchEvent(new Event("change", { bubbles: true }));
      await new Promise((resolve) => setTimeout(resolve));
    });
    expect(host.asked("compare")[0]?.params).toMatchObject({ a: { step: 19 }, b: { step: 18 } });
    await host.refuse(host.asked("compare")[0], "The two have no parameter in common.");
    expect(text()).toContain("The two have no parameter in common.");
  });
});

const STATISTICS = [{ statistic: "l2", a: 1, b: 2, relative: 0.5, parts: true }];
const COMPARISON = {
  parts: true, compared: { steps: 20, parameter: 1, module: 0, node: 0 }, loss: null, held: null, graph: null, notes: ["Nothing was left out."],
  only_a: { parameters: [], modules: [], steps: [] }, only_b: { parameters: [], modules: [], steps: [] },
  gradients: { step: 3, step_b: 3, first: { kind: "module", backward: 0, name: "layers.0", name_b: "layers.0", relative: 0.5, only: null, gaps: STATISTICS, node: null }, nodes: [], modules: [], parameters: [] },
};

describe("keys", () => {
  it("are read by the page where nobody else binds them, and not from fields", async () => {
    await openPage({ marks: [{ kind: "interrupted", step: 5, stop: -1, text: "ended" }] });
    press(root().querySelector(".rp-hd")!, ",");
    expect(title()).toBe("Replay step 5 of 20");
    press(root().querySelector(".grad-field input")!, ",");
    expect(title()).toBe("Replay step 5 of 20");
  });

  it("come as commands where the host binds them", async () => {
    const host = await openPage({ marks: [{ kind: "interrupted", step: 5, stop: -1, text: "ended" }] }, { bindsKeys: true });
    press(root().querySelector(".rp-hd")!, ",");
    expect(title()).toBe("Replay step 19 of 20");
    expect(host.posted.some((message) => message.type === "focus")).toBe(true);
    host.say({ type: "command", name: "previousMark" });
    expect(title()).toBe("Replay step 5 of 20");
  });

  it("leave Space to a button that has the focus", async () => {
    await openPage({}, { bindsKeys: true });
    const seen = vi.fn();
    window.addEventListener("keydown", seen);
    press(button("Next mark")!, " ");
    press(button("Next mark")!, "Enter");
    window.removeEventListener("keydown", seen);
    expect([seen.mock.calls.length, button("Pause")]).toEqual([0, undefined]);
  });

  it("leave Space and Enter to a list that uses them up, and Space elsewhere to the host", async () => {
    await openPage({}, { bindsKeys: true });
    const seen = vi.fn();
    window.addEventListener("keydown", seen);
    const tree = root().querySelector<HTMLElement>(".gradients [role=tree]")!;
    const useUp = (event: Event): void => event.preventDefault();
    tree.addEventListener("keydown", useUp);
    press(tree, " ");
    press(tree, "Enter");
    expect(seen).toHaveBeenCalledTimes(0);
    press(slider(), " ");
    window.removeEventListener("keydown", seen);
    expect(seen).toHaveBeenCalledTimes(1);
  });

  it("open the steps as a table, and Esc closes it", async () => {
    const host = await openPage();
    host.say({ type: "command", name: "showAsTable" });
    expect(root().querySelector(".rp-sheet [role=option][aria-selected=true]")!.getAttribute("aria-label")).toContain("step 19");
    press(root().querySelector(".rp-sheet")!, "Escape");
    expect(root().querySelector(".rp-sheet")).toBeNull();
  });
});

describe("two pages in one document", () => {
  it("share no id, and refer to their own", async () => {
    const first = await openPage();
    const elsewhere = document.body.appendChild(document.createElement("div"));
    const second = new FakeHost();
    let off = (): void => undefined;
    act(() => void (off = mountReplay(elsewhere, second)));
    second.say({ type: "opened", overview: overviewOf(20, {}), offers: OFFERS });
    await second.answer(second.asked("snapshot")[0], snapshotAt(19));
    await first.showAll();
    const ids = [...document.querySelectorAll("[id]:not(#root)")].map(({ id }) => id);
    expect([ids.length > 8, ids.filter((id, at) => ids.indexOf(id) !== at)]).toEqual([true, []]);
    const named = [...elsewhere.querySelectorAll("[aria-controls]")].map((tab) => document.getElementById(tab.getAttribute("aria-controls")!));
    expect(named.every((panel) => elsewhere.contains(panel))).toBe(true);
    act(() => off());
  });
});

describe("the header", () => {
  it("says what the cost is a share of", async () => {
    await openPage();
    const cost = [...root().querySelectorAll<HTMLElement>(".rp-hd span")].find(({ textContent }) => textContent === "recording cost 1.8 %")!;
    expect(cost.title).toContain("wall time spent in gradwatch on the program's threads");
  });
});

describe("a golden session", () => {
  it("is shown by the page as its source answers it", async () => {
    const replay = await fakeReplay([goldenSource("variants")]);
    mounted({ post: replay.post, listen: replay.listen, store: memoryStore() });
    await vi.waitFor(() => expect(root().querySelector(".gradients [role=treeitem]")).not.toBeNull(), { timeout: 5000 });
    expect(title()).toMatch(/^(Replay step|Stop) \d+/);
    expect(text()).toContain("run · ");
    const before = slider().getAttribute("aria-valuenow");
    press(slider(), before === "0" ? "ArrowRight" : "ArrowLeft");
    expect(slider().getAttribute("aria-valuenow")).not.toBe(before);
  });
});
