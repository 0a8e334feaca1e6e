/** The panel as a VS Code webview: dist/panel.js and dist/panel.css. */

import "./page.css";
import "./gradwatch.css";
import "./shell.css";
import "./findings/findings.css";
import "./components/heat_map.css";
import "./gradients/gradients.css";
import "./graph/graph.css";
import "./held/held.css";
import { vscodeHost, type VsCodeApi } from "./host";
import { mountPanel } from "./panel";

declare function acquireVsCodeApi(): VsCodeApi;

const root = document.getElementById("root");
if (root === null) throw new Error("The panel's document has no element with the id root.");
mountPanel(root, vscodeHost(acquireVsCodeApi()));
