"""What objects, containers, modules and optimizers hold, read without running any code of the program's.

Instance dictionaries and slots are read through the descriptors that Python itself made, containers through
their base type: no property, `__getattr__`, `repr`, `==`, `len` or iterator of another class is called.
"""

from __future__ import annotations

import types
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MAX_ITEMS = 1000
"""Longer containers are read in part."""
_MAX_TYPES = 10_000
"""Types that are remembered: a program may make types without end."""

_MODULE_OWN = frozenset(vars(nn.Module()))
"""What every module's dictionary holds: parameters and submodules among it, which are told otherwise."""

T = TypeVar("T")

_pairs: Callable[[Any], Iterable[tuple[Any, Any]]] = dict[Any, Any].items
_members: Callable[[Any], Iterator[Any]] = tuple[Any, ...].__iter__
_entries: Callable[[Any], Iterator[Any]] = list[Any].__iter__
_namespace: Callable[[Any, str], Any] = type.__getattribute__


def class_dict(kind: Any) -> Any:
    """A class's own attributes, read past its metaclass."""
    return _namespace(kind, "__dict__")


def class_order(kind: Any) -> tuple[Any, ...]:
    return _namespace(kind, "__mro__")


def package_of(kind: Any) -> str:
    """The top-level package that a class says it is from; "" where it says nothing that is text."""
    module = class_dict(kind).get("__module__", "builtins")
    return module.partition(".")[0] if type(module) is str else ""


def remembered(table: dict[Any, T], kind: Any, find: Callable[[Any], T]) -> T:
    """`find(kind)`, kept in `table`."""
    try:
        return table[kind]
    except KeyError:
        if len(table) >= _MAX_TYPES:
            table.clear()
        found = table[kind] = find(kind)
        return found
    except TypeError:  # a metaclass that refuses to be hashed
        return find(kind)


_dictionaries: dict[Any, Any] = {}
_slots: dict[Any, list[tuple[str, Any]]] = {}


def dictionary_of(kind: Any) -> Any:
    """The descriptor of `__dict__` that Python itself made for instances of a class; None where they have none."""
    return remembered(_dictionaries, kind, _find_dictionary)


def _find_dictionary(kind: Any) -> Any:
    for base in class_order(kind):
        descriptor = class_dict(base).get("__dict__")
        if type(descriptor) is types.GetSetDescriptorType:
            return descriptor
    return None


def slots_of(kind: Any) -> list[tuple[str, Any]]:
    """Names and descriptors of the `__slots__` of a class."""
    return remembered(_slots, kind, _find_slots)


def _find_slots(kind: Any) -> list[tuple[str, Any]]:
    return [
        (name, slot)
        for base in class_order(kind)
        if "__slots__" in class_dict(base)
        for name, slot in class_dict(base).items()
        if type(slot) is types.MemberDescriptorType and not name.startswith("__")
    ]


def instance_dict(value: object) -> dict[str, Any]:
    """An object's own attributes."""
    descriptor = dictionary_of(type(value))
    found: Any = None if descriptor is None else descriptor.__get__(value)
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def fields_of(value: Any) -> Iterator[tuple[str, Any]]:
    """Attributes that an object holds itself, with ".name"; of a module, those beyond what every module holds."""
    own = _MODULE_OWN if issubclass(type(value), nn.Module) else frozenset[str]()
    for name, item in islice(_pairs(instance_dict(value)), MAX_ITEMS):
        if type(name) is str and name not in own:
            yield f".{name}", item
    for name, slot in slots_of(type(value)):
        try:
            yield f".{name}", slot.__get__(value)
        except AttributeError:  # noqa: PERF203  # never set
            continue


def items_of(value: Any) -> Iterator[tuple[str, Any]]:
    """Items of a dict, list or tuple, with what an expression appends to reach them: "['x']", "[0]", ".loss"."""
    if issubclass(type(value), dict):
        attributes = instance_dict(value)  # of a transformers ModelOutput: the same values again
        for key, item in islice(_pairs(value), MAX_ITEMS):
            if type(key) is str and attributes.get(key) is item:
                yield f".{key}", item
            elif type(key) in (str, int, float, bool, type(None)):
                yield f"[{key!r}]", item
        return
    is_tuple = issubclass(type(value), tuple)
    names = _tuple_fields(type(value)) if is_tuple else ()
    items = (_members if is_tuple else _entries)(value)
    for index, item in enumerate(islice(items, MAX_ITEMS)):
        yield (f".{names[index]}" if index < len(names) else f"[{index}]"), item


def _tuple_fields(kind: Any) -> tuple[str, ...]:
    """The field names of a named tuple."""
    for base in class_order(kind):
        fields: Any = class_dict(base).get("_fields")
        if type(fields) is tuple and all(type(name) is str for name in _members(fields)):
            return fields  # pyright: ignore[reportUnknownVariableType]  # checked here
    return ()


def submodules(root: nn.Module) -> list[tuple[str, nn.Module]]:
    """Every module inside `root` with its path, itself first, in `named_modules` order; a shared one at each path.

    One that holds itself is not followed into itself.
    """
    found: list[tuple[str, nn.Module]] = []
    waiting: list[tuple[str, nn.Module, tuple[int, ...]]] = [("", root, ())]
    while waiting:
        path, module, above = waiting.pop()
        found.append((path, module))
        children = instance_dict(module).get("_modules")
        if isinstance(children, dict) and children:
            above = (*above, id(module))
            prefix = f"{path}." if path else ""
            waiting += [
                (f"{prefix}{name}", child, above)
                for name, child in reversed(list(_pairs(children)))
                if child is not None and issubclass(type(child), nn.Module) and id(child) not in above
            ]
    return found


def tensors_of(module: nn.Module, table: str) -> Iterator[tuple[str, torch.Tensor]]:
    """A module's own `_parameters` or `_buffers`, without those of its submodules."""
    held = instance_dict(module).get(table)
    if isinstance(held, dict) and held:
        for name, tensor in list(_pairs(held)):
            if tensor is not None and issubclass(type(tensor), torch.Tensor):
                yield str(name), tensor


def param_groups(optimizer: object) -> list[Any] | None:
    """The groups that an optimizer holds itself; None where it passes them on from another."""
    groups: Any = instance_dict(optimizer).get("param_groups")
    return list(_entries(groups)) if isinstance(groups, list) else None


def parameters_of(optimizer: object) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of an optimizer with what leads to them: ".param_groups[0]['params'][3]"."""
    for index, group in enumerate(param_groups(optimizer) or []):
        for key, tensors in _pairs(group) if isinstance(group, dict) else ():
            if key == "params" and isinstance(tensors, (list, tuple)):
                for place, tensor in enumerate((_members if isinstance(tensors, tuple) else _entries)(tensors)):
                    if issubclass(type(tensor), torch.Tensor):
                        yield f".param_groups[{index}]['params'][{place}]", tensor
