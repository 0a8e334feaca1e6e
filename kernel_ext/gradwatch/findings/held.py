"""What is held for backward that need not be: the largest, the unused, the twice saved, what outlives its backward."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gradwatch.findings import words
from gradwatch.findings.peak import peak_of, site_of
from gradwatch.records import Copies, Finding
from gradwatch.session.columns import as_array

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradwatch.findings.peak import Peak
    from gradwatch.findings.thresholds import Thresholds
    from gradwatch.records import DeadEnd, Severity, Trace
    from gradwatch.session.session import Session

LARGEST = 5

COPIES = ("CloneBackward0", "ToCopyBackward0", "CopyBackwards", "AliasBackward0", "RepeatBackward0", "CatBackward0")
"""Nodes of ops whose result may be the same data in another storage."""


def find(session: Session, thresholds: Thresholds) -> Iterator[Finding]:
    """What is wasted first; the largest saved tensor is told of as it is."""
    peak = peak_of(session)
    total = peak.total if peak is not None else 0
    yield from _unused(session, total, thresholds)
    if peak is None or total < thresholds.held_bytes:
        return
    yield from _by_ctx(peak, thresholds)
    yield from _twice(session, peak, thresholds)
    yield from _long(peak, thresholds)
    yield from _largest(peak, thresholds)


def _is_large(size: int, total: int, thresholds: Thresholds) -> bool:
    return size >= thresholds.held_bytes and size >= thresholds.held_share * max(1, total)


def _severity(size: int, total: int, thresholds: Thresholds) -> Severity:
    return "warning" if size >= thresholds.wasted_share * max(1, total) else "note"


# Branches that no backward call went through


def _unused(session: Session, total: int, thresholds: Thresholds) -> Iterator[Finding]:
    told: set[tuple[int, str]] = set()
    for trace in session.traces:
        if trace.graph < 0:
            continue  # nothing was trained in this step
        for end in trace.dead_ends:
            key = (end.project_site, end.op)
            if key not in told and _is_large(end.saved_bytes, total, thresholds):
                told.add(key)
                yield _dead_end(session, trace, end, total, thresholds)


def _dead_end(session: Session, trace: Trace, end: DeadEnd, total: int, thresholds: Thresholds) -> Finding:
    name = end.name or end.op or end.node
    module = session.names.module_name(end.module)
    parameters = [view for view in session.parameters if view.id in set(end.parameters)]
    sentence = (
        f"The graph behind {name}{f', made in {module},' if module else ''} saved {words.size(end.saved_bytes)} for a "
        f"backward that never came: no backward call of step {trace.step} went through it."
    )
    return Finding(
        kind="saved unused",
        severity=_severity(end.saved_bytes, max(total, end.saved_bytes), thresholds),
        title=f"{words.size(end.saved_bytes)} saved behind {name} and not used",
        sentence=sentence,
        cause="outside the loss",
        fix=f"Compute {name} under torch.no_grad() where it needs no gradient, or add it to the loss",
        steps=[trace.step, trace.step],
        modules=[end.module] if end.module >= 0 else [],
        parameters=[view.id for view in parameters],
        site=end.project_site if end.project_site >= 0 else end.site,
        name=end.name,
        bytes=end.saved_bytes,
        evidence=[f"{end.node}: {end.saved_bytes:,} bytes; {total:,} bytes held by the backward call that held most"],
        certainty="measured",
    )


# On the ctx of custom Functions


def _by_ctx(peak: Peak, thresholds: Thresholds) -> Iterator[Finding]:
    """Tensors kept as attributes: backward does not let go of them, the graph's end does."""
    special = {label.node for label in peak.columns.record.labels if label.label in ("checkpointed", "compiled")}
    groups: dict[tuple[str, str], list[int]] = {}
    for row in peak.rows.tolist():
        node, role = int(peak.ledger.node[row]), peak.role(row)
        if role.startswith("ctx.") and node not in special:
            groups.setdefault((peak.columns.name(node), role), []).append(row)
    for (op, role), rows in groups.items():
        marks = np.zeros(len(peak.ledger.node), bool)
        marks[rows] = True
        size = peak.bytes_of(peak.only_where(marks))
        if _is_large(size, peak.total, thresholds):
            yield _kept_on_ctx(peak, rows, (op, role, size), thresholds)


