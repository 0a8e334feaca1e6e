// @vitest-environment jsdom
import { render } from "preact";
import { act } from "preact/test-utils";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { VirtualRows, type VirtualRow, type VirtualRowsProps } from "../webview/components/virtual_rows";

interface Row extends VirtualRow {
  readonly name: string;
}

const rows = (count: number): readonly Row[] => Array.from({ length: count }, (_, at) => ({ key: `r${at}`, name: `row ${at}`, level: 1, setSize: count, posInSet: at + 1 }));

let root: HTMLElement;

beforeEach(() => {
  document.body.replaceChildren();
  root = document.body.appendChild(document.createElement("div"));
});

function show(props: Partial<VirtualRowsProps<Row>>): HTMLElement {
  const all = { rows: rows(10_000), role: "tree", label: "Parameters", rowHeight: 22, render: (row: Row) => row.name, active: null, onActive: () => undefined, ...props } as const;
  act(() => render(<VirtualRows<Row> {...all} />, root));
  return root.querySelector<HTMLElement>("[role=tree], [role=treegrid], [role=listbox]")!;
}

function press(list: HTMLElement, key: string, more: KeyboardEventInit = {}): boolean {
  const event = new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...more });
  act(() => void list.dispatchEvent(event));
  return event.defaultPrevented;
}

describe("a list of ten thousand rows", () => {
  it("has at most 60 of them in the document", () => {
    expect(show({}).querySelectorAll("[role=treeitem]").length).toBeLessThanOrEqual(60);
  });

  it("has its full height, so that the scroll bar is right", () => {
    expect(show({}).querySelector<HTMLElement>(".vrows-all")!.style.height).toBe("220000px");
  });

  it("keeps the active row in the document wherever it is, and points at it", () => {
    const list = show({ active: "r9000" });
    const active = document.getElementById(list.getAttribute("aria-activedescendant")!)!;
    expect(active.textContent).toBe("row 9000");
    expect(active.getAttribute("aria-selected")).toBe("true");
    expect(active.style.top).toBe(`${9000 * 22}px`);
  });

  it("says each row's level and place among its siblings, which the document does not show", () => {
    const first = show({}).querySelector("[role=treeitem]")!;
    expect(["aria-level", "aria-setsize", "aria-posinset"].map((name) => first.getAttribute(name))).toEqual(["1", "10000", "1"]);
    expect(first.hasAttribute("aria-expanded")).toBe(false);
  });

  it("points nowhere while nothing is active or the active row is gone", () => {
    expect(show({}).hasAttribute("aria-activedescendant")).toBe(false);
    expect(show({ active: "gone" }).hasAttribute("aria-activedescendant")).toBe(false);
  });
});

describe("keys", () => {
  it("move the active row and are taken", () => {
    const onActive = vi.fn();
    const list = show({ active: "r3", onActive });
    expect(press(list, "ArrowDown")).toBe(true);
    expect(onActive).toHaveBeenCalledWith(expect.objectContaining({ key: "r4" }), 4);
  });

  it("that are the panel's own pass through", () => {
    const onActive = vi.fn();
    expect(press(show({ active: "r3", onActive, typeAhead: (row) => row.name }), "b")).toBe(false);
    expect(onActive).not.toHaveBeenCalled();
  });

  it("type ahead to a row by its name", () => {
    const onActive = vi.fn();
    press(show({ active: "r3", onActive, typeAhead: (row) => (row.key === "r7" ? "weight" : row.name) }), "w");
    expect(onActive).toHaveBeenCalledWith(expect.objectContaining({ key: "r7" }), 7);
  });

  it("enter a row, with Ctrl moving the focus along", () => {
    const onEnter = vi.fn();
    const list = show({ active: "r3", onEnter });
    press(list, "Enter");
    press(list, "Enter", { ctrlKey: true });
    expect(onEnter.mock.calls.map(([row, focus]) => [(row as Row).key, focus])).toEqual([["r3", false], ["r3", true]]);
  });

  it("are offered to the view first", () => {
    const onActive = vi.fn();
    press(show({ active: "r3", onActive, onKey: (event) => event.key === "ArrowDown" }), "ArrowDown");
    expect(onActive).not.toHaveBeenCalled();
  });
});

describe("the pointer", () => {
  const tree: readonly Row[] = [{ key: "a", name: "a", level: 1, expanded: false }, { key: "b", name: "b", level: 1 }];
  const twistie = (row: Row) => (
    <>
      <span class="tw" />
      <a href="#x">{row.name}</a>
      <i>{row.name}</i>
    </>
  );

  it("on a twistie opens the row and leaves the selection alone", () => {
    const [onActive, onToggle] = [vi.fn(), vi.fn()];
    const list = show({ rows: tree, render: twistie, onActive, onToggle });
    act(() => list.querySelector<HTMLElement>(".tw")!.click());
    expect(onToggle).toHaveBeenCalledWith(tree[0], true);
    expect(onActive).not.toHaveBeenCalled();
  });

  it("on a link in a row leaves the row alone", () => {
    const onActive = vi.fn();
    const list = show({ rows: tree, render: twistie, onActive });
    act(() => list.querySelector("a")!.click());
    expect(onActive).not.toHaveBeenCalled();
    act(() => list.querySelector("i")!.click());
    expect(onActive).toHaveBeenCalledWith(tree[0], 0);
  });
});

describe("rows that come and go", () => {
  it("above the pointer do not move the row under it", () => {
    const list = show({ rows: rows(200) });
    list.scrollTop = 440;
    act(() => void list.querySelectorAll(".vrow")[5]!.dispatchEvent(new Event("pointerenter")));
    const more: readonly Row[] = [{ key: "new", name: "new" }, ...rows(200)];
    show({ rows: more });
    expect(list.scrollTop).toBe(462);
  });

  it("leave the scroll alone while the pointer is elsewhere", () => {
    const list = show({ rows: rows(200) });
    list.scrollTop = 440;
    show({ rows: [{ key: "new", name: "new" }, ...rows(200)] });
    expect(list.scrollTop).toBe(440);
  });
});
