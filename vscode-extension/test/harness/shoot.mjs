/**
 * One picture of the panel:
 * node test/harness/shoot.mjs --snapshot F.json [--previous F.json] --theme dark|light|hc|hc-light --width 480 --height 1180
 *   --tab gradients|graph|held --state ready --click SELECTOR ... --key KEY ... --wait MS --scale 2 --out X.png
 * Steps (`--click`, `--key`, `--type`) run in the order they are given.
 */

import { readFileSync } from "node:fs";
import { openHarness } from "./harness.mjs";

const options = { theme: "dark", width: "480", height: "1180", state: "ready", scale: "1", wait: "120", out: "panel.png" };
const steps = [];
for (let i = 2; i < process.argv.length; i += 2) {
  const [name, value] = [process.argv[i].replace(/^--/, ""), process.argv[i + 1]];
  if (["click", "key", "type"].includes(name)) steps.push([name, value]);
  else options[name] = value;
}

const read = (file) => (file ? readFileSync(file, "utf8") : undefined);
const harness = await openHarness();
try {
  const { page, errors } = await harness.panel({
    theme: options.theme, width: Number(options.width), height: Number(options.height), state: options.state, tab: options.tab, fail: options.fail,
    text: read(options.snapshot), previous: read(options.previous), scale: Number(options.scale), fonts: options.fonts && Number(options.fonts),
    media: options.forced ? { forcedColors: "active" } : {},
  });
  for (const [name, value] of steps) {
    if (name === "click") await page.click(value, { timeout: 3000 });
    else if (name === "key") await page.keyboard.press(value);
    else await page.keyboard.type(value);
    await page.waitForTimeout(60);
  }
  await page.waitForTimeout(Number(options.wait));
  await page.screenshot({ path: options.out });
  const [nodes, painted] = await page.evaluate(() => [document.querySelectorAll("*").length, window.harness.posted.findLast(({ type }) => type === "painted")?.parts]);
  console.log(JSON.stringify({ out: options.out, nodes, painted, errors }));
  process.exitCode = errors.length > 0 ? 1 : 0;
} finally {
  await harness.close();
}
