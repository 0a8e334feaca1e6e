"""What was held when memory ran out: written, and on disk, before the exception goes on to the program.

Of a device's allocator the instant itself is seen (its observer runs before it raises, so also where the program
catches the error); else the instant is when backward raised, or when the program did and nothing of its own caught it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from gradwatch.capture.failing_frames import FailedFrame, frames_of, frames_of_stack, graph_tensors
from gradwatch.capture.held import HELD_CLASSES, bytes_by_class, class_indices
from gradwatch.capture.ledger import SavedRows, read_saved
from gradwatch.capture.lines import current_frame
from gradwatch.capture.observers import Observer
from gradwatch.capture.origins import LIBRARY, PROJECT
from gradwatch.capture.probes import Probe
from gradwatch.capture.sites import CALL
from gradwatch.capture.statistics_layout import unseen
from gradwatch.records import TENSOR_CLASSES, OutOfMemory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gradwatch.capture.backward import BackwardCall
    from gradwatch.capture.recording import Recording
    from gradwatch.records import BirthPhase

PATIENCE_S = 5.0
"""How long the exception is kept back for the file: as the process may be killed next, it is worth a wait."""

HOST_MESSAGES = ("can't allocate memory", "not enough memory", "Cannot allocate memory")
"""What torch's allocator for the CPU says, in a RuntimeError; the second on Windows."""

