"""Which parameter, module and module output of one session is which of another: by root and path, and aliases."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from gradwatch.records import ModuleOutput, ModuleOutputs

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradwatch.records import SubjectKind
    from gradwatch.session.names import ParameterView
    from gradwatch.session.session import Session

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Ids in the first session by those in the second, and the names of what only one of them has."""

    second_of: dict[int, int]
    only_a: list[str] = field(default_factory=list[str])
    only_b: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True)
class NamePairs:
    """All names of two sessions, side by side."""

    parameter: Pairs
    module: Pairs
    output: Pairs

    def of(self, kind: SubjectKind) -> Pairs:
        return self.parameter if kind == "parameter" else self.output


def paired_names(a: Session, b: Session) -> NamePairs:
    """Pair the names of two sessions. Where each has one model, what the models are called does not matter."""
    key = _with_root if len(_roots(a)) > 1 or len(_roots(b)) > 1 else _without_root
    modules_a, modules_b = _module_keys(a, key), _module_keys(b, key)
    names_a = {view.id: view.name for view in a.modules}
    names_b = {view.id: view.name for view in b.modules}
    outputs_a, outputs_b = _output_keys(a, modules_a), _output_keys(b, modules_b)
    return NamePairs(
        _paired_parameters(a, b, key),
        _paired(modules_a, modules_b, names_a.__getitem__, names_b.__getitem__),
        _paired(outputs_a, outputs_b, _output_name(a), _output_name(b)),
    )


def unsharded_names(a: Session, b: Session) -> tuple[NamePairs, list[str]]:
    """Pair the names of two ranks, and tell the parameters apart of which each has a part of its own."""
    pairs = paired_names(a, b)
    there = {view.id for view in b.parameters if view.is_sharded}
    second_of = pairs.parameter.second_of
    parts = {view.id: view.name for view in a.parameters if view.is_sharded or second_of.get(view.id) in there}
    whole = {first: second for first, second in second_of.items() if first not in parts}
    return replace(pairs, parameter=replace(pairs.parameter, second_of=whole)), list(parts.values())


def _paired(a: dict[int, Key], b: dict[int, Key], name_a: Callable[[int], str], name_b: Callable[[int], str]) -> Pairs:
    ids_b = {key: number for number, key in b.items()}
    second_of = {number: ids_b[key] for number, key in a.items() if key in ids_b}
    seconds = set(second_of.values())
    return Pairs(
        second_of,
        [name_a(number) for number in a if number not in second_of],
        [name_b(number) for number in b if number not in seconds],
    )


def _paired_parameters(a: Session, b: Session, key: Callable[[str, str], Key]) -> Pairs:
    names_a = {view.id: view.name for view in a.parameters}
    names_b = {view.id: view.name for view in b.parameters}
    own_a, own_b = _parameter_keys(a, key), _parameter_keys(b, key)
    first = _paired(own_a, own_b, names_a.__getitem__, names_b.__getitem__)
    aliases = {name: view for view in b.parameters for name in (view.name, *view.aliases)}
    second_of, taken = dict(first.second_of), set(first.second_of.values())
    for view in a.parameters:
        other = _by_any_name(view, aliases) if view.id not in second_of else None
        if other is not None and other.id not in taken:
            second_of[view.id] = other.id
            taken.add(other.id)
    only_a = [name for number, name in names_a.items() if number not in second_of]
    return Pairs(second_of, only_a, [name for number, name in names_b.items() if number not in taken])


def _by_any_name(view: ParameterView, known: dict[str, ParameterView]) -> ParameterView | None:
    return next((known[name] for name in (view.name, *view.aliases) if name in known), None)


def _parameter_keys(session: Session, key: Callable[[str, str], Key]) -> dict[int, Key]:
    """Tensors that belong to no module go by their name, which is theirs alone."""
    return {
        view.id: ("leaf", view.name) if view.is_leaf_tensor else key(view.root, view.path)
        for view in session.parameters
    }


def _module_keys(session: Session, key: Callable[[str, str], Key]) -> dict[int, Key]:
    return {view.id: key(view.root, view.path) for view in session.modules}


def _output_keys(session: Session, modules: dict[int, Key]) -> dict[int, Key]:
    entries: dict[int, ModuleOutput] = {
        entry.id: entry for record in session.reader.records(ModuleOutputs) for entry in record.outputs
    }
    return {
        entry.id: (*modules.get(entry.module, ("module", str(entry.module))), entry.path, str(entry.call))
        for entry in entries.values()
    }


def _output_name(session: Session) -> Callable[[int], str]:
    return lambda number: session.names.subject_name("module", number)


def _roots(session: Session) -> set[str]:
    roots = {view.root for view in session.modules}
    return roots | {view.root for view in session.parameters if not view.is_leaf_tensor}


def _with_root(root: str, path: str) -> Key:
    return ("in", root, path)


def _without_root(_root: str, path: str) -> Key:
    return ("in", "", path)
