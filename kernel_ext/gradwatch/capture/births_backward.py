"""Hooks on the nodes whose backward can turn finite values into NaN or Inf, for one backward call.

A hook runs right after its node, while what the node saved is still there. On the CPU it looks at once and reads the
operands of a birth; on a device it adds rows, which are judged when they have arrived.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import torch

from gradwatch.capture.birth_ops import SELECTING, HookedKinds, has_half_gradient, plain_name
from gradwatch.capture.graph import roots_of, walk
from gradwatch.capture.looks import FINITE, Reading, facts_of, level_now, read, unselected
from gradwatch.capture.saved_roles import saved_rows
from gradwatch.capture.statistics_layout import unseen
from gradwatch.capture.torch_internals import current_node, is_compiling

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor
    from torch.autograd.graph import Node

    from gradwatch.capture.backward import BackwardCall
    from gradwatch.capture.probes import Cost, Probe
    from gradwatch.capture.statistics import StatisticRows

MOST_SUSPECTS = 16
"""Births of one call that are kept: where there are more, the first in the engine's order tell."""

MASK_REACH = 12
"""Nodes between an op and the selection that drops some of its results, at most."""


@dataclass(slots=True)
class Suspect:
    """A node that was seen: `given` and `made` are its gradients before and after, `saved` its operands."""

    op: str
    number: int
    node: int
    given: list[Reading]
    made: list[Reading]
    saved: list[Reading] = field(default_factory=list[Reading])


@dataclass(slots=True)
class Watched:
    """What the hooks of one backward call saw. `roots` lives while the call runs."""

    call: BackwardCall
    rows: StatisticRows
    roots: list[Node]
    thread: int
    suspects: list[Suspect] = field(default_factory=list[Suspect])
    seed: Reading | None = None
    sites: tuple[int, int] = (-1, -1)
    places: list[tuple[int, int, int]] = field(default_factory=list[tuple[int, int, int]])
    hooked: int = 0


class NodeWatch:
    """Puts the hooks in, before the engine runs."""

    def __init__(self, told: tuple[Probe, Cost]) -> None:
        self._probe, self._cost = told
        self._kinds = HookedKinds()

    def watch(self, watched: Watched, *, closely: bool) -> None:
        """Hook the graph of a call; `closely`: also the kinds that are left out where nothing is amiss."""
        call = watched.call
        nodes = call.walk.nodes if call.walk is not None else _reachable(watched.roots)
        hooks, kinds = call.node_hooks, self._kinds
        walked = call.walk is not None
        for position, node in enumerate(nodes):
            kind = kinds.of(node)
            if kind == 1 or (kind == 2 and closely) or (kind == 3 and has_half_gradient(node)):
                hooks.append(node.register_hook(self._hook(watched, node, position if walked else -1)))
                watched.hooked += 1
        for root in watched.roots:
            hooks.append(root.register_prehook(self._seed_hook(watched)))

    def _hook(self, watched: Watched, node: Any, position: int) -> Callable[[Any, Any], None]:
        # Must not hold the node: a hook that did would be a cycle through it.
        probe, cost = self._probe, self._cost
        number = node._sequence_nr()

        def posthook(made: Sequence[Tensor | None], given: Sequence[Tensor | None]) -> None:
            if is_compiling() or not probe.enabled:
                return
            start = perf_counter_ns()
            try:
                if _is_suspect(made, given) and len(watched.suspects) < MOST_SUSPECTS:
                    watched.suspects.append(_suspect(watched, (number, position), (made, given)))
            except Exception:  # noqa: BLE001 # whatever failed is ours, never the program's
                probe.failed()
            cost.since(start)

        return posthook

    def _seed_hook(self, watched: Watched) -> Callable[[Any], None]:
        probe = self._probe

        def prehook(given: Sequence[Tensor | None]) -> None:
            if is_compiling() or not probe.enabled:
                return
            try:
                for gradient in given:
                    if level_now(gradient) and gradient is not None:
                        watched.seed = read(watched.rows, "grad output", gradient)
            except Exception:  # noqa: BLE001 # whatever failed is ours, never the program's
                probe.failed()

        return prehook


def _reachable(roots: list[Node]) -> list[Node]:
    nodes = list(roots)
    seen = set(nodes)
    for node in nodes:  # grows while it is walked
        for target, _ in node.next_functions:
            if target is not None and target not in seen:
                seen.add(target)
                nodes.append(target)
    return nodes


