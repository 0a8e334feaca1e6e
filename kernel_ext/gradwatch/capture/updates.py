"""What an optimizer step did: the gradient it used, the parameter's norm, and how far it moved.

Up to SAMPLE elements of each parameter are copied before the step and compared after it: all of a small
parameter, evenly spread runs of a large one. No device is waited for.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gradwatch.capture.device_values import DeviceValues, PinnedCopy, is_capturing
from gradwatch.capture.graph import column
from gradwatch.capture.statistics_cpu import CODES, Kernel, load_kernel
from gradwatch.capture.statistics_layout import PLAIN_TYPES, extent_of
from gradwatch.records import OptimizerStep

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradwatch.capture.parameters import ParameterTable
    from gradwatch.capture.row_pool import RowPool
    from gradwatch.capture.statistics import StatisticRows

SAMPLE = 16384
"""Elements of a parameter that are compared; statistics_kernel.c has the same number as SAMPLE_ALL."""


@dataclass(slots=True, eq=False)
class MeasuredStep:
    """One optimizer step whose numbers may still be on their way from the device."""

    optimizer: int
    optimizer_class: str
    subjects: list[int]
    rows: StatisticRows
    gradients: list[int]
    comparisons: list[CpuSamples | DeviceSamples]
    has_closure: bool = False
    used: list[bool] | None = None
    fused_scaling: DeviceValues | None = None
    is_complete: bool = False

    def is_ready(self) -> bool:
        parts = [self.rows, *self.comparisons]
        return all(each.is_ready() for each in parts) and (self.fused_scaling is None or self.fused_scaling.is_ready())

    def is_skip(self) -> bool:
        """Whether the optimizer's own kernel was told of NaN or Inf, and left the parameters as they were."""
        return self.fused_scaling is not None and bool(self.fused_scaling.values()[1])

    def record(self, step: int) -> OptimizerStep:
        """The record, once ready; before that it waits for the device."""
        norms = np.full(len(self.subjects), np.nan)
        ratios = np.full(len(self.subjects), np.nan)
        sampled: list[int] = []
        for each in self.comparisons:
            norms[each.places], ratios[each.places] = each.norms_and_ratios()
            sampled += [self.subjects[i] for i, numel in zip(each.places, each.numels, strict=True) if numel > SAMPLE]
        used: Any = slice(None)
        if self.used is not None:
            used = np.array(self.used, bool)
            sampled = [subject for i, subject in enumerate(self.subjects) if self.used[i] and subject in sampled]
        return OptimizerStep(
            step=step,
            optimizer=self.optimizer,
            optimizer_class=self.optimizer_class,
            subjects=column(np.array(self.subjects)[used], "<u4"),
            columns={
                "gradient_norm": column(self._gradient_norms()[used], "<f4"),
                "parameter_norm": column(norms[used], "<f4"),
                "update_ratio": column(ratios[used], "<f4"),
            },
            sampled=sampled,
        )

    def _gradient_norms(self) -> NDArray[np.float64]:
        rows = np.array(self.gradients, np.int64)
        norms = np.full(len(rows), np.nan)
        norms[rows >= 0] = self.rows.norms(rows[rows >= 0])
        scale = None if self.fused_scaling is None else self.fused_scaling.values()[0]
        return norms / scale if scale else norms


