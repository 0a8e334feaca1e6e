"""What came of a replay, in words and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from pathlib import Path

    from gradwatch.replay_comparison import Parted


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """What came of a replay. `path` is the session that it recorded, of one step.

    `identical` says that every recorded statistic of every gradient is the same (to the last bit, or within
    `tolerance`), and every value of those that were kept (`KeepSteps(gradients=True)`: `values` counts them, 0 where
    none were); None where nothing of the step was recorded to compare with. `begun` says when the state was
    kept: "call", as the step function was called, or "after the step before" it, when what the program did in
    between (schedulers, data loading) is not in it. `notes` say what else may make a difference.
    """

    step: int
    path: Path
    identical: bool | None
    compared: dict[str, int]
    parted: Parted | None
    parted_count: int
    tolerance: float
    begun: str
    notes: tuple[str, ...]
    values: int = 0

    def __str__(self) -> str:
        text = "\n".join([_verdict(self), *self.notes, f"Recorded to {self.path}."])
        return "".join(each if each.isprintable() or each == "\n" else "?" for each in text)  # a stranger's names

    def report(self) -> ReplayReport:
        """Return the result as `gradwatch replay --json` prints it."""
        parted = None if self.parted is None else asdict(self.parted)
        return ReplayReport(
            format="gradwatch.report",
            version=1,
            command="replay",
            step=self.step,
            path=str(self.path),
            identical=self.identical,
            compared=self.compared,
            parted=parted,
            parted_count=self.parted_count,
            tolerance=self.tolerance,
            begun=self.begun,
            notes=list(self.notes),
            values=self.values,
        )


class ReplayReport(TypedDict):
    """The shape of `gradwatch replay --json`; `parted` has the fields of `replay_comparison.Parted`."""

    format: str
    version: int
    command: str
    step: int
    path: str
    identical: bool | None
    compared: dict[str, int]
    parted: dict[str, Any] | None
    parted_count: int
    tolerance: float
    begun: str
    notes: list[str]
    values: int


def _verdict(result: ReplayResult) -> str:
    parted = result.parted
    if parted is None:
        if result.identical is None:
            return f"Step {result.step} ran; no gradient of it was recorded to compare with."
        kinds = {"parameter": "parameters", "module": "module outputs", "node": "nodes"}
        counted = [f"{count} {kinds[kind]}" for kind, count in reversed(result.compared.items()) if count]
        how = f"are the same within {result.tolerance:g}" if result.tolerance else "are bit-identical"
        statistics = f"the recorded statistics of the gradients of {' and '.join(counted)}"
        if result.values:
            values = f"all {result.values:,} values of the gradients that the optimizer was given {how}"
            return f"Step {result.step}: {values}{f', and so are {statistics}' if counted else ''}."
        return f"Step {result.step}: {statistics} {how}."
    more = f"; {result.parted_count - 1} more parted" if result.parted_count > 1 else ""
    return f"Step {result.step} parts at {_place(parted)}: {parted.what} was {parted.was}, is {parted.now}{more}."


def _place(parted: Parted) -> str:
    kind = {"node": "node ", "graph": "node ", "module": "the output of ", "parameter": ""}.get(parted.kind, "")
    inside = ", ".join(part for part in (parted.module if parted.module != parted.name else "", parted.line) if part)
    return f"{kind}{parted.name}{f' ({inside})' if inside else ''}"
