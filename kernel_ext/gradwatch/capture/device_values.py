"""Values of one-element tensors: at once on the CPU, from a device copied without waiting for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from gradwatch.capture.torch_internals import is_functorch

if TYPE_CHECKING:
    from collections.abc import Sequence

READABLE_DEVICES = ("cpu", "cuda")
CAPTURED = (
    "Backward ran while a CUDA graph was being captured: no value is read there, and replays of that graph run no "
    "hooks, so that nothing of their steps is seen."
)


def is_capturing() -> bool:
    """Whether the program captures a CUDA graph on this thread: no call of ours to CUDA may become part of it.

    Asks nothing where CUDA was not begun: asking would begin it.
    """
    return torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing()


def is_readable(tensor: object) -> bool:
    """Whether this is a plain real tensor of one element whose value can be had without waiting."""
    return (
        type(tensor) is torch.Tensor
        and not is_functorch(tensor)
        and tensor.device.type in READABLE_DEVICES
        and tensor.layout is torch.strided
        and tensor.numel() == 1
        and not tensor.is_complex()
        and not (tensor.is_cuda and is_capturing())
    )


class DeviceValues:
    """Values of tensors as they are now; floats are theirs already, and what is not readable reads None.

    To be made inside `unseen()`.
    """

    __slots__ = ("_copies", "_values")

    def __init__(self, tensors: Sequence[object]) -> None:
        self._values: list[float | None] = [None] * len(tensors)
        self._copies: list[_Copy] = []
        by_device: dict[torch.device, list[tuple[int, torch.Tensor]]] = {}
        for place, tensor in enumerate(tensors):
            if isinstance(tensor, float):
                self._values[place] = tensor
            if not isinstance(tensor, torch.Tensor) or not is_readable(tensor):
                continue
            if tensor.is_cuda:
                by_device.setdefault(tensor.device, []).append((place, tensor))
            else:
                self._values[place] = float(tensor.detach().double().item())
        self._copies = [_Copy(device, found) for device, found in by_device.items()]

    def is_ready(self) -> bool:
        """Whether `values` would return at once. Never waits."""
        return all(copy.has_landed() for copy in self._copies)

    def values(self) -> list[float | None]:
        """The values in the order of the tensors; waits for a device whose copy has not landed."""
        for copy in self._copies:
            for place, value in copy.take():
                self._values[place] = value
        self._copies = []
        return self._values


class PinnedCopy:
    """A copy of a device's tensor on its way into pinned memory, on the stream that is current."""

    __slots__ = ("_arrived", "_landed")

    def __init__(self, tensor: torch.Tensor) -> None:
        with torch.cuda.device(tensor.device):
            self._landed = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu", pin_memory=True)
            self._landed.copy_(tensor, non_blocking=True)
            self._arrived: Any = torch.cuda.Event()
            self._arrived.record()

    def has_landed(self) -> bool:
        """Whether `landed` would return at once. Never waits."""
        return self._arrived.query()

    def landed(self) -> torch.Tensor:
        """The copy on the CPU; waits for it."""
        self._arrived.synchronize()
        return self._landed


class _Copy:
    """One copy of the values of a device."""

    __slots__ = ("_copy", "_places")

    def __init__(self, device: torch.device, found: list[tuple[int, torch.Tensor]]) -> None:
        self._places = [place for place, _ in found]
        with torch.cuda.device(device):
            self._copy = PinnedCopy(torch.stack([tensor.detach().reshape(()).double() for _, tensor in found]))

    def has_landed(self) -> bool:
        return self._copy.has_landed()

    def take(self) -> list[tuple[int, float]]:
        return [(place, float(value)) for place, value in zip(self._places, self._copy.landed().numpy(), strict=True)]
