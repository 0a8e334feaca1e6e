"""Source lines that nodes know themselves: custom Functions, and what anomaly mode noted in the forward."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import torch

from gradwatch.capture.origins import LIBRARY, Origins
from gradwatch.capture.sites import Place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradwatch.capture.graph import Walk

_FRAME = re.compile(r'  File "(?P<file>.*)", line (?P<line>\d+), in (?P<function>.*)\n')
_KEY = "traceback_"
_SAMPLE = 4


def own_lines(walked: Walk) -> Iterator[tuple[int, Place]]:
    """Node positions with the place that the node itself tells: where it was made, else where it is defined."""
    origins = Origins()
    anomalous = any(_traceback(node) for node in walked.nodes[-_SAMPLE:])
    for position, node in enumerate(walked.nodes):
        place = _made_at(_traceback(node), origins) if anomalous else None
        if place is None and isinstance(node, torch.autograd.function.BackwardCFunction):
            place = _defined_at(getattr(type(node), "_forward_cls", None))
        if place is not None:
            yield position, place


def _traceback(node: Any) -> list[str]:
    """What anomaly mode noted. Asking makes an empty note on the node, so only where some node has one."""
    return node.metadata.get(_KEY, [])


def _made_at(lines: list[str], origins: Origins) -> Place | None:
    for text in reversed(lines):
        frame = _FRAME.match(text)
        if frame is not None and origins[frame["file"]] >= LIBRARY:
            return Place(frame["file"], frame["function"], int(frame["line"]))
    return None


def _defined_at(function: Any) -> Place | None:
    code = getattr(getattr(function, "forward", None), "__code__", None)
    return (
        None
        if code is None
        else Place(code.co_filename, getattr(code, "co_qualname", code.co_name), code.co_firstlineno)
    )
