/**
 * Every word that the panel says, in one place, ready for translation. One object per room of the panel.
 * Sentence case, terse, the field's own words. A sentence with values is a function of them.
 */

import { fileName, formatCount, plainNumber } from "./format";

function counted(count: number, one: string, many: string): string {
  return `${formatCount(count)} ${count === 1 ? one : many}`;
}

// ---- shell: header, tabs, states, conditions, notices ----

/** The header: where the program stands. */
export const headerText = {
  pausedInBackward: "Paused in backward",
  pausedAt: "Paused at",
  inFunction: (name: string) => `in ${name}`,
  openFile: (file: string, line: number) => `Open ${file}:${line}`,
  node: (at: string, of: string) => `node ${at} of ${of}`,
  nodeNarrow: (at: string, of: string) => `${at} of ${of}`,
  progress: (at: string, of: string) => `Backward, from the loss (right) to the inputs (left): ${at} of ${of} nodes`,
  recording: (detail: string, share: string) => `recording ${detail} costs ${share}`,
  costs: (share: string) => `cost ${share}`,
  recordingTitle: (path: string, steps: string) => `Measured on this run: ${steps} steps recorded to ${path}`,
  readIn: (duration: string) => `read in ${duration}`,
  readTitle: (parts: string) => `What this answer took of the stop: ${parts}`,
  step: (step: number) => `step ${formatCount(step)}`,
  detail: { parameters: "parameters", modules: "modules", nodes: "nodes" },
  nextNode: "Next node",
  nextNodeTitle: "Step to next node (N)",
  session: (rank: number, pid: number) => (rank >= 0 ? `rank ${rank}${pid >= 0 ? ` · pid ${pid}` : ""}` : pid >= 0 ? `pid ${pid}` : "session"),
  sessionNarrow: (rank: number, pid: number) => (rank >= 0 ? `rank ${rank}` : pid >= 0 ? `pid ${pid}` : "session"),
  sessionOption: (name: string, running: boolean) => (running ? `${name} (running)` : name),
  sessionLabel: "Debug session",
  trouble: (count: number, word: string) => counted(count, `parameter ${word}`, `parameters ${word}`),
  conditions: "Break…",
  conditionsTitle: (count: number) => (count === 0 ? "Conditions that stop backward" : `Conditions that stop backward: ${count} set`),
} as const;

/** Tabs and what belongs to no single room. */
export const shellText = {
  panel: "gradwatch",
  views: "Views",
  gradients: "Gradients",
  graph: "Graph",
  held: "Held",
  tab: (name: string, total: string) => (total === "" ? name : `${name} ${total}`),
  dismiss: "Dismiss",
  viewFailed: "This view could not be drawn",
  viewFailedText: (message: string) => `${message}. The other views are not concerned.`,
  unreadable: "The answer could not be read",
} as const;

/** One announcement a stop. */
export const announceText = {
  stop: (where: string, trouble: string, findings = 0) =>
    `Paused at ${where}, ${[trouble === "" && findings === 0 ? "no trouble in gradients" : trouble, findings === 0 ? "" : counted(findings, "finding", "findings")].filter(Boolean).join(", ")}`,
  at: (file: string, line: number) => `${fileName(file)} line ${line}`,
  state: (title: string, sentence: string) => `${title}. ${sentence}`,
} as const;

/** What was found, and what asks for more. */
export const findingsText = {
  title: "Findings",
  count: (count: number) => counted(count, "finding", "findings"),
  fix: "Fix:",
  evidence: "Evidence",
  certainty: { measured: "", inferred: "inferred", estimated: "estimated" },
  severity: { error: "error", warning: "warning", note: "note" },
  steps: (first: string, last: string) => (first === last ? `step ${first}` : `steps ${first}–${last}`),
  at: "at",
  otherLine: "and",
  more: (count: number) => `${formatCount(count)} more`,
  fewer: "Show fewer",
  pages: (from: number, to: number, of: number) => `${from === to ? String(from) : `${from}–${to}`} of ${of}`,
  previous: "Previous findings",
  next: "Next findings",
  choose: (title: string, severity: string) => `${title}, ${severity}`,
  hover: (title: string, sentence: string) => `**${title}**: ${sentence}`,
  why: "Why?",
  whyTitle: "Why is this gradient like this?",
  whyNoParameter: "Select a parameter first.",
  whyAsking: (name: string) => `Asking why ${name} has this gradient…`,
  whyNothing: (name: string) => `Nothing is known against the gradient of ${name}.`,
  whyInTerminal: (name: string) => `Nothing is found about ${name} here. In a terminal: gradwatch why FILE ${name}`,
  whyNotRecorded: (name: string) => `Nothing is found about ${name} at this stop. Record the run with gradwatch.watch, then: gradwatch why FILE ${name}`,
} as const;

