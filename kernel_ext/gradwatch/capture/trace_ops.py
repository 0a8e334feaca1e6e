"""What each function that a program may call on tensors does to their graphs, as far as a trace must know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradwatch.records import CutKind

Rule = Literal["skip", "follow", "cut"]
"""skip: it reads no values. cut: whatever it returns has lost the graph. follow: its tensors tell."""


@dataclass(frozen=True, slots=True)
class OpKind:
    """A function: its name as a program writes it, what to do with its calls, and the cut that it makes."""

    name: str
    rule: Rule
    cut: CutKind | None = None


_CUTS: dict[str, CutKind] = {
    "detach": "detached",
    "detach_": "detached",
    "data": "data",
    "numpy": "numpy",
    "__array__": "numpy",
    "__dlpack__": "numpy",
    "to_dlpack": "numpy",
    "item": "number",
    "tolist": "number",
    "__float__": "number",
    "__int__": "number",
    "__bool__": "number",
    "__index__": "number",
    "__complex__": "number",
    "tensor": "rebuilt",
    "as_tensor": "rebuilt",
    "asarray": "rebuilt",
}

_OP_GETTERS = frozenset({"T", "mT", "H", "mH", "real", "imag"})
_WRITTEN = frozenset({"grad", "data"})
_VALUELESS = frozenset(
    {
        "size",
        "dim",
        "ndimension",
        "numel",
        "nelement",
        "stride",
        "storage_offset",
        "backward",
        "retain_grad",
        "requires_grad_",
        "register_hook",
        "register_post_accumulate_grad_hook",
        "element_size",
        "storage",
        "untyped_storage",
        "data_ptr",
        "type",
        "get_device",
        "dim_order",
        "has_names",
        "share_memory_",
        "pin_memory",
        "is_pinned",
        "allclose",
        "equal",
        "set_printoptions",
        "_set_grad_enabled",
        "result_type",
        "can_cast",
        "broadcast_shapes",
        "typename",
        "__len__",
        "__hash__",
        "__repr__",
        "__str__",
        "__format__",
        "__deepcopy__",
        "__reduce_ex__",
        "__setstate__",
        "__dir__",
        "__contains__",
    }
)


def kind_of(function: Callable[..., Any]) -> OpKind:
    """What a function is, as a TorchFunctionMode is handed it."""
    name = str(getattr(function, "__name__", "?"))
    if name in ("__get__", "__set__", "__delete__"):
        return _of_attribute(str(getattr(getattr(function, "__self__", None), "__name__", "?")), name)
    if name == "grad" and getattr(function, "__module__", None) == "torch.autograd":
        return OpKind("torch.autograd.grad", "skip")
    full = _full_name(function, name)
    if str(getattr(function, "__module__", None)) == "torch.nn.init":
        return OpKind(full, "skip")
    if name in _VALUELESS or name.startswith(("is_", "new_", "empty")) or name.endswith("_like"):
        return OpKind(full, "skip")
    cut = _CUTS.get(name)
    return OpKind(full, "follow" if cut is None else "cut", cut)


def _of_attribute(attribute: str, access: str) -> OpKind:
    name = f"Tensor.{attribute}"
    if access == "__get__":
        if attribute == "data":
            return OpKind(name, "cut", "data")
        return OpKind(name, "follow" if attribute in _OP_GETTERS else "skip")
    return OpKind(f"{name}.{access}", "follow" if attribute in _WRITTEN else "skip")


def _full_name(function: Callable[..., Any], name: str) -> str:
    owner = str(getattr(function, "__qualname__", name)).rpartition(".")[0]
    module = str(getattr(function, "__module__", None) or "")
    if owner in ("TensorBase", "Tensor", "_TensorBase"):
        return f"Tensor.{name}"
    if module in ("torch._C._nn", "torch.nn.functional"):
        return f"torch.nn.functional.{name}"
    return f"{module}.{name}" if module.startswith("torch.") and "._" not in module else f"torch.{name}"
