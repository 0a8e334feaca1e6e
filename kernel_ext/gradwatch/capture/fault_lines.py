"""Which lines a fault takes: from the trace where one runs, else from what is known of nodes, else from the source."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gradwatch.capture.graph import short_name
from gradwatch.capture.lines import current_frame
from gradwatch.capture.program_tensors import named_tensors, storage_of
from gradwatch.capture.sites import Place
from gradwatch.capture.storing_lines import assigning_lines, function_lines, last_name, writing_lines, written_at
from gradwatch.capture.torch_internals import without_function

if TYPE_CHECKING:
    import torch

    from gradwatch.capture.graph import Walk
    from gradwatch.capture.recording import Recording
    from gradwatch.capture.version_checks import Unusable

NOWHERE = (-1, -1)

OPTIMIZER_STEP = "Optimizer.step"


@dataclass(frozen=True, slots=True)
class Writer:
    """Who overwrote a tensor, as far as it is known. `op` is "" where the line was found in the source alone."""

    op: str = ""
    sites: tuple[int, int] = NOWHERE
    name: str = ""


class FaultLines:
    """Site ids (user, project) of nodes and of writes."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._stepped: list[tuple[int, tuple[int, int]]] = []

    @property
    def _trace(self) -> Any:
        return getattr(self._recording, "trace", None)

    @property
    def is_traced(self) -> bool:
        """Whether this step's ops are seen."""
        return self._trace is not None and bool(self._trace.active)

    def ids(self, keys: tuple[int, int]) -> tuple[int, int]:
        """Site ids of raw keys."""
        site = self._recording.sites.site
        return site(int(keys[0])), site(int(keys[1]))

    def optimizer_stepped(self, keys: tuple[int, int], number: int) -> None:
        """An optimizer stepped, when this thread's next node had that number."""
        self._stepped = [*self._stepped[-7:], (number, keys)]

    def of_node(self, walked: Walk, position: int, thread: int) -> tuple[int, tuple[int, int]]:
        """The module of a node, and its lines."""
        known = self._recording.graph.lines.attribute(walked, thread)
        made = self._made(int(walked.numbers[position]), thread)
        keys = made or (int(known.sites[position]), int(known.project_sites[position]))
        return int(known.modules[position]), self.ids(keys)

    def _made(self, number: int, thread: int) -> tuple[int, int] | None:
        return None if self._trace is None else self._trace.made(number, thread)

    def of_overwriter(self, found: Unusable, saver: tuple[int, int], thread: int) -> Writer:
        """Who wrote to a saved tensor since."""
        tensor = found.tensor
        if tensor is None:
            return Writer()
        named = self._named(storage_of(tensor))
        name = next(iter(named), "") or self._parameter_name(tensor)
        writer = (
            self._traced(tensor, found.expected, name)
            or self._optimizer(tensor, found, name)
            or self._by_source(named, saver, name)
            or self._by_node(tensor, found, thread, name)
            or Writer(name=name)
        )
        return writer if writer.name else replace(writer, name=self._written_name(writer.sites[1]))

    def _written_name(self, site: int) -> str:
        """What the statement at a line writes to: the frame that had the name may be gone."""
        place = self._recording.sites.places().get(site)
        return "" if place is None else written_at(place.file, place.line)

    def _named(self, address: int) -> dict[str, Place]:
        """Names of the tensors with a storage, innermost frame first, and where that frame stands."""
        if address < 0:
            return {}
        with without_function():
            named = named_tensors(current_frame(1), self._recording.sites.origins)
            found = [(name, place) for name, tensor, place in named if storage_of(tensor) == address]
        names: dict[str, Place] = {}
        for name, place in found:
            names.setdefault(name, place)
        return names

    def _parameter_name(self, tensor: torch.Tensor) -> str:
        parameters = self._recording.parameters
        number = parameters.at_storage(storage_of(tensor))
        return "" if number < 0 else parameters.name_of(number)

    def _traced(self, tensor: torch.Tensor, expected: int, name: str) -> Writer | None:
        trace = self._trace
        writes: list[Any] = [] if trace is None else trace.writes(storage_of(tensor))
        for write in writes:
            if write.version_after > expected:
                return Writer(write.op, self.ids((write.site, write.project_site)), name)
        return None

    def _optimizer(self, tensor: torch.Tensor, found: Unusable, name: str) -> Writer | None:
        """A parameter that an optimizer changed after the node was made."""
        parameter = self._parameter_name(tensor)
        if not parameter:
            return None
        for number, keys in self._stepped:
            if number > found.node._sequence_nr():
                return Writer(OPTIMIZER_STEP, self.ids(keys), parameter or name)
        return None

    def _by_node(self, tensor: torch.Tensor, found: Unusable, thread: int, name: str) -> Writer | None:
        """The op that last wrote to a variable is its grad_fn."""
        node = tensor.grad_fn
        if node is None or node._sequence_nr() <= found.node._sequence_nr():
            return None
        made = self._made(node._sequence_nr(), thread)
        return Writer(short_name(node), NOWHERE if made is None else self.ids(made), name)

    def _by_source(self, named: dict[str, Place], saver: tuple[int, int], name: str) -> Writer | None:
        """A statement that writes in place to a variable with this storage, in the function that has it."""
        sites = self._recording.sites
        saved_at = sites.places().get(saver[1])
        names = {last_name(each) for each in named}
        places: list[Place] = [*named.values()] if saved_at is None else [saved_at, *named.values()]
        for place in dict.fromkeys(places):
            found = writing_lines(place.file, names, function_lines(place.file, place.line))
            if found:
                after = [each for each in found if saved_at is not None and each.line >= saved_at.line]
                line = min(each.line for each in after or found)
                site = sites.site_at(Place(place.file, place.function, line))
                return Writer("", (site, site), name or found[0].name)
        return None

    def of_saver(self, name: str, writer: tuple[int, int]) -> tuple[int, int]:
        """Where the trace does not tell: the assignment of an overwritten variable next before the overwriter."""
        sites = self._recording.sites
        place = sites.places().get(writer[1])
        if place is None or not name:
            return NOWHERE
        lines = assigning_lines(place.file, last_name(name), function_lines(place.file, place.line))
        before = [line for line in lines if line < place.line]
        if not before:
            return NOWHERE
        site = sites.site_at(Place(place.file, place.function, max(before)))
        return site, site
