/** The gradwatch panel: a webview inside the workbench, read and worked by roles and names as assistive tools do. */

import type { Frame, Locator, Page } from "playwright-core";
import { eventually } from "./processes.ts";

export type Tab = "Gradients" | "Graph" | "Held";

export class Panel {
  readonly #page: Page;

  constructor(page: Page) {
    this.#page = page;
  }

  /** A webview is a frame in a frame: the inner one holds the panel. */
  async frame(): Promise<Frame> {
    return eventually("the panel", async () => {
      for (const frame of this.#page.frames()) {
        if (frame.parentFrame() !== null && (await frame.locator('script[src*="/panel.js"]').count()) > 0) return frame;
      }
      return undefined;
    });
  }

  async root(): Promise<Locator> {
    return (await this.frame()).locator("body");
  }

  /** All text that is shown, in one line. */
  async text(): Promise<string> {
    return (await (await this.root()).innerText()).replaceAll(/\s+/g, " ");
  }

  async shows(text: string | RegExp, limitMs = 30_000): Promise<void> {
    const matches = (shown: string): boolean => (typeof text === "string" ? shown.includes(text) : text.test(shown));
    await eventually(`"${text}" in the panel`, async () => {
      const shown = await this.text();
      if (matches(shown)) return true;
      throw new Error(`it shows: ${shown.slice(0, 1500)}`);
    }, limitMs);
  }

  async tab(name: Tab): Promise<void> {
    const frame = await this.frame();
    await frame.getByRole("tab", { name: new RegExp(`^${name}`) }).click();
  }

  /** A row of a tree that is on screen, by the beginning of its accessible name. */
  async row(name: string): Promise<Locator> {
    const escaped = name.replaceAll(/[^\w\s]/g, "\\$&");
    return (await this.frame()).getByRole("treeitem", { name: new RegExp(`^${escaped}`) }).first();
  }

  /** The accessible name of a row, which says its numbers and states. */
  async says(row: string): Promise<string> {
    return (await (await this.row(row)).getAttribute("aria-label")) ?? "";
  }

  async open(row: string): Promise<void> {
    const found = await this.row(row);
    await found.click();
    await found.press("ArrowRight");
  }

  /** Accessible names of the rows on screen, in order. */
  async rows(): Promise<readonly string[]> {
    const rows = (await this.frame()).getByRole("treeitem");
    return rows.evaluateAll((found) => found.filter((row) => row.checkVisibility()).map((row) => row.getAttribute("aria-label") ?? ""));
  }

  async button(name: string | RegExp): Promise<Locator> {
    return (await this.frame()).getByRole("button", { name }).first();
  }
}
