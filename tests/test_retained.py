"""Graphs that stay: counted by marks that die with their nodes, named by who holds them, and never held by us."""

from __future__ import annotations

import gc
import weakref
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from gradwatch.capture import holder_search
from gradwatch.capture.holder_search import Search
from gradwatch.capture.node_marks import NodeMarks, graphs
from gradwatch.capture.storing_lines import last_name, storing_line
from gradwatch.findings.retained import _finding  # pyright: ignore[reportPrivateUsage] # its words
from gradwatch.records import Retained

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Record

NO_LINES = ((-1, -1), "")


class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: torch.Tensor) -> torch.Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: object, *gradients: torch.Tensor) -> torch.Tensor:
        return gradients[0] * 2


def in_place_view(x: torch.Tensor) -> torch.Tensor:
    y = x * 1
    y[:1].mul_(2)
    return y


@pytest.mark.parametrize("make", [torch.exp, Double.apply, in_place_view], ids=["exp", "custom", "view"])
def test_a_mark_dies_with_its_node_and_not_before(make: Callable[[torch.Tensor], torch.Tensor]) -> None:
    marks = NodeMarks()
    y = make(torch.ones(3, requires_grad=True))
    assert y.grad_fn is not None
    assert marks.put(y.grad_fn, 4, "root", NO_LINES)
    assert not marks.put(y.grad_fn, 5, "root", NO_LINES)
    total = y.sum()
    del y
    gc.collect()
    assert marks.oldest_step() == 4
    total.backward()
    assert len(marks) == 1
    del total
    assert len(marks) == 0


def test_graphs_are_counted_once_however_many_of_their_nodes_are_marked() -> None:
    marks = NodeMarks()
    kept = [torch.ones(2, requires_grad=True).exp() for _ in range(5)]
    for step, kind, tensor in zip((0, 0, 1, 1, 1), ("root", "output", "root", "root", "output"), kept, strict=True):
        assert tensor.grad_fn is not None
        marks.put(tensor.grad_fn, step, kind, NO_LINES)  # pyright: ignore[reportArgumentType] # a kind each
    assert graphs(marks.made_before(2)) == {0: 1, 1: 2}


def test_a_search_finds_what_leads_to_a_mark_from_above() -> None:
    marks = NodeMarks()
    root = torch.ones(2, requires_grad=True).exp()
    assert root.grad_fn is not None
    marks.put(root.grad_fn, 0, "root", NO_LINES)
    mark = marks.made_before(1)[0]
    above = root.sin().sum()
    del root
    reach = Search({mark.number: {mark.serial}}).run()
    assert any(tensor is above for tensor in reach.tensors)
    assert reach.serials[id(above)] == {mark.serial}


def marked_from_above(marks: NodeMarks) -> tuple[dict[int, set[int]], torch.Tensor]:
    """What a search looks for, and the only tensor that leads to it."""
    root = torch.ones(2, requires_grad=True).exp()
    assert root.grad_fn is not None
    marks.put(root.grad_fn, 0, "root", NO_LINES)
    mark = marks.made_before(1)[0]
    return {mark.number: {mark.serial}}, root.sin().sum()


def test_a_search_is_not_cut_by_the_time_that_other_objects_take(monkeypatch: pytest.MonkeyPatch) -> None:
    marks, clock = NodeMarks(), [0.0]
    wanted, above = marked_from_above(marks)

    def slow() -> list[torch.Tensor]:
        clock[0] += 100 * holder_search.MAX_SECONDS
        return tensors_alive()

    tensors_alive = holder_search.tensors_alive
    monkeypatch.setattr(holder_search, "tensors_alive", slow)
    monkeypatch.setattr(holder_search, "thread_time", lambda: clock[0])
    reach = Search(wanted).run()
    assert reach.complete
    assert any(tensor is above for tensor in reach.tensors)


def test_graphs_older_and_newer_than_the_marks_do_not_use_up_a_search(monkeypatch: pytest.MonkeyPatch) -> None:
    def long_graph() -> torch.Tensor:
        tensor = torch.ones(2, requires_grad=True)
        for _ in range(60):
            tensor = tensor * 1
        return tensor

    marks = NodeMarks()
    older = long_graph()
    wanted, above = marked_from_above(marks)
    newer = long_graph()
    monkeypatch.setattr(holder_search, "MAX_NODES_IN_ALL", 20)
    monkeypatch.setattr(holder_search, "tensors_alive", lambda: [older, newer, above])
    reach = Search(wanted).run()
    assert any(tensor is above for tensor in reach.tensors)
    assert not reach.complete


