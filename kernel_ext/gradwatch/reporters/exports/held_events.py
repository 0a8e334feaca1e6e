"""What autograd took hold of and let go of in a step, storage by storage, as events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gradwatch.records import TENSOR_CLASSES, Held
from gradwatch.reporters.exports.held_tables import saving_site
from gradwatch.reporters.exports.source import cut
from gradwatch.session.columns import as_array
from gradwatch.session.held import HELD_CLASSES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from gradwatch.records import Backward
    from gradwatch.reporters.exports.source import Source
    from gradwatch.session.ledger import LedgerTable

BEGINS, HELD, FREED = 0, 1, 2
"""One of the program's own backward calls begins; a storage is held; autograd lets it go."""

COUNTED_CLASSES = [number for number, name in enumerate(TENSOR_CLASSES) if name in HELD_CLASSES]


@dataclass(frozen=True, slots=True)
class Allocation:
    """A storage: its bytes, its device, and frames that say which line, module and node saved it."""

    size: int
    device: str
    frames: list[dict[str, Any]]


Event = tuple[int, int, int, int, Allocation | None]
"""Time in ns, kind, index of the call, place of the storage in forward order, and the storage where it is held."""


def events_of(source: Source, step: int) -> list[Event]:
    """Give the events of a step. A call whose columns do not fit is left out."""
    held = {record.backward: record for record in source.session.reader.records_of_step(Held, step)}
    events: list[Event] = []
    for call in source.calls(step):
        if call.parent < 0:
            events.append((call.start_ns, BEGINS, call.index, 0, None))
        ledger = source.session.ledger_table(call.ledger_id)
        if ledger is not None:
            with source.losing_damaged():
                events += list(_events(source, ledger, call.record, held.get(call.index)))
    return events


def _events(source: Source, ledger: LedgerTable, call: Backward, held: Held | None) -> Iterator[Event]:
    counted = np.flatnonzero(np.isin(ledger.storage_class, COUNTED_CLASSES))
    rows = ledger.charged_row[counted]
    nodes = np.where(rows < 0, -1, ledger.node[rows])
    released = _released(source, ledger, held)
    for place, index in enumerate(np.lexsort((rows, nodes)).tolist()):
        storage = int(counted[index])
        yield call.start_ns, HELD, call.index, place, _allocation(source, ledger, storage)
        if released is not None and released[storage] >= 0:
            yield call.start_ns + int(released[storage]), FREED, call.index, place, None


def _released(source: Source, ledger: LedgerTable, held: Held | None) -> NDArray[np.int64] | None:
    if held is None or held.ledger != ledger.record.id:
        return None
    return as_array(held.released_ns, source.session.path, ledger.record.storage_count).astype(np.int64)


def _allocation(source: Source, ledger: LedgerTable, storage: int) -> Allocation:
    row = int(ledger.charged_row[storage])
    tensor_class = ledger.entry(TENSOR_CLASSES, ledger.storage_class[storage])
    device = ledger.entry(ledger.record.devices, ledger.storage_device[storage])
    frames: list[dict[str, Any]] = []
    if row >= 0:
        saved = ledger.saved(row)
        site = saving_site(source.session, ledger, row)
        if site is not None:
            frames.append({"filename": cut(site.file), "line": site.line, "name": cut(site.function)})
        what = f"{saved.op} saved {saved.role}: {saved.dtype} {list(saved.shape)}, {tensor_class}, {device}"
        frames.append({"filename": cut(saved.module or "(no module)"), "line": saved.node, "name": cut(what)})
    return Allocation(int(ledger.storage_bytes[storage]), device, frames)
