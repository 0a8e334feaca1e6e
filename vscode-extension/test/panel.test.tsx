// @vitest-environment jsdom
import { readFileSync } from "node:fs";
import path from "node:path";
import { act } from "preact/test-utils";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { RequestMessage, ToHost, ToPanel } from "../shared/messages";
import type { PanelState } from "../shared/state";
import type { Host } from "../webview/host";
import { mountPanel } from "../webview/panel";
import { memoryStore, type Store } from "../webview/stored";

const golden = (name: string): string => readFileSync(path.join(import.meta.dirname, `../../tests/golden/snapshots/${name}.json`), "utf8");

/** A host that keeps what is posted and says what a test has it say. */
class FakeHost implements Host {
  readonly posted: ToHost[] = [];
  readonly store: Store;
  readonly bindsKeys: boolean;
  #listener: (message: ToPanel) => void = () => undefined;

  constructor({ bindsKeys = true, store = memoryStore() } = {}) {
    this.bindsKeys = bindsKeys;
    this.store = store;
  }

  post(message: ToHost): void {
    this.posted.push(message);
  }

  listen(listener: (message: ToPanel) => void): () => void {
    this.#listener = listener;
    return () => undefined;
  }

  say(...messages: ToPanel[]): void {
    for (const message of messages) act(() => this.#listener(message));
  }

  requests(method: RequestMessage["method"]): RequestMessage[] {
    return this.posted.filter((message): message is RequestMessage => message.type === "request" && message.method === method);
  }

  async answer(message: RequestMessage, error?: string): Promise<void> {
    await act(async () => {
      this.#listener(error === undefined ? { type: "response", id: message.id, ok: true, value: null } : { type: "response", id: message.id, ok: false, error });
      await Promise.resolve();
    });
  }
}

const SESSIONS: ToPanel = { type: "sessions", items: [{ id: "a", name: "train.py", rank: 0, pid: 42, stopped: true }], selected: "a" };
const state = (value: PanelState): ToPanel => ({ type: "state", session: "a", state: value });
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const stop = (name: string): ToPanel => ({ type: "snapshot", session: "a", json: bytes(golden(name)), stoppedMs: 1, evaluateMs: 1 });
const changedStop = (name: string, change: (value: { [key: string]: unknown; stop: object }) => void): ToPanel => {
  const answer = JSON.parse(golden(name)) as { value: { [key: string]: unknown; stop: object } };
  change(answer.value);
  return { type: "snapshot", session: "a", json: bytes(JSON.stringify(answer)), stoppedMs: 1, evaluateMs: 1 };
};
const stopped = (name: string): ToPanel[] => [SESSIONS, stop(name), state({ kind: "ready" })];

let root: HTMLElement;
let unmount: () => void;

function open(host: FakeHost, ...messages: ToPanel[]): FakeHost {
  act(() => void (unmount = mountPanel(root, host)));
  host.say(...messages);
  return host;
}

const text = (selector = ".gw"): string => root.querySelector(selector)?.textContent ?? "";
const button = (name: string | RegExp): HTMLButtonElement => {
  const found = [...root.querySelectorAll("button")].find((one) => (typeof name === "string" ? one.textContent === name : name.test(one.getAttribute("aria-label") ?? one.textContent ?? "")));
  if (!found) throw new Error(`No button ${String(name)} in: ${text()}`);
  return found;
};
const click = (name: string | RegExp): void => void act(() => button(name).click());

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "Date"] });
  document.body.replaceChildren();
  root = document.body.appendChild(document.createElement("div"));
});

