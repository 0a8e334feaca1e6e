"""`gradwatch diff` in the terminal: where two sessions part, then loss, held memory and graph side by side."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import PurePath
from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from gradwatch.reporters import glyphs, numbers, page
from gradwatch.reporters.terminal_diff_gradients import all_partings, first_parting, step_text
from gradwatch.reporters.terminal_diff_held import held_change

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import JustifyMethod, RenderableType
    from rich.table import Table

    from gradwatch.reporters.diff_json import (
        DiffNode,
        DiffReport,
        DiffSession,
        GraphDiff,
    )

SHOWN_MODULES = 8
SHOWN_NAMES = 6
CURVE_WIDTH = 40


def diff(report: DiffReport, width: int) -> RenderableType:
    """Lay out `gradwatch diff`, `width` columns wide."""
    held, graph, parting = report["held"], report["graph"], report["gradients"]
    parts: list[RenderableType | None] = [
        _header(report),
        _answer(report),
        first_parting(parting, width) if parting else None,
        all_partings(parting, width) if parting else None,
        _curves(report),
        held_change(held, width) if held else None,
        _graph(graph) if graph else None,
        _only(report),
        _notes(report),
    ]
    blank = Text("")
    return Group(*itertools.chain.from_iterable((part, blank) for part in parts if part))


def _header(report: DiffReport) -> RenderableType:
    made = page.table(("", "left"), ("", "left"), ("", "left"), ("", "left"))
    made.show_header = False
    names = _file_names(report)
    sides = [("a", names[0], report["a"]), ("b", names[1], report["b"])]
    for side, name, session in sides:
        told = " · ".join(_origin(session))
        made.add_row(side, Text(name, "bold"), numbers.counted(session["steps"], "step"), Text(told, "dim"))
    return made


def _file_names(report: DiffReport) -> list[str]:
    paths = [PurePath(report[side]["path"]) for side in ("a", "b")]
    alike = paths[0].name == paths[1].name and paths[0] != paths[1]
    return [str(path) if alike else path.name for path in paths]


def _origin(session: DiffSession) -> list[str]:
    parts = [f"rank {session['rank']} of {session['world_size']}"] if session["world_size"] > 1 else []
    parts += [
        ", ".join(session["devices"]) or "cpu",
        f"torch {session['torch_version']}",
        f"detail {session['detail']}",
    ]
    if session["git_revision"]:
        parts.append(f"git {session['git_revision'][:7]}{' with changes' if session['git_dirty'] else ''}")
    return [*parts, *(["not closed"] if session["finish_reason"] is None else [])]


def _answer(report: DiffReport) -> RenderableType:
    """One sentence of what was found, and one of what was compared."""
    tolerance = report["tolerance"]
    exact = tolerance["rtol"] == 0 == tolerance["atol"]
    limit = "exactly" if exact else f"rtol {tolerance['rtol']:g}, atol {tolerance['atol']:g}"
    return Group(Text(_sentence(report), "bold"), Text(f"compared: {_compared(report)}; {limit}", "dim"))


def _sentence(report: DiffReport) -> str:
    parting, loss = report["gradients"], report["loss"]
    said: list[str] = []
    if parting:
        said.append(f"Gradients part at {step_text(parting['step'], parting['step_b'])}.")
    if loss:
        said.append(f"Losses part at {step_text(loss['step'], loss['step_b'])}.")
    alone = [side for side, only in (("a", report["only_a"]), ("b", report["only_b"])) if only["parameters"]]
    if alone:
        said.append(f"Parameters are in {' and in '.join(f'{side} alone' for side in alone)}.")
    if not parting:
        said.append("No difference is seen in the statistics of gradients; values may still differ.")
    return " ".join(said)


def _compared(report: DiffReport) -> str:
    compared, first = report["compared"], report["first_steps"]
    one = compared["steps"] == 1
    said = [
        step_text(first["a"], first["b"]) if one else numbers.counted(compared["steps"], "step"),
        numbers.counted(compared["parameter"], "parameter row"),
        numbers.counted(compared["module"], "module output row"),
        numbers.counted(compared["node"], "node row"),
    ]
    return ", ".join(said)


def _curves(report: DiffReport) -> RenderableType | None:
    curves = report["curves"]
    if len(curves["steps"]) < 2:
        return _onestep_text(report)
    made = page.table(("over the steps", "left"), ("first", "left"), ("", "left"), ("last", "left"))
    _add_curve(made, "loss a", curves["loss_a"], numbers.scalar, logarithmic=False)
    _add_curve(made, "loss b", curves["loss_b"], numbers.scalar, logarithmic=False)
    _add_curve(made, "gradient norm a", curves["norm_a"], numbers.gradient, logarithmic=True)
    _add_curve(made, "gradient norm b", curves["norm_b"], numbers.gradient, logarithmic=True)
    if any(curves["difference"]):
        _add_curve(made, "relative difference", curves["difference"], numbers.gradient, logarithmic=True)
    return made if made.row_count else None


def _onestep_text(report: DiffReport) -> RenderableType | None:
    made = page.table(("", "left"), ("a", "left"), ("b", "left"))
    curves = report["curves"]
    for name, a, b in (
        ("loss", curves["loss_a"], curves["loss_b"]),
        ("gradient norm", curves["norm_a"], curves["norm_b"]),
    ):
        if a[0] is not None or b[0] is not None:
            made.add_row(name, numbers.scalar(a[0]), numbers.scalar(b[0]))
    return made if made.row_count else None


def _add_curve(
    made: Table, name: str, values: Sequence[float | None], write: Callable[[float | None], str], *, logarithmic: bool
) -> None:
    known = [value for value in values if value is not None]
    if known:
        curve = page.curve_cell(values, CURVE_WIDTH, page.ACCENT, logarithmic=logarithmic)
        made.add_row(name, write(known[0]), curve, write(known[-1]))


def _graph(graph: GraphDiff) -> RenderableType:
    title = f"Graphs differ at {step_text(graph['step'], graph['step_b'])}"
    sizes = f"{numbers.counted(graph['nodes_a'], 'node')} in a, {numbers.counted(graph['nodes_b'], 'node')} in b"
    columns = {
        "in a alone": _by_module(graph["only_a"]),
        "in b alone": _by_module(graph["only_b"]),
        "changed": _by_module([each["a"] for each in graph["changed"]]),
    }
    shown = {head: column for head, column in columns.items() if column}
    modules = list(dict.fromkeys(itertools.chain.from_iterable(shown.values())))
    heads: list[tuple[str, JustifyMethod]] = [(head, "left") for head in ("module", *shown)]
    made = page.table(*heads)
    for module in modules[:SHOWN_MODULES]:
        made.add_row(module or "(no module)", *(_names(column.get(module, Counter())) for column in shown.values()))
    rest = len(modules) - SHOWN_MODULES
    more = [Text(f"and {numbers.counted(rest, 'module')} more: --json has them", "dim")] if rest > 0 else []
    return page.section(title, sizes, *([made] if modules else []), *more)


def _by_module(nodes: Sequence[DiffNode]) -> dict[str, Counter[str]]:
    """Count operations by module. Leaves are left out: parameters of one alone are told by name."""
    found: dict[str, Counter[str]] = {}
    for node in (node for node in nodes if node["parameter"] is None):
        found.setdefault(node["module"] or "", Counter())[node["name"]] += 1
    return found


def _names(counts: Counter[str]) -> str:
    said = [name + (f" {numbers.TIMES}{count}" if count > 1 else "") for name, count in counts.items()]
    more = [f"and {len(said) - 3} more"] if len(said) > 3 else []
    return ", ".join(said[:3] + more)


def _only(report: DiffReport) -> RenderableType | None:
    lines: list[RenderableType] = []
    for side, only in (("a", report["only_a"]), ("b", report["only_b"])):
        if only["parameters"]:
            what = numbers.counted(len(only["parameters"]), "parameter")
            lines.append(Text(f"{what} in {side} alone: {_listed(only['parameters'])}", "yellow"))
        if only["steps"]:
            steps = only["steps"]
            which = (
                f"step {steps[0]}"
                if len(steps) == 1
                else f"{numbers.counted(len(steps), 'step')}, {steps[0]} to {steps[-1]}"
            )
            lines.append(Text(f"{which}, in {side} alone"))
    return page.section("In one alone", "", *lines) if lines else None


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return ", ".join(names[:SHOWN_NAMES]) + more


def _notes(report: DiffReport) -> RenderableType | None:
    notes = report["notes"]
    return (
        page.section("To know", "", *(Text(f"{glyphs.NOTICE} {note}", "yellow") for note in notes)) if notes else None
    )
