"""What runs in every rank under torchrun: regimes, alone and recorded, whose failures go to a report of the rank."""

from __future__ import annotations

import json
import os
import sys
import traceback
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
import torch.distributed as dist
from torch import Tensor, nn

import gradwatch
from exactness import Seen, check_graphs, run
from gradwatch.records import Detail

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from gradwatch import Session

    Watching = Callable[[Any], AbstractContextManager[Any]]
    Program = Callable[[Watching], object]
    Regime = Callable[["Rank"], None]

Norms = dict[str, float]
DETAILS: tuple[Detail, ...] = get_args(Detail)


class Rank:
    """This process's part in a regime."""

    def __init__(self, folder: Path, regime: str) -> None:
        self.number = dist.get_rank()
        self._folder = folder
        self._regime = regime
        self._opened: list[Session] = []

    def batch(self, number: int, *shape: int) -> Tensor:
        """A batch that only this rank has, the same whenever it is asked for."""
        return torch.randn(*shape, generator=torch.Generator().manual_seed(100 * self.number + number))

    def check(self, program: Program, detail: Detail, **options: Any) -> Session:
        """Run a program alone and recorded: the same bits, and the graphs that were there. It says what to watch."""
        alone = run(lambda: program(lambda _: nullcontext()))
        path = self._folder / f"{self._regime}.{detail}.{len(self._opened)}.gradwatch"
        recorders: list[gradwatch.Recorder] = []

        def watching(model: Any) -> AbstractContextManager[Any]:
            recorders.append(gradwatch.watch(model, path, detail=detail, **options))
            return recorders[-1]

        recorded = run(lambda: program(watching))
        assert not raised(alone), alone.results
        assert recorded.results == alone.results, (recorded.results, alone.results)
        assert recorded.rng == alone.rng
        assert recorded.graphs == alone.graphs
        session = gradwatch.open(recorders[0].path)
        self._opened.append(session)
        check_session(session, recorded)
        assert session.run.rank == self.number
        assert session.run.world_size == dist.get_world_size()
        assert f"rank{self.number}" in recorders[0].path.name
        return session

    def close(self) -> None:
        for session in self._opened:
            session.close()


def raised(seen: Seen) -> bool:
    results: Any = seen.results
    return isinstance(results, tuple) and len(results) == 2 and all(isinstance(each, str) for each in results)


def check_session(session: Session, seen: Seen) -> None:
    failed = [notice for notice in session.notices if notice.kind == "probe stopped"]
    assert not failed, failed
    check_graphs(session, seen.graphs)


def norms(model: nn.Module) -> Norms:
    """The norm of each `.grad` there is; of a DTensor that of this rank's part."""
    found = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    return {name: norm(gradient) for name, gradient in found.items()}


def norm(tensor: Tensor) -> float:
    plain: Any = tensor.detach()
    plain = plain._local_tensor if hasattr(plain, "_local_tensor") else plain
    return float(plain.double().norm())


def own_norms(model: nn.Module, loss: Callable[[nn.Module], Tensor]) -> Norms:
    """The norms of the gradients of a plain model, in one process, of this loss alone."""
    model.zero_grad()
    loss(model).backward()
    found = norms(model)
    model.zero_grad()
    return found


def assert_norms(  # noqa: PLR0913 # what, where, and what of it
    session: Session, step: int, call: int, expected: Norms, kind: Any = "parameter", *, others: bool = False
) -> None:
    """Assert that the rows of one backward call are those of `expected` (or `others` too), norms to float32."""
    rows = session.gradients_at(step, kind, micro_batches=True).of_backward(call)
    found = dict(zip(rows.names, rows.norm.tolist(), strict=True))
    assert len(found) == len(rows), rows.names
    assert found.keys() == expected.keys() or (others and found.keys() > expected.keys()), (
        step,
        call,
        kind,
        sorted(found),
        sorted(expected),
    )
    for name, value in expected.items():
        assert abs(found[name] - value) <= 2e-6 * max(1e-3, abs(value)), (step, call, kind, name, found[name], value)


def no_local(session: Session) -> bool:
    return all(not len(session.gradients_at(step.number, "local")) for step in session.steps)


def main(regimes: dict[str, Regime], backend: str = "gloo") -> None:
    """Run every regime and write `report.rank0.json`: the traceback of each that failed, by name."""
    folder = Path(sys.argv[1])
    chosen = sys.argv[2:] or list(regimes)
    torch.set_num_threads(1)
    dist.init_process_group(backend)
    report: dict[str, str | None] = {}
    for name in chosen:
        rank = Rank(folder, name)
        try:
            regimes[name](rank)
            report[name] = None
        except Exception:  # noqa: BLE001 # whatever it was is the report
            report[name] = traceback.format_exc()
            break  # the other ranks wait for this one
        finally:
            rank.close()
    path = folder / f"report.rank{dist.get_rank()}.json"
    path.write_text(json.dumps(report))
    sys.stdout.flush()
    os._exit(0)  # a rank that failed would wait for the others in destroy_process_group
