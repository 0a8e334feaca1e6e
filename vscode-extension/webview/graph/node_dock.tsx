/** One node in detail: where it was made, its gradient, its edges, what it saved, and what can be done here. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { formatCount, formatShape } from "../../shared/format";
import type { GraphTree } from "../../shared/graph_groups";
import { leafName } from "../../shared/graph_model";
import { nodeDetails, type NodeDetails } from "../../shared/graph_node";
import type { ShownNorm } from "../../shared/graph_summary";
import { MOST_OPS } from "../../shared/graph_compiled";
import type { StepSnapshot } from "../../shared/recorded_step";
import type { Parameter } from "../../shared/session";
import { moduleName, parameterNames } from "../../shared/graph_words";
import { progressOf } from "../../shared/stop_summary";
import { compiledText, graphText } from "../../shared/text";
import { HeatMap } from "../components/heat_map";
import { MagnitudeText } from "../components/number";
import type { ViewProps } from "../view";
import { CompiledOpDock, RegionFacts } from "./compiled_dock";
import { EdgeLinks } from "./edge_links";
import { SavedTable } from "./saved_table";
import { SiteLink, SourceView } from "./source_lines";

export interface NodeDockProps {
  readonly props: ViewProps;
  readonly tree: GraphTree;
  readonly node: number;
  readonly goTo: (node: number) => void;
}

export function NodeDock({ props, tree, node, goTo }: NodeDockProps): JSX.Element {
  const details = nodeDetails(tree, node);
  const { site, label, saved, inner, region } = details;
  const { regions = [] }: StepSnapshot = props.snapshot;
  const staysClosed = !region && regions.some(({ id }) => id === label?.region);
  if (inner) return <CompiledOpDock props={props} tree={tree} node={node} op={inner} goTo={goTo} />;
  const open = (focus: boolean): void => {
    if (site) void props.ask("openSource", { file: site.file, line: site.line, focus }).catch(() => undefined);
  };
  return (
    <div class="dock graph-dock" key={node}>
      <Title details={details} tree={tree} open={open} />
      <InModule details={details} select={props.select} />
      {label && (
        <p class="unseen">
          <span class="hatch swatch" aria-hidden="true" />
          {label.label}: {label.text}
        </p>
      )}
      {region && <RegionFacts region={region} />}
      {staysClosed && <p class="unseen">{compiledText.tooMany(formatCount(MOST_OPS))}</p>}
      {site && <SourceView ask={props.ask} snapshot={props.snapshot} site={site} text={details.siteText} bad={details.born || (details.gradient?.nan ?? 0) > 0} open={open} />}
      <div class="kv">
        <GradientIn details={details} />
        {details.gradientOut && (
          <div>
            <span title={graphText.gradientOutTitle}>{graphText.gradientOut}</span>
            <GradientValue {...details.gradientOut} />
          </div>
        )}
        {details.parameter && <ParameterLine parameter={details.parameter} norm={details.norm} />}
        {!details.parameter && details.parameterNorm && <OwnParameters names={parameterNames(tree, details.position)} norm={details.parameterNorm} />}
      </div>
      <EdgeLinks title={graphText.comesFrom} none={graphText.isRoot} links={details.from} goTo={goTo} />
      <EdgeLinks title={graphText.goesTo} none={graphText.end} links={details.to} goTo={goTo} />
      {saved.length > 0 && <SavedTable ask={props.ask} snapshot={props.snapshot} node={node} saved={saved} live={props.recorded === undefined} />}
      {props.recorded === undefined && <Actions props={props} details={details} />}
    </div>
  );
}

interface TitleProps {
  readonly details: NodeDetails;
  readonly tree: GraphTree;
  readonly open: (focus: boolean) => void;
}

function Title({ details, tree, open }: TitleProps): JSX.Element {
  const { name, node, site, parameter } = details;
  return (
    <div class="ttl">
      <b class="mono" title={name}>
        {parameter ? leafName(tree.model, node) : name}
      </b>
      <Index node={node} tree={tree} />
      <span class="sp" />
      {site && <SiteLink site={site} open={open} />}
    </div>
  );
}

/** The running node has the number that the header gives it: how far backward has come. Others have their place. */
function Index({ node, tree: { model } }: { readonly node: number; readonly tree: GraphTree }): JSX.Element {
  const of = formatCount(model.nodes);
  const progress = node === model.running ? progressOf(model.snapshot) : null;
  if (progress) return <span class="dim">{graphText.index(formatCount(progress.reached), of)}</span>;
  return (
    <span class="dim" title={graphText.placeTitle(of)}>
      {graphText.place(formatCount(node + 1))}
      <span class="wide"> {graphText.inForwardOrder}</span>
    </span>
  );
}