/** The states of the panel without, or before, values. */
export const stateText = {
  noSession: "No debug session",
  noSessionText: "Start debugging a program that uses torch, or open a saved session.",
  startDebugging: "Start debugging",
  openSession: "Open session…",
  running: "Running",
  program: "The program",
  runningText: (program: string) => `${program} is running. The panel fills in at the next stop.`,
  lastStop: (step: number, ago: string) => (step >= 0 ? `Last stop: step ${formatCount(step)}, ${ago} ago.` : `Last stop: ${ago} ago.`),
  pause: "Pause",
  breakAtNonFinite: "Break at first non-finite gradient",
  breaksAtNonFinite: "Breaks at first non-finite gradient",
  reading: "Reading",
  readingText: "Asking the stopped thread for gradients, graph and held memory.",
  readingOf: (elapsed: string, budget: string) => `${elapsed} of a ${budget} budget.`,
  readingLate: (budget: string) => `The budget of ${budget} is over; the answer is on its way.`,
  readingPrevious: "The values below are of the stop before.",
  readingShort: (elapsed: string, budget: string) => `${elapsed} of ${budget}`,
  notImportable: "gradwatch is not importable",
  notImportableText: {
    before: "The interpreter ",
    after: (version: string) =>
      `${version === "" ? "" : ` (${version})`} does not have it. The copy shipped with this extension can be used for this debug session; nothing is installed.`,
  },
  useShippedCopy: "Use shipped copy",
  copyPip: "Copy pip command",
  copied: "Copied",
  noTorch: "torch is not loaded",
  noTorchText: "This process has not imported torch. The panel fills in at the first stop after it does.",
  nothing: "Nothing differentiable here",
  nothingText: { before: "No tensor with ", middle: " is reachable from " },
  nothingCaller: { before: " The caller ", after: (count: number) => ` has ${formatCount(count)}.` },
  nothingNoCaller: " Nor from its callers.",
  selectCaller: (name: string) => `Select ${name}`,
  failed: "The question failed",
  retryWith: (budget: string) => `Retry with ${budget}`,
  gradientsOnly: "Gradients only",
  stopName: (step: number, stop: number) => (step >= 0 ? `step ${formatCount(step)}` : stop >= 0 ? `stop ${formatCount(stop)}` : "the last stop"),
  staleOf: (stop: string, ago: string) => `values of ${stop}, ${ago} ago`,
  staleOfNarrow: (stop: string, ago: string) => `${stop}, ${ago} ago`,
  staleTitle: (stop: string) => `Values are of ${stop}. The program has run since. Pause to refresh.`,
  failedPrevious: "The values below are of the stop before.",
} as const;

/** What an answer lacks, and what cannot be seen. */
export const noticesText = {
  parts: { scope: "Scope", gradients: "Gradients", histograms: "Histograms", graph: "Graph", held: "Held", values: "Values" },
  missing: (part: string, done: string, total: string, reason: string) => `${part}: ${done} of ${total} read. ${reason}`,
  missingAll: (part: string, reason: string) => `${part}: ${reason}`,
  limits: (count: number) => counted(count, "limit of what can be seen here", "limits of what can be seen here"),
  retry: (budget: string) => `Retry with ${budget}`,
} as const;

/** Conditions that stop backward. */
export const conditionsText = {
  title: "Break in backward",
  firstNonFinite: "First non-finite gradient",
  norm: "Norm exceeds",
  normUnit: "L2 norm of any gradient",
  normInvalid: (text: string) => `“${text}” is not a number above 0. Write it as 1e3 or 250.`,
  normMissing: "Write a number above 0, such as 1e3.",
  set: "Set",
  remove: (name: string) => `Remove: ${name}`,
  hits: (hits: number) => (hits === 0 ? "" : hits === 1 ? "1 hit" : `${formatCount(hits)} hits`),
  node: (name: string, place: string) => (place === "" ? name : `${name}, ${place}`),
  parameter: (name: string) => `.grad of ${name}`,
  module: (name: string) => `module ${name}`,
  nextNode: "Next node",
  normAbove: (limit: string) => `Norm above ${limit}`,
  lasts: "Set for this debug session, in every process of it.",
  breakHere: "Break here",
  nothingToBreakAt: "Select a node, parameter or module first.",
  added: (name: string) => `Set: ${name}`,
  count: (count: number) => `${count} set`,
  off: (count: number) => `${count} off`,
  hit: "hit at this stop",
} as const;

// ---- gradients ----

/** What the chart says in one sentence. */
interface FlowSentence {
  readonly modules: number;
  readonly largest: { readonly norm: string; readonly name: string } | null;
  readonly smallest: { readonly norm: string; readonly name: string } | null;
  readonly trouble: readonly { readonly name: string; readonly state: string }[];
}

interface FlowPointWords {
  readonly name: string;
  readonly norm: string | null;
  readonly state: string;
  readonly before: boolean;
}

