"""Modules by id: who is who, found when first called, and what each call returned."""

from __future__ import annotations

import os
import sys
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from gradwatch.records import Module, ModuleOutput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

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
        self._wrappers: weakref.WeakSet[nn.Module] = weakref.WeakSet()

    def add_root(self, name: str, root: nn.Module) -> None:
        """Give ids to `root` and everything in it, and tell `on_root`."""
        name = self._free_name(name, root)
        self._roots[name] = weakref.ref(root)
        for path, module in named_modules(root):
            self._add(module, Module(-1, name, path, type(module).__name__))
        self._on_root(name, root)

    @property
    def count(self) -> int:
        """How many modules were seen so far."""
        return len(self._records) + len(self._wrappers)

    def roots(self) -> Iterator[tuple[str, nn.Module]]:
        for name, ref in list(self._roots.items()):
            root = ref()
            if root is not None:
                yield name, root

    def id_of(self, module: nn.Module) -> int | None:
        """The module's id, or None when it was never seen (or its id() was a dead module's)."""
        known = self._known.get(id(module))
        return known[1] if known is not None and known[0]() is module else None

    def id_at(self, address: int) -> int:
        """The id of the module whose `id()` is `address`; -1 where none that is known and alive has it."""
        known = self._known.get(address)
        return known[1] if known is not None and known[0]() is not None else -1

    def by_id(self) -> dict[int, tuple[nn.Module, Module]]:
        """The modules that are still there, with their records, by id."""
        pairs = [(ref(), number) for ref, number in list(self._known.values())]
        return {number: (module, self._records[number]) for module, number in pairs if module is not None}

    def discover(self, module: nn.Module, parent: int) -> int:
        """Give an id to a module first seen in a call: a root when nothing called it, else inside `parent`."""
        if parent < 0:
            frame = sys._getframe(1)  # the only way to the caller's names
            root = self._namer.owner_of(module, frame) or module
            self._discover_root(compiled_module(root) or root, self._namer.name_of(root, frame))
        else:
            owner = self._records[parent]
            self._rescan(owner.root)
            if self.id_of(module) is None:
                path = f"{owner.path}.<{type(module).__name__}>".lstrip(".")
                self._add(module, Module(-1, owner.root, path, type(module).__name__))
        found = self.id_of(module)
        return -1 if found is None else found

    def _discover_root(self, model: nn.Module, name: str | None) -> None:
        """Add a root. Of one that only wraps another that one is it, and has the names."""
        if self.id_of(model) is not None or _is_compiled_backward(model):
            return
        wrapped = wrapped_module(model)
        if wrapped is not None:
            self._wrappers.add(model)
            model = compiled_module(wrapped) or wrapped
        if self.id_of(model) is not None:
            return
        if self._wraps_a_root(model):
            self._wrappers.add(model)
        else:
            self.add_root(name or type(model).__name__, model)

    def _wraps_a_root(self, module: nn.Module) -> bool:
        """Whether it is there for one known root alone (DDP does so): a name of its own would only rename that."""
        if len(module._modules) != 1 or module._parameters or self.id_of(module) is not None:
            return False
        (inner,) = module._modules.values()
        return any(inner is root for _, root in self.roots())

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

    def look_again(self, name: str, root: nn.Module) -> None:
        """Note where modules of a root are by now, and what class they have."""
        for path, module in named_modules(root):
            number = self.id_of(module)
            if number is not None:
                known = self._records[number]
                if known.root == name and (known.path, known.class_name) != (path, type(module).__name__):
                    self._add(module, Module(-1, name, path, type(module).__name__))

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


def compiled_module(module: nn.Module) -> nn.Module | None:
    """The module of the program's that `torch.compile(module)` put its wrapper around; None for any other module."""
    if type(module).__name__ != "OptimizedModule" or not type(module).__module__.startswith("torch._dynamo"):
        return None
    inner = module._modules.get("_orig_mod")
    return inner if isinstance(inner, nn.Module) else None


def _is_compiled_backward(module: nn.Module) -> bool:
    """Whether it is the graph that compiled autograd made of a backward call: no module of the program's."""
    return isinstance(module, torch.fx.GraphModule) and type(module).__name__.startswith("CompiledAutograd")


def wrapped_module(module: nn.Module) -> nn.Module | None:
    """The module that DistributedDataParallel was put around; None for any other module. Imports nothing."""
    kind: Any = getattr(sys.modules.get("torch.nn.parallel.distributed"), "DistributedDataParallel", None)
    if kind is None or not issubclass(type(module), kind):
        return None
    inner = module._modules.get("module")
    return inner if isinstance(inner, nn.Module) else None


_TORCH = Path(torch.__file__).parent
_COMPILER = tuple(str(_TORCH / part) + os.sep for part in ("_dynamo", "_functorch", "_inductor"))
_CALLING = (str(_TORCH / "nn" / "modules" / "module.py"), str(_TORCH / "fx") + os.sep)
"""Files whose frames stand between a graph and whoever calls it."""


def is_compilers(module: nn.Module, frame: FrameType | None) -> bool:
    """Whether a module that is called from `frame` outwards is a graph that the compiler made, and calls itself."""
    if not isinstance(module, torch.fx.GraphModule):
        return False
    while frame is not None and frame.f_code.co_filename.startswith(_CALLING):
        frame = frame.f_back
    return frame is not None and frame.f_code.co_filename.startswith(_COMPILER)


def named_modules(root: nn.Module, *, every_path: bool = False) -> Iterator[tuple[str, nn.Module]]:
    """Modules with their paths, in the order of torch's own, which a program may override; it also hashes modules.

    A shared one comes once, or with `every_path` at each path. One that holds itself is not followed into itself.
    """
    seen: set[int] = set()
    waiting: list[tuple[str, nn.Module, tuple[int, ...]]] = [("", root, ())]
    while waiting:
        path, module, above = waiting.pop()
        if id(module) in (above if every_path else seen):
            continue
        seen.add(id(module))
        yield path, module
        above, prefix = (*above, id(module)), f"{path}." if path else ""
        children: list[tuple[str, nn.Module | None]] = list(module._modules.items())
        waiting += [(prefix + name, child, above) for name, child in reversed(children) if child is not None]


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
