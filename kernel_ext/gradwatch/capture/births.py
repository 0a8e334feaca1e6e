"""Writes where a NaN or an Inf was born: in the forward, in the backward, or before either."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gradwatch.capture.birth_ops import plain_name
from gradwatch.capture.births_backward import NodeWatch, Watched, new_watch, structure_of
from gradwatch.capture.births_forward import ForwardSearch, Origin, numbered, root_levels
from gradwatch.capture.device_values import is_capturing
from gradwatch.capture.graph import roots_of, walk
from gradwatch.capture.graph_capture import why_unobservable
from gradwatch.capture.looks import INF, NAN, facts_of, level_now, read
from gradwatch.capture.observers import Observer
from gradwatch.capture.probes import Probe
from gradwatch.capture.statistics import StatisticRows
from gradwatch.capture.statistics_layout import unseen
from gradwatch.capture.torch_internals import compiled_autograd, is_tracing
from gradwatch.records import Birth, Operand

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from gradwatch.capture.activations import FirstBad, ForwardOutputs, ModuleActivations
    from gradwatch.capture.backward import BackwardCall
    from gradwatch.capture.births_backward import Suspect
    from gradwatch.capture.graph import Walk
    from gradwatch.capture.looks import Reading
    from gradwatch.capture.recording import Recording
    from gradwatch.capture.steps import OpenStep

MOST_SEARCHED = 4
"""Bad forwards that are searched one after the other; from then on those at doubling counts."""


@dataclass(slots=True)
class CallBirths:
    """What is known of one backward call until its step ends: only then its number is known."""

    call: BackwardCall
    watched: Watched | None = None
    forward: Birth | None = None
    hidden: Birth | None = None
    reached: list[int] = field(default_factory=list[int])

    def is_ready(self) -> bool:
        return self.watched is None or self.watched.rows.is_ready()


class Births(Observer):
    """Watches backward calls, and searches the graphs of bad forwards. `outputs` reads what modules return."""

    name = "non-finite values"

    def __init__(self, outputs: ModuleActivations) -> None:
        self._outputs = outputs
        outputs.seen_bad = self._output_is_bad
        outputs.landed = self._outputs_landed
        self._bad_forwards = 0
        self._trouble = False
        self._asked = False
        self._early: Birth | None = None
        self._calls: list[CallBirths] = []
        self._waiting: deque[tuple[int, CallBirths]] = deque()

    def start(self, recording: Recording) -> None:
        self._recording = recording
        self._nodes = NodeWatch((Probe("births in nodes", recording.tell), recording.cost))

    def stop(self) -> None:
        while self._waiting:
            self._write_call(*self._waiting.popleft())
        self._write_early()

    def step_ends(self, step: OpenStep) -> None:
        for each in list(self._calls):
            if any(call is each.call for call in step.calls):
                self._calls.remove(each)
                self._waiting.append((step.number, each))
        if not is_capturing():
            while self._waiting and self._waiting[0][1].is_ready():
                self._write_call(*self._waiting.popleft())

    # Forward

    def _output_is_bad(self, bad: FirstBad, tensor: Tensor) -> None:
        """A module's output has the step's first NaN: its graph is alive here, also where no backward follows."""
        self._trouble = True
        if not self._may_search():
            return
        self._write_early()  # of a forward that has led to no backward call
        number, outputs = self._recording.steps.number, self._outputs.current
        outputs.searched = True
        birth = None
        if tensor.grad_fn is not None:
            walked = walk(roots_of([tensor]))
            birth = self._search(walked, [tensor], (number, -1, -1))
        if birth is None:
            source = "input" if outputs.input_level else ""
            record = self._recording.modules.by_id().get(bad.module)
            op = record[1].class_name if record is not None else ""
            sites = self._site_ids(bad.site, bad.project_site)
            counts = (int(bad.level == NAN), int(bad.level == INF))
            birth = Birth(number, -1, "forward", *counts, -1, -1, op, bad.module, *sites, exact=False, source=source)
        self._early = birth

    def backward_begins(self, call: BackwardCall, outputs: Sequence[Any]) -> None:
        if why_unobservable(outputs) is not None or is_tracing() or is_capturing():
            return
        births = CallBirths(call)
        self._calls.append(births)
        if call.is_outermost:
            births.hidden, self._early = self._early, None
            if any(level_now(each) for each in outputs if isinstance(each, torch.Tensor)):
                births.forward = self._search_loss(call, outputs) or births.hidden
                return
        if not compiled_autograd():
            watched = births.watched = new_watch(call, self._recording.rows.new(histogram=False), outputs)
            closely = call.detailed or self._trouble or self._outputs.current.first_bad is not None
            self._nodes.watch(watched, closely=closely)

    def _search_loss(self, call: BackwardCall, outputs: Sequence[Any]) -> Birth | None:
        self._trouble = True
        self._ask()
        if not self._outputs.current.searched and not self._may_search():
            return None
        if call.walk is None:
            self._recording.graph.read(call, outputs)
        if call.walk is None:
            return None
        return self._search(call.walk, outputs, (-1, call.index, call.graph))

    def _search(self, walked: Walk, outputs: Sequence[Any], where: tuple[int, int, int]) -> Birth | None:
        search = ForwardSearch(walked, self._outputs.current.levels)
        origin = search.origin(root_levels(walked, outputs))
        return None if origin is None else self._forward_birth(walked, search, (origin, where))

    def _forward_birth(self, walked: Walk, search: ForwardSearch, found: tuple[Origin, tuple[int, int, int]]) -> Birth:
        origin, (step, backward, graph) = found
        at = origin.node
        module, site, project = self._place(int(walked.numbers[at]), threading.get_ident())
        operands = _operands_of(search.saved(at), structure_of(walked.nodes[at]))
        if self._outputs.current.input_level and not origin.exact and not origin.source:
            origin.source = "input"
        birth = Birth(
            step=step,
            backward=backward,
            phase="forward",
            nan=int(origin.level == NAN),
            inf=int(origin.level == INF),
            graph=graph,
            node=at if graph >= 0 else -1,
            op=plain_name(walked.names[at]),
            module=module,
            site=site,
            project_site=project,
            exact=origin.exact,
            source=_source(origin.source),
            operands=operands,
            path=origin.path if graph >= 0 else [],
            healed=origin.healed if graph >= 0 else [],
        )
        if origin.source == "parameter":
            birth = replace(birth, parameters=self._bad_parameters(walked))
        return birth

    def _bad_parameters(self, walked: Walk) -> list[int]:
        found = [self._recording.parameters.find(leaf) for _, leaf in walked.leaves() if level_now(leaf)]
        return [watched.id for watched in found if watched is not None]

    def _may_search(self) -> bool:
        self._bad_forwards += 1
        count = self._bad_forwards
        return count <= MOST_SEARCHED or count & (count - 1) == 0

    def _ask(self) -> None:
        trace: Any = getattr(self._recording, "trace", None)
        if trace is not None and not self._asked:
            self._asked = True
            trace.ask("non-finite values")

    def _write_early(self) -> None:
        birth, self._early = self._early, None
        if birth is not None:
            self._recording.write(birth)
            self._ask()

    def _outputs_landed(self, step: int, ended: ForwardOutputs, columns: dict[str, Any]) -> None:
        """Of a device's module outputs: which was the first with a NaN, where nobody could search."""
        nan = np.flatnonzero(columns["nan"])
        if ended.first_bad is not None or not len(nan):
            return
        self._trouble = True
        at = int(nan[0])
        record = self._recording.modules.by_id().get(ended.modules[at])
        op = record[1].class_name if record is not None else ""
        counts = (int(columns["nan"][at]), int(columns["inf"][at]))
        where = (-1, -1, op, ended.modules[at], -1, -1)
        backward = ended.calls[-1].index if ended.calls else -1
        self._recording.write(Birth(step, backward, "forward", *counts, *where, exact=False))
        self._ask()

    # Backward

    def backward_ends(self, call: BackwardCall) -> None:
        births = next((each for each in self._calls if each.call is call), None)
        if births is None:
            return
        births.reached = self._reached(call)
        watched = births.watched
        if watched is not None:
            watched.roots = []
            watched.places = [self._place(each.number, watched.thread) for each in watched.suspects]
            if watched.seed is not None:
                watched.sites = self._site_ids(*self._recording.call_sites.here(1))
            watched.rows.flush()

    def _reached(self, call: BackwardCall) -> list[int]:
        """The parameters whose gradient is bad after a call whose rows are all there."""
        found = [(subject, row) for subject, row in call.parameter_rows if row >= 0]
        if not found or not call.rows.is_ready():
            return []
        columns = call.rows.columns([row for _, row in found])
        bad = (columns["nan"] + columns["inf"]) > 0
        if bad.any():
            self._trouble = True
            self._ask()
        return list(dict.fromkeys(subject for (subject, _), is_bad in zip(found, bad.tolist(), strict=True) if is_bad))

    def _write_call(self, step: int, births: CallBirths) -> None:
        watched = births.watched
        found = [births.forward] if births.forward is not None else []
        if watched is not None:
            found += self._births_of(watched)
            self._recording.rows.let_go(watched.rows)
        if not found and births.reached and births.hidden is not None:
            found = [births.hidden]
        for birth in found:
            reached = birth.parameters or births.reached
            self._recording.write(replace(birth, step=step, backward=births.call.index, parameters=reached))

    def _births_of(self, watched: Watched) -> list[Birth]:
        if not watched.suspects and watched.seed is None:
            return []
        columns = watched.rows.columns()
        found = [self._seed_birth(watched, columns)] if watched.seed is not None else []
        for suspect, place in zip(watched.suspects, watched.places, strict=True):
            if _is_birth(suspect, columns):
                found.append(_backward_birth(watched.call, (suspect, place), columns))
        return found

    def _seed_birth(self, watched: Watched, columns: dict[str, Any]) -> Birth:
        assert watched.seed is not None  # noqa: S101 # asked before
        seed = watched.seed.operand(columns)
        where = (watched.call.graph, -1, "seed", -1, *watched.sites)
        return Birth(-1, -1, "backward", seed.nan, seed.inf, *where, exact=True, source="seed", operands=[seed])

    # Places

    def _place(self, number: int, thread: int) -> tuple[int, int, int]:
        """Module and line of the node with a number: of the op itself where this step was traced."""
        attribution = self._recording.graph.lines.attribute(numbered([number]), thread)
        keys = (int(attribution.sites[0]), int(attribution.project_sites[0]))
        trace: Any = getattr(self._recording, "trace", None)
        made = trace.made(number, thread) if trace is not None else None
        return int(attribution.modules[0]), *self._site_ids(*(made or keys))

    def _site_ids(self, site: int, project: int) -> tuple[int, int]:
        found = self._recording.sites.site_ids(np.array([site, project], np.int64))
        return int(found[0]), int(found[1])


