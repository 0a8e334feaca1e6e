"""Runs cases alone, witnessed and recorded, and tells where a session differs from what was there."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from gradwatch import open as open_session
from gradwatch import watch
from operator_readings import Call, kept_storages, live_call, norm_of, parts_of, recorded_calls
from operators import Bits

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from gradwatch import Session
    from gradwatch.records import Detail
    from operator_readings import Norm
    from operators import Case, Given, Outcome

ATTEMPTS = 80
"""How often a case that differs is run again, alone, before the difference is held to be the recorder's.

What a few kernels give depends on where their memory lies and what was in it: linalg.lstsq with one in eight layouts,
the second backward of conv_transpose3d in bfloat16 with most contents. So each run finds other free memory.
"""


class Reader:
    """Reads the live graph just before each call, and the leaves' gradients after it."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.cases: list[str] = []
        self._nodes: list[Any] = []
        self._owned: set[int] = set()
        self._case = ""

    def starts(self, case: str) -> None:
        """The calls from here on are this case's."""
        self._case = case

    def begins(self, kind: str, root: Tensor, given: Given) -> None:
        call, self._nodes = live_call(kind, root, kept_storages(given.owner), self._packed())
        self._owned = set(map(id, given.owner.parameters())) if isinstance(given.owner, nn.Module) else set()
        self.calls.append(call)
        self.cases.append(self._case)

    def ended(self, error: BaseException | None) -> None:
        call, nodes = self.calls[-1], self._nodes
        self._nodes = []  # they hold the graph
        call.raised = error is not None
        if call.kind == "grad":
            return
        for i, node in enumerate(nodes):
            leaf = getattr(node, "variable", None)
            if leaf is not None and leaf.grad is not None:
                call.norms[i] = norm_of([leaf.grad])
                if id(leaf) in self._owned:
                    call.owned.add(i)

    def _packed(self) -> dict[int, int]:
        return {}


class Witness(Reader):
    """Also hears from every node what gradients it is given, and from autograd all that it packs."""

    def __init__(self) -> None:
        super().__init__()
        self.packed = Packed()
        self._hooks: list[Any] = []

    def starts(self, case: str) -> None:
        super().starts(case)
        self.packed.forget()  # what an exception of the last case holds

    def begins(self, kind: str, root: Tensor, given: Given) -> None:
        super().begins(kind, root, given)
        for i, node in enumerate(self._nodes):
            if not hasattr(node, "variable"):
                self._hooks.append(node.register_prehook(_hears(self.calls[-1].node_norms, i)))

    def _packed(self) -> dict[int, int]:
        return self.packed.storages()

    def ended(self, error: BaseException | None) -> None:
        while self._hooks:
            self._hooks.pop().remove()
        super().ended(error)


def _hears(norms: dict[int, Norm], node: int) -> Any:
    def prehook(gradients: tuple[Tensor | None, ...]) -> None:
        given = [gradient for gradient in gradients if gradient is not None]
        if given:
            norms[node] = norm_of(given)

    return prehook


class Packed:
    """Hooks that keep count of all that autograd packs and has not yet let go."""

    def __init__(self) -> None:
        self._boxes: WeakSet[_Box] = WeakSet()
        self.hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, _unpack)

    def forget(self) -> None:
        """Leave what was packed by now out of count."""
        self._boxes = WeakSet()

    def storages(self) -> dict[int, int]:
        """Bytes of every storage that is held, by its identity."""
        parts = [part for box in self._boxes for part in parts_of(box.tensor)]
        return {part.untyped_storage()._cdata: part.untyped_storage().nbytes() for part in parts}  # its identity

    def _pack(self, tensor: Tensor) -> _Box:
        box = _Box(tensor.detach())
        self._boxes.add(box)
        return box


class _Box:
    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def _unpack(box: _Box) -> Tensor:
    return box.tensor


def run(cases: list[Case], reader: Reader | None = None) -> dict[str, Outcome]:
    """What each case gives. `reader` reads its calls."""
    outcomes: dict[str, Outcome] = {}
    with warnings.catch_warnings(), _one_thread():
        warnings.simplefilter("ignore")  # torch's own, of what the samples use
        for case in cases:
            if reader is not None:
                reader.starts(case.name)
            outcomes[case.name] = case.run(reader)
    return outcomes


