"""torch.compile: recorded runs are the compiled runs, bit by bit, and nothing is compiled that would not be."""

from __future__ import annotations

import os
import shutil
import warnings
from typing import TYPE_CHECKING, Any

import pytest
import torch
import torch._dynamo
from torch import nn

import compiled_programs as programs
import gradwatch
from compiled_programs import Watching, train
from exactness import check_exact, digest
from gradwatch.capture.compiled_backward import HOOKS_ENDED, NO_GRADIENTS
from gradwatch.capture.compiled_graphs import NOT_SEEN, OPENED
from gradwatch.capture.compiled_guards import GUARDED
from gradwatch.capture.trace import COMPILED
from regimes import promise

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Record
    from gradwatch import Session
    from gradwatch.records import Detail

WATCHED = {"from before the first compile": ((0, 2),), "after it": ((2, 3),), "twice": ((0, 1), (3, 4))}
NEEDS_A_COMPILER = pytest.mark.skipif(
    not any(shutil.which(name) for name in (os.environ.get("CXX", "c++"), "g++", "clang++")),
    reason="inductor needs a C++ compiler",
)
DETAILS = ("parameters", "modules", "nodes")


@pytest.fixture(autouse=True)
def _a_fresh_compiler() -> None:
    torch._dynamo.reset()


def compiled_nodes(session: Session, step: int) -> list[Any]:
    return [node for node in session.graph(step).nodes if node.label is not None and node.label.label == "compiled"]


def step_of(make: Callable[[Any], Any], backend: str = "aot_eager") -> Callable[[], object]:
    """A program of two steps: losses, and parameters with their gradients."""

    def program() -> object:
        torch._dynamo.reset()
        torch.manual_seed(0)
        model, loss_of = make(backend)
        losses: list[torch.Tensor] = []
        for _ in range(2):
            losses.append(loss_of(torch.randn(programs.BATCH, programs.WIDTH)))
            losses[-1].backward()
        return [loss.detach() for loss in losses], list(model.parameters())

    return program


def held_by(make: Callable[[Any], Any]) -> list[int]:
    """What the compiled nodes of each of the two steps keep, without a recording."""
    torch._dynamo.reset()
    torch.manual_seed(0)
    model, loss_of = make("aot_eager")
    held: list[int] = []
    for _ in range(2):
        loss = loss_of(torch.randn(programs.BATCH, programs.WIDTH))
        held.append(programs.saved_bytes(loss, model))
        loss.backward()
    return held


def check_compiled(record: Record, make: Callable[[Any], Any], detail: Detail, regions: int) -> Session:
    """A program that compiles: exact, with `regions` nodes that open, and the bytes that these really keep."""
    held = held_by(make)
    session = check_exact(record, step_of(make), detail)
    if detail == "parameters":
        return session
    for step in (0, 1):
        nodes = compiled_nodes(session, step)
        assert [node.label.text for node in nodes] == [OPENED] * regions
        assert sum(node.region is not None for node in nodes) == regions
        assert session.held(step).total_bytes == held[step]
    return session


@promise("torch.compile", "torch.compile(model) and fullgraph=True", note="the region is one node, which opens")
@pytest.mark.parametrize(
    ("make", "detail"),
    [
        *((programs.wrapped, detail) for detail in DETAILS),
        (programs.fullgraph, "modules"),
        (programs.fullgraph, "nodes"),
    ],
)
def test_a_compiled_model_is_exact(record: Record, make: Callable[[Any], Any], detail: Detail) -> None:
    session = check_compiled(record, make, detail, 1)
    if detail != "parameters":
        (node,) = compiled_nodes(session, 1)
        assert node.module == "compiled"  # as the program calls it
        assert node.region.name.startswith("forward [")
        assert node.region.backend == "aot_eager"


@promise("torch.compile", "module.compile()", note="the region is one node, which opens")
@pytest.mark.parametrize("detail", ["modules", "nodes"])
def test_a_module_that_compiles_itself_is_exact(record: Record, detail: Detail) -> None:
    session = check_compiled(record, programs.by_itself, detail, 1)
    assert [node.module for node in compiled_nodes(session, 1)] == ["model"]


