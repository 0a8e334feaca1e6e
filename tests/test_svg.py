"""The picture of a session: bounded, escaped, without script, and readable on white and on dark."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from xml.etree import ElementTree as ET

import numpy as np
import pytest

import gradwatch
from gradwatch.reporters import content, svg, svg_marks
from gradwatch.reporters.svg_timeline import timeline

if TYPE_CHECKING:
    from gradwatch.reporters.json import GradientRow, Series, ShowReport

GOLDEN = Path(__file__).parent / "golden"
HOSTILE = "</svg><script>alert(1)</script>\"'&\x00\x1b\ud800" + "x" * 500


def report_of(name: str) -> ShowReport:
    with gradwatch.open(GOLDEN / f"{name}.gradwatch") as session:
        return content.show_report(session)


def row(name: str, norm: float | None = 1.0, state: str = "finite", steps: int = 3) -> GradientRow:
    template = report_of("seed")["gradients"][0]
    fields: dict[str, Any] = {**template, "name": name, "norm": norm, "state": state, "norms": [norm] * steps}
    return cast("GradientRow", fields)


def with_fields(**fields: Any) -> ShowReport:
    return cast("ShowReport", {**report_of("seed"), **fields})


@pytest.mark.parametrize("name", ["seed", "variants", "accumulate", "torn"])
def test_a_picture_stands_alone_as_svg(name: str) -> None:
    drawn = svg.picture(report_of(name), hint="Next: look")
    root = ET.fromstring(drawn)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert float(root.attrib["width"]) == svg_marks.WIDTH
    assert "Next: look" in "".join(root.itertext())
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert tags <= {"svg", "title", "style", "g", "path", "text", "rect", "circle", "polygon"}


def test_it_says_what_show_says() -> None:
    said = "".join(ET.fromstring(svg.picture(report_of("seed"))).itertext())
    assert "2 steps · loss 6.25 to 5.06 · gradients all 2 finite · 8 B held for backward" in said
    assert "y = w * x + b" in said
    assert "seed.py:6" in said
    compiled = "".join(ET.fromstring(svg.picture(report_of("variants"))).itertext())
    assert "The inside of generator.lstm is compiled." in compiled


def test_strangers_words_stay_words() -> None:
    place = {"file": HOSTILE, "line": 1, "text": HOSTILE}
    held = report_of("seed")["held"]
    assert held is not None
    rows = [{"label": HOSTILE, "bytes": 8, "fraction": 1.0, "place": place}]
    drawn = svg.picture(
        with_fields(
            session={**report_of("seed")["session"], "path": HOSTILE, "torch_version": HOSTILE},
            gradients=[row(f"{HOSTILE}.{index}.weight") for index in range(3)],
            held={**held, "by": [{"key": "line", "rows": rows}]},
            notices=[{"kind": "x", "text": HOSTILE, "step": None, "probe": None, "count": 1}],
        ),
        hint=HOSTILE,
    )
    root = ET.fromstring(drawn)
    assert "<script" not in drawn
    assert not any(element.tag.endswith("script") for element in root.iter())
    ET.fromstring(svg.message(HOSTILE, HOSTILE))


def test_a_large_session_is_a_small_picture() -> None:
    steps = 100_000
    values = [math.nan if step % 7 == 0 else float(step % 1000) for step in range(steps)]
    series = {"steps": list(range(steps)), "values": values}
    gradients = [
        row(f"block.{index // 10}.layer{index % 10}.weight", 10.0 ** -(index % 9), steps=5) for index in range(3000)
    ]
    rows = [
        {"label": f"f.py:{n}", "bytes": 9, "fraction": 0.1, "place": {"file": "f.py", "line": n, "text": "x" * 999}}
        for n in range(500)
    ]
    notice = {"kind": "x", "text": "y" * 999, "step": None, "probe": None, "count": 1}
    held = report_of("seed")["held"]
    assert held is not None
    drawn = svg.picture(
        with_fields(
            loss=series,
            gradient_norm=series,
            gradients=gradients,
            held={**held, "by": [{"key": "line", "rows": rows}]},
            notices=[notice] * 99,
        )
    )
    ET.fromstring(drawn)
    assert len(drawn) < 100_000
    assert "and 96 more notices" in drawn
    assert "and 492 more lines" in drawn


def test_what_is_not_finite_or_missing_is_never_drawn_as_a_number() -> None:
    gradients = [row("a.w", 1.0), row("b.w", math.nan, "NaN"), row("c.w", None, "None"), row("d.w", 0.0, "zero")]
    drawn = svg.picture(with_fields(gradients=gradients))
    assert drawn.count("<circle") == 1 + drawn.count('r="3.4"')
    said = "".join(ET.fromstring(drawn).itertext())
    assert "b: NaN" in said
    assert "c: — None" in said


def test_no_spike_is_lost_in_a_long_run() -> None:
    values: list[float | None] = [1.0] * 50_000
    values[31_234] = 1000.0
    series: Series = {"steps": list(range(50_000)), "values": values}
    drawn = timeline(series, {"steps": [], "values": []}, 0).svg
    heights = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", drawn)]
    assert min(heights) < max(heights) - 30
    assert "1,000" in drawn


def test_a_lane_of_nothing_but_nan_has_marks_and_no_line() -> None:
    series: Series = {"steps": [0, 1], "values": [math.nan, math.nan]}
    drawn = timeline(series, {"steps": [], "values": []}, 0).svg
    assert drawn.count(svg_marks.TROUBLE["NaN"]) == 2
    assert 'd=""' in drawn


def test_a_session_without_steps_is_a_sentence() -> None:
    empty: Any = {"steps": [], "values": []}
    drawn = svg.picture(with_fields(loss=empty, gradient_norm=empty, gradients=[], held=None, step=None, steps=[]))
    assert ET.fromstring(drawn).attrib["role"] == "img"


def luminance(colour: str) -> float:
    channels = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("ground", ["#ffffff", "#111111", "#1e1e1e", "#0d1117"])
def test_colours_read_on_white_and_on_dark(ground: str) -> None:
    assert contrast(svg_marks.INK, ground) >= 3.9  # no grey reaches 4.5 on both
    for colour in (svg_marks.ACCENT, *svg_marks.TROUBLE.values()):
        assert contrast(colour, ground) >= 3