function InModule({ details, select }: { readonly details: NodeDetails; readonly select: ViewProps["select"] }): JSX.Element | null {
  const { module } = details;
  if (!module) return null;
  const { root, path, estimated } = module;
  return (
    <button
      class="link in"
      type="button"
      title={estimated ? graphText.estimated : graphText.showModule(path)}
      onClick={() => select({ kind: "module", root, path })}
    >
      {moduleName(module)}
      {estimated && <span class="dim"> {graphText.estimatedWord}</span>}
    </button>
  );
}

function GradientIn({ details }: { readonly details: NodeDetails }): JSX.Element {
  const { gradient, state } = details;
  const absent = state === "pending" ? graphText.notReached : graphText.notSeen;
  return (
    <div>
      <span title={graphText.gradientInTitle}>{graphText.gradientIn}</span>
      {gradient ? <GradientValue {...gradient} /> : <span class="dim">{absent}</span>}
    </div>
  );
}

function GradientValue({ norm, nan, inf, count }: { norm: number; nan: number; inf: number; count: number }): JSX.Element {
  if (nan > 0 || inf > 0) return <span class="c-nan">{graphText.nonFinite(nan, inf, formatCount(count))}</span>;
  return (
    <span>
      <MagnitudeText value={norm} /> <span class="dim">{graphText.finite}</span>
    </span>
  );
}

function ParameterLine({ parameter, norm }: { readonly parameter: Parameter; readonly norm: ShownNorm | null }): JSX.Element {
  return (
    <div>
      <span>
        {graphText.parameterGradient} {formatShape(parameter.shape)}
      </span>
      <NormValue norm={norm} />
    </div>
  );
}

function OwnParameters({ names, norm }: { readonly names: string; readonly norm: ShownNorm }): JSX.Element {
  return (
    <div>
      <span>
        {graphText.parameterGradient} {names}
      </span>
      <NormValue norm={norm} />
    </div>
  );
}

function NormValue({ norm }: { readonly norm: ShownNorm | null }): JSX.Element {
  if (!norm) return <span class="dim">{graphText.notSeen}</span>;
  return (
    <span>
      {norm.nonFinite ? <span class="c-nan">{norm.nonFinite}</span> : <MagnitudeText value={norm.norm} />}
      {norm.from === "before" && <span class="dim"> {graphText.before}</span>}
    </span>
  );
}

function Actions({ props, details }: { readonly props: ViewProps; readonly details: NodeDetails }): JSX.Element {
  const { node, module, parameter, state, output } = details;
  const { snapshot, breakHere } = props;
  const [values, setValues] = useState(false);
  return (
    <>
      <div class="acts">
        {snapshot.stop.in_backward && (
          <button class="btn pri" type="button" onClick={() => void props.ask("stepToNextNode", {}).catch(() => undefined)}>
            {graphText.stepToNext}
          </button>
        )}
        <button class="btn" type="button" onClick={() => breakHere({ kind: "node", index: node })}>
          {graphText.breakAtNode}
        </button>
        {parameter && (
          <button class="btn" type="button" onClick={() => breakHere({ kind: "parameter", id: parameter.id })}>
            {graphText.breakAtParameter}
          </button>
        )}
        {module && !parameter && (
          <button class="btn" type="button" onClick={() => breakHere({ kind: "module", root: module.root, path: module.path })}>
            {graphText.breakAtModule}
          </button>
        )}
        {state === "running" && output && (
          <button class="btn" type="button" aria-expanded={values} onClick={() => setValues(!values)}>
            {values ? graphText.hideGradient : graphText.showGradient}
          </button>
        )}
      </div>
      {values && output && <RunningGradient props={props} details={details} {...output} />}
    </>
  );
}

interface RunningGradientProps {
  readonly props: ViewProps;
  readonly details: NodeDetails;
  readonly shape: readonly number[];
  readonly dtype: string;
}

function RunningGradient({ props, details, shape, dtype }: RunningGradientProps): JSX.Element {
  const { snapshot, ask } = props;
  const subject = { stop: snapshot.stop.number, field: "grad output", node: details.node, position: 0 } as const;
  const nonFinite = (details.gradient?.nan ?? 0) + (details.gradient?.inf ?? 0);
  return <HeatMap ask={ask} subject={subject} shape={shape} dtype={dtype} title={graphText.gradientIn} nonFinite={nonFinite} />;
}
