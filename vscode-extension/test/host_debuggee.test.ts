import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { CONDITIONS, NOT_IMPORTABLE, World, evaluations, held, python, selectFrame, settle, snapshotText, stop, usual } from "./host_world";
import type { Replies } from "./host_world";
import * as vscode from "./fake_vscode";

let world: World;
beforeEach(() => {
  vi.useFakeTimers();
  world = new World();
});
afterEach(() => {
  world.dispose();
  vi.useRealTimers();
});

describe("a stop", () => {
  it("is one question about the top frame, with watch and rawString", async () => {
    const session = world.start();
    stop(session);
    await settle();
    expect(world.activity).toBe("ready");
    expect(session.requests.map(({ command }) => command)).toEqual(["stackTrace", "evaluate"]);
    expect(session.requests[1]?.args).toMatchObject({ context: "watch", format: { rawString: true }, frameId: 10 });
    expect(evaluations(session)[0]).toMatchObject({
      question: "snapshot",
      stop: 1,
      budget_ms: 2000,
      root: null,
      frame: { file: "/home/me/train.py", line: 11, function: "train" },
    });
  });

  it("is not asked about twice when VS Code selects the frame that was asked about", async () => {
    const session = world.start();
    stop(session);
    await settle();
    selectFrame(session, 1, 10);
    await settle();
    expect(evaluations(session)).toHaveLength(1);
  });

  it("is asked about again, with its number, for another frame or thread", async () => {
    const session = world.start();
    stop(session);
    await settle();
    selectFrame(session, 1, 11);
    await settle();
    selectFrame(session, 2, 20);
    await settle();
    expect(evaluations(session).map(({ stop: number, frame }) => [number, (frame as { function: string }).function])).toEqual([
      [1, "train"],
      [1, "main"],
      [1, "train"],
    ]);
  });

  it("ignores a selected frame of an earlier stop", async () => {
    const session = world.start();
    stop(session);
    await settle();
    vscode.debug.activeStackItem = new vscode.DebugStackFrame(session, 1, 999);
    vscode.activeStackItemChanged.fire(undefined);
    await settle();
    expect(evaluations(session)).toHaveLength(1);
  });

  it("counts up over stops", async () => {
    const session = world.start();
    for (let i = 0; i < 3; i++) {
      stop(session);
      await settle();
      session.will("continue", { threadId: 1 });
    }
    expect(evaluations(session).map((question) => question["stop"])).toEqual([1, 2, 3]);
  });
});

