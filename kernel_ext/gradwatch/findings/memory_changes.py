"""What each change would free at an observed peak: checkpointing modules, and storing what is saved otherwise."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from gradwatch.findings.peak import Peak
    from gradwatch.records import ChangeKind
    from gradwatch.session.names import ModuleView

ITEM_BYTES = {"float64": 8, "float32": 4, "int64": 8, "int32": 4, "complex64": 8, "bool": 1, "uint8": 1}
"""Bytes of one element; what is not here has two."""

MADE_IN_PLACE = ("LeakyReluBackward0", "HardtanhBackward0", "EluBackward0", "CeluBackward0")
"""Activations that save their input, and their result where they work in place. ReLU always saves the latter."""

RESULT_ROLES = ("result", "result0", "result1", "output")


@dataclass(frozen=True)
class Change:
    """One change. `frees` are bytes of the peak, `recompute_ns` what it costs in time (-1 not known)."""

    kind: ChangeKind
    target: str
    frees: int
    fix: str
    modules: tuple[int, ...] = ()
    nodes: tuple[int, ...] = ()
    recompute_ns: int = -1
    evidence: tuple[str, ...] = ()


def changes_at(peak: Peak) -> list[Change]:
    """Every change that frees something, the largest first."""
    found = [*checkpoints(peak), *_bf16(peak), *_on_cpu(peak), *_in_place(peak), *_fused(peak)]
    return sorted((change for change in found if change.frees > 0), key=lambda change: -change.frees)


# Checkpointing


@dataclass(frozen=True)
class _Part:
    """One module with all inside it: `inside` marks nodes, `freed` storages, `added` bytes are kept for it anew."""

    module: ModuleView
    inside: NDArray[np.bool_]
    freed: NDArray[np.bool_]
    added: int

    @property
    def last(self) -> int:
        return int(np.flatnonzero(self.inside)[-1])


def checkpoints(peak: Peak) -> Iterator[Change]:
    """Checkpointing each module, and all alike modules of one list together."""
    parts = {part.module.id: part for part in _parts(peak)}
    for part in parts.values():
        yield _checkpoint(peak, [part], part.module.name)
    for name, group in _alike(list(parts.values())).items():
        yield _checkpoint(peak, group, f"{name}.*" if name else "*")


def _parts(peak: Peak) -> Iterator[_Part]:
    views = [view for view in peak.session.modules if view.path]
    module_ids = peak.columns.module_id
    checkpointed = np.zeros(len(module_ids), bool)
    checkpointed[[label.node for label in peak.columns.record.labels if label.label == "checkpointed"]] = True
    for view in views:
        inner = [other.id for other in views if other.root == view.root and _is_in(other.path, view.path)]
        inside = np.isin(module_ids, inner)
        if inside.sum() > 1 and not (inside & checkpointed).any():
            freed, added = _freed(peak, inside)
            yield _Part(view, inside, freed, added)


def _is_in(path: str, parent: str) -> bool:
    return path == parent or path.startswith(f"{parent}.")


def _freed(peak: Peak, inside: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], int]:
    """Storages saved by nodes inside alone, without the inputs, and bytes of inputs that nobody holds so far."""
    node = peak.ledger.node
    rows_inside = (node >= 0) & inside[node]
    own = peak.only_where(rows_inside) & (peak.classes == "activation")
    source, target, number = peak.edges
    crossing = inside[source] & ~inside[target]
    added = 0
    for maker, output in sorted(set(zip(target[crossing].tolist(), number[crossing].tolist(), strict=True))):
        shape = _output_shape(peak, maker, output)
        if shape is None or peak.columns.name(maker) == "AccumulateGrad":
            continue
        users = source[crossing & (target == maker)]
        kept = _saved_like(peak, own, users, shape)
        if kept is not None:
            own[kept] = False
        elif not _held_of(peak, maker, shape):
            added += prod(shape[0]) * ITEM_BYTES.get(shape[1], 2)
    return own, added


def _output_shape(peak: Peak, node: int, number: int) -> tuple[tuple[int, ...], str] | None:
    outputs = peak.ledger.outputs_of(node)
    return outputs[number] if 0 <= number < len(outputs) else None


def _saved_like(
    peak: Peak, own: NDArray[np.bool_], users: NDArray[np.int64], shape: tuple[tuple[int, ...], str]
) -> int | None:
    """The storage, of those to be freed, in which the users of an input saved it."""
    rows = peak.rows[np.isin(peak.ledger.node[peak.rows], users)]
    for row in rows.tolist():
        is_alike = prod(peak.shape(row)) == prod(shape[0]) and peak.dtype(row) == shape[1]
        if is_alike and own[peak.ledger.storage[row]] and peak.role(row) not in RESULT_ROLES:
            return int(peak.ledger.storage[row])
    return None


def _held_of(peak: Peak, maker: int, shape: tuple[tuple[int, ...], str]) -> bool:
    """Whether what a node made is held by itself, or by another of its users."""
    source, target, _ = peak.edges
    savers = {maker, *source[target == maker].tolist()}
    rows = peak.rows[np.isin(peak.ledger.node[peak.rows], list(savers))]
    return any(prod(peak.shape(row)) == prod(shape[0]) and peak.dtype(row) == shape[1] for row in rows.tolist())


def _alike(parts: list[_Part]) -> dict[str, list[_Part]]:
    """Modules of one class in one parent, by the parent's name, where there are several."""
    groups: defaultdict[tuple[str, str], list[_Part]] = defaultdict(list)
    for part in parts:
        parent = part.module.name.rpartition(".")[0]
        if part.module.name.rpartition(".")[2].isdecimal():
            groups[parent, part.module.class_name].append(part)
    sizes = {name: sum(other == name for other, _ in groups) for name, _ in groups}
    return {name: group for (name, _), group in groups.items() if len(group) > 1 and sizes[name] == 1}


