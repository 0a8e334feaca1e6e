"""HTML reports: whole, static, escaped, and saying the same as the other reports."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, cast
from xml.etree import ElementTree as ET

import pytest
import torch
from torch import nn

from gradwatch.reporters import content, html, html_gradients, html_marks

if TYPE_CHECKING:
    from collections.abc import Callable
    from xml.etree.ElementTree import Element

    from gradwatch import Session
    from gradwatch.reporters.json import GradientRow, GraphReport, ShowReport

    Record = Callable[..., Session]

HOSTILE = "<script>alert('1')</script>&\"'"


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(8, 8), nn.GELU()) for _ in range(3))
        self.head = nn.Linear(8, 2)
        self.unused = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def session_of(record: Record, steps: int = 5, *, spoil: bool = False, **options: Any) -> Session:
    torch.manual_seed(0)
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)

    def train() -> None:
        for step in range(steps):
            loss = net(torch.ones(16, 4)).square().mean()
            if spoil and step == steps - 1:
                loss = loss + (net.head.weight * math.nan).sum() + (net.first.bias * math.inf).sum()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    return record(train, net, **options)


def parsed(element: str) -> Element:
    """Parse as XML, which is stricter than any browser."""
    return ET.fromstring(re.sub(r"<style>.*?</style>", "", element).replace("<details open>", '<details open="">'))


def text_of(element: str) -> str:
    return " ".join(" ".join(parsed(element).itertext()).split())


def every_report(session: Session) -> list[str]:
    shown = content.show_report(session)
    return [
        html.show(shown),
        html.gradients(content.gradients_report(session, None, "parameter")),
        html.gradients(content.gradients_report(session, None, "module")),
        html.held(content.held_report(session, None, "line")),
        html.held(content.held_report(session, None, "op"), when="held through loss now", notices=shown["notices"]),
        html.graph(content.graph_report(session, None)),
        html.graph(content.graph_report(session, None), what="loss"),
    ]


def test_every_report_is_one_well_formed_element(record: Record) -> None:
    for element in every_report(session_of(record, spoil=True)):
        root = parsed(element)
        assert (root.tag, root.get("class")) == ("div", "gradwatch")


def test_nothing_is_fetched_and_nothing_runs(record: Record) -> None:
    for element in every_report(session_of(record)):
        tags = {node.tag for node in parsed(element).iter()}
        assert not tags & {"script", "link", "img", "iframe", "object", "embed", "use", "image", "foreignObject", "a"}
        attributes = {name for node in parsed(element).iter() for name in node.attrib}
        assert not [name for name in attributes if name.startswith("on") or name in ("href", "src", "srcset")]
        assert not re.search(r"@import|url\(|https?:|//", element)


def test_every_text_of_the_user_is_escaped(record: Record) -> None:
    session = session_of(record)
    shown, graph = content.show_report(session), content.graph_report(session, None)
    spoil(shown)
    spoil(graph)
    for element in (html.show(shown, hint=HOSTILE), html.graph(graph, what=HOSTILE)):
        assert "<script" not in element
        assert HOSTILE in "".join(parsed(element).itertext())
    assert "<script" not in html.document("x", HOSTILE)


def spoil(value: Any) -> None:
    """Put hostile text at every place that a user's program names."""
    named = {"name", "label", "text", "module", "label_text", "role", "torch_version", "path", "unobserved"}
    pairs: list[tuple[Any, Any]] = list(value.items() if isinstance(value, dict) else enumerate(value))
    for key, each in pairs:
        if isinstance(each, str) and key in named:
            value[key] = HOSTILE
        elif isinstance(each, (dict, list)):
            spoil(each)


def test_it_says_first_what_matters(record: Record) -> None:
    session = session_of(record)
    report = content.show_report(session)
    said = text_of(html.show(report, hint="Do this next."))
    assert said.startswith("5 steps · loss ")
    assert "gradients 2 None, 10 finite" in said
    assert report["held"] is not None
    assert (
        f"{html.numbers.size(report['held']['total_bytes'])} held for backward when backward() of step 4 began" in said
    )
    assert "Do this next." in said


