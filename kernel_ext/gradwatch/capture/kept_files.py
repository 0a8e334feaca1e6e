"""Kept steps on disk: `<session>.steps/step-000812/{tensors.safetensors, state.json}`. Reading trusts nothing.

With `gradients=True` gradients.safetensors comes beside them as the step ends: a tensor a parameter, by "root:path".
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import msgspec
import torch

from gradwatch.capture.kept_state import STEP_FORMAT, STEP_VERSION, KeptState
from gradwatch.capture.kept_tree import DTYPES, NotKept, is_dense

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TENSORS = "tensors.safetensors"
GRADIENTS = "gradients.safetensors"
STATE = "state.json"
LARGEST_STATE = 16 << 20
LARGEST_HEADER = 16 << 20


def steps_folder(session: Path) -> Path:
    """The folder beside a session that holds its kept steps."""
    return session.with_name(f"{session.name}.steps")


def step_folder(session: Path, step: int) -> Path:
    return steps_folder(session) / f"step-{step:06d}"


def kept_numbers(session: Path) -> list[int]:
    """The numbers of the steps that are kept for a session."""
    with contextlib.suppress(OSError):
        names = [entry.name.removeprefix("step-") for entry in steps_folder(session).iterdir() if entry.is_dir()]
        return sorted(int(name) for name in names if name.isascii() and name.isdigit())
    return []


def write_step(session: Path, state: KeptState, tensors: Mapping[str, torch.Tensor]) -> int:
    """Write a kept step, whole or not at all; returns its size. Raises OSError, or what safetensors raises."""
    from safetensors.torch import save_file  # noqa: PLC0415 # pyright: ignore[reportUnknownVariableType] # optional; half typed

    folder = step_folder(session, state.step)
    unfinished = folder.with_name(f"{folder.name}.{os.getpid()}.new")
    unfinished.mkdir(parents=True, exist_ok=True)
    try:
        text = msgspec.json.encode(state)
        (unfinished / STATE).write_bytes(text)
        save_file(dict(tensors), unfinished / TENSORS)
        _open_to_umask(unfinished / TENSORS, unfinished / STATE)
        remove_folder(folder)
        unfinished.rename(folder)
    except BaseException:
        remove_folder(unfinished)
        raise
    return len(text) + (folder / TENSORS).stat().st_size


def write_gradients(session: Path, step: int, tensors: Mapping[str, torch.Tensor]) -> int:
    """Write the gradients of a step that is kept, whole or not at all; returns their size. Raises as `write_step`."""
    from safetensors.torch import save_file  # noqa: PLC0415 # pyright: ignore[reportUnknownVariableType] # as above

    path = step_folder(session, step) / GRADIENTS
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        save_file(dict(tensors), unfinished)
        _open_to_umask(unfinished, path.with_name(STATE))
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path.stat().st_size


def _open_to_umask(tensors: Path, beside: Path) -> None:
    """Give safetensors' file, which only its owner may read, the mode that the user's umask gave the one beside it."""
    tensors.chmod(stat.S_IMODE(beside.stat().st_mode))


def remove_folder(folder: Path) -> None:
    """Remove a kept step: the files that are ours, and the folder when nothing else is in it."""
    if folder.is_symlink():
        return
    for name in (TENSORS, GRADIENTS, STATE):
        with contextlib.suppress(OSError):
            (folder / name).unlink()
    with contextlib.suppress(OSError):
        folder.rmdir()


def remove_all(session: Path) -> None:
    """Remove the kept steps of a session that is overwritten."""
    for number in kept_numbers(session):
        remove_folder(step_folder(session, number))
    remove_empty(session)


def remove_empty(session: Path) -> None:
    """Remove the folder of kept steps where nothing is in it."""
    with contextlib.suppress(OSError):
        steps_folder(session).rmdir()


@dataclass(frozen=True, slots=True)
class Entry:
    """A tensor as the header of the file describes it."""

    dtype: torch.dtype
    shape: list[int]
    bytes: int


class KeptStep:
    """A kept step that was opened: its state, and its tensors one by one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = _read_state(folder / STATE)
        self.entries = _read_header(folder / TENSORS)
        self._loaded: dict[str, torch.Tensor] = {}
        kept = folder / GRADIENTS
        self.gradients: dict[str, Entry] | None = _read_header(kept) if kept.exists() else None
        """Gradients by "root:path"; None where they were not kept."""

    def gradient(self, name: str) -> torch.Tensor:
        """Read one of `gradients`. Raises NotKept."""
        return self._load(name, (self.gradients or {})[name], GRADIENTS)

    def entry(self, name: str) -> Entry:
        """Describe a tensor without reading it. Raises NotKept when the file has none of that name."""
        found = self.entries.get(name)
        if found is None:
            raise NotKept(f"{TENSORS} has no tensor {name!r:.100}")
        return found

    def tensor(self, name: str) -> torch.Tensor:
        """Read a tensor into the CPU's memory, once."""
        if name not in self._loaded:
            entry = self.entry(name)
            self._loaded[name] = self._load(name, entry, TENSORS)
        return self._loaded[name]

    def value(self, spelled: dict[str, Any], device: torch.device | None = None) -> torch.Tensor:
        """Make the tensor that a tree names, on `device` or the one it was on."""
        kept = self.tensor(str(spelled["tensor"]))
        place = device or kept_device(spelled.get("device"))
        stride = spelled.get("stride")
        made = torch.empty_strided(kept.shape, _strides(stride, kept), dtype=kept.dtype, device=place)
        made.copy_(kept)
        return made.requires_grad_() if spelled.get("requires_grad") is True else made

    def _load(self, name: str, entry: Entry, file_name: str) -> torch.Tensor:
        from safetensors import SafetensorError, safe_open  # noqa: PLC0415 # optional

        try:
            opened: Any = safe_open(self.folder / file_name, framework="pt", device="cpu")
            with opened as file:
                tensor: torch.Tensor = file.get_tensor(name)
        except SafetensorError as error:
            raise NotKept(f"{file_name} cannot be read: {error}") from error
        if tensor.dtype != entry.dtype or list(tensor.shape) != entry.shape:
            raise NotKept(f"tensor {name!r:.100} is not what the header says")
        return tensor