def _is_suspect(made: Sequence[Tensor | None], given: Sequence[Tensor | None]) -> bool:
    """Whether a bad gradient came out, and none went in, as far as can be told at once."""
    on_device = False
    bad = False
    for gradient in made:
        level = level_now(gradient)
        bad = bad or bool(level)
        on_device = on_device or (gradient is not None and gradient.is_cuda)
    if on_device:
        return True
    return bad and all((level_now(gradient) or FINITE) == FINITE for gradient in given)


def _suspect(
    watched: Watched, which: tuple[int, int], gradients: tuple[Sequence[Tensor | None], Sequence[Tensor | None]]
) -> Suspect:
    made, given = gradients
    with unseen():
        node = current_node()
        rows = watched.rows
        before = [each for each in (_read(rows, "grad output", tensor) for tensor in given) if each is not None]
        after = [each for each in (_read(rows, "grad input", tensor) for tensor in made) if each is not None]
        found = Suspect(plain_name(node.name()) if node is not None else "", *which, before, after)
        if any(tensor is not None and tensor.is_cuda for tensor in made):
            return found
        for role, tensor in saved_rows(node) if node is not None else ():
            reading = read(rows, role, tensor)
            if reading is not None:
                reading.facts |= facts_of(tensor)
                found.saved.append(reading)
        _add_facts(found, watched, node, gradients)
        return found


def _read(rows: StatisticRows, role: str, tensor: Tensor | None) -> Reading | None:
    return None if tensor is None else read(rows, role, tensor)


def _add_facts(found: Suspect, watched: Watched, node: Any, gradients: tuple[Any, Any]) -> None:
    made, given = gradients
    if found.given and given[0] is not None and made and found.made:
        whole = next((tensor for tensor in made if level_now(tensor)), None)
        if whole is not None:
            found.made[0].facts["given 0"] = unselected(given[0], whole)
    if node is None:
        return
    for name in ("exponent", "p", "ord", "other"):
        value = getattr(node, f"_saved_{name}", None) if not hasattr(node, f"_raw_saved_{name}") else None
        if isinstance(value, (int, float)) and found.made:
            found.made[0].facts[name] = float(value)
    if found.made:
        found.made[0].facts["selected"] = float(_is_selected_from(node, watched.roots))
        found.made[0].facts |= structure_of(node)


def structure_of(node: Any) -> dict[str, float]:
    """What a cause asks of the graph behind a node, as facts."""
    divisor = node.next_functions[1][0] if len(node.next_functions) > 1 else None
    facts = {
        "of squares": float(_is_of_squares(node)),
        "of spread": float(divisor is not None and _is_spread(divisor)),
        "custom": float(isinstance(node, torch.autograd.function.BackwardCFunction)),
    }
    return {name: value for name, value in facts.items() if value}


def _is_spread(node: Any) -> bool:
    """Whether a value is a deviation: also through the root of a variance, and views."""
    for _ in range(4):
        name = plain_name(node.name())
        if name in ("Std", "Var", "StdMean", "VarMean"):
            return True
        if name not in ("Sqrt", "Unsqueeze", "Expand", "View", "Add") or node.next_functions[0][0] is None:
            return False
        node = node.next_functions[0][0]
    return False


def _is_of_squares(node: Any) -> bool:
    """Whether the op was given a sum of squares: then its root is a norm."""
    names = [plain_name(node.name())]
    while len(names) < 5 and node.next_functions and node.next_functions[0][0] is not None:
        node = node.next_functions[0][0]
        names.append(plain_name(node.name()))
    if not any(name in ("Sum", "Mean") for name in names[1:4]):
        return False
    return any(name in ("Pow", "Mul", "Square") for name in names[2:])


def _is_selected_from(node: Any, roots: list[Node]) -> bool:
    """Whether results of the op are dropped by a selection soon after it."""
    walked = walk(list(roots))
    if node not in walked.nodes:
        return False
    users: dict[int, list[int]] = {}
    for source, target in zip(walked.edge_source.tolist(), walked.edge_target.tolist(), strict=True):
        users.setdefault(target, []).append(source)
    waiting, seen = [(walked.nodes.index(node), 0)], set[int]()
    while waiting:
        at, depth = waiting.pop()
        for user in users.get(at, ()):
            if plain_name(walked.names[user]) in SELECTING:
                return True
            if depth < MASK_REACH and user not in seen:
                seen.add(user)
                waiting.append((user, depth + 1))
    return False


def new_watch(call: BackwardCall, rows: StatisticRows, outputs: Sequence[Any]) -> Watched:
    return Watched(call, rows, roots_of(outputs), threading.get_ident())
