import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

/** `vscode` exists only inside VS Code: tests of the host get a small stand-in; `.py` sources are text, as in the build. */
export default defineConfig({
  resolve: { alias: { vscode: fileURLToPath(new URL("test/fake_vscode.ts", import.meta.url)) } },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  plugins: [
    {
      name: "python-as-text",
      transform: (code, id) => (id.endsWith(".py") ? { code: `export default ${JSON.stringify(code)};`, map: null } : null),
    },
  ],
  test: { include: ["test/**/*.test.{ts,tsx}"], environment: "node", testTimeout: 10_000 },
});
