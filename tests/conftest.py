"""Fixtures of all tests: nothing of ours may outlive a test, and `record` runs a program under the recorder.

Nothing here imports torch: tests of the rooms without it share this file.
"""

from __future__ import annotations

import sys
import threading
from importlib import import_module
from pathlib import Path
from types import BuiltinFunctionType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gradwatch import Session

    Record = Callable[..., Session]


@pytest.fixture(autouse=True)
def _nothing_of_ours_is_left() -> Iterator[None]:
    assert traces() == [], "there before this test"
    yield
    found = traces()
    _drop_saved_tensor_hooks()  # so that only the test that left them fails
    _forget_compiling()
    assert found == [], "left by this test"


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    """Record `program()` to a new file and return the opened session. Options are those of `watch`."""
    from gradwatch import open as open_session
    from gradwatch import watch

    opened: list[Session] = []

    def record(program: Callable[[], object], model: Any = None, **options: Any) -> Session:
        path = tmp_path / f"{len(opened)}.gradwatch"
        with watch(model, path, **options):
            program()
        session = open_session(path)
        opened.append(session)
        return session

    yield record
    for session in opened:
        session.close()


def traces() -> list[str]:
    """Everything of gradwatch's that is at work in this process now."""
    found = [*_threads(), *_open_sessions(), *_monitoring_tools()]
    if "torch" in sys.modules:
        found += [*_hooks(), *_stand_ins(), *_saved_tensor_hooks(), *_function_modes(), *_recorders()]
    return found


def _threads() -> list[str]:
    return [f"thread {thread.name}" for thread in threading.enumerate() if thread.name.startswith("gradwatch")]


def _open_sessions() -> list[str]:
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():  # only Linux tells
        return []
    targets = [str(entry.readlink()) for entry in descriptors.iterdir() if entry.is_symlink()]
    return [f"open file {target}" for target in targets if target.removesuffix(" (deleted)").endswith(".gradwatch")]


def _monitoring_tools() -> list[str]:
    monitoring: Any = getattr(sys, "monitoring", None)
    if monitoring is None:
        return []
    names = [monitoring.get_tool(number) for number in range(6)]
    return [f"sys.monitoring tool {name}" for name in names if name and name.startswith("gradwatch")]


def _hooks() -> list[str]:
    module: Any = import_module("torch.nn.modules.module")
    optimizer: Any = import_module("torch.optim.optimizer")
    tables = {
        "global forward hook": module._global_forward_hooks,
        "global forward pre-hook": module._global_forward_pre_hooks,
        "global backward hook": module._global_backward_hooks,
        "global backward pre-hook": module._global_backward_pre_hooks,
        "module registration hook": module._global_module_registration_hooks,
        "optimizer pre-hook": optimizer._global_optimizer_pre_hooks,
        "optimizer post-hook": optimizer._global_optimizer_post_hooks,
    }
    return [f"{what} {hook}" for what, table in tables.items() for hook in table.values()]


def _stand_ins() -> list[str]:
    """Functions of torch's that are not torch's own now."""
    import torch

    found: list[str] = []
    for place in (torch.autograd, torch.autograd.graph):
        function: Any = vars(place)["_engine_run_backward"]
        if function.__code__.co_filename != torch.autograd.graph.__file__:
            found.append(f"{place.__name__}._engine_run_backward is {function}")
    if "__enter__" in vars(getattr(import_module("torch.utils.checkpoint"), "_recomputation_hook", object)):
        found.append("the entry of a checkpoint's recomputation")
    for name, function in vars(vars(torch._C)["_autograd"]).items():
        if "saved_tensors" in name and type(function) is not BuiltinFunctionType:
            found.append(f"torch._C._autograd.{name} is {function}")
    if Path(torch.utils.swap_tensors.__code__.co_filename) != Path(str(torch.utils.__file__)):
        found.append(f"torch.utils.swap_tensors is {torch.utils.swap_tensors}")
    scaler: Any = torch.amp.GradScaler
    methods = {name: vars(scaler)[name] for name in ("__init__", "scale", "step")}
    found += [
        f"GradScaler.{name} is {method}"
        for name, method in methods.items()
        if Path(method.__code__.co_filename).name != "grad_scaler.py"
    ]
    return [*found, *_compiler_stand_ins()]


def _compiler_stand_ins() -> list[str]:
    """Ours that tell when the compiler works, and that keep it from our hooks."""
    import torch

    asked: Any = vars(sys.modules["torch.nn.modules.module"])["_has_any_global_hook"]
    handler: Any = getattr(sys.modules.get("torch._dynamo.callback"), "callback_handler", None)
    graphs: Any = sys.modules.get("torch._functorch._aot_autograd.graph_compile")
    partition: Any = getattr(graphs, "_aot_stage2a_partition", None)
    found = ["torch.compile"] if hasattr(torch.compile, "gradwatch_stands_in") else []
    found += [f"callback_handler.{name}" for name in vars(handler or object) if name.startswith("run_") and handler]
    for function in (asked, partition):
        if function is not None and "gradwatch" in function.__code__.co_filename:
            found.append(str(function))
    return found


def _saved_tensor_hooks() -> list[str]:
    import torch

    autograd: Any = vars(torch._C)["_autograd"]
    top = autograd._top_saved_tensors_default_hooks(True)  # noqa: FBT003  # torch's own signature
    why_disabled = autograd._saved_tensors_hooks_get_disabled_error_message()
    found = [] if top is None else [f"saved-tensor hooks {top}"]
    return found if why_disabled is None else [*found, f"saved-tensor hooks are disabled: {why_disabled}"]


def _function_modes() -> list[str]:
    import torch

    stack = [torch._C._get_function_stack_at(at) for at in range(torch._C._len_torch_function_stack())]
    return [f"function mode {mode}" for mode in stack if type(mode).__module__.startswith("gradwatch")]


def _forget_compiling() -> None:
    """Clear the compiler's counts and backends: a program that compiles gets no new global hooks, and no trace."""
    dynamo: Any = sys.modules.get("torch._dynamo.utils")
    if dynamo is not None:
        dynamo.counters.clear()
    frames: Any = sys.modules.get("torch._dynamo.eval_frame")
    if frames is not None:
        frames.cached_backends.clear()


def _drop_saved_tensor_hooks() -> None:
    if "torch" in sys.modules:
        autograd: Any = vars(sys.modules["torch._C"])["_autograd"]
        while autograd._top_saved_tensors_default_hooks(True) is not None:  # noqa: FBT003  # as above
            autograd._pop_saved_tensors_default_hooks()


def _recorders() -> list[str]:
    recorder: Any = sys.modules.get("gradwatch.capture.recorder")
    running = None if recorder is None else recorder.running()
    return [] if running is None else [f"running {running}"]