describe("nothing but what is wanted", () => {
  it("is asked while hidden, and it is asked once when shown at the stop", async () => {
    const session = world.start();
    world.looking = false;
    stop(session);
    selectFrame(session, 1, 11);
    await settle();
    expect(session.requests).toHaveLength(0);
    world.looking = true;
    world.sessions.look();
    await settle();
    world.sessions.look();
    await settle();
    expect(evaluations(session).map(({ frame }) => (frame as { function: string }).function)).toEqual(["main"]);
  });

  it("comes of an answer that arrives after the program went on", async () => {
    const answer = held<string>();
    const session = world.start("train", () => answer.promise);
    stop(session);
    await settle();
    session.will("next", { threadId: 1 });
    answer.resolve(snapshotText());
    await settle();
    expect(world.answers).toHaveLength(0);
    expect(world.activity).toBe("running");
  });

  it("comes of an answer about a frame that is no longer selected", async () => {
    const first = held<string>();
    const session = world.start("train", ({ frame }) => ((frame as { function: string }).function === "train" ? first.promise : snapshotText({ root: 5 })));
    stop(session);
    await settle();
    selectFrame(session, 1, 11);
    await settle();
    expect(evaluations(session)).toHaveLength(1);
    first.resolve(snapshotText({ root: 4 }));
    await settle();
    expect(world.answers.map(({ text }) => text)).toEqual([snapshotText({ root: 5 })]);
  });

  it("is sent beside a question in flight, and what is no longer wanted at its turn is not sent", async () => {
    const first = held<string>();
    let inFlight = 0;
    let most = 0;
    const replies: Replies = async () => {
      most = Math.max(most, ++inFlight);
      const text = await first.promise;
      inFlight--;
      return text;
    };
    const session = world.start("train", replies);
    stop(session);
    await settle();
    const selected = world.sessions.selected;
    for (let i = 0; i < 5; i++) selected?.chooseRoot(`x${i}`);
    first.resolve(snapshotText());
    await settle();
    expect(most).toBe(1);
    expect(evaluations(session).map(({ root }) => root)).toEqual([null, "x4"]);
  });

  it("is asked after a step request, except that the answer in flight may end", async () => {
    const first = held<string>();
    const calls: (number | undefined)[] = [];
    const session = world.start("train", ({ question }, frameId) => {
      calls.push(frameId);
      return question === "snapshot" && calls.length > 1 ? first.promise : usual({ question }, frameId);
    });
    stop(session);
    await settle();
    session.will("next", { threadId: 1 });
    stop(session);
    await settle();
    session.will("next", { threadId: 1 });
    await settle();
    expect(evaluations(session).map(({ question }) => question)).toEqual(["snapshot", "snapshot", "enough"]);
    expect(calls.at(-1)).toBeUndefined();
  });

  it("is asked at a step during the very first answer, except that it may end, where the frame is Python's", async () => {
    const session = world.start("train", ({ question }) => (question === "snapshot" ? held<string>().promise : usual({ question }, 1)));
    stop(session);
    await settle();
    session.will("next", { threadId: 1 });
    await settle();
    expect(evaluations(session).map(({ question }) => question)).toEqual(["snapshot", "enough"]);
  });

  it("delays a step: after a slow answer a stop by a step is asked about only when stepping pauses", async () => {
    const session = world.start("train", async (question, frameId) => {
      await new Promise((resolve) => setTimeout(resolve, 400));
      return usual(question, frameId);
    });
    stop(session);
    await vi.advanceTimersByTimeAsync(500);
    expect(world.activity).toBe("ready");
    for (let i = 0; i < 3; i++) {
      session.will("next", { threadId: 1 });
      await vi.advanceTimersByTimeAsync(50);
      stop(session);
      await vi.advanceTimersByTimeAsync(50);
    }
    expect(evaluations(session)).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1000);
    expect(evaluations(session).map((question) => question["stop"])).toEqual([1, 4]);
    expect(world.activity).toBe("ready");
  });
});

describe("what can go wrong", () => {
  it("an adapter that does not speak Python is asked once and never again", async () => {
    const node = new vscode.FakeSession("node", (command, args) => {
      if (command === "stackTrace") return python()(command, args);
      throw new Error("SyntaxError: Unexpected identifier 'space'");
    });
    stop(node);
    await settle();
    expect(world.sessions.items).toEqual([]);
    stop(node);
    selectFrame(node, 1, 11);
    await settle();
    expect(node.requests.filter(({ command }) => command === "evaluate")).toHaveLength(1);
  });

  it("an adapter whose evaluate succeeds with something else does not speak Python either", async () => {
    const node = new vscode.FakeSession("node", (command, args) => (command === "evaluate" ? { result: "<error>" } : python()(command, args)));
    stop(node);
    await settle();
    expect(world.sessions.selected?.state.activity.kind).toBe("unable");
  });

  it("a stop that ended while it was asked about says nothing about the adapter", async () => {
    const session = new vscode.FakeSession("train", (command, args) => {
      if (command === "evaluate") throw new Error("Unable to find thread for evaluation.");
      return python()(command, args);
    });
    stop(session);
    await settle();
    expect(world.activity).toBe("failed");
  });

  it("a question without an answer fails with what can be done, and a late answer is still taken", async () => {
    const late = held<string>();
    const session = world.start("train", () => late.promise);
    stop(session);
    await vi.advanceTimersByTimeAsync(7100);
    const { activity } = world.sessions.selected?.state ?? {};
    expect(activity).toMatchObject({ outcome: { kind: "failed", reason: expect.stringContaining("PYDEVD_UNBLOCK_THREADS_TIMEOUT"), budgetMs: 2000 } });
    late.resolve(snapshotText());
    await settle();
    expect(world.activity).toBe("ready");
  });

  it("a failure of the debuggee is shown in its own words", async () => {
    const session = world.start("train", () => JSON.stringify({ kind: "Failure", value: { error: "X", message: "what and why" } }));
    stop(session);
    await settle();
    expect(world.sessions.selected?.state.activity).toMatchObject({ outcome: { kind: "failed", reason: "what and why" } });
  });

  it("frames with nothing differentiable name the callers that have something", async () => {
    const callers = [{ depth: 1, function: "main", file: "/srv/train.py", line: 30, tensor_count: 4 }];
    const session = world.start("train", () => snapshotText({ state: "nothing differentiable", callers }));
    stop(session);
    await settle();
    expect(world.sessions.selected?.state.activity).toMatchObject({
      outcome: { kind: "nothing differentiable", function: "train", callers: [{ depth: 1, function: "main", tensorCount: 4 }] },
    });
    const frame = await world.sessions.selected?.selectCaller(1);
    await settle();
    expect(frame?.id).toBe(11);
    expect(evaluations(session).at(-1)?.["frame"]).toMatchObject({ function: "main", line: 30 });
  });

  it("a refused request to go on brings the stop back without a new question", async () => {
    const session = world.start();
    stop(session);
    await settle();
    const seq = session.will("next", { threadId: 1 });
    expect(world.activity).toBe("running");
    session.respond(seq, "next", false);
    await settle();
    expect(world.activity).toBe("ready");
    expect(evaluations(session)).toHaveLength(1);
  });

  it("another thread that goes on alone changes nothing", async () => {
    const session = world.start();
    stop(session);
    await settle();
    session.event("continued", { threadId: 9, allThreadsContinued: false });
    expect(world.activity).toBe("ready");
    session.event("continued", { threadId: 9, allThreadsContinued: true });
    expect(world.activity).toBe("running");
  });
});