def test_numbers_are_those_of_the_other_reports(record: Record) -> None:
    session = session_of(record)
    report = content.show_report(session)
    said = text_of(html.show(report)).replace(" ", "")
    for row in report["gradients"]:
        assert html.numbers.gradient(row["norm"]) in said
    held = content.held_report(session, None, "op")["held"]
    for part in held["by"][0]["rows"]:
        assert f"{part['label']}{html.numbers.size(part['bytes'])}".replace(" ", "") in text_of(
            html.held(content.held_report(session, None, "op"))
        ).replace(" ", "")


def test_trouble_has_a_shape_a_word_and_a_place_on_the_rail(record: Record) -> None:
    report = content.show_report(session_of(record, spoil=True))
    element = html.show(report)
    icons = [svg.get("aria-label") for svg in parsed(element).iter("svg") if svg.get("class", "").startswith("gw-g ")]
    states = {row["state"] for row in report["gradients"]}
    assert {"NaN", "None"} <= states
    assert states - {"finite"} <= set(icons)
    chart = next(svg for svg in parsed(element).iter("svg") if "by depth" in svg.get("aria-label", ""))
    assert "NaN in head" in chart.get("aria-label", "")
    assert "None in unused" in chart.get("aria-label", "")
    marks = [group.get("class") for group in chart.iter("g")]
    assert marks.count("gw-NaN") == 1
    assert marks.count("gw-None") == 1


def test_a_norm_over_the_finite_elements_is_not_passed_off_as_the_norm() -> None:
    row = gradient_row("w", [1.0], state="NaN", norm=3.0)
    said = text_of(f"<div>{html_gradients.table([html_gradients.ModuleRows('w', row, [row])])}</div>")
    assert "NaN" in said
    assert "3.00" not in said


def test_every_chart_has_a_name(record: Record) -> None:
    for element in every_report(session_of(record)):
        for svg in parsed(element).iter("svg"):
            if svg.get("role") == "img":
                assert svg.get("aria-label")


def test_modules_stand_in_the_models_order(record: Record) -> None:
    report = content.show_report(session_of(record))
    names = [module.name for module in html_gradients.by_module(report["gradients"])]
    assert names == ["first", "blocks.0.0", "blocks.1.0", "blocks.2.0", "head", "unused"]


@pytest.mark.parametrize("count", [1, 2, 33, 1000])
def test_any_number_of_parameters_makes_a_bounded_report(count: int) -> None:
    rows = [gradient_row(f"layers.{i}.weight", [1.0, 0.5]) for i in range(count)]
    modules = html_gradients.by_module(rows)
    assert len(modules) <= html_gradients.GROUPS
    assert sum(len(module.rows) for module in modules) == count
    element = f"<div>{html_gradients.table(modules)}{html_gradients.chart(modules, 0)}</div>"
    parsed(element)
    assert len(element) < 500_000


def test_many_parameters_fold_but_those_in_trouble_stay_to_be_seen() -> None:
    rows = [gradient_row(f"layers.{i // 2}.{'wb'[i % 2]}", [1.0]) for i in range(1000)]
    rows[501]["state"] = "NaN"
    element = f"<div>{html_gradients.table(html_gradients.by_module(rows))}</div>"
    assert "250.b" in text_of(element)
    assert "251.b" not in text_of(element)
    assert sum("open" in details.attrib for details in parsed(element).iter("details")) == 1


def test_one_step_draws_no_curve_and_a_gap_stays_a_gap() -> None:
    assert html_marks.sparkline([1.0], 84, "norm") == ""
    assert html_marks.sparkline([None, None], 84, "norm") == ""
    curve = html_marks.sparkline([1.0, 2.0, None, 2.0, 1.0], 84, "norm")
    assert curve.count("M") == 2


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_never_lost_from_a_curve(bad: float) -> None:
    values: list[float | None] = [1.0] * 1000
    values[437] = bad
    assert html_marks.sparkline(values, 84, "norm").count("l3 3-3 3-3-3z") == 1


