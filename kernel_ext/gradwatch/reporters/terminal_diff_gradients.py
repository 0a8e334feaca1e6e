"""Where gradients part, in the terminal: the first that backward reaches, and every other of that step."""

from __future__ import annotations

import math
from pathlib import PurePath
from typing import TYPE_CHECKING, Literal

from rich.console import Group
from rich.text import Text

from gradwatch.reporters import numbers, page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from gradwatch.reporters.diff_json import DiffNode, GapRow, GradientPartingRow, PartingRow

    Side = Literal["a", "b"]

SHOWN_PARTINGS = 8
SHOWN_GIVERS = 6

_STATISTICS = {"l2": "norm", "l1": "L1 norm", "nan": "NaN", "inf": "Inf", "count": "elements"}
_COUNTS = ("count", "nan", "inf", "zeros", "subnormals")


def step_text(first: int, second: int) -> str:
    """`step 3`, or `step 3 against 7` where the two sessions' steps are not the same."""
    return f"step {first}" if first == second else f"step {first} against {second}"


def first_parting(parting: GradientPartingRow, width: int) -> RenderableType:
    row = parting["first"]
    kind = {"node": "node", "module": "module output", "parameter": "parameter"}[row["kind"]]
    call = f", call {row['backward']}" if row["backward"] else ""
    where = f"the first {kind} that backward reaches at {step_text(parting['step'], parting['step_b'])}{call}"
    body = [*_node_lines(row, width - 2), _gap_table(row)]
    return page.section(_name(row), where, *body)


def _name(row: PartingRow) -> str:
    node = row["node"]
    if node is None:
        return row["name"] if row["name"] == row["name_b"] else f"{row['name']} | {row['name_b']}"
    return _node_name(node["a"])


def _node_name(node: DiffNode) -> str:
    """`AddmmBackward0 #12`, and the parameter's name for what accumulates a gradient."""
    return f"{node['name']} #{node['index']}{' ' + node['parameter'] if node['parameter'] else ''}"


def _node_lines(row: PartingRow, width: int) -> list[RenderableType]:
    """Where the node stands, and who computed the gradient that parts."""
    where = row["node"]
    if where is None:
        return []
    sides = [("", where["givers_a"])] if where["same_givers"] else [("a", where["givers_a"]), ("b", where["givers_b"])]
    lines: list[RenderableType] = [_node_line("at", where["a"], width, named=False)]
    for side, givers in sides:
        word = f"given in {side} by" if side else "given by"
        lines += [_node_line(word, giver, width) for giver in givers[:SHOWN_GIVERS]]
        if not givers:
            lines.append(Text(f"{word} the call of backward itself", "dim"))
    if where["givers_a"] and where["givers_agree"]:
        lines.append(Text("itself given the same, as far as statistics tell: what it saved or computes differs", "dim"))
    return lines


def _node_line(word: str, node: DiffNode, width: int, *, named: bool = True) -> Text:
    place = node["place"]
    line = Text(f"{word}  ", "dim")
    parts = [_node_name(node) if named else "", node["module"] or ""]
    line.append("".join(f"{part}  " for part in parts if part), "default")
    if place:
        line.append(f"{PurePath(place['file']).name}:{place['line']}  ", page.ACCENT)
        line.append(place["text"] or "")
    line.truncate(width)
    line.no_wrap = True
    return line


def _gap_table(row: PartingRow) -> RenderableType:
    if row["only"]:
        return Text(f"has a gradient in {row['only']} alone", page.TROUBLE["None"])
    made = page.table(("", "left"), ("a", "left"), ("b", "left"), ("relative", "left"))
    for gap in row["gaps"]:
        if gap["parts"]:
            made.add_row(
                _STATISTICS.get(gap["statistic"], gap["statistic"]),
                _value(row, gap, "a"),
                _value(row, gap, "b"),
                _relative(gap["relative"]),
            )
    return made


def _value(row: PartingRow, gap: GapRow, side: Side) -> Text:
    value = gap[side]
    if gap["statistic"] in _COUNTS:
        return Text(f"{int(value):,}")
    if gap["statistic"] in ("l1", "l2") and not _finite_elements(row, side):
        return Text(numbers.MISSING, "dim")  # nothing to take a norm of: the file says 0
    return page.gradient_cell(value, signed=gap["statistic"] in ("min", "max", "mean"))


def _relative(value: float) -> Text:
    return Text(numbers.MISSING, "dim") if math.isinf(value) else page.gradient_cell(value)


def _finite_elements(row: PartingRow, side: Side) -> float:
    counts = {gap["statistic"]: gap[side] for gap in row["gaps"]}
    return counts.get("count", 1) - max(0, counts.get("nan", 0)) - max(0, counts.get("inf", 0))


def all_partings(parting: GradientPartingRow, width: int) -> RenderableType | None:
    """The others of that step: nodes, else module outputs; and the parameters."""
    tables: list[RenderableType] = []
    fine = parting["nodes"] or parting["modules"]
    for rows, noun in ((fine, "node" if parting["nodes"] else "module output"), (parting["parameters"], "parameter")):
        if len(rows) > 1 or (rows and rows[0]["name"] != parting["first"]["name"]):
            tables += [_parted_table(rows, noun, width - 2)]
    if not tables:
        return None
    where = f"at {step_text(parting['step'], parting['step_b'])}, in the order that backward reaches them"
    return page.section("Parted", where, *tables)


def _parted_table(rows: Sequence[PartingRow], noun: str, width: int) -> RenderableType:
    made = page.table(
        (f"{numbers.counted(len(rows), noun)}", "left"),
        ("norm in a", "left"),
        ("in b", "left"),
        ("relative", "left"),
        ("most in", "left"),
    )
    for row in rows[:SHOWN_PARTINGS]:
        norm = next((gap for gap in row["gaps"] if gap["statistic"] == "l2"), None)
        name = page.shortened(_name(row), max(20, width - 50))
        if norm is None:
            made.add_row(name, *([Text(f"in {row['only']} alone", "yellow")] + [Text("")] * 3))
            continue
        worst = row["gaps"][0]["statistic"]
        made.add_row(
            name,
            _value(row, norm, "a"),
            _value(row, norm, "b"),
            _relative(row["relative"]),
            Text(_STATISTICS.get(worst, worst), "dim"),
        )
    rest = len(rows) - SHOWN_PARTINGS
    return Group(made, Text(f"and {numbers.counted(rest, noun)} more: --json has them", "dim")) if rest > 0 else made
