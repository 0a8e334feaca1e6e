/** Stops inside backward: where a NaN is born, and from there node by node. */

import assert from "node:assert/strict";
import { scenario } from "./scenario.ts";
import type { Workbench } from "./workbench.ts";

const LOCALS = ["forward_line", "grad_inputs", "grad_outputs", "module", "node", "reason", "saved_tensors"];

async function stopBeforeBackward(workbench: Workbench): Promise<void> {
  await workbench.stopAt("nan.py", "before backward");
  await workbench.panel.shows("Paused at nan.py");
}

/** The first forward call was not watched; the second one's nodes know their lines. */
async function nextStep(workbench: Workbench): Promise<void> {
  await workbench.focusEditor();
  await workbench.resume();
  await workbench.stopped();
  await workbench.panel.shows("Paused at nan.py");
}

scenario("break at the first NaN from the panel, then step to the next node", { program: "nan.py" }, async (workbench) => {
  const { panel, bridge } = workbench;
  await stopBeforeBackward(workbench);
  await nextStep(workbench);
  await (await panel.button(/^Conditions that stop backward/)).click();
  await (await panel.frame()).getByRole("checkbox", { name: "First non-finite gradient" }).check();
  await panel.shows(/Conditions|1 set/);

  await workbench.focusEditor();
  await workbench.resume();
  await workbench.stopped();
  await panel.shows("Paused in backward");
  const born = workbench.line("nan.py", (await workbench.seesEveryLine()) ? "born" : "module called");
  assert.deepEqual(await bridge.evaluate(`sorted(set(${JSON.stringify(LOCALS)}) - set(locals()))`), []);
  assert.equal(await bridge.evaluate("node.name()"), "SqrtBackward0");
  assert.match(await bridge.evaluate<string>("str(forward_line)"), new RegExp(`nan\\.py:${born}\\b`));
  assert.match(await bridge.evaluate<string>("reason"), /NaN/);
  await panel.shows("SqrtBackward0");
  await panel.shows(`nan.py:${born}`);
  // What is found stands first, with the line, and choosing it selects the node.
  await panel.shows("NaN born in Sqrt");
  await (await panel.button(/^NaN born in Sqrt, error$/)).click();
  await workbench.screenshots("finding");
  await panel.tab("Graph");
  assert.match(await panel.says("SqrtBackward0"), /NaN/);
  await workbench.screenshots("first-nan");

  await (await panel.button("Next node")).click();
  await workbench.stopped();
  await panel.shows("ReluBackward0");
  await panel.shows("NaN has reached Relu");
  assert.equal(await bridge.evaluate("node.name()"), "ReluBackward0");
  assert.match(await panel.says("ReluBackward0"), /NaN/);
  await workbench.screenshots("next-node");
});

scenario("break at the first NaN from the palette", { program: "nan.py" }, async (workbench) => {
  await stopBeforeBackward(workbench);
  await workbench.command("gradwatch: Break at First Non-Finite Gradient");
  await workbench.focusEditor();
  await workbench.resume();
  await workbench.stopped();
  await workbench.panel.shows("Paused in backward");
  assert.equal(await workbench.bridge.evaluate("node.name()"), "SqrtBackward0");
  await workbench.command("gradwatch: Step to Next Node");
  await workbench.stopped();
  assert.equal(await workbench.bridge.evaluate("node.name()"), "ReluBackward0");
});

scenario("break when a parameter's gradient is computed, then above a norm", { program: "train.py" }, async (workbench) => {
  const { panel, bridge } = workbench;
  await workbench.stopAt("train.py", "before backward");
  await panel.shows("Paused at train.py");
  await (await panel.row("model.head.weight")).click();
  await (await panel.button("Break at this gradient")).click();
  await panel.shows(".grad of model.head.weight");
  await goOn();
  assert.equal(await bridge.evaluate("node.name()"), "torch::autograd::AccumulateGrad");
  assert.deepEqual(await bridge.evaluate("list(grad_outputs[0].shape)"), [64, 32]);

  await (await panel.button(/^Conditions that stop backward/)).click();
  await (await panel.frame()).getByRole("checkbox", { name: /head\.weight/ }).uncheck();
  const norm = (await panel.frame()).getByLabel("Norm exceeds");
  await norm.fill("1e-6");
  await norm.press("Enter");
  await panel.shows("Norm above");
  await goOn();
  assert.match(await bridge.evaluate<string>("reason"), /is above 1e-06/);
  await workbench.screenshots("conditions");

  async function goOn(): Promise<void> {
    await workbench.focusEditor();
    await workbench.resume();
    await workbench.stopped();
    await panel.shows("Paused in backward");
  }
});
