"""What one process of bench_peers.py does: one peer on one program. It prints one line of JSON, and nothing else.

It runs in the peer's own virtual environment, so what it imports of peers is imported when it is measured. A peer is
used as its documentation says, at its most frequent setting: every step. What a peer does at the end of a block (the
profiler reads its events, gradwatch closes its file) is no part of a step, and timed apart.
"""

from __future__ import annotations

import json
import statistics
import sys
import warnings
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass
from importlib import import_module, metadata
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "kernel_ext")]

from bench_recorder import DETAILS, SIZES, WARM_UP_STEPS  # noqa: E402  # found through the path just set

import gradwatch  # noqa: E402  # as above

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager

    from bench_recorder import Size

    from gradwatch.records import Detail
    from models import Program

    Step = Callable[[], object]
    Block = Callable[[], AbstractContextManager[Step]]

STOP_AFTER_S = 80.0
"""No new round begins after this many seconds, so that a slow peer has its fewer rounds within the parent's limit."""
MESSAGE_CHARACTERS = 80


@dataclass(frozen=True)
class Peer:
    """A tool to compare with.

    `prepare` does what it needs once a process; what it returns gives the context of a block of steps, which gives the
    step. `package` is its name on PyPI, None where it comes with torch or is gradwatch.
    """

    prepare: Callable[[Size, Program], Block]
    package: str | None = None


@dataclass(frozen=True)
class Cost:
    """Ratios of the step with a peer to the step without: their median, first and third quartile.

    `step_ms` is the median step without, in milliseconds; `leave_ms` what the end of a block takes, over all its steps,
    warm-up among them: the median again. Where `trouble` says why there are none, all are None.
    """

    peer: str
    size: str
    version: str = ""
    step_ms: float | None = None
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    leave_ms: float | None = None
    rounds: int = 0
    trouble: str = ""


@dataclass(frozen=True)
class Held:
    """Bytes that a tool says are held for backward right after forward, and the bytes that are."""

    tool: str
    program: str
    truth: int
    said: int | None = None
    version: str = ""
    trouble: str = ""


# The peers


def _gradwatch(detail: Detail) -> Peer:
    def prepare(size: Size, program: Program) -> Block:
        numbers = count()

        @contextmanager
        def block() -> Generator[Step]:
            path = Path(f"{next(numbers)}.gradwatch")
            with gradwatch.watch(program.model, path, detail=detail):
                yield program.step
            path.unlink()

        return block

    return Peer(prepare)


def _within(context: Callable[[], AbstractContextManager[object]]) -> Peer:
    """A peer that is on while a context is open."""

    def prepare(size: Size, program: Program) -> Block:
        @contextmanager
        def block() -> Generator[Step]:
            with context():
                yield program.step

        return block

    return Peer(prepare)


def _debug_mode() -> AbstractContextManager[object]:
    return import_module("torch.utils._debug_mode").DebugMode(record_nn_module=True)


def _profiler() -> AbstractContextManager[object]:
    cpu = [torch.profiler.ProfilerActivity.CPU]
    return torch.profiler.profile(activities=cpu, profile_memory=True, with_stack=True)


def _mem_tracker(size: Size, program: Program) -> Block:
    tracker_type: Any = import_module("torch.distributed._tools.mem_tracker").MemTracker

    @contextmanager
    def block() -> Generator[Step]:
        tracker = tracker_type()
        tracker.track_external(program.model, program.optimizer)

        def step() -> None:
            program.step()
            tracker.reset_mod_stats()  # without it, it ends at the second call of a module

        with tracker:
            yield step

    return block


def _tensorboard(size: Size, program: Program) -> Block:
    writer_type: Any = import_module("torch.utils.tensorboard").SummaryWriter
    steps = count()

    @contextmanager
    def block() -> Generator[Step]:
        with writer_type("tensorboard") as writer:

            def step() -> None:
                program.step()
                number = next(steps)
                for name, parameter in program.model.named_parameters():
                    writer.add_histogram(name, parameter.grad, number)

            yield step

    return block


def _wandb(size: Size, program: Program) -> Block:
    """The run is open in blocks without it too: to open one takes seconds. What it does then is in other processes."""
    run: Any = import_module("wandb").init(mode="offline", project="bench")

    @contextmanager
    def block() -> Generator[Step]:
        run.watch(program.model, log="all", log_freq=1)
        try:
            yield lambda: run.log({"loss": program.step()})
        finally:
            run.unwatch(program.model)

    return block


