"""The committed comparisons are what is said today of the committed sessions."""

from __future__ import annotations

import compare_golden


def test_the_golden_comparisons_are_what_is_said_of_the_sessions() -> None:
    committed = {path.name: path.read_text(encoding="utf-8") for path in compare_golden.COMPARE.glob("*.json")}
    assert committed == compare_golden.golden_answers(), "run `make contract`"


def test_the_cases_are_of_every_kind() -> None:
    reports = [
        answer["report"] for answer in map(compare_golden.answer, compare_golden.CASES.values()) if "report" in answer
    ]
    assert {report["parts"] for report in reports} == {True, False}
    assert {kind for report in reports if report["gradients"] for kind in [report["gradients"]["first"]["kind"]]} == {
        "node",
        "module",
        "parameter",
    }
    for field in ("gradients", "loss", "held", "graph", "notes"):
        assert {bool(report[field]) for report in reports} == {True, False}, field
