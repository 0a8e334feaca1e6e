// @vitest-environment jsdom
/** The gradient table of a step that was scaled, and of one whose gradients are known before their reduction. */

import { render } from "preact";
import { act } from "preact/test-utils";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { NOTHING, type Selection } from "../shared/selection";
import type { StepSnapshot } from "../shared/recorded_step";
import { GradientsView } from "../webview/gradients/gradients_view";
import { memoryStore, StoreContext, type Store } from "../webview/stored";
import type { Ask } from "../webview/view";
import { goldenBytes, openSession } from "./recorded_files";

let root: HTMLElement;
let store: Store;
let snapshot: StepSnapshot;

beforeEach(async () => {
  root = document.body.appendChild(document.createElement("div"));
  store = memoryStore();
  snapshot = await (await openSession(goldenBytes("regimes"))).snapshotOfStep(0);
});

afterEach(() => {
  act(() => render(null, root));
  root.remove();
});

function draw(of: StepSnapshot, width = 480, selection: Selection = NOTHING): void {
  const recorded = { history: null, curveOf: () => null, heldCurve: null };
  const view = { session: "s", snapshot: of, previous: null, dimmed: false, selection, select: () => {}, showTab: () => {}, ask: (() => new Promise(() => {})) as Ask, onCommand: () => () => {}, breakHere: () => {}, width, recorded };
  act(() => render(<StoreContext.Provider value={store}><GradientsView {...view} /></StoreContext.Provider>, root));
}

function row(name: string): HTMLElement {
  return [...root.querySelectorAll<HTMLElement>(".grad-row")].find((one) => one.getAttribute("aria-label")!.startsWith(name))!;
}

function beside(name: string): string {
  return row(name).querySelector(".beside")!.textContent!;
}

function choose(words: string): void {
  const button = [...root.querySelectorAll<HTMLElement>(".grad-filter .grad-switch button")].find((one) => one.textContent === words)!;
  act(() => button.click());
}

describe("the gradient table", () => {
  it("has norms without the loss scale, and as accumulated beside them", () => {
    draw(snapshot);
    expect(row("model.fc.weight").querySelector(".num")!.textContent).toBe("4.00e0");
    expect([beside("model.fc.weight"), beside("model.fc.bias")]).toEqual(["2.62e5", "6.55e5"]);
    expect(root.querySelector(".head-beside")!.getAttribute("title")).toBe("Norm as accumulated: with the loss scale, 65,536");
    expect(row("model.fc.weight").getAttribute("aria-label")).toBe("model.fc.weight, finite, norm 4.00e0, 2.62e5 as accumulated, scaled, local norm 2.00e0, changed");
  });

  it("has local norms beside the reduced ones, where that is chosen, of modules too", () => {
    draw(snapshot);
    choose("local");
    expect([beside("model.fc.weight"), beside("model.fc.bias")]).toEqual(["2.00e0", "5.00e0"]);
    expect(beside("model, ")).toBe("5.39e0");
  });

  it("says in the dock all three, at every width", () => {
    for (const width of [300, 480]) {
      draw(snapshot, width, { kind: "parameter", id: 1 });
      const facts = Object.fromEntries([...root.querySelectorAll(".grad-kv > div")].map((fact) => [fact.querySelector("dt")!.textContent, fact.querySelector("dd")!.textContent]));
      expect(facts).toMatchObject({ norm: "1.00e1", "scaled norm": "6.55e5", "local norm": "5.00e0" });
      expect(root.querySelector(".magnitude-box")!.textContent).toContain("as accumulated: scaled by 65,536");
    }
  });

  it("has no second norm where nothing was scaled or reduced", () => {
    const { scaling, ...plain } = snapshot;
    draw({ ...plain, gradients: plain.gradients!.filter(({ subject_kind: kind }) => kind !== "local") });
    expect(scaling!.lossScale).toBe(65536);
    expect([root.querySelector(".beside"), root.querySelector(".head-beside")]).toEqual([null, null]);
    expect(row("model.fc.weight").querySelector(".num")!.textContent).toBe("2.62e5");
  });

  it("judges the size of a gradient without the scale", () => {
    draw(snapshot);
    expect(root.textContent).not.toContain("exploding");
    const { scaling: _, ...unknown } = snapshot;
    draw({ ...unknown });
    expect(root.textContent).toContain("exploding");
  });
});