class _WholeLoss(nn.Module):
    """A program's loss as the forward of a module: TorchLens calls the model itself."""

    def __init__(self, model: nn.Module, loss: Callable[[], Tensor]) -> None:
        super().__init__()
        self.model = model
        self.loss = loss

    def forward(self, unused: Tensor) -> Tensor:
        return self.loss()


def _torchlens(size: Size, program: Program) -> Block:
    """Both directions: the graph, every activation and every gradient.

    torch's functions stay wrapped after a trace, so they are unwrapped after a block.
    """
    lens: Any = import_module("torchlens")
    wrappers: Any = import_module("torchlens.backends.torch.wrappers")
    whole, unused = _WholeLoss(program.model, program.loss), torch.zeros(1)

    def step() -> None:
        program.optimizer.zero_grad()
        trace = lens.trace(whole, unused, capture=lens.options.CaptureOptions(save_grads=True, backward_ready=True))
        trace.log_backward(trace[trace.output_layers[0]].out)
        program.optimizer.step()
        trace.cleanup()

    @contextmanager
    def block() -> Generator[Step]:
        try:
            yield step
        finally:
            wrappers.unwrap_torch()

    return block


def _nansense(*, collects: bool) -> Peer:
    """NaNsense without its server: with statistics of all layers and a snapshot every batch, or with nobody looking."""

    def prepare(size: Size, program: Program) -> Block:
        session: Any = import_module("nansense").start(program.model, optimizer=program.optimizer)
        session.detach()  # else it pauses at the first batch
        if collects:
            session.set_update_frequency(unit="batch", n=1)
            session.set_stats_scope("all")

        def step() -> None:
            with session.batch(phase="train", epoch=0):
                program.step()

        @contextmanager
        def block() -> Generator[Step]:
            yield step

        return block

    return Peer(prepare, "nansense")


def _torchexplorer(size: Size, program: Program) -> Block:
    """Its hooks cannot be taken off, so it watches a second program of the same kind. It shows its pictures nowhere."""
    watched = size.build()
    import_module("torchexplorer").watch(watched.model, log_freq=1, disable_inplace=True, backend="none", verbose=False)

    @contextmanager
    def block() -> Generator[Step]:
        yield watched.step

    return block


def _sherlorch(size: Size, program: Program) -> Block:
    trace: Any = import_module("sherlorch").trace

    @contextmanager
    def block() -> Generator[Step]:
        with trace() as tracker:
            tracker.watch(program.model)

            def step() -> None:
                program.step()
                tracker.reset()  # as its documentation asks for between steps

            yield step

    return block


PEERS: dict[str, Peer] = {
    **{f"gradwatch {detail}": _gradwatch(detail) for detail in DETAILS},
    "detect_anomaly": _within(lambda: torch.autograd.set_detect_anomaly(mode=True)),
    "DebugMode": _within(_debug_mode),
    "MemTracker": Peer(_mem_tracker),
    "profiler": _within(_profiler),
    "TensorBoard": Peer(_tensorboard, "tensorboard"),
    "wandb.watch": Peer(_wandb, "wandb"),
    "TorchLens": Peer(_torchlens, "torchlens"),
    "NaNsense": _nansense(collects=True),
    "NaNsense detached": _nansense(collects=False),
    "torchexplorer": Peer(_torchexplorer, "torchexplorer"),
    "sherlorch": Peer(_sherlorch, "sherlorch"),
}


def cost(name: str, size: Size, rounds: int) -> Cost:
    """Alternate blocks with the peer and without."""
    start = perf_counter()
    torch.set_num_threads(size.threads)
    program = size.build()
    timed(program.step, size.steps)  # warms torch up
    block = PEERS[name].prepare(size, program)
    alone, ratios, leaves = [timed(program.step, size.steps)], list[float](), list[float]()
    while len(ratios) < rounds and not (ratios and perf_counter() - start > STOP_AFTER_S):
        seconds, leave = _in_block(block, size.steps)
        alone.append(timed(program.step, size.steps))
        ratios.append(seconds / statistics.mean(alone[-2:]))
        leaves.append(leave / (WARM_UP_STEPS + size.steps))
    low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return Cost(
        peer=name,
        size=size.name,
        version=version_of(PEERS[name].package),
        step_ms=1e3 * statistics.median(alone),
        ratio=statistics.median(ratios),
        ratio_low=low,
        ratio_high=high,
        leave_ms=1e3 * statistics.median(leaves),
        rounds=len(ratios),
    )


