/** Notebooks, as files and in a browser. */

import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { Locator, Page } from "playwright-core";
import { eventually } from "../e2e/processes.ts";
import type { Lab } from "./lab.ts";

export const SETUP = `%load_ext gradwatch
import time, torch
torch.manual_seed(0)
blocks = [torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.Tanh()) for _ in range(5)]
model = torch.nn.Sequential(*blocks, torch.nn.Linear(16, 4))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)

def train(steps, pause=0.0):
    for _ in range(steps):
        x, y = torch.randn(32, 16), torch.randint(0, 4, (32,))
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        time.sleep(pause)`;

/** Writes a notebook for a kernel; each text is a cell of code. */
export function writeNotebook(lab: Lab, name: string, kernel: string, cells: readonly string[]): string {
  const code = (source: string): object => ({ cell_type: "code", execution_count: null, metadata: {}, outputs: [], source });
  const kernelspec = { name: `ipykernel-${kernel}`, display_name: `ipykernel ${kernel}`, language: "python" };
  const file = path.join(lab.folder, name);
  writeFileSync(file, JSON.stringify({ cells: cells.map(code), metadata: { kernelspec }, nbformat: 4, nbformat_minor: 4 }));
  return file;
}

export interface SavedOutput {
  readonly output_type: string;
  readonly data?: Readonly<Record<string, unknown>>;
}

/** The outputs of a saved notebook's cell. */
export function savedOutputs(file: string, cell: number): readonly SavedOutput[] {
  const notebook = JSON.parse(readFileSync(file, "utf8")) as { readonly cells: readonly { readonly outputs: readonly SavedOutput[] }[] };
  return notebook.cells[cell]?.outputs ?? [];
}

export async function openNotebook(page: Page, lab: Lab, name: string): Promise<void> {
  await page.goto(`${lab.url}/lab/tree/${name}?reset`, { waitUntil: "domcontentloaded" });
  await page.locator(".jp-Notebook .jp-Cell").first().waitFor({ timeout: 60_000 });
  // The kernel is there when its state is drawn as idle, and the list of kernels has come with the status bar.
  await page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').waitFor({ timeout: 60_000 });
  await page.locator("#jp-main-statusbar", { hasText: "| Idle" }).waitFor({ timeout: 60_000 });
}

export async function runAll(page: Page): Promise<void> {
  await page.locator(".lm-MenuBar-itemLabel", { hasText: /^Run$/ }).click();
  await page.locator(".lm-Menu-itemLabel", { hasText: /^Run All Cells$/ }).click();
}

export function prompt(page: Page, cell: number): Locator {
  return page.locator(".jp-CodeCell .jp-InputPrompt").nth(cell);
}

export async function isBusy(page: Page, cell: number): Promise<boolean> {
  return (await prompt(page, cell).textContent())?.includes("*") ?? false;
}

export function ended(page: Page, cell: number): Promise<true> {
  return eventually(`the end of cell ${cell}`, async () => (/\[\d+\]/.test((await prompt(page, cell).textContent()) ?? "") ? true : undefined), 120_000);
}

export async function save(page: Page): Promise<void> {
  await page.keyboard.press("Control+s");
  await page.locator(".jp-DirtyIndicator, .jp-mod-dirty").first().waitFor({ state: "detached", timeout: 10_000 });
}

export async function openInNotebook7(page: Page, lab: Lab, name: string): Promise<void> {
  await page.goto(`${lab.url}/notebooks/${name}`, { waitUntil: "domcontentloaded" });
  await page.locator(".jp-Notebook .jp-Cell").first().waitFor({ timeout: 60_000 });
  await page.locator(".jp-NotebookKernelStatus, .jp-Notebook-ExecutionIndicator[data-status='idle']").first().waitFor({ timeout: 60_000 });
}
