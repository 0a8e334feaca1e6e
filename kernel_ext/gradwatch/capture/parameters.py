"""Parameters and other leaves: their ids, names, storages, and the hook that tells when `.grad` is complete."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import nn

from gradwatch.capture.deaths import Deaths
from gradwatch.capture.ledger import plain_tensors
from gradwatch.capture.modules import named_modules
from gradwatch.capture.reducers import unsharded_in
from gradwatch.capture.shapes import shape_of
from gradwatch.capture.statistics_layout import PLAIN_TYPES
from gradwatch.capture.torch_internals import (
    UninitializedTensor,
    compiled_autograd,
    is_compiling,
    without_function,
)
from gradwatch.records import Parameter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(slots=True, eq=False)
class Watched:
    """A leaf whose `.grad` is recorded. `hook` is set only where the program has hooks of its own."""

    ref: Callable[[], torch.Tensor | None]
    id: int
    key: int
    hook: Any = None


MAX_FOREIGN = 1000
"""Leaves that are not recorded, after which those that are gone are forgotten."""


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

    def keep(self, leaf: torch.Tensor) -> None:
        """Class a leaf's storage, if it is new: the program may have given the leaf other data."""
        if type(leaf) in PLAIN_TYPES and leaf.layout is torch.strided:
            address = leaf.untyped_storage()._cdata  # as above
            if self._class_of.get(address) is None:
                self.add(leaf, leaf_class(leaf))

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