def _in_block(block: Block, steps: int) -> tuple[float, float]:
    """The median step with the peer, and what it takes to leave the block, in seconds."""
    with block() as step:
        seconds = timed(step, steps)
        start = perf_counter()
    return seconds, perf_counter() - start


def timed(step: Step, steps: int) -> float:
    """The median step of a block in seconds, its first ones apart."""
    times: list[float] = []
    for _ in range(WARM_UP_STEPS + steps):
        start = perf_counter()
        step()
        times.append(perf_counter() - start)
    return statistics.median(times[WARM_UP_STEPS:])


def version_of(package: str | None) -> str:
    return metadata.version(package) if package else ""


# Bytes held for backward

FLOAT, INDEX = 4, 8
ROWS, WIDTH = 16, 32
MATRIX = ROWS * WIDTH * FLOAT
"""Bytes of the batch, and of everything that a layer of `WIDTH` makes of it."""


@dataclass(frozen=True)
class HeldCase:
    """A model and its loss, and the bytes of all storages but parameters that its graph keeps after forward.

    A batch is made inside of the loss, so that tools which only see what is made under them see it. Every loss is a
    plain sum: it saves no tensor.
    """

    build: Callable[[], tuple[nn.Module, Callable[[nn.Module], Tensor]]]
    truth: int


def _batch() -> Tensor:
    return torch.rand(ROWS, WIDTH)


def _linear() -> nn.Linear:
    return nn.Linear(WIDTH, WIDTH)


def _after_linear(after: Callable[[Tensor], Tensor]) -> Callable[[], tuple[nn.Module, Callable[[nn.Module], Tensor]]]:
    """One linear layer, which saves the batch, and what is done with its result, which it does not save."""
    return lambda: (_linear(), lambda model: after(model(_batch())))


def _of_batch(
    model: Callable[[], nn.Module], make: Callable[[], Tensor]
) -> Callable[[], tuple[nn.Module, Callable[[nn.Module], Tensor]]]:
    return lambda: (model(), lambda built: built(make()).sum())


def _mlp() -> nn.Module:
    return nn.Sequential(*[layer for _ in range(3) for layer in (_linear(), nn.ReLU())])


class _Tied(nn.Module):
    """An embedding whose weight is the head's too."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, WIDTH)

    def forward(self, tokens: Tensor) -> Tensor:
        return functional.linear(self.embedding(tokens), self.embedding.weight)


class _Stash(torch.autograd.Function):
    """Keeps a tensor beside `save_for_backward`, as many a program does."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.exponential = x.exp()
        return ctx.exponential * 2

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * ctx.exponential * 2


def _stash(x: Tensor) -> Tensor:
    return torch.sum(_Stash.apply(x))