describe("questions of the panel at a stop", () => {
  const request = { subject: { stop: 1, field: "grad" as const }, index: [], row: 0, column: 0, rows: 1, columns: 1, budget_ms: 1000 };
  const values = { question: "values", ...request, find_nonfinite: false } as const;

  it("wait for the one in flight and give the text as it came", async () => {
    const text = '{"kind":"Values","value":{"rows":1}}';
    const session = world.start("train", (question, id) => (question.question === "values" ? text : usual(question, id)));
    stop(session);
    await settle();
    expect((await world.sessions.selected?.askAtStop(values, 1000))?.text).toBe(text);
  });

  it("are refused while the program runs", async () => {
    world.start();
    await expect(world.sessions.selected?.askAtStop(values, 1000)).rejects.toThrow("not stopped");
  });

  it("are dropped unsent when the program goes on first", async () => {
    const first = held<string>();
    const session = world.start("train", () => first.promise);
    stop(session);
    await settle();
    const asked = expect(world.sessions.selected?.askAtStop(values, 1000)).rejects.toThrow("went on");
    session.will("continue", { threadId: 1 });
    first.resolve(snapshotText());
    await asked;
    expect(evaluations(session).filter(({ question }) => question === "values")).toHaveLength(0);
  });

  it("give up with a message after their budget and a grace", async () => {
    const session = world.start("train", (question, id) => (question.question === "values" ? new Promise(() => undefined) : usual(question, id)));
    stop(session);
    await settle();
    const asked = expect(world.sessions.selected?.askAtStop(values, 1000)).rejects.toThrow("No answer after 6 s");
    await vi.advanceTimersByTimeAsync(6100);
    await asked;
  });
});

describe("the chosen root", () => {
  const replies: Replies = (question, id) => (question["root"] === "gone" ? '{"kind":"Failure","value":{"message":"no variable gone"}}' : usual(question, id));

  async function chooseAndStopAgain(expression: string): Promise<vscode.FakeSession> {
    const session = world.start("train", replies);
    stop(session);
    await settle();
    world.sessions.selected?.chooseRoot(expression);
    await settle();
    session.event("continued", { allThreadsContinued: true });
    return session;
  }

  it("is kept at later stops in its function, and left aside in others", async () => {
    const session = await chooseAndStopAgain("aux");
    stop(session);
    await settle();
    selectFrame(session, 1, 11);
    await settle();
    expect(evaluations(session).map(({ root }) => root)).toEqual([null, "aux", "aux", null]);
  });

  it("that is not there at a later stop gives way to the default; where it was chosen, it fails in words", async () => {
    const session = await chooseAndStopAgain("gone");
    stop(session);
    await settle();
    expect(world.activity).toBe("ready");
    expect(evaluations(session).map(({ root }) => root)).toEqual([null, "gone", "gone", null]);
    world.sessions.selected?.chooseRoot("gone");
    await settle();
    expect(world.sessions.selected?.state.activity).toMatchObject({ outcome: { kind: "failed", reason: "no variable gone" } });
  });
});