@dataclass(slots=True, eq=False)
class CpuSamples:
    """Samples of plain CPU parameters, taken and compared by the compiled kernel in one call each."""

    places: list[int]
    numels: list[int]
    pointers: list[int]
    _tensors: list[torch.Tensor]
    _arrays: tuple[NDArray[Any], ...]
    _buffer: NDArray[np.uint8]
    _squares: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    @staticmethod
    def of(places: list[int], tensors: list[torch.Tensor]) -> CpuSamples:
        """Room for samples of `tensors`, reused while their data stays where it is."""
        numels = [tensor.numel() for tensor in tensors]
        sizes = [min(n, SAMPLE) * tensor.element_size() for n, tensor in zip(numels, tensors, strict=True)]
        offsets = np.concatenate([[0], np.cumsum([(size + 63) // 64 * 64 for size in sizes])]).astype(np.int64)
        pointers = [tensor.data_ptr() for tensor in tensors]
        kinds = [CODES[tensor.dtype] for tensor in tensors]
        arrays = (np.array(pointers, np.uintp), np.array(numels, np.int64), np.array(kinds, np.int32), offsets)
        return CpuSamples(places, numels, pointers, tensors, arrays, np.empty(int(offsets[-1]), np.uint8))

    def are_in_place(self) -> bool:
        """Whether every tensor's data is where it was: reading elsewhere could end the process."""
        return [tensor.data_ptr() for tensor in self._tensors] == self.pointers

    def take(self) -> None:
        """Copy the samples."""
        pointers = (array.ctypes.data for array in self._arrays)
        _kernel().sample(len(self.numels), *pointers, self._buffer.ctypes.data)

    def compare(self) -> None:
        """Compare the parameters as they are now with their samples."""
        self._squares = np.zeros(2 * len(self.numels))
        data, *others = self._arrays
        if not self.are_in_place():  # the optimizer replaced the data: compare with what is there now
            data = np.array([tensor.data_ptr() for tensor in self._tensors], np.uintp)
        pointers = (array.ctypes.data for array in (data, *others))
        _kernel().update(len(self.numels), *pointers, self._buffer.ctypes.data, self._squares.ctypes.data)
        self._tensors = []  # the step may be written long after the program dropped its model

    def is_ready(self) -> bool:
        return True

    def norms_and_ratios(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return _norms_and_ratios(self._squares[0::2], self._squares[1::2], self.numels)


def _kernel() -> Kernel:
    kernel = load_kernel()
    assert kernel is not None  # noqa: S101  # CpuSamples are made only where there is one
    return kernel


@dataclass(slots=True, eq=False)
class DeviceSamples:
    """Samples of other parameters, compared by torch on their device; the result is copied without waiting."""

    places: list[int] = field(default_factory=list[int])
    tensors: list[torch.Tensor] = field(default_factory=list[torch.Tensor])
    numels: list[int] = field(default_factory=list[int])
    _before: list[torch.Tensor] = field(default_factory=list[torch.Tensor])
    _result: torch.Tensor | PinnedCopy | None = None

    def take(self) -> None:
        self.numels = [tensor.numel() for tensor in self.tensors]
        self._before = [_sample(tensor).clone() for tensor in self.tensors]

    def compare(self) -> None:
        changes = [_sample(tensor) - before for tensor, before in zip(self.tensors, self._before, strict=True)]
        result = torch.stack([_norm(each) for each in [*self._before, *changes]])
        self.tensors, self._before = [], []
        self._result = PinnedCopy(result) if result.is_cuda else result

    def is_ready(self) -> bool:
        return not isinstance(self._result, PinnedCopy) or self._result.has_landed()

    def norms_and_ratios(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        assert self._result is not None  # noqa: S101  # compared before it is read
        result = self._result.landed() if isinstance(self._result, PinnedCopy) else self._result
        before, change = np.split(result.cpu().numpy().astype(float) ** 2, 2)
        return _norms_and_ratios(before, change, self.numels)


@dataclass(slots=True, eq=False)
class Plan:
    """What can be kept from step to step while an optimizer has the same leaves with gradients."""

    identities: list[int]
    leaves: list[torch.Tensor]
    subjects: list[int]
    cpu: CpuSamples | None
    others: list[tuple[int, torch.Tensor]]

    def fits(self, leaves: list[torch.Tensor]) -> bool:
        return self.identities == list(map(id, leaves)) and (self.cpu is None or self.cpu.are_in_place())


class Updates:
    """Measures around optimizer.step(): `before`, then `after` gives what to write."""

    def __init__(self, pool: RowPool) -> None:
        self._pool = pool
        self._open: weakref.WeakKeyDictionary[torch.optim.Optimizer, MeasuredStep] = weakref.WeakKeyDictionary()
        self._plans: weakref.WeakKeyDictionary[torch.optim.Optimizer, Plan] = weakref.WeakKeyDictionary()

    def before(
        self, optimizer: torch.optim.Optimizer, number: int, parameters: ParameterTable, *, has_closure: bool = False
    ) -> None:
        """Read the gradients that the optimizer is about to use, and sample the parameters.

        They are read although a backward call has read them: what a scaler, or the program through `.data`, did
        to them since, no version tells. Those that a closure is yet to make are read by `after`.
        """
        every = (leaf for group in optimizer.param_groups for leaf in group["params"])
        leaves = [leaf for leaf in every if leaf.grad is not None or (has_closure and leaf.requires_grad)]
        plan = self._plans.get(optimizer)
        if plan is None or not plan.fits(leaves):
            plan = self._plans[optimizer] = _plan(leaves, parameters)
        rows = self._pool.new(histogram=False)
        self._open[optimizer] = MeasuredStep(
            optimizer=number,
            optimizer_class=type(optimizer).__name__,
            subjects=plan.subjects,
            rows=rows,
            gradients=[] if has_closure else rows.add_many([leaf.grad for leaf in plan.leaves]),
            comparisons=_sample_all(plan),
            has_closure=has_closure,
            fused_scaling=_fused_scaling(optimizer),
        )

    def after(self, optimizer: torch.optim.Optimizer) -> None:
        """Compare the parameters with their samples."""
        measured = self._open.get(optimizer)
        if measured is not None:
            if measured.has_closure:
                self._read_gradients_of_closure(measured, self._plans[optimizer])
            with torch.no_grad():
                for each in measured.comparisons:
                    each.compare()
            measured.is_complete = True

    def take(self, optimizer: torch.optim.Optimizer) -> MeasuredStep | None:
        """What `before` and `after` measured, None where either did not come to its end."""
        measured = self._open.pop(optimizer, None)
        return measured if measured is not None and measured.is_complete else None

    def _read_gradients_of_closure(self, measured: MeasuredStep, plan: Plan) -> None:
        """Those of its last evaluation. Parameters that it did not reach took no part in the step."""
        measured.used = [leaf.grad is not None for leaf in plan.leaves]
        measured.gradients = measured.rows.add_many([leaf.grad for leaf in plan.leaves])


def _fused_scaling(optimizer: Any) -> DeviceValues | None:
    """What a GradScaler leaves to the optimizer's kernel: the scale to divide by, and whether NaN or Inf was found."""
    given = [getattr(optimizer, name, None) for name in ("grad_scale", "found_inf")]
    return DeviceValues(given) if any(isinstance(each, torch.Tensor) for each in given) else None


def _plan(leaves: list[torch.Tensor], parameters: ParameterTable) -> Plan:
    known = [(watched.id, leaf) for leaf in leaves if (watched := parameters.find(leaf)) is not None]
    data = [(place, _local_data(leaf)) for place, (_, leaf) in enumerate(known)]
    has_kernel = load_kernel() is not None
    plain = [place for place, each in data if each is not None and type(known[place][1]) in PLAIN_TYPES]
    cpu = [place for place in plain if has_kernel and _fits_kernel(known[place][1])]
    return Plan(
        identities=list(map(id, leaves)),
        leaves=[leaf for _, leaf in known],
        subjects=[number for number, _ in known],
        # The leaves themselves: their data may be replaced, which a detached alias would not see.
        cpu=CpuSamples.of(cpu, [known[place][1] for place in cpu]) if cpu else None,
        others=[(place, known[place][1]) for place, each in data if each is not None and place not in cpu],
    )


def _sample_all(plan: Plan) -> list[CpuSamples | DeviceSamples]:
    taken: list[CpuSamples | DeviceSamples] = []
    if plan.cpu is not None:
        plan.cpu.take()
        # A copy of the counts: the step may be written after the next one was measured.
        taken.append(replace(plan.cpu))
    by_device: dict[torch.device, DeviceSamples] = {}
    captured = bool(plan.others) and is_capturing()
    for place, leaf in plan.others:
        data = _local_data(leaf)
        if data is not None and not (captured and data.is_cuda):
            group = by_device.setdefault(data.device, DeviceSamples())
            group.places.append(place)
            group.tensors.append(data)
    with torch.no_grad():
        for each in by_device.values():
            each.take()
    return [*taken, *by_device.values()]


def _local_data(leaf: torch.Tensor) -> torch.Tensor | None:
    """The leaf's own data as a plain dense tensor; None where it has none that can be compared."""
    local = getattr(leaf, "_local_tensor", leaf)
    if type(local) not in PLAIN_TYPES or local.layout is not torch.strided or local.is_meta:
        return None
    if not local.untyped_storage().nbytes():
        return None
    return local.detach() if local.is_floating_point() or local.is_complex() else None


def _fits_kernel(tensor: torch.Tensor) -> bool:
    # A view of a freed storage (FSDP) keeps its offset as an address.
    has_memory = bool(tensor.untyped_storage().nbytes())
    return (
        has_memory and tensor.is_cpu and tensor.is_floating_point() and tensor.dtype in CODES and tensor.is_contiguous()
    )


def _norm(tensor: torch.Tensor) -> torch.Tensor:
    real = torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
    dtype = torch.float64 if real.dtype is torch.float64 else torch.float32
    return torch.linalg.vector_norm(real, dtype=dtype).double()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] # untyped in torch


def _sample(tensor: torch.Tensor) -> torch.Tensor:
    extent = extent_of(tensor)
    # As it lies in memory where that has no holes: to flatten a transposed one would copy it whole.
    flat = tensor.as_strided((extent.numel,), (1,)) if extent.dense and extent.repeat == 1 else tensor.reshape(-1)
    flat = flat[:: max(1, -(-flat.numel() // SAMPLE))]
    return flat.float() if flat.is_floating_point() and flat.element_size() < 4 else flat


def _norms_and_ratios(
    before: NDArray[np.float64], change: NDArray[np.float64], numels: list[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Norms, scaled up where only a sample was read, and ||change|| / ||before|| (NaN for a zero parameter)."""
    scale = np.maximum(np.asarray(numels, float) / SAMPLE, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt(before * scale), np.where(before > 0, np.sqrt(change / before), np.nan)
