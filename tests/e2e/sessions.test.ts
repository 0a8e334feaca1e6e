/** Several processes of one run: each is a debug session, and the panel shows the one that is picked. */

import assert from "node:assert/strict";
import { scenario } from "./scenario.ts";
import { eventually } from "./processes.ts";

scenario("ranks are picked in the panel", { program: "ranks.py", subProcess: true }, async (workbench) => {
  const { panel } = workbench;
  await workbench.toggleBreakpoint("ranks.py", "in rank");
  await workbench.bridge.command("gradwatch.focus");
  await workbench.widenPanel(480);
  await workbench.startDebugging();
  await workbench.stoppedSomewhere();
  await workbench.stoppedSomewhere();
  await panel.shows("Paused at ranks.py");

  const picker = (await panel.frame()).getByRole("combobox", { name: "Debug session" });
  for (const [rank, norm] of [
    [1, "6.93e0"],
    [0, "3.46e0"],
  ] as const) {
    await pick(rank);
    await eventually(`the gradient of rank ${rank}`, async () => ((await panel.says("weight")).includes(`norm ${norm}`) ? true : undefined));
  }
  await workbench.screenshots("ranks");

  /** A process that was not looked at yet has no rank to show: those are tried in turn. */
  async function pick(rank: number): Promise<void> {
    const options = picker.locator("option");
    for (let at = 0; at < (await options.count()); at++) {
      const found = options.filter({ hasText: `rank ${rank}` });
      await picker.selectOption({ index: (await found.count()) > 0 ? await found.first().evaluate((option) => (option as HTMLOptionElement).index) : at });
      await workbench.page.waitForTimeout(500);
      if ((await picker.locator("option:checked").innerText()).includes(`rank ${rank}`)) return;
    }
    assert.fail(`no session of rank ${rank}: ${(await options.allInnerTexts()).join(", ")}`);
  }
});
