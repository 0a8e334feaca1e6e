import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { deflateSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { asciiJson, expressionOf, pythonString, readReply, unpacked } from "../src/questions";
import { ShippedCopy, installExpression } from "../src/shipped_copy";
import { questionIn } from "./host_world";

const HOSTILE = ["plain", "quote ' \" ''' \"\"\"", "back\\slash \\n \\u0041 \\", "line\nfeed\r\ttab\0null\x7f", "é ü 漢字", "😀 beyond", "\u2028\u2029", "\ud800 alone", "__import__('os')", "{x} %s ${y}"];

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), "gradwatch-é "));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** What real Python makes of it: the expression is evaluated as a debugger does, with a frame's names. */
function evaluate(expression: string, before = "", after = ""): unknown {
  const program = `
import json, sys
${before}
def frame():
    here = 1
    return eval(compile(EXPRESSION, "<string>", "eval"), {**globals(), **locals()}, locals())
EXPRESSION = json.loads(sys.stdin.read())
result = frame()
${after}
print(json.dumps(result))
`;
  return JSON.parse(execFileSync("python3", ["-I", "-c", program], { input: JSON.stringify(expression), encoding: "utf8" }));
}

function writeLibrary(files: Record<string, string>): void {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
    writeFileSync(path.join(folder, name), text);
  }
}

const LIBRARY = {
  "gradwatch/__init__.py": "__version__ = '9'\n",
  "gradwatch/debugger.py": "import sys\nfrom gradwatch.part import shout\ndef answer(request):\n    return shout(request, sorted(sys._getframe(1).f_locals))\n",
  "gradwatch/part/__init__.py": "import json\ndef shout(request, names):\n    return json.dumps({'kind': 'Values', 'value': [json.loads(request), names, __file__]})\n",
};

describe("quoting", () => {
  it("gives Python exactly the text, whatever is in it", () => {
    const texts = HOSTILE.filter((text) => !text.includes("\ud800 "));
    expect(evaluate(`[${texts.map(pythonString).join(", ")}]`)).toEqual(texts);
  });

  it("gives json.loads exactly the value, lone surrogates included", () => {
    expect(evaluate(`__import__("json").loads(${pythonString(asciiJson(HOSTILE))})`)).toEqual(HOSTILE);
  });

  it("stays on one line of ASCII", () => {
    const expression = expressionOf({ question: "conditions", conditions: HOSTILE.map((name, id) => ({ id, kind: "node", name })) });
    expect(expression).toMatch(/^[ -~]+$/);
    expect(questionIn(expression)["conditions"]).toHaveLength(HOSTILE.length);
  });
});

describe("the question's expression in Python", () => {
  const question = expressionOf({ question: "next node" });

  it("says that torch is not loaded, and loads nothing", () => {
    const result = evaluate(question, "", "result = [result, 'torch' in sys.modules, 'gradwatch' in sys.modules]");
    expect(result).toEqual([expect.stringContaining('"No torch"'), false, false]);
  });

  it("says which interpreter does not have gradwatch", () => {
    const reply = readReply(evaluate(question, "sys.modules['torch'] = sys") as string);
    expect(reply).toMatchObject({ kind: "Not importable", value: { executable: expect.stringContaining("python"), version: expect.stringMatching(/^3\./) } });
  });

  it("asks in the frame's own names", () => {
    writeLibrary(LIBRARY);
    const reply = readReply(evaluate(question, `sys.modules['torch'] = sys; sys.path.append(${pythonString(folder)})`) as string);
    expect(reply).toMatchObject({ kind: "Values", value: [{ question: "next node" }, ["here"], expect.any(String)] });
  });

  it("answers with a failure, and raises nothing, when gradwatch is broken", () => {
    writeLibrary({ ...LIBRARY, "gradwatch/debugger.py": "import no_such_thing\n" });
    const reply = readReply(evaluate(question, `sys.modules['torch'] = sys; sys.path.append(${pythonString(folder)})`) as string);
    expect(reply).toMatchObject({ kind: "Failure", value: { error: "ModuleNotFoundError", message: expect.stringContaining("no_such_thing") } });
  });
});

