/** The messages that bring the panel into each of its states, from one or two snapshots. */

const SESSION = "s1";
const one = [{ id: SESSION, name: "Python: train.py", rank: 0, pid: 48213, stopped: true }];
const ranks = [0, 1, 2, 3].map((rank) => ({ id: `s${rank + 1}`, name: `Python: train.py ${rank}`, rank, pid: 48213 + rank, stopped: rank < 2 }));

const state = (value) => ({ type: "state", session: SESSION, state: value });
const snapshot = (text) => ({ type: "snapshot", session: SESSION, text, stoppedMs: 120, evaluateMs: 80 });
const sessions = (items) => ({ type: "sessions", items, selected: items.length > 0 ? SESSION : null });
const lastStop = (ago, step = 804) => ({ number: 2, step, atMs: Date.now() - ago });
const reading = () => state({ kind: "reading", budgetMs: 2000, startedMs: Date.now() });

const conditions = [
  { id: 1, kind: "first non-finite", enabled: true, hits: 1 },
  { id: 2, kind: "norm exceeds", limit: 1000, enabled: false, hits: 0 },
  { id: 3, kind: "node", node: 12, graph_digest: "d", name: "SoftmaxBackward0", module: "model.blocks.7.attn", line: "/project/model.py:51", enabled: true, hits: 3 },
];

/** `text` and `previous` are answers in JSON. A change to the answer stands for what a real one would have. */
export const STATES = {
  ready: ({ text, previous }) => [sessions(one), ...(previous ? [reading(), snapshot(previous)] : []), reading(), snapshot(text), state({ kind: "ready" })],
  conditions: (given) => [...STATES.ready(given), { type: "conditions", session: SESSION, conditions }],
  hit: (given) => [
    sessions(one),
    { type: "conditions", session: SESSION, conditions },
    snapshot(changed(given.text, (value) => Object.assign(value.stop, { condition: 1, reason: "NaN from SoftmaxBackward0 (model.blocks.7.attn, model.py:51): grad_inputs[0] (6,144 of 25,165,824)" }))),
    state({ kind: "ready" }),
  ],
  ranks: ({ text }) => [sessions(ranks), reading(), snapshot(text), state({ kind: "ready" })],
  recording: ({ text }) => [
    sessions(one),
    snapshot(changed(text, (value) => Object.assign(value, { recording: { path: "/project/run.gradwatch", detail: "nodes", steps: 812, cost: 0.018 } }))),
    state({ kind: "ready" }),
  ],
  partial: ({ text }) => [
    sessions(one),
    snapshot(changed(text, (value) => value.missing.push({ part: "gradients", reason: "The budget of 2 s ended.", done: 93, total: 149 }, { part: "held", reason: "Not begun before the budget ended.", done: -1, total: -1 }))),
    state({ kind: "ready" }),
  ],
  "no-session": () => [sessions([]), { type: "state", session: null, state: { kind: "no session" } }],
  running: () => [sessions(one), state({ kind: "running", program: "train.py", lastStop: null })],
  "running-last": () => [sessions(one), state({ kind: "running", program: "train.py", lastStop: lastStop(12_000) })],
  reading: () => [sessions(one), reading()],
  "reading-previous": ({ text }) => [...STATES.ready({ text }), reading()],
  "not-importable": () => [sessions(one), state({ kind: "not importable", executable: "/venv/bin/python", version: "3.12" })],
  "no-torch": () => [sessions(one), state({ kind: "no torch" })],
  nothing: () => [sessions(one), state({ kind: "nothing differentiable", function: "load_batch", callers: [{ depth: 1, function: "train_step", tensorCount: 4 }, { depth: 2, function: "main", tensorCount: 151 }] })],
  failed: () => [sessions(one), state(failure)],
  "failed-previous": ({ text }) => [...STATES.ready({ text }), state(failure)],
  stale: ({ text }) => [...STATES.ready({ text }), state({ kind: "stale", lastStop: lastStop(12_000) })],
};

const failure = {
  kind: "failed",
  expression: `gradwatch.debugger.answer('{"question": "snapshot", "budget_ms": 2000}')`,
  reason: "No answer after 4 s. The question still waits on the stopped thread, perhaps for a lock that a suspended thread holds. Continue the program, or set PYDEVD_UNBLOCK_THREADS_TIMEOUT=1 in its environment.",
  budgetMs: 2000,
};

function changed(text, change) {
  const answer = JSON.parse(text);
  answer.value.missing ??= [];
  change(answer.value);
  return JSON.stringify(answer);
}
