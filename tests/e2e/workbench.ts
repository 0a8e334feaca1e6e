/** VS Code's workbench as a user works it: files, breakpoints, the debugger's keys, the palette, themes. */

import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { Browser, BrowserContext, Locator, Page } from "playwright-core";
import { Bridge } from "./bridge.ts";
import type { Message } from "./bridge.ts";
import { Panel } from "./panel.ts";
import * as places from "./places.ts";
import { eventually } from "./processes.ts";

export interface Launch {
  readonly program: string;
  readonly [option: string]: unknown;
}

export interface Opening {
  /** Of the folder that is opened, below build/e2e. */
  readonly name: string;
  readonly launch: Launch;
  readonly programs: string;
}

export const THEMES = {
  dark: "Default Dark Modern",
  light: "Default Light Modern",
  "high-contrast": "Default High Contrast",
} as const;

const SIZE = { width: 1500, height: 950 };

export class Workbench {
  readonly folder: string;
  readonly page: Page;
  readonly bridge: Bridge;
  readonly panel: Panel;
  readonly #context: BrowserContext;
  /** Messages of debug adapters before this one belong to stops that were waited for. */
  #seen = 0;

  private constructor(folder: string, context: BrowserContext, page: Page, bridge: Bridge) {
    this.folder = folder;
    this.#context = context;
    this.page = page;
    this.bridge = bridge;
    this.panel = new Panel(page);
  }

  /** A new window on a copy of the program, with one launch configuration. */
  static async open(browser: Browser, url: string, { name, launch, programs }: Opening): Promise<Workbench> {
    const folder = path.join(places.runs, name, "workspace");
    rmSync(path.dirname(folder), { recursive: true, force: true });
    cpSync(programs, folder, { recursive: true });
    mkdirSync(path.join(folder, ".vscode"));
    const configuration = { name: launch.program, type: "debugpy", request: "launch", justMyCode: true, ...launch, program: path.join(folder, launch.program) };
    writeFileSync(path.join(folder, ".vscode", "launch.json"), JSON.stringify({ version: "0.2.0", configurations: [configuration] }));
    const context = await browser.newContext({ viewport: SIZE });
    const page = await context.newPage();
    try {
      await page.goto(`${url}/?folder=${folder}`);
      await page.locator(".monaco-workbench .explorer-folders-view").waitFor({ timeout: 60_000 });
      return new Workbench(folder, context, page, await Bridge.open(folder));
    } catch (error) {
      await page.screenshot({ path: path.join(path.dirname(folder), "not opened.png") });
      await context.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.#context.close();
  }

  /** The number of the line that ends in `# LINE mark`. */
  line(file: string, mark: string): number {
    const lines = readFileSync(path.join(this.folder, file), "utf8").split("\n");
    const number = lines.findIndex((text) => text.endsWith(`# LINE ${mark}`)) + 1;
    if (number === 0) throw new Error(`${file} has no line that is marked "${mark}"`);
    return number;
  }

  async openFile(file: string): Promise<void> {
    await this.#quickInput("Control+P", file);
    await this.page.locator(".tab.active", { hasText: file }).waitFor();
  }

  async goToLine(line: number): Promise<void> {
    await this.#quickInput("Control+G", String(line));
  }

  async toggleBreakpoint(file: string, mark: string): Promise<void> {
    const line = this.line(file, mark);
    await this.openFile(file);
    await this.goToLine(line);
    const before = (await this.bridge.ask("breakpoints", {})).length;
    await this.page.keyboard.press("F9");
    await eventually("the breakpoint", async () => ((await this.bridge.ask("breakpoints", {})).length !== before ? true : undefined));
  }

  /** Through the palette, by the title that a user reads there. */
  async command(title: string): Promise<void> {
    await this.#quickInput("F1", title);
  }

  async #quickInput(key: string, text: string): Promise<void> {
    const box = this.page.locator(".quick-input-widget");
    await this.page.keyboard.press(key);
    await box.waitFor({ state: "visible" });
    await this.page.keyboard.type(text);
    const wanted = key === "Control+G" ? box : box.locator(".monaco-list-row.focused", { hasText: text });
    await wanted.first().waitFor();
    await this.page.keyboard.press("Enter");
    await box.waitFor({ state: "hidden" });
  }

  /** Enter in the editor that is open, so that keys go there and not into a webview. */
  async focusEditor(): Promise<void> {
    await this.bridge.command("workbench.action.focusActiveEditorGroup");
  }