/** The gradients view: chart, tree, filter and dock. */
export const gradientsText = {
  chartTitle: "Gradient norm by depth",
  showTable: "Show as table",
  showTableNarrow: "Table",
  showChart: "Show chart",
  lineFrom: (earlier: string) => `line: ${earlier}`,
  pendingFrom: (earlier: string | null) => `pending: ${earlier ?? "from before"}`,
  fired: "fired",
  railNan: "NaN",
  railNone: "None",
  noGradients: "No .grad yet: backward has not written any since they were last set to None.",
  flowSentence: ({ modules, largest, smallest, trouble }: FlowSentence): string => {
    const sizes =
      largest === null || smallest === null
        ? "no norm is known"
        : `from ${smallest.norm} (${smallest.name}) to ${largest.norm} (${largest.name})`;
    const wrong = trouble.slice(0, 3).map(({ name, state }) => `${state} in ${name}`);
    const more = trouble.length > 3 ? `, and ${trouble.length - 3} more` : "";
    return `Gradient norm by depth, ${counted(modules, "module", "modules")}, ${sizes}${wrong.length > 0 ? `; ${wrong.join(", ")}${more}` : ""}.`;
  },
  flowPoint: ({ name, norm, state, before }: FlowPointWords): string =>
    [name, norm === null ? "no norm" : `norm ${norm}`, state, before ? "value from before" : ""].filter(Boolean).join(", "),
  previousStop: "previous stop",
  previousStep: "previous step",

  filter: "Filter by name, module or shape",
  filterNarrow: "Filter",
  filterHelp:
    "Words match names and shapes. :trouble :nan :none :stale :tied … keep a state; :norm>1e-3 compares (norm, max, rms, zeros, ratio, stale, numel).",
  troubleOnly: "trouble only",
  troubleNarrow: "trouble",
  unknownWord: (word: string, known: readonly string[]) => `${word} is not known. Known: ${known.map((one) => `:${one}`).join(" ")}.`,
  numberExpected: (word: string) => `${word} needs a comparison with a number, such as :norm>1e-3.`,
  nothingMatches: "Nothing matches.",
  found: (count: string, total: string) => `${count} of ${total}`,

  tree: "Parameters by module",
  columns: { name: "module", shape: "shape", range: "range", norm: "norm", ratio: "change", state: "state" },
  sortBy: "Sort by column",
  sortLabel: (column: string, direction: string | null) => (direction === null ? column : `${column}, sorted ${direction}`),
  columnHelp: {
    name: "Sort by name; a third press gives the model's order back",
    shape: "Sort by number of elements",
    range: "1e−12 to 1e1: smallest to largest magnitude, tick at the root mean square. Sort by root mean square",
    norm: "L2 norm over finite values. Sort by norm",
    ratio: (earlier: string) => `Norm over the norm at ${earlier}. Sort by it`,
    state: "Sort by state, worst first",
  },
  groups: { variables: "variables", modules: "other modules", optimizers: "optimizers" },
  tied: "tied",
  tiedWith: (names: readonly string[]) => `tied with ${names.join(", ")}`,
  parameters: (count: string) => (count === "1" ? "1 parameter" : `${count} parameters`),
  size: (parameters: string, elements: string) => `${parameters === "1" ? "1 parameter" : `${parameters} parameters`}, ${elements} elements`,
  finite: "finite",
  stateMeaning: {
    NaN: "It holds a NaN.",
    Inf: "It holds an Inf.",
    None: ".grad is None though requires_grad is set.",
    exploding: "Its norm is above 1e3, or its root mean square above 1,000 times the model's median. A loss scale does this too.",
    vanishing: "Its root mean square is below 1e−8, or below 1/10,000 of the model's median.",
    "on path": "Backward will compute it from a gradient that is NaN or Inf already.",
    stale: "No backward has written it since.",
    zero: "Every value is 0.",
    pending: "The running backward has yet to write it.",
    unread: "It was not read.",
    finite: "Every value is finite.",
    frozen: "requires_grad is off.",
  },
  staleLong: (count: number, unit: "steps" | "stops") => `stale for ${counted(count, unit.slice(0, -1), unit)}`,
  changed: "changed",
  fresh: "new",
  same: "=",
  normIs: (norm: string) => `norm ${norm}`,
  scaledIs: (norm: string) => `${norm} as accumulated, scaled`,
  localIs: (norm: string) => `local norm ${norm}`,
  localBad: (count: string) => `NaN or Inf in ${count}`,
  beside: { scaled: "scaled", local: "local" },
  besideWhich: "Norm beside",
  besideTitle: {
    scaled: (scale: string) => `Norm as accumulated: with the loss scale, ${scale}`,
    local: "Norm of this rank's own gradient, before it was reduced over the ranks; of the step's last backward call",
  },
  unscaledHelp: (scale: string) => `L2 norm over finite values, without the loss scale ${scale}. Sort by norm`,
  magnitudeScaled: (scale: string) => `as accumulated: scaled by ${scale}`,
  valuesOf: (earlier: string) => `values of ${earlier}`,
  valuesBefore: "values from before",
  partRead: (read: number, total: number) => `${read} of ${total} were read`,

  dock: "Selected gradient",
  closeDock: "Close",
  kv: {
    norm: "norm",
    scaled: "scaled norm",
    local: "local norm",
    absMax: "abs max",
    zeros: "zeros",
    sinceLastStep: "since last step",
    sinceLastStop: "since last stop",
    nonFinite: "NaN, Inf",
    mean: "mean",
    min: "min",
    max: "max",
    rms: "rms",
    parameters: "parameters",
    read: "read",
    value: "value",
    gradFn: "grad_fn",
    requiresGrad: "requires_grad",
  },
  magnitude: ".grad magnitude",
  values: "values",
  histogramMissing: "No histogram: it was left out of the answer.",
  histogramSentence: (peak: number | null): string =>
    peak === null ? "Histogram of magnitudes: no value that is finite and not 0." : `Histogram of magnitudes: most lie between 2 to the ${peak} and 2 to the ${peak + 1}.`.replaceAll("-", "−"),
  showGrad: ".grad",
  showValue: "value",
  valueOnly: "value",
  picture: "Picture shown",
  whichTensor: "Tensor shown",
  valuesAtStop: "Values can be read at the stop they belong to.",
  breakParameter: "Break at this gradient",
  breakModule: "Break at this module",
  copy: "Copy",
  showGraph: "Show its graph",
  yes: "yes",
  no: "no",
} as const;

// ---- graph ----

