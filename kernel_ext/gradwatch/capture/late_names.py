"""Who is who in a graph that was built without a recorder: the modules and tensors that the program names now."""

from __future__ import annotations

import weakref
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from gradwatch.capture.inside import submodules, tensors_of
from gradwatch.capture.nested_tensors import tensors_within
from gradwatch.capture.parameters import StorageClasses, describe_leaf, leaf_class
from gradwatch.records import Module, Parameter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from gradwatch.capture.graph import Walk
    from gradwatch.capture.recording import Recording

VIEWS = frozenset(
    f"{name}Backward0"
    for name in (
        *("T", "Transpose", "Permute", "View", "UnsafeView", "ReshapeAlias", "Expand"),
        *("Unsqueeze", "Squeeze", "Slice", "Select", "ToCopy", "Clone", "Detach"),
    )
)
"""Nodes through which a parameter is still that parameter."""


@dataclass
class LateNames:
    """Modules and leaves with their ids, and the class of every storage that belongs to a name.

    `owner_of` gives the module of a parameter id; a tied weight has none, since several modules use it. `leaves`
    are the tensors by id, where no recorder's came before. `look_further` is called once, when a leaf is met
    that nothing names: it may name more. `sizes` are the parameter counts of roots, by their identity.
    """

    modules: list[Module] = field(default_factory=list[Module])
    parameters: list[Parameter] = field(default_factory=list[Parameter])
    storages: StorageClasses = field(default_factory=StorageClasses)
    leaves: list[torch.Tensor] = field(default_factory=list[torch.Tensor])
    look_further: Callable[[], None] | None = None
    sizes: dict[int, int] = field(default_factory=dict[int, int])
    _known: dict[int, tuple[Callable[[], torch.Tensor | None], int]] = field(
        default_factory=dict[int, "tuple[Callable[[], torch.Tensor | None], int]"]
    )
    _tensor_names: dict[int, str] = field(default_factory=dict[int, str])
    _owners: dict[int, int] = field(default_factory=dict[int, int])
    _module_ids: dict[int, int] = field(default_factory=dict[int, int])
    _modules_by_id: list[nn.Module] = field(default_factory=list[nn.Module])
    _recorded: StorageClasses | None = None

    def add_recording(self, recording: Recording) -> None:
        """Take over what a running recorder knows."""
        self.modules += recording.modules._records
        self.parameters += recording.parameters._records
        self._owners = {record.id: -1 if record.aliases else record.module for record in self.parameters}
        for watched in recording.parameters:
            self._known[id(watched.ref())] = (watched.ref, watched.id)
        self._recorded = recording.parameters.storages

    def add_namespace(self, namespace: Mapping[str, object]) -> None:
        """Name what variables hold: models first, then single tensors, which are inputs unless known already."""
        public = [(name, value) for name, value in namespace.items() if not name.startswith("_")]
        for name, root in outermost({name: value for name, value in public if isinstance(value, nn.Module)}):
            if not any(id(parameter) in self._known for parameter in root.parameters()):
                self.add_root(name, root)  # else the recorder's names hold
        for name, value in public:
            for tensor in tensors_within(value):
                self.name_tensor(name, tensor)

    def known_id(self, leaf: torch.Tensor) -> int:
        """The id of a leaf, -1 where nothing has named it."""
        known = self._known.get(id(leaf))
        return known[1] if known is not None and known[0]() is leaf else -1

    def id_of(self, leaf: torch.Tensor) -> int:
        """The id of a leaf of the graph; one that nothing names yet becomes a record."""
        number = self.known_id(leaf)
        if number < 0 and self.look_further is not None:
            look, self.look_further = self.look_further, None
            look()
            number = self.known_id(leaf)
        if number >= 0:
            return number
        name = self._tensor_names.get(id(leaf), f"leaf {len(self.parameters)}")
        return self.add_leaf(name, leaf)

    def add_leaf(self, name: str, leaf: torch.Tensor) -> int:
        """Give an id to a leaf that belongs to no module."""
        return self._add_parameter(leaf, _described(leaf, "", [name], -1), leaf_class(leaf))

    def name_tensor(self, name: str, tensor: torch.Tensor) -> None:
        """Remember what the program calls a tensor; one without a grad_fn is an input, unless known already."""
        self._tensor_names.setdefault(id(tensor), name)
        with suppress(Exception):  # a subclass may refuse to tell
            if tensor.grad_fn is None:
                self._add_storage(tensor, "input")

    def owner_of(self, parameter: int) -> int:
        """The module that alone holds a parameter, -1 where several do or none is known."""
        return self._owners.get(parameter, -1)

    def storages_seen(self, storages: StorageClasses) -> None:
        """Ask these for the class of a storage first."""
        self._recorded = storages

    def class_of(self, address: int) -> str:
        """The class of the storage at an address, one of TENSOR_CLASSES."""
        recorded = None if self._recorded is None else self._recorded.of(address)
        return recorded or self.storages.of(address) or "activation"

    def add_root(self, name: str, root: nn.Module) -> None:
        """Give ids to everything in `root`."""
        held: dict[int, tuple[torch.Tensor, list[str], set[int]]] = {}
        for path, module in submodules(root):
            number = self._add_module(name, path, module)
            for own, parameter in tensors_of(module, "_parameters"):
                _, paths, owners = held.setdefault(id(parameter), (parameter, [], set()))
                paths.append(f"{path}.{own}" if path else own)
                owners.add(number)
            for _, buffer in tensors_of(module, "_buffers"):
                self._add_storage(buffer, "buffer")
        self.sizes[id(root)] = len(held)
        for parameter, paths, owners in held.values():
            self._add_held(parameter, (name, paths), owners)

    def _add_held(self, parameter: torch.Tensor, named: tuple[str, list[str]], owners: set[int]) -> None:
        """A parameter of a module. One that a root before this one holds too gets its other names."""
        root, paths = named
        known = self._known.get(id(parameter))
        if known is not None:
            record = self.parameters[known[1]]
            if owners == {record.module}:
                return  # the same module, under a root that holds it
            self.parameters[known[1]] = replace(record, aliases=[*record.aliases, *(f"{root}.{p}" for p in paths)])
            self._owners[known[1]] = -1
            return
        number = self._add_parameter(parameter, _described(parameter, root, paths, min(owners)), "parameter")
        self._owners[number] = min(owners) if len(owners) == 1 else -1

    def module_id(self, root: str, path: str, module: nn.Module) -> int:
        """The id of a module; one that no root holds is added under the name given here."""
        return self._add_module(root, path, module)

    def _add_module(self, root: str, path: str, module: nn.Module) -> int:
        known = self._module_ids.get(id(module))
        if known is None:
            known = self._module_ids[id(module)] = len(self.modules)
            self.modules.append(Module(known, root, path, type(module).__name__))
            self._modules_by_id.append(module)
        return known

    def named_modules(self) -> list[tuple[Module, nn.Module]]:
        """The modules that got a record here, with it."""
        first = len(self.modules) - len(self._modules_by_id)
        return list(zip(self.modules[first:], self._modules_by_id, strict=True))

    def _add_parameter(self, tensor: torch.Tensor, record: Parameter, tensor_class: str) -> int:
        number = len(self.parameters)
        self._known[id(tensor)] = (weakref.ref(tensor), number)
        self.leaves.append(tensor)
        self.parameters.append(replace(record, id=number))
        self._add_storage(tensor, tensor_class)
        return number

    def _add_storage(self, tensor: torch.Tensor, tensor_class: str) -> None:
        with suppress(Exception):  # a subclass is asked what it is made of, and that is foreign code
            if tensor_class == "input":
                self.storages.add_input(tensor)
            else:
                self.storages.add(tensor, tensor_class)


