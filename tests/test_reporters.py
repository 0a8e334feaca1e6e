"""What the reports say and how they look, on sessions made by hand."""

# ruff: noqa: RUF001 -- reports write a real minus, a multiplication sign and an en dash

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import pytest

from gradwatch.errors import UsageError
from gradwatch.records import Module, Modules, Notice, Parameters, Record, Site, Sites, SourceFile
from gradwatch.reporters import content, glyphs, numbers, page, terminal
from gradwatch.reporters import json as shapes
from gradwatch.reporters.gradient_rows import CURVE_POINTS, SORTS, grouped
from gradwatch.reporters.terminal_graph import TreeOptions
from gradwatch.session.session import Session
from session_factory import (
    RUN,
    Node,
    Saved,
    Storage,
    backward,
    gradients,
    graph,
    held,
    ledger,
    optimizer_step,
    parameter,
    step,
    write_session,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

GOLDEN = Path(__file__).parent / "golden"
KIB = 1 << 10
MIB = 1 << 20


# Numbers


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (4.581e-4, "4.58e−4"),
        (-1.0, "−1.00e0"),
        (9.999e-8, "1.00e−7"),
        (1e12, "1.00e12"),
        (0.0, "0"),
        (math.nan, "NaN"),
        (math.inf, "Inf"),
        (-math.inf, "−Inf"),
        (None, "—"),
    ],
)
def test_a_gradient_has_one_digit_before_the_point(value: float | None, written: str) -> None:
    assert numbers.gradient(value) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (2.3142, "2.31"),
        (0.08123, "0.0812"),
        (31_415.9, "31,400"),
        (0.99999, "1.00"),
        (-12.34, "−12.3"),
        (1e-5, "1.00e−5"),
    ],
)
def test_a_loss_has_three_digits(value: float, written: str) -> None:
    assert numbers.scalar(value) == written


@pytest.mark.parametrize(
    ("size", "written"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "0.977 KiB"),
        (1536, "1.50 KiB"),
        (96 * MIB, "96.0 MiB"),
        (768 * MIB, "768 MiB"),
        (1023 * MIB, "0.999 GiB"),
        (round(3.13 * 1024 * MIB), "3.13 GiB"),
        (5 << 50, "5,120 TiB".replace(",", "")),
        (None, "—"),
        (-1, "—"),
    ],
)
def test_bytes_have_binary_units_and_three_digits(size: int | None, written: str) -> None:
    assert numbers.size(size) == written


@pytest.mark.parametrize(
    ("number", "written"), [(0, "0"), (9_999, "9,999"), (10_000, "10.0 k"), (25_165_824, "25.2 M"), (999_999, "1.00 M")]
)
def test_counts_are_exact_up_to_9999(number: int, written: str) -> None:
    assert numbers.count(number) == written


@pytest.mark.parametrize(
    ("nanoseconds", "written"),
    [
        (640, "640 ns"),
        (12_340, "12.3 µs"),
        (12_340_000, "12.3 ms"),
        (3.42e9, "3.42 s"),
        (99.4e9, "99.4 s"),
        (185e9, "3 min 5 s"),
        (12_000e9, "3 h 20 min"),
    ],
)
def test_times_have_units_people_use(nanoseconds: float, written: str) -> None:
    assert numbers.duration(nanoseconds) == written


def test_percent_shape_ratio_and_plural_read_well() -> None:
    assert (numbers.percent(0.2404), numbers.percent(None)) == ("24.0 %", "—")
    assert (numbers.shape([64, 1, 3]), numbers.shape([]), numbers.shape(None)) == ("64×1×3", "scalar", "—")
    assert numbers.ratio(1.1834) == "×1.18"
    assert (numbers.counted(1, "step"), numbers.counted(69, "step")) == ("1 step", "69 steps")


# Glyphs


def test_a_sparkline_runs_from_lowest_to_highest() -> None:
    assert glyphs.sparkline([1, 2, 3, 4, 5, 6, 7, 8], 8) == "▁▂▃▄▅▆▇█"
    assert glyphs.sparkline([1e-8, 1e-4, 1], 3, logarithmic=True) == "▁▅█"
    assert glyphs.sparkline([3, 3], 8) == "▄▄"


