// @vitest-environment jsdom
import { describe, expect, it } from "vitest";
import { isField, keyCommand, staysInField } from "../webview/keyboard";

const key = (name: string, more: Partial<{ ctrlKey: boolean; metaKey: boolean; altKey: boolean; isComposing: boolean }> = {}) => ({ key: name, ctrlKey: false, metaKey: false, altKey: false, ...more });

describe("the panel's keys", () => {
  it.each([
    ["1", "gradients"],
    ["2", "graph"],
    ["3", "held"],
    ["/", "filter"],
    ["f", "nextTrouble"],
    ["F", "previousTrouble"],
    ["b", "breakHere"],
    ["n", "stepToNextNode"],
    ["Escape", "closeDock"],
    ["x", null],
  ])("%s is %s", (name, command) => expect(keyCommand(key(name), false)).toBe(command));

  it("are text while a field has the focus, but Esc still leaves", () => {
    expect(keyCommand(key("b"), true)).toBeNull();
    expect(keyCommand(key("Escape"), true)).toBe("closeDock");
  });

  it("with a modifier are somebody else's", () => {
    expect(keyCommand(key("f", { ctrlKey: true }), false)).toBeNull();
    expect(keyCommand(key("1", { altKey: true }), false)).toBeNull();
    expect(keyCommand(key("b", { isComposing: true }), false)).toBeNull();
  });
});

describe("a letter in a field", () => {
  it("does not reach the host's bindings", () => {
    expect(staysInField(key("b"), true)).toBe(true);
    expect(staysInField(key("b"), false)).toBe(false);
  });

  it("leaves shortcuts and editing keys to everybody", () => {
    expect(staysInField(key("c", { ctrlKey: true }), true)).toBe(false);
    expect(staysInField(key("Escape"), true)).toBe(false);
  });

  it("is one in a text field or a list, not on a check box", () => {
    const element = (html: string): Element => Object.assign(document.createElement("div"), { innerHTML: html }).firstElementChild!;
    expect(["<input>", "<select></select>", "<textarea></textarea>"].map((html) => isField(element(html)))).toEqual([true, true, true]);
    expect(["<input type=checkbox>", "<button></button>", "<div></div>"].map((html) => isField(element(html)))).toEqual([false, false, false]);
  });
});
