"""How much of each parameter's gradient is signal and how much is noise, from step to step.

In bursts of WINDOW steps a spread of elements of each gradient is added up just before the optimizer uses it, on its
own device. Steps 0 to 31 are in bursts, and WINDOW steps from each power of two on; the rest cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gradwatch.capture.device_values import READABLE_DEVICES, PinnedCopy, is_capturing
from gradwatch.capture.graph import column
from gradwatch.capture.observers import Observer
from gradwatch.capture.statistics_layout import PLAIN_TYPES, extent_of
from gradwatch.records import GradientNoise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from gradwatch.capture.recording import Recording
    from gradwatch.capture.steps import OpenStep

WINDOW = 16
"""Steps that are looked at together: a mean's own noise is then a sixteenth of the gradient's."""

LEAST = 8
"""A window that the recording's end cuts off is written from so many steps on."""

ELEMENTS = 256
"""Of one parameter, all where it has no more. A bias of so many units is seen whole."""

ALL_ELEMENTS = 1 << 16
"""Of all parameters of an optimizer together: beyond 256 of them each has fewer, but LEAST_ELEMENTS."""

LEAST_ELEMENTS = 8


class NoiseWindows(Observer):
    """Writes a GradientNoise record for each optimizer and window. Keeps sums, no tensor of the program's."""

    name = "gradient noise"

    def start(self, recording: Recording) -> None:
        self._recording = recording
        self._counts: dict[int, int] = {}
        self._open: dict[int, Window] = {}
        self._landing: list[Window] = []

    def before_optimizer(self, optimizer: torch.optim.Optimizer, number: int) -> None:
        count = self._counts[number] = self._counts.get(number, -1) + 1
        if not is_in_burst(count) or is_capturing():
            return
        found = list(self._gradients(optimizer))
        window = self._open.get(number)
        if window is None or starts_burst(count) or not window.count:
            parameters = [parameter for parameter, _ in found]
            window = self._open[number] = Window(parameters, [gradient.numel() for _, gradient in found])
        if not window.takes(found):
            return  # a gradient is missing in this step, or new: the window goes on without the step
        window.add([gradient for _, gradient in found], self._recording.steps.number)
        if window.count == WINDOW:
            self._finish(self._open.pop(number))

    def step_ends(self, step: OpenStep) -> None:
        del step
        while self._landing and self._landing[0].has_landed():
            self._write(self._landing.pop(0))

    def stop(self) -> None:
        if not hasattr(self, "_open"):
            return
        for window in list(self._open.values()):
            if window.count >= LEAST:
                self._finish(window)
        self._open = {}
        for window in self._landing:
            self._write(window)
        self._landing = []

    def _gradients(self, optimizer: torch.optim.Optimizer) -> Iterator[tuple[int, torch.Tensor]]:
        for group in optimizer.param_groups:
            for leaf in group["params"]:
                gradient = _plain(leaf.grad)
                if gradient is not None:
                    watched = self._recording.parameters.find(leaf)
                    if watched is not None:
                        yield watched.id, gradient

    def _finish(self, window: Window) -> None:
        window.start_copies()
        self._landing.append(window)

    def _write(self, window: Window) -> None:
        record = window.record()
        if record is not None:
            self._recording.write(record)


def is_in_burst(step: int) -> bool:
    """Whether gradients of this step, counted by the optimizer, are sampled."""
    return step < 2 * WINDOW or step - (1 << (step.bit_length() - 1)) < WINDOW


def starts_burst(step: int) -> bool:
    """Whether a window begins with this step, whatever came before it."""
    return step in (0, WINDOW) or (step >= 2 * WINDOW and step & (step - 1) == 0)


@dataclass(slots=True)
class HostSums:
    """Of the samples on the CPU, over the steps of a window: sums, squares, which were never but 0, and steps."""

    rows: NDArray[np.float64] = field(default_factory=lambda: np.empty((3, 0)))
    finite_steps: int = 0

    def add(self, parts: list[torch.Tensor]) -> None:
        """A step with NaN or Inf, which a scaler's kernel may yet skip, adds nothing."""
        arrays = [(part.float() if part.dtype is torch.bfloat16 else part).numpy() for part in parts]
        values = np.concatenate(arrays).astype(np.float64)
        if not self.rows.size:
            self.rows = np.stack([np.zeros_like(values), np.zeros_like(values), np.ones_like(values)])
        if np.isfinite(values).all():
            self.finite_steps += 1
            self.rows[0] += values
            self.rows[1] += values * values
            self.rows[2] *= values == 0

    def start_copy(self) -> None:
        """What it has is there already."""

    def has_landed(self) -> bool:
        return True

    def landed(self) -> NDArray[np.float64]:
        return np.append(self.rows.ravel(), self.finite_steps)