export const graphText = {
  tree: "Autograd graph, inputs first",
  backward: "backward",
  columns: { node: "node", saved: "saved", grad: "grad" },
  savedTitle: "Bytes saved for backward by the node. Each storage counts once, at its first saver.",
  gradTitle: "Norm of the gradient that reached the node in this backward, without the loss scale; underlined: of its parameters' .grad",
  root: "Graph behind",
  runningBackward: "running backward",
  newestScalar: "newest scalar",
  rootTitle: "The variable whose graph is shown",
  find: "Find node",
  findTitle: "Op, module, file:line, source or parameter; :trouble, :held>50MiB. Enter goes to the next match.",
  matches: (at: string, count: string) => `${at} of ${count}`,
  matchesNotAt: (count: number) => counted(count, "match", "matches"),
  noMatch: "no match",
  nextMatch: "Next match (Enter)",
  previousMatch: "Previous match (Shift+Enter)",
  openMatches: "expand all",
  openMatchesTitle: "Open every group with a match",
  byModule: "by module",
  byModuleNarrow: "module",
  byModuleTitle: "Group by module; off: every node in sequence",
  leaves: "leaves",
  leavesTitle: "Give AccumulateGrad, and views of a parameter, rows of their own",
  nodesName: "nodes",
  nodes: (text: string, count: number) => `${text} ${count === 1 ? "node" : "nodes"}`,
  times: (count: number) => `×${count}`,
  found: (count: string) => `${count} found`,
  madeInBackward: "made in backward",
  states: { pending: "pending", fired: "fired", running: "running", unknown: "state not known", idle: "" },
  partlyFired: (fired: string, nodes: string) => `${fired} of ${nodes} fired`,
  onPath: "on NaN path",
  born: (what: string) => `${what} born`,
  saved: (bytes: string) => `${bytes} saved`,
  released: (bytes: string) => `${bytes} released`,
  unseen: (count: number) => counted(count, "node whose inside cannot be seen", "nodes whose inside cannot be seen"),
  normFrom: { now: "gradient", parameter: ".grad", before: ".grad from before" },
  parameterGrad: (names: string, value: string) => `.grad of ${names}: ${value}`,
  beforeTitle: "From an earlier backward: this one has yet to reach it.",
  sizeIsBytes: "size: saved bytes",
  overview: (nodes: string, shown: string) => `All ${nodes} nodes in sequence, ${shown} in view: bytes saved as width. Drag to scroll.`,
  // dock
  index: (at: string, of: string) => `node ${at} of ${of}`,
  place: (at: string) => `#${at}`,
  inForwardOrder: "in forward order",
  placeTitle: (of: string) => `Place in forward order, of ${of}`,
  estimatedWord: "(estimated)",
  estimated: "Told from its neighbours: no recorder saw the module's call",
  showModule: (path: string) => `Show ${path}`,
  gradientIn: "gradient in",
  gradientInTitle: "The gradient of the node's outputs, as it reached the node",
  gradientOut: "gradient out",
  gradientOutTitle: "What the node computed: the gradient of its inputs, over those that no other node adds to",
  parameterGradient: ".grad",
  before: "from before",
  nonFinite: (nan: number, inf: number, count: string) =>
    [nan > 0 ? `NaN in ${formatCount(nan)}` : "", inf > 0 ? `Inf in ${formatCount(inf)}` : ""].filter(Boolean).join(", ") + ` of ${count}`,
  finite: "finite",
  notReached: "not reached yet",
  notSeen: "not seen",
  comesFrom: "gradient comes from",
  goesTo: "goes to",
  output: (index: number) => `output ${index}`,
  isRoot: "the root of this graph",
  end: "ends here",
  more: (count: number) => `${formatCount(count)} more`,
  savedTensor: "saved",
  shape: "shape",
  bytes: "bytes",
  tensorClass: "class",
  chargedElsewhere: "counted at another node that saved the same storage",
  sliceOf: (bytes: string) => `part of a storage of ${bytes}`,
  releasedTensor: "released",
  showValues: (role: string) => `Values of ${role}`,
  savedValues: (role: string) => `saved ${role}`,
  showGradient: "Show gradient",
  hideGradient: "Hide gradient",
  stepToNext: "Step to next node",
  breakAtNode: "Break at this node",
  breakAtModule: "Break at this module",
  breakAtParameter: "Break at this parameter",
  openFold: "Show one by one",
  foldOf: (count: number, nodes: string) => `${count} times the same structure, ${nodes} nodes in all`,
  // no graph
  noGraph: "No autograd graph here",
  chooseOne: "Choose what was computed from a tensor that requires grad:",
  nothingToChoose: "No tensor in this frame has a grad_fn. It may come after the forward call, or with grad mode on.",
} as const;

/** A compiled node, and the ops that it opens into. */
export const compiledText = {
  label: "compiled",
  ops: (count: number) => counted(count, "op", "ops"),
  saved: "saved",
  savedLong: (bytes: string) => (bytes === "" ? "saved for backward, of a size that is not known" : `${bytes} saved for backward`),
  savedTitle: (bytes: string) => `${bytes === "" ? "Its result" : bytes} kept for backward by the compiled region, and counted at its node`,
  recomputed: "recomputed",
  recomputedLong: "recomputed in backward",
  recomputedTitle: (names: readonly string[]) => `Computed again in backward${names.length > 0 ? `, as ${names.join(", ")}` : ""}: its result is not kept`,
  regionTitle: "Compiled region",
  forward: "forward",
  backward: "backward",
  keeps: "saved",
  noneSaved: "nothing",
  savedOf: (count: number, bytes: string, unsized: number) => {
    const size = bytes === "" ? "" : `, ${unsized > 0 ? "at least " : ""}${bytes}`;
    return `${counted(count, "result", "results")}${size}`;
  },
  by: (backend: string) => (backend === "" ? "" : `by ${backend}`),
  tooMany: (most: string) => `Its ops are not shown: the graph has more than ${most} of them.`,
  result: "result",
  several: "several, or no tensor",
  notKept: "not kept",
  usedBy: "used by",
  uses: "uses",
  unused: "no other op",
  given: "nothing: the region is given it",
  inRegion: (name: string) => `in ${name}`,
} as const;