def leak_and_drop(losses: list[torch.Tensor], until: int) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(until):
        loss = model(torch.ones(2, 4)).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss)


def test_a_look_keeps_nothing_alive(record: Record) -> None:
    dead: list[bool] = []

    def program() -> None:
        losses: list[torch.Tensor] = []
        leak_and_drop(losses, 12)
        held = [weakref.ref(loss) for loss in losses]
        losses.clear()
        dead.extend(reference() is None for reference in held)

    leak_and_drop([], 1)  # torch's first optimizer imports its compiler, in a cycle that holds the frame
    gc.collect()
    gc.disable()
    try:
        session = record(program)
    finally:
        gc.enable()
    assert len(list(session.reader.records(Retained))) > 1
    assert dead == [True] * 12


def test_looks_come_at_doubling_intervals(record: Record) -> None:
    session = record(lambda: leak_and_drop([], 60))
    steps = [found.step for found in session.reader.records(Retained)]
    gaps = [after - before for before, after in pairwise(steps)]
    assert 3 <= len(steps) <= 8
    assert gaps[-1] >= 2 * gaps[1]


def test_the_name_and_the_number_of_what_is_held_are_told(record: Record) -> None:
    session = record(lambda: leak_and_drop([], 20))
    last = list(session.reader.records(Retained))[-1]
    assert last.holders[0].chain.startswith("losses[")
    assert last.holders[0].count == last.graphs
    finding = next(found for found in session.findings if found.kind == "retained graph")
    assert finding.severity == "warning"
    assert "losses.append(loss.item())" in finding.fix


def test_all_steps_that_made_what_is_alive_are_told_of(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradwatch.capture.retained.MAX_MADE", 6)
    session = record(lambda: leak_and_drop([], 20))
    last = list(session.reader.records(Retained))[-1]
    assert (len(last.made), last.made[0]) == (6, 0)
    finding = next(found for found in session.findings if found.kind == "retained graph")
    assert f"{last.graphs} graphs of steps 0 to {last.made[-1]} are still alive" in finding.sentence


@pytest.mark.parametrize(
    ("made", "held", "nodes", "sentence", "evidence"),
    [
        (
            [0, 2, 3, 4, 5],
            64,
            9,
            "of steps 0 to 5 are",
            "graphs of steps 0 to 5: 9 nodes, 64 bytes saved for backward,",
        ),
        ([1, 7], 0, 9, "of steps 1 and 7 are", "graphs of steps 1 and 7: 9 nodes, the last one"),
        ([4], -1, 0, "of step 4 are", "graphs of step 4: the last one"),
    ],
)
def test_steps_and_bytes_are_told_in_words(
    made: list[int], held: int, nodes: int, sentence: str, evidence: str
) -> None:
    told = _finding(Retained(9, 5, made, held, nodes, "MulBackward0", -1, -1), 0.0, None, "note")
    assert sentence in told.sentence
    assert told.evidence[0].startswith(evidence)
    assert "0 bytes" not in f"{told.sentence} {told.evidence}"


def test_nothing_is_written_where_nothing_stays(record: Record) -> None:
    def program() -> None:
        losses: list[torch.Tensor] = []
        for _ in range(10):
            leak_and_drop(losses, 2)
            losses.clear()

    assert not list(record(program).reader.records(Retained))


SOURCE = """
losses = []
total = 0.0
def train(self):
    self.history = deque(maxlen=9)
    losses.append(1)
    total += loss
    cache[step] = out
    self.history.append(loss)
    self.hidden = cell(x)
"""


@pytest.mark.parametrize(
    ("chain", "line"),
    [
        ("losses[3]", 6),
        ("total", 7),
        ("cache['a']['b']", 8),
        ("trainer.history[2]", 9),
        ("trainer.hidden", 10),
        ("other", -1),
    ],
)
def test_the_statement_that_stores_is_found_by_name(chain: str, line: int, tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text(SOURCE, encoding="utf-8")
    assert storing_line(str(file), chain) == line


def test_the_name_that_a_chain_ends_in() -> None:
    assert last_name("trainer.losses[37]") == "losses"
    assert last_name("cache['a.b']") == "cache"
    assert last_name("sys.last_traceback: loss") == "loss"
