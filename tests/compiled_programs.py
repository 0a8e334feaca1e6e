"""Small programs that compile, what dynamo counted of a run, and what a compiled node holds."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
import torch._dynamo
from torch import Tensor, nn
from torch._dynamo import compiled_autograd
from torch._dynamo.testing import CompileCounterWithBackend
from torch._dynamo.utils import counters

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    Loss = Callable[[Tensor], Tensor]

BATCH, WIDTH, HIDDEN = 3, 4, 8
STEPS = 6
FLOAT = 4


class Waves(nn.Module):
    """A linear layer, a wave, dropout and a linear layer. With `breaks`, a graph break in between."""

    def __init__(self, *, breaks: bool = False) -> None:
        super().__init__()
        self.breaks = breaks
        self.first = nn.Linear(WIDTH, HIDDEN)
        self.inner = nn.Sequential(nn.ReLU(), nn.Dropout(0.2))
        self.last = nn.Linear(HIDDEN, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.inner(self.first(x))
        if self.breaks:
            torch._dynamo.graph_break()
        return self.last(y.sin().cos())


def wrapped(backend: Any) -> tuple[nn.Module, Loss]:
    model = Waves()
    compiled: Any = torch.compile(model, backend=backend)
    return model, lambda x: compiled(x).mean()


def fullgraph(backend: Any) -> tuple[nn.Module, Loss]:
    model = Waves()
    compiled: Any = torch.compile(model, backend=backend, fullgraph=True)
    return model, lambda x: compiled(x).mean()


def by_itself(backend: Any) -> tuple[nn.Module, Loss]:
    model = Waves()
    model.compile(backend=backend)
    return model, lambda x: model(x).mean()


def broken(backend: Any) -> tuple[nn.Module, Loss]:
    model = Waves(breaks=True)
    compiled: Any = torch.compile(model, backend=backend)
    return model, lambda x: compiled(x).mean()


def dynamic(backend: Any) -> tuple[nn.Module, Loss]:
    model = Waves()
    compiled: Any = torch.compile(model, backend=backend, dynamic=True)
    sizes = iter(range(BATCH, BATCH + 100))
    return model, lambda x: compiled(x.repeat(next(sizes), 1)).mean()


def function(backend: Any) -> tuple[nn.Module, Loss]:
    model = Waves()
    return model, torch.compile(lambda x: model(x).mean(), backend=backend)


def hooked(backend: Any) -> tuple[nn.Module, Loss]:
    """Modules inside the region have hooks of the program's own: dynamo then guards the global ones."""
    model = Waves()
    doubled: Any = lambda _module, _inputs, output: output * 2  # noqa: E731 # torch's own annotation says dict
    model.inner.register_forward_hook(doubled)
    model.last.register_forward_pre_hook(lambda _module, inputs: (inputs[0] * 3,))
    compiled: Any = torch.compile(model, backend=backend)
    return model, lambda x: compiled(x).mean()


@dataclass
class Counted:
    """What a run gave, and how often dynamo and its backend had to work for it."""

    results: list[Any] = field(default_factory=list[Any])
    compiles: int = 0
    graph_breaks: dict[str, int] = field(default_factory=dict[str, int])
    stats: dict[str, int] = field(default_factory=dict[str, int])
    captures: int = 0


@dataclass(frozen=True)
class Watching:
    """When a recording begins and ends: before the step of a number, and after it."""

    begin: Callable[[nn.Module], None]
    end: Callable[[], None]
    steps: tuple[tuple[int, int], ...]


def train(
    make: Any,
    backend: Any = "aot_eager",
    watching: Watching | None = None,
    around_backward: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext,
) -> Counted:
    """Train a program from a fresh compiler for STEPS steps; `watching` records some of them."""
    torch._dynamo.reset()
    counters.clear()
    torch.manual_seed(0)
    counted = Counted()
    counting: Any = CompileCounterWithBackend(backend)
    model, loss_of = make(counting)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(STEPS):
        if watching is not None and step in [begin for begin, _ in watching.steps]:
            watching.begin(model)
        optimizer.zero_grad()
        loss = loss_of(torch.randn(BATCH, WIDTH))
        with around_backward():
            loss.backward()
        gradients = [each.grad.clone() for each in model.parameters() if each.grad is not None]
        counted.results += [loss.detach(), *gradients]
        optimizer.step()
        if watching is not None and step in [end for _, end in watching.steps]:
            watching.end()
    counted.results.append(torch.get_rng_state())
    counted.compiles = counting.frame_count
    counted.graph_breaks = dict(counters["graph_break"])
    counted.stats = dict(counters["stats"])
    counted.captures = counters["compiled_autograd"]["captures"]
    return counted


def compiled_backward() -> AbstractContextManager[object]:
    enable: Any = compiled_autograd._enable
    return enable(torch.compile(backend="aot_eager"))


def saved_bytes(root: Tensor, apart_from: nn.Module) -> int:
    """Bytes that the compiled nodes behind `root` keep, by their `saved_tensors`: each storage once, no parameters."""
    sizes: dict[int, int] = {}
    known = {each.untyped_storage()._cdata for each in apart_from.parameters()}
    waiting, seen = [root.grad_fn], set[Any]()
    while waiting:
        node: Any = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        waiting += [after for after, _ in node.next_functions]
        for tensor in node.saved_tensors if "Compiled" in node.name() else ():
            storage: Any = tensor.untyped_storage()
            if storage._cdata not in known:
                sizes[storage._cdata] = storage.nbytes()
    return sum(sizes.values())
