"""Parameters and other leaves: their ids, names, storages, and the hook that tells when `.grad` is complete."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from gradwatch.capture.deaths import Deaths
from gradwatch.capture.ledger import plain_tensors
from gradwatch.capture.modules import named_modules
from gradwatch.capture.torch_internals import UninitializedTensor, is_compiling
from gradwatch.records import Parameter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


@dataclass(slots=True, eq=False)
class Watched:
    """A leaf whose `.grad` is recorded. `hook` is set only where the program has hooks of its own."""

    ref: weakref.ref[torch.Tensor]
    id: int
    hook: Any = None


class StorageClasses:
    """Which storages belong to parameters, buffers and the batch. Entries leave when their storage dies."""

    def __init__(self) -> None:
        self._class_of: dict[int, str] = {}
        self._ref_of: dict[int, weakref.ref[Any]] = {}
        self._address_of: dict[weakref.ref[Any], int] = {}
        self._deaths = Deaths()

    def of(self, address: int) -> str | None:
        """The class of the storage at `address`, if it has one."""
        if self._deaths:
            self._forget_dead()
        return self._class_of.get(address)

    def add(self, tensor: torch.Tensor, tensor_class: str) -> None:
        for part in _plain_or_none(tensor):
            storage = part.untyped_storage()
            address = storage._cdata  # the storage's identity
            if self.of(address) != tensor_class:
                self._class_of[address] = tensor_class
                ref = self._ref_of[address] = self._deaths.watch(storage)
                self._address_of[ref] = address

    def add_input(self, tensor: torch.Tensor) -> None:
        """Class a tensor of the batch, unless it is a parameter or buffer."""
        for part in _plain_or_none(tensor):
            if self.of(part.untyped_storage()._cdata) is None:
                self.add(part, "input")

    def _forget_dead(self) -> None:
        for ref, _ in self._deaths.take():
            address = self._address_of.pop(ref)
            if self._ref_of.get(address) is ref:
                del self._ref_of[address], self._class_of[address]


def _plain_or_none(tensor: torch.Tensor) -> list[torch.Tensor]:
    if isinstance(tensor, UninitializedTensor):
        return []
    try:
        return list(plain_tensors(tensor))
    except (RuntimeError, NotImplementedError):  # no storage to class
        return []


GradientState = tuple[int, int] | None
"""Identity and version of a leaf's `.grad`, or None where it has none."""


