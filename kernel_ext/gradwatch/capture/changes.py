"""Changes that lower held memory, made to a running program and taken back: one `with` block each.

What a change does to the numbers stands in its `note`; the program's modules and torch are as before when it is over.
"""

from __future__ import annotations

import functools
import weakref
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, get_args

import torch
from torch.nn.modules.dropout import _DropoutNd  # pyright: ignore[reportPrivateUsage] # the base of them all
from torch.utils import checkpoint as checkpoints

from gradwatch.errors import UsageError
from gradwatch.records import ChangeKind

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from contextlib import AbstractContextManager

    from torch import nn

    from gradwatch.capture.modules import ModuleTable

NOTES: dict[str, str] = {
    "checkpoint": "the forward of what is checkpointed runs a second time, with the same random numbers",
    "bf16 saving": "float32 activations are rounded to 8 significant bits for backward, so gradients differ slightly",
    "save_on_cpu": "saved tensors are copied to the CPU and back",
    "in-place activation": "activations overwrite their input",
    "fused attention": "scaled_dot_product_attention takes a fused kernel where one fits",
}


class Applied:
    """What a change found to change: ids of modules, and a word about it."""

    def __init__(self, change: ChangeKind) -> None:
        self.modules: list[int] = []
        self.note = NOTES[change]


def check(change: str) -> ChangeKind:
    """The change of this name. Raises UsageError naming those that there are."""
    for kind in get_args(ChangeKind):
        if change == kind:
            return kind
    raise UsageError(f"There is no change {change!r}. Choose one of: {', '.join(get_args(ChangeKind))}.")


@contextmanager
def applied(
    change: ChangeKind, target: str, modules: ModuleTable, class_of: Callable[[int], str]
) -> Generator[Applied, None, None]:
    """Make one change to what `target` (names of modules, with * and ?) fits; take it back at the end.

    `class_of` says which of TENSOR_CLASSES the storage at an address is of.
    """
    done = Applied(change)
    with ExitStack() as stack:
        if change == "checkpoint":
            done.modules = _checkpoint(matching(modules, target), stack)
        elif change == "in-place activation":
            done.modules = _in_place(matching(modules, target), stack)
        else:
            stack.enter_context(_saving(change, class_of))
        yield done


def matching(modules: ModuleTable, target: str) -> list[tuple[int, str, nn.Module]]:
    """Modules whose name fits, with id and name: "blocks.3", or with the model's name, "model.blocks.3"."""
    found: list[tuple[int, str, nn.Module]] = []
    for number, (module, record) in sorted(modules.by_id().items()):
        names = (record.path, f"{record.root}.{record.path}" if record.path else record.root)
        if any(fnmatchcase(name, target) for name in names if name):
            found.append((number, names[1], module))
    return found


def _checkpoint(found: list[tuple[int, str, nn.Module]], stack: ExitStack) -> list[int]:
    """Wrap the outermost of what was found; lists of modules are not called, so those inside them are taken."""
    called = [each for each in found if type(each[2]).forward is not torch.nn.Module.forward]
    outermost = [each for each in called if not any(each[1].startswith(f"{other[1]}.") for other in called)]
    for _, _, module in outermost:
        _replace(module, "forward", _checkpointed(module.forward), stack)
    return [number for number, _, _ in outermost]


def _checkpointed(forward: Callable[..., Any]) -> Callable[..., Any]:
    torchs: Any = checkpoints  # partly untyped

    @functools.wraps(forward)
    def run(*arguments: Any, **named: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*arguments, **named)
        body = functools.partial(forward, **named) if named else forward
        return torchs.checkpoint(body, *arguments, use_reentrant=False)

    return run


def _in_place(found: Iterable[tuple[int, str, nn.Module]], stack: ExitStack) -> list[int]:
    changed: list[int] = []
    for number, _, module in found:
        if vars(module).get("inplace") is False and not isinstance(module, _DropoutNd):
            _replace(module, "inplace", True, stack)  # the attribute's value
            changed.append(number)
    return changed


def _replace(module: nn.Module, name: str, value: Any, stack: ExitStack) -> None:
    """Set an attribute of the module itself; afterwards it has what it had, or none of its own."""
    own, absent = vars(module), object()
    before = own.get(name, absent)

    def put_back() -> None:
        if before is absent:
            own.pop(name, None)
        else:
            own[name] = before

    stack.callback(put_back)
    own[name] = value


def _saving(change: ChangeKind, class_of: Callable[[int], str]) -> AbstractContextManager[Any]:
    if change == "save_on_cpu":
        return torch.autograd.graph.save_on_cpu()
    if change == "bf16 saving":
        rounding = RoundedSaving(class_of)
        return torch.autograd.graph.saved_tensors_hooks(rounding.pack, rounding.unpack)
    return _fused()


def _fused() -> AbstractContextManager[Any]:
    from torch.nn.attention import SDPBackend, sdpa_kernel  # noqa: PLC0415 # for this change alone

    fused = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION, SDPBackend.MATH]
    choose: Any = sdpa_kernel  # partly untyped
    return choose(fused, set_priority=True)


class Rounded:
    """A storage in bfloat16, shared by all saved tensors that lie in it."""

    __slots__ = ("__weakref__", "values", "version")

    def __init__(self, values: torch.Tensor, version: int) -> None:
        self.values = values
        self.version = version


class RoundedSaving:
    """Saved-tensor hooks that keep float32 activations in bfloat16, and a batch or a parameter as it is."""

    def __init__(self, class_of: Callable[[int], str]) -> None:
        self._class_of = class_of
        self._known: weakref.WeakValueDictionary[int, Rounded] = weakref.WeakValueDictionary()
        self._storages: dict[int, weakref.ref[Any]] = {}

    def pack(self, tensor: torch.Tensor) -> tuple[Any, ...]:
        if type(tensor) is not torch.Tensor or tensor.dtype != torch.float32 or tensor.layout is not torch.strided:
            return (tensor.detach(),)  # the tensor itself would keep its own graph alive
        storage: Any = tensor.untyped_storage()
        if self._class_of(storage._cdata) != "activation":
            return (tensor.detach(),)
        values = self._rounded(tensor)
        return (values.values, values, tensor.shape, tensor.stride(), tensor.storage_offset())

    def unpack(self, packed: tuple[Any, ...]) -> torch.Tensor:
        if len(packed) == 1:
            return packed[0]
        values, _, shape, stride, offset = packed
        return values.to(torch.float32).as_strided(shape, stride, offset)

    def _rounded(self, tensor: torch.Tensor) -> Rounded:
        storage: Any = tensor.untyped_storage()
        address = storage._cdata  # the storage's identity, while it lives
        known, ref = self._known.get(address), self._storages.get(address)
        if known is not None and ref is not None and ref() is not None and known.version == tensor._version:
            return known
        with torch.no_grad():
            flat = tensor.detach().as_strided((storage.nbytes() // 4,), (1,), 0)
            made = Rounded(flat.to(torch.bfloat16), tensor._version)
        self._known[address], self._storages[address] = made, weakref.ref(storage)
        return made
