"""Steps of a session and the calls into autograd that each made."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gradwatch.errors import UsageError
from gradwatch.records import Backward, Step
from gradwatch.session.lookup import LazySequence

if TYPE_CHECKING:
    from gradwatch.records import Call, StepSource
    from gradwatch.session.graph import GraphView
    from gradwatch.session.held import HeldView
    from gradwatch.session.session import Session

_NONFINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class BackwardView:
    """One call of `.backward()` or `torch.autograd.grad()`; the fields are those of `records.Backward`."""

    def __init__(self, session: Session, record: Backward) -> None:
        self._session = session
        self.record = record
        self.step = record.step
        self.index = record.index
        self.call: Call = record.call
        self.parent = record.parent
        self.graph_id = record.graph
        self.ledger_id = record.ledger
        self.start_ns = record.start_ns
        self.duration_ns = record.duration_ns
        self.retain_graph = record.retain_graph
        self.create_graph = record.create_graph
        self.has_inputs = record.has_inputs
        self.thread = record.thread
        self.held_bytes = record.held_bytes
        self.class_bytes = record.class_bytes
        self.error = record.error
        self.unobserved = record.unobserved

    @property
    def graph(self) -> GraphView:
        """The graph that this call walked. Raises UsageError when it was not recorded."""
        return self._session.graph(self.step, self.index)

    @property
    def held(self) -> HeldView:
        """What this call found held. Raises UsageError when it was not recorded."""
        return self._session.held(self.step, self.index)

    def __repr__(self) -> str:
        return (
            f"<backward call {self.index} of step {self.step}: graph {self.graph_id}, {self.duration_ns / 1e6:.3g} ms>"
        )


class StepView:
    """One step. One that was cut short before its end is not `complete`: its end and cost are not known (-1)."""

    def __init__(self, session: Session, number: int, record: Step | None) -> None:
        self._session = session
        self.record = record
        self.number = number
        self.complete = record is not None
        self.source: StepSource | None = record.source if record else None
        self.end_ns = record.end_ns if record else -1
        self.duration_ns = record.end_ns - record.start_ns if record else -1
        self.cost_ns = record.cost_ns if record else -1
        self.optimizer_count = record.optimizer_count if record else 0
        self.interrupted = record.interrupted if record else "The recording ended within this step."
        self.loss_scale = record.loss_scale if record else None
        self.skipped = record.skipped if record else False

    @property
    def loss(self) -> float | None:
        """The loss, NaN and infinities included; None when no scalar was seen."""
        if self.record is None:
            return None
        return _NONFINITE.get(self.record.loss_nonfinite or "", self.record.loss)

    @property
    def start_ns(self) -> int:
        """When the step began; for one cut short, when its first backward call did; -1 where that cannot be read."""
        if self.record is not None:
            return self.record.start_ns
        return next((call.start_ns for call in self.backwards), -1)

    @property
    def backward_count(self) -> int:
        return self.record.backward_count if self.record else len(self.backwards)

    @property
    def backwards(self) -> list[BackwardView]:
        """The step's calls into autograd, in order."""
        calls = self._session.reader.records_of_step(Backward, self.number)
        return [BackwardView(self._session, call) for call in sorted(calls, key=lambda call: call.index)]

    def __repr__(self) -> str:
        if not self.complete:
            return f"<step {self.number}: cut short>"
        loss = "" if self.loss is None else f", loss {self.loss:.6g}"
        scale = "" if self.loss_scale is None else f", loss scale {self.loss_scale:.6g}"
        skipped = ", skipped" if self.skipped else ""
        return f"<step {self.number}: {self.duration_ns / 1e6:.3g} ms{loss}{scale}{skipped}>"


class Steps(LazySequence[StepView]):
    """All steps in order; the last may be one that was cut short."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._records = list(session.reader.records(Step))
        self._numbers = [record.number for record in self._records]
        cut_short = session.reader.last_step(Backward)
        if cut_short > (self._numbers[-1] if self._numbers else -1):
            self._numbers.append(cut_short)
        self._positions = {number: position for position, number in enumerate(self._numbers)}
        super().__init__(len(self._numbers), self._view)

    def numbered(self, number: int) -> StepView:
        """Return the step with this number. Raises UsageError naming the recorded range."""
        if number not in self._positions:
            raise UsageError(f"There is no step {number} in this session. {self.range_text}")
        return self._view(self._positions[number])

    @property
    def range_text(self) -> str:
        if not self._numbers:
            return "It has no steps."
        first, last = self._numbers[0], self._numbers[-1]
        gaps = "" if last - first + 1 == len(self._numbers) else f", {len(self._numbers)} of them"
        return f"It has steps {first} to {last}{gaps}." if first != last else f"It has step {first} only."

    def _view(self, position: int) -> StepView:
        record = self._records[position] if position < len(self._records) else None
        return StepView(self._session, self._numbers[position], record)

    def __repr__(self) -> str:
        return f"<{len(self)} steps. {self.range_text}>"
