"""Module and source line of each node of a graph, and modules and parameters by name, as the panel has them.

Read as for a snapshot: from a recorder, from what the first stop attached, or, where nobody saw the forward,
from the parameters a node uses. Modules are called "model.layers.0", lines "/home/me/train.py:51".
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from gradwatch.capture import stop_tables
from gradwatch.capture.late_names import LateNames, outermost
from gradwatch.capture.live_graph import How, read_graph
from gradwatch.capture.modules import named_modules
from gradwatch.capture.stop_tables import full_name
from gradwatch.capture.witnesses import attachment, running_recorder, witness

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradwatch.capture.graph import Walk
    from gradwatch.capture.live_graph import Reading


@dataclass(frozen=True)
class NodePlaces:
    """By position in the walk: the module ("" unknown) and the lines (innermost, project's own; none unknown).

    `objects` are the modules themselves by name, as far as they are alive.
    """

    modules: list[str]
    lines: list[tuple[str, ...]]
    objects: dict[str, nn.Module] = field(default_factory=dict[str, nn.Module])


def places_of(walked: Walk) -> NodePlaces:
    """To be asked on the thread that made the graph, or one of autograd's own."""
    names = LateNames()
    for name, root in _roots():
        names.add_root(name, root)
    reading = read_graph([walked.nodes[root] for root in walked.roots], names, witness(names), How(held=False))
    found: list[int] = reading.attribution.modules.tolist()
    records = names.modules
    return NodePlaces(
        ["" if i < 0 else full_name(records[i].root, records[i].path) for i in found],
        _lines(reading),
        {full_name(record.root, record.path): module for record, module in names.named_modules()},
    )


def _lines(reading: Reading) -> list[tuple[str, ...]]:
    texts = [f"{site.file}:{site.line}" for site in reading.sites]
    inner: list[int] = reading.attribution.sites.tolist()
    project: list[int] = reading.attribution.project_sites.tolist()
    return [tuple(dict.fromkeys(texts[i] for i in pair if i >= 0)) for pair in zip(inner, project, strict=True)]


def _roots() -> Iterator[tuple[str, nn.Module]]:
    """Outermost modules by name: of the latest snapshot, and of the program's main module."""
    seen: set[int] = set()
    for name, module in (*stop_tables.modules(), *outermost(_main_modules())):  # a snapshot names roots first
        if id(module) not in seen:
            seen.update(id(inner) for _, inner in named_modules(module))
            yield name, module


def _main_modules() -> dict[str, nn.Module]:
    main = sys.modules.get("__main__")
    names = {} if main is None else dict(vars(main))
    return {name: value for name, value in names.items() if isinstance(value, nn.Module) and not name.startswith("_")}


def module_named(name: str) -> nn.Module | None:
    for root_name, root in (*_roots(), *_witnessed_roots()):
        if name == root_name or name.startswith(f"{root_name}."):
            found = dict(named_modules(root)).get(name[len(root_name) + 1 :])
            if found is not None:
                return found
    return None


def _witnessed_roots() -> Iterator[tuple[str, nn.Module]]:
    recorder, attached = running_recorder(), attachment()
    recording = None if recorder is None else recorder._recording
    for table in (None if recording is None else recording.modules, None if attached is None else attached.modules):
        if table is not None:
            yield from table.roots()


def parameter_named(name: str) -> torch.Tensor | None:
    """A parameter, or a leaf tensor of the program's main module, by the name the panel shows."""
    found: Any = stop_tables.parameter(name)
    if found is None:
        path, _, last = name.rpartition(".")
        module = module_named(path) if path else None
        owner = sys.modules.get("__main__") if module is None else module
        found = getattr(owner, name if module is None else last, None)
    return found if isinstance(found, torch.Tensor) else None
