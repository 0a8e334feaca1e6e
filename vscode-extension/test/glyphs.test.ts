import { describe, expect, it } from "vitest";
import { GLYPHS, STATE_RANK, TROUBLE, glyphClass, glyphWord, type GlyphId } from "../shared/glyphs";

const all = Object.entries(GLYPHS) as [GlyphId, (typeof GLYPHS)[GlyphId]][];

describe("glyphs", () => {
  it("rank trouble before what is quiet: a closed module shows its worst child", () => {
    expect(STATE_RANK.slice(0, TROUBLE.length)).toEqual(TROUBLE);
    expect(STATE_RANK.indexOf("finite")).toBeGreaterThan(STATE_RANK.indexOf("pending"));
  });

  it("draw something within their 10 px box", () => {
    for (const [id, { fill, stroke }] of all) {
      const coordinates = `${fill ?? ""} ${stroke ?? ""}`.match(/-?\d*\.?\d+/g)?.map(Number) ?? [];
      expect(coordinates.length, id).toBeGreaterThan(2);
      expect(coordinates.every((value) => Math.abs(value) <= 10), id).toBe(true);
    }
  });

  it("differ in shape between any two states, so that colour is never alone", () => {
    const shapes = STATE_RANK.map((id) => JSON.stringify([GLYPHS[id].fill, GLYPHS[id].stroke, GLYPHS[id].dash]));
    expect(new Set(shapes).size).toBe(STATE_RANK.length);
  });

  it("have a word for every state but finite", () => {
    expect(STATE_RANK.filter((id) => glyphWord(id) === "")).toEqual(["finite"]);
    expect(glyphWord("stale", 3)).toBe("stale 3");
    expect(glyphWord("NaN", 3)).toBe("NaN");
  });

  it("give trouble a colour of its own", () => {
    expect(TROUBLE.map(glyphClass)).not.toContain("c-dim");
  });
});
