// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { FromReplay, SessionSource, ToReplay } from "../shared/replay";
import { notebookText } from "../shared/text";
import { localReplayHost } from "../webview/local_replay_host";
import { BusySign, MOMENT_MS } from "../webview/notebook/busy";
import type { ToKernel, WidgetModel } from "../webview/notebook/messages";
import { Refreshing, SHORTEST_MS } from "../webview/notebook/refreshing";
import { initialize, render } from "../webview/notebook/widget";
import { goldenBytes } from "./recorded_files";
import { goldenSource } from "./replay_fake";

/** The page has tests of its own: here it says what it was told. */
vi.mock("../webview/replay/mount", () => ({
  mountReplay: (element: HTMLElement, host: { listen(listener: (message: ToReplay) => void): () => void; post(message: FromReplay): void }) => {
    const off = host.listen((message) => {
      const steps = message.type === "opened" ? ` ${message.overview.timeline.steps.length}` : message.type === "command" ? ` ${message.name}` : "";
      element.textContent += `${message.type}${steps};`;
    });
    host.post({ type: "ready" });
    return off;
  },
}));

type Listener = (content: unknown, buffers: unknown) => void;

class FakeModel implements WidgetModel {
  readonly sent: ToKernel[] = [];
  #listeners: Listener[] = [];

  constructor(readonly state: Readonly<Record<string, unknown>>) {}

  get(name: string): unknown {
    return this.state[name];
  }

  send(content: ToKernel): void {
    this.sent.push(content);
  }

  on(_: string, listener: Listener): void {
    this.#listeners.push(listener);
  }

  off(_: string, listener: Listener): void {
    this.#listeners = this.#listeners.filter((each) => each !== listener);
  }

  tell(content: unknown, bytes?: Uint8Array): void {
    this.#listeners.forEach((listener) => listener(content, bytes ? [new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)] : []));
  }
}

const file = (name: string, other = false): object => ({ name: `${name}.gradwatch`, place: `/runs/${name}.gradwatch`, other });
let number = 0;
let model: FakeModel;
let element: HTMLElement;
let ends: (() => void)[];

function open(files: readonly object[] = [file("seed")], more: object = {}): void {
  model = new FakeModel({ key: `key ${++number}`, name: "seed.gradwatch", files, at: null, ...more });
  ends = [initialize({ model }), render({ model, el: element })];
}

/** As the kernel sends a finished session. */
function push(index = 0, name = "seed"): void {
  const bytes = goldenBytes(name);
  model.tell({ type: "bytes", file: index, offset: 0, size: bytes.length }, bytes);
}

beforeEach(() => {
  element = document.body.appendChild(document.createElement("div"));
});

afterEach(() => {
  ends.reverse().forEach((end) => end());
  expect(element.childElementCount, "nothing is left in the output").toBe(0);
  element.remove();
  vi.useRealTimers();
});

const page = (): string => element.querySelector(".gradwatch-page")?.textContent ?? "";
const line = (): HTMLElement => element.querySelector<HTMLElement>(".gradwatch-line")!;

describe("the widget in a notebook's output", () => {
  test("says that it hears, and shows the session once its bytes are there", async () => {
    open();
    expect(model.sent).toEqual([{ type: "ready", sizes: [-1] }]);
    expect(element.querySelector(".gradwatch-live"), "the picture below stays in sight").toBeNull();
    push();
    await vi.waitFor(() => expect(page()).toContain("opened 2;"));
    expect(element.querySelector(".gradwatch-live")).not.toBeNull();
    expect(line().hidden).toBe(true);
  });

  test("after half a second without a kernel it says what it waits for", async () => {
    vi.useFakeTimers();
    open();
    await vi.advanceTimersByTimeAsync(MOMENT_MS - 1);
    expect(line().hidden).toBe(true);
    await vi.advanceTimersByTimeAsync(1);
    expect([line().hidden, line().textContent]).toEqual([false, notebookText.waitingFirst]);
  });

  test("a second view of the same model has the bytes that the first one got", async () => {
    open();
    push();
    const other = document.body.appendChild(document.createElement("div"));
    const end = render({ model, el: other });
    await vi.waitFor(() => expect(other.textContent).toContain("opened 2;"));
    expect(model.sent.filter(({ type }) => type === "ready")).toHaveLength(1);
    end();
    other.remove();
  });

  test("with another session it begins to compare", async () => {
    open([file("seed"), file("variants", true)]);
    push(1, "variants");
    push();
    await vi.waitFor(() => expect(page()).toContain("command compare;"));
  });

  test("begins at the step that was named", async () => {
    open([file("seed")], { at: 1 });
    push();
    await vi.waitFor(() => expect(page()).toContain("go;"));
  });

  test("what the kernel has to say is said, as text", () => {
    open();
    model.tell({ type: "notice", text: "<b>It ended.</b>" });
    expect(line().textContent).toBe("<b>It ended.</b>");
  });

  test("a file that is no session is said so by the page", async () => {
    open();
    const bytes = new TextEncoder().encode("no session, but long enough to be looked at as one");
    model.tell({ type: "bytes", file: 0, offset: 0, size: bytes.length }, bytes);
    await vi.waitFor(() => expect(page()).toContain("failed;"));
  });

  test("keys stay in the panel, but for those with Ctrl that are the notebook's", () => {
    open();
    const heard: string[] = [];
    const root = element.querySelector<HTMLElement>(".gradwatch-widget")!;
    const listen = (event: Event): void => void heard.push((event as KeyboardEvent).key);
    const marked: boolean[] = [];
    // JupyterLab asks for the mark before the panel sees the key.
    const ask = (): void => void marked.push(root.hasAttribute("data-lm-suppress-shortcuts"));
    document.addEventListener("keydown", ask, { capture: true });
    document.addEventListener("keydown", listen);
    const press = (key: string, ctrlKey: boolean): void => void root.firstElementChild!.dispatchEvent(new KeyboardEvent("keydown", { key, ctrlKey, bubbles: true }));
    press("b", false);
    press("s", true);
    press("Enter", true);
    document.removeEventListener("keydown", ask, { capture: true });
    document.removeEventListener("keydown", listen);
    expect(heard).toEqual(["s"]);
    expect(marked).toEqual([true, false, true]);
  });
});

