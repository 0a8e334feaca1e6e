"""Follows the values of a traced step from op to op: what made them, what lost their graph, what was written over.

Tensors are known by identity and weak reference alone. An op is known by its place in a list, and by the sequence
numbers of the nodes that it made.
"""

from __future__ import annotations

import weakref
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch

from gradwatch.capture.graph import LEAF, short_name
from gradwatch.capture.sites import UNKNOWN
from gradwatch.capture.torch_internals import is_functorch, sequence_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from gradwatch.capture.trace_ops import OpKind
    from gradwatch.records import CutKind

MAX_OPS = 20_000
"""Ops that are followed in a step. What comes behind has no line of its own, and dead ends are not told."""
MAX_CUTS = 500
MAX_WRITES = 1000
MAX_WRITES_OF_STORAGE = 32
MAX_TENSORS = 256
MAX_ADOPTED = 2000
MAX_PARAMETERS = 4096

_CONTAINERS = (list, tuple, dict)
_dict: Any = dict
Keys = tuple[int, int]
Phase = Literal["forward", "backward", "update"]
NOWHERE: Keys = (UNKNOWN, UNKNOWN)


class Wrote(NamedTuple):
    """One in-place op on a storage. The lines are raw keys, of SiteTable."""

    op: str
    site: int
    project_site: int
    version_before: int
    version_after: int


@dataclass(slots=True)
class Call:
    """One call of the program's, from before it ran until its result was looked at."""

    kind: OpKind
    keys: Keys
    module: int
    name: str
    inputs: list[torch.Tensor]
    versions: list[int]
    first: int
    inside_function: bool


@dataclass(slots=True)
class Op:
    """What is kept of a call. Nodes it made are numbered `first` to `end` (exclusive); parents are places of ops."""

    name: str
    keys: Keys
    module: int
    label: str
    first: int
    end: int
    parents: tuple[int, ...]
    leaves: tuple[int, ...]
    carries: bool
    output: weakref.ref[torch.Tensor] | None = None
    node: str = ""
    used: int = 0
    consumed: bool = False
    reached: bool = False
    filled: bool = True


@dataclass(slots=True)
class Leaf:
    """A leaf that ops were given, by weak reference, and how many were."""

    ref: Callable[[], torch.Tensor | None]
    uses: int = 0


@dataclass(slots=True)
class CutSeen:
    """One line that lost a graph."""

    kind: CutKind
    op: str
    keys: Keys
    module: int
    name: str
    mark: int
    parents: set[int] = field(default_factory=set[int])
    leaves: set[int] = field(default_factory=set[int])
    reaches_loss: bool = False
    count: int = 0


@dataclass(slots=True)
class WriteSeen:
    """One line that wrote in place."""

    op: str
    keys: Keys
    module: int
    phase: Phase
    name: str
    leaves: set[int] = field(default_factory=set[int])
    count: int = 0


class Followed(NamedTuple):
    """A tensor that an op made: its place in the list of ops, and the cuts behind its value, one bit each."""

    ref: weakref.ref[torch.Tensor]
    op: int
    marks: int


