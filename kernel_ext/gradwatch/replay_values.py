"""Compares the gradients that were kept with a step, value by value, with those of its replay."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from gradwatch.errors import UsageError
from gradwatch.replay_comparison import Parted, backward_order

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch

    from gradwatch.capture.kept_files import KeptStep
    from gradwatch.session.session import Session


@dataclass(frozen=True, slots=True)
class ValuesComparison:
    """How many values were compared, and each gradient that parts, at its first value that does."""

    elements: int = 0
    parted: list[Parted] = field(default_factory=list[Parted])


def compare_values(kept: KeptStep, again: Mapping[str, torch.Tensor], tolerance: float) -> ValuesComparison:
    """Compare every kept gradient. Names are "root:path" still. Raises NotKept where one cannot be read."""
    if kept.gradients is None:
        return ValuesComparison()
    parted = [
        found
        for name in kept.gradients
        if (found := _difference(name, kept.gradient(name), again.get(name), tolerance)) is not None
    ]
    parted += [_parted(name, "gradient", "none", "there") for name in again if name not in kept.gradients]
    return ValuesComparison(sum(kept.gradient(name).numel() for name in kept.gradients), parted)


def first_in_backward(found: ValuesComparison, session: Session, step: int) -> ValuesComparison:
    """Call the gradients as the session does, and put first the one that backward computes first."""
    names = {f"{view.root}:{view.path}": view.name for view in session.parameters}
    renamed = [replace(each, name=names.get(each.name, each.name)) for each in found.parted]
    order = _order(session, step) if renamed else {}
    renamed.sort(key=lambda each: -order.get(("parameter", each.name), -1))
    return replace(found, parted=renamed)


def _order(session: Session, step: int) -> dict[tuple[str, str], int]:
    try:
        return backward_order(session.graph(step))
    except UsageError:  # no graph was recorded: the optimizer's order stays
        return {}


def _difference(name: str, was: torch.Tensor, now: torch.Tensor | None, tolerance: float) -> Parted | None:
    if now is None:
        return _parted(name, "gradient", "there", "none")
    if (was.shape, was.dtype) != (now.shape, now.dtype):
        return _parted(name, "shape and dtype", f"{list(was.shape)} {was.dtype}", f"{list(now.shape)} {now.dtype}")
    other = next(_other_places(was, now, tolerance), None)
    if other is None:
        return None
    value, new = was.reshape(-1)[other], now.reshape(-1)[other]
    return _parted(name, f"element {_index(other, list(was.shape))}", _spelled(value), _spelled(new))


def _other_places(was: torch.Tensor, now: torch.Tensor, tolerance: float) -> Iterator[int]:
    """Places of values that differ: in a bit, or by more than the tolerance; a NaN is the same as any other NaN."""
    import torch  # noqa: PLC0415 # only where a step is replayed

    if tolerance:
        # A value may cancel to nothing: within a tolerance it is as large as the others are.
        size = float(was[was.isfinite()].abs().double().mean()) if was.isfinite().any() else 0.0
        unlike = ~torch.isclose(now, was, rtol=tolerance, atol=tolerance * size, equal_nan=True)
    else:
        bits = [each.contiguous().reshape(-1, 1).view(torch.uint8) for each in (was, now)]
        both_nan = (was.isnan() & now.isnan()).reshape(-1)
        unlike = (bits[0] != bits[1]).any(dim=1) & ~both_nan
    for place in unlike.reshape(-1).nonzero():
        yield int(place)


def _index(place: int, shape: list[int]) -> list[int]:
    index: list[int] = []
    for size in reversed(shape):
        place, inside = divmod(place, size)
        index.insert(0, inside)
    return index


def _spelled(value: torch.Tensor) -> str | float:
    """A number exactly; one that is complex as text."""
    number = value.item()
    return str(number) if isinstance(number, complex) else float(number)


def _parted(name: str, what: str, was: str | float, now: str | float) -> Parted:
    return Parted("parameter", name, what, was, now)
