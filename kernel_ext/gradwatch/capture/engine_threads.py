"""Breakpoints on autograd's own threads: makes a debugger aware of each before the program's code runs there.

The engine runs nodes of a device on a thread of that device, and re-entrant calls nested deeper than 60 on a
pool. Python started neither, so before Python 3.12 debuggers miss breakpoints in hooks and in custom backward
methods there. One prehook on the first node of a device's thread is enough: the thread and its Python state live
on. On the pool that state ends with the outermost Python frame, so each nested call is followed anew, and a
hook that is itself the outermost frame there is missed.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import torch

from gradwatch.capture import engine_entry
from gradwatch.capture.attached_debugger import is_attached, trace_this_thread
from gradwatch.capture.deep_graphs import sweep
from gradwatch.capture.graph import roots_of, walk
from gradwatch.capture.graph_capture import why_unobservable
from gradwatch.capture.torch_internals import graph_task, is_compiling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch.autograd.graph import Node

    from gradwatch.capture.engine_entry import Entry
    from gradwatch.capture.graph import Walk

_local = threading.local()
_followed_devices: set[torch.device] = set()
_watching: list[bool] = []


def follow_this_thread() -> None:
    """Make the attached debugger aware of this thread, once. From hooks: cheap, and never raises."""
    if getattr(_local, "followed", False):
        return
    try:
        if is_attached():
            _local.followed = True
            if isinstance(threading.current_thread(), threading._DummyThread):  # pyright: ignore[reportAttributeAccessIssue] # what Python takes a thread for that it did not start
                trace_this_thread()
    except Exception:  # noqa: BLE001 # the debugger's internals, in the middle of the program's backward
        _local.followed = True


def watch_engine_threads() -> None:
    """From now on, let breakpoints on autograd's threads be hit whenever a debugger is attached."""
    if not _watching:
        _watching.append(True)
        engine_entry.join(_following)


def unwatch_engine_threads() -> None:
    _watching.clear()
    engine_entry.leave(_following)


def set_multithreading(*, enabled: bool) -> bool:
    """Whether backward calls of this thread may use device threads from now on; returns what held before."""
    before = torch._C._is_multithreading_enabled()
    torch._C._set_multithreading_enabled(enabled)
    return before


def _following(original: Entry) -> Entry:
    def _engine_run_backward(t_outputs: Sequence[Any], *arguments: Any, **options: Any) -> Any:
        if is_compiling() or not is_attached():
            return original(t_outputs, *arguments, **options)
        handles = _follow_first_nodes(t_outputs)
        try:
            return original(t_outputs, *arguments, **options)
        finally:
            for handle in handles:
                handle.remove()
            sweep()

    return _engine_run_backward


def _follow_first_nodes(outputs: Sequence[Any]) -> list[Any]:
    try:
        return [node.register_prehook(_prehook(device)) for node, device in _first_nodes(outputs)]
    except Exception:  # noqa: BLE001 # a graph that cannot be walked is followed nowhere
        return []


def _first_nodes(outputs: Sequence[Any]) -> Iterable[tuple[Node, torch.device | None]]:
    if why_unobservable(outputs) is not None:
        return []
    if graph_task() != -1:  # nested: the engine may move the call to its pool
        return [(root, None) for root in roots_of(outputs)]
    wanted = _devices_in_use() - _followed_devices
    if not wanted:
        return []
    walked = walk(roots_of(outputs))
    devices = [device_of(node) for node in walked.nodes]
    return [(walked.nodes[i], devices[i]) for i in first_on_device(walked, devices) if devices[i] in wanted]


def first_on_device(walked: Walk, devices: Sequence[torch.device | None]) -> list[int]:
    """Positions of the nodes among which the first of each device is: roots, and those reached from another device."""
    crossing = {
        target
        for source, target in zip(walked.edge_source.tolist(), walked.edge_target.tolist(), strict=True)
        if devices[source] != devices[target]
    }
    return sorted(crossing | set(walked.roots))


def device_of(node: Any) -> torch.device | None:
    """The device whose thread runs `node`; None for one that tells nothing of its gradient."""
    for metadata in node._input_metadata:
        return metadata.device
    return None


def _devices_in_use() -> set[torch.device]:
    """Accelerators with work of this process on them: asks nothing of a device that was never used."""
    if not torch.cuda.is_initialized():
        return set()
    has_context: Callable[[int], bool] = getattr(torch._C, "_cuda_hasPrimaryContext")  # noqa: B009  # not in torch's stubs
    return {torch.device("cuda", i) for i in range(torch.cuda.device_count()) if has_context(i)}


def _prehook(device: torch.device | None) -> Callable[[Any], None]:
    def prehook(_: Any) -> None:
        if not is_compiling():
            follow_this_thread()
            if device is not None:
                _followed_devices.add(device)

    return prehook
