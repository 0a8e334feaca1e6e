/** The condition that stops backward at what is selected: views, dock and keys all add the same one. */

import { numbers } from "../shared/answer";
import type { NewCondition } from "../shared/conditions";
import type { Selection } from "../shared/selection";
import type { Graph, Module, Snapshot } from "../shared/session";

/** Null where backward cannot stop at the selection: nothing, a source line, a variable that is no parameter. */
export function conditionFor(selection: Selection, snapshot: Snapshot): NewCondition | null {
  switch (selection.kind) {
    case "parameter":
      return ofParameter(snapshot, selection.id);
    case "variable":
      return ofParameter(snapshot, snapshot.variables?.[selection.index]?.parameter ?? -1);
    case "module":
      return { kind: "module", module: fullName(selection.root, selection.path) };
    case "node":
      return snapshot.graph ? ofNode(snapshot, snapshot.graph, selection.index) : null;
    default:
      return null;
  }
}

/** As the debuggee names modules and parameters: the variable, then the path inside it. */
export function fullName(root: string, path: string): string {
  return root === "" || path === "" ? root + path : `${root}.${path}`;
}

function ofParameter(snapshot: Snapshot, id: number): NewCondition | null {
  const parameter = snapshot.parameters?.find((one) => one.id === id);
  return parameter ? { kind: "parameter", parameter: fullName(parameter.root, parameter.path) } : null;
}

/** A node is known again in another graph of the same structure; its name, module and line say it in words. */
function ofNode(snapshot: Snapshot, graph: Graph, index: number): NewCondition | null {
  if (index < 0 || index >= graph.node_count) return null;
  const module = moduleOf(snapshot, graph, index);
  const site = snapshot.sites?.find(({ id }) => id === numbers(graph.project_site)[index]);
  return {
    kind: "node",
    node: index,
    graph_digest: graph.digest,
    name: graph.names[numbers(graph.name)[index] ?? -1] ?? "",
    ...(module ? { module: fullName(module.root, module.path) } : {}),
    ...(site ? { line: `${site.file}:${site.line}` } : {}),
  };
}

function moduleOf(snapshot: Snapshot, graph: Graph, index: number): Module | undefined {
  const id = numbers(graph.module)[index];
  return snapshot.modules?.find((module) => module.id === id);
}
