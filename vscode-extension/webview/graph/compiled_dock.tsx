/** A compiled node's region in the dock, and an op of it: what it makes, what is kept of it, and what uses it. */

import type { JSX } from "preact";
import { formatBytes } from "../../shared/format";
import { regionSummary, shortTarget, type CompiledOp } from "../../shared/graph_compiled";
import type { GraphTree } from "../../shared/graph_groups";
import { nodeDetails } from "../../shared/graph_node";
import { innerResult } from "../../shared/graph_words";
import type { CompiledRegion } from "../../shared/session";
import { compiledText as text } from "../../shared/text";
import type { ViewProps } from "../view";
import { EdgeLinks } from "./edge_links";
import { SiteLink, SourceView } from "./source_lines";

/** What a region comes to. */
export function RegionFacts({ region }: { readonly region: CompiledRegion }): JSX.Element {
  const { forward, backward, saved, savedBytes, unsized, recomputed } = regionSummary(region);
  const bytes = saved > unsized ? formatBytes(savedBytes) : "";
  return (
    <div class="kv" role="group" aria-label={text.regionTitle}>
      <Fact name={text.forward} value={text.ops(forward)} />
      <Fact name={text.backward} value={text.ops(backward)} />
      <Fact name={text.keeps} value={saved === 0 ? text.noneSaved : text.savedOf(saved, bytes, unsized)} />
      <Fact name={text.recomputedLong} value={text.ops(recomputed)} />
    </div>
  );
}

export interface CompiledOpDockProps {
  readonly props: ViewProps;
  readonly tree: GraphTree;
  readonly node: number;
  readonly op: CompiledOp;
  readonly goTo: (node: number) => void;
}

export function CompiledOpDock({ props, tree, node, op, goTo }: CompiledOpDockProps): JSX.Element {
  const { site, siteText, module, from, to } = nodeDetails(tree, node);
  const open = (focus: boolean): void => {
    if (site) void props.ask("openSource", { file: site.file, line: site.line, focus }).catch(() => undefined);
  };
  return (
    <div class="dock graph-dock" key={node}>
      <div class="ttl">
        <b class="mono" title={op.target}>
          {op.target === "input" ? op.name : shortTarget(op.target)}
        </b>
        <span class="dim">{[op.target === "input" ? op.target : op.name, op.region.name === "" ? "" : text.inRegion(op.region.name), text.by(op.region.backend)].filter(Boolean).join(" ")}</span>
        <span class="sp" />
        {site && <SiteLink site={site} open={open} />}
      </div>
      {module && (
        <button class="link in" type="button" onClick={() => props.select({ kind: "module", root: module.root, path: module.path })}>
          {module.path || module.root}
        </button>
      )}
      {site && <SourceView ask={props.ask} snapshot={props.snapshot} site={site} text={siteText} bad={false} open={open} />}
      <div class="kv">
        <Fact name={text.result} value={innerResult(op) || text.several} />
        <Fact name={text.keeps} value={op.saved ? (Number.isNaN(op.bytes) ? text.saved : formatBytes(op.bytes)) : text.notKept} />
        {op.recomputedAs.length > 0 && <Fact name={text.recomputedLong} value={op.recomputedAs.join(", ")} />}
      </div>
      <EdgeLinks title={text.usedBy} none={text.unused} links={from} goTo={goTo} />
      <EdgeLinks title={text.uses} none={op.target === "input" ? text.given : text.unused} links={to} goTo={goTo} />
    </div>
  );
}

function Fact({ name, value }: { readonly name: string; readonly value: string }): JSX.Element {
  return (
    <div>
      <span>{name}</span>
      <span>{value}</span>
    </div>
  );
}