@promise("torch.compile", "a function that is compiled", note="its modules are known inside of the region only")
@pytest.mark.parametrize("detail", ["modules", "nodes"])
def test_a_compiled_function_is_exact(record: Record, detail: Detail) -> None:
    session = check_compiled(record, programs.function, detail, 1)
    (node,) = compiled_nodes(session, 1)
    assert node.module == ""


@promise("torch.compile", "graph breaks", note="each part is a node, which opens")
@pytest.mark.parametrize("detail", ["modules", "nodes"])
def test_regions_between_graph_breaks_are_exact(record: Record, detail: Detail) -> None:
    session = check_compiled(record, programs.broken, detail, 2)
    assert len({node.label.region for node in compiled_nodes(session, 1)}) == 2


@promise("torch.compile", "dynamic=True", note="symbolic sizes in the region read -1")
@pytest.mark.parametrize("detail", ["modules", "nodes"])
def test_dynamic_shapes_are_exact(record: Record, detail: Detail) -> None:
    session = check_compiled(record, programs.dynamic, detail, 1)
    (node,) = compiled_nodes(session, 1)
    assert (-1, programs.HIDDEN) in {op.shape for op in node.region.forward}
    assert session.held(0).total_bytes < session.held(1).total_bytes


@promise(
    "torch.compile", 'backend="eager"', note="modules inside the region are not known: its nodes carry the outermost"
)
@pytest.mark.parametrize("detail", ["modules", "nodes"])
def test_the_eager_backend_is_exact(record: Record, detail: Detail) -> None:
    session = check_exact(record, step_of(programs.wrapped, "eager"), detail)
    assert compiled_nodes(session, 1) == []
    assert {"SinBackward0", "CosBackward0"} <= {node.name for node in session.graph(1).nodes}