class ParameterTable:
    """Ids of parameters and leaves, and which of their gradients a backward call changed.

    NOTE [How a gradient is seen to be accumulated]
    By comparing identity and version of every `.grad` before and after the call. A hook would cost more,
    would miss gradients that are not accumulated by autograd (FSDP2 sets them on the sharded parameter),
    and would see DDP's gradients before they are averaged. Only where the program has post-accumulate
    hooks of its own, which may free `.grad` at once, ours is put before them: `on_gradient` reads it there.
    """

    def __init__(self, on_gradient: Callable[[Watched, torch.Tensor], None]) -> None:
        self.storages = StorageClasses()
        self._on_gradient = on_gradient
        self._known: dict[int, Watched] = {}
        self._all: list[Watched] = []
        self._records: list[Parameter] = []
        self._unwritten: dict[int, None] = {}
        self._leaf_by_path: dict[str, Watched] = {}

    def gradient_states(self) -> list[GradientState]:
        """The state of every leaf's `.grad`, by id."""
        states: list[GradientState] = []
        for watched in self._all:
            leaf: Any = watched.ref()
            gradient = None
            if leaf is not None:
                gradient = leaf.grad
                if leaf._post_accumulate_grad_hooks and watched.hook is None:
                    self._set_hook(watched, leaf)
            states.append(None if gradient is None else (id(gradient), gradient._version))
        return states

    def changed_since(self, states: list[GradientState]) -> list[tuple[Watched, torch.Tensor]]:
        """Leaves whose `.grad` is there and differs from what `states` say."""
        changed: list[tuple[Watched, torch.Tensor]] = []
        for watched, state in zip(self._all, states, strict=False):
            leaf = watched.ref()
            gradient = None if leaf is None else leaf.grad
            if gradient is not None and (state is None or state[0] != id(gradient) or state[1] != gradient._version):
                changed.append((watched, gradient))
        return changed

    def add_module(self, root_name: str, root: nn.Module, module_id: Callable[[nn.Module], int | None]) -> None:
        """Add every parameter of `root`, tied ones once with their aliases, and class the buffers."""
        owners = dict(named_modules(root))
        for parameter, paths in paths_by_parameter(root):
            if not isinstance(parameter, UninitializedTensor):
                module = module_id(owners[paths[0].rpartition(".")[0]])
                self._add(parameter, root_name, paths, -1 if module is None else module)
        for buffer in root.buffers():
            self.storages.add(buffer, "buffer")

    def add_leaf(self, tensor: torch.Tensor, name: str) -> Watched:
        """Add a leaf that belongs to no module. One made anew every step keeps the id of the last."""
        path, count = name, 2
        while (taken := self._leaf_by_path.get(path)) is not None:
            if taken.ref() is None and self._records[taken.id].shape == list(tensor.shape):
                return self._rebind(taken, tensor)
            path, count = f"{name}_{count}", count + 1
        watched = self._leaf_by_path[path] = self._add(tensor, "", [path], -1)
        return watched

    def _rebind(self, watched: Watched, tensor: torch.Tensor) -> Watched:
        self._known = {key: other for key, other in self._known.items() if other is not watched}
        watched.ref, watched.hook = weakref.ref(tensor), None
        self._known[id(tensor)] = watched
        self.storages.add(tensor, leaf_class(tensor))
        return watched

    def find(self, tensor: torch.Tensor) -> Watched | None:
        """The leaf's entry, or None when it was never added."""
        watched = self._known.get(id(tensor))
        return watched if watched is not None and watched.ref() is tensor else None

    def __len__(self) -> int:
        return len(self._known)

    def __iter__(self) -> Iterator[Watched]:
        return iter(list(self._known.values()))

    def take_records(self) -> list[Parameter]:
        """Parameters that are new or renamed since the last call."""
        records = [self._records[i] for i in self._unwritten]
        self._unwritten = {}
        return records

    def remove_hooks(self) -> None:
        for watched in self:
            if watched.hook is not None:
                watched.hook.remove()
                watched.hook = None

    def _add(self, tensor: torch.Tensor, root: str, paths: list[str], module: int) -> Watched:
        record = describe_leaf(tensor, root, paths, module)
        watched = self._known.get(id(tensor))
        if watched is not None and watched.ref() is tensor:
            self._records[watched.id] = replace(record, id=watched.id)
        else:
            watched = self._known[id(tensor)] = Watched(weakref.ref(tensor), len(self._records))
            self._all.append(watched)
            self._records.append(replace(record, id=watched.id))
        self._unwritten[watched.id] = None
        self.storages.add(tensor, "parameter" if root else leaf_class(tensor))
        return watched

    def _set_hook(self, watched: Watched, leaf: Any) -> None:
        on_gradient = self._on_gradient

        def accumulated(leaf: torch.Tensor) -> None:
            if not is_compiling():
                on_gradient(watched, leaf)

        watched.hook = leaf.register_post_accumulate_grad_hook(accumulated)
        # First in the dict itself, which the engine walks: OrderedDict's own order is another.
        hooks = leaf._post_accumulate_grad_hooks
        in_order = sorted(hooks.items(), key=lambda item: item[0] != watched.hook.id)
        hooks.clear()
        hooks.update(in_order)


def leaf_class(leaf: torch.Tensor) -> str:
    return "parameter" if isinstance(leaf, nn.Parameter) else "input"


def paths_by_parameter(root: nn.Module) -> list[tuple[torch.Tensor, list[str]]]:
    paths: dict[int, tuple[torch.Tensor, list[str]]] = {}
    named: Iterable[tuple[str, torch.Tensor]] = root.named_parameters(remove_duplicate=False)
    for path, parameter in named:
        paths.setdefault(id(parameter), (parameter, []))[1].append(path)
    return list(paths.values())


def describe_leaf(tensor: torch.Tensor, root: str, paths: list[str], module: int) -> Parameter:
    local: torch.Tensor = getattr(tensor, "_local_tensor", tensor)
    return Parameter(
        id=-1,
        root=root,
        path=paths[0],
        shape=list(tensor.shape),
        dtype=str(tensor.dtype).removeprefix("torch."),
        device=str(tensor.device),
        numel=tensor.numel(),
        bytes=local.numel() * local.element_size(),
        requires_grad=tensor.requires_grad,
        is_leaf_tensor=not root,
        module=module,
        aliases=paths[1:],
        tensor_type=type(tensor).__name__,
    )