def _strides(stride: Any, kept: torch.Tensor) -> list[int]:
    """The recorded strides, where they lay out this very shape without gaps: they say how much memory is taken."""
    if stride is None:
        return list(kept.stride())
    numbers: list[Any] = stride if isinstance(stride, list) else []  # pyright: ignore[reportUnknownVariableType] # JSON
    if len(numbers) != kept.dim() or not all(type(step) is int and step >= 0 for step in numbers):
        raise NotKept("the strides of a tensor do not fit its shape")
    # A size of 1 is skipped over whatever its stride says; what it says must not reach far either.
    steps = [1 if size == 1 else step for step, size in zip(numbers, kept.shape, strict=True)]
    if not is_dense(list(kept.shape), steps):
        raise NotKept("the strides of a tensor do not fit its shape")
    return steps


def kept_device(name: Any) -> torch.device:
    """The device of a recorded name, where this machine has it. Raises NotKept."""
    try:
        device = torch.device(str(name))
        if device.type == "cpu" or (device.type == "cuda" and (device.index or 0) < torch.cuda.device_count()):
            return device
    except RuntimeError:
        pass
    raise NotKept(f"a tensor was on {name!s:.40}, which this machine does not have")


def open_step(session: Path, step: int) -> KeptStep:
    """Open a kept step. Raises NotKept, FileNotFoundError or OSError."""
    return KeptStep(step_folder(session, step))


def _read_state(path: Path) -> KeptState:
    text = _read_at_most(path, LARGEST_STATE)
    try:
        head = msgspec.json.decode(text, type=_Head)
        if head.format != STEP_FORMAT:
            raise NotKept(f"{STATE} does not begin as a kept step does")
        if head.version != STEP_VERSION:
            raise NotKept(f"{STATE} is of version {head.version}; this gradwatch reads {STEP_VERSION}")
        return msgspec.json.decode(text, type=KeptState)
    except RecursionError:
        raise NotKept(f"{STATE} is nested too deep") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NotKept(f"{STATE} is damaged: {error}") from error


class _Head(msgspec.Struct):
    format: str
    version: int


def _read_at_most(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        text = file.read(limit + 1)
    if len(text) > limit:
        raise NotKept(f"{path.name} is larger than {limit >> 20} MiB")
    return text


def _read_header(path: Path) -> dict[str, Entry]:
    """Read what the file holds, every size checked against the file's own."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(LARGEST_HEADER, size - 8):
            raise NotKept(f"{path.name} is damaged: its header says it is {length} bytes long")
        text = file.read(length)
    try:
        header: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotKept(f"{path.name} is damaged: {error}") from error
    if not isinstance(header, dict):
        raise NotKept(f"{path.name} is damaged: its header is no table")
    described: dict[str, Any] = header  # pyright: ignore[reportUnknownVariableType] # JSON
    described.pop("__metadata__", None)
    entries = {name: _entry(name, entry, size - 8 - length, path.name) for name, entry in described.items()}
    if sum(entry.bytes for entry in entries.values()) != size - 8 - length:
        raise NotKept(f"{path.name} is damaged: its tensors do not fill it")
    return entries


def _entry(name: str, entry: Any, room: int, file_name: str) -> Entry:
    try:
        shape: list[int] = list(entry["shape"])
        dtype, (start, end) = DTYPES[entry["dtype"]], entry["data_offsets"]
        numbers: list[Any] = [*shape, start, end]
        fits = all(type(number) is int and 0 <= number <= room for number in numbers)
        needed = prod(shape) * torch.empty(0, dtype=dtype).element_size() if fits and len(shape) <= 64 else -1
    except (KeyError, TypeError, ValueError):
        needed, start, end = -1, 0, 0
        dtype, shape = torch.uint8, []
    if needed != end - start or not 0 <= start <= end <= room:
        raise NotKept(f"{file_name} is damaged: what it says of tensor {name!r:.100} does not fit")
    return Entry(dtype, shape, needed)
