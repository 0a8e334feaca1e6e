"""How far a backward call has come, while it is running: its graph's roots, the running node, what has fired.

NOTE [What has fired]
The engine takes, of the nodes whose dependents have all run, the one with the highest sequence number; leaves
count as the highest (torch/csrc/autograd/engine.cpp, CompareNodeTaskTime). Where every node is numbered below
the nodes that use its result, and one queue holds all of them (one device), every node numbered above the
running one has therefore run: of it and its dependents one would have been ready, and would have been taken
first. A leaf runs before any other node once its last dependent has run.
"""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gradwatch.capture.engine_entry import engine_options
from gradwatch.capture.stopped_frame import Standing, frame_locals
from gradwatch.capture.torch_internals import current_node, graph_task
from gradwatch.records import NODE_STATES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from numpy.typing import NDArray
    from torch.autograd.graph import Node

    from gradwatch.capture.graph import Walk

PENDING, FIRED, RUNNING, UNKNOWN = range(len(NODE_STATES))


@dataclass(frozen=True, slots=True)
class RunningCall:
    """A call into the engine that has not returned.

    `inputs` are the nodes, and the leaf tensors, that it computes gradients of; None: every leaf's.
    """

    roots: list[Node]
    inputs: list[Any] | None
    accumulates: bool
    retain_graph: bool
    create_graph: bool
    node: Any
    caller: FrameType | None


def running_call(frame: FrameType | None) -> RunningCall | None:
    """The innermost engine call around `frame`, a frame of the calling thread; None outside of one."""
    if graph_task() < 0:
        return None
    node = current_node()
    own = next(_engine_frames(frame), None)
    if own is not None:
        return _call_of(own, node)
    calls = [_call_of(standing, node) for standing in _engine_frames_of_others()]
    calls = [call for call in calls if call is not None]
    if len(calls) > 1:
        calls = [call for call in calls if _reaches(call, node)]
    return calls[0] if len(calls) == 1 else None


def _engine_frames(frame: FrameType | None) -> Iterator[Standing]:
    """Frames of torch's `_engine_run_backward` from `frame` outwards."""
    callee = None
    while frame is not None:
        if is_engine_entry(frame):
            yield Standing(frame, callee)
        frame, callee = frame.f_back, frame


def is_engine_entry(frame: FrameType) -> bool:
    """Whether a frame is torch's own Python entry to the engine."""
    code = frame.f_code
    return code.co_name == "_engine_run_backward" and code.co_filename == torch.autograd.graph.__file__


def _engine_frames_of_others() -> Iterator[Standing]:
    """Of each other thread the innermost engine call: this thread works for one of them."""
    mine = threading.get_ident()
    for thread, frame in sys._current_frames().items():
        if thread != mine:
            innermost = next(_engine_frames(frame), None)
            if innermost is not None:
                yield innermost


def _call_of(standing: Standing, node: Any) -> RunningCall | None:
    with frame_locals(standing) as names:
        outputs: Any = names.get("t_outputs")
        arguments: Any = names.get("args")
        options: Any = names.get("kwargs")
    if not isinstance(arguments, tuple) or not isinstance(options, dict) or not isinstance(outputs, (tuple, list)):
        return None
    given: dict[str, Any] = engine_options(arguments, options)  # pyright: ignore[reportUnknownArgumentType]  # torch's
    inputs: Any = given.get("inputs")
    return RunningCall(
        roots=[each for each in _nodes_or_leaves(outputs) if not isinstance(each, torch.Tensor)],
        inputs=_nodes_or_leaves(inputs) if inputs else None,
        accumulates=bool(given.get("accumulate_grad")),
        retain_graph=bool(given.get("retain_graph")),
        create_graph=bool(given.get("create_graph")),
        node=node,
        caller=standing.frame.f_back,
    )


