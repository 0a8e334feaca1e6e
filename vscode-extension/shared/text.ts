/**
 * Every word that the panel says, in one place, ready for translation. One object per room of the panel.
 * Sentence case, terse, the field's own words. A sentence with values is a function of them.
 */

import { fileName, formatCount } from "./format";

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
  stop: (where: string, trouble: string) => `Paused at ${where}, ${trouble === "" ? "no trouble in gradients" : trouble}`,
  at: (file: string, line: number) => `${fileName(file)} line ${line}`,
  state: (title: string, sentence: string) => `${title}. ${sentence}`,
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
  valuesOf: (earlier: string) => `values of ${earlier}`,
  valuesBefore: "values from before",
  partRead: (read: number, total: number) => `${read} of ${total} were read`,

  dock: "Selected gradient",
  closeDock: "Close",
  kv: {
    norm: "norm",
    absMax: "abs max",
    zeros: "zeros",
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
  gradTitle: "Norm of the gradient that reached the node in this backward; underlined: of its parameters' .grad",
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

// ---- held ----

/** The held view, its treemap and the editor's notes at the end of lines. */
export const heldText = {
  caption: "held for backward now",
  captionPartial: "at least, held for backward now",
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
