"""DistributedDataParallel around a model that nobody named, and what is said where it cannot be looked into."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from compiled_programs import compiled_backward
from gradwatch.capture.compiled_backward import NO_LOCAL
from gradwatch.capture.reducers import Reducer, unsharded_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Record
    from gradwatch.records import Detail

pytestmark = pytest.mark.skipif(not distributed.is_gloo_available(), reason="needs gloo")


@pytest.fixture(autouse=True)
def _single_process() -> Iterator[None]:
    together: Any = distributed
    together.init_process_group("gloo", store=together.HashStore(), rank=0, world_size=1)
    yield
    together.destroy_process_group()


class Net(nn.Module):
    """Its own listings of what is in it raise, as those of a model that overrides them may."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 3)
        self.head = nn.Linear(3, 1)
        self.listed = True

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.first(x).tanh())

    def named_modules(self, *arguments: Any, **options: Any) -> Any:
        if not self.listed:
            raise RuntimeError("not now")
        return super().named_modules(*arguments, **options)


NAMES = ["first.weight", "first.bias", "head.weight", "head.bias"]


def train(model: nn.Module, steps: int = 2) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(steps):
        model(torch.ones(2, 4)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("detail", ["parameters", "modules", "nodes"])
def test_a_wrapped_model_that_is_found_has_its_own_names(record: Record, detail: Detail) -> None:
    def program() -> None:
        model = DistributedDataParallel(Net())
        train(model)

    session = record(program, detail=detail)
    assert session.parameters.names == NAMES
    assert session.gradient("first.weight", local=True).steps.tolist() == [0, 1]
    if detail != "parameters":
        assert {"first", "head"} <= set(session.modules.names)
        assert not [name for name in session.modules.names if "module" in name.split(".")]
        assert len(session.gradient("head")) == 2


def test_a_wrapper_around_a_part_of_a_known_model_renames_nothing(record: Record) -> None:
    net = Net()

    def program() -> None:
        head = DistributedDataParallel(net.head)
        (head(net.first(torch.ones(2, 4)).tanh())).sum().backward()

    assert record(program, net).parameters.names == NAMES


def test_a_compiled_model_in_a_wrapper_has_its_own_names(record: Record) -> None:
    def program() -> None:
        model = DistributedDataParallel(torch.compile(Net(), backend="eager"))  # type: ignore[arg-type]  # torch's own type is narrower
        train(model)

    torch.compiler.reset()
    assert record(program).parameters.names == NAMES


def test_under_compiled_autograd_it_says_that_a_rank_s_own_gradients_are_not_seen(record: Record) -> None:
    def program() -> None:
        model = DistributedDataParallel(Net())
        for _ in range(2):
            loss = model(torch.ones(2, 4)).sum()
            with compiled_backward():
                loss.backward()

    torch.compiler.reset()
    with torch._dynamo.config.patch(optimize_ddp="python_reducer"):  # the other one refuses compiled autograd
        session = record(program)
    assert [notice.text for notice in session.notices].count(NO_LOCAL) == 1
    assert session.parameters.names == NAMES
    assert len(session.gradient("first.weight", local=True)) == 0
    assert len(session.gradient("first.weight")) > 0


def test_without_ranks_nothing_is_said_of_their_own_gradients(record: Record) -> None:
    def program() -> None:
        loss = Net()(torch.ones(2, 4)).sum()
        with compiled_backward():
            loss.backward()

    torch.compiler.reset()
    assert NO_LOCAL not in [notice.text for notice in record(program).notices]


def test_parameters_are_found_in_models_that_override_their_listings() -> None:
    import weakref

    from torch.distributed.fsdp import FSDPModule

    assert FSDPModule, "looked up where it is loaded"

    net = Net()
    wrapped = nn.Sequential(net)
    net.listed = False
    with pytest.raises(RuntimeError, match="not now"):
        list(wrapped.modules())
    assert unsharded_in(wrapped) == []
    leaves = [leaf for leaf, _ in Reducer(weakref.ref(wrapped), is_sharding=False, is_flat=False).leaves()]
    assert [id(leaf) for leaf in leaves] == [
        id(leaf) for leaf in (net.first.weight, net.first.bias, net.head.weight, net.head.bias)
    ]
