/** The page of a recorded session: a webview in an editor, read and worked by roles and names as assistive tools do. */

import type { Frame, Locator, Page } from "playwright-core";
import { eventually } from "./processes.ts";

export class ReplayPage {
  readonly #page: Page;

  constructor(page: Page) {
    this.#page = page;
  }

  /** A webview is a frame in a frame: the inner one holds the page. Of several editors, the one that is shown. */
  async frame(): Promise<Frame> {
    return eventually("the session's page", async () => {
      for (const frame of this.#page.frames()) {
        if (frame.parentFrame() !== null && (await isShown(frame))) return frame;
      }
      return undefined;
    });
  }

  /** All text that is shown, in one line. */
  async text(): Promise<string> {
    return (await (await this.frame()).locator("body").innerText()).replaceAll(/\s+/g, " ");
  }

  async shows(text: string | RegExp, limitMs = 60_000): Promise<void> {
    const matches = (shown: string): boolean => (typeof text === "string" ? shown.includes(text) : text.test(shown));
    await eventually(`"${text}" in the session's page`, async () => {
      const shown = await this.text();
      if (matches(shown)) return true;
      throw new Error(`it shows: ${shown.slice(0, 1500)}`);
    }, limitMs);
  }

  async button(name: string | RegExp): Promise<Locator> {
    return (await this.frame()).getByRole("button", { name }).first();
  }

  /** The playhead of the timeline. */
  async playhead(): Promise<Locator> {
    return (await this.frame()).getByRole("slider").first();
  }

  /** The step that the playhead stands at. */
  async step(): Promise<number> {
    return Number(await (await this.playhead()).getAttribute("aria-valuenow"));
  }

  async standsAt(step: number | ((step: number) => boolean), limitMs = 30_000): Promise<number> {
    const wanted = typeof step === "number" ? (at: number): boolean => at === step : step;
    return eventually(`the playhead at ${step}`, async () => {
      const at = await this.step();
      if (wanted(at)) return at;
      throw new Error(`it stands at step ${at}`);
    }, limitMs);
  }
}

async function isShown(frame: Frame): Promise<boolean> {
  try {
    if ((await frame.locator('script[src*="/replay.js"]').count()) === 0) return false;
    return await (await frame.parentFrame()!.frameElement()).isVisible();
  } catch {
    return false; // it went away meanwhile
  }
}