describe("a session inside the page", () => {
  ends = [];

  test("is opened, read on and asked, with nothing from outside", async () => {
    const told: ToReplay[] = [];
    const host = localReplayHost([goldenSource("seed")], "seed");
    const off = host.listen((message) => told.push(message));
    host.post({ type: "ready" });
    await vi.waitFor(() => expect(told.some(({ type }) => type === "opened")).toBe(true));
    const opened = told.find((message) => message.type === "opened");
    expect(opened?.offers).toEqual({ openSource: false, chooseOther: false, replayStep: false, bindsKeys: false });
    host.post({ type: "request", id: 1, method: "snapshot", params: { at: { kind: "step", rank: opened!.overview.facts.rank, step: 1 } } });
    await vi.waitFor(() => expect(told.at(-1)).toMatchObject({ type: "response", id: 1, ok: true }));
    host.post({ type: "request", id: 2, method: "replayStep", params: { rank: 0, step: 1 } });
    await vi.waitFor(() => expect(told.at(-1)).toMatchObject({ type: "response", id: 2, ok: false }));
    await host.refresh();
    off();
    host.dispose();
  });

  test("doors of the caller are open", async () => {
    const others: readonly SessionSource[] = [goldenSource("variants")];
    const told: ToReplay[] = [];
    const offers = { openSource: false, chooseOther: true, replayStep: false, bindsKeys: false };
    const host = localReplayHost([goldenSource("seed")], "seed", { doors: { offers, chooseOther: () => Promise.resolve(others) } });
    host.listen((message) => told.push(message));
    host.post({ type: "ready" });
    await vi.waitFor(() => expect(told.some(({ type }) => type === "opened")).toBe(true));
    host.post({ type: "request", id: 1, method: "chooseOther", params: {} });
    await vi.waitFor(() => expect(told.at(-1)).toMatchObject({ type: "response", id: 1, ok: true, value: { overview: { facts: { name: "variants.gradwatch" } } } }));
    host.dispose();
  });
});

describe("pace", () => {
  test("a session that grows is read again once for all that came meanwhile, and never twice at once", async () => {
    vi.useFakeTimers();
    let running = 0;
    let most = 0;
    let runs = 0;
    const refreshing = new Refreshing(async () => {
      most = Math.max(most, ++running);
      runs++;
      await new Promise((resolve) => setTimeout(resolve, 250));
      running--;
    });
    for (let i = 0; i < 50; i++) {
      refreshing.grown();
      await vi.advanceTimersByTimeAsync(10);
    }
    await vi.advanceTimersByTimeAsync(2000);
    expect(most).toBe(1);
    expect(runs).toBe(3);
    refreshing.end();
    refreshing.grown();
    await vi.advanceTimersByTimeAsync(10 * SHORTEST_MS);
    expect(runs).toBe(3);
  });

  test("an error in reading does not end it", async () => {
    vi.useFakeTimers();
    let runs = 0;
    const refreshing = new Refreshing(() => (runs++, Promise.reject(new Error("half a chunk"))));
    refreshing.grown();
    await vi.advanceTimersByTimeAsync(SHORTEST_MS);
    refreshing.grown();
    await vi.advanceTimersByTimeAsync(SHORTEST_MS);
    expect(runs).toBe(2);
  });

  test("a wait that is short is not spoken of", () => {
    vi.useFakeTimers();
    const said: boolean[] = [];
    const sign = new BusySign((waits) => said.push(waits));
    sign.update(true);
    vi.advanceTimersByTime(MOMENT_MS - 1);
    sign.update(false);
    vi.advanceTimersByTime(MOMENT_MS);
    expect(said).toEqual([]);
    sign.update(true);
    sign.update(true);
    vi.advanceTimersByTime(MOMENT_MS);
    sign.update(false);
    expect(said).toEqual([true, false]);
  });
});