def _kept_on_ctx(peak: Peak, rows: list[int], what: tuple[str, str, int], thresholds: Thresholds) -> Finding:
    op, role, size = what
    node, function = int(peak.ledger.node[rows[0]]), op.removesuffix("Backward")
    attribute = role.removeprefix("ctx.")
    return Finding(
        kind="held by ctx",
        severity=_severity(size, peak.total, thresholds),
        title=f"{role} of {function} holds {words.size(size)}",
        sentence=(
            f"{function} keeps {words.size(size)} as {role} ({words.percent(size / peak.total)} of the peak): autograd "
            "neither frees attributes after their backward nor notices when they are overwritten."
        ),
        cause="attribute",
        fix=f"In {function}.forward: ctx.save_for_backward({attribute}); in backward: {attribute}, = ctx.saved_tensors",
        steps=[peak.step, peak.step],
        backward=peak.backward,
        graph=peak.graph_id,
        nodes=sorted({int(peak.ledger.node[row]) for row in rows}),
        site=peak.site(node),
        name=role,
        bytes=size,
        evidence=[_row_text(peak, row) for row in rows[:LARGEST]],
        certainty="measured",
    )


# The same data twice


def _twice(session: Session, peak: Peak, thresholds: Thresholds) -> Iterator[Finding]:
    told: set[int] = set()
    for record in session.reader.records(Copies):
        table, columns = session.ledger_table(record.ledger), session.graph_columns(record.graph)
        if table is None or columns is None:
            continue
        pairs = zip(*(as_array(each, session.path).tolist() for each in (record.first, record.second)), strict=False)
        for first, second in pairs:
            if max(first, second) >= len(table.storage):
                continue
            size = int(table.storage_bytes[table.storage[second]])
            node = _copying_node(peak, record.graph, int(table.node[second]))
            site = site_of(session, columns, record.graph, node)
            if site not in told and _is_large(size, peak.total, thresholds):
                told.add(site)
                yield _saved_twice(session, record, (first, second, node), site, thresholds)


def _copying_node(peak: Peak, graph: int, node: int) -> int:
    """The nearest node before a saver, or the one after it, that copies; the saver where there is none."""
    if graph != peak.graph_id or node < 0:
        return node
    near = [node, *peak.inputs_of(node)]
    near += [each for other in near[1:] for each in peak.inputs_of(other)]
    return next((each for each in near if peak.columns.name(each) in COPIES), node)


def _saved_twice(
    session: Session, record: Copies, where: tuple[int, int, int], site: int, thresholds: Thresholds
) -> Finding:
    first, second, node = where
    table = session.ledger_table(record.ledger)
    assert table is not None  # noqa: S101 # it was read above
    one, other = table.saved(first), table.saved(second)
    total = sum(table.class_bytes().get(name, 0) for name in ("activation", "input", "not observable"))
    how = "the same data" if record.compared else "the same statistics, and so probably the same data"
    return Finding(
        kind="saved twice",
        severity=_severity(other.storage_bytes, total, thresholds) if record.compared else "note",
        title=f"{words.size(other.storage_bytes)} saved twice",
        sentence=(
            f"{one.op} and {other.op} saved {how} in two storages of {words.size(other.storage_bytes)} "
            f"({words.shape(other.shape)} {other.dtype}): one copy would do for both."
        ),
        cause="copied",
        fix="Leave out the copy (.clone(), .contiguous(), .to()), or make it once and use that in both places",
        steps=[record.step, record.step],
        backward=record.backward,
        graph=record.graph,
        nodes=sorted({one.node, other.node, node} - {-1}),
        site=site,
        bytes=other.storage_bytes,
        evidence=[f"{view.op} #{view.node} {view.role}: {view.storage_bytes:,} bytes" for view in (one, other)],
        certainty="measured" if record.compared else "inferred",
    )


