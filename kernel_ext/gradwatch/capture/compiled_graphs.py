"""Keeps, of every function compiled while recording, the graphs that AOTAutograd makes of it.

They are taken where AOTAutograd parts its joint graph into forward and backward, at compile time only. What was
compiled before, or comes out of the compiler's cache, is not made again, so there is no graph of it.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from gradwatch.capture import compiled_calls
from gradwatch.capture.compiled_regions import Compiled, Tables, function_of, region_record
from gradwatch.capture.names import readable_locals

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gradwatch.capture.graph import Walk
    from gradwatch.capture.modules import ModuleTable
    from gradwatch.capture.probes import Probe
    from gradwatch.capture.sites import SiteTable
    from gradwatch.records import CompiledRegion, NodeLabel

NODE = "CompiledFunctionBackward"
OPENED = "a compiled region: it opens into the graph that AOTAutograd made of it"
NOT_SEEN = (
    "a compiled region: its inner ops and lines are not observable, for it was compiled before the recording began "
    "or read from the compiler's cache"
)
NOT_TOLD = "a compiled region: its inner ops and lines are not observable, for this torch does not show its graphs"

_PLACE, _PARTITION = "torch._functorch._aot_autograd.graph_compile", "_aot_stage2a_partition"
_DYNAMO_GRAPH = "output_graph.py"


class CompiledGraphs:
    """Regions by the number that AOTAutograd gives to a compiled function, which its autograd nodes know too."""

    def __init__(self, modules: ModuleTable, sites: SiteTable, probe: Probe) -> None:
        self._tables = Tables(sites, modules.id_at)
        self.innermost_module: Callable[[], int] = lambda: -1
        self._probe = probe
        self._place: Any = None
        self._original: Callable[..., Any] | None = None
        self._records: dict[int, CompiledRegion] = {}
        self._written: set[int] = set()
        self._regions: dict[int, int] = {}
        self.is_told = True

    def start(self) -> None:
        compiled_calls.join(self)

    def stop(self) -> None:
        compiled_calls.leave(self)
        self.compiling_ended()

    # While the compiler works

    def compiling_began(self) -> None:
        try:
            place: Any = importlib.import_module(_PLACE)
        except ImportError:
            place = None
        original = getattr(place, _PARTITION, None)
        self.is_told = callable(original)
        if original is None or not self._probe.enabled:
            return
        self._place, self._original = place, original

        def _aot_stage2a_partition(*arguments: Any, **options: Any) -> Any:
            made = original(*arguments, **options)
            self._keep((*arguments, *options.values()), made)
            return made

        setattr(place, _PARTITION, _aot_stage2a_partition)

    def compiling_ended(self) -> None:
        if self._original is not None:
            setattr(self._place, _PARTITION, self._original)
            self._original = None

    def _keep(self, arguments: tuple[Any, ...], made: tuple[Any, ...]) -> None:
        try:
            number = next((each.aot_id for each in arguments if hasattr(each, "aot_id")), None)
            forward, backward = made[0].graph, made[1].graph
            if number is not None:
                region = len(self._regions)
                compiled = Compiled(forward, backward, _name(forward), _backend(), self.innermost_module())
                self._records[region] = region_record(region, compiled, self._tables)
                self._regions[number] = region
        except Exception:  # noqa: BLE001 # whatever failed is ours, never the program's
            self._probe.failed()

    # When a graph is read

    def opened(self, walked: Walk, labels: tuple[NodeLabel, ...]) -> tuple[NodeLabel, ...]:
        """The labels with the region that each compiled node opens into, or why it does not."""
        return tuple(
            self._opened(walked.nodes[each.node], each) if each.label == "compiled" else each for each in labels
        )

    def _opened(self, node: Any, label: NodeLabel) -> NodeLabel:
        region = self._regions.get(aot_number(node), -1)
        if region >= 0:
            return replace(label, text=OPENED, region=region)
        return replace(label, text=NOT_SEEN if self.is_told else NOT_TOLD)

    def take(self, labels: tuple[NodeLabel, ...]) -> list[CompiledRegion]:
        """The regions that labels refer to and that were not taken before."""
        new = [region for region in self.regions_of(labels) if region.id not in self._written]
        self._written.update(region.id for region in new)
        return new

    def regions_of(self, labels: Sequence[NodeLabel]) -> list[CompiledRegion]:
        """The regions that labels refer to, each once."""
        numbers = dict.fromkeys(label.region for label in labels)
        return [self._records[number] for number in numbers if number in self._records]

    def opened_where_seen(self, walked: Walk, labels: tuple[NodeLabel, ...]) -> tuple[NodeLabel, ...]:
        """As `opened`, at a stop: what was not seen being compiled keeps its label as it is."""
        pairs = zip(labels, self.opened(walked, labels), strict=True)
        return tuple(opened if opened.region >= 0 else label for label, opened in pairs)


def aot_number(node: Any) -> int:
    """AOTAutograd's number of the function whose backward a node is; -1 where it does not say."""
    forward: Any = getattr(node.__class__, "_forward_cls", None)
    number: object = getattr(forward, "_aot_id", -1)
    return number if type(number) is int else -1


def _name(graph: Any) -> str:
    """As the compiler's own log says it: the function, and which compilation of it."""
    context: Any = getattr(getattr(torch, "_guards", None), "CompileContext", None)
    which = context.current_compile_id() if context is not None else None
    return " ".join(part for part in (function_of(graph), f"[{which}]" if which is not None else "") if part)


def _backend() -> str:
    """The backend's name, which only dynamo's own frame knows; "" where it does not."""
    frame = sys._getframe(1)  # the only way to it
    while frame is not None:
        if frame.f_code.co_filename.endswith(_DYNAMO_GRAPH):
            with readable_locals(frame) as names:
                compiler = getattr(names.get("self"), "compiler_fn", None)
            if compiler is not None:
                return str(getattr(compiler, "__name__", type(compiler).__name__))
        frame = frame.f_back
    return ""
