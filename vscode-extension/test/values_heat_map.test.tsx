// @vitest-environment jsdom
import { render } from "preact";
import { act } from "preact/test-utils";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ValuesRequest } from "../shared/messages";
import type { Subject } from "../shared/session";
import { valuesText } from "../shared/text";
import { MOST_VALUES } from "../shared/values";
import { HeatMap, type HeatMapProps } from "../webview/components/heat_map";
import type { Ask } from "../webview/view";

const SUBJECT: Subject = { stop: 3, field: "grad", parameter: 1 };

/** A debuggee that answers when it is told to: each value is its row times 1000 plus its column. */
class FakeDebuggee {
  readonly asked: ValuesRequest[] = [];
  private readonly waiting: { readonly resolve: (text: string) => void; readonly reject: (error: Error) => void }[] = [];

  readonly ask = ((method: string, params: ValuesRequest) => {
    expect(method).toBe("values");
    this.asked.push(params);
    return new Promise<string>((resolve, reject) => this.waiting.push({ resolve, reject }));
  }) as unknown as Ask;

  async answer(change: Record<string, unknown> = {}): Promise<void> {
    const at = this.asked.length - this.waiting.length;
    const next = this.waiting.shift();
    const request = this.asked[at];
    if (!next || !request) throw new Error("nothing was asked");
    await settled(() => next.resolve(JSON.stringify({ kind: "Values", value: { ...valuesOf(request), ...change } })));
  }

  async fail(message: string): Promise<void> {
    await settled(() => this.waiting.shift()?.reject(new Error(message)));
  }

  async answerText(text: string): Promise<void> {
    await settled(() => this.waiting.shift()?.resolve(text));
  }
}

function valuesOf(request: ValuesRequest): Record<string, unknown> {
  const { row, column, rows, columns, index, subject } = request;
  const numbers = Array.from({ length: rows * columns }, (_, i) => (row + Math.floor(i / columns)) * 1000 + column + (i % columns));
  const data = btoa(String.fromCharCode(...new Uint8Array(Float32Array.from(numbers).buffer)));
  return { subject, shape: [], dtype: "float32", device: "cpu", index, row, column, rows, columns, values: { dtype: "<f4", data } };
}

async function settled(change: () => unknown): Promise<void> {
  await act(async () => {
    change();
    for (let i = 0; i < 6; i++) await Promise.resolve();
  });
}

let host: HTMLElement;
let debuggee: FakeDebuggee;

beforeEach(() => {
  host = document.createElement("div");
  document.body.append(host);
  debuggee = new FakeDebuggee();
  vi.spyOn(HTMLElement.prototype, "clientWidth", "get").mockReturnValue(280);
  vi.spyOn(HTMLCanvasElement.prototype, "getContext").mockReturnValue(null);
});

afterEach(() => {
  render(null, host);
  host.remove();
  vi.restoreAllMocks();
});

async function show(change: Partial<HeatMapProps> = {}): Promise<void> {
  await settled(() =>
    render(<HeatMap ask={debuggee.ask} subject={SUBJECT} shape={[8, 12, 512, 512]} dtype="float32" title="values" {...change} />, host),
  );
}

async function press(key: string, change: KeyboardEventInit = {}): Promise<void> {
  const cells = host.querySelector<HTMLElement>("[role=application]");
  await settled(() => cells?.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...change })));
}

const caption = (): string => host.querySelector(".hm-caption")?.textContent ?? "";
const heading = (): string => host.querySelector(".hm-slice")?.textContent ?? "";
const button = (text: string): HTMLButtonElement => {
  const found = [...host.querySelectorAll("button")].find((element) => element.textContent === text);
  if (!found) throw new Error(`no button ${text}`);
  return found;
};

