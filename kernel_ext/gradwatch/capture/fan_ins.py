"""Where several gradients meet, how much each brings: read per edge, before the engine adds them up.

Of step 0 and of each power of two, where the step has details, hooks stand on the nodes that send a gradient into a
fan-in, for that backward call alone. A gradient is kept from its arrival until the last one of its fan-in arrives, and
HELD_BYTES of them at most at a time.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gradwatch.capture.device_values import READABLE_DEVICES, PinnedCopy, is_capturing
from gradwatch.capture.graph import LEAF, Walk
from gradwatch.capture.observers import Observer
from gradwatch.capture.probes import Probe
from gradwatch.capture.statistics_layout import PLAIN_TYPES, unseen
from gradwatch.capture.torch_internals import compiled_autograd, is_compiling
from gradwatch.records import EARLIER_CALLS, FanIn, FanIns, Passage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gradwatch.capture.backward import BackwardCall
    from gradwatch.capture.recording import Recording
    from gradwatch.capture.steps import OpenStep

MOST_BRANCHES = 8
"""Fan-ins of more gradients (the weights of an unrolled loop) are left alone: each pair costs a product."""

MOST_FAN_INS = 128
"""Of one call: those of leaves first, then those nearest the roots, then others spread evenly."""

MOST_CALLS = 4
"""Backward calls of one step that are measured: of a GAN both, of many micro-batches the first."""

HELD_BYTES = 32 << 20
"""Gradients kept at a time. Of a fan-in that does not fit nothing is said."""

MOST_LEAVES = 64
"""Leaves of a call at which it is compared with the earlier calls of its step: the first that its gradient reaches."""

PASSAGES = ("SigmoidBackward0", "TanhBackward0", "SoftmaxBackward0")
"""Activations that can lose the gradient: it is read on both sides of them."""

MOST_PASSAGES = 64
"""Of one call, spread evenly."""

LOST = 0.05
"""An element keeps at most this much of its gradient: sigmoid beyond 2.9 from 0, tanh beyond 2.2."""

PIECE = 1 << 14
"""Elements of CPU gradients that are multiplied at a time."""

KEPT_CHOICES = 64
"""Graph structures whose choice of fan-ins is kept."""


class MeasuredFanIns(Observer):
    """Writes FanIns records. After a call nothing of it is kept but products of gradients."""

    name = "fan-ins"

    def start(self, recording: Recording) -> None:
        self._recording = recording
        self._probe = Probe("fan-in gradients", recording.tell)
        self._choices: dict[int, Choice] = {}
        self._running: dict[int, Measurement] = {}
        self._ended: list[Measurement] = []
        self._stopped = False
        self._measured = (-1, 0)
        self._reached: set[int] = set()

    def backward_begins(self, call: BackwardCall, outputs: Sequence[Any]) -> None:
        del outputs
        if self._is_measured(call):
            assert call.walk is not None  # noqa: S101 # else it is not measured
            choice = self._choice(call.graph, call.walk)
            again = self._leaves_reached_before(call.walk)
            if choice.meetings or choice.passages or again:
                measurement = Measurement(call, [*choice.meetings, *map(_accumulation, again)], choice.passages)
                self._running[id(call)] = measurement
                measurement.hook(call.walk, self._guard)

    def after_optimizer(self, optimizer: torch.optim.Optimizer, number: int) -> None:
        del optimizer, number
        self._reached.clear()  # what is in .grad from here on has been used

    def _leaves_reached_before(self, walk: Walk) -> list[int]:
        """Leaves that an earlier call since the last optimizer step reached; those of this call are noted."""
        leaves = {int(node): id(leaf) for node, leaf in walk.leaves()}
        again = [node for node, leaf in leaves.items() if leaf in self._reached]
        self._reached.update(leaves.values())
        return again[:MOST_LEAVES]

    def backward_ends(self, call: BackwardCall) -> None:
        measurement = self._running.pop(id(call), None)
        if measurement is not None:
            measurement.end()
            if measurement.products or measurement.passed:
                self._ended.append(measurement)

    def step_ends(self, step: OpenStep) -> None:
        self._reached.clear()
        for measurement in self._ended:
            if measurement.step < 0 and any(call is measurement.call for call in step.calls):
                measurement.claim(step.number)
        self._write_ended(wait=self._stopped)

    def stop(self) -> None:
        self._stopped = True
        for measurement in getattr(self, "_running", {}).values():
            measurement.end()
        self._write_ended(wait=True)

    def _write_ended(self, *, wait: bool) -> None:
        ready = [each for each in self._ended if each.step >= 0 and (wait or each.has_landed())]
        self._ended = [each for each in self._ended if each not in ready]
        for measurement in ready:
            record = measurement.record()
            if record.fan_ins or record.passages:
                self._recording.write(record)

    def _is_measured(self, call: BackwardCall) -> bool:
        step = self._recording.steps.number
        if step & (step - 1) or not call.detailed or not call.is_outermost or self._stopped:
            return False
        plain = call.call == "backward" and not call.has_inputs and not call.create_graph
        if not plain or call.walk is None or call.graph < 0 or compiled_autograd() or is_capturing():
            return False
        count = self._measured[1] if self._measured[0] == step else 0
        self._measured = (step, count + 1)
        return count < MOST_CALLS

    def _choice(self, graph: int, walk: Walk) -> Choice:
        known = self._choices.get(graph)
        if known is None:
            if len(self._choices) >= KEPT_CHOICES:
                del self._choices[next(iter(self._choices))]
            known = self._choices[graph] = Choice(choose(walk), activations(walk))
        return known

    def _guard(self, arrive: Arrive) -> Callable[[Any, Any], None]:
        probe, cost = self._probe, self._recording.cost

        def hook(gradients: Given, outputs: Given) -> None:
            if is_compiling() or not probe.enabled:
                return
            start = perf_counter_ns()
            try:
                with unseen(), torch.no_grad():
                    arrive(gradients, outputs)
            except Exception:  # noqa: BLE001 # whatever failed is ours, never the program's
                probe.failed()
            cost.since(start)

        return hook


Given = tuple[torch.Tensor | None, ...]
Arrive = Callable[[Given, Given], None]


@dataclass(frozen=True, slots=True)
class Meeting:
    """A fan-in: the gradients that these edges (source node, slot) bring to one output of a node."""

    node: int
    input_nr: int
    edges: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """What is measured of a graph: fan-ins, and the nodes of activations."""

    meetings: list[Meeting]
    passages: list[int]


def activations(walk: Walk) -> list[int]:
    """The activations of a graph that are measured."""
    found = [node for node, name in enumerate(walk.names) if name in PASSAGES]
    return [found[at] for at in _spread(len(found), MOST_PASSAGES)]


def _spread(count: int, most: int) -> list[int]:
    """At most so many places of `count`, evenly spread."""
    return [int(at) for at in np.unique(np.linspace(0, count - 1, min(most, count)).astype(int))] if count else []


def choose(walk: Walk) -> list[Meeting]:
    """The fan-ins of a graph that are measured."""
    order = np.lexsort((walk.edge_source, walk.edge_input_nr, walk.edge_target))
    target, number = walk.edge_target[order], walk.edge_input_nr[order]
    begins = np.flatnonzero(np.diff(target, prepend=-1) | np.diff(number, prepend=-1))
    sizes = np.diff(begins, append=len(target))
    few = (sizes > 1) & (sizes <= MOST_BRANCHES)
    meetings = [_meeting(walk, order[at : at + size]) for at, size in zip(begins[few], sizes[few], strict=True)]
    return _most_telling(meetings, [walk.names[meeting.node] == LEAF for meeting in meetings])


def _accumulation(leaf: int) -> Meeting:
    """What a leaf's `.grad` holds already, with what this call brings."""
    return Meeting(leaf, 0, ((EARLIER_CALLS, 0), (leaf, 0)))