@contextmanager
def _one_thread() -> Generator[None]:
    """The tensors are small: threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Expected:
    """What cases give alone, without anything looking, and what a witness of a second run saw."""

    def __init__(self, cases: list[Case]) -> None:
        self.cases = {case.name: case for case in cases}
        assert len(self.cases) == len(cases), "one name, one case"
        self.outcomes = run(cases)
        self.witness = Witness()
        with self.witness.packed.hooks:
            witnessed = run(cases, self.witness)
        self._steady: dict[str, bool] = {}
        for name in differing(witnessed, self.outcomes):
            assert not self.is_steady(name), f"{name} differs as it is looked at"

    def is_steady(self, name: str) -> bool:
        """Whether the case gives the same bits, alone, wherever its memory happens to lie, and whatever was in it."""
        if name not in self._steady:
            self._steady[name] = all(self._gives_the_same(name, attempt) for attempt in range(ATTEMPTS))
        return self._steady[name]

    def _gives_the_same(self, name: str, attempt: int) -> bool:
        kept = _other_memory(attempt)
        same = run([self.cases[name]])[name] == self.outcomes[name]
        kept.clear()
        return same


def _other_memory(seed: int) -> list[Tensor]:
    """Free memory in pieces of many sizes, with other bytes in them; what lies between is returned."""
    drawn = torch.Generator().manual_seed(seed)
    sizes = torch.randint(1, 4000, (200,), generator=drawn).tolist()
    pieces = [torch.full((size,), (0, 127, 255)[seed % 3], dtype=torch.uint8) for size in sizes]
    return [pieces[at] for at in torch.randperm(len(pieces), generator=drawn).tolist()[::3]]


def differing(found: dict[str, Outcome], expected: dict[str, Outcome]) -> list[str]:
    return [name for name, outcome in expected.items() if found[name] != outcome]


def check(expected: Expected, path: Path, detail: Detail) -> list[str]:
    """Record the cases and assert that the session says what was there.

    Returns the cases that are not steady alone: their values were not compared, all else was.
    """
    reader = Reader()
    cases = list(expected.cases.values())
    with watch(path=path, detail=detail):
        found = run(cases, reader)
    unsteady = [name for name in differing(found, expected.outcomes) if not expected.is_steady(name)]
    without_values = _without_values(expected.outcomes)
    for name in differing(found, expected.outcomes):
        assert name in unsteady, f"{name}: {found[name]} is not {expected.outcomes[name]}"
        assert _without_values(found[name]) == without_values[name]
    with open_session(path) as session:
        wrong = [f"{name}: {what}" for name, what in _differences(session, reader, expected)]
    assert wrong == []
    return unsteady


def _without_values(tree: Any) -> Any:
    return tree_map_only(Bits, lambda found: found[:2], tree, is_leaf=lambda each: isinstance(each, Bits))


def _differences(session: Session, reader: Reader, expected: Expected) -> Iterator[tuple[str, str]]:
    notices = [notice.traceback or notice.text for notice in session.notices]
    assert not notices, "\n".join(notices)
    calls, witness = recorded_calls(session), expected.witness
    assert witness.cases == reader.cases
    assert len(calls) == len(reader.calls)
    for name, call, live, seen in zip(reader.cases, calls, reader.calls, witness.calls, strict=True):
        assert call.walked or session.run.detail == "parameters"
        for what in differences(call, live, seen):
            yield name, what
        if session.run.detail == "nodes":
            if call.kind == "grad" and sorted(call.storages) != seen.alive:
                yield name, f"storages {call.storages}, and autograd holds {seen.alive}"
            if not _are_near(call.node_norms, seen.node_norms) and expected.is_steady(name):
                yield name, f"nodes were given {call.node_norms}, not {seen.node_norms}"


def differences(call: Call, live: Call, seen: Call) -> Iterator[str]:
    """Where the recorded call is not the live one, or that not the one which a witness saw without a recorder."""
    for what in ("kind", "names", "edges", "saved", "storages", "held"):
        if getattr(live, what) != getattr(seen, what):
            yield f"{what} changes under the recorder: {getattr(live, what)}, not {getattr(seen, what)}"
    if (call.kind, call.raised) != (live.kind, live.raised):
        yield f"{call.kind} that raised: {call.raised}"
    if not call.walked:
        if not _has_norms(call, live):
            yield f"leaves have {call.norms}, not {live.norms}"
        return
    copies = {i for i, name in enumerate(call.names) if name == "CopySlices"}
    if not copies <= call.labelled:
        yield "a CopySlices node has no label"
    plain = call.without_hidden(copies)
    for what in ("names", "edges", "saved", "storages", "held"):
        if getattr(plain, what) != getattr(live, what):
            yield f"{what}: {getattr(plain, what)}, not {getattr(live, what)}"
    if not _are_near(call.norms, live.norms):
        yield f"leaves have {call.norms}, not {live.norms}"


def _are_near(found: dict[int, Norm], expected: dict[int, Norm]) -> bool:
    return found.keys() == expected.keys() and all(found[key].is_near(norm) for key, norm in expected.items())


def _has_norms(call: Call, live: Call) -> bool:
    """Whether a call without its graph has a gradient of each of the module's parameters, and only real ones."""
    left = list(live.norms.items())
    for norm in call.norms.values():
        near = next((item for item in left if norm.is_near(item[1])), None)
        if near is None:
            return False
        left.remove(near)
    owned = [live.norms[node] for node in live.owned]
    return all(any(norm.is_near(found) for found in call.norms.values()) for norm in owned)
