// @vitest-environment jsdom
/** The findings in the panel and on the page of a recorded session: what is shown, chosen, opened and followed. */

import { readFileSync } from "node:fs";
import path from "node:path";
import { act } from "preact/test-utils";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { RequestMessage, ToHost, ToPanel } from "../shared/messages";
import type { Finding, Snapshot } from "../shared/session";
import { mountPanel } from "../webview/panel";
import { mountReplay } from "../webview/replay/mount";
import { memoryStore } from "../webview/stored";
import { fakeReplay, goldenSource } from "./replay_fake";

let dispose: () => void = () => undefined;

afterEach(() => {
  act(() => dispose());
  document.body.replaceChildren();
});

const root = (): HTMLElement => document.body.firstElementChild as HTMLElement;
const all = (selector: string): HTMLElement[] => [...root().querySelectorAll<HTMLElement>(selector)];
const names = (): string[] => all(".finding-name").map((one) => one.textContent!);
const chosen = (): string | null => root().querySelector(".finding.chosen .finding-name")?.textContent ?? null;
const open = (): string[] => all(".finding.open .finding-name").map((one) => one.textContent!);
const selectedIn = (view: string): string | null => root().querySelector(`${view} [role=treeitem][aria-selected="true"]`)?.getAttribute("aria-label") ?? null;

function finding(fields: Partial<Finding>): Finding {
  return { kind: "unreached", severity: "warning", title: "No gradient", sentence: "It got none.", ...fields };
}

function snapshotWith(findings: readonly Finding[]): ToPanel {
  const text = readFileSync(path.join(import.meta.dirname, "../../tests/golden/snapshots/nan.json"), "utf8");
  const answer = JSON.parse(text) as { value: Record<string, unknown> };
  answer.value["findings"] = findings;
  answer.value["sites"] = [{ id: 0, file: "/project/model.py", line: 51, function: "forward" }];
  answer.value["site_texts"] = ["h.sqrt()"];
  return { type: "snapshot", session: "a", json: new TextEncoder().encode(JSON.stringify(answer)), stoppedMs: 1, evaluateMs: 1 };
}

interface FakePanel {
  readonly posted: ToHost[];
  readonly say: (...messages: ToPanel[]) => void;
  readonly requests: (method: string) => RequestMessage[];
}

function panel(findings: readonly Finding[]): FakePanel {
  document.body.append(document.createElement("div"));
  const posted: ToHost[] = [];
  let listener: (message: ToPanel) => void = () => undefined;
  const host = { bindsKeys: true, store: memoryStore(), post: (message: ToHost) => void posted.push(message), listen: (on: typeof listener) => ((listener = on), () => undefined) };
  act(() => void (dispose = mountPanel(root(), host)));
  const say = (...messages: ToPanel[]): void => messages.forEach((message) => act(() => listener(message)));
  say({ type: "sessions", items: [{ id: "a", name: "train.py", rank: 0, pid: 42, stopped: true }], selected: "a" }, snapshotWith(findings), { type: "state", session: "a", state: { kind: "ready" } });
  return { posted, say, requests: (method) => posted.filter((message): message is RequestMessage => message.type === "request" && message.method === method) };
}

const command = (name: "nextTrouble" | "previousTrouble" | "why" | "gradients"): ToPanel => ({ type: "command", name });

const parameterNames = (): Map<number, string> => {
  const answer = JSON.parse(readFileSync(path.join(import.meta.dirname, "../../tests/golden/snapshots/nan.json"), "utf8")) as { value: Snapshot };
  return new Map(answer.value.parameters!.map(({ id, path: name }) => [id, name]));
};

const FOUR = [
  finding({ title: "a", severity: "error", kind: "nan", site: 0, fix: "Write `x`.", evidence: ["4 of 16"], steps: [3, 9], certainty: "inferred", parameters: [2] }),
  finding({ title: "b", parameters: [0], fix: "Do that." }),
  finding({ title: "c" }),
  finding({ title: "d", severity: "note", kind: "held", site: 0 }),
];

