/** The session editor as a VS Code webview: dist/replay.js and dist/replay.css. */

import "./page.css";
import "./replay/styles";
import { vscodeHost, type VsCodeApi } from "./host";
import { vscodeReplayHost } from "./replay/host";
import { mountReplay } from "./replay/mount";

declare function acquireVsCodeApi(): VsCodeApi;

const root = document.getElementById("root");
if (root === null) throw new Error("The page has no element with the id root.");
const api = acquireVsCodeApi();
mountReplay(root, vscodeReplayHost(api, vscodeHost(api).store));
