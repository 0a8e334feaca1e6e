/** What the panel costs a stop: nothing while it is hidden, and never a step of the user. */

import assert from "node:assert/strict";
import type { Message } from "./bridge.ts";
import { eventually } from "./processes.ts";
import { scenario } from "./scenario.ts";

scenario("a hidden panel asks nothing, and once when it is shown", { program: "train.py" }, async (workbench) => {
  await workbench.toggleBreakpoint("train.py", "after backward");
  await workbench.startDebugging();
  await workbench.stopped();
  await workbench.focusEditor();
  await workbench.resume();
  await workbench.stopped();
  assert.deepEqual(await workbench.questions(), []);

  await workbench.bridge.command("gradwatch.focus");
  await workbench.panel.shows("Paused at train.py");
  assert.deepEqual((await workbench.questions()).map(({ question }) => question), ["snapshot"]);

  await workbench.bridge.command("workbench.view.explorer");
  await workbench.focusEditor();
  await workbench.resume();
  await workbench.stopped();
  assert.equal((await workbench.questions()).length, 1);
});

scenario("a step ends the answer that is being computed", { program: "slow.py" }, async (workbench) => {
  const { bridge, panel } = workbench;
  await workbench.toggleBreakpoint("slow.py", "little to read");
  await workbench.toggleBreakpoint("slow.py", "much to read");
  await bridge.command("gradwatch.focus");
  await bridge.ask("setting", { name: "gradwatch.budgetMs", value: 20_000 });
  try {
    await workbench.startDebugging();
    await workbench.stopped();
    await panel.shows("Paused at slow.py");
    await workbench.focusEditor();
    await workbench.resume();
    await workbench.stopped();
    const question = await eventually("the question", async () => (await workbench.questions())[1]);
    await workbench.stepOver();
    assert.equal((await workbench.stopped()).reason, "step");
    assert.deepEqual((await workbench.questions()).slice(0, 3).map((each) => each.question), ["snapshot", "snapshot", "enough"]);
    const isAnswer = (message: Message): boolean => message.type === "response" && message.answers === question.seq;
    const answer = (await bridge.messages()).find(isAnswer);
    assert.ok(answer?.missing?.some(({ part }) => part === "gradients"), `it says what it lacks: ${JSON.stringify(answer)}`);
  } finally {
    await bridge.ask("setting", { name: "gradwatch.budgetMs", value: undefined });
  }
});