def test_a_sparkline_never_loses_what_is_not_finite_or_missing() -> None:
    values: list[float | None] = [1.0] * 1000
    values[123] = math.nan
    values[700] = math.inf
    drawn = glyphs.sparkline(values, 10)
    assert (drawn[1], drawn[7], len(drawn)) == ("◆", "⋈", 10)
    assert glyphs.sparkline([1, None, 2], 3) == "▁╌█"
    assert glyphs.sparkline([0, 1e-3, 1], 3, logarithmic=True) == "▁▁█"


def test_a_bar_shows_eighths_and_anything_above_zero() -> None:
    assert glyphs.bar(1, 4) == "████"
    assert glyphs.bar(0.5, 4) == "██"
    assert glyphs.bar(1e-9, 4) == "▏"
    assert glyphs.bar(0, 4) == ""


def test_the_plain_spelling_is_ascii_of_the_same_length() -> None:
    text = "▁▂▃▄▅▆▇█▏▎▍▌▋▊▉ · ○ ⊘ ◆ ⋈ ▲ … − — – × µ ╌"
    assert glyphs.to_ascii(text).isascii()
    assert len(glyphs.to_ascii(text)) == len(text)
    assert set("".join(glyphs.GLYPHS.values())) <= set(text), "the list above lacks a glyph"


# Reports


def blocks(count: int, *, steps: int = 3) -> list[list[Record]]:
    """A model of `count` equal blocks (a linear layer with weight and bias), an unused parameter, and a loss."""
    names = [f"blocks.{index}" for index in range(count)]
    modules = [Module(0, "model", "", "Net"), *(Module(i + 1, "model", name, "Block") for i, name in enumerate(names))]
    leaves = [
        parameter(2 * index + place, f"{name}.{leaf}", shape, module=index + 1)
        for index, name in enumerate(names)
        for place, (leaf, shape) in enumerate([("weight", (4, 4)), ("bias", (4,))])
    ]
    unused = parameter(2 * count, "unused", (4,), module=0)
    ops = [node for i in range(count) for node in (Node("AddmmBackward0", i + 1, 0), Node("ReluBackward0", i + 1, 1))]
    nodes = [Node("AccumulateGrad", parameter=0), *ops, Node("MeanBackward0", 0, 2)]
    edges = [(index, 0, before, 0) for before, index in pairwise(range(len(nodes)))]
    saved = [Saved(index, "self", index - 1, (1024,)) for index in range(1, len(nodes))]
    opening: list[Record] = [
        SourceFile("/home/someone/project/net.py", "0" * 64, "x = self.linear(x)\nx = relu(x)\nloss = x.mean()\n"),
        Sites([Site(index, "/home/someone/project/net.py", index + 1, "forward") for index in range(3)]),
        Modules(modules),
        Parameters([*leaves, unused]),
        graph(0, nodes, edges, [len(nodes) - 1]),
        ledger(0, 0, saved, [Storage(4 * KIB)] * (len(nodes) - 1)),
    ]
    return [[*(opening if number == 0 else []), *blocks_step(number, count)] for number in range(steps)]


def blocks_step(number: int, count: int) -> list[Record]:
    held_bytes = (2 * count + 1) * 4 * KIB
    scale = 0.5**number
    return [
        backward(number, graph=0, ledger=0, held_bytes=held_bytes, class_bytes=[held_bytes, 0, 0, 0, 0, 0]),
        gradients(number, {index: [scale * (index + 1), 0] for index in range(2 * count)}),
        optimizer_step(number, dict.fromkeys(range(2 * count), (1.0, 2.0, 0.001))),
        held(number, [(0, held_bytes), (100, 0)], [100] * (2 * count + 1)),
        step(number, scale),
    ]


@pytest.fixture
def seed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.chdir(GOLDEN)
    with Session("seed.gradwatch") as session:
        yield session


def opened(path: Path, flushes: Sequence[Sequence[Record]], **run: Any) -> Session:
    return Session(write_session(path / "run.gradwatch", flushes, replace(RUN, **run)))


def text_of(laid_out: RenderableType) -> str:
    return page.plain_text(laid_out)


def shown(session: Session, width: int = page.PLAIN_WIDTH) -> str:
    return page.plain_text(terminal.show(content.show_report(session), width), width)


