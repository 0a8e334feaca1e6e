"""Where memory ran out, what held it, and the smallest change that would have made room."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gradwatch.findings import words
from gradwatch.findings.memory_changes import changes_at
from gradwatch.findings.peak import peak_with
from gradwatch.findings.what_if import doing
from gradwatch.records import TENSOR_CLASSES, Finding, OutOfMemory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradwatch.findings.memory_changes import Change
    from gradwatch.findings.thresholds import Thresholds
    from gradwatch.session.session import Session


def find(session: Session, thresholds: Thresholds) -> Iterator[Finding]:
    """One for each time that memory ran out."""
    for record in session.reader.records(OutOfMemory):
        yield _finding(session, record, thresholds)


def _finding(session: Session, record: OutOfMemory, thresholds: Thresholds) -> Finding:
    change, fits = _smallest(session, record)
    module = session.names.module_name(record.module)
    site = record.project_site if record.project_site >= 0 else record.site
    return Finding(
        kind="out of memory",
        severity="error",
        title=f"Out of memory in {record.phase}",
        sentence=_sentence(session, record, (module, site), thresholds),
        cause=record.phase,
        fix=_fix(record, change, fits=fits),
        steps=[record.step, record.step],
        graph=record.graph,
        modules=[record.module] if record.module >= 0 else [],
        site=site,
        name=module,
        bytes=record.requested_bytes,
        evidence=_evidence(record),
        certainty="measured",
    )


def _sentence(session: Session, record: OutOfMemory, where: tuple[str, int], thresholds: Thresholds) -> str:
    module, site = where
    op = record.op or _call_in(session.line_text(site) if site >= 0 else None)
    asked = "more memory" if record.requested_bytes < 0 else words.size(record.requested_bytes)
    place = f" in {module}" if module else ""
    device = "the host" if record.device == "cpu" else record.device
    said = f"{op}{place} asked {device} for {asked} in the {record.phase} of step {record.step}, and there was no room"
    parts = [f"{words.size(size)} {what}" for what, size in held_by_class(record) if size > 0]
    held = f"; held then: {', '.join(parts)}" if parts else ""
    return f"{said}{held}{_fragmentation(record, thresholds)}."


def _call_in(line: str | None) -> str:
    """`torch.empty(...)` of `matrix = torch.empty(n, n)`: the line itself is printed beside the sentence."""
    found = re.search(r"([A-Za-z_][\w.]*)\(", line or "")
    return f"{found[1]}(...)" if found else "An operation"


def held_by_class(record: OutOfMemory) -> list[tuple[str, int]]:
    """What was held, in words, largest first."""
    classes = dict(zip(TENSOR_CLASSES, record.class_bytes, strict=False))
    found = [
        ("saved for backward", record.held_bytes),
        ("of it in the batch", classes.get("input", 0)),
        ("in parameters", record.parameter_bytes),
        ("in gradients", record.gradient_bytes),
        ("in optimizer state", record.optimizer_bytes),
    ]
    return sorted(found, key=lambda entry: -entry[1]) if record.held_bytes < 0 else found


def _fragmentation(record: OutOfMemory, thresholds: Thresholds) -> str:
    free, asked = record.free_in_pool, record.requested_bytes
    if free < 0 or asked < 0 or free < thresholds.fragmented_share * asked:
        return ""
    return f"; the allocator holds {words.size(free)} that it could not give in one piece"


def _smallest(session: Session, record: OutOfMemory) -> tuple[Change | None, bool]:
    """The change that frees least and yet enough; where none does, the one that frees most."""
    peak = peak_with(session, (record.step, -1), (record.graph, record.ledger))
    changes = changes_at(peak) if peak is not None else []
    room = max(0, record.free_in_pool)
    fitting = [change for change in changes if change.frees + room >= record.requested_bytes >= 0]
    if fitting:
        return fitting[-1], True
    return (changes[0] if changes else None), False


def _fix(record: OutOfMemory, change: Change | None, *, fits: bool) -> str:
    if record.free_in_pool >= 0 and record.requested_bytes >= 0 and record.free_in_pool > 2 * record.requested_bytes:
        return "Set PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True: enough is free, but in pieces"
    if change is None:
        return "Look at the size that it asked for: nothing else that is held would make room"
    what = f"{doing(change.kind, change.target)} frees {words.size(change.frees)}"
    if fits:
        return f"The smallest change that would have made room: {what}. {change.fix}"
    if record.requested_bytes >= 0:
        asked = words.size(record.requested_bytes)
        return f"No single change makes room for {asked}: use a smaller batch, or ask for less; {what}"
    return f"Most is gained by this: {what}. {change.fix}"


def _evidence(record: OutOfMemory) -> list[str]:
    found = [record.message]
    pairs = [
        ("allocated", record.allocated_bytes),
        ("reserved", record.reserved_bytes),
        ("free in the pool", record.free_in_pool),
        ("of the device", record.total_bytes),
    ]
    found += [f"{size:,} bytes {what}" for what, size in pairs if size >= 0]
    found += [f"{size:,} bytes {what}" for what, size in held_by_class(record) if size > 0]
    return found