def test_all_gradients_zero_or_absent_still_makes_a_chart() -> None:
    rows = [gradient_row("a.w", [0.0], state="zero", norm=0.0), gradient_row("b.w", [None], state="None", norm=None)]
    chart = html_gradients.chart(html_gradients.by_module(rows), 0)
    parsed(chart)
    assert "zero in a" in chart
    assert "None in b" in chart


def test_what_could_not_be_seen_is_said(record: Record) -> None:
    report = content.show_report(session_of(record))
    report["notices"] = [
        {"kind": "not observable", "text": "a compiled region", "step": 3, "probe": None, "count": 12},
    ]
    assert "What cannot be seen a compiled region from step 3 \N{MULTIPLICATION SIGN}12" in text_of(html.show(report))


def test_parameters_alone_make_a_report_without_held_memory(record: Record) -> None:
    report = content.show_report(session_of(record, detail="parameters"))
    assert report["held"] is None
    assert "Held" not in text_of(html.show(report))


def test_an_empty_session_makes_a_report(record: Record) -> None:
    assert text_of(html.show(content.show_report(record(lambda: None)))).startswith("0 steps")


def test_a_graph_opens_outer_modules_first_and_folds_repeated_ones(record: Record) -> None:
    report = content.graph_report(session_of(record), None)
    said = text_of(html.graph(report))
    assert "blocks" in said
    assert "0\N{EN DASH}2 \N{MULTIPLICATION SIGN}3" in said
    assert said.count("GeluBackward0") == 1
    assert [name for name in open_modules(report) if name.startswith("blocks")]
    last: dict[str, Any] = dict(report["nodes"][-1])
    many = cast("GraphReport", {**report, "nodes": [{**last, "module": f"m.{i}.{i}"} for i in range(99)]})
    assert open_modules(many) == []


def open_modules(report: GraphReport) -> list[str]:
    details = [each for each in parsed(html.graph(report)).iter("details") if "open" in each.attrib]
    return ["".join(each[0].itertext()) for each in details]


def test_a_page_of_its_own_is_whole(record: Record) -> None:
    page = html.document(html.show(show_of(record)), "run.gradwatch")
    assert page.startswith("<!doctype html>")
    assert page.endswith("</body></html>")
    assert "<title>run.gradwatch</title>" in page


def show_of(record: Record) -> ShowReport:
    return content.show_report(session_of(record))


def test_light_and_dark_have_the_same_colours_to_set() -> None:
    from gradwatch.reporters import html_style

    names = [set(re.findall(r"--gw-\w+(?=:)", theme)) for theme in (html_style._LIGHT, html_style._DARK)]
    assert names[0] == names[1]
    used = set(re.findall(r"var\((--gw-\w+)", html_style.STYLE)) - {"--gw-i"}
    assert used <= set(re.findall(r"(--gw-\w+):", html_style.STYLE))


@pytest.mark.parametrize("theme", ["_LIGHT", "_DARK"])
def test_text_and_marks_have_enough_contrast(theme: str) -> None:
    from gradwatch.reporters import html_style

    colours = dict(re.findall(r"(--gw-\w+):(#\w+)", getattr(html_style, theme)))
    for name in ("--gw-fg0", "--gw-dim0", "--gw-accent0", "--gw-nan", "--gw-none"):
        assert contrast(colours[name], colours["--gw-bg0"]) >= 4.5, name


def contrast(one: str, other: str) -> float:
    """WCAG's contrast ratio."""
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    channels = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def gradient_row(name: str, norms: list[float | None], state: str = "finite", norm: float | None = 1.0) -> GradientRow:
    numbers = dict.fromkeys(("min", "max", "mean", "abs_max", "zero_fraction", "parameter_norm", "update_ratio"), None)
    counts = {"count": 4, "zeros": 0, "nan": 1 if state == "NaN" else 0, "inf": 0, "subnormals": 0}
    row: dict[str, Any] = {"name": name, "kind": "parameter", "shape": [4], "dtype": "float32", "state": state}
    return cast("GradientRow", {**row, "norm": norm, "norms": norms, **numbers, **counts})