describe("a heat map", () => {
  it("asks for one window that fits its width and the answer's bound", async () => {
    await show();
    expect(debuggee.asked).toEqual([{ subject: SUBJECT, index: [0, 0], row: 0, column: 0, rows: 8, columns: 35, findNonFinite: false }]);
    await show({ height: 4000, subject: { ...SUBJECT, parameter: 2 } });
    const { rows, columns } = debuggee.asked[1] ?? { rows: Infinity, columns: 1 };
    expect(rows * columns).toBeLessThanOrEqual(MOST_VALUES);
  });

  it("shows the value under the cursor in full, as the keys move it", async () => {
    await show();
    await debuggee.answer();
    await press("ArrowDown");
    await press("ArrowDown");
    await press("ArrowRight");
    expect(caption()).toBe("[0, 0, 1, 1] 1001");
    expect(debuggee.asked).toHaveLength(1);
  });

  it("asks for another window when the cursor leaves this one, and keeps what was seen until it comes", async () => {
    await show();
    await debuggee.answer();
    await press("ArrowRight");
    await press("End");
    expect(debuggee.asked[1]).toMatchObject({ row: 0, column: 477 });
    expect(caption()).toBe(valuesText.reading);
    await debuggee.answer();
    expect(caption()).toBe("[0, 0, 0, 511] 511");
    expect(heading()).toBe("[0, 0, 0:8, 477:512]");
  });

  it("never asks for windows that were left before their turn came, and drops the answer that is late", async () => {
    await show();
    await press("PageDown");
    await press("PageDown");
    await press("PageDown");
    await press("PageDown");
    expect(debuggee.asked).toHaveLength(1);
    await debuggee.answer();
    expect(debuggee.asked).toHaveLength(2);
    expect(host.querySelector("[aria-busy=true]")).not.toBeNull();
    await debuggee.answer();
    expect(debuggee.asked).toHaveLength(2);
    expect(caption()).toMatch(/^\[0, 0, 24, 0\] 24000$/);
  });

  it("asks again at a new stop, in the same place, and does not take the old answer for the new one", async () => {
    await show();
    await debuggee.answer();
    await press("ArrowDown");
    await press("End");
    await debuggee.answer();
    await show({ subject: { ...SUBJECT, stop: 4 } });
    expect(debuggee.asked.at(-1)).toMatchObject({ subject: { stop: 4 }, column: 477 });
    expect(caption()).toBe(valuesText.reading);
    expect(host.querySelector(".hm-old")).not.toBeNull();
    await debuggee.answer();
    expect(host.querySelector(".hm-old")).toBeNull();
    expect(caption()).toContain("511");
  });

  it("drops an answer of the stop before that comes after the new stop", async () => {
    await show();
    await show({ subject: { ...SUBJECT, stop: 4 } });
    await debuggee.answer();
    expect(host.querySelector("[aria-busy=true]")).not.toBeNull();
    await debuggee.answer();
    expect(host.querySelector("[aria-busy=true]")).toBeNull();
  });

  it("begins anew for another tensor, and an answer for the one before is dropped", async () => {
    await show();
    await show({ subject: { ...SUBJECT, parameter: 7 }, shape: [3, 4] });
    await debuggee.answer({ dtype: "late" });
    expect(host.querySelector("[aria-busy=true]")).not.toBeNull();
    await debuggee.answer();
    expect(heading()).toBe("[0:3, 0:4]");
    expect(host.querySelector("[aria-busy=true]")).toBeNull();
  });

  it("says what failed, tells its owner, and asks again on request", async () => {
    const onError = vi.fn();
    await show({ onError });
    await debuggee.fail("The program runs on: stop again to read values.");
    expect(host.querySelector("[role=alert]")?.textContent).toContain("The program runs on: stop again to read values.");
    expect(onError).toHaveBeenCalledWith("The program runs on: stop again to read values.");
    await settled(() => button(valuesText.retry).click());
    await debuggee.answerText(JSON.stringify({ kind: "Failure", value: { error: "UsageError", message: "It was released." } }));
    expect(host.querySelector("[role=alert]")?.textContent).toContain("It was released.");
    await settled(() => button(valuesText.retry).click());
    await debuggee.answer();
    expect(host.querySelector("[role=alert]")).toBeNull();
  });

  it("goes to the slice that is picked, and no further than the tensor", async () => {
    await show();
    await debuggee.answer();
    await settled(() => button(valuesText.slice).click());
    const field = host.querySelectorAll<HTMLInputElement>("input")[1];
    if (!field) throw new Error("no field");
    field.value = "99";
    await settled(() => field.dispatchEvent(new Event("change", { bubbles: true })));
    expect(debuggee.asked.at(-1)?.index).toEqual([0, 11]);
    expect(heading()).toBe("[0, 11, 0:8, 0:35]");
  });

  it("finds the first NaN only where the statistics counted one, and goes there", async () => {
    await show();
    expect(host.querySelector(".hm-first")).toBeNull();
    await show({ nonFinite: 3 });
    await debuggee.answer();
    await settled(() => button(valuesText.showFirst).click());
    expect(debuggee.asked.at(-1)).toMatchObject({ findNonFinite: true, rows: 1, columns: 1 });
    await debuggee.answer({ first_nonfinite: [3, 0, 37, 500] });
    expect(debuggee.asked.at(-1)).toMatchObject({ index: [3, 0], findNonFinite: false });
    await debuggee.answer();
    expect(caption()).toBe("[3, 0, 37, 500] 37500");
  });

  it("says that the budget ended before a NaN was found", async () => {
    await show({ nonFinite: 3 });
    await debuggee.answer();
    await settled(() => button(valuesText.showFirst).click());
    await debuggee.answer({ first_nonfinite: null, missing: [{ part: "values", reason: "The budget of 1 s ended." }] });
    expect(host.querySelector(".hm-first")?.textContent).toContain("Not found. The budget of 1 s ended.");
  });

  it("shows a scalar's value at once, and asks nothing of an empty tensor", async () => {
    await show({ shape: [], dtype: "float64" });
    await debuggee.answer();
    expect(caption()).toBe(`0 ${valuesText.rounded}`);
    await show({ shape: [0, 4] });
    expect(host.textContent).toContain(valuesText.empty);
    expect(debuggee.asked).toHaveLength(1);
  });

  it("keeps the scale of the tensor's own maximum where it is known, else of the largest seen", async () => {
    await show({ absMax: 5e5 });
    await debuggee.answer();
    expect(host.querySelector(".hm-legend")?.textContent).toBe("−5.00+5.0 ×1e5");
    await show({ subject: { ...SUBJECT, parameter: 2 } });
    await debuggee.answer();
    expect(host.querySelector(".hm-legend")?.textContent).toBe("−7.00+7.0 ×1e3");
  });
});
