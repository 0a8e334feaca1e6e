"""Turns the forward and backward graphs of AOTAutograd into a CompiledRegion record: all of it plain data."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from gradwatch.capture.graph import column
from gradwatch.capture.origins import MACHINERY, PROJECT
from gradwatch.capture.sites import UNKNOWN, Place
from gradwatch.records import COMPILED_PHASES, CompiledRegion

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from gradwatch.capture.sites import SiteTable

INPUT = "input"
FORWARD, BACKWARD = (COMPILED_PHASES.index(phase) for phase in ("forward", "backward"))

_FRAME = re.compile(r'^  File "(?P<file>.+)", line (?P<line>\d+), in (?P<function>.+)$', re.MULTILINE)

Key = TypeVar("Key", bound="Hashable")


@dataclass(frozen=True)
class Compiled:
    """What AOTAutograd made of one compiled forward; the graphs are `torch.fx.Graph`.

    `module` is the id of the module that was running when it was compiled: dynamo names only those inside of it.
    """

    forward: Any
    backward: Any
    name: str
    backend: str
    module: int = -1


@dataclass(frozen=True)
class Tables:
    """Where ids come from: of places in the source, and of modules by `id()`, -1 where it is none that is known."""

    sites: SiteTable
    module: Callable[[int], int]


@dataclass
class _Columns:
    """One entry per op, and the distinct values that some of them refer to."""

    targets: dict[str, int] = field(default_factory=dict[str, int])
    shapes: dict[tuple[int, ...], int] = field(default_factory=dict[tuple[int, ...], int])
    dtypes: dict[str, int] = field(default_factory=dict[str, int])
    names: list[str] = field(default_factory=list[str])
    target: list[int] = field(default_factory=list[int])
    phase: list[int] = field(default_factory=list[int])
    site: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    module: list[int] = field(default_factory=list[int])
    shape: list[int] = field(default_factory=list[int])
    dtype: list[int] = field(default_factory=list[int])
    saved: list[int] = field(default_factory=list[int])
    recomputed: list[int] = field(default_factory=list[int])
    forward_op: list[int] = field(default_factory=list[int])
    edges: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])


def region_record(number: int, compiled: Compiled, tables: Tables) -> CompiledRegion:
    """The record of a region. Its graphs are read, not kept."""
    columns = _Columns()
    forward = _add_graph(columns, compiled, FORWARD, tables)
    forward_target = {name: columns.target[at] for name, at in forward.items()}
    begin = len(columns.names)
    _add_graph(columns, compiled, BACKWARD, tables)
    for at in range(begin, len(columns.names)):
        name = columns.names[at]
        op = forward.get(name, -1)
        if op >= 0 and columns.target[at] == columns.targets.get(INPUT):
            columns.forward_op[at] = op
            columns.saved[op] = 1
        elif op >= 0 and columns.target[at] == forward_target[name]:
            columns.forward_op[at] = op
            columns.recomputed[at] = 1
    return _record(number, compiled, columns)


def _record(number: int, compiled: Compiled, columns: _Columns) -> CompiledRegion:
    return CompiledRegion(
        id=number,
        name=compiled.name,
        backend=compiled.backend,
        op_count=len(columns.names),
        op_names=columns.names,
        targets=list(columns.targets),
        shapes=[list(shape) for shape in columns.shapes],
        dtypes=list(columns.dtypes),
        target=column(columns.target, "<i4"),
        phase=column(columns.phase, "|u1"),
        site=column([site for site, _ in columns.site], "<i4"),
        project_site=column([project for _, project in columns.site], "<i4"),
        module=column(columns.module, "<i4"),
        shape=column(columns.shape, "<i4"),
        dtype=column(columns.dtype, "<i4"),
        saved=column(columns.saved, "|u1"),
        recomputed=column(columns.recomputed, "|u1"),
        forward_op=column(columns.forward_op, "<i4"),
        edge_count=len(columns.edges),
        edge_source=column([source for source, _ in columns.edges], "<u4"),
        edge_target=column([target for _, target in columns.edges], "<u4"),
    )


def _add_graph(columns: _Columns, compiled: Compiled, phase: int, tables: Tables) -> dict[str, int]:
    """Add a graph's ops but its output. Returns their positions by name."""
    places: dict[str, int] = {}
    graph = compiled.forward if phase == FORWARD else compiled.backward
    for node in graph.nodes:
        if node.op == "output":
            continue
        at = places[node.name] = len(columns.names)
        shape, dtype = _result(node)
        columns.names.append(node.name)
        columns.target.append(_index(columns.targets, target_name(node)))
        columns.phase.append(phase)
        site = _site(node, tables.sites)
        columns.site.append(site)
        module = _module(node, tables.module)
        columns.module.append(compiled.module if module < 0 and site[0] != UNKNOWN else module)
        columns.shape.append(-1 if shape is None else _index(columns.shapes, shape))
        columns.dtype.append(-1 if dtype is None else _index(columns.dtypes, dtype))
        columns.saved.append(0)
        columns.recomputed.append(0)
        columns.forward_op.append(-1)
        columns.edges += [(places[source.name], at) for source in node.all_input_nodes]
    return places


def _index(table: dict[Key, int], value: Key) -> int:
    return table.setdefault(value, len(table))


def target_name(node: Any) -> str:
    """What an op calls: "aten.addmm.default", "getitem"; "input" for what a graph is given."""
    if node.op == "placeholder":
        return INPUT
    target: Any = node.target
    if isinstance(node.target, (torch._ops.OperatorBase, torch._ops.OpOverloadPacket)):
        return str(target)
    return str(getattr(target, "__name__", target))


def _result(node: Any) -> tuple[tuple[int, ...] | None, str | None]:
    """Shape and dtype of a result that is a single tensor."""
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor):
        return None, None
    return tuple(size if type(size) is int else -1 for size in value.shape), str(value.dtype).removeprefix("torch.")


def _site(node: Any, sites: SiteTable) -> tuple[int, int]:
    """Site ids of the innermost user line of an op, and of the innermost of the project's."""
    user = project = UNKNOWN
    for match in reversed(list(_FRAME.finditer(node.meta.get("stack_trace") or ""))):
        origin = sites.origins[match["file"]]
        if origin == MACHINERY:
            continue
        site = sites.site_at(Place(sites.origins.absolute(match["file"]), match["function"], int(match["line"])))
        user = site if user == UNKNOWN else user
        if origin == PROJECT:
            project = site
            break
    return user, project


def _module(node: Any, module: Callable[[int], int]) -> int:
    """The id of the innermost module whose forward an op belongs to: dynamo keeps `id(module)` as text."""
    meta = node.meta
    stack: Any = meta.get("nn_module_stack") or meta.get("fwd_nn_module_stack") or {}
    for key in reversed(list(stack)):
        address = str(key).partition("@")[0]
        if address.isdigit():
            number = module(int(address))
            if number >= 0:
                return number
    return -1


def function_of(graph: Any) -> str:
    """The function that was compiled: the outermost frame of the first op that knows where it comes from."""
    traces = (node.meta.get("stack_trace") for node in graph.nodes)
    found = chain.from_iterable(_FRAME.finditer(trace) for trace in traces if trace)
    first = next(found, None)
    return "" if first is None else first["function"]
