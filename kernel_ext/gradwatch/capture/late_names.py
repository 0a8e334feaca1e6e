"""Who is who in a graph that was built without a recorder: the modules and tensors that the program names now."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from gradwatch.capture.ledger import tensors_within
from gradwatch.capture.modules import named_modules
from gradwatch.capture.parameters import (
    StorageClasses,
    _class_of,  # pyright: ignore[reportPrivateUsage] # same room
    _describe,  # pyright: ignore[reportPrivateUsage] # same room
    _paths_by_parameter,  # pyright: ignore[reportPrivateUsage] # same room
)
from gradwatch.capture.torch_internals import UninitializedTensor
from gradwatch.records import Module, Parameter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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

    `owner_of` gives the module of a parameter id; a tied weight has none, since several modules use it.
    """

    modules: list[Module] = field(default_factory=list[Module])
    parameters: list[Parameter] = field(default_factory=list[Parameter])
    storages: StorageClasses = field(default_factory=StorageClasses)
    _known: dict[int, tuple[weakref.ref[torch.Tensor], int]] = field(
        default_factory=dict[int, tuple["weakref.ref[torch.Tensor]", int]]
    )
    _tensor_names: dict[int, str] = field(default_factory=dict[int, str])
    _recorded: StorageClasses | None = None

    def add_recording(self, recording: Recording) -> None:
        """Take over what a running recorder knows."""
        self.modules += recording.modules._records
        self.parameters += recording.parameters._records
        for watched in recording.parameters:
            self._known[id(watched.ref())] = (watched.ref, watched.id)
        self._recorded = recording.parameters.storages

    def add_namespace(self, namespace: Mapping[str, object]) -> None:
        """Name what variables hold: models first, then single tensors, which are inputs unless known already."""
        public = [(name, value) for name, value in namespace.items() if not name.startswith("_")]
        for name, root in outermost({name: value for name, value in public if isinstance(value, nn.Module)}):
            self._add_root(name, root)
        for name, value in public:
            for tensor in tensors_within(value):
                self._tensor_names.setdefault(id(tensor), name)
                if tensor.grad_fn is None:
                    self.storages.add_input(tensor)

    def id_of(self, leaf: torch.Tensor) -> int:
        """The id of a leaf of the graph; one that nothing names yet becomes a record."""
        known = self._known.get(id(leaf))
        if known is not None and known[0]() is leaf:
            return known[1]
        name = self._tensor_names.get(id(leaf), f"leaf {len(self.parameters)}")
        return self._add_parameter(leaf, _describe(leaf, "", [name], -1), _class_of(leaf))

    def owner_of(self, parameter: int) -> int:
        if parameter < 0 or self.parameters[parameter].aliases:
            return -1
        return self.parameters[parameter].module

    def class_of(self, address: int) -> str:
        """The class of the storage at an address, one of TENSOR_CLASSES."""
        recorded = None if self._recorded is None else self._recorded.of(address)
        return recorded or self.storages.of(address) or "activation"

    def _add_root(self, name: str, root: nn.Module) -> None:
        if any(id(parameter) in self._known for parameter in root.parameters()):
            return  # the recorder's names hold
        ids: dict[int, int] = {}
        for path, module in named_modules(root):
            ids[id(module)] = len(self.modules)
            self.modules.append(Module(len(self.modules), name, path, type(module).__name__))
        for parameter, paths in _paths_by_parameter(root):
            if not isinstance(parameter, UninitializedTensor):
                owner = root.get_submodule(paths[0].rpartition(".")[0])
                self._add_parameter(parameter, _describe(parameter, name, paths, ids[id(owner)]), "parameter")
        for buffer in root.buffers():
            self.storages.add(buffer, "buffer")

    def _add_parameter(self, tensor: torch.Tensor, record: Parameter, tensor_class: str) -> int:
        number = len(self.parameters)
        self._known[id(tensor)] = (weakref.ref(tensor), number)
        self.parameters.append(replace(record, id=number))
        self.storages.add(tensor, tensor_class)
        return number


def outermost(modules: Mapping[str, nn.Module]) -> list[tuple[str, nn.Module]]:
    """Those of `modules` that are part of no other one, each once, in their order."""
    inner = {id(part) for module in modules.values() for part in list(module.modules())[1:]}
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