class Flow:
    """The ops of one step."""

    def __init__(self) -> None:
        self.ops: list[Op] = []
        self.leaves: list[Leaf] = []
        self.cuts: dict[tuple[str, str, Keys], CutSeen] = {}
        self.writes: dict[tuple[str, Keys, str], WriteSeen] = {}
        self.count = 0
        self.truncated = False
        self.walked = False
        self.phase: Phase = "forward"
        self.function_keys = NOWHERE
        self._last_end = sequence_number()
        self._tensors: dict[int, Followed] = {}
        self._leaf_at: dict[int, int] = {}
        self._gradients: dict[int, tuple[weakref.ref[torch.Tensor], int]] = {}
        self._firsts: list[int] = []
        self._making: list[int] = []
        self._adopted: dict[int, int] = {}
        self._written: dict[int, list[Wrote]] = {}

    # Ops

    def ended(self, call: Call, result: Any) -> None:
        """Take in a call that returned."""
        end = sequence_number()
        outputs = list(tensors_in((result,)))
        written = self._writes_of(call)
        for each in written:
            if _is_trained_leaf(each):
                self.leaves[self._leaf(each)].uses -= 1  # it was given to be written to; _behind counts it
        outputs += written
        outputs += [base for each in written if (base := each._base) is not None]
        carried = [each for each in call.inputs if each.requires_grad]
        carries = any(each.requires_grad for each in outputs)
        parents, leaves, marks = self._behind(call.inputs)
        for parent in parents:
            self.ops[parent].used += 1
            self.ops[parent].consumed |= carries
        if carried and self._is_cut(call, outputs, carries=carries):
            marks |= self._cut(call, carried, parents, leaves)
        if not outputs or not (carries or marks or parents or end > call.first):
            return
        place = self._add(call, end, parents, leaves, carries=carries)
        for output in outputs:
            self._tensors[id(output)] = Followed(weakref.ref(output), place, marks)
        if outputs:
            op = self.ops[place]
            op.output = weakref.ref(outputs[0])
            if carries and end > call.first and (node := outputs[0].grad_fn) is not None:
                op.node = short_name(node)

    def _add(self, call: Call, end: int, parents: set[int], leaves: set[int], *, carries: bool) -> int:
        if call.first > self._last_end and self.function_keys != NOWHERE:
            gap = Op("Function.apply", self.function_keys, call.module, "", self._last_end, call.first, (), (), True)
            gap.filled = False
            self._note(gap)
            self.function_keys = NOWHERE
        op = Op(
            call.kind.name, call.keys, call.module, call.name, call.first, end, tuple(parents), tuple(leaves), carries
        )
        return self._note(op)

    def _note(self, op: Op) -> int:
        place = len(self.ops)
        self.ops.append(op)
        if op.end > op.first:
            self._firsts.append(op.first)
            self._making.append(place)
            self._last_end = op.end
        if place >= MAX_OPS:
            self.truncated = True
        return place

    def op_of(self, number: int) -> Op | None:
        """The op that made the node of a sequence number."""
        place = self.place_of(number)
        return None if place < 0 else self.ops[place]

    def place_of(self, number: int) -> int:
        """The place of the op that made the node of a sequence number; -1 where none was seen."""
        at = bisect_right(self._firsts, number) - 1
        if at >= 0:
            place = self._making[at]
            if number < self.ops[place].end:
                return place
        return self._adopted.get(number, -1)

    # What is behind a tensor

    def _behind(self, tensors: Iterable[torch.Tensor]) -> tuple[set[int], set[int], int]:
        parents: set[int] = set()
        leaves: set[int] = set()
        marks = 0
        for tensor in tensors:
            followed = self.followed(tensor)
            if followed is not None:
                marks |= followed.marks
            if not tensor.requires_grad:
                continue
            if _is_trained_leaf(tensor):
                leaves.add(self._leaf(tensor, uses=1))
                continue
            place = followed.op if followed is not None and self.ops[followed.op].carries else self._adopt(tensor)
            if place >= 0:
                parents.add(place)
        return parents, leaves, marks

    def followed(self, tensor: torch.Tensor) -> Followed | None:
        """What is known of a tensor, if it is one of this step's."""
        found = self._tensors.get(id(tensor))
        return found if found is not None and found.ref() is tensor else None

    def op_behind(self, tensor: torch.Tensor) -> Op | None:
        """The op that made a tensor."""
        followed = self.followed(tensor)
        return None if followed is None else self.ops[followed.op]

    def _leaf(self, tensor: torch.Tensor, *, uses: int = 0) -> int:
        at = self._leaf_at.get(id(tensor))
        if at is None or self.leaves[at].ref() is not tensor:
            at = self._leaf_at[id(tensor)] = len(self.leaves)
            self.leaves.append(Leaf(weakref.ref(tensor)))
        self.leaves[at].uses += uses
        return at

    def _adopt(self, tensor: torch.Tensor) -> int:
        """The place of what made a tensor unseen: a custom Function, an op inside a subclass, an earlier step."""
        node = _node_of(tensor)
        if node is None:
            return -1
        number = _number(node)
        place = self.place_of(number)
        if place >= 0 and self.ops[place].filled:
            return place
        parents, leaves = self._before(node)
        if place < 0:
            op = Op(short_name(node), NOWHERE, -1, "", number, number, tuple(parents), tuple(leaves), True)
            place = self._adopted[number] = len(self.ops)
            self.ops.append(op)
        op = self.ops[place]
        op.parents, op.leaves, op.filled = tuple(parents), tuple(leaves), True
        op.output, op.node = weakref.ref(tensor), short_name(node)
        for parent in parents:
            self.ops[parent].used += 1
            self.ops[parent].consumed = True
        return place

    def _before(self, node: Any) -> tuple[set[int], set[int]]:
        """The ops and leaves that an unseen node's graph begins at."""
        parents: set[int] = set()
        leaves: set[int] = set()
        waiting, seen = [node], {node}
        while waiting and len(seen) < MAX_ADOPTED:
            for after, _ in waiting.pop().next_functions:
                if after is None or after in seen:
                    continue
                seen.add(after)
                if after.name().endswith(LEAF):
                    leaves.add(self._leaf(after.variable, uses=1))
                    continue
                place = self.place_of(_number(after))
                if place >= 0 and self.ops[place].filled:
                    parents.add(place)
                else:
                    waiting.append(after)
        return parents, leaves

    def leaves_behind(self, parents: Iterable[int], leaves: Iterable[int]) -> set[int]:
        """The leaves behind ops, those ops' own and `leaves` together."""
        found = set(leaves)
        waiting, seen = list(parents), set(parents)
        while waiting and len(found) < MAX_PARAMETERS:
            op = self.ops[waiting.pop()]
            found.update(op.leaves)
            for parent in op.parents:
                if parent not in seen:
                    seen.add(parent)
                    waiting.append(parent)
        return found

    # Cuts

    def _is_cut(self, call: Call, outputs: list[torch.Tensor], *, carries: bool) -> bool:
        if carries or call.inside_function:
            return False
        return bool(outputs) or call.kind.cut in ("number", "numpy")

    def _cut(self, call: Call, carried: list[torch.Tensor], parents: set[int], leaves: set[int]) -> int:
        kind = call.kind.cut or _why_not_carried()
        key = (kind, call.kind.name, call.keys)
        cut = self.cuts.get(key)
        if cut is None:
            if len(self.cuts) >= MAX_CUTS:
                return 0
            name = next((op.label for each in carried if (op := self.op_behind(each)) and op.label), "") or call.name
            cut = self.cuts[key] = CutSeen(kind, call.kind.name, call.keys, call.module, name, 1 << len(self.cuts))
        cut.count += 1
        cut.parents |= parents
        cut.leaves |= leaves
        return cut.mark

    def reaches_loss(self, root: torch.Tensor) -> None:
        """A backward call begins at `root`: cuts behind its value went into it."""
        followed = self.followed(root)
        marks = 0 if followed is None else followed.marks
        for cut in self.cuts.values():
            cut.reaches_loss |= bool(marks & cut.mark)

    # Writes

    def _writes_of(self, call: Call) -> list[torch.Tensor]:
        if call.kind.name.startswith("Tensor.grad."):
            self._write(call, [self._leaf(call.inputs[0])] if call.inputs else [], ".grad")
            return []
        written: list[torch.Tensor] = []
        leaves: list[int] = []
        name = ""
        for tensor, before in zip(call.inputs, call.versions, strict=True):
            after = version_of(tensor)
            if after == before and call.kind.name != "Tensor.data.__set__":
                continue
            written.append(tensor)
            self._log(call, tensor, before, after)
            gradient = self._gradients.get(id(tensor))
            if gradient is not None and gradient[0]() is tensor:
                leaves.append(gradient[1])
                name = ".grad"
            elif _is_trained_leaf(tensor):
                leaves.append(self._leaf(tensor))
            elif not name and (op := self.op_behind(tensor)) is not None:
                name = op.label
        if written:
            self._write(call, leaves, name)
        return written

    def _write(self, call: Call, leaves: list[int], name: str) -> None:
        key = (call.kind.name, call.keys, self.phase)
        write = self.writes.get(key)
        if write is None:
            if len(self.writes) >= MAX_WRITES:
                return
            write = self.writes[key] = WriteSeen(call.kind.name, call.keys, call.module, self.phase, name)
        write.count += 1
        write.leaves.update(leaves)

    def _log(self, call: Call, tensor: torch.Tensor, before: int, after: int) -> None:
        address = address_of(tensor)
        if address is not None:
            log = self._written.setdefault(address, [])
            log.append(Wrote(call.kind.name, *call.keys, before, after))
            del log[:-MAX_WRITES_OF_STORAGE]

    def writes_to(self, address: int) -> list[Wrote]:
        """What was written to a storage, oldest first."""
        return list(self._written.get(address, ()))

    def let_go(self, tensor: torch.Tensor) -> None:
        """Forget a tensor: torch swaps none that has a weak reference."""
        self._tensors.pop(id(tensor), None)
        self._leaf_at.pop(id(tensor), None)
        self._gradients.pop(id(tensor), None)
        for leaf in self.leaves:
            if leaf.ref() is tensor:
                leaf.ref = _gone
        for op in self.ops:
            if op.output is not None and op.output() is tensor:
                op.output = None

    def note_gradients(self, found: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> None:
        """Which tensor is the `.grad` of which leaf by now."""
        for leaf, gradient in found:
            self._gradients[id(gradient)] = weakref.ref(gradient), self._leaf(leaf)


def tensors_in(values: Any, depth: int = 0) -> Iterator[torch.Tensor]:
    """The tensors among the arguments or results of a call: also in lists and dicts, two deep."""
    for value in _first_of(values):
        if isinstance(value, torch.Tensor):
            if not is_functorch(value):
                yield value
        elif depth < 2 and isinstance(value, _CONTAINERS):
            yield from tensors_in(_first_of(value), depth + 1)


def _first_of(container: Any) -> list[Any]:
    values: Any = _dict.values(container) if isinstance(container, dict) else container
    return list(islice(values, MAX_TENSORS))


def version_of(tensor: torch.Tensor) -> int:
    """A tensor's version; 0 of inference tensors, which have none."""
    return 0 if tensor.is_inference() else tensor._version


def _is_trained_leaf(tensor: torch.Tensor) -> bool:
    """Whether a tensor is a leaf that wants a gradient."""
    try:
        return tensor.requires_grad and tensor.is_leaf
    except RuntimeError:  # a view made under no_grad whose base was written to with grad: torch will not tell
        return False


def _node_of(tensor: torch.Tensor) -> Any:
    """The node that a tensor comes from; None of a leaf, and of views as in `_is_trained_leaf`."""
    try:
        return tensor.grad_fn
    except RuntimeError:
        return None


def address_of(tensor: torch.Tensor) -> int | None:
    """The identity of a tensor's storage; None where it has none."""
    try:
        return tensor.untyped_storage()._cdata
    except (RuntimeError, NotImplementedError):
        return None


def _number(node: Any) -> int:
    return node._sequence_nr()


def _why_not_carried() -> CutKind:
    if torch.is_inference_mode_enabled():
        return "inference_mode"
    return "not differentiable" if torch.is_grad_enabled() else "no_grad"


def _gone() -> None:
    return None
