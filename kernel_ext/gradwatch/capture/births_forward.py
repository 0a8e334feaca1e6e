"""Where in a living graph the first NaN or Inf of a forward was born: read from what the nodes saved.

Only after a loss or a module output was found bad, on the CPU: every saved tensor is read once, the results of some
ops that nobody saved are computed again.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gradwatch.capture.birth_ops import (
    COMMON_SLOTS,
    MASKS,
    OVERFLOWING,
    PASSING,
    RECOMPUTED,
    RESULTS,
    SINGULAR,
    SLOTS,
    plain_name,
)
from gradwatch.capture.graph import LEAF
from gradwatch.capture.looks import FINITE, INF, NAN, level_now
from gradwatch.capture.saved_roles import saved_rows
from gradwatch.capture.statistics_layout import unseen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from gradwatch.capture.graph import Walk

Value = tuple[int, int]
"""An output of a node: its position in the walk, and which output."""


@dataclass(slots=True)
class Origin:
    """The node at which a bad value began. `path`: the nodes that had it afterwards, in forward order.

    `source` says what was bad already before the op: a "parameter" or an "input". `healed`: the ops that were given it
    and returned finite values, in forward order.
    """

    node: int
    level: int
    exact: bool
    source: str = ""
    path: list[int] = field(default_factory=list[int])
    healed: list[int] = field(default_factory=list[int])


class ForwardSearch:
    """What is known of the values of one graph. `levels`: of module outputs, by sequence number and output."""

    def __init__(self, walked: Walk, levels: Mapping[tuple[int, int], int]) -> None:
        self._walk = walked
        self._names = [plain_name(name) for name in walked.names]
        self._known: dict[Value, int] = {}
        self._constants: dict[int, int] = {}
        self._saved: dict[int, dict[str, Tensor]] = {}
        self._inputs: defaultdict[int, dict[int, Value]] = defaultdict(dict)
        edges = (walked.edge_source, walked.edge_slot, walked.edge_target, walked.edge_input_nr)
        for source, slot, target, nr in zip(*(each.tolist() for each in edges), strict=True):
            self._inputs[source][slot] = (target, nr)
        self._place = {node: i for i, node in enumerate(walked.nodes)}
        self._note_levels(levels)
        self._read()
        self._compute_again()
        self._pass_on()

    def origin(self, roots: Sequence[tuple[int, int, int]]) -> Origin | None:
        """Where the bad values of `roots` (position, output, level) began; None where none is bad."""
        bad = [(position, nr, level) for position, nr, level in roots if level > FINITE]
        if not bad:
            return None
        position, nr, level = max(bad, key=lambda root: root[2])
        self._known[position, nr] = level
        origin = self._follow(position, level)
        origin.healed = self._healed(origin.node)
        return origin

    def saved(self, node: int) -> dict[str, Tensor]:
        """What a node saved, by role."""
        return self._saved.get(node, {})

    def _note_levels(self, levels: Mapping[tuple[int, int], int]) -> None:
        if levels:
            numbers = {number: i for i, number in enumerate(self._walk.numbers.tolist()) if number >= 0}
            for (number, nr), level in levels.items():
                if number in numbers:
                    self._known[numbers[number], nr] = level

    def _read(self) -> None:
        for position, node in enumerate(self._walk.nodes):
            if self._names[position] == LEAF:
                level = level_now(getattr(node, "variable", None))
                if level is not None:
                    self._known[position, 0] = level
                continue
            saved = self._saved[position] = dict(saved_rows(node))
            for role, tensor in saved.items():
                level = level_now(tensor)
                if level is not None:
                    self._note(position, role, tensor, level)

    def _note(self, position: int, role: str, tensor: Tensor, level: int) -> None:
        made_by = tensor.grad_fn
        if role in RESULTS and made_by is None:
            self._known.setdefault((position, 0), level)
        elif made_by is not None and made_by in self._place:
            self._known[self._place[made_by], tensor.output_nr] = level
        else:
            value = self._inputs[position].get(self._slot(position, role))
            if value is not None and not tensor.requires_grad:
                self._known.setdefault(value, level)
            elif value is None and not tensor.requires_grad:
                self._constants[position] = max(level, self._constants.get(position, FINITE))

    def _slot(self, position: int, role: str) -> int:
        return SLOTS.get(self._names[position], {}).get(role, COMMON_SLOTS.get(role, -1))

    def _compute_again(self) -> None:
        for position, name in enumerate(self._names):
            if name in RECOMPUTED and (position, 0) not in self._known:
                op, roles = RECOMPUTED[name]
                given: list[Any] = [self._saved[position].get(role) for role in roles]
                if name == "Pow":
                    given.append(getattr(self._walk.nodes[position], "_saved_exponent", None))
                if all(each is not None for each in given):
                    level = _level_of(op, given)
                    if level is not None:
                        self._known[position, 0] = level

    def _pass_on(self) -> None:
        """Through ops whose result is as bad as what they were given: forwards, then backwards."""
        order = range(len(self._names))
        for position in (*order, *reversed(order)):
            if self._names[position] in PASSING:
                given, made = self._inputs[position].get(0), (position, 0)
                if given is not None and given in self._known:
                    self._known.setdefault(made, self._known[given])
                elif given is not None and made in self._known:
                    self._known.setdefault(given, self._known[made])

    def _follow(self, position: int, level: int) -> Origin:
        """Upstream from a bad node, to the first whose inputs are not bad."""
        path: list[int] = []
        blurred = False
        while True:
            path.append(position)
            nearer = self._bad_input(position, level)
            if nearer is None:
                break
            (position, nr), known = nearer
            blurred = not known
            level = self._known.get((position, nr), level)
            if self._names[position] == LEAF:
                leaf: Any = self._walk.nodes[position]
                source = "parameter" if isinstance(leaf.variable, torch.nn.Parameter) else "input"
                return Origin(path[-1], level, exact=True, source=source, path=path[::-1])
        constant = self._constants.get(position, FINITE)
        if constant >= level and constant > FINITE and not blurred:
            return Origin(position, level, exact=True, source="input", path=path[::-1])
        return Origin(position, level, exact=self._is_exact(position), path=path[:-1][::-1])

    def _healed(self, origin: int) -> list[int]:
        """Ops downstream of a birth that are known to have been given something bad, and to have returned none."""
        users: defaultdict[int, list[tuple[int, Value]]] = defaultdict(list)
        for position, inputs in self._inputs.items():
            for value in inputs.values():
                users[value[0]].append((position, value))
        waiting, seen, healed = [origin], {origin}, set[int]()
        while waiting:
            for user, value in users[waiting.pop()]:
                if self._is_bad(value) and user not in seen:
                    seen.add(user)
                    if self._known.get((user, 0)) == FINITE:
                        healed.add(user)
                    else:
                        waiting.append(user)
        return sorted(healed, key=lambda position: int(self._walk.numbers[position]))

    def _bad_input(self, position: int, level: int) -> tuple[Value, bool] | None:
        """The input to follow, and whether it was seen to be bad; None where the value was born here."""
        inputs = list(self._inputs[position].values())
        worst = max((self._known.get(value, FINITE) for value in inputs), default=FINITE)
        if worst == NAN or (worst == INF and level == INF):
            return next((value, True) for value in inputs if self._known.get(value, FINITE) == worst)
        if worst == INF:
            own = [value for value in inputs if self._known.get(value) == INF and not self._is_mask(value)]
            if own:
                return own[0], True
            if self._is_singular_at_inf(position):
                return None
        unknown = [value for value in inputs if value not in self._known]
        nearer = next((value for value in unknown if self._leads_to(value, self._is_bad)), None)
        if nearer is None and not self._could_start_at((position, 0)):
            nearer = next((value for value in unknown if self._leads_to(value, self._could_start_at)), None)
        return None if nearer is None else (nearer, False)

    def _is_bad(self, value: Value) -> bool:
        level = self._known.get(value, FINITE)
        return level == NAN or (level == INF and not self._is_mask(value))

    def _is_mask(self, value: Value) -> bool:
        """Whether an Inf was put there on purpose: by an op of MASKS that was given nothing bad."""
        name = self._names[value[0]]
        seen: set[int] = set()
        while name in PASSING and value[0] not in seen and 0 in self._inputs[value[0]]:
            seen.add(value[0])
            value = self._inputs[value[0]][0]
            name = self._names[value[0]]
        given = self._inputs[value[0]].values()
        return name in MASKS and all(self._known.get(each, FINITE) == FINITE for each in given)

    def _is_singular_at_inf(self, position: int) -> bool:
        name = self._names[position]
        return name in ("Softmax", "LogSoftmax", "Logsumexp") or name.startswith("ScaledDotProduct")

    def _could_start_at(self, value: Value) -> bool:
        """Whether the op behind a value of which nothing is known can make NaN or Inf of finite values."""
        node = self._walk.nodes[value[0]]
        name = self._names[value[0]]
        return (
            name in SINGULAR or name in OVERFLOWING or issubclass(type(node), torch.autograd.function.BackwardCFunction)
        )

    def _leads_to(self, value: Value, found: Callable[[Value], bool]) -> bool:
        """Whether `found` says so of an unknown value, or of one upstream of it through unknown ones."""
        waiting, seen = [value], {value}
        while waiting:
            each = waiting.pop()
            if found(each):
                return True
            if each not in self._known:
                further = [value for value in self._inputs[each[0]].values() if value not in seen]
                seen.update(further)
                waiting += further
        return False

    def _is_exact(self, position: int) -> bool:
        return (position, 0) in self._known and all(each in self._known for each in self._inputs[position].values())


def _level_of(op: Any, given: list[Any]) -> int | None:
    try:
        with unseen(), torch.no_grad():
            return level_now(op(*(each.detach() if isinstance(each, torch.Tensor) else each for each in given)))
    except (RuntimeError, TypeError):  # shapes that only the program's own call had, or no memory
        return None


def root_levels(walked: Walk, outputs: Sequence[Any]) -> list[tuple[int, int, int]]:
    """Position, output and level of the tensors that a backward call starts from, as far as they can be read."""
    place = {walked.nodes[root]: root for root in walked.roots}
    found: list[tuple[int, int, int]] = []
    for output in outputs:
        if isinstance(output, torch.Tensor) and output.grad_fn is not None and output.grad_fn in place:
            level = level_now(output)
            if level is not None:
                found.append((place[output.grad_fn], output.output_nr, level))
    return found


def numbered(numbers: Sequence[int]) -> Walk:
    """A walk of nodes that are known by their numbers alone: enough to ask for their lines."""
    from gradwatch.capture.graph import Walk  # noqa: PLC0415 # numpy's arrays alone make it

    empty = np.zeros(0, np.int64)
    return Walk([], [], np.array(numbers, np.int64), [], empty, empty, empty, empty)