_BYTES = re.compile(r"[Tt]ried to allocate ([\d.]+) (bytes|[KMGT]iB)")
_UNITS = {"bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}

_DEVICE = re.compile(r"\b(?:GPU|XPU|device) (\d+)")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, a device's or the host's."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return type(error) is RuntimeError and any(text in str(error) for text in HOST_MESSAGES)


def requested_bytes(message: str) -> int:
    """What the failing op asked for, as the allocator's message has it; -1 where it does not say."""
    found = _BYTES.search(message)
    return -1 if found is None else int(float(found[1]) * _UNITS[found[2]])


@dataclass(slots=True)
class AllocatorNumbers:
    """What a device's allocator says of itself, bytes; -1 not known. The host's says nothing."""

    device: str = "cpu"
    allocated: int = -1
    reserved: int = -1
    total: int = -1
    free_in_pool: int = -1


@dataclass(slots=True)
class Instant:
    """The graph that was alive, and what it held then."""

    graph: int = -1
    ledger: int = -1
    op: str = ""
    class_bytes: list[int] | None = None

    @property
    def held_bytes(self) -> int:
        if self.class_bytes is None:
            return -1
        pairs = zip(TENSOR_CLASSES, self.class_bytes, strict=True)
        return sum(size for name, size in pairs if name in HELD_CLASSES)


class OutOfMemoryWatch(Observer):
    """Writes OutOfMemory records. Keeps nothing alive; the error it has told of is known by a weak word of it."""

    name = "out of memory"

    def start(self, recording: Recording) -> None:
        self._recording = recording
        self._probe = Probe(self.name, recording.tell)
        self._told: int = 0
        self._awaits_error = False
        observe_allocator(self._allocator_fails)

    def stop(self) -> None:
        receivers.clear()

    def step_begins(self, number: int) -> None:
        self._awaits_error = False
        if not number & (number - 1):  # a device may be set up after the recording began
            observe_allocator(self._allocator_fails)

    def backward_fails(self, call: BackwardCall, error: BaseException) -> None:
        if is_out_of_memory(error) and not self._is_told(error):
            self._write(error, "backward", self._in_backward(call), frames_of(error))

    def program_fails(self, error: BaseException) -> None:
        for each in _causes(error):
            if is_out_of_memory(each) and not self._is_told(each):
                frames = frames_of(each)
                self._write(each, "forward", self._alive(frames), frames)
                return

    def _is_told(self, error: BaseException) -> bool:
        known = self._told == id(error) or (self._awaits_error and isinstance(error, torch.OutOfMemoryError))
        self._told, self._awaits_error = id(error), False
        return known

    def _allocator_fails(self, device: int, requested: int, total: int, _free: int) -> None:
        """The allocator is about to raise, on this thread, in the middle of the program's op."""
        if not self._probe.enabled:
            return
        try:
            with unseen():
                call = self._recording.calls.current()
                frames = frames_of_stack(current_frame(1))
                instant = self._alive(frames) if call is None else self._in_backward(call)
                error = torch.OutOfMemoryError(f"The device's allocator had no {requested} bytes left of {total}.")
                phase: BirthPhase = "forward" if call is None else "backward"
                self._write(error, phase, instant, frames, (device, requested))
                self._awaits_error = True
        except Exception:  # noqa: BLE001 # whatever failed is ours, never the program's
            self._probe.failed()

    def _in_backward(self, call: BackwardCall) -> Instant:
        """What the running call's graph still holds: nodes that ran have let go of theirs."""
        if call.walk is None or call.saved is None:
            return Instant(call.graph, call.ledger, class_bytes=call.class_bytes or None)
        rows = read_saved(call.walk.nodes)
        classes = class_indices(rows, self._recording.graph.class_of)
        return Instant(call.graph, call.ledger, _running_op(call, rows), bytes_by_class(rows, classes))

    def _alive(self, frames: list[FailedFrame]) -> Instant:
        """The graph behind the tensors that the failing frames reach: a forward that did not end."""
        tensors = graph_tensors(frames)
        if not tensors:
            return Instant()
        recording = self._recording
        call = recording.call_of_now()
        try:
            recording.graph.read(call, tensors)
            return Instant(call.graph, call.ledger, class_bytes=call.class_bytes or None)
        finally:
            call.walk = call.saved = None
            recording.rows.let_go(call.rows)

    def _write(
        self,
        error: BaseException,
        phase: BirthPhase,
        instant: Instant,
        frames: list[FailedFrame],
        seen: tuple[int, int] | None = None,
    ) -> None:
        recording, message = self._recording, str(error)
        numbers = allocator_numbers(error, seen[0] if seen is not None else None)
        record = OutOfMemory(
            step=recording.steps.number,
            phase=phase,
            device=numbers.device,
            message=message.partition("\n")[0][:1000],
            op=(instant.op if phase == "backward" else "") or self._op(frames) or instant.op,
            module=self._module(frames),
            site=self._site(frames, LIBRARY),
            project_site=self._site(frames, PROJECT),
            requested_bytes=seen[1] if seen is not None else requested_bytes(message),
            allocated_bytes=numbers.allocated,
            reserved_bytes=numbers.reserved,
            total_bytes=numbers.total,
            free_in_pool=numbers.free_in_pool,
            graph=instant.graph,
            ledger=instant.ledger,
            held_bytes=instant.held_bytes,
            class_bytes=instant.class_bytes or [],
            parameter_bytes=self._sum(lambda leaf: leaf),
            gradient_bytes=self._sum(lambda leaf: leaf.grad),
            optimizer_bytes=self._optimizer_bytes(),
        )
        recording.write(record)
        recording.writer.flush(PATIENCE_S)

    def _site(self, frames: list[FailedFrame], least: int) -> int:
        """The innermost line of the user's: of any user code, or of the project alone."""
        sites = self._recording.sites
        for failed in reversed(frames):
            if sites.origins[failed.code.co_filename] >= least:
                return sites.site(sites.code_key(failed.code) + CALL + failed.instruction)
        return -1

    def _op(self, frames: list[FailedFrame]) -> str:
        """The innermost function that has a Python body: torch's own where the op was called through one."""
        sites = self._recording.sites
        failed = frames[-1] if frames else None
        if failed is None or sites.origins[failed.code.co_filename] >= LIBRARY:
            return ""
        return str(getattr(failed.code, "co_qualname", failed.code.co_name))

    def _module(self, frames: list[FailedFrame]) -> int:
        for failed in reversed(frames):
            module = failed.values.get("self")
            if isinstance(module, nn.Module):
                number = self._recording.modules.id_of(module)
                if number is not None:
                    return number
        return -1

    def _sum(self, part: Callable[[torch.Tensor], torch.Tensor | None]) -> int:
        leaves = (watched.ref() for watched in self._recording.parameters)
        return _storage_bytes(part(leaf) for leaf in leaves if leaf is not None)

    def _optimizer_bytes(self) -> int:
        tensors: list[torch.Tensor] = []
        for optimizer in self._recording.optimizer_hooks.known():
            states: list[dict[Any, Any]] = list(optimizer.state.values())
            tensors += [value for state in states for value in list(state.values()) if isinstance(value, torch.Tensor)]
        return _storage_bytes(tensors)


def _causes(error: BaseException) -> Iterable[BaseException]:
    """An error and what it was raised from: a framework may wrap the one that counts."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__


def _running_op(call: BackwardCall, left: SavedRows) -> str:
    """The first node, in the order of the engine, that has not let go of what it saved: the one that was running."""
    if call.walk is None or call.order is None or not left.entries:
        return ""
    first = min(set(left.node), key=lambda node: int(call.order[node]) if call.order is not None else 0)
    return call.walk.names[first]


def _storage_bytes(tensors: Iterable[torch.Tensor | None]) -> int:
    found: dict[int, int] = {}
    for tensor in tensors:
        if tensor is not None and type(tensor) in (torch.Tensor, nn.Parameter) and tensor.layout is torch.strided:
            storage: Any = tensor.untyped_storage()
            found[storage._cdata] = storage.nbytes()
    return sum(found.values())


# The allocator of a device

receivers: list[Callable[[int, int, int, int], None]] = []
"""Who is told before a device's allocator raises: torch takes no observer back, so ours asks here and is else idle."""

_attached: list[bool] = []


def observe_allocator(receiver: Callable[[int, int, int, int], None]) -> None:
    """Be told when CUDA's allocator fails, once it is set up. Does nothing where torch has no such observer."""
    attach: Any = getattr(torch._C, "_cuda_attach_out_of_memory_observer", None)  # private: looked up with care
    if attach is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return
    if not _attached:
        attach(_tell_receivers)
        _attached.append(True)
    receivers[:] = [receiver]


def _tell_receivers(device: int, requested: int, total: int, free: int) -> None:
    for receiver in receivers:
        receiver(device, requested, total, free)


def allocator_numbers(error: BaseException, device: int | None = None) -> AllocatorNumbers:
    """What the allocator that failed says. Asking it waits for no device."""
    if not isinstance(error, torch.OutOfMemoryError):
        return AllocatorNumbers()
    if device is None:
        found = _DEVICE.search(str(error))
        device = int(found[1]) if found is not None else 0
    if not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return AllocatorNumbers(device="unknown")
    stats: dict[str, int] = torch.cuda.memory_stats(device)
    reserved, allocated = stats.get("reserved_bytes.all.current", -1), stats.get("allocated_bytes.all.current", -1)
    free = reserved - allocated if min(reserved, allocated) >= 0 else -1
    cuda: Any = torch.cuda  # partly untyped
    total = int(cuda.get_device_properties(device).total_memory)
    return AllocatorNumbers(f"cuda:{device}", allocated, reserved, total, free)