def test_show_tells_a_small_session_whole(seed: Session) -> None:
    assert (
        shown(seed).strip()
        == dedent("""
        seed.gradwatch  2 steps in 10.0 ms, 0.0 % of it gradwatch's own
        seed.py
        2023-11-14 22:13:20 UTC · example, cpu · torch 2.13.0 · detail nodes

        loss             6.25  █▁  5.06
        gradient norm  1.12e1  █▁  1.01e1

        Gradients at step 1  all 2 finite
             name  shape   norm    over steps  min      max      update
          ·  w     scalar  9.00e0  █▁           9.00e0   9.00e0  1.00e−1
          ·  b     scalar  4.50e0  █▁           4.50e0   4.50e0  1.00e−1

        Held for backward at step 1  8 B when backward() began
          activation 4 B · input 4 B; allocated anyway: parameter 4 B
          by line                                         bytes   share
          seed.py:6  y = w * x + b  ████████████████████    4 B  50.0 %
          seed.py:7  loss = y ** 2  ████████████████████    4 B  50.0 %

        Graph at step 1  5 nodes, 4 edges, 8 B saved
          saves most      module  saved  line
          MulBackward0    model     4 B  seed.py:6
          PowBackward0              4 B  seed.py:7

        Next
          gradwatch gradients seed.gradwatch --sort norm  every parameter
          gradwatch held seed.gradwatch --by op           or by line, module, node, dtype, class
          gradwatch graph seed.gradwatch                  modules, operations, source lines
        """).strip()
    )


def test_trouble_has_a_glyph_a_word_and_stands_in_the_heading() -> None:
    with Session(GOLDEN / "accumulate.gradwatch") as session:
        text = shown(session)
    assert "Gradients at step 1  1 NaN, 1 zero" in text
    assert "  ◆  head.weight" in text
    assert "  ○  head.bias" in text
    assert "▄◆  NaN" in text, "the loss's curve ends in NaN"


def test_a_parameter_without_a_gradient_is_none_not_zero(tmp_path: Path) -> None:
    with opened(tmp_path, blocks(2)) as session:
        report = content.show_report(session)
        text = shown(session)
    assert [row["state"] for row in report["gradients"]] == ["finite"] * 4 + ["None"]
    assert "⊘  unused" in text
    unused = report["gradients"][-1]
    assert (unused["norm"], unused["count"], unused["norms"]) == (None, None, [None, None, None])


def test_a_few_bad_values_are_counted(tmp_path: Path) -> None:
    names: list[Record] = [Parameters([parameter(0, "w", [4])])]
    flush = [*names, backward(0), gradients(0, {0: [math.nan, 1, 2, math.inf]}), step(0)]
    with opened(tmp_path, [flush]) as session:
        row = content.gradients_report(session, None, "parameter")["gradients"][0]
        text = shown(session)
    assert (row["state"], row["nan"], row["inf"], row["max"]) == ("NaN", 1, 1, 2.0)
    assert "NaN in 1" in text


def test_many_parameters_are_put_together_by_module_to_fit_a_screen(tmp_path: Path) -> None:
    with opened(tmp_path, blocks(30)) as session:
        text = shown(session)
    table = [line for line in text.splitlines() if line.startswith(("  ·  ", "  ⊘  "))]
    assert len(table) == 31
    assert "blocks.0 ×2" in table[0]
    assert "2.24e0" not in table[0], "the norm is that of the last step"
    assert "5.59e−1" in table[0], "sqrt(1² + 2²) / 4"
    assert "61 parameters in 31 rows; each by itself: gradwatch gradients" in text


def test_more_names_than_rows_are_said_to_be_left_out(tmp_path: Path) -> None:
    names: list[Record] = [Parameters([parameter(index, f"w{index}", [1]) for index in range(50)])]
    tensors: dict[int, Sequence[float]] = {index: [math.nan if index == 47 else 1.0] for index in range(50)}
    with opened(tmp_path, [[*names, backward(0), gradients(0, tensors), step(0)]]) as session:
        text = shown(session)
    assert "◆  w47" in text, "what is in trouble is never left out first"
    assert "50 parameters in 50 rows, 10 of them not shown" in text


def test_grouping_keeps_the_models_order_and_every_row(tmp_path: Path) -> None:
    with opened(tmp_path, blocks(30)) as session:
        rows = content.show_report(session)["gradients"]
    for limit in (1, 5, 31, 40, 61, 100):
        assert [row["name"] for group in grouped(rows, limit) for row in group] == [row["name"] for row in rows]
    assert len(grouped(rows, 40)) == 31


