"""Modules by id: who is who, found when first called, and what each call returned."""

from __future__ import annotations

import sys
import weakref
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from gradwatch.records import Module, ModuleOutput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gradwatch.capture.names import Namer

MAX_OUTPUT_DEPTH = 3
"""How deep outputs nested in tuples and dicts are looked into."""


class ModuleTable:
    """Ids of modules. `watched` roots are named by the user; others are found when they are first called."""

    def __init__(self, namer: Namer, on_root: Callable[[str, nn.Module], None]) -> None:
        self._namer = namer
        self._known: dict[int, tuple[weakref.ref[nn.Module], int]] = {}
        self._records: list[Module] = []
        self._unwritten: dict[int, None] = {}
        self._roots: dict[str, weakref.ref[nn.Module]] = {}
        self._on_root = on_root
        self._outputs: dict[tuple[int, str, int], int] = {}
        self._new_outputs: list[ModuleOutput] = []

    def add_root(self, name: str, root: nn.Module) -> None:
        """Give ids to `root` and everything in it, and tell `on_root`."""
        name = self._free_name(name, root)
        self._roots[name] = weakref.ref(root)
        for path, module in named_modules(root):
            self._add(module, Module(-1, name, path, type(module).__name__))
        self._on_root(name, root)

    def roots(self) -> Iterator[tuple[str, nn.Module]]:
        for name, ref in list(self._roots.items()):
            root = ref()
            if root is not None:
                yield name, root

    def id_of(self, module: nn.Module) -> int | None:
        """The module's id, or None when it was never seen (or its id() was a dead module's)."""
        known = self._known.get(id(module))
        return known[1] if known is not None and known[0]() is module else None

    def by_id(self) -> dict[int, tuple[nn.Module, Module]]:
        """The modules that are still there, with their records, by id."""
        pairs = [(ref(), number) for ref, number in list(self._known.values())]
        return {number: (module, self._records[number]) for module, number in pairs if module is not None}

    def discover(self, module: nn.Module, parent: int) -> int:
        """Give an id to a module first seen in a call: a root when nothing called it, else inside `parent`."""
        if parent < 0:
            frame = sys._getframe(1)  # the only way to the caller's names
            self.add_root(self._namer.name_of(module, frame) or type(module).__name__, module)
        else:
            owner = self._records[parent]
            self._rescan(owner.root)
            if self.id_of(module) is None:
                path = f"{owner.path}.<{type(module).__name__}>".lstrip(".")
                self._add(module, Module(-1, owner.root, path, type(module).__name__))
        found = self.id_of(module)
        return -1 if found is None else found

    def output(self, module: int, path: str, call: int) -> int:
        """The id of one output of one call of a module."""
        key = (module, path, call)
        found = self._outputs.get(key)
        if found is None:
            found = self._outputs[key] = len(self._outputs)
            self._new_outputs.append(ModuleOutput(found, module, path, call))
        return found

    def take_records(self) -> tuple[list[Module], list[ModuleOutput]]:
        """Modules and outputs that are new since the last call."""
        modules = [self._records[i] for i in self._unwritten]
        outputs = self._new_outputs
        self._unwritten = {}
        self._new_outputs = []
        return modules, outputs

    def _free_name(self, name: str, root: nn.Module) -> str:
        base, count = name, 2
        while name in self._roots and self._roots[name]() not in (None, root):
            name, count = f"{base}_{count}", count + 1
        return name

    def _rescan(self, root_name: str) -> None:
        root = self._roots[root_name]() if root_name in self._roots else None
        if root is not None:
            for path, module in named_modules(root):
                if self.id_of(module) is None:
                    self._add(module, Module(-1, root_name, path, type(module).__name__))

    def _add(self, module: nn.Module, record: Module) -> None:
        known = self.id_of(module)
        number = len(self._records) if known is None else known
        record = Module(number, record.root, record.path, record.class_name)
        if known is None:
            self._known[id(module)] = (weakref.ref(module), number)
            self._records.append(record)
        else:
            self._records[number] = record
        self._unwritten[number] = None


def named_modules(root: Any) -> Iterator[tuple[str, nn.Module]]:
    """Torch's own, typed."""
    return root.named_modules()


def tensors_in(value: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, torch.Tensor]]:
    """Tensors in a module's output with their paths: "", "[1]", ".logits", "[0][1]"."""
    if isinstance(value, torch.Tensor):
        yield path, value
    elif depth < MAX_OUTPUT_DEPTH:
        if isinstance(value, dict):
            items: Any = ((f"{path}.{key}", item) for key, item in value.items())  # pyright: ignore[reportUnknownVariableType] # whatever the user's dict holds
        elif isinstance(value, (tuple, list)):
            items = ((f"{path}[{i}]", item) for i, item in enumerate(value))  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] # likewise
        else:
            return
        for inner, item in items:
            yield from tensors_in(item, inner, depth + 1)