describe("the shipped copy in Python", () => {
  it("is appended to sys.path where the process sees the folder", () => {
    writeLibrary(LIBRARY);
    const result = evaluate(installExpression(folder, null), "", "import gradwatch; result = [result, gradwatch.__file__, sys.path[-1]]");
    expect(result).toEqual(['{"done": true}', path.join(folder, "gradwatch/__init__.py"), folder]);
  });

  it("asks for the sources elsewhere, and imports them from memory with their text", async () => {
    writeLibrary(LIBRARY);
    const sent: string[] = [];
    const elsewhere = "/not/on/this/machine";
    await new ShippedCopy(folder).install(async (expression) => {
      sent.push(expression.replaceAll(pythonString(asciiJson(folder)).slice(1, -1), pythonString(asciiJson(elsewhere)).slice(1, -1)));
      return evaluate(sent.at(-1) ?? "") as string;
    });
    expect(sent).toHaveLength(2);
    const check = "import inspect, gradwatch.debugger as d; result = [result, d.__file__, inspect.getsource(d.shout), eval('d.answer(\"1\")')]";
    const [report, file, source, answer] = evaluate(sent[1] ?? "", "", check) as string[];
    expect(report).toBe('{"done": true}');
    expect(file).toBe(`${elsewhere}/gradwatch/debugger.py`);
    expect(source).toContain("def shout");
    expect(answer).toContain(`${elsewhere}/gradwatch/part/__init__.py`);
  });

  it("says what is in the way when an older gradwatch is found first", async () => {
    writeLibrary(LIBRARY);
    const old = mkdtempSync(path.join(tmpdir(), "gradwatch-old"));
    mkdirSync(path.join(old, "gradwatch"));
    writeFileSync(path.join(old, "gradwatch/__init__.py"), "__version__ = '0.0.9'\n");
    const copy = new ShippedCopy(folder);
    const installed = copy.install(async (expression) => evaluate(expression, `sys.path.insert(0, ${pythonString(old)})`) as string);
    await expect(installed).rejects.toThrow(/gradwatch 0\.0\.9 at .* is found first/);
    rmSync(old, { recursive: true });
  });

  it("is not stopped by a folder that happens to be called gradwatch", () => {
    writeLibrary(LIBRARY);
    const namesake = mkdtempSync(path.join(tmpdir(), "namesake"));
    mkdirSync(path.join(namesake, "gradwatch"));
    const before = `sys.path.insert(0, ${pythonString(namesake)}); import gradwatch`;
    expect(evaluate(installExpression(folder, null), before)).toBe('{"done": true}');
    rmSync(namesake, { recursive: true });
  });
});

describe("reading an answer", () => {
  it("is null for what gradwatch does not say", () => {
    for (const text of ["", "42", "null", '{"kind": "Snapshots"}', "'{\"kind\": \"Snapshot\"}'", "undefined"]) expect(readReply(text)).toBeNull();
  });
});

describe("a long answer", () => {
  it("travels deflated and is read as it was", () => {
    const text = '{"kind": "Values", "value": "é 漢字"}'.repeat(10_000);
    expect(unpacked(`deflate:${deflateSync(text, { level: 1 }).toString("base64")}`)).toBe(text);
  });

  it("that was cut is an error, not half an answer", () => {
    const packed = deflateSync("x".repeat(100_000)).toString("base64");
    expect(() => unpacked(`deflate:${packed.slice(0, 40)}`)).toThrow();
  });

  it("that was not packed stays as it is", () => {
    expect(unpacked('{"kind": "Conditions", "value": []}')).toBe('{"kind": "Conditions", "value": []}');
  });
});
