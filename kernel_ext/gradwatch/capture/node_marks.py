"""Marks on autograd nodes that die with them: how many graphs of past steps are alive costs no search.

A mark is an object in the node's `metadata`, the dict that anomaly mode keeps its traces in. It belongs to the node
in C++, so that it lives as long as the graph does. A weak reference to the node will not do: what Python sees of a
node is a wrapper, which is made anew when it is asked for. A hook would do too, but the engine would run it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Literal

from gradwatch.capture.deaths import Deaths

if TYPE_CHECKING:
    import weakref
    from collections.abc import Iterable

    from torch.autograd.graph import Node

KEY = "gradwatch"

MarkKind = Literal["root", "output", "first output"]


class _Life:
    """What the node owns."""

    __slots__ = ("__weakref__", "serial")

    def __init__(self, serial: int) -> None:
        self.serial = serial


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """A marked node: when and where its graph was used. `keys` are raw site keys (user, project)."""

    serial: int
    step: int
    kind: MarkKind
    number: int
    op: str
    keys: tuple[int, int]
    name: str
    life: weakref.ref[_Life]


class NodeMarks:
    """The marks on nodes that are alive, in the order in which they were made."""

    def __init__(self) -> None:
        self._alive: dict[weakref.ref[_Life], Mark] = {}
        self._deaths = Deaths()
        self._serials = count()

    def __len__(self) -> int:
        return len(self._living())

    def put(self, node: Node, step: int, kind: MarkKind, told: tuple[tuple[int, int], str]) -> bool:
        """Mark a node, unless it is marked. `told` are site keys and a Python name."""
        metadata = _metadata(node)
        if KEY in metadata:
            return False
        serial = next(self._serials)
        life = _Life(serial)
        number = node._sequence_nr()  # no public getter
        mark = Mark(serial, step, kind, number, node.name(), *told, self._deaths.watch(life))
        self._alive[mark.life] = mark
        metadata[KEY] = life
        return True

    def oldest_step(self) -> int | None:
        """The step of the oldest mark alive."""
        for mark in self._living().values():
            return mark.step
        return None

    def made_before(self, step: int) -> list[Mark]:
        """The marks alive that were made before a step, oldest first."""
        return [mark for mark in self._living().values() if mark.step < step]

    def drop(self) -> None:
        """Forget all marks: what is left on living nodes means nothing from then on."""
        self._alive.clear()
        self._deaths = Deaths()

    def _living(self) -> dict[weakref.ref[_Life], Mark]:
        """The marks alive; those that died since the last look are let go of here, not as they die (see deaths)."""
        for life, _ in self._deaths.take():
            self._alive.pop(life, None)
        return self._alive


def serial_of(node: Node) -> int | None:
    """The serial number of a node's mark. Reading makes the node's dict: ask only nodes whose number is a mark's."""
    life = _metadata(node).get(KEY)
    return life.serial if type(life) is _Life else None


def _metadata(node: Any) -> dict[Any, Any]:
    return node.metadata  # a property, which torch's stubs take for a method


def graphs(marks: Iterable[Mark]) -> dict[int, int]:
    """How many graphs the marks are of, by step: of one graph several nodes may be marked."""
    counts: dict[tuple[int, str], int] = {}
    for mark in marks:
        counts[mark.step, mark.kind] = counts.get((mark.step, mark.kind), 0) + 1
    found: dict[int, int] = {}
    for (step, _), number in counts.items():
        found[step] = max(found.get(step, 0), number)
    return found
