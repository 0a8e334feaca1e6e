// @ts-check
/** The debug type 'debugpy', as the Python Debugger extension contributes it, which no registry of packages has. */

const vscode = require("vscode");
const { openBridge } = require("./bridge.js");

/** @param {vscode.ExtensionContext} context */
exports.activate = (context) => {
  context.subscriptions.push(
    vscode.debug.registerDebugConfigurationProvider("debugpy", { resolveDebugConfiguration: withDefaults }),
    vscode.debug.registerDebugAdapterDescriptorFactory("debugpy", { createDebugAdapterDescriptor: adapterOf }),
    vscode.debug.onDidReceiveDebugSessionCustomEvent(attachToSubprocess),
    openBridge(),
  );
};

/** @param {vscode.WorkspaceFolder | undefined} _folder @param {vscode.DebugConfiguration} configuration */
function withDefaults(_folder, configuration) {
  return { console: "internalConsole", python: process.env.GRADWATCH_E2E_PYTHON, ...configuration };
}

/** @param {vscode.DebugSession} session */
function adapterOf({ configuration }) {
  const { request, connect } = configuration;
  if (request === "attach" && connect) return new vscode.DebugAdapterServer(connect.port, connect.host);
  return new vscode.DebugAdapterExecutable(process.env.GRADWATCH_E2E_PYTHON ?? "python3", ["-m", "debugpy.adapter"]);
}

/** @param {vscode.DebugSessionCustomEvent} event */
function attachToSubprocess({ event, session, body }) {
  if (event !== "debugpyAttach") return;
  void vscode.debug.startDebugging(session.workspaceFolder, body, { parentSession: session, lifecycleManagedByParent: true });
}