Lazy: TypeAlias = "tuple[str, weakref.ref[nn.Module], Callable[[nn.Module], int | None]]"
"""A root that had parameters without a shape when it was added, with what it was added by."""

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
        self._stand_ins: dict[int, tuple[weakref.ref[torch.Tensor], Watched]] = {}
        self._foreign: dict[int, weakref.ref[torch.Tensor]] = {}
        self._lazy: list[Lazy] = []
        self.also_let_go: Callable[[torch.Tensor], None] = lambda _: None
        """Called for a tensor that no weak reference may be held to."""

    def gradient_states(self) -> list[GradientState]:
        """The state of every leaf's `.grad`, by id."""
        if self._lazy:
            self._add_made()
        states: list[GradientState] = []
        for watched in self._all:
            leaf: Any = watched.ref()
            gradient = None
            if leaf is not None and leaf.is_leaf:  # asked for its gradient, another warns
                gradient = leaf.grad
                if leaf._post_accumulate_grad_hooks and watched.hook is None and not compiled_autograd():
                    self._set_hook(watched, leaf)
            states.append(None if gradient is None else (id(gradient), _version(gradient)))
        return states

    def versions(self) -> list[int]:
        """The version of every leaf, by id; -1 of those that are gone."""
        leaves: Iterator[Any] = (watched.ref() for watched in self._all)
        return [-1 if leaf is None or leaf.is_inference() else leaf._version for leaf in leaves]

    def changed_since(self, states: list[GradientState]) -> list[tuple[Watched, torch.Tensor]]:
        """Leaves whose `.grad` is there and differs from what `states` say."""
        changed: list[tuple[Watched, torch.Tensor]] = []
        for watched, state in zip(self._all, states, strict=False):
            leaf = watched.ref()
            gradient = leaf.grad if leaf is not None and leaf.is_leaf else None
            if gradient is not None and (state is None or state[0] != id(gradient) or state[1] != _version(gradient)):
                changed.append((watched, gradient))
        return changed

    @property
    def count(self) -> int:
        """How many leaves were ever added."""
        return len(self._all)

    def added_since(self, count: int) -> list[tuple[Watched, torch.Tensor]]:
        """Leaves that were added since there were `count`, with the gradients that they have."""
        found = ((watched, watched.ref()) for watched in self._all[count:])
        return [(watched, leaf.grad) for watched, leaf in found if leaf is not None and leaf.grad is not None]

    def add_module(self, root_name: str, root: nn.Module, module_id: Callable[[nn.Module], int | None]) -> None:
        """Add every parameter of `root`, tied ones once with their aliases, and class the buffers."""
        with without_function():  # subclasses of the program's would see what is asked of them
            self._add_module(root_name, root, module_id)

    def _add_module(self, root_name: str, root: nn.Module, module_id: Callable[[nn.Module], int | None]) -> None:
        by_parameter = paths_by_parameter(root)
        if any(isinstance(parameter, UninitializedTensor) for parameter, _ in by_parameter):
            self._lazy.append((root_name, weakref.ref(root), module_id))
        owners = dict(named_modules(root, every_path=True))
        unsharded = unsharded_in(root)
        sharded = {id(leaf): parameter for parameter, leaf in unsharded}
        for found, paths in by_parameter:
            parameter = sharded.get(id(found), found)
            if not isinstance(parameter, UninitializedTensor):
                module = module_id(owners[paths[0].rpartition(".")[0]])
                self._add(parameter, root_name, paths, -1 if module is None else module)
        for parameter, leaf in unsharded:
            watched = self.find(parameter)
            if watched is not None:
                self.stand_in(leaf, watched)
        for module in owners.values():
            own: list[torch.Tensor | None] = list(module._buffers.values())
            for buffer in own:
                if buffer is not None:
                    self.storages.add(buffer, "buffer")

    def _add_made(self) -> None:
        """Add the parameters that lazy modules have made since. Those that have not are looked at again."""
        lazy, self._lazy = {id(ref): (name, ref, module_id) for name, ref, module_id in self._lazy}, []
        for name, ref, module_id in lazy.values():
            root = ref()
            if root is not None:
                self.add_module(name, root, module_id)

    def add_leaf(self, tensor: torch.Tensor, name: str) -> Watched:
        """Add a leaf that belongs to no module. One made anew every step keeps the id of the last."""
        path, count = name, 2
        while (taken := self._leaf_by_path.get(path)) is not None:
            if taken.ref() is None and self._records[taken.id].shape == list(shape_of(tensor)):
                return self._rebind(taken, tensor)
            path, count = f"{name}_{count}", count + 1
        watched = self._leaf_by_path[path] = self._add(tensor, "", [path], -1)
        return watched

    def _rebind(self, watched: Watched, tensor: torch.Tensor) -> Watched:
        if self._known.get(watched.key) is watched:
            del self._known[watched.key]
        watched.ref, watched.hook, watched.key = weakref.ref(tensor), None, id(tensor)
        self._known[watched.key] = watched
        self.storages.add(tensor, leaf_class(tensor))
        return watched

    def find(self, tensor: torch.Tensor) -> Watched | None:
        """The leaf's entry, or None when it was never added."""
        watched = self._known.get(id(tensor))
        if watched is not None and watched.ref() is tensor:
            return watched
        stand_in = self._stand_ins.get(id(tensor))
        return stand_in[1] if stand_in is not None and stand_in[0]() is tensor else None

    def name_of(self, number: int) -> str:
        """The name of a leaf by its id: its model's, and its path in it."""
        record = self._records[number]
        return ".".join(part for part in (record.root, record.path) if part)

    def at_storage(self, address: int) -> int:
        """The id of the leaf whose data lies in a storage; -1 where none does. Looks at each: not for hot paths."""
        for watched in self._all:
            leaf = watched.ref()
            if leaf is not None and any(part.untyped_storage()._cdata == address for part in _plain_or_none(leaf)):
                return watched.id
        return -1

    def stand_in(self, leaf: torch.Tensor, watched: Watched) -> None:
        """Backward reaches `leaf` in place of the parameter: FSDP made it from the shards of all ranks."""
        known = self._stand_ins.get(id(leaf))
        if known is None or known[0]() is not leaf:
            self._stand_ins[id(leaf)] = weakref.ref(leaf), watched
        self.storages.add(leaf, "parameter")

    def let_go(self, tensor: torch.Tensor) -> Callable[[], None] | None:
        """Hold a leaf in no way that it could tell, until what is returned is called. None where it is not held."""
        self._foreign.pop(id(tensor), None)
        self.also_let_go(tensor)
        held = self._known.get(id(tensor))
        if held is None or held.ref() is not tensor:
            return None
        watched = held
        watched.ref = lambda: tensor

        def take_back() -> None:
            watched.ref = weakref.ref(tensor)

        return take_back

    def is_foreign(self, tensor: torch.Tensor) -> bool:
        """Whether a leaf was found to be none of those that are recorded."""
        ref = self._foreign.get(id(tensor))
        return ref is not None and ref() is tensor

    def foreign(self, tensor: torch.Tensor) -> None:
        """Remember that a leaf is none of those that are recorded."""
        if len(self._foreign) >= MAX_FOREIGN:
            self._foreign = {key: ref for key, ref in self._foreign.items() if ref() is not None}
        self._foreign[id(tensor)] = weakref.ref(tensor)

    def __len__(self) -> int:
        return len(self._known)

    def __iter__(self) -> Iterator[Watched]:
        return iter(list(self._known.values()))

    def take_records(self) -> list[Parameter]:
        """Parameters that are new or renamed since the last call."""
        records = [self._records[i] for i in self._unwritten]
        self._unwritten = {}
        return records

    def module_of(self, number: int) -> int:
        """The id of the module that a leaf was found in; -1 where it was found in none."""
        record = self._records[number]
        return record.module if record.root else -1

    def like(self, shape: list[int], dtype: str, taken: set[int]) -> int:
        """A module's parameter of this shape and dtype whose id is not in `taken`; -1 where there is none."""
        found = (record for record in self._records if record.root and record.requires_grad)
        fitting = (record.id for record in found if record.shape == shape and record.dtype == dtype)
        return next((number for number in fitting if number not in taken), -1)

    def remove_hooks(self) -> None:
        for watched in self:
            if watched.hook is not None:
                watched.hook.remove()
                watched.hook = None

    def _add(self, tensor: torch.Tensor, root: str, paths: list[str], module: int) -> Watched:
        record = describe_leaf(tensor, root, paths, module)
        watched = self._known.get(id(tensor))
        if watched is not None and watched.ref() is tensor:
            record = replace(record, id=watched.id)
            if record == self._records[watched.id]:
                self.storages.keep(tensor)
                return watched
            self._records[watched.id] = record
        else:
            watched = self._known[id(tensor)] = Watched(weakref.ref(tensor), len(self._records), id(tensor))
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


