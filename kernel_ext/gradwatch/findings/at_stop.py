"""What is wrong at a stop of a debugger: a pure function of its Snapshot.

Runs in the stopped program, which may have torch and nothing else: standard library only, and a few milliseconds.
One moment is less than a session: what may pass by itself (a gradient that was not written yet) is said quietly.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from gradwatch.findings.stop_columns import numbers
from gradwatch.findings.stop_held import held_by_one_line
from gradwatch.records import GRADIENT_STATES, Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gradwatch.records import Gradients, Graph, Parameter, Snapshot

NONE, FROZEN, PRESENT, _ = range(len(GRADIENT_STATES))

STALE_STEPS = 3
"""Optimizer steps without a new gradient. Fewer are common: losses that take turns, gradients that accumulate."""


def findings_at(snapshot: Snapshot) -> list[Finding]:
    """Everything that is found at a stop, the worst first. A part that cannot be read costs only its own answer."""
    found: list[Finding] = []
    at = _Stop(snapshot)
    for question in QUESTIONS:
        try:
            found += question(at)
        except (ValueError, IndexError, KeyError, TypeError, AttributeError):  # noqa: PERF203 # an incomplete answer
            continue
    order = ("error", "warning", "note")
    return sorted(found, key=lambda finding: order.index(finding.severity))


@dataclass
class _Stop:
    """A Snapshot with its columns as numbers."""

    snapshot: Snapshot

    @cached_property
    def states(self) -> dict[int, int]:
        """State of `.grad` by parameter id, an index into GRADIENT_STATES."""
        states = self.snapshot.states
        return {} if states is None else dict(zip(numbers(states.subjects), numbers(states.state), strict=True))

    @cached_property
    def pending(self) -> set[int]:
        """Parameters that the running backward has yet to reach: their `.grad` is from before."""
        states = self.snapshot.states
        if states is None:
            return set()
        pairs = zip(numbers(states.subjects), numbers(states.pending), strict=True)
        return {number for number, pending in pairs if pending}

    @cached_property
    def reached(self) -> set[int] | None:
        """Parameters in the graph of the stop; None where it was not read, or not to its end."""
        graph = self.snapshot.graph
        if graph is None or any(each.part == "graph" for each in self.snapshot.missing):
            return None
        return {number for number in numbers(graph.parameter) if number >= 0}

    @property
    def step(self) -> list[int]:
        return [self.snapshot.stop.step] * 2 if self.snapshot.stop.step >= 0 else []

    def parameters_of(self, kind: str) -> Iterator[Gradients]:
        return (each for each in self.snapshot.gradients if each.subject_kind == kind)

    @cached_property
    def _by_id(self) -> dict[int, Parameter]:
        return {each.id: each for each in self.snapshot.parameters}

    def named(self, ids: Sequence[int]) -> str:
        """Name parameters: "encoder.0.weight and 11 more"."""
        first = _name(self._by_id[ids[0]])
        return first if len(ids) == 1 else f"{first} and {len(ids) - 1} more"


def _name(parameter: Parameter) -> str:
    return ".".join(part for part in (parameter.root, parameter.path) if part)


def _running_node(at: _Stop) -> Iterator[Finding]:
    """NaN or Inf in what the running node was given, or has made of it."""
    graph, node = at.snapshot.graph, at.snapshot.stop.running
    if graph is None or node < 0:
        return
    rows = [_nonfinite(each) for each in at.parameters_of("node")]
    given, made = [*rows, (0, 0), (0, 0)][:2]
    if not any(given) and not any(made):
        return
    op = graph.names[int(numbers(graph.name)[node])].rstrip("0123456789").removesuffix("Backward")
    is_born = not any(given)
    nan, inf = made if is_born else given
    what = "NaN" if nan else "Inf"
    yield Finding(
        kind="nan" if nan else "inf",
        severity="error" if nan else "warning",
        title=f"{what} born in {op}" if is_born else f"{what} has reached {op}",
        sentence=f"The gradient that {op} {'made of finite ones' if is_born else 'was given'} has {_counts(nan, inf)}.",
        cause="born in backward" if is_born else "on its path",
        fix="" if is_born else "Break at the first non-finite gradient, and run this step again.",
        steps=at.step,
        graph=graph.id,
        nodes=[node],
        site=_site(graph, node),
        evidence=[f"{name}: {_counts(*row)}" for name, row in zip(("gradient in", "gradient out"), rows, strict=False)],
    )


def _nonfinite(row: Gradients) -> tuple[int, int]:
    return sum(numbers(row.columns["nan"])), sum(numbers(row.columns["inf"]))


def _counts(nan: int, inf: int) -> str:
    parts = [f"{count:,} {name}" for count, name in ((nan, "NaN"), (inf, "Inf")) if count]
    return " and ".join(parts) or "only finite values"


def _site(graph: Graph, node: int) -> int:
    project = numbers(graph.project_site)[node]
    return project if project >= 0 else numbers(graph.site)[node]


def _nonfinite_gradients(at: _Stop) -> Iterator[Finding]:
    """Parameters whose `.grad`, as this backward or the last one left it, is not finite."""
    bad: dict[int, tuple[int, int]] = {}
    seen = 0
    for row in at.parameters_of("parameter"):
        columns = (numbers(row.subjects), numbers(row.columns["nan"]), numbers(row.columns["inf"]))
        for number, nan, inf in zip(*columns, strict=True):
            if number not in at.pending:
                seen += 1
                if nan or inf:
                    bad[number] = (nan, inf)
    if not bad:
        return
    with_nan = any(nan for nan, _ in bad.values())
    what, ids = "NaN" if with_nan else "Inf", list(bad)
    yield Finding(
        kind="nan" if with_nan else "inf",
        severity="error"
        if with_nan
        else "warning",  # under a GradScaler an Inf is what its search for a scale looks like
        title=f"{what} in gradients",
        sentence=f"{len(bad):,} of {seen:,} gradients are not finite: {at.named(ids)}.",
        cause="in gradients",
        fix="Break at the first non-finite gradient, and run this step again: it stops where it is born.",
        steps=at.step,
        parameters=ids,
        evidence=[f"{at.named([number])}.grad: {_counts(*bad[number])}" for number in ids[:5]],
    )


def _without_gradient(at: _Stop) -> Iterator[Finding]:
    """Parameters whose `.grad` is None though others of their model have one, and no backward is on its way to them."""
    if at.snapshot.stop.in_backward:
        return
    by_root: dict[str, dict[int, list[int]]] = {}
    for parameter in at.snapshot.parameters:
        state = at.states.get(parameter.id, FROZEN)
        if parameter.root and not parameter.is_leaf_tensor:
            by_root.setdefault(parameter.root, {}).setdefault(state, []).append(parameter.id)
    for root, of_state in by_root.items():
        none = [number for number in of_state.get(NONE, []) if at.reached is None or number not in at.reached]
        if not none or not of_state.get(PRESENT):
            continue
        behind = "" if at.reached is None else ", and the graph in front does not reach them"
        behind = behind.replace("them", "it") if len(none) == 1 else behind
        yield Finding(
            kind="unreached",
            severity="warning",
            title=".grad is None",
            sentence=f"{at.named(none)} got no gradient, {len(of_state[PRESENT]):,} others of {root} did{behind}.",
            cause="not reached" if at.reached is not None else "",
            fix="Look for a detach(), .data or no_grad() on the way to the loss, or freeze what is not to be trained.",
            steps=at.step,
            parameters=none,
            evidence=[f"{len(none):,} of {sum(map(len, of_state.values())):,} parameters of {root} have no .grad"],
            certainty="measured" if at.reached is not None else "inferred",
        )


def _stale(at: _Stop) -> Iterator[Finding]:
    states = at.snapshot.states
    if states is None or states.stale_unit != "steps":
        return
    since = dict(zip(numbers(states.subjects), numbers(states.stale), strict=True))
    stale = {number: count for number, count in since.items() if count >= STALE_STEPS and number not in at.pending}
    if not stale:
        return
    ids, most = list(stale), max(stale.values())
    yield Finding(
        kind="stale",
        severity="note",
        title="Stale .grad",
        sentence=f"{at.named(ids)}: .grad was last written {most:,} optimizer steps ago, and each has used it again.",
        fix="Call optimizer.zero_grad() before each backward, so that what is not reached has None.",
        steps=at.step,
        parameters=ids,
        evidence=[f"{at.named([number])}: {stale[number]:,} steps" for number in ids[:5]],
    )


def _frozen(at: _Stop) -> Iterator[Finding]:
    """An optimizer that holds as many parameters as the one model has, of which some are frozen."""
    optimizers = [each for each in at.snapshot.variables if each.kind == "optimizer"]
    parameters = [each for each in at.snapshot.parameters if each.root and not each.is_leaf_tensor]
    frozen = [each.id for each in parameters if not each.requires_grad]
    one_each = len(optimizers) == 1 and len({each.root for each in parameters}) == 1
    if not frozen or not one_each or optimizers[0].parameter_count != len(parameters):
        return
    yield Finding(
        kind="frozen",
        severity="note",
        title="Frozen in the optimizer",
        sentence=f"{optimizers[0].expression} was given {at.named(frozen)}: frozen, it is never updated.",
        fix="Give the optimizer only what is to be trained, or set requires_grad.",
        parameters=frozen,
        evidence=[f"{optimizers[0].expression} holds {len(parameters):,} parameters, {len(frozen):,} of them frozen"],
        certainty="inferred",
    )


def _held(at: _Stop) -> Iterator[Finding]:
    return held_by_one_line(at.snapshot)


QUESTIONS: tuple[Callable[[_Stop], Iterator[Finding]], ...] = (
    _running_node,
    _nonfinite_gradients,
    _without_gradient,
    _stale,
    _frozen,
    _held,
)
