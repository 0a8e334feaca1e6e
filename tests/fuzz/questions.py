"""Everything that a reader of a session does, asked of one file: it must end in an answer or a GradwatchError."""

from __future__ import annotations

import contextlib
import io
import shutil
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import gradwatch
from gradwatch import GradwatchError, cli
from gradwatch.reporters.exports.export import Request, export
from gradwatch.session.compare import compare
from gradwatch.session.repair import repair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gradwatch import Session

FEW = 4
"""Of steps, parameters and stops the first and the last of so many are asked: a changed file may have thousands."""

_KINDS = ("parameter", "module", "node")
_KEYS = ("module", "line", "op", "node", "dtype", "class", "role", "device")
_TARGETS = ("csv", "perfetto", "memory-viz", "tensorboard")
_COMMANDS = (
    ("show",),
    ("show", "--json"),
    ("gradients",),
    ("held",),
    ("graph",),
    ("graph", "--json"),
    ("held", "--json"),
)


def ask_everything(path: Path, good: Path, turn: int) -> int:
    """Ask a file everything, and by `turn` one of the exports, commands and comparisons. Returns refused questions."""
    refused = 0
    try:
        with gradwatch.open(path) as session:
            for question in _questions(session):
                refused += _is_refused(question)
    except GradwatchError:
        refused += 1
    return refused + sum(map(_is_refused, _at_turn(path, good, turn)))


def _is_refused(question: Callable[[], object]) -> bool:
    try:
        question()
    except GradwatchError:
        return True
    return False


def _questions(session: Session) -> Iterator[Callable[[], object]]:
    yield session.reader.verify
    yield lambda: [repr(session), session.gaps, session.finish, session.notices, session.variants, session.finished]
    yield lambda: [_step(view) for view in _some(session.steps)]
    yield lambda: list(map(repr, chain(session.parameters, session.modules)))
    yield lambda: [session.line_text(site) for site in list(session.sources_by_id._sites)[:FEW]]
    yield lambda: [session.source(name) for name in list(session.sources)[:FEW]]
    yield lambda: [len(rows.names) for kind in _KINDS for rows in islice(session.gradient_records(kind), 64)]
    for name in _names(session):
        yield lambda name=name: _series(session.gradient(name))
        yield lambda name=name: _series(session.gradient(name, micro_batches=True))
    for number in _step_numbers(session):
        for kind in _KINDS:
            yield lambda number=number, kind=kind: session.gradients_at(number, kind).names
        yield lambda number=number: _graph(session.graph(number))
        yield lambda number=number: _held(session.held(number))
    for number in _stop_numbers(session):
        yield lambda number=number: session.gradients_at_stop(number).names
        yield lambda number=number: session.gradient_states(number)
    yield session.refresh


def _step(view: Any) -> list[Any]:
    calls = [(repr(call), call.class_bytes) for call in view.backwards]
    return [repr(view), view.loss, view.start_ns, view.backward_count, calls]


def _series(series: Any) -> list[Any]:
    own = [repr(series), series.norm, series.abs_max, series.zero_fraction, series.histogram, series.histogram_steps]
    return [*own, series.update_ratio, series.optimizer_steps]


def _graph(view: Any) -> list[Any]:
    nodes = [(repr(node), node.saved, node.outputs, node.gradient, node.label) for node in islice(view.nodes, 64)]
    return [repr(view), nodes, list(islice(view.edges, 64)), view.variant_of]


def _held(view: Any) -> list[Any]:
    by = [view.by(key) for key in _KEYS]
    return [
        repr(view),
        by,
        view.class_bytes,
        view.peak_bytes,
        view.curve,
        view.saved[:64],
        view.released,
        view.on_peak[:64],
    ]


def _some(sequence: Any) -> list[Any]:
    return [*sequence[:FEW], *sequence[FEW:][-FEW:]]


def _names(session: Session) -> list[str]:
    with contextlib.suppress(GradwatchError):
        outputs = list(session.names._outputs_by_name)[:FEW]
        return [*session.parameters.names[:FEW], *outputs]
    return []


def _step_numbers(session: Session) -> list[int]:
    with contextlib.suppress(GradwatchError):
        return [view.number for view in _some(session.steps)]
    return []


def _stop_numbers(session: Session) -> list[int]:
    with contextlib.suppress(GradwatchError):
        return [stop.number for stop in session.stops[:FEW]]
    return []


def _at_turn(path: Path, good: Path, turn: int) -> list[Callable[[], object]]:
    target = _TARGETS[turn % len(_TARGETS)]
    command = _COMMANDS[turn % len(_COMMANDS)]
    return [
        lambda: _exported(path, target),
        lambda: _said(command, path),
        lambda: _compared(path, good) if turn % 2 else _compared(good, path),
        lambda: _repaired(path),
    ]


def _exported(path: Path, target: Any) -> None:
    out = path.with_name("exported")
    try:
        export(Request(str(path), target, str(out), overwrite=True))
    finally:
        shutil.rmtree(out, ignore_errors=True) if out.is_dir() else out.unlink(missing_ok=True)


def _said(command: tuple[str, ...], path: Path) -> None:
    words = io.StringIO()
    with contextlib.redirect_stdout(words), contextlib.redirect_stderr(words):
        code = cli.main([command[0], str(path), *command[1:]])
    if code not in (0, cli.FAILED):
        raise AssertionError(f"gradwatch {' '.join(command)} ended with {code}: {words.getvalue()[-500:]}")


def _compared(a: Path, b: Path) -> None:
    with gradwatch.open(a) as first, gradwatch.open(b) as second:
        compare(first, second)


def _repaired(path: Path) -> None:
    copy = path.with_name("repaired.gradwatch")
    shutil.copyfile(path, copy)
    repair(copy, force=True)
    with gradwatch.open(copy) as session:
        assert session.reader.complete, "a repaired file is not complete"
        session.reader.verify()
