"""torch's memory snapshot, for pytorch.org/memory_viz: what autograd held, as allocations and frees.

The page reads pickles only, of protocol 2 to 4 and plain values; this writes one, and nothing here reads any. It
draws events in their order, not by time. Storages come in the order of the forward; when each was allocated is not
recorded, so its `time_us` is the call's start. A free is autograd's release, not the storage's own end. Addresses
are made up. What a call did not release is let go of when the next of the program's own calls begins.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gradwatch.errors import SessionDamaged, UsageError
from gradwatch.records import Backward, Held
from gradwatch.reporters.exports.held_events import BEGINS, FREED, events_of
from gradwatch.reporters.exports.source import cut

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from gradwatch.reporters.exports.source import Source
    from gradwatch.session.session import Session

READS = (Held, Backward)

_PROTOCOL = 4
_MOST_STORAGES = 200_000
_LARGEST_TOTAL = 1 << 50
_BASE = 1 << 32
_GRAIN = 512


@dataclass(slots=True)
class _Device:
    """One device's made-up memory: storages lie behind one another until none is left."""

    events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    alive: dict[int, dict[str, Any]] = field(default_factory=dict[int, dict[str, Any]])
    end: int = _BASE
    highest: int = _BASE

    def allocate(self, size: int, frames: list[dict[str, Any]], time_us: int) -> int:
        address = self.end
        event = {"action": "alloc", "addr": address, "size": size, "stream": 0, "time_us": time_us, "frames": frames}
        self.events.append(event)
        self.alive[address] = event
        self.end += max(-(-size // _GRAIN), 1) * _GRAIN
        self.highest = max(self.highest, self.end)
        return address

    def free(self, address: int, time_us: int) -> None:
        allocated = self.alive.pop(address)
        for action in ("free_requested", "free_completed"):
            self.events.append({**allocated, "action": action, "time_us": time_us})
        if not self.alive:
            self.end = _BASE

    @property
    def opening(self) -> dict[str, Any]:
        """Say that all of the memory was there from the first event on."""
        size, time_us = self.highest - _BASE, self.events[0]["time_us"]
        return {"action": "segment_alloc", "addr": _BASE, "size": size, "stream": 0, "time_us": time_us, "frames": []}

    def segment(self, number: int) -> dict[str, Any]:
        """Describe what is allocated at the end, and that the rest is free."""
        blocks: list[dict[str, Any]] = []
        position = _BASE
        for address, event in sorted(self.alive.items()):
            size = max(-(-event["size"] // _GRAIN), 1) * _GRAIN
            if address > position:
                blocks.append(_block(address - position, 0, "inactive", []))
            blocks.append(_block(size, event["size"], "active_allocated", event["frames"]))
            position = address + size
        if self.highest > position:
            blocks.append(_block(self.highest - position, 0, "inactive", []))
        active = sum(block["size"] for block in blocks if block["state"] == "active_allocated")
        return {
            "device": number,
            "address": _BASE,
            "total_size": self.highest - _BASE,
            "allocated_size": active,
            "active_size": active,
            "requested_size": sum(block["requested_size"] for block in blocks),
            "stream": 0,
            "segment_type": "large",
            "frames": [],
            "blocks": blocks,
        }


def write_memory_viz(source: Source, path: Path) -> int:
    """Write the snapshot; return the number of storages. Raises UsageError where nothing was held, or too much."""
    memory = _Memory(source)
    for step in source.numbers:
        memory.add_step(step)
    if not memory.storages:
        raise UsageError(
            "What these steps held for backward was not recorded. As a file grows, it is recorded every few steps "
            'only;\nat detail "parameters" it never is. Choose other steps with --steps.'
        )
    with path.open("wb") as file:
        pickle.dump(memory.snapshot(), file, protocol=_PROTOCOL)
    return memory.storages


def fullest_step(session: Session) -> range | None:
    """Find the step with the call that held most: it is exported where no steps are asked for."""
    recorded = (call for call in session.reader.records(Backward) if call.ledger >= 0)
    most = max(recorded, key=lambda call: call.held_bytes, default=None)
    return None if most is None else range(most.step, most.step + 1)


class _Memory:
    """All devices of a session, over the steps added so far."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._devices: dict[str, _Device] = {}
        self._left: list[tuple[_Device, int]] = []
        self.storages = 0
        self._bytes = 0

    def add_step(self, step: int) -> None:
        addresses: dict[tuple[int, int], tuple[_Device, int]] = {}
        for time_ns, kind, call, storage, what in sorted(events_of(self._source, step), key=lambda event: event[:4]):
            time_us = time_ns // 1000
            if kind == BEGINS:
                self._let_go([*self._left, *addresses.values()], time_us)
                self._left = []
                addresses.clear()
            elif kind == FREED:
                device, address = addresses.pop((call, storage), (None, 0))
                if device is not None:
                    device.free(address, time_us)
            elif what is not None:
                self._count(what.size)
                device = self._devices.setdefault(what.device, _Device())
                addresses[call, storage] = device, device.allocate(what.size, what.frames, time_us)
        self._left += addresses.values()

    def snapshot(self) -> dict[str, Any]:
        """Give what torch.cuda.memory._snapshot() would, with the devices' names beside it."""
        return {
            "segments": [device.segment(number) for number, device in enumerate(self._devices.values())],
            "device_traces": [[device.opening, *device.events] for device in self._devices.values()],
            "device_names": [cut(name) for name in self._devices],
        }

    def _let_go(self, left: Iterable[tuple[_Device, int]], time_us: int) -> None:
        for device, address in left:
            device.free(address, time_us)

    def _count(self, size: int) -> None:
        self.storages += 1
        self._bytes += size
        if self.storages > _MOST_STORAGES:
            raise UsageError(
                f"These steps held more than {_MOST_STORAGES:,} storages, more than the page can draw.\n"
                "Choose fewer steps with --steps."
            )
        if size < 0 or self._bytes > _LARGEST_TOTAL:
            raise SessionDamaged(
                self._source.session.path, f"it claims that {max(size, self._bytes):,} bytes were held"
            )


def _block(size: int, requested: int, state: str, frames: list[dict[str, Any]]) -> dict[str, Any]:
    return {"size": size, "requested_size": requested, "state": state, "frames": frames}
