/** The Graph and Held views before backward, the notes in the editor, and the call stack. */

import assert from "node:assert/strict";
import { scenario } from "./scenario.ts";
import { eventually } from "./processes.ts";
import type { Workbench } from "./workbench.ts";

scenario("a node opens the editor at its line, held bytes stand on their lines, a frame changes the panel", { program: "train.py" }, async (workbench) => {
  const { panel, bridge } = workbench;
  await workbench.stopAt("train.py", "before backward");
  await panel.shows("Paused at train.py");
  // Nothing watched the first forward call, so its lines are not known; from the first stop on they are.
  await workbench.focusEditor();
  await workbench.resume();
  await workbench.stopped();
  await panel.shows("Paused at train.py");

  await panel.tab("Graph");
  const nodes = await bridge.evaluate<number>('len(__import__("truth").nodes(loss))');
  await panel.shows(new RegExp(`Graph ${nodes}\\b`));
  await expandToSoftmax(workbench);
  await workbench.screenshots("graph");
  const softmax = workbench.line("train.py", (await workbench.seesEveryLine()) ? "softmax" : "attention called");
  await workbench.cursorAt("train.py", softmax);

  await workbench.page.keyboard.press("3"); // the focus is in the graph
  await panel.shows("held for backward now");
  const bytes = await bridge.evaluate<number>('__import__("truth").held_bytes(loss, model)');
  await panel.shows(`Held ${(bytes / 1024).toPrecision(3)} KiB`);
  assert.match(await panel.says(`train.py:${softmax}`), /KiB/);
  await workbench.screenshots("held");
  await notesInEditor(workbench);

  await callerInCallStack(workbench);
});

async function expandToSoftmax({ panel }: Workbench): Promise<void> {
  await panel.open("blocks.0–3");
  await panel.open("blocks.0,");
  await panel.open("attn");
  const node = await panel.row("SoftmaxBackward0");
  await node.click();
  await panel.shows("gradient in");
  await node.press("Enter");
}

/** A note is drawn after the line's text. */
async function notesInEditor({ page }: Workbench): Promise<void> {
  const notes = await eventually("notes of held bytes in the editor", async () => {
    const found = await page.locator(".view-line span").evaluateAll((spans) =>
      spans.map((span) => getComputedStyle(span, "::after").content).filter((content) => content.includes("held")),
    );
    return found.length > 0 ? found : undefined;
  });
  assert.match(notes.join(), /KiB held/);
}

/** The panel moves beside the call stack, as a user may drag it there. */
async function callerInCallStack(workbench: Workbench): Promise<void> {
  const { panel, bridge } = workbench;
  await bridge.command("vscode.moveViews", { viewIds: ["gradwatch.panel"], destinationId: "workbench.view.debug" });
  await bridge.command("gradwatch.panel.focus");
  await panel.shows(`Paused at train.py:${workbench.line("train.py", "before backward")}`);
  await workbench.frameInCallStack("main").click();
  await panel.shows(`Paused at train.py:${workbench.line("train.py", "step")}`);
  await workbench.page.locator(".monaco-list-row", { hasText: /tokens\s*=\s*Tensor\s\[4,\s17\]\sint64\scpu/ }).waitFor();
  await workbench.screenshot("caller-dark");
}