@pytest.mark.parametrize("width", [76, 100, 140])
def test_a_report_keeps_to_the_width_of_the_terminal(width: int, tmp_path: Path) -> None:
    with opened(tmp_path, blocks(30)) as session:
        lines = shown(session, width).splitlines()
        graph_lines = page.plain_text(terminal.graph(content.graph_report(session, None), width), width).splitlines()
    commands = [line for line in lines if line.startswith("  gradwatch ")]
    assert max(len(line) for line in [*lines, *graph_lines] if line not in commands) <= width
    assert len(commands) == 3
    assert all(str(session.path) in command for command in commands), "commands stay whole"
    assert not any("…" in line and "e−" in line.partition("…")[2][:3] for line in lines), "numbers never shorten"


def test_a_narrow_terminal_gives_up_columns_before_names(tmp_path: Path) -> None:
    with opened(tmp_path, blocks(2)) as session:
        assert " min " in shown(session, 110)
        narrow = shown(session, 76)
    assert " min " not in narrow
    assert "blocks.1.weight" in narrow


def test_curves_of_long_runs_are_thinned_but_keep_every_nan(tmp_path: Path) -> None:
    names: list[Record] = [Parameters([parameter(0, "w", [1])])]
    flushes = [
        [*(names if n == 0 else []), backward(n), gradients(n, {0: [math.nan if n == 321 else 1.0 + n]}), step(n, 1.0)]
        for n in range(1000)
    ]
    with opened(tmp_path, flushes) as session:
        report = content.gradients_report(session, None, "parameter")
    norms = report["gradients"][0]["norms"]
    assert len(norms) == len(report["steps"]) == CURVE_POINTS
    assert report["steps"][-1] == 999
    assert norms[-1] == 1000
    assert sum(norm is not None and math.isnan(norm) for norm in norms) == 1


def test_gradients_can_be_sorted_and_cut_to_trouble(tmp_path: Path) -> None:
    with opened(tmp_path, blocks(2)) as session:
        by_norm = content.gradients_report(session, None, "parameter", "norm")["gradients"]
        trouble = content.gradients_report(session, None, "parameter", only_trouble=True)["gradients"]
    assert [row["name"] for row in by_norm] == [
        "blocks.1.bias",
        "blocks.1.weight",
        "blocks.0.bias",
        "blocks.0.weight",
        "unused",
    ]
    assert [row["name"] for row in trouble] == ["unused"]
    assert set(SORTS) == set(get_args(shapes.Sort))


def test_nodes_of_one_name_are_told_apart(seed: Session) -> None:
    text = text_of(terminal.gradients(content.gradients_report(seed, 0, "node"), 110))
    assert "AccumulateGrad #0" in text
    assert "AccumulateGrad #1" in text


def test_held_memory_is_drawn_as_bars_largest_first(tmp_path: Path) -> None:
    with opened(tmp_path, blocks(2)) as session:
        text = text_of(terminal.held(content.held_report(session, None, "line"), 110))
    assert text == dedent("""\
        Held for backward at step 2  20.0 KiB when backward() began
          by line                                                bytes   share
          net.py:1  x = self.linear(x)  ████████████████████  8.00 KiB  40.0 %
          net.py:2  x = relu(x)         ████████████████████  8.00 KiB  40.0 %
          net.py:3  loss = x.mean()     ██████████            4.00 KiB  20.0 %
        """)


def test_what_held_leaves_out_is_counted(tmp_path: Path) -> None:
    with opened(tmp_path, blocks(30)) as session:
        report = content.held_report(session, None, "node")
    assert "and 58 more by node, 232 KiB: --top 0 shows them" in text_of(terminal.held(report, 110, 3))
    assert "more by node" not in text_of(terminal.held(report, 110, 0))


def test_where_lines_are_unknown_the_report_says_how_to_get_them(tmp_path: Path) -> None:
    flushes = [[record for record in flush if not isinstance(record, Sites)] for flush in blocks(2)]
    with opened(tmp_path, flushes, detail="modules", line_source="module calls") as session:
        text = text_of(terminal.held(content.held_report(session, None, "line"), 110))
        assert "(unknown line)" in text
        assert "Python 3.12 or later, or --detail nodes" in text
        assert "by module" in shown(session), "show falls back to what is known"


def test_the_graph_is_drawn_in_forward_order_with_repeated_blocks_folded(tmp_path: Path) -> None:
    with opened(tmp_path, blocks(3)) as session:
        text = text_of(terminal.graph(content.graph_report(session, None), 110))
    assert text == dedent("""\
        Graph at step 2  8 nodes, 7 edges, 28.0 KiB saved
          module, operation  nodes     saved  line
          blocks.0–2 ×3          6  24.0 KiB            one of them below
            AddmmBackward0          4.00 KiB  net.py:1  x = self.linear(x)
            ReluBackward0           4.00 KiB  net.py:2  x = relu(x)
          MeanBackward0             4.00 KiB  net.py:3  loss = x.mean()
        """)


