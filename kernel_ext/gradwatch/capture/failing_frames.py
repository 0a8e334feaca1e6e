"""The frames that an exception went through, or that are running, and the graphs that their variables reach."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from gradwatch.capture.names import readable_locals

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType, FrameType

MAX_FRAMES = 200
"""Of a recursion without end the innermost ones are enough."""

MAX_ITEMS = 64
"""Looked at in one container of a frame."""


_OURS = str(Path(__file__).parent.parent)
"""What our stand-ins and modes hold is not the program's."""


@dataclass(slots=True)
class FailedFrame:
    """A frame: its code, where in it the exception came from, and its variables as they are."""

    code: CodeType
    instruction: int
    values: dict[str, Any] = field(default_factory=dict[str, Any])


def frames_of(error: BaseException) -> list[FailedFrame]:
    """The frames of an exception's traceback, innermost last."""
    found: list[FailedFrame] = []
    trace = error.__traceback__
    while trace is not None:
        if not _is_ours(trace.tb_frame.f_code):
            found.append(FailedFrame(trace.tb_frame.f_code, trace.tb_lasti, _values(trace.tb_frame)))
        trace = trace.tb_next
    return found[-MAX_FRAMES:]


def frames_of_stack(frame: FrameType | None) -> list[FailedFrame]:
    """The frames that are running, innermost last."""
    found: list[FailedFrame] = []
    while frame is not None and len(found) < MAX_FRAMES:
        if not _is_ours(frame.f_code):
            found.append(FailedFrame(frame.f_code, frame.f_lasti, _values(frame)))
        frame = frame.f_back
    return found[::-1]


def _is_ours(code: CodeType) -> bool:
    return code.co_filename.startswith(_OURS)


def _values(frame: FrameType) -> dict[str, Any]:
    if frame.f_code.co_name == "<module>":
        return dict(frame.f_globals)
    with readable_locals(frame) as names:
        return dict(names)


def graph_tensors(frames: list[FailedFrame]) -> list[torch.Tensor]:
    """Tensors with a graph behind them that the frames' variables hold, each node once."""
    found: dict[Any, torch.Tensor] = {}
    for frame in frames:
        for value in frame.values.values():
            for tensor in _tensors(value):
                node = tensor.grad_fn
                if node is not None:
                    found.setdefault(node, tensor)
    return list(found.values())


def _kind(value: object) -> type[Any]:
    return type(value)  # of the object itself: a proxy of the program's may claim another class


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    kind = _kind(value)
    if issubclass(kind, torch.Tensor):
        yield value
    elif kind in (list, tuple):
        yield from (item for item in value[:MAX_ITEMS] if issubclass(type(item), torch.Tensor))
    elif kind is dict:
        items = list(value.values())[:MAX_ITEMS]
        yield from (item for item in items if issubclass(type(item), torch.Tensor))