describe("the shipped copy", () => {
  /** A Python without gradwatch until the copy is installed. */
  function bare(installs: string[]) {
    let importable = false;
    const replies: Replies = (question, id) => (importable ? usual(question, id) : NOT_IMPORTABLE);
    return python(replies, (expression) => {
      installs.push(expression);
      importable = true;
      return '{"done": true}';
    });
  }

  it("is installed on the user's word, for this session and unasked for its children", async () => {
    const installs: string[] = [];
    const root = new vscode.FakeSession("train", bare(installs));
    stop(root);
    await settle();
    expect(world.activity).toBe("not importable");
    await world.sessions.selected?.useShippedCopy();
    expect(world.activity).toBe("ready");
    root.event("continued");
    const child = new vscode.FakeSession("rank 1", bare(installs), root);
    stop(child);
    await settle();
    expect(world.activity).toBe("ready");
    expect(installs).toHaveLength(2);
  });

  it("is not installed in another debug session", async () => {
    const installs: string[] = [];
    const root = new vscode.FakeSession("train", bare(installs));
    stop(root);
    await settle();
    await world.sessions.selected?.useShippedCopy();
    root.event("continued");
    stop(new vscode.FakeSession("other", bare(installs)));
    await settle();
    expect(world.activity).toBe("not importable");
    expect(installs).toHaveLength(1);
  });

  it("says why when it cannot be installed", async () => {
    const session = new vscode.FakeSession("train", python(() => NOT_IMPORTABLE, () => '{"done": false, "reason": "an older one is found first"}'));
    stop(session);
    await settle();
    await expect(world.sessions.selected?.useShippedCopy()).rejects.toThrow("an older one is found first");
    expect(world.activity).toBe("not importable");
  });
});

describe("conditions", () => {
  const FIRST = { kind: "first non-finite", enabled: true } as const;

  it("go to the stopped process and to its running relatives at once, without a frame there", async () => {
    const root = world.start("rank 0");
    const child = world.start("rank 1", usual, root);
    const stranger = world.start("elsewhere");
    stop(root);
    await settle();
    const selected = world.sessions.selected;
    if (selected) world.sessions.addCondition(selected, FIRST);
    await settle();
    expect(evaluations(root).at(-1)).toMatchObject({ question: "conditions", conditions: [{ id: 1, ...FIRST }] });
    expect(child.requests.map(({ command, args }) => [command, "frameId" in args])).toEqual([["evaluate", false]]);
    expect(stranger.requests).toHaveLength(0);
  });

  it("reach a child that starts later, at the latest when it first stops, and only once", async () => {
    const root = world.start("rank 0");
    stop(root);
    await settle();
    const selected = world.sessions.selected;
    if (selected) world.sessions.setConditions(selected, [{ id: 4, ...FIRST }]);
    await settle();
    let torch = false;
    const child = world.start("rank 1", (question, id) => (torch ? usual(question, id) : '{"kind": "No torch", "value": {}}'), root);
    await settle();
    torch = true;
    world.looking = false;
    stop(child);
    await settle();
    stop(child);
    await vi.advanceTimersByTimeAsync(60_000);
    const sent = evaluations(child);
    expect(sent.map(({ question }) => question)).toEqual(["conditions", "conditions"]);
    expect(sent[1]?.["conditions"]).toEqual([{ id: 4, ...FIRST }]);
  });

  it("count the stops they made, as the process tells", async () => {
    const session = world.start("rank 0", (question, id) =>
      question.question === "snapshot" ? snapshotText({ conditions: [{ id: 1, ...FIRST, hits: 3 }] }) : usual(question, id),
    );
    stop(session);
    await settle();
    const selected = world.sessions.selected;
    if (selected) world.sessions.addCondition(selected, FIRST);
    selected?.refresh();
    await settle();
    expect(selected?.root.conditions).toEqual([{ id: 1, ...FIRST, hits: 3 }]);
  });

  it("do not keep the one-off stop at the next node", async () => {
    const session = world.start();
    stop(session);
    await settle();
    const selected = world.sessions.selected;
    if (selected) world.sessions.setConditions(selected, [{ id: 1, kind: "next node" }, { id: 2, ...FIRST }]);
    expect(selected?.root.conditions.map(({ id }) => id)).toEqual([2]);
    expect(CONDITIONS).toContain("Conditions");
  });
});