def _view_and_base(x: Tensor) -> Tensor:
    y = x.exp()
    return y.sum() + y[:, : WIDTH // 2].square().sum()


def _checkpointed(x: Tensor) -> Tensor:
    def block(hidden: Tensor) -> Tensor:
        return hidden.exp().sin().exp()

    kept: Any = checkpoint(block, x, use_reentrant=False, preserve_rng_state=False)
    return kept.sum()


HELD_CASES: dict[str, HeldCase] = {
    # Each linear layer saves its input: the batch, then what ReLU saves too, its result. So is the last ReLU's.
    "mlp": HeldCase(_of_batch(_mlp, _batch), MATRIX + 3 * MATRIX),
    # As above. The linear layers of a (2, 8, 32) batch multiply a (16, 32) view of it, of the same storage.
    "mlp of a 3-D batch": HeldCase(_of_batch(_mlp, lambda: _batch().view(2, -1, WIDTH)), MATRIX + 3 * MATRIX),
    # The product saves both its factors, which are one storage.
    "x * x": HeldCase(_after_linear(lambda x: (x * x).sum()), MATRIX + MATRIX),
    # exp saves its result, and square its input: a view of that result.
    "a view and its base": HeldCase(_after_linear(_view_and_base), MATRIX + MATRIX),
    # square saves one column, which keeps the whole storage.
    "a column": HeldCase(_after_linear(lambda x: x[:, :1].square().sum()), MATRIX + MATRIX),
    # The block's recomputation needs its input, and nothing else: no op in it draws, and no RNG state is kept.
    "checkpointed block": HeldCase(_after_linear(_checkpointed), MATRIX + MATRIX),
    # The embedding saves its indices (int64), the head its input; the weight is a parameter.
    "tied weights": HeldCase(_of_batch(_Tied, lambda: torch.arange(8)), 8 * INDEX + 8 * WIDTH * FLOAT),
    # On a CPU, dropout is a product with a mask of floats; it saves the mask, and not its input, as the mask asks for
    # no gradient.
    "dropout": HeldCase(_after_linear(lambda x: functional.dropout(x, 0.5).sum()), MATRIX + MATRIX),
    # The custom function keeps exp(x) as an attribute of its ctx.
    "a ctx attribute": HeldCase(_after_linear(_stash), MATRIX + MATRIX),
}


def _held_by_gradwatch(model: nn.Module, loss: Callable[[], Tensor]) -> int:
    path = Path("held.gradwatch")
    with gradwatch.watch(model, path, detail="nodes"):
        loss().backward()
    with gradwatch.open(path) as session:
        return session.held(0).total_bytes


def _held_by_mem_tracker(snapshot: str) -> Callable[[nn.Module, Callable[[], Tensor]], int]:
    """Its activations, read after forward.

    "current": those alive then; "peak": those alive when memory was at its highest.
    """

    def held(model: nn.Module, loss: Callable[[], Tensor]) -> int:
        module: Any = import_module("torch.distributed._tools.mem_tracker")
        tracker = module.MemTracker()
        tracker.track_external(model)
        with tracker:
            # The node keeps the graph. The loss itself is let go: it is the program's, not autograd's.
            graph = loss().grad_fn
            found = tracker.get_tracker_snapshot(snapshot)
        assert graph is not None
        return sum(sizes[module._MemRefType.ACT] for sizes in found.values())

    return held


def _traced(model: nn.Module, loss: Callable[[], Tensor]) -> Any:
    return import_module("torchlens").trace(_WholeLoss(model, loss), torch.zeros(1))


def _held_by_torchlens(model: nn.Module, loss: Callable[[], Tensor]) -> int:
    """Its total: it counts parameters, and a storage again for each op that saves it."""
    return int(_traced(model, loss).total_autograd_memory)


def _new_to_torchlens(model: nn.Module, loss: Callable[[], Tensor]) -> int:
    """Its other total, in which each storage counts once and parameters do not."""
    timeline = import_module("torchlens.observe").memory_timeline_v2(_traced(model, loss))
    return int(timeline["saved_band"]["stackable_newly_saved_activation"])


@dataclass(frozen=True)
class HeldTool:
    """What reads the bytes held, and its name on PyPI (None: it comes with torch, or is gradwatch)."""

    read: Callable[[nn.Module, Callable[[], Tensor]], int]
    package: str | None = None


HELD_TOOLS: dict[str, HeldTool] = {
    "gradwatch": HeldTool(_held_by_gradwatch),
    "MemTracker peak": HeldTool(_held_by_mem_tracker("peak")),
    "MemTracker current": HeldTool(_held_by_mem_tracker("current")),
    "TorchLens": HeldTool(_held_by_torchlens, "torchlens"),
    "TorchLens new": HeldTool(_new_to_torchlens, "torchlens"),
}


def held(tool: str, program: str) -> Held:
    """Ask one tool of one program."""
    case = HELD_CASES[program]
    torch.manual_seed(0)
    model, loss = case.build()
    said = HELD_TOOLS[tool].read(model, lambda: loss(model))
    return Held(tool, program, case.truth, said, version_of(HELD_TOOLS[tool].package))


def main() -> None:
    """Arguments: "cost" or "held", the peer, the program, and how many rounds."""
    kind, peer, program, rounds = sys.argv[1:]
    warnings.simplefilter("ignore")  # of the peers, on standard error, by the thousand
    answer: dict[str, Any]
    with redirect_stdout(sys.stderr):
        try:
            if kind == "cost":
                size = next(size for size in SIZES if size.name == program)
                answer = asdict(cost(peer, size, int(rounds)))
            else:
                answer = asdict(held(peer, program))
        except Exception as error:  # noqa: BLE001 # of a peer, of any kind
            answer = {"trouble": _trouble(error)}
    print(json.dumps(answer), flush=True)


def _trouble(error: Exception) -> str:
    if isinstance(error, FileNotFoundError) and error.filename == "dot":
        return "not installed: it runs Graphviz's program dot, which is not on the PATH"  # no package of PyPI
    message = str(error).strip().partition("\n")[0]
    return f"crashed: {type(error).__name__}: {message[:MESSAGE_CHARACTERS]}"


if __name__ == "__main__":
    main()
