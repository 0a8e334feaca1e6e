"""The shapes of a finding and of a source line in JSON: `gradwatch why --json`, and `findings` of `show --json`."""

from __future__ import annotations

from typing import TypedDict

from gradwatch.records import (
    Certainty,  # noqa: TC001 -- the shapes can be read at run time, by get_type_hints
    FindingKind,  # noqa: TC001 -- as above
    Severity,  # noqa: TC001 -- as above
)


class Place(TypedDict):
    """A line of the user's source. `text` is the line as it was; null where it was not kept."""

    file: str
    line: int
    text: str | None


class FindingRow(TypedDict):
    """An answer: what is wrong, where, why, and what to do.

    `severity` "error": the training is wrong; "warning": probably; "note": worth knowing. `place` is the line at fault,
    `other_place` the second one where it takes two, `name` the Python name at fault, `cause` the class within its
    kind. `first_step` and `last_step` are those it was seen in. `evidence` are the readings it rests on. `bytes` is
    what it holds, or would free. Texts are "", and lists empty, where there is nothing to say.
    """

    kind: FindingKind
    severity: Severity
    certainty: Certainty
    title: str
    sentence: str
    cause: str
    fix: str
    first_step: int | None
    last_step: int | None
    place: Place | None
    other_place: Place | None
    name: str
    parameters: list[str]
    modules: list[str]
    bytes: int | None
    evidence: list[str]