def _checkpoint(peak: Peak, parts: list[_Part], target: str) -> Change:
    """What is left at the new peak: when backward begins, or while one part is computed again."""
    freed = np.zeros(len(peak.storages), bool)
    for part in parts:
        freed |= part.freed
    added = sum(part.added for part in parts)
    first = _first_savers(peak)
    left = peak.total - peak.bytes_of(freed) + added
    for part in parts:
        still = peak.storages & ~freed & (first <= part.last)
        left = max(left, peak.bytes_of(still) + peak.bytes_of(part.freed))
    calls = peak.session.module_calls(peak.step)
    times = [calls[part.module.id].forward_ns for part in parts if part.module.id in calls]
    known = len(times) == len(parts) and min(times, default=-1) >= 0
    evidence = (f"{int(freed.sum())} storages saved inside alone: {peak.bytes_of(freed)} bytes, {added} kept anew",)
    return Change(
        "checkpoint",
        target,
        peak.total - left,
        _checkpoint_code(parts, target),
        modules=tuple(part.module.id for part in parts),
        recompute_ns=sum(times) if known else -1,
        evidence=evidence,
    )


def _first_savers(peak: Peak) -> NDArray[np.int64]:
    """The earliest node that saved each storage: backward lets go of it when that one has run."""
    first = np.full(len(peak.storages), np.iinfo(np.int64).max, np.int64)
    rows = peak.rows[peak.ledger.node[peak.rows] >= 0]
    np.minimum.at(first, peak.ledger.storage[rows], peak.ledger.node[rows])
    return first


def _checkpoint_code(parts: list[_Part], target: str) -> str:
    name = "block" if len(parts) > 1 else f"self.{parts[0].module.path}"
    call = f"torch.utils.checkpoint.checkpoint({name}, x, use_reentrant=False)"
    return f"Call it as {call}. Measure it first: gradwatch try --checkpoint '{target}' train.py"


# What is saved, stored otherwise