def _meeting(walk: Walk, edges: NDArray[np.int64]) -> Meeting:
    pairs = zip(walk.edge_source[edges].tolist(), walk.edge_slot[edges].tolist(), strict=True)
    return Meeting(int(walk.edge_target[edges[0]]), int(walk.edge_input_nr[edges[0]]), tuple(pairs))


def _most_telling(meetings: list[Meeting], of_leaf: list[bool]) -> list[Meeting]:
    if len(meetings) <= MOST_FAN_INS:
        return meetings
    part = MOST_FAN_INS // 4
    leaves = [meeting for meeting, is_leaf in zip(meetings, of_leaf, strict=True) if is_leaf][:part]
    others = [meeting for meeting, is_leaf in zip(meetings, of_leaf, strict=True) if not is_leaf]
    nearest, rest = others[-part:], others[:-part]
    room = MOST_FAN_INS - len(leaves) - len(nearest)
    return [*leaves, *(rest[at] for at in _spread(len(rest), room)), *nearest]


@dataclass(slots=True, eq=False)
class Measurement:
    """One call whose fan-ins are measured: gradients while they wait for each other, then their products."""

    call: BackwardCall
    meetings: list[Meeting]
    activations: list[int]
    passed: dict[int, tuple[torch.Tensor | PinnedCopy, int]] = field(
        default_factory=dict[int, "tuple[torch.Tensor | PinnedCopy, int]"]
    )
    arrived: dict[int, dict[int, torch.Tensor | None]] = field(
        default_factory=dict[int, "dict[int, torch.Tensor | None]"]
    )
    products: dict[int, torch.Tensor | PinnedCopy] = field(default_factory=dict[int, "torch.Tensor | PinnedCopy"])
    streams: dict[int, int] = field(default_factory=dict[int, int])
    held_bytes: int = 0
    left_out: set[int] = field(default_factory=set[int])
    handles: list[Any] = field(default_factory=list[Any])
    step: int = -1
    index: int = -1
    graph: int = -1

    def hook(self, walk: Walk, guard: Callable[[Arrive], Callable[[Any, Any], None]]) -> None:
        """Hook each node that sends a gradient into one of the fan-ins, and each activation."""
        by_source: dict[int, list[tuple[int, int, int]]] = {}
        for number, meeting in enumerate(self.meetings):
            if meeting.edges[0][0] == EARLIER_CALLS:
                leaf: Any = walk.nodes[meeting.node]
                self.handles.append(leaf.register_prehook(_alone(guard(self._accumulating(number, leaf.variable)))))
                continue
            for place, (source, slot) in enumerate(meeting.edges):
                by_source.setdefault(source, []).append((slot, number, place))
        for source, edges in by_source.items():
            self.handles.append(walk.nodes[source].register_hook(guard(self._arrival(edges))))
        for node in self.activations:
            self.handles.append(walk.nodes[node].register_hook(guard(self._passing(node))))

    def _accumulating(self, number: int, leaf: torch.Tensor) -> Arrive:
        reference = weakref.ref(leaf)

        def arrive(gradients: Given, _outputs: Given) -> None:
            variable = reference()
            if variable is not None and gradients and gradients[0] is not None and variable.grad is not None:
                self._arrived(number, 0, variable.grad)
                self._arrived(number, 1, gradients[0])

        return arrive

    def _passing(self, node: int) -> Arrive:
        def passes(gradients: Given, outputs: Given) -> None:
            before, after = outputs[0], gradients[0]
            if before is not None and after is not None and _is_plain(before) and _is_plain(after):
                read = _both_sides(before, after)
                self.passed[node] = (PinnedCopy(read) if read.is_cuda else read, before.shape[-1] if before.ndim else 1)

        return passes

    def _arrival(self, edges: list[tuple[int, int, int]]) -> Arrive:
        def arrive(gradients: Given, _outputs: Given) -> None:
            for slot, number, place in edges:
                self._arrived(number, place, gradients[slot] if slot < len(gradients) else None)

        return arrive

    def _arrived(self, number: int, place: int, gradient: torch.Tensor | None) -> None:
        if number in self.left_out:
            return
        size = 0 if gradient is None else gradient.numel() * gradient.element_size()
        if not self._can_wait(number, gradient) or self.held_bytes + size > HELD_BYTES:
            self._leave_out(number)
            return
        self.held_bytes += size
        waiting = self.arrived.setdefault(number, {})
        waiting[place] = gradient
        if len(waiting) == len(self.meetings[number].edges):
            self._multiply(number, [waiting[place] for place in range(len(waiting))])
            self._let_go(number)

    def _can_wait(self, number: int, gradient: torch.Tensor | None) -> bool:
        if gradient is None:
            return True
        if not _is_plain(gradient):
            return False
        if gradient.is_cuda:
            stream = torch.cuda.current_stream(gradient.device).cuda_stream
            return self.streams.setdefault(number, stream) == stream
        return True

    def _leave_out(self, number: int) -> None:
        self.left_out.add(number)
        self._let_go(number)

    def _let_go(self, number: int) -> None:
        waiting = self.arrived.pop(number, {}).values()
        self.held_bytes -= sum(each.numel() * each.element_size() for each in waiting if each is not None)

    def _multiply(self, number: int, gradients: list[torch.Tensor | None]) -> None:
        found = [each for each in gradients if each is not None]
        if not found or len({(each.device, each.numel()) for each in found}) > 1:
            return
        if not found[0].is_cuda:
            self.products[number] = torch.as_tensor(_products(gradients, found[0].numel()))
            return
        flat = [torch.zeros_like(found[0]) if each is None else each for each in gradients]
        rows = torch.stack([each.reshape(-1).double() for each in flat])
        products = rows @ rows.T
        self.products[number] = PinnedCopy(products) if products.is_cuda else products

    def end(self) -> None:
        """The call is over: hooks and gradients go."""
        for handle in self.handles:
            handle.remove()
        self.handles.clear()
        self.arrived.clear()
        self.held_bytes = 0

    def claim(self, step: int) -> None:
        """The call belongs to this step, which ended."""
        self.step, self.index, self.graph = step, self.call.index, self.call.graph

    def has_landed(self) -> bool:
        copies = [*self.products.values(), *(read for read, _ in self.passed.values())]
        return all(not isinstance(each, PinnedCopy) or each.has_landed() for each in copies)

    def record(self) -> FanIns:
        """What was found; waits for what has not landed."""
        found: list[FanIn] = []
        for number, products in sorted(self.products.items()):
            fan_in = fan_in_of(self.meetings[number], _landed(products).numpy())
            if fan_in is not None:
                found.append(fan_in)
        passages: list[Passage] = []
        for node, (read, width) in sorted(self.passed.items()):
            arrived, passed, lost = map(float, _landed(read))
            passages.append(Passage(node, arrived, passed, lost, width))
        return FanIns(self.step, self.index, self.graph, found, [each for each in passages if np.isfinite(each.passed)])