/** The layered drawing of the graph; what it shares with the list is in graphText. */
export const layeredText = {
  drawing: "Autograd graph by module, inputs at the top, loss at the bottom",
  axis: { input: "input", backward: "backward", loss: "loss" },
  released: (bytes: string) => `released ${bytes}`,
  zoomIn: "Zoom in (+)",
  zoomOut: "Zoom out (−)",
  fit: "Fit (0)",
  fitWord: "fit",
  showTable: "Show as table",
  showTableWord: "table",
  showDrawing: "Show drawing",
  map: (nodes: string, share: string) => `Map of the drawing, ${nodes} nodes, ${share} of its height in view. Drag to move.`,
  widthIsShare: "width: share of gradient, where measured",
  shareTitle: (share: string) => `${share}: norm along this edge over the norm of the sum that reached the node`,
  folded: (most: number) => `More than ${most} would be open: what was opened first is folded again.`,
  tooLarge: (most: number) => `What was opened has more than ${most} rows: open it in the table.`,
  grouped: (nodes: string, most: number) => `${nodes} nodes are more than the ${most} that are drawn: grouped by module.`,
  tooMany: (most: number) => `More than ${most} nodes or groups stand beside one another at the top: shown as a table.`,
  edgesLeftOut: (count: string) => `The ${count} longest edges are not drawn: too many to tell apart.`,
} as const;

// ---- held ----

/** The held view, its treemap and the editor's notes at the end of lines. */
export const heldText = {
  caption: "held for backward now",
  captionPartial: "at least, held for backward now",
  captionRecorded: "held when backward began",
  released: (bytes: string): string => `${bytes} released`,
  heldBy: "Held by",
  groupBy: "Group held bytes by",
  groupings: { line: "line", module: "module", op: "op", dtype: "dtype" },
  table: (grouping: string): string => `Held bytes by ${grouping}`,
  nothingHeldWhy: "No tensor of this graph is saved: it was let go, or its ops save none.",
  noGraphTitle: "No held memory to show",
  noGraph: "No tensor with a grad_fn is reachable from this frame, so nothing is held through one.",
  noLedger: "The saved tensors of this graph were not read.",
  classes: {
    activation: "activation",
    parameter: "parameter",
    buffer: "buffer",
    input: "input",
    "optimizer state": "optimizer state",
    "not observable": "not observable",
  },
  notCounted: "Not counted as held: allocated without autograd too.",
  classBar: (parts: string): string => `Saved tensors by class: ${parts}`,
  unseen: (counts: string): string => `unseen: ${counts}`,
  unseenTitle: "What cannot be seen",
  unseenLabel: (label: string, nodes: string): string => `${nodes} ${label}`,
  reason: (text: string, nodes: number): string =>
    `${text.charAt(0).toUpperCase()}${text.slice(1)} (${nodes} ${nodes === 1 ? "node" : "nodes"}).`,
  cutShort: (reason: string, done: number, total: number): string =>
    total > 0 ? `${reason} ${done} of ${total} were read; the rest is not guessed.` : reason,
  showNode: "show node",
  moreReasons: (count: number): string => `${count} more`,
  byModule: "By module",
  treemap: (modules: number, bytes: string): string =>
    `Held bytes by module: ${modules} ${modules === 1 ? "area" : "areas"}, ${bytes} in all. Arrow keys move, Enter selects.`,
  asTable: "Show as table",
  outlined: "outline: running",
  others: (count: number): string => `${count} others`,
  cell: (name: string, bytes: string, share: string): string => `${name}, ${bytes}, ${share}`,
  tensors: (count: string): string => `${count} saved`,
  row: (name: string, bytes: string, share: string, released: boolean): string =>
    released ? `${name}, ${bytes} released` : `${name}, ${bytes}, ${share}`,
  releasedWord: "released",
  slice: (bytes: string): string => `slice of ${bytes}`,
  countedHere: (bytes: string): string => `${bytes} held, counted here.`,
  showAll: (count: number): string => `Show all ${count}`,
  showFewer: "Show fewer",
  saved: (role: string, op: string): string => `${role} of ${op}`,
  values: "values",
  sliceTitle: (own: string, whole: string): string =>
    `A slice of ${own}: its whole storage of ${whole} stays allocated and is counted.`,
  shared: "shared",
  elsewhere: (place: string): string => `It shares its storage with a tensor counted at ${place}.`,
  notHeld: (tensorClass: string, bytes: string): string => `${bytes} of the class ${tensorClass}, not counted as held.`,
  wasReleased: (bytes: string): string => `${bytes} released in this backward.`,
  recomputed: "recomputed",
  open: (place: string): string => `Open ${place}`,
  lineNote: (bytes: string, name: string): string => (name ? `${bytes} held · ${name}` : `${bytes} held`),
  hoverHead: (bytes: string, share: string, total: string): string =>
    `**${bytes}** held for backward here, ${share} of ${total}`,
  alreadyReleased: (bytes: string): string => `${bytes} of this line was released in this backward.`,
  andMore: (count: string): string => `and ${count} more`,
} as const;

// ---- values (slice picker and heat map) ----

/** Heat maps of values and their slice picker. */
export const valuesText = {
  heatMap: "heat map",
  describe: (title: string, shape: readonly number[], dtype: string): string =>
    `${title}, ${shape.length ? shape.join("×") : "scalar"} ${dtype}. Arrow keys read values.`,
  slice: "slice",
  dimension: (dimension: number): string => `dim ${dimension}`,
  rowsFrom: "rows from",
  columnsFrom: (dimensions: number): string => (dimensions > 1 ? "columns from" : "from"),
  ofSize: (size: number): string => `of ${size}`,
  reading: "reading…",
  retry: "Read again",
  failed: (message: string): string => `The values could not be read. ${message}`,
  empty: "No values: a dimension has size 0.",
  allZero: "all 0 in this window",
  noneFinite: "no finite value in this window",
  rounded: "rounded to float32",
  showFirst: "Show first NaN or Inf",
  searching: "searching…",
  firstAt: (index: string): string => `at ${index}`,
  notFound: (reason: string): string => `Not found. ${reason}`.trim(),
} as const;

