"""The door for tests: what a recorded training run must have done, and a failure that reads like a finding."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from gradwatch.errors import ExpectationFailed, UsageError
from gradwatch.expectation_checks import (
    Failure,
    graph_is_alive,
    holds_too_much,
    nonfinite,
    not_silent,
    other_gradients,
    unreached,
    without_backward,
)
from gradwatch.opening import open as open_session
from gradwatch.session.compare_tolerance import DEFAULT_ATOL, DEFAULT_RTOL, Tolerance
from gradwatch.session.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from typing_extensions import Self

    from gradwatch.records import Severity


@runtime_checkable
class RecorderLike(Protocol):
    """A recorder, running or stopped: this room loads no torch to name its class."""

    path: Path

    def flush(self) -> bool: ...


Subject = Session | RecorderLike | str | os.PathLike[str]


def expect(subject: Subject) -> Expectation:
    """Say what a recording must show: `expect(recorder).gradients_reach("encoder.*").no_nonfinite()`.

    `subject` is a session, a session file, or a recorder; of one that still runs, the last step is read once the
    next begins.
    Each expectation returns the same object, so that they chain, and raises ExpectationFailed (an AssertionError)
    where it is not met, UsageError where it cannot be asked: a pattern that matches nothing, a number that was not
    recorded. A recording without a backward call meets none.

    Patterns are those of the shell ("encoder.*", "blocks.[0-3]"; `*` crosses dots), matched to whole names; the name
    of a module stands for all that is in it.
    """
    return Expectation(subject)


class Expectation:
    """What `expect` returns."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject

    def gradients_reach(self, *patterns: str) -> Self:
        """Each parameter of these names that is trained got a gradient, not all zero, in at least one step.

        Frozen parameters (`requires_grad` is False) are passed over, unless nothing else matches.
        """
        __tracebackhide__ = True
        return self._holds(lambda session: unreached(session, _given(patterns)))

    def no_nonfinite(self, *patterns: str) -> Self:
        """No loss, no gradient of a parameter or module output and no output of a module is NaN or infinite.

        With patterns, only these parameters' gradients are looked at. Steps that a GradScaler skipped are left
        out: an overflow there is how it finds its scale.
        """
        __tracebackhide__ = True
        return self._holds(lambda session: nonfinite(session, patterns))

    def held_below(self, pattern: str, limit: str | int) -> Self:
        """What these modules together keep for backward stays below `limit`, in every call that was recorded.

        `limit` is in bytes, or text such as "1.5 GiB" or "300 MB". Counted are activations and inputs, each storage
        once, at the module that saved it first.
        """
        __tracebackhide__ = True
        return self._holds(lambda session: holds_too_much(session, pattern, limit))

    def graph_freed(self) -> Self:
        """No graph of a past step is still alive."""
        __tracebackhide__ = True
        return self._holds(graph_is_alive)

    def same_gradients_as(self, other: Subject, *, rtol: float = DEFAULT_RTOL, atol: float = DEFAULT_ATOL) -> Self:
        """Losses and the statistics of all gradients are those of another recording, step by step.

        `rtol` and `atol` as in `gradwatch diff`; both 0 for exactly.
        """
        __tracebackhide__ = True

        def compared(session: Session) -> Failure | None:
            with _opened(other) as second:
                return other_gradients(session, second, Tolerance(rtol, atol))

        return self._holds(compared)

    def no_findings(self, severity: Severity = "warning") -> Self:
        """Nothing was found that is at least this grave: "error", "warning" or "note"."""
        __tracebackhide__ = True
        return self._holds(lambda session: not_silent(session, severity))

    def _holds(self, check: Callable[[Session], Failure | None]) -> Self:
        __tracebackhide__ = True
        with _opened(self._subject) as session:
            failure = without_backward(session) or check(session)
            if failure is not None:
                raise ExpectationFailed(session.path, failure.text(session))
        return self

    def __repr__(self) -> str:
        return f"<gradwatch.expect of {self._subject!r}>"


def _given(patterns: tuple[str, ...]) -> tuple[str, ...]:
    if not patterns:
        raise UsageError('Which parameters? gradients_reach("*") is all of them, "encoder" those of one module.')
    return patterns


@contextmanager
def _opened(subject: Subject) -> Generator[Session]:
    """A session stays open; what is opened here is closed here."""
    if isinstance(subject, Session):
        subject.refresh()
        yield subject
        return
    if isinstance(subject, (str, os.PathLike)):
        path = os.fspath(subject)
    elif isinstance(subject, RecorderLike):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers are untyped
        subject.flush()
        path = os.fspath(subject.path)
    else:
        raise UsageError(f"A {type(subject).__name__} is no session, recorder or session file.")
    with open_session(path) as session:
        yield session
