"""What is found is written into the file when a recording ends, for readers that cannot find themselves."""

from __future__ import annotations

import sys
import threading
import time
import types
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

import gradwatch
from gradwatch import closing
from gradwatch.capture import recorder
from gradwatch.findings import all as questions
from gradwatch.records import Finding, Findings, Finish, Notice, Record
from gradwatch.session.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FOUND = Finding("unreached", "error", "No gradient", "model.weight got none in 3 steps.", parameters=[0], steps=[0, 2])


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let these functions be the questions that are asked."""

    def use(*found: Callable[[Session], Iterator[Finding]]) -> None:
        names = [f"of_test_{number}" for number in range(len(found))]
        for name, function in zip(names, found, strict=True):
            module: Any = types.ModuleType(name)
            module.find = lambda session, _, function=function: function(session)
            monkeypatch.setitem(sys.modules, f"gradwatch.findings.{name}", module)
        monkeypatch.setattr(questions, "QUESTIONS", tuple(names))

    return use


def train(watch: Any, path: Path, steps: int = 3) -> None:
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, path):
        for _ in range(steps):
            optimizer.zero_grad()
            model(torch.ones(3, 4)).sum().backward()
            optimizer.step()


def written(path: Path) -> list[Finding]:
    with Session(path) as session:
        return list(session.findings)


def one(_: Session) -> Iterator[Finding]:
    yield FOUND


def broken(_: Session) -> Iterator[Finding]:
    raise KeyError("step")


def test_findings_stand_in_the_file_before_its_end(tmp_path: Path, ask: Callable[..., None]) -> None:
    ask(one)
    path = tmp_path / "run.gradwatch"
    train(gradwatch.watch, path)
    assert written(path) == [FOUND]
    with Session(path) as session:
        assert session.finished
        assert session.finish is not None
        assert session.finish.steps == 3
        assert len(list(session.reader.records(Findings))) == len(list(session.reader.records(Finish))) == 1


def test_a_question_is_given_every_step_of_the_recording(tmp_path: Path, ask: Callable[..., None]) -> None:
    seen: list[int] = []

    def count(session: Session) -> Iterator[Finding]:
        seen.append(len(session.steps))
        return iter(())

    ask(count)
    train(gradwatch.watch, tmp_path / "run.gradwatch", steps=7)
    assert seen == [7]


def test_where_nothing_is_found_the_file_says_that_it_was_asked(tmp_path: Path, ask: Callable[..., None]) -> None:
    ask()
    path = tmp_path / "run.gradwatch"
    train(gradwatch.watch, path)
    with Session(path) as session:
        assert list(session.reader.records(Findings)) == [Findings([])]


def test_a_recorder_of_capture_alone_writes_none(
    tmp_path: Path, ask: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(one)
    monkeypatch.setattr(recorder, "closing", [])
    path = tmp_path / "run.gradwatch"
    train(recorder.watch, path)
    with Session(path) as session:
        assert list(session.reader.records(Findings)) == []
        assert session.finish is not None


def test_a_question_that_fails_is_a_notice_and_costs_only_its_own_answer(
    tmp_path: Path, ask: Callable[..., None]
) -> None:
    ask(broken, one)
    path = tmp_path / "run.gradwatch"
    train(gradwatch.watch, path)
    assert written(path) == [FOUND]
    with Session(path) as session:
        notice = next(each for each in session.notices if each.probe == "findings.of_test_0")
    assert "KeyError" in (notice.traceback or "")


def test_what_fails_as_a_whole_leaves_the_recording_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(_: Path) -> list[Record]:
        raise OSError("the disk is gone")

    monkeypatch.setattr(recorder, "closing", [ask])
    path = tmp_path / "run.gradwatch"
    train(recorder.watch, path)
    with Session(path) as session:
        assert len(session.steps) == 3
        assert session.finish is not None
        assert any("the disk is gone" in each.text for each in session.notices)


def test_a_second_interrupt_while_findings_are_sought_still_closes_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(_: Path) -> list[Record]:
        raise KeyboardInterrupt

    monkeypatch.setattr(recorder, "closing", [ask])
    path = tmp_path / "run.gradwatch"
    with pytest.raises(KeyboardInterrupt):
        train(recorder.watch, path)
    with Session(path) as session:
        assert session.finish is not None


def test_questions_that_the_time_does_not_suffice_for_are_told(
    tmp_path: Path, ask: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.gradwatch"
    ask()
    train(gradwatch.watch, path)
    held = time.monotonic() + 60

    def waits(_: Session) -> Iterator[Finding]:
        while time.monotonic() < held:
            time.sleep(0.01)
        return iter(())

    ask(one, waits, one)
    monkeypatch.setattr(closing, "BUDGET_S", 0.5)
    monkeypatch.setattr(closing, "SMALL_BYTES", 0)
    found, notice = closing.findings_at_close(path)
    assert time.monotonic() < held
    held = 0.0
    for thread in threading.enumerate():
        if thread.name == "gradwatch-findings":
            thread.join(60)
    assert found == Findings([FOUND])
    assert isinstance(notice, Notice)
    assert notice.text.startswith("2 of 3 questions were not asked")
