"""The gradients that the running node was given, and made, where a frame of the stopped stack holds them.

A condition of ours, a custom `backward` (its first argument is the node), or a hook: what the engine calls itself
has known arguments. Elsewhere nobody but the engine has them, and they are not known.
"""

from __future__ import annotations

from inspect import CO_VARARGS
from typing import TYPE_CHECKING, Any

import torch

from gradwatch.capture.fired import is_engine_entry
from gradwatch.capture.stopped_frame import frame_locals, standing_above

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import FrameType

    Found = tuple[list[torch.Tensor], list[torch.Tensor]]


def running_gradients(frame: FrameType | None, node: Any) -> Found:
    """Gradients of the node's outputs, and of its inputs where it has run; empty where they are not known."""
    for standing in standing_above(frame):
        if is_engine_entry(standing.frame):
            break
        with frame_locals(standing) as local:
            found = _held_by(standing.frame, local, node)
        if found is not None:
            return found
    return [], []


def _held_by(frame: FrameType, local: Mapping[str, Any], node: Any) -> Found | None:
    if frame.f_globals.get("__name__") == "__gradwatch__":
        return _tensors(local.get("grad_outputs")), _tensors(local.get("grad_inputs"))
    given = _arguments(frame, local)
    if given and given[0] is node:
        return _tensors(given[1:]), []
    if frame.f_back is None or is_engine_entry(frame.f_back):
        return _of_hook(given, node)
    return None


def _arguments(frame: FrameType, local: Mapping[str, Any]) -> list[Any]:
    code = frame.f_code
    names = code.co_varnames[: code.co_argcount]
    found = [local.get(name) for name in names]
    if code.co_flags & CO_VARARGS:
        more: Any = local.get(code.co_varnames[code.co_argcount + code.co_kwonlyargcount])
        found += more if isinstance(more, tuple) else ()
    return found


def _of_hook(given: Sequence[Any], node: Any) -> Found | None:
    """What the engine gives to a hook on a node (tuples) or on a tensor. A method's own object is passed over."""
    tuples: list[tuple[Any, ...]] = [each for each in given if type(each) is tuple]
    outputs = node._input_metadata
    if len(tuples) == 2 and len(tuples[1]) == len(outputs):
        return _tensors(tuples[1]), _tensors(tuples[0])
    if len(tuples) == 1 and len(tuples[0]) == len(outputs):
        return _tensors(tuples[0]), []
    tensors = [each for each in given if isinstance(each, torch.Tensor)]
    if len(tensors) != 1 or tuples or len(outputs) != 1 or tensors[0] is getattr(node, "variable", None):
        return None
    return (tensors, []) if tuple(tensors[0].shape) == tuple(outputs[0].shape) else None


def _tensors(values: Any) -> list[torch.Tensor]:
    if not isinstance(values, (tuple, list)):
        return []
    return [each for each in values if isinstance(each, torch.Tensor)]  # pyright: ignore[reportUnknownVariableType]  # the engine's
