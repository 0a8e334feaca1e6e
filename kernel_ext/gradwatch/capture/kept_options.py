"""Which steps a recording keeps so that they can be run again. Imports no torch: the door hands it out."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from gradwatch.errors import MissingDependency, UsageError


@dataclass(frozen=True, slots=True)
class KeepSteps:
    """Which steps to keep, beside the session, in `<session>.steps/`.

    Every `every`-th step stays. The newest `last` steps stand in a ring, older ones go. With `on_nonfinite` the
    ring stays as it is when a gradient that is NaN or infinite was first seen, as often as that begins anew (at
    most `PINNED_STEPS` steps); it is at least one step long. `budget_bytes` bounds all that is kept on disk.

    `gradients` keeps each parameter's gradient too, as the optimizer was given it, so that a replay compares values
    and not only their statistics: the parameters' size once more on disk, and one copy of them as the optimizer is
    called.
    """

    every: int = 0
    last: int = 0
    on_nonfinite: bool = False
    budget_bytes: int = 16 << 30
    gradients: bool = False

    @property
    def ring(self) -> int:
        """How many of the newest steps stay."""
        return max(self.last, 1) if self.on_nonfinite else self.last

    def is_permanent(self, step: int) -> bool:
        return self.every > 0 and step % self.every == 0

    def wants(self, step: int) -> bool:
        return self.ring > 0 or self.is_permanent(step)


def checked(keep: KeepSteps | int | None) -> KeepSteps | None:
    """What was asked for; a plain number is `every`. Raises UsageError, or MissingDependency without safetensors."""
    if keep is None:
        return None
    if isinstance(keep, bool) or not isinstance(keep, (KeepSteps, int)):  # pyright: ignore[reportUnnecessaryIsInstance] # whatever the user passed
        raise UsageError(
            f"keep_steps={keep!r} is not known. Give a number of steps, or gradwatch.replay.KeepSteps(...)."
        )
    keep = keep if isinstance(keep, KeepSteps) else KeepSteps(every=keep)
    if min(keep.every, keep.last) < 0 or not keep.wants(0):
        raise UsageError(f"{keep} keeps no step. Give every=, last= or on_nonfinite=True.")
    if importlib.util.find_spec("safetensors") is None:
        raise MissingDependency("keep_steps", "safetensors", "'gradwatch[replay]'")
    return keep
