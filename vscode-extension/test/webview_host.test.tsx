// @vitest-environment jsdom
import { render } from "preact";
import { act } from "preact/test-utils";
import { describe, expect, it, vi } from "vitest";
import type { ToHost, ToPanel } from "../shared/messages";
import { Glyph } from "../webview/components/glyph";
import { RequestChannel, vscodeHost, type VsCodeApi } from "../webview/host";
import { memoryStore, StoreContext, useStored, type Store } from "../webview/stored";
import { ViewSlot } from "../webview/view_slot";

function fakeApi(state?: unknown) {
  const posted: unknown[] = [];
  const kept: unknown[] = [];
  const api: VsCodeApi = { postMessage: (message) => void posted.push(message), getState: () => state, setState: (next) => void kept.push(structuredClone(next)) };
  return { api, posted, kept };
}

const tick = (): Promise<void> => new Promise((resolve) => setTimeout(resolve));

describe("requests", () => {
  it("are paired with their own response, in any order", async () => {
    const posted: ToHost[] = [];
    const channel = new RequestChannel((message) => void posted.push(message));
    const [one, two] = [channel.ask("values", {} as never), channel.ask("pause", {})];
    channel.respond({ type: "response", id: 2, ok: true, value: null });
    channel.respond({ type: "response", id: 1, ok: true, value: "numbers" });
    await expect(Promise.all([one, two])).resolves.toEqual(["numbers", null]);
    expect(posted).toMatchObject([{ type: "request", id: 1, method: "values" }, { type: "request", id: 2, method: "pause" }]);
  });

  it("reject with the host's words", async () => {
    const channel = new RequestChannel(() => undefined);
    const asked = channel.ask("pause", {});
    channel.respond({ type: "response", id: 1, ok: false, error: "The program is not stopped." });
    await expect(asked).rejects.toThrow("The program is not stopped.");
  });

  it("ignore a response that nobody awaits", () => {
    expect(() => new RequestChannel(() => undefined).respond({ type: "response", id: 9, ok: true, value: null })).not.toThrow();
  });
});

describe("VS Code as host", () => {
  it("passes on its messages, and nothing that is none", async () => {
    const heard: ToPanel[] = [];
    const off = vscodeHost(fakeApi().api).listen((message) => void heard.push(message));
    for (const data of [{ type: "forget", session: "a" }, "text", null, {}]) window.postMessage(data, "*");
    await tick();
    off();
    window.postMessage({ type: "forget", session: "b" }, "*");
    await tick();
    expect(heard).toEqual([{ type: "forget", session: "a" }]);
  });

  it("keeps values in the webview's state, beside what was there", () => {
    const { api, kept } = fakeApi({ "held.grouping": "op" });
    const { store } = vscodeHost(api);
    store.set("shell.tab", "graph");
    expect(store.get("held.grouping")).toBe("op");
    expect(kept).toEqual([{ "held.grouping": "op", "shell.tab": "graph" }]);
  });
});

describe("what a view remembers", () => {
  const root = document.createElement("div");

  function Counter({ initial }: { readonly initial: unknown }) {
    const [value, setValue] = useStored<unknown>("counter", initial);
    return <button onClick={() => setValue(Number(value) + 1)}>{JSON.stringify(value)}</button>;
  }

  function show(store: Store, initial: unknown): string {
    act(() => render(null, root));
    act(() => render(<StoreContext.Provider value={store}><Counter initial={initial} /></StoreContext.Provider>, root));
    return root.textContent!;
  }

  it("is there again when the view is", () => {
    const store = memoryStore();
    show(store, 1);
    act(() => root.querySelector("button")!.click());
    expect(root.textContent).toBe("2");
    expect(show(store, 1)).toBe("2");
  });

  it("of another type, from another version, is dropped", () => {
    const store = memoryStore();
    store.set("counter", ["old"]);
    expect(show(store, 7)).toBe("7");
    expect(show(store, {})).toBe("{}");
  });
});

describe("a view that throws", () => {
  it("says so in its place, and is tried again at the next stop", () => {
    vi.spyOn(console, "error").mockReturnValue();
    const root = document.createElement("div");
    const draw = (occasion: number, broken: boolean): void =>
      void act(() =>
        render(
          <ViewSlot tab="graph" shown occasion={occasion}>
            {() => {
              if (broken) throw new Error("no column");
              return <b>drawn</b>;
            }}
          </ViewSlot>,
          root,
        ),
      );
    draw(1, true);
    expect(root.querySelector("[role=alert]")?.textContent).toContain("no column");
    draw(2, false);
    expect(root.textContent).toBe("drawn");
    vi.restoreAllMocks();
  });
});

describe("a glyph", () => {
  const markup = (label?: string): Element => {
    const root = document.createElement("div");
    act(() => render(<Glyph id="NaN" {...(label === undefined ? {} : { label })} />, root));
    return root.firstElementChild!;
  };

  it("is named by its word", () => expect(markup().getAttribute("aria-label")).toBe("NaN"));

  it("is silent where the word stands beside it", () => {
    expect(markup("").getAttribute("aria-hidden")).toBe("true");
    expect(markup("").querySelector("title")).toBeNull();
  });
});