def _version(gradient: torch.Tensor) -> int:
    """The version, and of one made with create_graph its node: each is a new tensor, perhaps where the last one was."""
    if gradient.is_inference():
        return 0
    node = gradient.grad_fn
    return gradient._version if node is None else gradient._version + ((node._sequence_nr() + 1) << 24)


def leaf_class(leaf: torch.Tensor) -> str:
    return "parameter" if isinstance(leaf, nn.Parameter) else "input"


def paths_by_parameter(root: nn.Module) -> list[tuple[torch.Tensor, list[str]]]:
    """Parameters with every path that leads to them, in the order of torch's own named_parameters."""
    paths: dict[int, tuple[torch.Tensor, list[str]]] = {}
    for path, module in named_modules(root, every_path=True):
        own: list[tuple[str, torch.Tensor | None]] = list(module._parameters.items())
        for name, parameter in own:
            if parameter is not None:
                full = f"{path}.{name}" if path else name
                paths.setdefault(id(parameter), (parameter, []))[1].append(full)
    return list(paths.values())


def describe_leaf(tensor: torch.Tensor, root: str, paths: list[str], module: int) -> Parameter:
    local: torch.Tensor = getattr(tensor, "_local_tensor", tensor)
    return Parameter(
        id=-1,
        root=root,
        path=paths[0],
        shape=list(shape_of(tensor)),
        dtype=str(tensor.dtype).removeprefix("torch."),
        device=str(tensor.device),
        numel=tensor.numel(),
        bytes=local.numel() * local.element_size(),
        requires_grad=tensor.requires_grad,
        is_leaf_tensor=not root,
        module=module,
        aliases=paths[1:],
        tensor_type=type(tensor).__name__,
        local_shape=list(local.shape) if local is not tensor else [],
        placements=[repr(each) for each in getattr(tensor, "placements", ())],
    )