def test_blocks_that_differ_are_not_folded(tmp_path: Path) -> None:
    flushes = blocks(3)
    names = [Node("AccumulateGrad", parameter=0), *(Node("AddmmBackward0", i + 1) for i in range(3))]
    names[2] = Node("MulBackward0", 2)
    flushes[0] = [
        graph(0, names, [(1, 0, 0, 0), (2, 0, 1, 0), (3, 0, 2, 0)], [3]) if type(record).__name__ == "Graph" else record
        for record in flushes[0]
        if type(record).__name__ != "Ledger"
    ]
    with opened(tmp_path, flushes) as session:
        text = text_of(terminal.graph(content.graph_report(session, 0), 110))
    assert "×" not in text
    assert [line.split()[0] for line in text.splitlines()[2:]] == [
        "blocks",
        "0",
        "AddmmBackward0",
        "1",
        "MulBackward0",
        "2",
        "AddmmBackward0",
    ]


def test_one_module_of_the_graph_can_be_asked_for(tmp_path: Path) -> None:
    with opened(tmp_path, blocks(3)) as session:
        report = content.graph_report(session, None)
    text = text_of(terminal.graph(report, 110, TreeOptions(module="blocks.1", nodes=True)))
    assert [line.split()[0] for line in text.splitlines()[2:]] == ["AddmmBackward0", "ReluBackward0"]
    with pytest.raises(UsageError, match=r"no module blocks\.7: no '7' is in blocks, which has 0, 1, 2"):
        text_of(terminal.graph(report, 110, TreeOptions(module="blocks.7")))


def test_a_chain_of_a_hundred_thousand_nodes_is_drawn_at_once(tmp_path: Path) -> None:
    count = 100_000
    nodes = [Node("AddBackward0" if index % 2 else "MulBackward0") for index in range(count)]
    edges = [(index, 0, index - 1, 0) for index in range(1, count)]
    flush: list[Record] = [graph(0, nodes, edges, [count - 1]), backward(0, graph=0), step(0)]
    with opened(tmp_path, [flush]) as session:
        text = text_of(terminal.graph(content.graph_report(session, 0), 110))
    assert "100 k nodes, 100 k edges" in text
    assert "and 100 k operations outside of these modules: --nodes shows them" in text


def test_notices_are_said_once_with_their_number(tmp_path: Path) -> None:
    seen = Notice("not observable", "The inside of head is compiled.", step=4)
    stopped = Notice("probe stopped", "Gradients of module outputs stopped: KeyError: 7", probe="modules")
    with opened(tmp_path, [[seen, seen, stopped, step(0)]]) as session:
        report, text = content.show_report(session), shown(session)
    assert [(row["count"], row["step"]) for row in report["notices"]] == [(2, 4), (1, None)]
    assert "▲ not observable  The inside of head is compiled. (step 4) ×2" in text
    assert "▲ probe stopped  Gradients of module outputs stopped: KeyError: 7" in text


def test_a_session_whose_process_was_killed_says_so() -> None:
    with Session(GOLDEN / "torn.gradwatch") as session:
        text = shown(session)
        assert content.show_report(session)["session"]["finish_reason"] is None
    assert "▲ The recording was not closed" in text
    assert "Gradients at step 0" in text, "the last step that is whole"


def test_a_session_without_steps_says_so_and_what_to_do_about_other_reports(tmp_path: Path) -> None:
    with opened(tmp_path, [[]]) as session:
        assert "No step was over when the recording ended." in shown(session)
        with pytest.raises(UsageError, match="holds no step"):
            content.held_report(session, None, "line")


def test_show_goes_back_to_the_last_step_whose_held_memory_was_recorded(tmp_path: Path) -> None:
    flushes = blocks(2)
    flushes.append([backward(3), gradients(3, {0: [1.0]}), step(3, 0.1)])
    with opened(tmp_path, flushes) as session:
        report = content.show_report(session)
    assert (report["step"], report["held"] and report["held"]["step"]) == (3, 2)


