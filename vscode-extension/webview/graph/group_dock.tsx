/** A module's nodes, or a fold's, together. */

import type { JSX } from "preact";
import { formatBytes, formatCount } from "../../shared/format";
import type { GraphTree } from "../../shared/graph_groups";
import type { GraphRow } from "../../shared/graph_rows";
import { summarise } from "../../shared/graph_summary";
import { rowName, stateWord } from "../../shared/graph_words";
import type { CompiledRegion } from "../../shared/session";
import { compiledText, graphText } from "../../shared/text";
import { MagnitudeText } from "../components/number";
import type { ViewProps } from "../view";
import { RegionFacts } from "./compiled_dock";

export interface GroupDockProps {
  readonly props: ViewProps;
  readonly tree: GraphTree;
  readonly row: GraphRow;
  readonly open: () => void;
}

export function GroupDock({ props, tree, row, open }: GroupDockProps): JSX.Element {
  const summary = summarise(tree, row.start, row.end);
  const group = tree.groups[row.group]!;
  const module = row.kind !== "fold" && group.kind === "module" ? group : null;
  const { norm } = summary;
  const region = group.kind === "compiled" && row.kind !== "fold" ? tree.model.inside?.regions.get(group.node)?.region : undefined;
  if (region) return <RegionDock region={region} name={rowName(tree, row, false)} />;
  return (
    <div class="dock graph-dock">
      <div class="ttl">
        <b>{rowName(tree, row, false)}</b>
        <span class="dim">{row.kind === "fold" ? graphText.foldOf(row.count, formatCount(summary.nodes)) : className(tree, group.root, group.path)}</span>
      </div>
      <div class="kv">
        <Line name={graphText.nodesName} value={`${formatCount(summary.nodes)}${stateWord(summary) && `, ${stateWord(summary)}`}`} />
        <Line name={graphText.columns.saved} value={summary.held > 0 ? formatBytes(summary.held) : "·"} />
        {summary.released > 0 && <Line name={graphText.releasedTensor} value={formatBytes(summary.released)} />}
        {norm && (
          <div>
            <span>{graphText.normFrom[norm.from]}</span>
            {norm.nonFinite ? <span class="c-nan">{norm.nonFinite}</span> : <MagnitudeText value={norm.norm} />}
          </div>
        )}
      </div>
      <div class="acts">
        {module && props.recorded === undefined && (
          <button class="btn" type="button" onClick={() => props.breakHere({ kind: "module", root: module.root, path: module.path })}>
            {graphText.breakAtModule}
          </button>
        )}
        {row.kind === "fold" && (
          <button class="btn" type="button" onClick={open}>
            {graphText.openFold}
          </button>
        )}
      </div>
    </div>
  );
}

/** A compiled node that is open: the node itself is the last row in it. */
function RegionDock({ region, name }: { readonly region: CompiledRegion; readonly name: string }): JSX.Element {
  return (
    <div class="dock graph-dock">
      <div class="ttl">
        <b>{name}</b>
        <span class="dim">{[compiledText.label, compiledText.by(region.backend)].filter(Boolean).join(" ")}</span>
      </div>
      <RegionFacts region={region} />
    </div>
  );
}

function Line({ name, value }: { readonly name: string; readonly value: string }): JSX.Element {
  return (
    <div>
      <span>{name}</span>
      <span>{value}</span>
    </div>
  );
}

function className({ model }: GraphTree, root: string, path: string): string {
  for (const module of model.modules.values()) if (module.root === root && module.path === path) return module.class_name;
  return "";
}