def _nodes_or_leaves(tensors: Any) -> list[Any]:
    """Where gradients flow from, or to. A leaf's node cannot be asked for without making another one."""
    found: list[Any] = []
    for tensor in tensors:
        if not isinstance(tensor, torch.Tensor):
            found.append(tensor.node)  # a gradient edge
        elif tensor.requires_grad:
            found.append(tensor if tensor.grad_fn is None else tensor.grad_fn)
    return list({id(each): each for each in found}.values())


def _reaches(call: RunningCall, node: Any) -> bool:
    seen = set(call.roots)
    waiting = list(seen)
    while waiting:
        at = waiting.pop()
        if at is node:
            return True
        for target, _ in at.next_functions:
            if target is not None and target not in seen:
                seen.add(target)
                waiting.append(target)
    return False


def node_states(walked: Walk, call: RunningCall) -> tuple[int, NDArray[np.uint8]]:
    """The running node's position (-1: not in the graph), and an index into NODE_STATES for each node."""
    running = next((i for i, node in enumerate(walked.nodes) if node is call.node), -1)
    states = np.full(len(walked.nodes), UNKNOWN, np.uint8)
    if running >= 0 and walked.expanded < 0 and _is_ordered(walked) and len(_devices(walked)) <= 1:
        states = _states_by_order(walked, running, needed(walked, call))
    if running >= 0:
        states[running] = RUNNING
    return running, states


def _states_by_order(walked: Walk, running: int, needed: NDArray[np.bool_]) -> NDArray[np.uint8]:
    is_leaf = walked.numbers < 0
    # A leaf counts as run where the last node that uses it has: the engine takes it at once after that one.
    numbers = np.where(is_leaf, _lowest_dependents(walked, needed), walked.numbers)
    now = numbers[running]
    equal = numbers == now
    states = np.where(numbers > now, FIRED, PENDING)
    if is_leaf[running]:
        states[equal & ~is_leaf] = FIRED
        states[equal & is_leaf] = UNKNOWN  # ready together with the running one: the engine's heap chose
    if (equal & ~is_leaf).sum() > 1:  # numbered alike by another thread
        states[equal] = UNKNOWN
    states[~needed] = PENDING
    return states.astype(np.uint8)


def _lowest_dependents(walked: Walk, needed: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The lowest number among the nodes that use each node's result (int64, shape (nodes,)); for a root, its own."""
    none = np.iinfo(np.int64).max
    lowest = np.full(len(walked.nodes), none, np.int64)
    used = needed[walked.edge_source]
    np.minimum.at(lowest, walked.edge_target[used], walked.numbers[walked.edge_source[used]])
    return lowest


def _is_ordered(walked: Walk) -> bool:
    """Whether every node is numbered below those that use its result; another thread's numbers betray themselves."""
    inner = walked.numbers[walked.edge_target] >= 0
    return bool((walked.numbers[walked.edge_source[inner]] > walked.numbers[walked.edge_target[inner]]).all())


def _devices(walked: Walk) -> set[Any]:
    return {meta.device for node in walked.nodes for meta in _metadata(node)}


def _metadata(node: Any) -> Any:
    return node._input_metadata


def needed(walked: Walk, call: RunningCall) -> NDArray[np.bool_]:
    """Which nodes the call runs (bool, shape (nodes,)): all, or those on a way to one of its inputs.

    `torch.autograd.grad` takes the gradient on its way into an input's node and does not run that one.
    """
    if call.inputs is None:
        return np.ones(len(walked.nodes), bool)
    inputs = {id(each) for each in call.inputs}
    wanted = [id(node) in inputs for node in walked.nodes]
    for position, leaf in walked.leaves():
        wanted[position] = wanted[position] or id(leaf) in inputs
    order = np.argsort(walked.edge_source, kind="stable")  # forward order: what a node uses comes before it
    edges = list(zip(walked.edge_source[order].tolist(), walked.edge_target[order].tolist(), strict=True))
    for source, target in edges:
        wanted[source] = wanted[source] or wanted[target]
    if call.accumulates:
        return np.array(wanted, bool)
    runs = np.zeros(len(wanted), bool)
    runs[[source for source, target in edges if wanted[target]]] = True
    return runs