describe("in the panel", () => {
  it("nothing stands there where nothing is found", () => {
    panel([]);
    expect(all(".findings")).toEqual([]);
  });

  it("the first is in full with what it rests on, the others have no evidence, and more are asked for", () => {
    panel(FOUR);
    expect(names()).toEqual(["a", "b", "c"]);
    expect(open()).toEqual(["a"]);
    expect(chosen()).toBeNull();
    expect(all(".finding-grounds li").map((one) => one.textContent)).toEqual(["steps 3–9, inferred", "4 of 16"]);
    expect(root().querySelector(".finding-fix code")!.textContent).toBe("x");
    act(() => root().querySelector<HTMLElement>(".findings-more")!.click());
    expect(names()).toEqual(["a", "b", "c", "d"]);
  });

  it("F goes to the next and round, Shift+F back, and those that were folded come into sight", () => {
    const { say } = panel(FOUR);
    say(command("nextTrouble"));
    expect([chosen(), open()]).toEqual(["a", ["a"]]);
    say(command("nextTrouble"));
    expect([chosen(), open()]).toEqual(["b", ["b"]]);
    say(command("previousTrouble"), command("previousTrouble"));
    expect([chosen(), names().length]).toEqual(["d", 4]);
    say(command("nextTrouble"));
    expect(chosen()).toBe("a");
  });

  it("F walks trouble in gradients where nothing was found", () => {
    const { say } = panel([]);
    say(command("nextTrouble"));
    expect(selectedIn(".gradients")).toMatch(/NaN/);
  });

  it("choosing one selects its parameter, until something else is selected", () => {
    const { say } = panel(FOUR);
    say(command("nextTrouble"));
    expect(selectedIn(".gradients")).toContain(parameterNames().get(2));
    say(command("nextTrouble"));
    expect(selectedIn(".gradients")).toContain(parameterNames().get(0));
    const other = all(".gradients [role=treeitem]").find((row) => row.getAttribute("aria-label")!.includes("shift"))!;
    act(() => other.click());
    act(() => void other.dispatchEvent(new MouseEvent("mousedown", { bubbles: true })));
    expect(selectedIn(".gradients")).toContain("shift");
    expect(chosen()).toBe("b");
  });

  it("Enter opens its line and keeps the focus, Ctrl+Enter moves it", () => {
    const { requests } = panel(FOUR);
    const name = root().querySelector<HTMLElement>(".finding-name")!;
    const enter = (ctrlKey: boolean): void => void act(() => void name.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", ctrlKey, bubbles: true, cancelable: true })));
    enter(false);
    enter(true);
    expect(requests("openSource").map(({ params }) => params)).toEqual([
      { file: "/project/model.py", line: 51, focus: false },
      { file: "/project/model.py", line: 51, focus: true },
    ]);
    expect(chosen()).toBe("a");
  });

  it("arrows move within the list, which Tab visits once", () => {
    panel(FOUR);
    const [first] = all(".finding-name");
    act(() => first!.focus());
    act(() => void first!.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowDown", bubbles: true, cancelable: true })));
    expect([document.activeElement?.textContent, chosen()]).toEqual(["b", "b"]);
    expect(all(".finding-name").map((one) => one.tabIndex)).toEqual([-1, 0, -1]);
  });

  it("each has a name with how bad it is, and the chosen one says so", () => {
    const { say } = panel(FOUR);
    say(command("nextTrouble"));
    expect(all(".finding-name").map((one) => [one.getAttribute("aria-label"), one.getAttribute("aria-pressed")])).toEqual([
      ["a, error", "true"],
      ["b, warning", "false"],
      ["c, warning", "false"],
    ]);
    expect(root().querySelector("section.findings")!.getAttribute("aria-label")).toBe("4 findings");
  });

  it("the same one stays chosen at the next stop, whatever its numbers are", () => {
    const { say } = panel(FOUR);
    say(command("nextTrouble"), command("nextTrouble"));
    say(snapshotWith([finding({ title: "new", severity: "error", kind: "inf" }), ...FOUR.map((one) => ({ ...one, sentence: "Now another." }))]));
    expect(chosen()).toBe("b");
  });

  it("a stop with findings is announced with their number", () => {
    panel(FOUR);
    expect(root().querySelector("[role=status].sr")!.textContent).toMatch(/4 findings$/);
  });

  it("why chooses the finding about the parameter, and asks Python where there is none", () => {
    const { say, requests } = panel(FOUR);
    say(command("why"));
    expect(root().querySelector(".message")!.textContent).toContain("Select a parameter first.");
    const row = (name: string): HTMLElement => all(".gradients [role=treeitem]").find((one) => one.getAttribute("aria-label")!.includes(name))!;
    act(() => row(parameterNames().get(0)!).click());
    say(command("why"));
    expect([chosen(), requests("why")]).toEqual(["b", []]);
    act(() => row("shift").click());
    say(command("why"));
    expect(requests("why").map(({ params }) => params)).toEqual([{ name: "shift" }]);
  });
});

describe("on the page of a recorded session", () => {
  async function opened(): Promise<void> {
    const replay = await fakeReplay([goldenSource("findings")]);
    document.body.append(document.createElement("div"));
    act(() => {
      dispose = mountReplay(root(), { post: replay.post, listen: (listener) => replay.listen((message) => act(() => listener(message))), store: memoryStore() });
    });
    await vi.waitFor(() => expect(root().querySelector(".gradients [role=treeitem]")).not.toBeNull(), { timeout: 5000 });
  }
  const press = (key: string): void => void act(() => void root().querySelector(".rp-timeline")!.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true })));
  const at = (): string => root().querySelector(".rp-timeline")!.getAttribute("aria-valuetext")!;

  it("stand in one row above the timeline, as many as there is room for, and are turned to", async () => {
    await opened();
    const shown = names().length;
    expect(names()[0]).toBe("NaN born in sqrt");
    expect(root().querySelector(".findings.row")!.compareDocumentPosition(root().querySelector(".rp-time")!)).toBe(Node.DOCUMENT_POSITION_FOLLOWING);
    expect(shown).toBeLessThan(4);
    act(() => root().querySelector<HTMLElement>('[aria-label="Next findings"]')!.click());
    expect(names()).not.toContain("NaN born in sqrt");
  });

  it("F chooses them in turn, and goes to the first step that each was seen in", async () => {
    await opened();
    press("Home");
    expect(at()).toBe("step 0");
    press("f");
    expect([chosen(), at()]).toEqual(["NaN born in sqrt", "step 1, NaN"]);
    await vi.waitFor(() => expect(selectedIn('[data-view="gradients"]')).toContain("weight"));
    press("f");
    expect([chosen(), at()]).toEqual(["No gradient", "step 1, NaN"]);
    await vi.waitFor(() => expect(selectedIn('[data-view="gradients"]')).toContain("spare.weight"));
    press("F");
    press("F");
    expect([chosen(), at()]).toEqual(["Stale .grad", "step 2, NaN"]);
  });
});
