"""What is found at a stop of a debugger, asked through the door as a debugger asks."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from debugger_questions import read, snapshot
from gradwatch import debugger
from gradwatch.findings import stop_held
from gradwatch.findings.at_stop import findings_at
from gradwatch.records import Column

if TYPE_CHECKING:
    from gradwatch.records import Finding, Snapshot


@pytest.fixture(autouse=True)
def _nothing_stays() -> Any:
    yield
    debugger.answer('{"question": "detach"}')


def by_kind(found: list[Finding]) -> dict[str, Finding]:
    assert len({each.kind for each in found}) == len(found), [each.title for each in found]
    return {each.kind: each for each in found}


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used = nn.Linear(3, 3)
        self.other = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.used(x)


def test_a_finite_step_of_a_model_that_is_all_used_is_silent() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        loss = model(torch.randn(5, 4)).square().mean()
        before = read(debugger.answer(snapshot())).record
        loss.backward()
        after = read(debugger.answer(snapshot())).record
        optimizer.step()
        assert (before.findings, after.findings) == ([], [])


def test_gradients_with_nan_are_an_error_that_names_them_and_counts() -> None:
    model = nn.Linear(3, 2)
    loss = (model(torch.ones(1, 3)) * torch.nan).sum()
    loss.backward()
    answer = read(debugger.answer(snapshot()))
    finding = by_kind(answer.record.findings)["nan"]
    assert (finding.severity, finding.cause) == ("error", "in gradients")
    assert finding.sentence == "2 of 2 gradients are not finite: model.weight and 1 more."
    assert [answer.names[number] for number in finding.parameters] == ["model.weight", "model.bias"]
    assert finding.evidence == ["model.weight.grad: 6 NaN", "model.bias.grad: 2 NaN"]


def test_inf_alone_is_a_warning_for_a_scaler_may_seek_its_scale() -> None:
    model = nn.Linear(3, 2)
    (model(torch.ones(1, 3)) * torch.inf).sum().backward()
    finding = by_kind(read(debugger.answer(snapshot())).record.findings)["inf"]
    assert finding.severity == "warning"


def test_a_part_that_the_loss_does_not_reach_is_named_with_what_shows_it() -> None:
    model = Two()
    loss = model(torch.ones(2, 3)).sum()
    loss.backward()
    answer = read(debugger.answer(snapshot()))
    finding = by_kind(answer.record.findings)["unreached"]
    assert (finding.severity, finding.certainty) == ("warning", "measured")
    assert [answer.names[number] for number in finding.parameters] == ["model.other.weight", "model.other.bias"]
    assert finding.sentence.endswith("2 others of model did, and the graph in front does not reach them.")


def test_a_gradient_that_the_next_backward_writes_is_not_missed() -> None:
    model = Two()
    model(torch.ones(2, 3)).sum().backward()
    loss = (model(torch.ones(2, 3)) + model.other(torch.ones(2, 3))).sum()
    assert loss.requires_grad
    assert read(debugger.answer(snapshot())).record.findings == []


def test_two_models_that_take_turns_are_silent() -> None:
    generator, critic = nn.Linear(2, 2), nn.Linear(2, 1)
    loss = critic(generator(torch.ones(1, 2)).detach()).sum()
    loss.backward()
    assert generator.weight.grad is None
    assert read(debugger.answer(snapshot())).record.findings == []


def test_nan_that_a_node_makes_is_born_there_and_has_reached_the_next() -> None:
    found: list[Finding] = []
    names: list[str] = []

    class Breaks(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride] # as torch documents it
            return x.clone()

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride] # likewise
            answer = read(debugger.answer(snapshot())).record
            found.extend(answer.findings)
            assert answer.graph is not None
            names.extend(answer.graph.names)
            return grad

    x = torch.ones(3, requires_grad=True)
    (Breaks.apply(x) * torch.tensor([1.0, torch.nan, 1.0])).sum().backward()  # pyright: ignore[reportOperatorIssue, reportUnknownMemberType] # apply is untyped
    finding = by_kind(found)["nan"]
    assert (finding.severity, finding.cause) == ("error", "on its path")
    assert finding.title == "NaN has reached Breaks"
    assert finding.evidence[0] == "gradient in: 1 NaN"
    assert len(finding.nodes) == 1


def test_a_gradient_that_no_backward_writes_any_more_is_stale_after_some_steps() -> None:
    model = Two()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    (model.used(torch.ones(1, 3)) + model.other(torch.ones(1, 3))).sum().backward()
    for _ in range(5):
        read(debugger.answer(snapshot()))
        model.used.zero_grad()
        model(torch.ones(1, 3)).sum().backward()
        optimizer.step()
    answer = read(debugger.answer(snapshot()))
    finding = by_kind(answer.record.findings)["stale"]
    assert finding.severity == "note"
    assert {answer.names[number] for number in finding.parameters} == {"model.other.weight", "model.other.bias"}


def test_an_optimizer_that_was_given_what_is_frozen_is_a_note() -> None:
    model = Two()
    model.other.requires_grad_(requires_grad=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    assert optimizer.param_groups
    finding = by_kind(read(debugger.answer(snapshot())).record.findings)["frozen"]
    assert (finding.severity, finding.certainty) == ("note", "inferred")
    assert finding.evidence == ["optimizer holds 4 parameters, 2 of them frozen"]


def with_lines(answer: Snapshot) -> Snapshot:
    """Let node k stand on line k: on older Pythons no line is known at a first stop."""
    assert answer.graph is not None
    count = answer.graph.node_count
    column = Column("<i4", b"".join(number.to_bytes(4, "little") for number in range(count)))
    return replace(answer, graph=replace(answer.graph, project_site=column))


def test_a_line_that_holds_most_is_noted_with_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop_held, "LEAST_BYTES", 1000)
    x = torch.ones(1000, requires_grad=True)
    loss = x.exp().sum() + torch.ones(10, requires_grad=True).exp().sum()
    assert loss.requires_grad
    answer = with_lines(read(debugger.answer(snapshot())).record)
    (finding,) = [each for each in findings_at(answer) if each.kind == "held"]
    assert answer.graph is not None
    assert finding.bytes == 4000
    assert finding.nodes == [finding.site]
    assert finding.sentence.startswith("3.91 KiB of the 3.95 KiB held")


def test_an_answer_in_pieces_is_answered_as_far_as_it_goes() -> None:
    model = nn.Linear(3, 2)
    (model(torch.ones(1, 3)) * torch.nan).sum().backward()
    answer = read(debugger.answer(snapshot())).record
    assert answer.states is not None
    cut = replace(answer, states=replace(answer.states, state=Column("|u1", b"")), graph=None)
    assert [each.kind for each in findings_at(cut)] == ["nan"]


def test_what_finds_at_a_stop_loads_the_standard_library_alone() -> None:
    code = (
        "import sys; import gradwatch.findings.at_stop; "
        "print([name for name in ('numpy', 'msgspec', 'torch', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