# What the program holds on to


def _long(peak: Peak, thresholds: Thresholds) -> Iterator[Finding]:
    """Autograd let go of it in the call, and the storage lived on when the call was over."""
    held = peak.held
    if held is None:
        return
    path, count = peak.session.path, len(peak.storages)
    released, died = as_array(held.released_ns, path, count), as_array(held.died_ns, path, count)
    outlived = (released >= 0) & ((died < 0) | (died > peak.duration_ns)) & (peak.classes == "activation")
    size = peak.bytes_of(outlived)
    rows = [row for row in peak.rows.tolist() if outlived[peak.ledger.storage[row]]]
    if not rows or not _is_large(size, peak.total, thresholds):
        return
    row = max(rows, key=lambda each: (peak.ledger.storage_bytes[peak.ledger.storage[each]], -each))
    node = _maker(peak, row)
    module = peak.columns.module(node)
    yield Finding(
        kind="held long",
        severity="note",
        title=f"{words.size(size)} live on after backward",
        sentence=(
            f"{words.size(size)} of what was saved ({words.percent(size / peak.total)} of the peak) outlives backward, "
            f"for the program still holds it: the largest, {words.shape(peak.shape(row))} {peak.dtype(row)}, is of "
            f"{peak.columns.name(node)}{f' in {module}' if module else ''}."
        ),
        cause="held by the program",
        fix="Drop the last name that holds it (del, or an attribute set to None) before the optimizer's step",
        steps=[peak.step, peak.step],
        backward=peak.backward,
        graph=peak.graph_id,
        nodes=[node],
        site=peak.site(node),
        bytes=size,
        evidence=[_row_text(peak, each) for each in rows[:LARGEST]],
        certainty="measured",
    )


def _maker(peak: Peak, row: int) -> int:
    """The node that made a saved tensor: the saver of its own result, else the one whose output it is."""
    node, role = int(peak.ledger.node[row]), peak.role(row)
    if role.startswith(("result", "output")):
        return node
    for other in peak.inputs_of(node):
        if any(shape == peak.shape(row) for shape, _ in peak.ledger.outputs_of(other)):
            return other
    return node


# The largest


def _largest(peak: Peak, thresholds: Thresholds) -> Iterator[Finding]:
    charged = peak.ledger.charged_row
    sizes = np.where(peak.storages & (charged >= 0), peak.ledger.storage_bytes, -1)
    order = np.argsort(-sizes, kind="stable")[:LARGEST]
    rows = [int(charged[storage]) for storage in order.tolist() if sizes[storage] > 0]
    if not rows or not _is_large(int(sizes[order[0]]), peak.total, thresholds):
        return
    row, size = rows[0], int(sizes[order[0]])
    node = int(peak.ledger.node[row])
    module = peak.columns.module(node)
    what = f"{words.shape(peak.shape(row))} {peak.dtype(row)} of {peak.columns.name(node)}"
    yield Finding(
        kind="held",
        severity="note",
        title=f"Largest saved tensor: {words.size(size)}",
        sentence=(
            f"The largest tensor at the peak of {words.size(peak.total)} is {what}{f' in {module}' if module else ''}: "
            f"{words.size(size)}, {words.percent(size / peak.total)} of it."
        ),
        cause="largest",
        steps=[peak.step, peak.step],
        backward=peak.backward,
        graph=peak.graph_id,
        nodes=[node],
        modules=[int(peak.columns.module_id[node])] if peak.columns.module_id[node] >= 0 else [],
        site=peak.site(node),
        bytes=size,
        evidence=[_row_text(peak, each) for each in rows],
        certainty="measured",
    )


def _row_text(peak: Peak, row: int) -> str:
    node, storage = int(peak.ledger.node[row]), int(peak.ledger.storage[row])
    size = int(peak.ledger.storage_bytes[storage])
    shape = words.shape(peak.shape(row))
    where = peak.columns.module(node) or "no module"
    return f"{size:,} bytes: {shape} {peak.dtype(row)}, {peak.role(row)} of {peak.columns.name(node)} in {where}"