def _operands_of(saved: dict[str, Tensor], structure: dict[str, float]) -> list[Operand]:
    with unseen():
        rows = StatisticRows()
        readings: list[Reading] = []
        for role, tensor in saved.items():
            reading = read(rows, role, tensor)
            if reading is not None:
                reading.facts |= facts_of(tensor) | structure
                readings.append(reading)
        columns = rows.columns() if readings else {}
        return [reading.operand(columns) for reading in readings]


def _is_birth(suspect: Suspect, columns: dict[str, Any]) -> bool:
    def bad(readings: list[Reading]) -> bool:
        return any(columns["nan"][each.row] or columns["inf"][each.row] for each in readings)

    return bad(suspect.made) and not bad(suspect.given)


def _source(text: str) -> Any:
    return text


def _backward_birth(call: BackwardCall, found: tuple[Suspect, tuple[int, int, int]], columns: dict[str, Any]) -> Birth:
    suspect, (module, site, project) = found
    made = [reading.operand(columns) for reading in suspect.made]
    return Birth(
        step=-1,
        backward=-1,
        phase="backward",
        nan=sum(each.nan for each in made),
        inf=sum(each.inf for each in made),
        graph=call.graph,
        node=suspect.node if call.graph >= 0 else -1,
        op=suspect.op,
        module=module,
        site=site,
        project_site=project,
        exact=True,
        operands=[reading.operand(columns) for reading in (*suspect.saved, *suspect.given)] + made,
    )