  async startDebugging(): Promise<void> {
    await this.focusEditor();
    await this.page.keyboard.press("F5");
  }

  /** Debugs with the panel shown, up to the line of a file that is marked so. */
  async stopAt(file: string, mark: string): Promise<void> {
    await this.toggleBreakpoint(file, mark);
    await this.bridge.command("gradwatch.focus");
    await this.widenPanel(480);
    await this.startDebugging();
    await this.stopped();
  }

  async resume(): Promise<void> {
    await this.page.keyboard.press("F5");
  }

  async stepOver(): Promise<void> {
    await this.page.keyboard.press("F10");
  }

  async stopDebugging(): Promise<void> {
    await this.bridge.command("workbench.action.debug.stop");
    await this.page.locator(".debug-toolbar").waitFor({ state: "hidden" });
  }

  /** The next stop of any session: its message, once VS Code shows where. */
  async stopped(limitMs = 60_000): Promise<Message> {
    const message = await this.stoppedSomewhere(limitMs);
    await eventually("the focus on the stopped frame", async () => {
      const since = await this.bridge.messages(this.#seen);
      return since.some(({ type, session }) => type === "focus" && session === message.session) ? true : undefined;
    });
    return message;
  }

  /** The same where VS Code may have another session in focus, and keeps it. */
  stoppedSomewhere(limitMs = 60_000): Promise<Message> {
    return eventually("a stop", () => this.#nextStop(), limitMs);
  }

  async #nextStop(): Promise<Message | undefined> {
    const messages = await this.bridge.messages(this.#seen);
    const at = messages.findIndex((message) => message.type === "event" && message.name === "stopped");
    if (at >= 0) this.#seen += at + 1;
    return messages[at];
  }

  /** What was asked of the debugged programs by the panel, in order. */
  async questions(): Promise<readonly Message[]> {
    return (await this.bridge.messages()).filter((message) => message.question !== undefined);
  }

  /** Where the text cursor stands, once it is in that line. */
  async cursorAt(file: string, line: number): Promise<void> {
    const stands = async (): Promise<true | undefined> => {
      const editor = await this.bridge.ask("editor", {});
      if (editor === null) throw new Error("no editor");
      if (path.basename(editor.file) !== file || editor.line !== line) throw new Error(`it is at ${editor.file}:${editor.line}`);
      return true;
    };
    await eventually(`the cursor at ${file}:${line}`, stands, 10_000);
  }

  /** Before Python 3.12 a node stands on the line that called its module. */
  seesEveryLine(): Promise<boolean> {
    return this.bridge.evaluate('__import__("sys").version_info >= (3, 12)');
  }

  frameInCallStack(name: string): Locator {
    return this.page.locator(".debug-call-stack .monaco-list-row", { hasText: name }).first();
  }

  async theme(name: keyof typeof THEMES): Promise<void> {
    await this.bridge.ask("setting", { name: "workbench.colorTheme", value: THEMES[name] });
    const kind = name === "dark" ? "vs-dark" : name === "light" ? "vs" : "hc-black";
    await this.page.locator(`.monaco-workbench.${kind}`).waitFor();
  }

  /** Drags the side bar's edge until the panel is about that wide. */
  async widenPanel(width: number): Promise<void> {
    const bar = this.page.locator(".part.sidebar");
    for (let tries = 0; tries < 3; tries++) {
      const box = await bar.boundingBox();
      if (box === null) throw new Error("the side bar is hidden");
      if (Math.abs(box.width - width) < 3) return;
      const y = box.y + box.height / 2;
      await this.page.mouse.move(box.x + box.width, y);
      await this.page.mouse.down();
      await this.page.mouse.move(box.x + width, y, { steps: 4 });
      await this.page.mouse.up();
    }
  }

  async screenshot(name: string): Promise<void> {
    await this.page.mouse.move(SIZE.width - 200, SIZE.height - 30);
    await this.page.screenshot({ path: path.join(places.screenshots, `${name}.png`) });
  }

  /** The state that is shown now, in every theme and both widths. */
  async screenshots(name: string): Promise<void> {
    for (const theme of ["light", "high-contrast", "dark"] as const) {
      await this.theme(theme);
      await this.screenshot(`${name}-${theme}`);
    }
    await this.widenPanel(300);
    await this.page.waitForTimeout(300); // charts measure themselves once the edge rests
    await this.screenshot(`${name}-narrow`);
    await this.widenPanel(480);
  }
}
