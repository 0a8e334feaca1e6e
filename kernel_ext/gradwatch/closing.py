"""The door to recording: a recorder whose file, when it is closed, also says what was found in it.

Readers without Python (the editor, the exported page, the notebook's widget) show what stands there. A recorder got
from `capture` itself writes no findings: that room knows nothing of this one.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gradwatch.capture.recorder import Options, Recorder, closing, watch
from gradwatch.records import Findings, Notice

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gradwatch.findings.all import Answer
    from gradwatch.records import Record

__all__ = ["Options", "Recorder", "findings_at_close", "watch"]

BUDGET_S = 5.0
"""The end of training is not delayed by more: a longer session is asked when somebody looks at it."""

SMALL_BYTES = 1 << 20
"""A file of this size is asked at once, without a thread of its own: all questions together take a fraction of it."""


@dataclass
class _Asking:
    """The questions that were answered so far. Written by one thread, read by another."""

    path: Path
    deadline: float
    answers: list[Answer] = field(default_factory=list["Answer"])
    done: bool = False
    error: Exception | None = None

    def run(self) -> None:
        try:
            self._ask()
        except Exception as error:  # noqa: BLE001 # told by whoever waits for it
            self.error = error

    def _ask(self) -> None:
        from gradwatch.findings.all import answers  # noqa: PLC0415 # loads numpy, at the end of a recording
        from gradwatch.session.session import Session  # noqa: PLC0415 # likewise

        with Session(self.path) as session:
            for answer in answers(session):
                self.answers.append(answer)
                if time.monotonic() > self.deadline:
                    return
        self.done = True


def findings_at_close(path: Path) -> Sequence[Record]:
    """Find what is wrong in a file that is about to be closed: as far as the time goes, and said where it ended."""
    from gradwatch.findings.all import QUESTIONS, found_in  # noqa: PLC0415 # as above

    asking = _Asking(path, time.monotonic() + BUDGET_S)
    if path.stat().st_size <= SMALL_BYTES:
        asking.run()
    elif not _in_time(asking):
        return [Notice("partial", f"{path.name} was too long to be asked for findings when it was closed. {ASK_LATER}")]
    if asking.error is not None:
        raise asking.error
    given = list(asking.answers)
    records: list[Record] = [Findings(list(found_in(given).findings))]
    left = len(QUESTIONS) - len(given)
    if not asking.done and left > 0:
        text = f"{left} of {len(QUESTIONS)} questions were not asked when the recording was closed: "
        records.append(Notice("partial", f"{text}the session is long. {ASK_LATER}"))
    records += [_failed(answer) for answer in given if answer.failure is not None]
    return records


ASK_LATER = "gradwatch show asks them all."


def _in_time(asking: _Asking) -> bool:
    """Ask in a thread that is waited for as long as there is time. False where the interpreter starts none any more."""
    thread = threading.Thread(target=asking.run, name="gradwatch-findings", daemon=True)
    thread.pydev_do_not_trace = True  # type: ignore[attr-defined]  # pydevd's own attribute: no thread of the program's
    thread.is_pydev_daemon_thread = True  # type: ignore[attr-defined]  # as above
    try:
        thread.start()
    except RuntimeError:
        return False
    thread.join(BUDGET_S)
    return True


def _failed(answer: Answer) -> Notice:
    text = f"The question {answer.question!r} could not be answered: a defect of gradwatch, or a damaged session."
    return Notice("recorder", text, probe=f"findings.{answer.question}", traceback=answer.failure)


if findings_at_close not in closing:
    closing.append(findings_at_close)
