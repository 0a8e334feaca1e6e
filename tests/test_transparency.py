"""What a program sees of autograd while it is recorded: the same results, errors, words and calls as without us."""

from __future__ import annotations

import re
import warnings
from functools import cache
from typing import TYPE_CHECKING, Any, get_args

import pytest
import torch

from gradwatch.records import Detail
from transparency_in_place import IN_PLACE
from transparency_programs import PROGRAMS
from transparency_saved_tensors import SAVED_TENSORS

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Record

CASES = {**PROGRAMS, **SAVED_TENSORS}
DETAILS: tuple[Detail, ...] = get_args(Detail)


def outcome(program: Callable[[], object]) -> object:
    """What a program returned or raised, in a form that can be compared."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of what the cases use
        try:
            return plain(program())
        except Exception as error:  # noqa: BLE001  # whatever a case raises is compared
            return type(error), re.sub(r"0x[0-9a-f]+", "0x", str(error))


def plain(value: Any) -> object:
    if isinstance(value, torch.Tensor):
        data = value.detach()
        return str(value.dtype), tuple(value.shape), value.requires_grad, data.contiguous().view(torch.uint8).tolist()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


@cache
def unrecorded(name: str) -> object:
    return outcome({**CASES, **IN_PLACE}[name])


@pytest.mark.parametrize("detail", DETAILS)
@pytest.mark.parametrize("name", IN_PLACE)
def test_changing_a_saved_tensor_raises_what_it_raises_without_us(record: Record, name: str, detail: Detail) -> None:
    expected: Any = unrecorded(name)
    assert expected[0] is RuntimeError
    assert "modified by an inplace operation" in expected[1]
    found: list[object] = []
    session = record(lambda: found.append(outcome(IN_PLACE[name])), detail=detail)
    assert found == [expected]
    assert session.notices == []


DIFFERENT_AT_NODES = ("hooks_on_one_saved_tensor", "a_dispatch_mode_sees_the_same_ops")
"""What pack hooks cannot hide; the README names it too."""


@pytest.mark.parametrize(
    ("name", "detail"),
    [(name, detail) for name in CASES for detail in DETAILS if detail != "nodes" or name not in DIFFERENT_AT_NODES],
)
def test_a_recorded_program_behaves_as_it_does_alone(record: Record, name: str, detail: Detail) -> None:
    expected = unrecorded(name)
    found: list[object] = []
    session = record(lambda: found.append(outcome(CASES[name])), detail=detail)
    assert found == [expected]
    assert [notice.text for notice in session.notices if notice.kind == "probe stopped"] == []


def test_what_stays_different_at_nodes_is_known(record: Record) -> None:
    found: list[Any] = []
    record(lambda: found.extend(outcome(CASES[name]) for name in DIFFERENT_AT_NODES), detail="nodes")
    hooks, (gradients, ops) = found
    # A saved tensor takes one pair of hooks only, and ours are there.
    assert hooks[0] is RuntimeError
    assert "hooks have already been set" in hooks[1]
    # Autograd detaches a saved result when it unpacks it, not when it saves it.
    alone: Any = unrecorded("a_dispatch_mode_sees_the_same_ops")
    expected_gradients, expected_ops = alone
    assert gradients == expected_gradients
    assert [op for op in ops if "detach" not in op] == [op for op in expected_ops if "detach" not in op]
