"""The zoo: one bug is planted in each program; its finding must name kind, line, names and fix. Healthy twins: none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gradwatch import open as open_session
from zoo.expected import Expected, Silence
from zoo.programs import Animal, animals, load, record

if TYPE_CHECKING:
    from pathlib import Path

    from gradwatch import Session
    from gradwatch.records import Finding

BUGS, HEALTHY = animals("bugs"), animals("healthy")
SAME_PARAMETERS = {"unreached", "stale", "zero gradient", "frozen", "not optimized", "replaced", "zeroed"}


@pytest.mark.parametrize("animal", BUGS, ids=lambda animal: animal.name)
def test_a_planted_bug_is_found_and_named(animal: Animal, tmp_path: Path) -> None:
    expected = record(animal, tmp_path / "zoo.gradwatch")
    assert isinstance(expected, Expected)
    with open_session(tmp_path / "zoo.gradwatch") as session:
        told = [told_of(session, finding) for finding in session.findings]
        assert not probes_stopped(session)
        misses = [missing(session, finding, expected, animal) for finding in session.findings]
        assert [] in misses, f"{expected}\n" + "\n".join(map(str, zip(told, misses, strict=True)))
        others = {f.kind for f in session.findings if f.severity != "note"} - {expected.kind, *expected.also}
        assert not others, "\n".join(told)


@pytest.mark.parametrize("animal", HEALTHY, ids=lambda animal: animal.name)
def test_a_healthy_twin_raises_no_alarm(animal: Animal, tmp_path: Path) -> None:
    expected = record(animal, tmp_path / "zoo.gradwatch")
    assert isinstance(expected, Silence)
    with open_session(tmp_path / "zoo.gradwatch") as session:
        assert len(session.steps) > 0
        assert not probes_stopped(session)
        alarms = [f for f in session.findings if f.severity != "note" or f.kind in expected.but_not]
        assert alarms == [], "\n".join(told_of(session, finding) for finding in alarms)


def missing(session: Session, finding: Finding, expected: Expected, animal: Animal) -> list[str]:
    """What of the expected a finding lacks; nothing where it is the one."""
    lacks: list[str] = []
    if finding.kind != expected.kind:
        lacks.append(f"kind {expected.kind}")
    if expected.cause and finding.cause != expected.cause:
        lacks.append(f"cause {expected.cause}, has {finding.cause}")
    for mark, site in (("# bug", finding.site), ("# other", finding.other_site)):
        line = animal.line(mark)
        place = session.site(site) if site >= 0 else None
        if line is not None and (place is None or (place.line, place.file) != (line, str(animal.path))):
            lacks.append(f"{mark} line {line}, has {place and place.line}")
    names = {session.parameters[number].name for number in finding.parameters}
    wanted = set(expected.parameters)
    if wanted and not (names == wanted if finding.kind in SAME_PARAMETERS else names >= wanted):
        lacks.append(f"parameters {sorted(wanted)}, has {sorted(names)}")
    if expected.name and finding.name != expected.name:
        lacks.append(f"name {expected.name}, has {finding.name}")
    if expected.fix and expected.fix not in finding.fix:
        lacks.append(f"fix {expected.fix!r}, has {finding.fix!r}")
    if expected.says and expected.says not in finding.sentence:
        lacks.append(f"says {expected.says!r}, has {finding.sentence!r}")
    return lacks


def told_of(session: Session, finding: Finding) -> str:
    place = f"{session.site(finding.site).line}" if finding.site >= 0 else "-"
    return f"{finding.severity} {finding.kind}/{finding.cause} line {place} [{finding.name}] {finding.sentence}"


def probes_stopped(session: Session) -> list[str]:
    return [notice.traceback or notice.text for notice in session.notices if notice.kind == "probe stopped"]


def test_the_zoo_is_of_its_size() -> None:
    assert len(BUGS) >= 40
    assert len(HEALTHY) >= 20
    assert len({load(animal).EXPECTED.kind for animal in BUGS}) >= 20
