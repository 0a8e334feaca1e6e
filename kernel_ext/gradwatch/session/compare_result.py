"""What a comparison of two sessions found, as plain data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradwatch.records import SubjectKind
    from gradwatch.session.compare_curves import Curves, LossParting
    from gradwatch.session.compare_graphs import CallPair, ComparedNode, GraphDifference
    from gradwatch.session.compare_held import HeldDifference
    from gradwatch.session.compare_names import NamePairs
    from gradwatch.session.compare_tolerance import Gap, Tolerance
    from gradwatch.session.session import Session


MOST_LISTED = 2_000
"""Partings of each kind, and nodes of each list, that are told: a graph may have a million."""


@dataclass(frozen=True, slots=True)
class NodeParting:
    """Where a node whose gradient parts stands in both graphs, and which nodes gave it that gradient.

    `same_givers`: they are the same nodes in both. `givers_agree`: they are, and no difference is seen in what
    they were given; then what they saved, or computed from it, differs.
    """

    a: ComparedNode
    b: ComparedNode
    givers_a: list[ComparedNode]
    givers_b: list[ComparedNode]
    same_givers: bool
    givers_agree: bool


@dataclass(frozen=True, slots=True)
class Parting:
    """A gradient that parts: its statistics in both (None: no gradient reached it there), the worst gap first.

    Of a node (`node` tells where) they are of the gradient of its outputs.
    """

    at: CallPair
    kind: SubjectKind
    name_a: str
    name_b: str
    a: dict[str, float | int] | None
    b: dict[str, float | int] | None
    gaps: list[Gap]
    node: NodeParting | None = None

    @property
    def relative(self) -> float:
        """The largest relative gap of a statistic that parts; infinite where only one side has a gradient."""
        return max((gap.relative for gap in self.gaps if gap.parts), default=math.inf)


@dataclass(frozen=True, slots=True)
class GradientParting:
    """The first step at which gradients part: every one that does, by kind, in the order backward reaches them."""

    step_a: int
    step_b: int
    nodes: list[Parting]
    modules: list[Parting]
    parameters: list[Parting]
    unlisted: int = 0
    """How many more part than are listed: of each kind there are MOST_LISTED at most."""

    @property
    def first(self) -> Parting:
        """The first that backward reaches, of the finest kind that was compared."""
        return (self.nodes or self.modules or self.parameters)[0]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What `compare` found. `compared` counts rows of statistics by kind; `notes` say what was not compared.

    `graph` is the first pair of graphs that differ; `held` of the last call that both recorded it of.
    """

    a: Session
    b: Session
    tolerance: Tolerance
    steps: list[tuple[int, int]]
    only_steps_a: list[int]
    only_steps_b: list[int]
    names: NamePairs
    compared: dict[SubjectKind, int]
    curves: Curves
    loss: LossParting | None
    gradients: GradientParting | None
    graph: GraphDifference | None
    held: HeldDifference | None
    notes: list[str]

    @property
    def parts(self) -> bool:
        """Whether losses or gradients part, or one session alone has a parameter.

        Other lengths, graphs and held memory are told, and do not count.
        """
        only = self.names.parameter.only_a or self.names.parameter.only_b
        return self.loss is not None or self.gradients is not None or bool(only)
