/** What was found: each with its lines, in order, and what it selects in every view. */

import { glyphClass, type GlyphId } from "./glyphs";
import type { Selection } from "./selection";
import { NOTHING } from "./selection";
import type { Finding, Parameter, Site, Snapshot } from "./session";

/** A line of the user's. */
export interface FoundPlace {
  readonly file: string;
  readonly line: number;
}

/** A finding with its lines; null where it names none. */
export interface PlacedFinding {
  readonly finding: Finding;
  readonly site: FoundPlace | null;
  readonly other: FoundPlace | null;
}

/** What a finding selects: in the model, and in each view what that view has of it. */
export interface Aim {
  readonly main: Selection;
  readonly gradients: Selection;
  readonly graph: Selection;
  readonly held: Selection;
}

/** In the order in which they are shown: the worst first, then as they were found. */
export const SEVERITIES: readonly Finding["severity"][] = ["error", "warning", "note"];

const FOUND = new WeakMap<Snapshot, readonly PlacedFinding[]>();

/** Of a stop. */
export function findingsOf(snapshot: Snapshot): readonly PlacedFinding[] {
  const known = FOUND.get(snapshot);
  if (known) return known;
  const sites = new Map((snapshot.sites ?? []).map((site) => [site.id, site]));
  const found = placed(snapshot.findings ?? [], sites);
  FOUND.set(snapshot, found);
  return found;
}

/** With the lines of `sites`. What is no finding, in a file of a stranger, is left out. */
export function placed(findings: readonly Finding[], sites: ReadonlyMap<number, Site>): readonly PlacedFinding[] {
  const whole = findings.filter((one) => typeof one?.title === "string" && typeof one.sentence === "string" && SEVERITIES.includes(one.severity));
  const all = whole.map((finding) => ({ finding, site: placeOf(sites, finding.site), other: placeOf(sites, finding.other_site) }));
  return SEVERITIES.flatMap((severity) => all.filter(({ finding }) => finding.severity === severity));
}

function placeOf(sites: ReadonlyMap<number, Site>, id = -1): FoundPlace | null {
  const site = id < 0 ? undefined : sites.get(id);
  return site ? { file: site.file, line: site.line } : null;
}

/** The same finding at the next stop has the same key, though its numbers are others. */
export function findingKey({ finding, site }: PlacedFinding): string {
  const { kind, cause = "", name = "", parameters = [], modules = [] } = finding;
  return JSON.stringify([kind, cause, name, parameters[0] ?? -1, modules[0] ?? -1, site?.file ?? "", site?.line ?? -1]);
}

/** Kinds that are about memory: they lead to lines rather than to gradients. */
const OF_MEMORY: ReadonlySet<Finding["kind"]> = new Set(["held", "saved unused", "saved twice", "held long", "held by ctx", "what if", "retained graph", "out of memory"]);

/** What a finding selects in a snapshot: ids and nodes that this snapshot has not are passed over. */
export function aimOf({ finding, site }: PlacedFinding, snapshot: Snapshot): Aim {
  const parameter = parameterIn(finding, snapshot);
  const module = moduleIn(finding, snapshot);
  const node = nodeIn(finding, snapshot);
  const line: Selection | null = site && { kind: "line", file: site.file, line: site.line };
  const first = (...of: readonly (Selection | null)[]): Selection => of.find((one) => one !== null) ?? NOTHING;
  return {
    main: OF_MEMORY.has(finding.kind) ? first(line, module, node, parameter) : first(parameter, node, module, line),
    gradients: first(parameter, module),
    graph: first(node, parameter, module, line),
    held: first(line, node, module),
  };
}

function parameterIn({ parameters = [] }: Finding, snapshot: Snapshot): Selection | null {
  if (parameters.length === 0) return null;
  const known = new Set((snapshot.parameters ?? []).map(({ id }) => id));
  const id = parameters.find((one) => known.has(one));
  return id === undefined ? null : { kind: "parameter", id };
}

function moduleIn({ modules = [] }: Finding, snapshot: Snapshot): Selection | null {
  const module = (snapshot.modules ?? []).find(({ id }) => modules.includes(id));
  return module ? { kind: "module", root: module.root, path: module.path } : null;
}

/** Nodes are places in one graph: in another they are other nodes. */
function nodeIn({ nodes = [], graph = -1 }: Finding, snapshot: Snapshot): Selection | null {
  const shown = snapshot.graph;
  if (!shown || shown.id !== graph) return null;
  const index = nodes.find((one) => one >= 0 && one < shown.node_count);
  return index === undefined ? null : { kind: "node", index };
}

/** The finding about a parameter, the worst of several; -1 for none. */
export function findingOfParameter(findings: readonly PlacedFinding[], id: number): number {
  return findings.findIndex(({ finding }) => (finding.parameters ?? []).includes(id));
}

/** As a session calls it, and `gradwatch why` takes it: "head.weight"; of several models "generator.head.weight". */
export function nameOfParameter({ root, path, is_leaf_tensor: leaf = false }: Parameter, all: readonly Parameter[]): string {
  const roots = new Set(all.filter((one) => one.is_leaf_tensor !== true).map((one) => one.root));
  return [roots.size > 1 || leaf ? root : "", path].filter(Boolean).join(".");
}

/** The glyph of each kind; where none of the states' says it, that of how bad it is. */
const GLYPHS: Readonly<Partial<Record<Finding["kind"], GlyphId>>> = {
  unreached: "None",
  stale: "stale",
  "zero gradient": "zero",
  frozen: "frozen",
  "not optimized": "idle",
  zeroed: "zero",
  skipped: "skipped",
  nan: "NaN",
  inf: "Inf",
  underflow: "vanishing",
  vanishing: "vanishing",
  exploding: "exploding",
  "dead units": "zero",
  held: "bytes",
  "saved unused": "bytes",
  "saved twice": "bytes",
  "held long": "bytes",
  "held by ctx": "bytes",
  "what if": "bytes",
  "retained graph": "bytes",
  "out of memory": "bytes",
};

export function findingGlyph({ kind, severity }: Finding): GlyphId {
  return GLYPHS[kind] ?? (severity === "note" ? "idle" : "warning");
}

/** A shape keeps its own colour; that of an error without one is the colour of errors. */
export function findingColour(finding: Finding): string {
  const own: readonly GlyphId[] = ["NaN", "Inf", "None", "exploding", "vanishing"];
  if (finding.severity === "note") return "c-dim";
  if (own.includes(findingGlyph(finding))) return glyphClass(findingGlyph(finding));
  return finding.severity === "error" ? "c-nan" : "c-none";
}

/** First and last step; null where none is named. */
export function stepsOf({ steps = [] }: Finding): readonly [number, number] | null {
  const [first, last = first] = steps;
  return first === undefined || last === undefined || first < 0 ? null : [first, Math.max(first, last)];
}

/** Text and code in turn: what stands between backticks is code. An odd one at the end is text. */
export function inlineParts(text: string): readonly { readonly code: boolean; readonly text: string }[] {
  const parts = text.split("`");
  const whole = parts.length % 2 === 1 ? parts : [...parts.slice(0, -2), parts.slice(-2).join("`")];
  return whole.map((one, at) => ({ code: at % 2 === 1, text: one })).filter(({ text: part }) => part !== "");
}