// ---- notebook widget, and pages that hold their session themselves ----

/** A page with no VS Code around it. */
export const localText = {
  notHere: "This page cannot do that: open the session in VS Code.",
  noClipboard: "The browser did not let the text be copied.",
} as const;

/** The notebook's widget, around the page. */
export const notebookText = {
  panel: (name: string): string => `gradwatch, ${name}`,
  resize: "Drag to resize",
  waitingFirst: "Waiting for the kernel. It is busy, or it is not the one that drew this: then run the cell again.",
  waiting: "Waiting for the kernel, which is busy, for a part of the session that is not here yet. What is here stays usable.",
  noOther: "There is no other session here. Open both: %gradwatch open FILE OTHER",
} as const;

// ---- replay: the page of a recorded session ----

/** The page that replays a session: header, timeline, curves, comparison, ranks. */
export const replayText = {
  // header
  step: (step: string, of: string): string => `Replay step ${step} of ${of}`,
  stepsFromTo: (first: string, last: string): string => `${first}–${last}`,
  live: (step: string): string => `Live, step ${step}`,
  stop: (stop: number, place: string): string => (place === "" ? `Stop ${stop}` : `Stop ${stop} at ${place}`),
  noStep: "Recording",
  recordedAt: (when: string): string => `recorded ${when}`,
  ranks: (count: number): string => (count === 1 ? "1 rank" : `${formatCount(count)} ranks`),
  rank: (rank: number): string => `rank ${rank}`,
  rankFailed: (name: string): string => `${name} (not shown)`,
  rankLabel: "Rank",
  notFinished: "not finished",
  interrupted: (reason: string): string => `ended: ${reason}`,
  detailTitle: "Detail of the recording",
  cost: (share: string): string => `recording cost ${share}`,
  costTitle: "Recording cost: share of the run's wall time spent in gradwatch on the program's threads. It is large where steps are short.",
  marks: {
    nonfinite: (count: number): string => counted(count, "step with NaN or Inf in a gradient", "steps with NaN or Inf in a gradient"),
    stop: (count: number): string => counted(count, "recorded stop", "recorded stops"),
    interrupted: (count: number): string => counted(count, "step that ended early", "steps that ended early"),
    skipped: (count: number): string => counted(count, "step whose update was skipped", "steps whose update was skipped"),
    gap: (count: number): string => counted(count, "gap", "gaps"),
    variant: (count: number): string => counted(count, "change of the graph", "changes of the graph"),
    finding: (count: number): string => counted(count, "finding", "findings"),
  },
  limits: (count: number): string => counted(count, "note on what was recorded", "notes on what was recorded"),

  // transport
  controls: "Playback",
  previousMark: "Previous mark",
  nextMark: "Next mark",
  play: "Play",
  pause: "Pause",
  playTitle: "Play (Space)",
  pauseTitle: "Pause (Space)",
  previousMarkTitle: "Previous mark (,)",
  nextMarkTitle: "Next mark (.)",
  speed: (speed: number): string => `${speed} ${speed === 1 ? "step" : "steps"}/s`,
  speedLabel: "Speed",
  follow: "Follow",
  followTitle: "Go to the newest step as it is recorded",
  compareWith: "Compare with…",
  compareWithLabel: "Compare with",
  compareNone: "nothing",
  compareStep: "another step…",
  compareSession: "another session…",
  thisRun: "this run",
  ranksButton: "Ranks",
  showTable: "Show as table",
  replayStep: "Replay step under debugger",
  close: "Close",
  compare: "Compare",

  // timeline
  timeline: "Timeline",
  rowMarks: "marks",
  rowLoss: "loss",
  rowNorm: "grad norm",
  rowNormUnit: "log",
  rowHeld: "held peak",
  graphVariant: (letter: string): string => `graph ${letter}`,
  notRecorded: "not recorded",
  compared: (name: string, value: string, difference: string): string => (difference === "" ? `${name} ${value}` : `${name} ${value}, ${difference}`),
  valueText: (step: string, words: readonly string[]): string => [`step ${step}`, ...words].join(", "),
  stopWord: (stop: number): string => `stop ${stop}`,
  stopStep: (step: number): string => `step ${step}`,
  gapWord: "gap",
  interruptedWord: "ended early",
  skippedWord: "update skipped",
  skippedTitle: "update skipped: inf or NaN in the scaled gradients",
  lossScale: (scale: string): string => `loss scale ${scale}`,
  lossScaleNarrow: (scale: string): string => `×${scale}`,
  lossScaleTitle: "What a GradScaler multiplied the loss with. Norms are shown without it, and as accumulated beside them.",
  scaledNorm: (norm: string): string => `scaled ${norm}`,
  rowNormUnscaled: "log, unscaled",
  tableLossScale: "loss scale",
  tableColumns: { step: "step", loss: "loss", norm: "grad norm", nonfinite: "NaN, Inf", held: "held peak", marks: "marks" },
  steps: "Steps",

  // columns
  gradients: "Gradients",
  graph: "Graph",
  held: "Held",
  parameters: (count: string): string => `${count} parameters`,
  graphCaption: (nodes: string, variant: string): string => (variant === "" ? `${nodes} nodes` : `${nodes} nodes, variant ${variant}`),
  heldCaption: "when backward began",
  band: (steps: number): string => `band: p10–p90, last ${steps} steps`,
  splitGradients: "Width of Gradients",
  splitHeld: "Width of Held",
  sparkline: (steps: number): string => `${steps} steps`,
  sparklineTitle: (steps: number): string => `Norm over the last ${steps} steps`,

  // curves
  overSteps: "over steps",
  curveStatistic: "Statistic",
  statistics: { l2: "norm", min: "min", max: "max" },
  curve: (name: string, statistic: string, from: string, to: string): string => `${statistic} of ${name} over steps, from ${from} to ${to}. Press to go to a step.`,
  curveNothing: "Never recorded in this session.",
  curveOne: (step: number): string => `Recorded in step ${step} alone.`,
  curveReading: "reading…",
  curveFailed: (message: string): string => `The curve could not be read. ${message}`,
  otherHasNone: (name: string): string => `${name} has no parameter of this name.`,
  allRanks: "all ranks",
  heldCurve: (peak: string): string => `Bytes held over one step, peak ${peak}`,
  heldPeak: (bytes: string): string => `peak ${bytes}`,
  heldHere: (bytes: string): string => `released here: ${bytes} left`,
  forward: "forward",
  backward: "backward",
  estimatedRelease: "release estimated from the order of nodes",
  heldCurveNone: "How it was let go was not recorded at this step.",

  // comparison
  comparing: "Comparing…",
  compareFailed: (message: string): string => `Not compared. ${message}`,
  compareTitle: (name: string): string => `Compared with ${name}`,
  sameAll: (steps: string): string => `No part: gradients and losses of ${steps} compared steps agree.`,
  sameSteps: (steps: string): string => `Nothing that was recorded parts in ${steps} compared steps.`,
  firstParts: "first parts at",
  firstPartsAt: (step: number, name: string): string => `step ${step}, ${name}`,
  noPart: "gradients agree",
  partingTitle: "First parting",
  lossParts: (step: number): string => `Losses part at step ${step}`,
  onlyHere: "only in this run",
  onlyThere: (name: string): string => `only in ${name}`,
  sameGivers: "The nodes that gave it its gradient agree: what it saved, or computed, differs.",
  otherGivers: "What it was given differs already.",
  statisticColumn: "statistic",
  thisColumn: "this run",
  differenceColumn: "difference",
  heldBefore: "Held by line",
  heldSame: (bytes: string): string => `The same on every line, ${bytes} in all.`,
  heldAt: (step: number): string => `at step ${step}`,
  graphsDiffer: (step: number): string => `Graphs differ at step ${step}`,
  graphNodes: (a: string, b: string): string => `${a} nodes here, ${b} there`,
  changedNode: (what: string): string => `another ${what}`,
  changedWhat: { line: "line", inputs: "input" },
  moreRows: (count: string): string => `and ${count} more`,
  notes: "Notes",
  onlySteps: (count: string, span: string, name: string): string => (count === "1" ? `Only in ${name}: step ${span}.` : `Only in ${name}: ${count} steps, ${span}.`),
  onlyParameters: (names: string): string => `Parameters of one alone: ${names}`,
  stepFrom: "step",
  stepWith: "with step",

  // ranks
  ranksTitle: (step: string): string => `Gradient norm by rank and parameter, step ${step}`,
  ranksReading: "reading…",
  ranksFailed: (message: string): string => `The ranks could not be read. ${message}`,
  rankMap: (ranks: number, parameters: string): string => `Gradient norm of ${parameters} parameters on ${ranks} ranks. Arrow keys move, Enter selects.`,
  rankCell: (rank: number, name: string, value: string): string => `rank ${rank}, ${name}, ${value}`,
  rankNonfinite: (count: string): string => `NaN or Inf in ${count}`,
  noneParts: "No rank parts from the others at this step.",
  noneCompared: "Nothing to compare: every parameter is sharded.",
  rankKind: "Gradients shown",
  rankReduced: "reduced",
  rankLocal: "local",
  rankReducedTitle: "As accumulated, after they were reduced over the ranks",
  rankLocalTitle: "Each rank's own, before they were reduced over the ranks",
  magnitude: "norm",

  // states
  opening: (name: string): string => (name === "" ? "Opening" : `Opening ${name}`),
  openingText: (share: string): string => `Reading what was recorded when: ${share}.`,
  openingStart: "Reading what was recorded when.",
  empty: "Recording, no step has ended",
  emptyText: "The page fills in at the end of the first step.",
  emptyOver: "No step was recorded",
  emptyOverText: "The recording ended before the first step did.",
  unreadStep: (step: string): string => `Step ${step} could not be read`,
  unreadStop: (stop: number): string => `Stop ${stop} could not be read`,
  retry: "Read again",
  readingStep: "Reading the step.",
  recordedSource: "As recorded; the file may differ now.",
  noValues: "Values of tensors are not in a session, only their statistics.",
  notInReplay: "A recorded session cannot do that: no program is running.",
  announced: (title: string, words: string): string => (words === "" ? title : `${title}, ${words}`),
} as const;