@NEEDS_A_COMPILER
@promise("torch.compile", "inductor", note="what comes out of its cache does not open, and says so")
def test_inductor_is_exact_and_what_its_cache_gives_says_so(
    record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._functorch import config

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    program = step_of(programs.wrapped, "inductor")
    session = check_exact(record, program, "nodes")  # alone, it filled the cache
    (node,) = compiled_nodes(session, 1)
    assert (node.region, node.label.text) == (None, NOT_SEEN)
    with config.patch(enable_autograd_cache=False):
        session = check_exact(record, program, "modules")
    (node,) = compiled_nodes(session, 1)
    assert (node.module, node.label.text) == ("compiled", OPENED)
    assert node.region.backend == "inductor"
    kept = sorted((op.shape, op.dtype) for op in node.region.saved)
    assert kept == sorted((each.shape, each.dtype) for each in node.saved)
    sizes = {each.storage: each.storage_bytes for each in node.saved if each.tensor_class != "parameter"}
    assert session.held(1).total_bytes == sum(sizes.values())


@pytest.mark.parametrize("steps", WATCHED.values(), ids=WATCHED)
@pytest.mark.parametrize(
    ("make", "detail"),
    [
        *((programs.wrapped, detail) for detail in DETAILS),
        *((make, "nodes") for make in (programs.by_itself, programs.broken, programs.function)),
    ],
)
def test_beginning_and_ending_a_recording_compiles_nothing_again(
    make: Callable[[Any], Any], detail: Detail, steps: tuple[tuple[int, int], ...], tmp_path: Path
) -> None:
    alone, watched = train(make), train(make, watching=_watching(detail, steps, tmp_path))
    assert digest(watched.results) == digest(alone.results)
    assert (watched.compiles, watched.graph_breaks, watched.stats) == (
        alone.compiles,
        alone.graph_breaks,
        alone.stats,
    )


@promise(
    "torch.compile",
    "modules inside a region with hooks of the program's own",
    graph="partly",
    note="where they were compiled before the recording, modules and their outputs are not known: the session says so",
)
@pytest.mark.parametrize("detail", ["modules", "nodes"])
@pytest.mark.parametrize("steps", WATCHED.values(), ids=WATCHED)
def test_modules_with_hooks_of_the_programs_own_are_not_compiled_again(
    detail: Detail, steps: tuple[tuple[int, int], ...], tmp_path: Path
) -> None:
    alone = train(programs.hooked)
    watched = train(programs.hooked, watching=_watching(detail, steps, tmp_path))
    assert digest(watched.results) == digest(alone.results)
    assert (watched.compiles, watched.stats) == (alone.compiles, alone.stats)
    for path in sorted(tmp_path.glob("*.gradwatch")):
        with gradwatch.open(path) as session:
            compiled_before = steps == WATCHED["after it"]
            assert told(session) == [GUARDED] * compiled_before
            (node,) = compiled_nodes(session, 1)
            assert node.module == ("" if compiled_before else "model")


def told(session: gradwatch.Session) -> list[str]:
    """The notices, but the one that ops are not traced beside torch.compile."""
    return [notice.text for notice in session.notices if notice.text != COMPILED]


def _watching(detail: Detail, steps: tuple[tuple[int, int], ...], folder: Path) -> Watching:
    running: list[Any] = []

    def begin(model: nn.Module) -> None:
        running.append(gradwatch.watch(model, folder / f"{len(running)}.gradwatch", detail=detail))

    def end() -> None:
        running[-1].stop()

    return Watching(begin, end, steps)


@promise(
    "torch.compile",
    "compiled autograd",
    gradients="partly",
    note="gradients of parameters; those of module outputs and nodes are not seen, and the session says so",
)
@pytest.mark.parametrize("detail", DETAILS)
def test_compiled_autograd_is_exact_and_compiles_nothing_again(detail: Detail, tmp_path: Path) -> None:
    around = programs.compiled_backward
    alone = train(programs.wrapped, around_backward=around)
    watched = train(programs.wrapped, around_backward=around, watching=_watching(detail, ((0, 1), (3, 4)), tmp_path))
    assert digest(watched.results) == digest(alone.results)
    assert (watched.compiles, watched.graph_breaks) == (alone.compiles, alone.graph_breaks)
    if detail != "nodes":
        assert (watched.captures, watched.stats) == (alone.captures, alone.stats)
    with gradwatch.open(tmp_path / "1.gradwatch") as session:
        texts = told(session)
        assert texts == {"parameters": [], "modules": [NO_GRADIENTS], "nodes": [HOOKS_ENDED, NO_GRADIENTS]}[detail]
        seen = [session.gradient(each.name).norm[-1] for each in session.parameters]
        real = [float(gradient.norm()) for gradient in _gradients_of_step(alone.results, 4)]
        assert seen == pytest.approx(real, rel=1e-6)


def test_compiled_autograd_that_is_configured_keeps_saved_tensor_hooks_out(tmp_path: Path) -> None:
    whole = torch._dynamo.config.patch(compiled_autograd=True)
    with whole:
        alone = train(programs.wrapped, around_backward=programs.compiled_backward)
        watching = _watching("nodes", ((0, 1), (3, 4)), tmp_path)
        watched = train(programs.wrapped, around_backward=programs.compiled_backward, watching=watching)
    assert digest(watched.results) == digest(alone.results)
    assert (watched.compiles, watched.captures, watched.stats) == (alone.compiles, alone.captures, alone.stats)


def _gradients_of_step(results: list[Any], step: int) -> list[torch.Tensor]:
    width = (len(results) - 1) // programs.STEPS
    return results[step * width + 1 : (step + 1) * width]


def test_a_compiled_model_does_not_warn_of_our_hooks(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*global hooks")
        train(programs.wrapped, watching=_watching("modules", ((0, 2),), tmp_path))


def test_the_programs_own_global_hooks_are_warned_of_as_before(tmp_path: Path) -> None:
    own = nn.modules.module.register_module_forward_hook(lambda *_: None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train(programs.wrapped, watching=_watching("modules", ((0, 2),), tmp_path))
    own.remove()
    assert any("global hooks" in str(warning.message) for warning in caught)