afterEach(() => {
  act(() => unmount());
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe("states", () => {
  const titled: [PanelState, string, string[]][] = [
    [{ kind: "no session" }, "No debug session", ["Start debugging", "Open session…"]],
    [{ kind: "running", program: "train.py", lastStop: null }, "Running", ["Pause", "Break at first non-finite gradient"]],
    [{ kind: "reading", budgetMs: 2000, startedMs: 0 }, "Reading", []],
    [{ kind: "not importable", executable: "/venv/bin/python", version: "3.12" }, "gradwatch is not importable", ["Use shipped copy", "Copy pip command"]],
    [{ kind: "no torch" }, "torch is not loaded", []],
    [{ kind: "nothing differentiable", function: "load", callers: [{ depth: 2, function: "train_step", tensorCount: 4 }] }, "Nothing differentiable here", ["Select train_step"]],
    [{ kind: "failed", expression: "gradwatch.debugger.answer(…)", reason: "It took too long.", budgetMs: 2000 }, "The question failed", ["Retry with 10 s", "Gradients only"]],
  ];

  it.each(titled)("%j has a title and at most two actions", (value, title, actions) => {
    open(new FakeHost(), SESSIONS, state(value));
    expect(text("h2")).toBe(title);
    expect([...root.querySelectorAll(".es button")].map((one) => one.textContent)).toEqual(actions);
  });

  it("name the interpreter, the expression, the reason and the callers", () => {
    const host = open(new FakeHost(), SESSIONS, state(titled[3]![0]));
    expect(text(".es p")).toContain("/venv/bin/python (3.12)");
    host.say(state(titled[6]![0]));
    expect(text(".es p")).toMatch(/gradwatch\.debugger\.answer.*It took too long\./);
    host.say(state(titled[5]![0]));
    expect(text(".es p")).toContain("The caller train_step has 4.");
  });

  it("ask for what their buttons say", () => {
    const host = open(new FakeHost(), SESSIONS, state(titled[5]![0]));
    click("Select train_step");
    expect(host.requests("selectCaller")[0]?.params).toEqual({ depth: 2 });
    host.say(state(titled[6]![0]));
    click("Retry with 10 s");
    expect(host.requests("retry")[0]?.params).toEqual({ budgetMs: 10_000, parts: ["gradients", "histograms", "graph", "held"] });
    host.say(state({ kind: "not importable", executable: "/my envs/bin/python", version: "" }));
    click("Copy pip command");
    expect(host.requests("copyText")[0]?.params).toEqual({ text: '"/my envs/bin/python" -m pip install gradwatch' });
  });

  it("of reading say what is awaited and the budget only after 300 ms", () => {
    open(new FakeHost(), SESSIONS, state({ kind: "reading", budgetMs: 2000, startedMs: 0 }));
    expect(text(".es p")).not.toContain("budget");
    act(() => void vi.advanceTimersByTime(350));
    expect(text(".es p")).toMatch(/\d+ ms of a 2 s budget/);
    act(() => void vi.advanceTimersByTime(3000));
    expect(text(".es p")).toContain("The budget of 2 s is over");
  });

  it("of running tell the last stop, and count on", () => {
    open(new FakeHost(), SESSIONS, state({ kind: "running", program: "train.py", lastStop: { number: 1, step: 804, atMs: Date.now() - 12_000 } }));
    expect(text(".es p")).toContain("Last stop: step 804, 12 s ago.");
    act(() => void vi.advanceTimersByTime(3000));
    expect(text(".es p")).toContain("15 s ago");
  });
});

describe("a stop", () => {
  it("shows where the program stands, and how far backward has come", () => {
    open(new FakeHost(), ...stopped("transformer"));
    expect(text(".where")).toBe("Paused in backward");
    expect(text(".hd")).toContain("GeluBackward0");
    const bar = root.querySelector("[role=progressbar]")!;
    expect([bar.getAttribute("aria-valuenow"), bar.getAttribute("aria-valuemax")]).toEqual(["326", "749"]);
    expect(text(".hd")).toContain("node 326 of 749");
  });

  it("outside backward names file and line, and offers no next node", () => {
    open(new FakeHost(), ...stopped("mlp"));
    expect(text(".where")).toMatch(/^Paused at train\.py:\d+$/);
    expect(root.querySelector("[role=progressbar]")).toBeNull();
    expect(text(".actions")).not.toContain("Next node");
  });

  it("counts trouble by kind, with the word in the name", () => {
    open(new FakeHost(), ...stopped("nan"));
    expect([...root.querySelectorAll(".badge")].map((badge) => badge.getAttribute("aria-label"))).toContainEqual(expect.stringMatching(/^\d+ parameters? NaN$/));
  });

  it("is announced once, politely", () => {
    const host = open(new FakeHost(), ...stopped("transformer"));
    const region = root.querySelector("[aria-live=polite]")!;
    expect(region.textContent).toBe("Paused at GeluBackward0, no trouble in gradients");
    const node = region.firstElementChild;
    host.say(state({ kind: "ready" }), SESSIONS);
    expect(region.firstElementChild).toBe(node);
  });

  it("reports what each part of showing it took", async () => {
    vi.useRealTimers();
    vi.stubGlobal("requestAnimationFrame", (then: FrameRequestCallback) => setTimeout(() => then(0)));
    const host = open(new FakeHost(), ...stopped("mlp"));
    await vi.waitFor(() => expect(host.posted).toContainEqual(expect.objectContaining({ type: "painted", session: "a", stop: 2 })));
    const painted = host.posted.find((message) => message.type === "painted");
    expect(Object.values(painted?.type === "painted" ? painted.parts : {}).every((ms) => ms >= 0)).toBe(true);
  });

  it("whose answer cannot be read says so instead of showing another", () => {
    open(new FakeHost(), SESSIONS, { type: "snapshot", session: "a", json: bytes("<Tensor…"), stoppedMs: 1, evaluateMs: 1 });
    expect(text("h2")).toBe("The question failed");
    expect(text(".es")).toContain("<Tensor…");
  });

  it("that lacks a part says which, how much of it, and offers a longer budget", () => {
    const missing = [{ part: "gradients", reason: "The budget of 2 s ended.", done: 93, total: 149 }];
    const host = open(new FakeHost(), SESSIONS, changedStop("mlp", (value) => (value.missing = missing)));
    expect(text(".missing")).toContain("Gradients: 93 of 149 read. The budget of 2 s ended.");
    click("Retry with 10 s");
    expect(host.requests("retry")).toHaveLength(1);
  });

  it("keeps what cannot be seen behind a button that counts it, but shows a fault of ours unasked", () => {
    const notices = [{ kind: "not observable", text: "Inside of a compiled region." }, { kind: "probe stopped", text: "The probe histograms stopped." }];
    open(new FakeHost(), SESSIONS, changedStop("mlp", (value) => (value.notices = notices)));
    expect(text(".limits")).toBe("The probe histograms stopped.");
    click(/1 limit of what can be seen here/);
    expect(text(".limits")).toContain("Inside of a compiled region.");
  });
});

describe("values of the past", () => {
  it("stay while the program runs, dimmed, with the stop they are of and how long ago it was", () => {
    open(new FakeHost(), ...stopped("transformer"), state({ kind: "stale", lastStop: { number: 2, step: 804, atMs: 0 } }));
    act(() => void vi.advanceTimersByTime(12_000));
    expect(text(".where")).toBe("Running");
    expect(text(".actions")).toContain("values of step 804, 12 s ago");
    expect(root.querySelector(".view:not([hidden]) .dimmed")).not.toBeNull();
  });

  it("of a run without steps are named by their stop", () => {
    open(new FakeHost(), ...stopped("mlp"), state({ kind: "stale", lastStop: { number: 2, step: -1, atMs: 0 } }));
    expect(text(".actions")).toContain("values of stop 2, 1 s ago");
  });

  it("offer to pause while running, and no step to the next node", () => {
    const host = open(new FakeHost(), ...stopped("transformer"), state({ kind: "stale", lastStop: { number: 2, step: 3, atMs: 0 } }));
    expect(text(".actions")).not.toContain("Next node");
    click("Pause");
    expect(host.requests("pause")).toHaveLength(1);
    host.say({ type: "command", name: "stepToNextNode" });
    expect(host.requests("stepToNextNode")).toHaveLength(0);
  });

  it("stay below the reason when another stop cannot be read", () => {
    open(new FakeHost(), ...stopped("transformer"), state({ kind: "failed", expression: "x", reason: "It took too long.", budgetMs: 2000 }));
    expect(text(".es")).toContain("It took too long.");
    expect(text(".past-line")).toContain("of the stop before");
    expect(root.querySelector(".view:not([hidden]) .dimmed")).not.toBeNull();
    expect(button("Next node").disabled).toBe(true);
  });

  it("are not dimmed by a stop that is read at once, and are after a while, without moving anything", () => {
    open(new FakeHost(), ...stopped("transformer"), state({ kind: "reading", budgetMs: 2000, startedMs: 0 }));
    const parts = (): (string | null)[] => [...root.querySelector(".gw")!.children].map((part) => part.getAttribute("class"));
    const before = parts();
    expect(root.querySelector(".dimmed")).toBeNull();
    act(() => void vi.advanceTimersByTime(200));
    expect(root.querySelector(".dimmed")).not.toBeNull();
    expect(text(".actions")).not.toContain("of 2 s");
    act(() => void vi.advanceTimersByTime(200));
    expect(text(".where")).toBe("Reading");
    expect(text(".actions")).toContain("ms of 2 s");
    expect(parts().map((name) => name?.replace(" past", ""))).toEqual(before);
  });
});

describe("tabs", () => {
  const shown = (): string => root.querySelector("[role=tab][aria-selected=true]")!.textContent!;

  it("carry their totals and name their view", () => {
    open(new FakeHost(), ...stopped("transformer"));
    expect([...root.querySelectorAll("[role=tab]")].map((tab) => tab.textContent)).toEqual(["Gradients149", "Graph749", expect.stringMatching(/^Held[\d.]+ KiB$/)]);
    const view = root.querySelector("[role=tabpanel]:not([hidden])")!;
    expect(root.querySelector("[role=tab][aria-selected=true]")!.getAttribute("aria-controls")).toBe(view.id);
  });

  it("follow commands, arrows and what was shown last time", () => {
    const store = memoryStore();
    const host = open(new FakeHost({ store }), ...stopped("mlp"));
    host.say({ type: "command", name: "held" });
    expect(shown()).toMatch(/^Held/);
    act(() => void root.querySelector("[role=tablist]")!.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft", bubbles: true })));
    expect(shown()).toMatch(/^Graph/);
    act(() => unmount());
    open(new FakeHost({ store }), ...stopped("mlp"));
    expect(shown()).toMatch(/^Graph/);
  });

  it("draw a view when it is first shown, and keep it", () => {
    const host = open(new FakeHost(), ...stopped("mlp"));
    expect(root.querySelector("[id$=-view-held]")!.childElementCount).toBe(0);
    host.say({ type: "command", name: "held" });
    const first = root.querySelector("[id$=-view-held]")!.firstElementChild;
    host.say({ type: "command", name: "gradients" }, { type: "command", name: "held" });
    expect(root.querySelector("[id$=-view-held]")!.firstElementChild).toBe(first);
  });
});

describe("keys", () => {
  const press = (key: string, target: Element = root.querySelector(".gw")!): KeyboardEvent => {
    const event = new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true });
    act(() => void target.dispatchEvent(event));
    return event;
  };

  it("are the host's where it binds them: the panel only tells who has the focus", () => {
    vi.spyOn(document, "hasFocus").mockReturnValue(true);
    const host = open(new FakeHost(), ...stopped("mlp"));
    press("3");
    expect(root.querySelector("[role=tab][aria-selected=true]")!.textContent).toMatch(/^Gradients/);
    expect(host.posted).toContainEqual({ type: "focus", keys: true });
  });

  it("are read here where the host binds none", () => {
    open(new FakeHost({ bindsKeys: false }), ...stopped("transformer"));
    expect(press("2").defaultPrevented).toBe(true);
    expect(root.querySelector("[role=tab][aria-selected=true]")!.textContent).toMatch(/^Graph/);
  });

  it("typed into a field stay in it", () => {
    open(new FakeHost(), ...stopped("mlp"));
    const outside = vi.fn();
    window.addEventListener("keydown", outside);
    press("b", root.querySelector("input")!);
    press("b");
    window.removeEventListener("keydown", outside);
    expect(outside).toHaveBeenCalledTimes(1);
  });

  it("Esc closes the dock", () => {
    open(new FakeHost(), ...stopped("transformer"));
    expect(root.querySelector(".view:not([hidden]) .dock")).not.toBeNull();
    press("Escape");
    expect(root.querySelector(".view:not([hidden]) .dock")).toBeNull();
  });

  it("N steps on, in backward only", () => {
    const host = open(new FakeHost(), ...stopped("mlp"), { type: "command", name: "stepToNextNode" });
    expect(host.requests("stepToNextNode")).toHaveLength(0);
    host.say(stop("transformer"), { type: "command", name: "stepToNextNode" });
    expect(host.requests("stepToNextNode")).toHaveLength(1);
  });
});

describe("conditions", () => {
  const set = (conditions: object[]): ToPanel => ({ type: "conditions", session: "a", conditions }) as ToPanel;
  const sent = (host: FakeHost): unknown => (host.requests("setConditions").at(-1)?.params as { conditions: unknown } | undefined)?.conditions;
  const type = (value: string): void => {
    const field = root.querySelector<HTMLInputElement>("#gw-norm")!;
    field.value = value;
    act(() => void field.dispatchEvent(new Event("input", { bubbles: true })));
    act(() => void root.querySelector(".norm-form")!.dispatchEvent(new Event("submit", { bubbles: true, cancelable: true })));
  };

  it("take no room while none is set, and a line with their names once one is", () => {
    const host = open(new FakeHost(), ...stopped("transformer"));
    expect(root.querySelector(".conditions")).toBeNull();
    host.say(set([{ id: 1, kind: "first non-finite", enabled: true, hits: 2 }, { id: 2, kind: "norm exceeds", limit: 5, enabled: false }]));
    expect(text(".conditions")).toBe("Break in backwardFirst non-finite gradient · 2 hits, 1 off");
  });

  it("are switched, removed and added", () => {
    const node = { id: 7, kind: "node", name: "MulBackward0", enabled: true, hits: 0 };
    const host = open(new FakeHost(), ...stopped("transformer"), set([node]));
    click(/Conditions that stop backward/);
    const [nonFinite, mul] = [...root.querySelectorAll<HTMLInputElement>(".conditions input[type=checkbox]")] as [HTMLInputElement, HTMLInputElement];
    act(() => mul.click());
    expect(sent(host)).toEqual([{ ...node, enabled: false }]);
    act(() => nonFinite.click());
    expect(sent(host)).toEqual([node, { id: 8, kind: "first non-finite", enabled: true, hits: 0 }]);
    click(/Remove: MulBackward0/);
    expect(sent(host)).toEqual([]);
  });

  it("refuse a limit that is no number above 0, in words, beside the field", () => {
    const host = open(new FakeHost(), ...stopped("transformer"));
    click(/Conditions that stop backward/);
    type("many");
    expect(text("[role=alert]")).toContain("“many” is not a number above 0");
    expect(root.querySelector("#gw-norm")!.getAttribute("aria-invalid")).toBe("true");
    expect(host.requests("setConditions")).toHaveLength(0);
    type("1e3");
    expect(sent(host)).toEqual([{ id: 1, kind: "norm exceeds", limit: 1000, enabled: true, hits: 0 }]);
  });

  it("mark the one that made this stop", () => {
    const hit = changedStop("transformer", ({ stop: at }) => Object.assign(at, { condition: 3, reason: "Norm 12 is above 5" }));
    open(new FakeHost(), SESSIONS, hit, set([{ id: 3, kind: "norm exceeds", limit: 5, enabled: true, hits: 1 }]));
    expect(text(".reason")).toBe("Norm 12 is above 5");
    click(/Conditions that stop backward/);
    expect(text(".conditions li.hit")).toContain("hit at this stop");
  });

  it("break here at the running node", async () => {
    const host = open(new FakeHost(), ...stopped("transformer"), { type: "command", name: "breakHere" });
    const { running } = (JSON.parse(golden("transformer")) as { value: { stop: { running: number } } }).value.stop;
    expect(sent(host)).toEqual([expect.objectContaining({ kind: "node", name: "GeluBackward0", node: running })]);
    await host.answer(host.requests("setConditions")[0]!);
    expect(text(".message")).toContain("Set: GeluBackward0");
  });

  it("say what to do when nothing is selected", () => {
    const host = open(new FakeHost(), ...stopped("mlp"), { type: "command", name: "breakHere" });
    expect(text(".message")).toContain("Select a node, parameter or module first.");
    expect(host.requests("setConditions")).toHaveLength(0);
  });
});

describe("requests that fail", () => {
  it("say why, until dismissed", async () => {
    const host = open(new FakeHost(), ...stopped("mlp"));
    act(() => root.querySelector<HTMLButtonElement>(".where .link")!.click());
    await host.answer(host.requests("openSource")[0]!, "train.py cannot be read on this machine.");
    expect(text(".message")).toContain("train.py cannot be read on this machine.");
    click("Dismiss");
    expect(root.querySelector(".message")).toBeNull();
  });

  it("leave their button usable again", async () => {
    const host = open(new FakeHost(), SESSIONS, state({ kind: "not importable", executable: "python", version: "3.12" }));
    click("Use shipped copy");
    expect(button("Use shipped copy").disabled).toBe(true);
    await host.answer(host.requests("useShippedCopy")[0]!, "The copy could not be made importable.");
    expect(button("Use shipped copy").disabled).toBe(false);
    expect(text(".message")).toContain("could not be made importable");
  });
});

describe("several sessions", () => {
  const ranks: ToPanel = {
    type: "sessions",
    items: [0, 1].map((rank) => ({ id: rank === 0 ? "a" : "b", name: "train.py", rank, pid: 40 + rank, stopped: rank === 0 })),
    selected: "a",
  };

  it("are picked by rank, in every state", () => {
    const host = open(new FakeHost(), ranks, state({ kind: "no torch" }));
    const picker = root.querySelector("select")!;
    expect([...picker.options].map((option) => option.textContent)).toEqual(["rank 0 · pid 40", "rank 1 · pid 41 (running)"]);
    picker.value = "b";
    act(() => void picker.dispatchEvent(new Event("change", { bubbles: true })));
    expect(host.requests("selectSession")[0]?.params).toEqual({ session: "b" });
  });

  it("of which one is left are only named", () => {
    open(new FakeHost(), ...stopped("mlp"));
    expect(root.querySelector("select[aria-label='Debug session']")).toBeNull();
    expect(text(".session .hide-n")).toBe("pid 42");
  });

  it("say the rank of a distributed run only", () => {
    open(new FakeHost(), SESSIONS, changedStop("mlp", (value) => Object.assign(value["run"] as object, { world_size: 8 })));
    expect(text(".session .hide-n")).toBe("rank 0 · pid 42");
  });
});
