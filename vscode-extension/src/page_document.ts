/** The document of a webview, under a strict content policy: the panel, or the session editor's page. */

import { randomBytes } from "node:crypto";
import * as vscode from "vscode";

/** No remote content; scripts by nonce; workers (the graph's layout) only from the page's own blobs. */
export function pageDocument(webview: vscode.Webview, dist: vscode.Uri, name: "panel" | "replay"): string {
  const nonce = randomBytes(16).toString("base64");
  const script = webview.asWebviewUri(vscode.Uri.joinPath(dist, `${name}.js`)).toString();
  const style = webview.asWebviewUri(vscode.Uri.joinPath(dist, `${name}.css`)).toString();
  const source = webview.cspSource;
  const policy = `default-src 'none'; script-src 'nonce-${nonce}'; style-src ${source}; font-src ${source}; img-src ${source}; worker-src blob:`;
  return `<!DOCTYPE html>
<html lang="${vscode.env.language}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="${style}">
<title>gradwatch</title>
</head>
<body>
<div id="root"></div>
<script nonce="${nonce}" src="${script}"></script>
</body>
</html>`;
}