def _bf16(peak: Peak) -> Iterator[Change]:
    is_float = np.array([dtype == "float32" for dtype in peak.ledger.record.dtypes] or [False])[peak.ledger.dtype]
    chosen = peak.only_where(is_float) & (peak.classes == "activation")
    fix = (
        "Run the forward under torch.autocast(device_type, dtype=torch.bfloat16), which also computes in it. "
        "Measure the saving alone: gradwatch try --bf16 train.py"
    )
    yield Change("bf16 saving", "*", peak.bytes_of(chosen) // 2, fix, evidence=(f"{int(chosen.sum())} storages",))


def _on_cpu(peak: Peak) -> Iterator[Change]:
    devices = peak.ledger.record.devices
    on_device = np.array([device != "cpu" for device in devices] or [False])[peak.ledger.storage_device]
    chosen = on_device & (peak.classes == "activation")
    fix = (
        "Run the forward under torch.autograd.graph.save_on_cpu(pin_memory=True). "
        "Measure it first: gradwatch try --save-on-cpu train.py"
    )
    evidence = (f"{int(chosen.sum())} storages on a device",)
    yield Change("save_on_cpu", "*", peak.bytes_of(chosen), fix, evidence=evidence)


def _in_place(peak: Peak) -> Iterator[Change]:
    """Activations that alone hold their input, while their result is held too: in place there is one of the two."""
    source, target, _ = peak.edges
    chosen, modules, nodes = np.zeros(len(peak.storages), bool), set[int](), list[int]()
    for node in np.flatnonzero(np.isin([peak.columns.name(i) for i in range(len(peak.columns.op))], MADE_IN_PLACE)):
        rows = [row for row in peak.rows.tolist() if peak.ledger.node[row] == node and peak.role(row) == "self"]
        users = source[target == node]
        for row in rows:
            alone = peak.only_where(peak.ledger.node == node)
            after = peak.rows[np.isin(peak.ledger.node[peak.rows], users)]
            kept = any(prod(peak.shape(other)) == prod(peak.shape(row)) for other in after.tolist())
            if kept and alone[peak.ledger.storage[row]] and peak.classes[peak.ledger.storage[row]] == "activation":
                chosen[peak.ledger.storage[row]] = True
                modules.add(int(peak.columns.module_id[node]))
                nodes.append(int(node))
    names = sorted(view.name for view in peak.session.modules if view.id in modules)
    fix = f"Set inplace=True on {', '.join(names) or 'them'}. Measure it first: gradwatch try --inplace train.py"
    yield Change(
        "in-place activation",
        ", ".join(names),
        peak.bytes_of(chosen),
        fix,
        modules=tuple(modules - {-1}),
        nodes=tuple(nodes),
    )


def _fused(peak: Peak) -> Iterator[Change]:
    """Attention matrices: results of a softmax over (..., T, S), and what of their shape is saved beside them."""
    for node in [i for i in range(len(peak.columns.op)) if peak.columns.name(i) == "SoftmaxBackward0"]:
        rows = [row for row in peak.rows.tolist() if peak.ledger.node[row] == node]
        shape = max((peak.shape(row) for row in rows), key=len, default=())
        if len(shape) < 3 or not _is_multiplied(peak, node):
            continue
        module = peak.columns.module_id[node]
        alike = np.zeros(len(peak.ledger.node), bool)
        for row in peak.rows.tolist():
            saver = int(peak.ledger.node[row])
            alike[row] = prod(peak.shape(row)) == prod(shape) and saver >= 0 and _near(peak, saver, node, module)
        chosen = peak.storages_where(alike) & (peak.classes == "activation")
        rows_of = prod(shape[:-1]) * 4  # the fused op keeps the logarithm of each row's sum
        fix = (
            "Replace softmax(q @ k.transpose(-2, -1) / sqrt(d)) @ v by "
            "torch.nn.functional.scaled_dot_product_attention(q, k, v)"
        )
        name = peak.columns.module(node)
        modules = (int(module),) if module >= 0 else ()
        yield Change("fused attention", name, peak.bytes_of(chosen) - rows_of, fix, modules=modules, nodes=(node,))


_ATTENTION_SPAN = 12
"""Nodes between the scores and the product with the values: scale, mask, softmax, dropout, casts and views."""


def _near(peak: Peak, saver: int, node: int, module: int) -> bool:
    return abs(saver - node) <= _ATTENTION_SPAN and (
        module < 0 or peak.columns.module_id[saver] == module or saver > node
    )


def _is_multiplied(peak: Peak, node: int) -> bool:
    """Whether a softmax's result goes into a matrix product within a few ops."""
    source, target, _ = peak.edges
    reached = {node}
    for _ in range(6):
        reached |= set(source[np.isin(target, list(reached))].tolist())
        if any(peak.columns.name(each) in ("BmmBackward0", "MmBackward0", "BaddbmmBackward0") for each in reached):
            return True
    return False