def _products(gradients: list[torch.Tensor | None], size: int) -> NDArray[np.float64]:
    """Products of gradients on the CPU, piece by piece: a copy of them would raise the program's peak."""
    arrays = [None if each is None or each._is_zerotensor() else _array(each) for each in gradients]
    products = np.zeros((len(arrays), len(arrays)))
    for at in range(0, size, PIECE):
        empty = np.zeros(min(PIECE, size - at))
        rows = np.stack([empty if each is None else _piece(each, at) for each in arrays])
        with np.errstate(all="ignore"):  # NaN and Inf are told of elsewhere; here they make products that are left out
            products += rows @ np.transpose(rows)
    return products


def _array(gradient: torch.Tensor) -> NDArray[Any]:
    """A CPU gradient as it lies. numpy has no bfloat16: its bits are the upper half of a float's."""
    plain = gradient.detach().resolve_neg()
    return (plain.view(torch.int16) if plain.dtype is torch.bfloat16 else plain).numpy()


def _piece(array: Any, at: int) -> NDArray[np.float64]:
    """Elements from a place on, in the order of indices: strides are followed without a copy of the whole."""
    piece: Any = array.reshape(-1)[at : at + PIECE] if array.flags.c_contiguous else array.flat[at : at + PIECE]
    if array.dtype == np.int16:
        piece = (piece.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return piece.astype(np.float64)


def _alone(hook: Callable[[Any, Any], None]) -> Callable[[Any], None]:
    """As a prehook, which is given gradients alone."""
    return lambda gradients: hook(gradients, ())


def _landed(values: torch.Tensor | PinnedCopy) -> torch.Tensor:
    return values.landed() if isinstance(values, PinnedCopy) else values


def _is_plain(gradient: torch.Tensor) -> bool:
    plain = type(gradient) in PLAIN_TYPES and gradient.layout is torch.strided and gradient.is_floating_point()
    return plain and gradient.device.type in READABLE_DEVICES and gradient.numel() > 0


def _both_sides(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """Norms of a gradient before and after an activation, and the share of elements that lost it."""
    if not before.is_cuda:
        with np.errstate(all="ignore"):  # NaN and Inf: a passage that is left out
            return torch.as_tensor(_both_sides_here(_array(before), _array(after)))
    arrived, passed = before.float().abs(), after.float().abs()
    lost = ((passed <= LOST * arrived) & (arrived > 0)).sum() / (arrived > 0).sum().clamp(min=1)
    norms = [torch.linalg.vector_norm(each.double()) for each in (arrived, passed)]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] # untyped in torch
    return torch.stack([*norms, lost.double()])


def _both_sides_here(before: NDArray[Any], after: NDArray[Any]) -> NDArray[np.float64]:
    """The same on the CPU, piece by piece: a copy of the gradients would raise the program's peak."""
    sums = np.zeros(4)  # squares before and after, elements that had a gradient, and those that lost it
    for at in range(0, before.size, PIECE):
        above, below = (np.abs(_piece(each, at)) for each in (before, after))
        lost = (below <= LOST * above) & (above > 0)
        sums += above @ above, below @ below, np.count_nonzero(above), np.count_nonzero(lost)
    return np.array([np.sqrt(sums[0]), np.sqrt(sums[1]), sums[3] / max(1.0, sums[2])])


def fan_in_of(meeting: Meeting, products: NDArray[np.float64]) -> FanIn | None:
    """Norms, shares and cosines from the products of each gradient with each; None where they are not finite."""
    if not np.isfinite(products).all() or not products.any():
        return None
    norms, total = np.sqrt(np.diagonal(products)), products.sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines = np.nan_to_num(np.minimum(np.maximum(products / np.outer(norms, norms), -1), 1))
        shares = np.nan_to_num(products.sum(1) / total) if total > 0 else np.zeros(len(norms))
    above = np.triu_indices(len(norms), 1)
    return FanIn(
        node=meeting.node,
        input_nr=meeting.input_nr,
        sources=[source for source, _ in meeting.edges],
        norms=norms.tolist(),
        shares=shares.tolist(),
        cosines=cosines[above].tolist(),
    )
