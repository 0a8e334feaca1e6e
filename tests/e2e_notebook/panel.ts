/** The panel in a cell's output, as a user sees it. */

import type { Locator, Page } from "playwright-core";

export class Panel {
  readonly page: Locator;
  readonly #browser: Page;

  private constructor(browser: Page) {
    this.#browser = browser;
    this.page = browser.locator(".gradwatch-live .gradwatch-page");
  }

  /** The only panel of a notebook, once it shows a session with steps. */
  static async in(page: Page): Promise<Panel> {
    const panel = new Panel(page);
    await panel.#slider.waitFor({ timeout: 60_000 });
    return panel;
  }

  get #slider(): Locator {
    return this.page.locator('[role="slider"][aria-valuetext]').first();
  }

  async #number(attribute: string): Promise<number> {
    return Number(await this.#slider.getAttribute(attribute));
  }

  /** Where the playhead is. */
  step(): Promise<number> {
    return this.#number("aria-valuenow");
  }

  lastStep(): Promise<number> {
    return this.#number("aria-valuemax");
  }

  /** Drags the playhead to a share of the timeline. */
  async drag(share: number): Promise<void> {
    await this.#slider.scrollIntoViewIfNeeded();
    const box = await this.#slider.boundingBox();
    if (box === null) throw new Error("The timeline is not on the screen.");
    const y = box.y + box.height / 2;
    await this.#browser.mouse.move(box.x + box.width * 0.8, y);
    await this.#browser.mouse.down();
    for (const at of [0.6, 0.45, share]) await this.#browser.mouse.move(box.x + box.width * at, y);
    await this.#browser.mouse.up();
  }

  /** What the selected tab says. */
  async tab(): Promise<string> {
    return (await this.page.locator('[role="tab"][aria-selected="true"]').first().textContent()) ?? "";
  }
}