// ---- replay source: what answers for a recorded session ----

/** Sentences about the files of a recorded session. */
export const replaySourceText = {
  cannotOpen: (name: string) => `${name} cannot be opened`,
  noneOpens: (count: number, first: string) => `None of its ${formatCount(count)} files can be opened. The first: ${first}`,
  noFiles: "It holds no session. Sessions end in .gradwatch and come from gradwatch run or gradwatch.watch.",
  notOpen: "No session is open.",
  cannotRead: (reason: string) => `It cannot be read: ${reason}. Check that it is there and may be read, then open it again.`,
  noRank: (rank: number) => `There is no file of rank ${rank} that can be read. Choose another rank.`,
  noStep: (step: number) => `Step ${formatCount(step)} is not in this file. Choose another step.`,
  sameRank: (rank: number, shown: string) => `Rank ${rank} is shown from ${shown}: of several files of one rank, the one that was begun last.`,
  filesFailed: (failed: number, of: number) => `${formatCount(failed)} of ${counted(of, "file", "files")} cannot be shown.`,
  filesLeftOut: (leftOut: number, most: number) => `${counted(leftOut, "file", "files")} beyond the first ${formatCount(most)} were not opened.`,
  ranksMissing: (ranks: readonly number[], count: number, world: number) => {
    const more = count > ranks.length ? ` and ${formatCount(count - ranks.length)} more` : "";
    return `${count === 1 ? "Rank" : "Ranks"} ${ranks.join(", ")}${more} of ${formatCount(world)} ${count === 1 ? "is" : "are"} not among the files.`;
  },
  marksCut: "There are more marks than are listed: of each kind the first 500, and of graph spans the first 1,000.",
  gap: (topic: string | null, reason: string, more: number) => {
    const what = topic === null ? reason : `${topic.slice(1)}: ${reason}`;
    return more === 0 ? what : `${what}, and ${formatCount(more)} more`;
  },
  nonfinite: (gradients: number, loss: number | null) => {
    const parts = [gradients > 0 ? `NaN or Inf in ${counted(gradients, "gradient", "gradients")}` : "", loss === null ? "" : `loss ${plainNumber(loss)}`];
    return parts.filter(Boolean).join(", ");
  },
  stop: (number: number, file: string, line: number, name: string) => `Stop ${number}${file === "" ? "" : `: ${file}:${line}`}${name === "" ? "" : ` in ${name}`}`,
  cutShort: "The file ends within this step.",
  skipped: "update skipped: inf or NaN in the scaled gradients",
  variant: (letter: string) => `Graph ${letter} begins`,
  tooManyCells: (ranks: number, names: number) => `${formatCount(ranks)} ranks of ${formatCount(names)} parameters are more than can be shown at once. Open fewer rank files.`,
  noGradient: "no gradient",
  hasNonfinite: "NaN or Inf",
  parts: ({ rank, count, of, name, own, others }: { rank: number; count: number; of: number; name: string; own: string; others: string }) =>
    `Rank ${rank} parts from the others in ${formatCount(count)} of ${counted(of, "parameter", "parameters")}, most in ${name}: ${own} where they have ${others}.`,
  partsBefore: (ranks: readonly number[], count: number, of: number) => {
    const more = count > ranks.length ? ` and ${formatCount(count - ranks.length)} more` : "";
    const who = count === of ? "all ranks part" : `${count === 1 ? "rank" : "ranks"} ${ranks.join(", ")}${more} ${count === 1 ? "parts" : "part"}`;
    return `Before reduction ${who}: each computed its own gradient, from its own data. Reduced ones agree.`;
  },
  partsLocal: "Local gradients are each rank's own, from its own data: they part where data does.",
  sharded: (count: number, of: number) =>
    `${count === of ? "Every parameter is" : `${counted(count, "parameter is", "parameters are")}`} sharded: each rank holds a part with numbers of its own, so ranks do not part in ${count === 1 ? "it" : "them"}.`,
  otherName: (first: string, more: number) => (more === 0 ? first : `${first} and ${formatCount(more)} more`),
  otherClosed: "That session is closed. Choose it again.",
  notAsked: (method: string) => `Nothing answers to ${method}.`,
} as const;

