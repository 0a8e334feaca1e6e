"""The tensors that running code has names for, innermost frame first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from gradwatch.capture.names import readable_locals
from gradwatch.capture.origins import LIBRARY
from gradwatch.capture.sites import Place

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from gradwatch.capture.origins import Origins


def named_tensors(frame: FrameType | None, origins: Origins) -> Iterator[tuple[str, torch.Tensor, Place]]:
    """Variables of frames of the program, and attributes of its `self`, that are tensors: names, and where they run."""
    while frame is not None:
        if origins[frame.f_code.co_filename] >= LIBRARY:
            with readable_locals(frame) as names:
                found = list(_tensors_in(names))
            place = Place(origins.absolute(frame.f_code.co_filename), frame.f_code.co_name, frame.f_lineno)
            yield from ((name, tensor, place) for name, tensor in found)
        frame = frame.f_back


def _tensors_in(names: Any) -> Iterator[tuple[str, torch.Tensor]]:
    for name, value in list(names.items()):
        if issubclass(type(value), torch.Tensor):
            yield name, value
    attributes: dict[str, Any] = getattr(names.get("self"), "__dict__", {})
    for name, value in list(attributes.items()):
        if issubclass(type(value), torch.Tensor):
            yield f"self.{name}", value


def storage_of(tensor: torch.Tensor) -> int:
    """The identity of a tensor's storage; -1 where it has none."""
    try:
        return tensor.untyped_storage()._cdata  # the storage's identity
    except (RuntimeError, NotImplementedError):  # a subclass or layout without one
        return -1