@dataclass(slots=True)
class DeviceSums:
    """The same on a device: one tensor (totals, squares, silent, one after the other) and a count of finite steps."""

    rows: torch.Tensor | None = None
    finite_steps: torch.Tensor | None = None
    result: torch.Tensor | PinnedCopy | None = None

    def add(self, parts: list[torch.Tensor]) -> None:
        samples = torch.cat(parts).double()
        if self.rows is None or self.finite_steps is None:
            zeros = torch.zeros_like(samples)
            self.rows = torch.stack([zeros, zeros, torch.ones_like(samples)])
            self.finite_steps = zeros.new_zeros(1)
        finite = torch.isfinite(samples).all()
        values = torch.where(finite, samples, torch.zeros_like(samples))
        self.rows[0] += values
        self.rows[1] += values * values
        self.rows[2] *= values == 0
        self.finite_steps += finite

    def start_copy(self) -> None:
        assert self.rows is not None  # noqa: S101 # a window that ends has samples
        assert self.finite_steps is not None  # noqa: S101 # as above
        result = torch.cat([self.rows.reshape(-1), self.finite_steps])
        self.result = PinnedCopy(result) if result.is_cuda else result

    def has_landed(self) -> bool:
        return not isinstance(self.result, PinnedCopy) or self.result.has_landed()

    def landed(self) -> NDArray[np.float64]:
        assert self.result is not None  # noqa: S101 # its copy was begun
        landed = self.result.landed() if isinstance(self.result, PinnedCopy) else self.result
        return landed.numpy()


@dataclass(slots=True)
class Window:
    """Samples of the gradients of some parameters (ids, and elements of each) over some steps."""

    parameters: list[int]
    sizes: list[int]
    count: int = 0
    step: int = -1
    places: dict[torch.device, list[int]] = field(default_factory=dict[torch.device, list[int]])
    sums: dict[torch.device, HostSums | DeviceSums] = field(default_factory=dict[torch.device, "HostSums | DeviceSums"])

    def takes(self, found: list[tuple[int, torch.Tensor]]) -> bool:
        return self.parameters == [number for number, _ in found] and self.sizes == [each.numel() for _, each in found]

    def add(self, gradients: list[torch.Tensor], step: int) -> None:
        self.step = step
        self.count += 1
        if not self.places:
            for place, gradient in enumerate(gradients):
                self.places.setdefault(gradient.device, []).append(place)
        with torch.no_grad():
            for device, places in self.places.items():
                parts = [_spread(gradients[place], self._stride(place)) for place in places]
                if device.type == "cpu":
                    self.sums.setdefault(device, HostSums()).add(parts)
                else:
                    self.sums.setdefault(device, DeviceSums()).add(parts)

    def _elements(self, place: int) -> int:
        return -(-self.sizes[place] // self._stride(place))

    def _stride(self, place: int) -> int:
        limit = min(ELEMENTS, max(LEAST_ELEMENTS, ALL_ELEMENTS // len(self.sizes)))
        return -(-self.sizes[place] // limit)

    def start_copies(self) -> None:
        for sums in self.sums.values():
            sums.start_copy()

    def has_landed(self) -> bool:
        return all(sums.has_landed() for sums in self.sums.values())

    def record(self) -> GradientNoise | None:
        """What was found; waits for what has not landed. None where fewer than LEAST steps were finite."""
        rows = np.zeros((len(self.sizes), 4))
        steps = WINDOW
        for device, places in self.places.items():
            landed = self.sums[device].landed()
            steps = min(steps, int(landed[-1]))
            parts = np.split(
                np.reshape(landed[:-1], (3, -1)), np.cumsum([self._elements(place) for place in places]), axis=1
            )
            for place, part in zip(places, parts, strict=False):
                rows[place] = _signal_and_noise(part, int(landed[-1]), self.sizes[place])
        if steps < LEAST:
            return None
        names = ("signal", "noise", "sampled", "silent")
        columns = {
            name: column(values, "<f4" if name in ("signal", "noise") else "<u4")
            for name, values in zip(names, np.transpose(rows), strict=True)
        }
        return GradientNoise(self.step, steps, column(self.parameters, "<u4"), **columns)


def _signal_and_noise(sums: NDArray[np.float64], steps: int, size: int) -> tuple[float, float, int, int]:
    """Squared norm of the mean without what noise adds to it, summed variance, samples, and silent ones."""
    totals, squares, silent = sums
    sampled = len(totals)
    if steps < 2 or not sampled:
        return 0.0, 0.0, sampled, 0
    mean = totals / steps
    variance = np.maximum(squares - steps * mean * mean, 0) / (steps - 1)
    scale = size / sampled
    signal = float((mean * mean - variance / steps).sum()) * scale
    return signal, float(variance.sum()) * scale, sampled, int(silent.sum())


def _plain(gradient: Any) -> torch.Tensor | None:
    """A gradient, or this rank's part of it, that can be read in place; None for sparse and foreign ones."""
    local = getattr(gradient, "_local_tensor", gradient)
    if type(local) not in PLAIN_TYPES or local.layout is not torch.strided or local.device.type not in READABLE_DEVICES:
        return None
    readable = local.is_floating_point() and local.numel() and local.untyped_storage().nbytes()
    return local.detach() if readable else None


def _spread(gradient: torch.Tensor, stride: int) -> torch.Tensor:
    """Every so many elements, always the same ones; a view where the gradient lies in one piece."""
    extent = extent_of(gradient)
    flat = gradient.as_strided((extent.numel,), (1,)) if extent.dense and extent.repeat == 1 else gradient.reshape(-1)
    return flat[::stride]