// ---- compare (two sessions, ranks or steps) ----

/** What a comparison says besides its numbers: the sentences of `gradwatch diff`. */
export const compareText = {
  moduleOutputs: "module outputs",
  nodes: "nodes",
  notCompared: (what: string, why: string): string => `No gradients of ${what} were compared: ${why}.`,
  hasDetail: (session: string, detail: string): string => `${session} has detail ${detail}`,
  recordsThem: (lacking: readonly string[], detail: string): string => `${lacking.join(" and ")} (--detail ${detail} records them)`,
  differentRanks: "Different ranks see different data: only gradients of parameters were compared, not losses, module outputs or nodes.",
  shardedParameters: (count: number, listed: string): string =>
    `${count > 1 ? `${count} parameters are` : "1 parameter is"} sharded (${listed}): each rank has a part of its own, so their gradients were not compared.`,
  inNoStep: "no compared step has them in both",
  unlikeCalls: (a: number, b: number, callsA: number, callsB: number): string =>
    `Step ${a === b ? a : `${a} against ${b}`}: ${callsA} backward calls in the first, ${callsB} in the second.`,
  cutShortLeftOut: (step: number, session: string): string => `Step ${step} of ${session} was cut short and is left out.`,
  cutShort: (step: number, session: string): string => `Step ${step} of ${session} was cut short: compared as far as it goes.`,
  unread: (parts: number, session: string): string => `${parts} parts of ${session} could not be read.`,
  unlistedGradients: (count: number): string => `${count} more gradients part at that step than are listed.`,
  unlistedNodes: (count: number): string => `The graphs differ in ${count} more nodes than are listed.`,
  largeGraph: (session: string, nodes: number): string => `A graph of ${session} has ${nodes} nodes: nodes were not compared.`,
  noStep: (step: number, range: string): string => `There is no step ${step} in this session. ${range}`,
  noSteps: "It has no steps.",
  oneStep: (step: number): string => `It has step ${step} only.`,
  steps: (first: number, last: number): string => `It has steps ${first} to ${last}.`,
  someSteps: (first: number, last: number, count: number): string => `It has steps ${first} to ${last}, ${count} of them.`,
  noneInCommon: (a: string, rangeA: string, b: string, rangeB: string): string =>
    `${a} and ${b} have no whole step in common. ${a}: ${rangeA} ${b}: ${rangeB} Choose a step of each.`,
  nothingShared: (a: string, b: string): string => `There is nothing to compare: ${a} and ${b} share no gradient and no loss.`,
} as const;
