import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { foundByLine } from "../shared/finding_lines";
import { aimOf, findingColour, findingGlyph, findingKey, findingOfParameter, findingsOf, inlineParts, nameOfParameter, placed, stepsOf } from "../shared/findings";
import { GLYPHS } from "../shared/glyphs";
import type { Finding, Parameter, Site, Snapshot } from "../shared/session";
import { announcement } from "../shared/stop_summary";
import { whyWords } from "../src/why";
import { GOLDEN, goldenBytes, openSession, openWithout } from "./recorded_files";
import { goldenSource, memorySource, openedReplay } from "./replay_fake";
import { MemoryFile } from "./recorded_files";
import { finish, parameters, sessionBytes, stepRecords } from "./session_builder";

interface Told {
  readonly kind: string;
  readonly severity: string;
  readonly title: string;
  readonly line: string | null;
  readonly other_line: string | null;
  readonly steps: readonly number[];
  readonly evidence: readonly string[];
  readonly certainty: string;
}

const EXPECTED = (JSON.parse(readFileSync(join(GOLDEN, "findings.json"), "utf8")) as { findings: readonly Told[] }).findings;

function finding(fields: Partial<Finding> = {}): Finding {
  return { kind: "unreached", severity: "warning", title: "No gradient", sentence: "It got none.", ...fields };
}

const SITES = new Map<number, Site>([
  [0, { id: 0, file: "/project/model.py", line: 51, function: "forward" }],
  [1, { id: 1, file: "/project/model.py", line: 88, function: "forward" }],
]);

describe("the golden session's findings", () => {
  it("are what was written beside it, with their lines", async () => {
    const { overview } = await openedReplay([goldenSource("findings")]);
    const short = (place: { file: string; line: number } | null): string | null => place && `${place.file.split("/").at(-1)}:${place.line}`;
    const told = overview.facts.findings.map(({ finding: one, site, other }) => ({
      kind: one.kind, severity: one.severity, title: one.title, line: short(site), other_line: short(other), steps: one.steps, evidence: one.evidence, certainty: one.certainty,
    }));
    expect(told).toEqual(EXPECTED);
  });

  it("are none where the file has none", async () => {
    expect((await openWithout(goldenBytes("findings"), "/findings")).findings).toEqual([]);
    expect((await openSession(goldenBytes("seed"))).findings).toEqual([]);
  });

  it("have marks at the step that each was first seen in, but for notes, and for NaN, which has its own", async () => {
    const { overview } = await openedReplay([goldenSource("findings")]);
    expect(overview.facts.marks.map(({ kind, step, glyph, text }) => [kind, step, glyph, text])).toEqual([
      ["finding", 0, "None", "No gradient"],
      ["nonfinite", 1, undefined, "NaN or Inf in 2 gradients"],
    ]);
  });

  it("select parameter, node and line at the step that is shown", async () => {
    const { overview, ask } = await openedReplay([goldenSource("findings")]);
    const snapshot = await ask("snapshot", { at: { kind: "step", rank: 0, step: 1 } });
    const line = { kind: "line", file: "/home/someone/project/roots.py", line: 13 };
    const [born, unreached, held] = overview.facts.findings;
    expect(aimOf(born!, snapshot)).toEqual({ main: { kind: "parameter", id: 0 }, gradients: { kind: "parameter", id: 0 }, graph: { kind: "node", index: 3 }, held: line });
    expect(aimOf(unreached!, snapshot).main).toEqual({ kind: "parameter", id: 2 });
    expect(aimOf(held!, snapshot)).toMatchObject({ main: line, graph: { kind: "node", index: 3 }, held: line });
  });
});

describe("a stranger's findings", () => {
  it("that lack a title, a sentence or a severity are left out; ids that lead nowhere select nothing", () => {
    const broken = [null, {}, { title: 3, sentence: "x", severity: "error" }, { ...finding(), severity: "fatal" }] as unknown as Finding[];
    expect(placed([...broken, finding({ site: 7, other_site: -5 })], SITES)).toEqual([{ finding: expect.anything(), site: null, other: null }]);
    const snapshot = { parameters: [], modules: [] } as unknown as Snapshot;
    const [only] = placed([finding({ parameters: [9], nodes: [4], graph: 2, modules: [-1] })], SITES);
    expect(aimOf(only!, snapshot).main).toEqual({ kind: "none" });
  });

  it("of endless words are cut before they are sent", async () => {
    const long = finding({ sentence: "x".repeat(50_000), evidence: Array.from({ length: 500 }, (_, at) => `line ${at}`), title: "t".repeat(9000) });
    const bytes = sessionBytes([[parameters("a"), ...stepRecords(0, { 0: 1 }), ["/findings", { findings: Array.from({ length: 300 }, () => long) }], finish(1)]]);
    const { overview } = await openedReplay([memorySource("long", new MemoryFile(bytes))]);
    expect(overview.facts.findings).toHaveLength(100);
    const one = overview.facts.findings[0]!.finding;
    expect([one.sentence.length, one.title.length, one.evidence!.length]).toEqual([1000, 120, 12]);
  });
});

