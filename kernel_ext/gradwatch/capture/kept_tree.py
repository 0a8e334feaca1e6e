"""Nested containers as plain JSON, their tensors apart by name: how a kept step spells batches and optimizer state."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

DEEPEST = 32
"""How deep containers may be nested."""

DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "C64": torch.complex64,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "U16": torch.uint16,
    "U32": torch.uint32,
    "U64": torch.uint64,
    "BOOL": torch.bool,
}
"""The dtypes that are kept, as safetensors spells them."""

_KEPT_DTYPES = frozenset(DTYPES.values())
_PLAIN = frozenset({torch.Tensor, torch.nn.Parameter, torch.nn.Buffer})
_LARGEST = 1 << 63


class NotKept(Exception):
    """Why a step cannot be kept, or a kept one not be read. The text stands behind "Step 3 was not kept: "."""


class TensorsToKeep:
    """The tensors of one step by name, and their copies in the CPU's memory."""

    def __init__(self) -> None:
        self.tensors: dict[str, torch.Tensor] = {}
        self._names: dict[int, str] = {}

    @property
    def bytes(self) -> int:
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors.values())

    def add(self, name: str, tensor: torch.Tensor) -> str:
        """Note a tensor and return the name it is kept under: one that is there already keeps its own."""
        known = self._names.get(id(tensor))
        if known is not None:
            return known
        why_not = unfit(tensor)
        if why_not:
            raise NotKept(f"{name} is {why_not}")
        base, count = name, 2
        while name in self.tensors:
            name, count = f"{base} {count}", count + 1
        self.tensors[name] = tensor
        self._names[id(tensor)] = name
        return name

    def copies(self) -> dict[str, torch.Tensor]:
        """Copy every tensor to contiguous CPU memory. Copies from a CUDA device are under way when this returns."""
        return {name: _copy(tensor) for name, tensor in self.tensors.items()}


def unfit(tensor: torch.Tensor) -> str:
    """Say why a tensor cannot be kept; "" when it can."""
    if type(tensor) not in _PLAIN:
        return f"a {type(tensor).__name__}, and only plain tensors are kept"
    if tensor.layout is not torch.strided or tensor.is_meta or tensor.is_quantized:
        return f"a tensor without dense values ({tensor.layout}, {tensor.device})"
    if tensor.dtype not in _KEPT_DTYPES:
        return f"of {tensor.dtype}, which safetensors does not hold"
    return ""


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    from_device = tensor.device.type == "cuda"
    made = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu", pin_memory=from_device)
    return made.copy_(tensor.detach(), non_blocking=from_device)


def encode(value: Any, name: str, tensors: TensorsToKeep, depth: int = 0) -> Any:
    """Spell `value` as JSON, its tensors noted in `tensors`. Raises NotKept naming the part that does not fit."""
    if depth > DEEPEST:
        raise NotKept(f"{name} is nested more than {DEEPEST} levels deep")
    kind = cast("type[Any]", type(value))  # exactly: a subclass would not come back as what it was
    if value is None or kind in (bool, str) or (kind is int and -_LARGEST <= value < _LARGEST):
        return value
    if kind is float:
        return value if math.isfinite(value) else {"float": str(value)}
    if kind in (list, tuple):
        parts = [encode(part, f"{name}[{place}]", tensors, depth + 1) for place, part in enumerate(value)]
        return {kind.__name__: parts}
    if kind is dict:
        return {"dict": [_encode_item(key, part, name, (tensors, depth)) for key, part in value.items()]}
    if isinstance(value, torch.Tensor):
        return _encode_tensor(value, name, tensors)
    raise NotKept(
        f"{name} is a {kind.__name__}. Tensors, numbers, strings and None are kept, and lists, tuples and dicts of them"
    )


def _encode_item(key: Any, value: Any, name: str, rest: tuple[TensorsToKeep, int]) -> list[Any]:
    if type(key) not in (str, int, bool, type(None)):
        raise NotKept(f"{name} has a key that is a {type(key).__name__}")
    tensors, depth = rest
    return [key, encode(value, f"{name}[{key!r}]", tensors, depth + 1)]


def _encode_tensor(tensor: torch.Tensor, name: str, tensors: TensorsToKeep) -> dict[str, Any]:
    if tensor.grad_fn is not None:
        raise NotKept(f"{name} is the result of another graph ({tensor.grad_fn.name()})")
    found: dict[str, Any] = {"tensor": tensors.add(name, tensor), "device": str(tensor.device)}
    if tensor.requires_grad:
        found["requires_grad"] = True
    if not tensor.is_contiguous() and _is_dense(tensor):
        found["stride"] = list(tensor.stride())
    return found


def _is_dense(tensor: torch.Tensor) -> bool:
    """Whether the strides lay the elements out without gaps or overlap."""
    return is_dense(list(tensor.shape), list(tensor.stride()))


def is_dense(shape: list[int], stride: list[int]) -> bool:
    """Whether `stride` lays out `shape` without gaps or overlap."""
    expected = 1
    for step, size in sorted((step, size) for step, size in zip(stride, shape, strict=True) if size != 1):
        if step != expected:
            return False
        expected *= size
    return True


def decode(value: Any, load: Callable[[dict[str, Any]], torch.Tensor], depth: int = 0) -> Any:
    """Read what `encode` spelled, from a stranger's file. `load` gives a tensor. Raises NotKept."""
    if depth > DEEPEST:
        raise NotKept(f"something is nested more than {DEEPEST} levels deep")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if not isinstance(value, dict):
        raise NotKept(f"a {type(value).__name__} stands where a value should")
    spelled: dict[str, Any] = value  # pyright: ignore[reportUnknownVariableType] # JSON
    if "tensor" in spelled:
        return load(spelled)
    kind, content = next(iter(spelled.items()), ("nothing", None))
    if kind == "float" and content in ("nan", "inf", "-inf"):
        return float(content)
    if kind in ("list", "tuple") and isinstance(content, list):
        parts: list[Any] = [decode(part, load, depth + 1) for part in content]  # pyright: ignore[reportUnknownVariableType] # JSON
        return parts if kind == "list" else tuple(parts)
    if kind == "dict" and isinstance(content, list):
        return dict(_decode_item(item, load, depth) for item in content)  # pyright: ignore[reportUnknownVariableType] # JSON
    raise NotKept(f"a value is spelled in a way that is not known: {kind!r:.40}")


def _decode_item(item: Any, load: Callable[[dict[str, Any]], torch.Tensor], depth: int) -> tuple[Any, Any]:
    if not isinstance(item, list) or len(item) != 2 or not isinstance(item[0], (str, int, type(None))):  # pyright: ignore[reportUnknownArgumentType] # JSON
        raise NotKept("an entry of a dict is not a key and a value")
    pair: list[Any] = item  # pyright: ignore[reportUnknownVariableType] # JSON
    return pair[0], decode(pair[1], load, depth + 1)
