# pyright: reportPrivateUsage=false
"""From any tensor a hook may meet to plain strided tensors that can be read, or the reason why not.

`reportPrivateUsage` is off because what torch says about layouts, wrappers and dispatch lives in `torch._C`.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch._C import DispatchKey, DispatchKeySet
from torch._C._functorch import is_functionaltensor, is_functorch_wrapped_tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

PLAIN_TYPES = frozenset({Tensor, torch.nn.Parameter})

INTEGERS = frozenset(
    {torch.int16, torch.int32, torch.int64}
    | {getattr(torch, name) for name in ("uint16", "uint32", "uint64") if hasattr(torch, name)}
)
ONE_BYTE = frozenset(
    {torch.bool, torch.uint8, torch.int8}
    | {
        getattr(torch, name)
        for name in ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu")
        if hasattr(torch, name)
    }
)
FLOATS = frozenset({torch.float32, torch.float64, torch.bfloat16, torch.float16})
READABLE = FLOATS | INTEGERS | ONE_BYTE

_COMPRESSED = frozenset({torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc})
_LAYOUTS = _COMPRESSED | {torch.strided, torch.sparse_coo}
_AUTOCAST = DispatchKeySet(DispatchKey.AutocastCPU) | DispatchKeySet(DispatchKey.AutocastCUDA)


@dataclass(slots=True)
class Resolved:
    """What stands for a tensor: plain strided parts and zeros that are stored nowhere.

    `label` says what the parts leave out ("local part"); `unobserved` why there is nothing to read.
    """

    tensors: list[Tensor] = field(default_factory=list[Tensor])
    label: str | None = None
    unobserved: str | None = None
    implicit_zeros: int = 0


@contextmanager
def unseen() -> Generator[None]:
    """Run torch operations that no mode, autograd, autocast or functorch level of the program sees."""
    with (
        torch._C.DisableTorchFunction(),
        torch._C._DisableTorchDispatch(),
        torch._C._DisableFuncTorch(),
        torch._C._AutoDispatchBelowAutograd(),
        torch._C._ExcludeDispatchKeyGuard(_AUTOCAST),
    ):
        yield


def resolve(tensor: object) -> Resolved:
    """Say how `tensor` can be read. Never touches the data pointer of anything but a plain tensor."""
    if not isinstance(tensor, Tensor):
        return Resolved(unobserved="not a tensor")
    try:
        with torch._C.DisableTorchFunction():
            return _resolve_type(tensor)
    except Exception as error:  # noqa: BLE001 - a subclass is asked what it is made of, and that is foreign code
        return Resolved(unobserved=f"{type(tensor).__name__} could not be read: {error}")


def _resolve_type(tensor: Tensor) -> Resolved:
    if is_functorch_wrapped_tensor(tensor):
        return Resolved(unobserved="inside a functorch transform")
    kind: Any = type(tensor)
    plain: Any = Tensor
    if kind.__torch_dispatch__ is not plain.__torch_dispatch__:
        return _resolve_wrapper(tensor)
    if is_functionaltensor(tensor):
        return Resolved(unobserved="functionalised, without values of its own")
    is_common = tensor.dtype in FLOATS and tensor.layout == torch.strided and not tensor.is_nested
    if is_common and not tensor._is_zerotensor() and _why_not(tensor) is None:
        return _resolve_strided(tensor)  # without an operation
    with unseen():
        return _resolve_layout(tensor.detach())


_WITHOUT_VALUES = {
    "AsyncCollectiveTensor": "a collective that has not been waited for",
    "FakeTensor": "fake tensor, without values",
    "FunctionalTensor": "functionalised, without values of its own",
}


def _resolve_wrapper(tensor: Tensor) -> Resolved:
    """Unwrap a subclass through `__tensor_flatten__`, which says which tensors it is made of."""
    kind = type(tensor).__name__
    flatten: Callable[[], tuple[list[str], Any]] | None = getattr(tensor, "__tensor_flatten__", None)
    if kind in _WITHOUT_VALUES or flatten is None:
        return Resolved(unobserved=_WITHOUT_VALUES.get(kind, f"{kind} does not say what it is made of"))
    parts: dict[str, Tensor] = {name: getattr(tensor, name) for name in flatten()[0]}
    if kind == "DTensor":
        local = resolve(parts["_local_tensor"])
        local.label = "local part"
        return local
    if kind == "NestedTensor":
        return resolve(parts["_values"])
    same = [part for part in parts.values() if part.dtype == tensor.dtype and part.numel() == tensor.numel()]
    if len(same) == 1:
        return resolve(same[0])
    return Resolved(unobserved=f"no single part of {kind} holds its values ({', '.join(parts)})")


def _resolve_layout(tensor: Tensor) -> Resolved:
    reason = _why_not(tensor)
    if reason is not None:
        return Resolved(unobserved=reason)
    if tensor._is_zerotensor():
        return Resolved(implicit_zeros=tensor.numel() * (2 if tensor.is_complex() else 1))
    if tensor.layout == torch.sparse_coo:
        return _resolve_sparse(tensor)
    if tensor.layout in _COMPRESSED:
        return _with_implicit_zeros(tensor, tensor.values())
    if tensor.is_nested:
        return _join([_resolve_layout(part) for part in tensor.unbind()])
    return _resolve_strided(tensor)


def _why_not(tensor: Tensor) -> str | None:
    if tensor.device.type == "meta":
        return "meta tensor, without values"
    if tensor.device.type not in ("cpu", "cuda"):
        return f"on device {tensor.device}"
    if tensor.is_quantized:
        return "quantized"
    if tensor.layout not in _LAYOUTS:
        return f"layout {tensor.layout}"
    if tensor.dtype not in READABLE and not tensor.is_complex():
        return f"dtype {str(tensor.dtype).removeprefix('torch.')}"
    return None


def _resolve_sparse(tensor: Tensor) -> Resolved:
    if tensor.is_cuda and not tensor.is_coalesced():
        return Resolved(unobserved="sparse and not coalesced: adding up its entries would wait for the device")
    return _with_implicit_zeros(tensor, tensor.coalesce().values())


def _with_implicit_zeros(tensor: Tensor, values: Tensor) -> Resolved:
    resolved = _resolve_strided(values)
    resolved.implicit_zeros = (tensor.numel() - values.numel()) * (2 if tensor.is_complex() else 1)
    return resolved


def _resolve_strided(tensor: Tensor) -> Resolved:
    if tensor.numel() and tensor.untyped_storage().nbytes() == 0:
        return Resolved(unobserved="its storage was freed")
    return Resolved(_real_parts(tensor) if tensor.is_complex() else [tensor])


def _real_parts(tensor: Tensor) -> list[Tensor]:
    """Return real views of a complex tensor; a lazily conjugated one gets a negated imaginary part."""
    if not tensor.is_conj():
        return [torch.view_as_real(tensor.resolve_neg())]
    parts = torch.view_as_real(tensor.conj().resolve_neg())
    return [parts.select(-1, 0), parts.select(-1, 1)._neg_view()]


def _join(parts: list[Resolved]) -> Resolved:
    joined = Resolved()
    for part in parts:
        if part.unobserved:
            return part
        joined.tensors += part.tensors
        joined.implicit_zeros += part.implicit_zeros
    return joined


@dataclass(frozen=True, slots=True)
class Extent:
    """How a strided tensor lies in memory: distinct elements only, largest stride first.

    Every element stands `repeat` times in the tensor (expanded dimensions). `dense` when they fill one
    run of memory without holes. Tensors that overlap themselves otherwise are read element by element.
    """

    size: tuple[int, ...]
    stride: tuple[int, ...]
    repeat: int
    dense: bool
    numel: int


def extent_of(tensor: Tensor) -> Extent:
    return _extent(tensor.shape, tensor.stride())


@lru_cache(1024)  # a program has few layouts, and this is on the path of every transposed gradient
def _extent(shape: tuple[int, ...], strides: tuple[int, ...]) -> Extent:
    repeat, numel = 1, 1
    dimensions: list[tuple[int, int]] = []
    for stride, size in zip(strides, shape, strict=True):
        if stride == 0 and size > 1:
            repeat *= size
        elif size != 1:
            numel *= size
            dimensions.append((stride, size))
    if not numel:
        return Extent((), (), 1, dense=True, numel=0)
    dimensions.sort(reverse=True)
    filled, dense = 1, True
    for stride, size in reversed(dimensions):
        dense = dense and stride == filled
        filled *= size
    sizes, steps = tuple(size for _, size in dimensions), tuple(stride for stride, _ in dimensions)
    return Extent(sizes, steps, repeat, dense, numel)
