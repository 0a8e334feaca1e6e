/** The browser: a real Chromium that can reach nothing but loopback. */

import { createRequire } from "node:module";
import path from "node:path";
import type { Browser } from "playwright-core";
import * as places from "./places.ts";

const FLAGS = [
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--force-color-profile=srgb",
  "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
];

export function launchBrowser(): Promise<Browser> {
  const library = createRequire(path.join(places.extension, "package.json"))("playwright-core") as typeof import("playwright-core");
  // Chromium's sandbox refuses root.
  const sandbox = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
  return library.chromium.launch({ executablePath: places.chromium(), headless: true, args: [...FLAGS, ...sandbox] });
}
