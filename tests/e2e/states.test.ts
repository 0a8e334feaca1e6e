/** States without values: what the panel says, and the one click that leads on. */

import assert from "node:assert/strict";
import * as places from "./places.ts";
import { scenario } from "./scenario.ts";

scenario("a program without torch is left alone", { program: "plain.py" }, async (workbench) => {
  await workbench.stopAt("plain.py", "in loop");
  await workbench.panel.shows("torch is not loaded");
  assert.equal(await workbench.bridge.evaluate(`"gradwatch" in __import__("sys").modules`), false);
  await workbench.screenshots("no-torch");
});

scenario("nothing differentiable: the caller that has something is one click away", { program: "scopes.py" }, async (workbench) => {
  await workbench.stopAt("scopes.py", "in log");
  await workbench.panel.shows("Nothing differentiable here");
  await workbench.screenshots("nothing-differentiable");
  await (await workbench.panel.button("Select train_step")).click();
  await workbench.panel.shows("weight");
  assert.match(await workbench.panel.says("weight"), /norm 3\.46e0/);
});

const packages = places.sitePackages();
/** Without `site`, a package that is installed to be edited is not found. */
const WITHOUT_GRADWATCH = { pythonArgs: ["-S"], env: { PYTHONPATH: packages } };

scenario("without gradwatch the shipped copy serves, for this session", { program: "train.py", ...WITHOUT_GRADWATCH }, async (workbench) => {
  await workbench.stopAt("train.py", "after backward");
  await workbench.panel.shows("gradwatch is not importable");
  await workbench.screenshots("not-importable");
  await (await workbench.panel.button("Use shipped copy")).click();
  await workbench.panel.shows("Paused at train.py");
  const file = await workbench.bridge.evaluate<string>(`__import__("gradwatch").__file__`);
  assert.ok(!file.startsWith(packages), `it is the extension's copy: ${file}`);
  assert.match(await workbench.panel.says("model.head.weight"), /finite, norm/);

  await workbench.focusEditor();
  await workbench.resume();
  await workbench.stopped();
  await workbench.panel.shows(/change/);
});