def test_of_several_backward_calls_the_one_that_held_most_is_shown(tmp_path: Path) -> None:
    flushes = blocks(2, steps=1)
    flushes[0][-1:] = [backward(0, 1, graph=0, ledger=0, held_bytes=1), step(0, 0.1)]
    with opened(tmp_path, flushes) as session:
        assert content.held_report(session, 0, "line")["held"]["backward"] == 0
        assert content.held_report(session, 0, "line", 1)["held"]["backward"] == 1
        with pytest.raises(UsageError, match="Step 0 has backward calls 0 to 1; there is no call 7"):
            content.held_report(session, 0, "line", 7)


# JSON


@pytest.mark.parametrize("name", ["seed", "accumulate", "variants", "torn"])
def test_json_has_the_documented_shape_and_no_bare_nan(name: str) -> None:
    with Session(GOLDEN / f"{name}.gradwatch") as session:
        reports: list[tuple[Any, type]] = [
            (content.show_report(session), shapes.ShowReport),
            (content.gradients_report(session, None, "parameter"), shapes.GradientsReport),
        ]
        if name == "seed":
            reports += [
                (content.held_report(session, None, "node"), shapes.HeldReport),
                (content.graph_report(session, None), shapes.GraphReport),
            ]
    for report, shape in reports:
        parsed = json.loads(shapes.dumps(report), parse_constant=lambda word: pytest.fail(f"bare {word}"))
        assert (parsed["format"], parsed["version"]) == ("gradwatch.report", 1)
        assert_fits(report, shape, shape.__name__)


def test_json_spells_numbers_that_are_not_finite() -> None:
    with Session(GOLDEN / "accumulate.gradwatch") as session:
        parsed = json.loads(shapes.dumps(content.show_report(session)))
    assert parsed["loss"] == {"steps": [0, 1], "values": [0.5, "nan"]}
    assert parsed["gradients"][0]["norms"] == [4.0, "nan"]


def assert_fits(value: Any, shape: Any, where: str) -> None:
    """Check a value against a TypedDict, list, union or plain type."""
    if hasattr(shape, "__required_keys__"):
        hints = get_type_hints(shape)
        assert sorted(value) == sorted(hints), where
        for name, hint in hints.items():
            assert_fits(value[name], hint, f"{where}.{name}")
    elif getattr(shape, "__origin__", None) is list:
        assert isinstance(value, list), where
        for entry in value:
            assert_fits(entry, get_args(shape)[0], f"{where}[]")
    elif getattr(shape, "__origin__", None) is dict:
        assert isinstance(value, dict), where
    elif str(getattr(shape, "__origin__", "")) == "typing.Literal":
        assert value in get_args(shape), where
    elif get_args(shape):
        if value is not None:
            (inner,) = [part for part in get_args(shape) if part is not type(None)]
            assert_fits(value, inner, where)
        else:
            assert type(None) in get_args(shape), where
    else:
        assert isinstance(value, (int, float) if shape is float else shape), f"{where}: {value!r} is no {shape}"


# Where it goes


class Terminal(io.StringIO):
    encoding = "utf-8"  # type: ignore[assignment]

    def isatty(self) -> bool:
        return True


def written(session: Session, stream: io.StringIO, monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm-256color", **environment}.items():
        monkeypatch.setenv(name, value)
    report = content.show_report(session)
    page.write(lambda width: terminal.show(report, width), stream)
    return stream.getvalue()


def test_colour_only_for_a_terminal_that_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with Session(GOLDEN / "accumulate.gradwatch") as session:
        assert "\x1b[31m" in written(session, Terminal(), monkeypatch, COLUMNS="100")
        assert "\x1b[3" not in written(session, Terminal(), monkeypatch, COLUMNS="100", NO_COLOR="1")
        assert "\x1b" not in written(session, io.StringIO(), monkeypatch)


def test_a_finite_session_has_no_colour_of_trouble(seed: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    text = written(seed, Terminal(), monkeypatch, COLUMNS="100")
    assert not {"\x1b[31m", "\x1b[33m"} & {part + "m" for part in text.split("m")}


def test_a_pipe_gets_lines_without_trailing_space_whatever_the_terminal(
    seed: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = written(seed, io.StringIO(), monkeypatch, COLUMNS="40")
    assert narrow == written(seed, io.StringIO(), monkeypatch, COLUMNS="200")
    assert all(line == line.rstrip() for line in narrow.splitlines())


def test_a_stream_that_takes_only_ascii_gets_the_plain_spelling(seed: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ascii(io.StringIO):
        encoding = "ascii"  # type: ignore[assignment]

    text = written(seed, Ascii(), monkeypatch)
    assert text.isascii()
    assert "1.00e-1" in text
    assert "####" in text