def _described(tensor: torch.Tensor, root: str, paths: list[str], module: int) -> Parameter:
    """The record of a leaf. What a tensor does not tell (a lazy module's, a hostile subclass) stays empty."""
    try:
        return describe_leaf(tensor, root, paths, module)
    except Exception:  # noqa: BLE001 # whatever a subclass raises
        return Parameter(
            id=-1,
            root=root,
            path=paths[0],
            shape=[],
            dtype="",
            device="",
            numel=0,
            bytes=0,
            requires_grad=False,
            is_leaf_tensor=not root,
            module=module,
            aliases=paths[1:],
            tensor_type=type(tensor).__name__,
        )


def outermost(modules: Mapping[str, nn.Module]) -> list[tuple[str, nn.Module]]:
    """Those of `modules` that are part of no other one, each once, in their order."""
    inner = {id(part) for module in modules.values() for _, part in submodules(module) if part is not module}
    found: dict[int, tuple[str, nn.Module]] = {}
    for name, module in modules.items():
        if id(module) not in inner:
            found.setdefault(id(module), (name, module))
    return list(found.values())


def modules_by_parameter(walked: Walk, leaves: Sequence[int], names: LateNames) -> NDArray[np.int64]:
    """The module of each node that uses the parameters of one module, directly or through views of them.

    Module ids, int64, shape (nodes,); -1 where none or several modules' parameters are used.
    """
    owners = np.full(len(walked.nodes), -1, np.int64)
    is_view = np.zeros(len(walked.nodes), dtype=bool)
    starts = np.searchsorted(np.sort(walked.edge_source), np.arange(len(walked.nodes) + 1)).tolist()
    targets = walked.edge_target[np.argsort(walked.edge_source, kind="stable")]
    for node, name in enumerate(walked.names):  # forward order: what a node uses comes before it
        inputs = targets[starts[node] : starts[node + 1]]
        if leaves[node] >= 0:
            owners[node], is_view[node] = names.owner_of(leaves[node]), True
        elif len(inputs):
            used = set(owners[inputs[is_view[inputs]]].tolist())
            owners[node] = used.pop() if len(used) == 1 else -1
            is_view[node] = name in VIEWS and bool(is_view[inputs].all())
    owners[walked.numbers < 0] = -1  # leaves are no operation of a module
    return owners
