"""gradwatch.expect: what holds passes, what does not fails in the words of a finding, what cannot be asked says so."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

import gradwatch
from gradwatch import ExpectationFailed, GradwatchError, expect
from gradwatch.errors import UsageError
from gradwatch.expectation_names import bytes_of
from gradwatch.records import Finding, Holder, Module, Modules, Parameters, Retained, Site, Sites, SourceFile
from gradwatch.session.session import Session
from session_factory import (
    RUN,
    Node,
    Saved,
    Storage,
    backward,
    gradients,
    graph,
    ledger,
    parameter,
    step,
    write_session,
)

if TYPE_CHECKING:
    from pathlib import Path

    from gradwatch.records import Record


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(4, 8), nn.Tanh())
        self.aside = nn.Linear(4, 8)
        self.head = nn.Linear(8, 1)
        self.detaches = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.encoder(x)
        return self.head(hidden.detach() if self.detaches else hidden)


def train(model: nn.Module, steps: int = 2) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(steps):
        model(torch.ones(3, 4)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net()


SITES = Sites([Site(0, "/home/someone/project/train.py", 2, "forward"), Site(1, "/elsewhere/lib.py", 7, "f")])
SOURCE = SourceFile(
    "/home/someone/project/train.py", "0", "def forward(self, x):\n    y = x.softmax(-1)\n    return y\n"
)
MODULES = Modules(
    [Module(0, "model", "", "Net"), Module(1, "model", "blocks", "Blocks"), Module(2, "model", "blocks.0", "Block")]
)
PARAMETERS = Parameters(
    [
        parameter(0, "blocks.0.weight", (2,), module=2),
        parameter(1, "blocks.0.bias", (2,), module=2),
        parameter(2, "head.weight", (2,)),
        parameter(3, "old.weight", (2,), requires_grad=False),
    ]
)
GRAPH = graph(
    0,
    [Node("torch::autograd::AccumulateGrad", parameter=0), Node("MulBackward0", 2, 0), Node("SumBackward0", 0, 1)],
    [(2, 0, 1, 0), (1, 0, 0, 0)],
    [2],
)
LEDGER = ledger(0, 0, [Saved(1, "self", 0, (64,)), Saved(2, "self", 1, (8,))], [Storage(3_000_000), Storage(4_000)])


def made(path: Path, *records: Record) -> Path:
    """A session of two steps in which blocks.0 has gradients, and what else is given."""
    steps: list[Record] = [
        record
        for number in range(2)
        for record in (
            backward(number, graph=0, ledger=0),
            gradients(number, {0: [1.0, 2.0], 1: [0.5, 0.5]}),
            step(number, 0.5),
        )
    ]
    opening = [SITES, SOURCE, MODULES, PARAMETERS, GRAPH, LEDGER]
    return write_session(path / "run.gradwatch", [[*opening, *steps, *records]])


def failure(check: object) -> str:
    """What a failed expectation says, without the folder of the test."""
    assert callable(check)
    with pytest.raises(ExpectationFailed) as caught:
        check()
    return re.sub(r"\S*/(\w+\.gradwatch)", r"\1", str(caught.value))


def explained(path: Path, *findings: Finding) -> Session:
    return Session(path, lambda _: findings)


def test_a_run_as_expected_passes_and_chains(net: Net, tmp_path: Path) -> None:
    with gradwatch.watch(net, tmp_path / "run.gradwatch") as recorder:
        train(net)
    expected = expect(recorder)
    assert expected.gradients_reach("encoder.*", "head") is expected
    assert expected.no_nonfinite().held_below("encoder", "1 MiB") is expected
    assert expected.same_gradients_as(recorder.path, rtol=0, atol=0) is expected


def test_a_recorder_that_runs_is_read_up_to_the_step_that_is_open(net: Net, tmp_path: Path) -> None:
    with gradwatch.watch(net, tmp_path / "run.gradwatch") as recorder:
        with pytest.raises(ExpectationFailed, match="No backward call was recorded"):
            expect(recorder).gradients_reach("encoder.*")
        train(net, steps=2)
        expect(recorder).gradients_reach("encoder.*")


def test_what_a_live_run_does_not_reach_fails(net: Net, tmp_path: Path) -> None:
    net.detaches = True
    with gradwatch.watch(net, tmp_path / "run.gradwatch") as recorder:
        train(net)
    expect(recorder).gradients_reach("head")
    said = failure(lambda: expect(recorder.path).gradients_reach("encoder.*"))
    assert said.startswith("Gradients do not reach 2 of 2 parameters that match 'encoder.*'.\n")
    assert "  encoder.0.weight: no gradient in 2 steps\n  encoder.0.bias: no gradient in 2 steps\n" in said


def test_a_nan_of_a_live_run_fails(net: Net, tmp_path: Path) -> None:
    with torch.no_grad():
        net.head.bias.fill_(math.nan)
    with gradwatch.watch(net, tmp_path / "run.gradwatch") as recorder:
        train(net, steps=1)
    said = failure(expect(recorder).no_nonfinite)
    assert "  loss at step 0: NaN\n" in said
    assert "  gradient of head.bias at step 0: 1 NaN of 1\n" in said


def test_other_gradients_of_a_live_run_fail(net: Net, tmp_path: Path) -> None:
    paths = [tmp_path / "a.gradwatch", tmp_path / "b.gradwatch"]
    for path, scale in zip(paths, (1.0, 1.5), strict=True):
        torch.manual_seed(0)
        with gradwatch.watch(net, path), torch.no_grad():
            net.head.weight.fill_(scale)
            with torch.enable_grad():
                train(net, steps=1)
    said = failure(lambda: expect(paths[0]).same_gradients_as(paths[1]))
    assert re.match(r"Gradients are not those of b.gradwatch: \d parameters parted at step 0, first ", said)
    assert re.search(r"^  \S+ l2: \S+, not \S+ \(\S+ apart\)$", said, re.MULTILINE)
    assert "loss at step 0: " in said


def test_a_failure_reads_like_a_finding(tmp_path: Path) -> None:
    finding = Finding(
        "unreached",
        "error",
        "head.weight gets no gradient",
        "Its output was detached before the loss.",
        fix="remove .detach()",
        parameters=[2],
        site=0,
    )
    with explained(made(tmp_path), finding) as session:
        said = failure(lambda: expect(session).gradients_reach("*"))
        assert not session.reader.gaps
    assert said == (
        "Gradients do not reach 1 of 3 parameters that match '*'.\n"
        "  head.weight: no gradient in 2 steps\n"
        "\n"
        "  error: head.weight gets no gradient\n"
        "    train.py:2  y = x.softmax(-1)\n"
        "    Its output was detached before the loss.\n"
        "    fix: remove .detach()\n"
        "\n"
        "session: run.gradwatch"
    )


def test_a_gradient_of_zeros_does_not_reach(tmp_path: Path) -> None:
    path = made(tmp_path, gradients(0, {2: [0.0, 0.0]}))
    assert "  head.weight: all zeros in 2 steps\n" in failure(lambda: expect(path).gradients_reach("head"))


def test_frozen_parameters_count_only_alone(tmp_path: Path) -> None:
    path = made(tmp_path)
    expect(path).gradients_reach("old", "blocks.*")
    said = failure(lambda: expect(path).gradients_reach("old"))
    assert said.startswith("All that matches 'old' is frozen: 1 parameter.\n  old.weight: requires_grad is False\n")


def test_many_values_are_counted_not_listed(tmp_path: Path) -> None:
    more = Parameters([parameter(10 + number, f"more.{number}", (2,)) for number in range(12)])
    said = failure(lambda: expect(made(tmp_path, more)).gradients_reach("more"))
    assert said.count(": no gradient in 2 steps\n") == 8
    assert "\n  and 4 more\n" in said


def test_nonfinite_values_are_named_with_their_step(tmp_path: Path) -> None:
    path = made(tmp_path, gradients(1, {2: [math.nan, math.inf]}))
    said = failure(expect(path).no_nonfinite)
    assert said.startswith(
        "1 value that was recorded is not finite.\n  gradient of head.weight at step 1: 1 NaN and 1 Inf of 2\n"
    )
    expect(path).no_nonfinite("blocks")
    assert "head.weight" in failure(lambda: expect(path).no_nonfinite("head.*"))


def test_an_overflow_that_the_scaler_skipped_is_no_failure(tmp_path: Path) -> None:
    skipped = step(2, loss_nonfinite="nan", skipped=True, loss_scale=2.0)
    expect(made(tmp_path, backward(2), gradients(2, {2: [math.inf, 1.0]}), skipped)).no_nonfinite()


def test_modules_that_hold_too_much_are_told_by_line(tmp_path: Path) -> None:
    path = made(tmp_path)
    expect(path).held_below("blocks.*", 3_000_001)
    with explained(path) as session:
        said = failure(lambda: expect(session).held_below("blocks.*", "2 MiB"))
    assert said == (
        "blocks.* held 2.86 MiB for backward in step 0, over the limit of 2.00 MiB by 882 KiB.\n"
        "  2.86 MiB  train.py:2  y = x.softmax(-1)\n"
        "\n"
        "session: run.gradwatch"
    )


def test_what_was_not_read_cannot_be_below_a_limit(tmp_path: Path) -> None:
    path = write_session(
        tmp_path / "run.gradwatch", [[MODULES, backward(0), step(0)]], replace(RUN, detail="parameters")
    )
    with pytest.raises(UsageError, match="held=True"):
        expect(path).held_below("blocks.*", 1)


def test_graphs_that_stay_alive_are_told_with_who_keeps_them(tmp_path: Path) -> None:
    holder = Holder("trainer.losses[0]", "attribute", count=2)
    expect(made(tmp_path)).graph_freed()
    kept = Retained(1, 2, [0, 1], 4096, 6, "MeanBackward0", 0, 0, [holder], "loss")
    with explained(made(tmp_path, kept)) as session:
        said = failure(expect(session).graph_freed)
    assert said == (
        "2 graphs of past steps are still alive at step 1 and hold 4.00 KiB.\n"
        "  train.py:2  y = x.softmax(-1)\n"
        "  trainer.losses[0] (attribute) keeps 2 tensors\n"
        "  fix: keep numbers, not tensors with a graph: loss.item() or loss.detach()\n"
        "\n"
        "session: run.gradwatch"
    )


def test_findings_count_from_their_severity_on(tmp_path: Path) -> None:
    note = Finding("held", "note", "most is held by blocks.0", "It holds 2.86 MiB.")
    warning = Finding("saturated", "warning", "blocks.0 is saturated", "99 % of it lie at 1.")
    with explained(made(tmp_path), warning, note) as session:
        assert expect(session).no_findings("error")
        said = failure(expect(session).no_findings)
        assert said.startswith("1 finding: 1 warning.\n\n  warning: blocks.0 is saturated\n    99 % of it lie at 1.\n")
        assert failure(lambda: expect(session).no_findings("note")).startswith("2 findings: 1 warning, 1 note.\n")
        with pytest.raises(UsageError, match="There are: error, warning, note"):
            expect(session).no_findings("grave")  # type: ignore[arg-type]  # what a typo is


@pytest.mark.parametrize("pattern", ["block.*", "blocks.0.wight"])
def test_a_pattern_that_matches_nothing_is_an_error_with_near_names(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(UsageError, match=r"There is no parameter .* Did you mean 'blocks\.0\."):
        expect(made(tmp_path)).gradients_reach(pattern)
    with pytest.raises(UsageError, match="Which parameters"):
        expect(made(tmp_path)).gradients_reach()


def test_a_module_pattern_that_matches_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"There is no module 'block\.\*' in this session\. Did you mean"):
        expect(made(tmp_path)).held_below("block.*", 1)


def test_of_several_models_a_path_inside_of_one_matches(net: Net, tmp_path: Path) -> None:
    with gradwatch.watch({"a": net, "b": nn.Linear(1, 1)}, tmp_path / "run.gradwatch") as recorder:
        train(net)
    expect(recorder).gradients_reach("encoder.*", "a.head.*")
    assert "b.weight: no gradient" in failure(lambda: expect(recorder).gradients_reach("b"))


def test_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="A dict is no session, recorder or session file"):
        expect({}).graph_freed()  # type: ignore[arg-type]  # what callers may do
    with pytest.raises(gradwatch.GradwatchError, match="There is no file"):
        expect(tmp_path / "none.gradwatch").graph_freed()


def test_a_failure_is_an_assertion_and_an_error_of_gradwatch(tmp_path: Path) -> None:
    path = made(tmp_path)
    with pytest.raises(AssertionError) as caught:
        expect(path).gradients_reach("head")
    assert isinstance(caught.value, GradwatchError)
    assert caught.value.path == path  # type: ignore[attr-defined]  # the assertion is an ExpectationFailed


def test_limits_are_read_as_people_write_them() -> None:
    sizes = {"512": 512, "3 B": 3, "1.5 GiB": 3 << 29, "300 MB": 300_000_000, "2kib": 2048, "1_000 KB": 1_000_000}
    assert {text: bytes_of(text) for text in sizes} == sizes
    for text in ("much", "3 parsecs", "-1 MB", ""):
        with pytest.raises(UsageError, match="is no size"):
            bytes_of(text)