describe("a finding", () => {
  it("stands behind worse ones, and after those found before it", () => {
    const found = placed([finding({ severity: "note", title: "c" }), finding({ severity: "error", title: "a" }), finding({ severity: "note", title: "d" }), finding({ title: "b" })], SITES);
    expect(found.map(({ finding: { title } }) => title)).toEqual(["a", "b", "c", "d"]);
  });

  it("keeps its key while its numbers change, and has another where it is about something else", () => {
    const key = (fields: Partial<Finding>): string => findingKey(placed([finding(fields)], SITES)[0]!);
    expect(key({ sentence: "3 of 4", parameters: [2] })).toBe(key({ sentence: "4 of 4", parameters: [2, 3] }));
    expect(key({ parameters: [2] })).not.toBe(key({ parameters: [3] }));
    expect(key({ site: 0 })).not.toBe(key({ site: 1 }));
  });

  it("is found by a parameter it is about", () => {
    const found = placed([finding({ parameters: [1] }), finding({ parameters: [4, 2] })], SITES);
    expect([findingOfParameter(found, 2), findingOfParameter(found, 3)]).toEqual([1, -1]);
  });

  it("about nodes of another graph selects by its line instead", () => {
    const snapshot = { graph: { id: 3, node_count: 9 } } as unknown as Snapshot;
    const of = (graph: number): unknown => aimOf(placed([finding({ nodes: [4], graph, site: 0 })], SITES)[0]!, snapshot).graph;
    expect(of(3)).toEqual({ kind: "node", index: 4 });
    expect(of(2)).toEqual({ kind: "line", file: "/project/model.py", line: 51 });
  });

  it("has a glyph that is drawn, and a colour that a theme has", () => {
    for (const kind of ["nan", "unreached", "conflict", "held", "in-place", "out of memory", "dead units"] as const) {
      for (const severity of ["error", "warning", "note"] as const) {
        expect(GLYPHS[findingGlyph(finding({ kind, severity }))]).toBeDefined();
        expect(findingColour(finding({ kind, severity }))).toMatch(/^c-(nan|none|dim|explode|vanish)$/);
      }
    }
    expect(findingColour(finding({ kind: "conflict", severity: "error" }))).toBe("c-nan");
  });

  it("says its steps where it names any", () => {
    expect([stepsOf(finding()), stepsOf(finding({ steps: [3] })), stepsOf(finding({ steps: [3, 9] })), stepsOf(finding({ steps: [-1, 2] }))]).toEqual([null, [3, 3], [3, 9], null]);
  });

  it("has code between backticks, and an odd one is text", () => {
    expect(inlineParts("Write `x + 1` here")).toEqual([{ code: false, text: "Write " }, { code: true, text: "x + 1" }, { code: false, text: " here" }]);
    expect(inlineParts("one ` alone")).toEqual([{ code: false, text: "one ` alone" }]);
    expect(inlineParts("")).toEqual([]);
  });

  it("is counted when a stop is announced", () => {
    const golden = JSON.parse(readFileSync(join(GOLDEN, "snapshots/nothing.json"), "utf8")) as { value: Snapshot };
    const stop = { ...golden.value, stop: { ...golden.value.stop, file: "/p/train.py", line: 9, in_backward: false }, parameters: [], states: null, gradients: [] };
    expect(announcement({ ...stop, findings: [] }, null)).toBe("Paused at train.py line 9, no trouble in gradients");
    expect(announcement({ ...stop, findings: [finding(), finding()] }, null)).toBe("Paused at train.py line 9, 2 findings");
  });
});

describe("lines that findings are about", () => {
  it("have the worst one's name, how many more, and each one's words on hover", () => {
    const found = placed([finding({ site: 0, title: "b" }), finding({ site: 0, severity: "error", title: "a", fix: "Write `h_1 * 2`.", other_site: 1, evidence: ["4 of 16"] })], SITES);
    const lines = foundByLine(found).get("/project/model.py")!;
    expect(lines.map(({ line, severity, text }) => [line, severity, text])).toEqual([
      [51, "error", "◆ a, 1 more"],
      [88, "error", "◆ a"],
    ]);
    expect(lines[0]!.hover).toEqual(["**a**: It got none.\n\nFix: Write `h_1 * 2`.\n\n- 4 of 16", "**b**: It got none."]);
  });

  it("show what a session says as text, not as Markdown", () => {
    const [line] = foundByLine(placed([finding({ site: 0, title: "[a](command:x)", sentence: "<img> *b*" })], SITES)).get("/project/model.py")!;
    expect(line!.hover[0]).toBe(String.raw`**\[a\]\(command:x\)**: \<img\> \*b\*`);
  });

  it("are none without findings", () => {
    expect(findingsOf({} as Snapshot)).toEqual([]);
    expect(foundByLine([]).size).toBe(0);
  });
});

describe("what Python answers to why", () => {
  it("is its sentences with their fixes, wherever they stand", () => {
    expect(whyWords(JSON.stringify({ parameter: "model.w", findings: [{ sentence: "Never called.", fix: "Call it." }, { sentence: "Frozen.", fix: "" }] }))).toBe("Never called. Fix: Call it.\nFrozen.");
    expect(whyWords(JSON.stringify([{ sentence: "Never called." }]))).toBe("Never called.");
  });

  it("is nothing where it has none, or is no JSON", () => {
    expect([whyWords("{}"), whyWords("Traceback"), whyWords('{"sentence": 3}')]).toEqual([null, null, null]);
  });

  it("is asked by the name that the program uses", () => {
    const one = (root: string, path: string, leaf = false): Parameter => ({ id: 0, root, path, shape: [], dtype: "", device: "", numel: 0, bytes: 0, requires_grad: true, is_leaf_tensor: leaf });
    const [weight, other, alone] = [one("model", "fc.weight"), one("critic", "fc.weight"), one("", "w", true)];
    expect([weight, alone].map((each) => nameOfParameter(each, [weight, alone]))).toEqual(["fc.weight", "w"]);
    expect([weight, other].map((each) => nameOfParameter(each, [weight, other]))).toEqual(["model.fc.weight", "critic.fc.weight"]);
  });
});
