"""Errors of autograd: which saved tensor it was, who wrote to it, who freed the graph; and the error stays its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from gradwatch.capture.graph import walk
from gradwatch.capture.version_checks import unusable
from gradwatch.records import Fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Record


def nodes_of(tensor: torch.Tensor) -> list[torch.autograd.graph.Node]:
    assert tensor.grad_fn is not None
    return walk([tensor.grad_fn]).nodes


def test_the_node_whose_saved_tensor_was_overwritten_is_found() -> None:
    y = torch.ones(3, requires_grad=True).sigmoid()
    total = y.sum()
    y += 1
    (found,) = unusable(nodes_of(total), "overwritten")
    assert (found.node.name(), found.role, found.expected) == ("SigmoidBackward0", "result", 0)
    assert found.tensor is not None
    assert found.tensor.data_ptr() == y.data_ptr()


def test_nothing_is_found_in_a_graph_that_can_run() -> None:
    total = (torch.ones(3, requires_grad=True).sigmoid() + 1).sum()
    assert list(unusable(nodes_of(total), "overwritten")) == []
    total.backward(retain_graph=True)
    assert list(unusable(nodes_of(total), "freed")) == []


def test_a_freed_graph_is_seen_to_be_freed() -> None:
    total = torch.ones(3, requires_grad=True).sigmoid().sum()
    total.backward()
    assert [found.node.name() for found in unusable(nodes_of(total), "freed")] == ["SigmoidBackward0"]


def test_hooked_saved_tensors_are_never_unpacked() -> None:
    unpacked: list[int] = []

    def unpack(tensor: torch.Tensor) -> torch.Tensor:
        unpacked.append(1)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor.detach(), unpack):
        total = torch.ones(3, requires_grad=True).sigmoid().sum()
    assert list(unusable(nodes_of(total), "overwritten")) == []
    ran: list[int] = []

    def counted(x: torch.Tensor) -> torch.Tensor:
        ran.append(1)
        return x.sigmoid()

    checkpointed = checkpoint(counted, torch.ones(3, requires_grad=True), use_reentrant=False).sum()
    assert list(unusable(nodes_of(checkpointed), "overwritten")) == []
    assert (unpacked, ran) == ([], [1])


def overwrite() -> None:
    y = nn.Linear(2, 2)(torch.ones(1, 2)).sigmoid()
    total = y.sum()
    y += 1
    total.backward()


def twice() -> None:
    total = nn.Linear(2, 2)(torch.ones(1, 2)).sigmoid().sum()
    total.backward()
    total.backward()


@pytest.mark.parametrize(("program", "kind"), [(overwrite, "in-place"), (twice, "second backward")])
def test_the_program_gets_the_error_that_it_would_get(program: Callable[[], None], kind: str, record: Record) -> None:
    with pytest.raises(RuntimeError) as alone:
        program()
    caught: list[str] = []

    def catches() -> None:
        with pytest.raises(RuntimeError) as recorded:
            program()
        caught.append(str(recorded.value))

    session = record(catches)
    assert caught == [str(alone.value)]
    faults = list(session.reader.records(Fault))
    assert [(fault.kind, fault.raised) for fault in faults] == [(kind, True)]
    assert not [notice for notice in session.notices if notice.kind == "probe stopped"]


def test_an_overwritten_tensor_that_no_gradient_needed_is_a_note(record: Record) -> None:
    def program() -> None:
        x = torch.ones(3, requires_grad=True)
        kept = torch.ones(3, requires_grad=True)
        y = x.sigmoid()
        total = (y + kept).sum()
        y.add_(1)
        total.backward(inputs=[kept])

    session = record(program)
    (fault,) = session.reader.records(Fault)
    assert (fault.kind, fault.raised, fault.name) == ("in-place", False, "y")
    assert [found.severity for found in session.findings if found.kind == "in-place"] == ["note"]


def test_a_loss_without_a_graph_is_told(record: Record) -> None:
    def program() -> None:
        value = nn.Linear(2, 1)(torch.ones(1, 2)).detach().sum()
        with pytest.raises(RuntimeError, match="does not require grad"):
            value.backward()

    (fault,) = record(program).reader.records(Fault)
    assert (fault.kind, fault.name) == ("no gradient", "value")
