/** The Gradients view at a breakpoint: its numbers are those that torch computes in the debugged program. */

import assert from "node:assert/strict";
import { scenario } from "./scenario.ts";
import type { Workbench } from "./workbench.ts";

const NORMS = "{name: None if p.grad is None else float(p.grad.norm()) for name, p in model.named_parameters()}";

/** "blocks.0.ln1.weight, finite, norm 4.02e−3": three digits, and a real minus. */
function normIn(sentence: string): number | null {
  const [, text] = /norm ([\d.]+e[−\d]+)/.exec(sentence) ?? [];
  return text === undefined ? null : Number(text.replace("−", "-"));
}

async function openToParameters({ panel }: Workbench): Promise<void> {
  for (const module of ["model.blocks", "model.blocks.0", "model.blocks.0.attn", "model.blocks.0.attn.qkv"]) await panel.open(module);
}

scenario("the gradients are those that torch computes, and the next stop marks what changed", { program: "train.py" }, async (workbench) => {
  const { panel, bridge } = workbench;
  await workbench.toggleBreakpoint("train.py", "after backward");
  await bridge.command("gradwatch.focus");
  await workbench.widenPanel(480);
  await panel.shows("No debug session");
  await workbench.screenshots("no-session");

  await workbench.startDebugging();
  await workbench.stopped();
  await panel.shows("Paused at train.py");
  await openToParameters(workbench);
  const first = await compareNorms(workbench);
  assert.match(await panel.says("model.unused"), /None/);
  assert.ok(!first.some((row) => row.includes("changed")), "nothing is known of before the first stop");
  await workbench.screenshots("gradients");

  await workbench.focusEditor();
  await workbench.resume();
  await workbench.stopped();
  await panel.shows(/change/);
  const second = await compareNorms(workbench);
  const changed = second.filter((row) => normIn(row) !== null);
  assert.ok(changed.every((row) => row.includes("changed ×")), `every gradient was written again: ${changed.join("; ")}`);

  await (await panel.row("model.blocks.0.attn.qkv.weight")).click();
  await panel.shows("since last stop");
  const dock = (await panel.frame()).getByRole("region", { name: "Selected gradient" });
  await dock.locator("canvas, table").first().waitFor();
  await workbench.screenshots("gradients-second-stop");
});

async function compareNorms({ panel, bridge }: Workbench): Promise<readonly string[]> {
  const truth = await bridge.evaluate<Record<string, number | null>>(NORMS);
  const rows = await panel.rows();
  const parameters = rows.filter((row) => /^model\.[\w.]*(weight|bias),/.test(row));
  assert.ok(parameters.length >= 4, `rows of parameters are on screen: ${rows.join("; ")}`);
  for (const row of parameters) {
    const name = row.slice("model.".length, row.indexOf(","));
    const [shown, norm] = [normIn(row), truth[name] ?? null];
    if (norm === null) assert.equal(shown, null, row);
    else assert.ok(shown !== null && Math.abs(shown - norm) <= 0.006 * norm, `${row}: torch says ${norm}`);
  }
  return parameters;
}
