"""Why a gradient is None, zero or stale: from hand-made sessions, each cause by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import session_factory as make
from gradwatch.errors import UsageError
from gradwatch.findings import applied, optimized, unreached, zero_gradients
from gradwatch.findings.thresholds import Thresholds
from gradwatch.findings.why import known_names, why
from gradwatch.records import (
    Cut,
    DeadEnd,
    ForeignParameter,
    Module,
    ModuleCalls,
    Modules,
    OptimizerMembers,
    Parameters,
    Record,
    Site,
    Sites,
    SourceFile,
    Trace,
    Write,
)
from gradwatch.session.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from gradwatch.records import CutKind, Finding

BODY, HEAD, EXTRA = 0, 1, 2
QUESTIONS = (unreached, optimized, applied, zero_gradients)
SOURCE = "x = model(batch)\nfeatures = x.detach()\nprint(aux.item())\nloss = main + 0.1 * aux.item()\n"


def tables(**parameter: Any) -> list[Record]:
    """A model of three modules with a weight each; `parameter` are fields of the third's."""
    modules = [Module(0, "model", "", "Net")]
    modules += [Module(number + 1, "model", path, "Linear") for number, path in enumerate(("body", "head", "extra"))]
    weights = [make.parameter(BODY, "body.weight", (4,), module=1), make.parameter(HEAD, "head.weight", (4,), module=2)]
    weights.append(make.parameter(EXTRA, "extra.weight", (4,), module=3, **parameter))
    lines = [Site(number, "/home/someone/project/seed.py", number + 1, "<module>") for number in range(4)]
    return [Modules(modules), Parameters(weights), Sites(lines), SourceFile(lines[0].file, "", SOURCE)]


def steps(rows: Sequence[Mapping[int, Sequence[float]]], **others: Any) -> list[Record]:
    """One step for each mapping from parameter to its gradient."""
    found: list[Record] = []
    for number, gradients in enumerate(rows):
        found += [make.backward(number), make.gradients(number, gradients), make.step(number, 1.0, **others)]
    return found


def members(parameters: Sequence[int], foreign: Sequence[ForeignParameter] = ()) -> OptimizerMembers:
    return OptimizerMembers(0, 0, "SGD", make.column("<u4", parameters), list(foreign))


def trace(used: Mapping[int, int], **others: Any) -> Trace:
    columns = make.column("<u4", used), make.column("<u4", used.values())
    return Trace(0, "first step", 10, truncated=False, used_parameters=columns[0], uses=columns[1], **others)


def calls(counts: Sequence[tuple[int, int]]) -> ModuleCalls:
    """Calls, and how many of them without grad, of the modules 0, 1, ..."""
    made, without = make.column("<u4", [count for count, _ in counts]), make.column("<u4", [w for _, w in counts])
    training, times = make.column("|u1", [1] * len(counts)), make.column("<i8", [-1] * len(counts))
    return ModuleCalls(0, make.column("<i4", range(len(counts))), made, without, training, times)


LIVE = {BODY: [1.0, 2.0], HEAD: [1.0, 0.0]}
EVERY = members([BODY, HEAD, EXTRA])
CALLED = calls([(1, 0)] * 4)


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Any]:
    opened: list[Session] = []

    def write(*records: Record, **parameter: Any) -> Session:
        path = make.write_session(tmp_path / f"{len(opened)}.gradwatch", [[*tables(**parameter), *records]])
        opened.append(Session(path))
        return opened[-1]

    yield write
    for session in opened:
        session.close()


def found(session: Session) -> list[Finding]:
    return [finding for question in QUESTIONS for finding in question.find(session, Thresholds())]


def only(session: Session) -> Finding:
    (finding,) = found(session)
    return finding


def cut(kind: CutKind, site: int, name: str = "", *, reaches_loss: bool = True) -> Cut:
    return Cut(kind, f"Tensor.{kind}", site, site, -1, [EXTRA], reaches_loss, name)


def test_a_healthy_run_has_no_finding(written: Any) -> None:
    assert found(written(EVERY, CALLED, *steps([{**LIVE, EXTRA: [1.0]}] * 4))) == []


def test_a_file_from_before_traces_has_no_false_alarm(written: Any) -> None:
    assert {each.severity for each in found(written(*steps([LIVE] * 3)))} == {"note"}


def test_a_module_that_is_never_called_is_told_so(written: Any) -> None:
    finding = only(written(EVERY, calls([(1, 0), (1, 0), (1, 0), (0, 0)]), *steps([LIVE] * 3)))
    assert (finding.kind, finding.cause, finding.severity) == ("unreached", "never called", "warning")
    assert finding.parameters == [EXTRA]
    assert "find_unused_parameters" in finding.fix


@pytest.mark.parametrize("kind", ["detached", "data", "no_grad", "inference_mode", "not differentiable", "rebuilt"])
def test_a_cut_names_its_line_and_its_name(written: Any, kind: CutKind) -> None:
    traced = trace({BODY: 1, HEAD: 1, EXTRA: 1}, cuts=[cut(kind, 1, name="x")])
    finding = only(written(EVERY, CALLED, traced, *steps([LIVE] * 3)))
    assert (finding.cause, finding.site, finding.name) == (kind, 1, "x")
    assert "{" not in finding.sentence + finding.fix


def test_all_parameters_behind_one_line_are_one_finding(written: Any) -> None:
    both = replace(cut("detached", 1), parameters=[HEAD, EXTRA])
    session = written(EVERY, CALLED, trace({0: 1, 1: 1, 2: 1}, cuts=[both]), *steps([{BODY: [1.0]}] * 3))
    assert only(session).parameters == [HEAD, EXTRA]


def test_what_was_only_printed_is_an_unused_output(written: Any) -> None:
    printed = cut("number", 2, reaches_loss=False)
    branch = DeadEnd("MeanBackward0", "torch.mean", 0, 0, -1, [EXTRA], name="aux", saved_bytes=64)
    finding = only(
        written(EVERY, CALLED, trace({0: 1, 1: 1, 2: 1}, cuts=[printed], dead_ends=[branch]), *steps([LIVE]))
    )
    assert (finding.cause, finding.name, finding.site, finding.bytes) == ("unused output", "aux", 0, 64)


def test_a_number_on_a_line_of_the_loss_is_the_cut(written: Any) -> None:
    added = cut("number", 3, reaches_loss=False)
    branch = DeadEnd("MeanBackward0", "torch.mean", 0, 0, -1, [EXTRA], name="aux", used=1)
    finding = only(written(EVERY, CALLED, trace({0: 1, 1: 1, 2: 1}, cuts=[added], dead_ends=[branch]), *steps([LIVE])))
    assert (finding.cause, finding.site, finding.name) == ("number", 3, "aux")


def test_a_module_that_runs_without_grad_and_without_a_trace_is_told_so(written: Any) -> None:
    finding = only(written(EVERY, calls([(1, 0), (1, 0), (1, 0), (2, 2)]), *steps([LIVE] * 3)))
    assert (finding.cause, finding.severity) == ("no_grad", "warning")


def test_what_no_optimizer_has_is_no_alarm(written: Any) -> None:
    session = written(members([BODY, HEAD]), CALLED, trace({}, cuts=[cut("detached", 1)]), *steps([LIVE] * 3))
    assert only(session).severity == "note"


def test_a_gradient_taken_by_autograd_grad_is_not_missing(written: Any) -> None:
    taken = make.backward(1, 1, call="grad")
    assert found(written(members([BODY, HEAD]), CALLED, taken, *steps([LIVE] * 3))) == []


def test_a_frozen_parameter_is_a_note(written: Any) -> None:
    finding = only(written(EVERY, CALLED, *steps([LIVE] * 3), requires_grad=False))
    assert (finding.kind, finding.severity, finding.parameters) == ("frozen", "note", [EXTRA])


def test_an_optimizer_that_has_only_frozen_parameters_is_an_alarm(written: Any) -> None:
    two = [members([BODY, HEAD]), replace(members([EXTRA]), optimizer=1, optimizer_class="Adam")]
    finding = only(written(*two, CALLED, *steps([LIVE] * 3), requires_grad=False))
    assert (finding.kind, finding.severity) == ("frozen", "warning")
    assert "Adam trains nothing" in finding.sentence


def test_a_gradient_that_no_optimizer_uses_is_told_of(written: Any) -> None:
    finding = only(written(members([BODY, HEAD]), CALLED, *steps([{**LIVE, EXTRA: [1.0]}] * 3)))
    assert (finding.kind, finding.severity, finding.parameters) == ("not optimized", "warning", [EXTRA])


def test_a_parameter_that_took_the_place_of_the_optimizers_is_replaced(written: Any) -> None:
    old = ForeignParameter([4], "float32", like=EXTRA)
    finding = only(written(members([BODY, HEAD], [old]), CALLED, *steps([{**LIVE, EXTRA: [1.0]}] * 3)))
    assert (finding.kind, finding.severity, finding.parameters) == ("replaced", "error", [EXTRA])


def test_gradients_that_are_gone_at_the_step_were_zeroed(written: Any) -> None:
    write = Write("Optimizer.zero_grad", 2, 2, -1, "update", "optimizer", [BODY, HEAD])
    used = [make.optimizer_step(number, {EXTRA: (1.0, 1.0, 0.1)}) for number in range(3)]
    session = written(EVERY, CALLED, trace({}, writes=[write]), *used, *steps([{**LIVE, EXTRA: [1.0]}] * 3))
    finding = only(session)
    assert (finding.kind, finding.severity, finding.site) == ("zeroed", "error", 2)
    assert finding.parameters == [BODY, HEAD]


def test_an_old_gradient_that_is_used_again_is_stale(written: Any) -> None:
    used = [make.optimizer_step(number, dict.fromkeys(range(3), (1.0, 1.0, 0.1))) for number in range(4)]
    session = written(EVERY, CALLED, *used, *steps([{**LIVE, EXTRA: [1.0]}, LIVE, LIVE, LIVE]))
    finding = only(session)
    assert (finding.kind, finding.severity, finding.steps) == ("stale", "warning", [1, 3])


def test_a_branch_that_rests_for_a_while_is_no_alarm(written: Any) -> None:
    resting = [{**LIVE, EXTRA: [1.0]}, *[LIVE] * 12]
    assert [each.severity for each in found(written(EVERY, CALLED, *steps(resting)))] == ["note"]
    assert found(written(EVERY, CALLED, *steps(resting[:6]))) == []


def test_zeros_at_the_first_step_alone_are_right(written: Any) -> None:
    assert found(written(EVERY, CALLED, *steps([{**LIVE, EXTRA: [0.0]}, {**LIVE, EXTRA: [1.0]}]))) == []


@pytest.mark.parametrize(
    ("op", "cause"),
    [
        ("ReluBackward0", "masked by ReLU"),
        ("NativeDropoutBackward0", "masked by dropout"),
        ("MulBackward0", "multiplied by 0"),
    ],
)
def test_a_gradient_of_zeros_names_its_mask(written: Any, op: str, cause: str) -> None:
    nodes = [make.Node("AccumulateGrad", parameter=EXTRA), make.Node("AddmmBackward0"), make.Node(op, 3, site=1)]
    graph = make.graph(0, nodes, [(1, 0, 0, 0), (2, 0, 1, 0)], [2])
    records = [*steps([{**LIVE, EXTRA: [0.0, 0.0]}] * 3)]
    records = [make.backward(each.step, graph=0) if type(each).__name__ == "Backward" else each for each in records]  # type: ignore[union-attr]  # the branch says which
    finding = only(written(EVERY, CALLED, graph, *records))
    assert (finding.kind, finding.severity, finding.cause, finding.site) == ("zero gradient", "warning", cause, 1)


def test_a_few_skipped_steps_are_how_a_scaler_begins(written: Any) -> None:
    rows = [{**LIVE, EXTRA: [1.0]}] * 12
    few = steps(rows[:3], skipped=True, loss_scale=65536.0)
    assert [each.severity for each in found(written(EVERY, CALLED, *few))] == ["note"]
    many = only(written(EVERY, CALLED, *steps(rows, skipped=True, loss_scale=1.0)))
    assert (many.kind, many.severity) == ("skipped", "warning")


def test_why_answers_for_what_is_fine(written: Any) -> None:
    session = written(EVERY, CALLED, *steps([{**LIVE, EXTRA: [3.0, 4.0]}] * 3))
    (finding,) = why(session, "extra.weight")
    assert (finding.kind, finding.severity) == ("reached", "note")
    assert "its gradient is finite, norm 5 at step 2, reached at every one of 3 steps" in finding.sentence


def test_why_of_a_module_answers_for_all_its_parameters(written: Any) -> None:
    session = written(EVERY, calls([(1, 0), (1, 0), (1, 0), (0, 0)]), *steps([LIVE] * 3))
    assert [each.kind for each in why(session, "extra")] == ["unreached"]
    assert [each.parameters for each in why(session, "model")] == [[EXTRA], [BODY, HEAD]]
    assert [each.kind for each in why(session, "head")] == ["reached"]


def test_why_at_a_step_says_what_was_so_there(written: Any) -> None:
    session = written(EVERY, CALLED, *steps([{**LIVE, EXTRA: [3.0, 4.0]}, LIVE]))
    assert "norm 5" in why(session, "extra.weight", 0)[0].sentence
    assert "no backward call reached it at step 1" in why(session, "extra.weight", 1)[0].sentence
    with pytest.raises(UsageError, match="no step 9"):
        why(session, "extra.weight", 9)


def test_a_wrong_name_gets_near_ones(written: Any) -> None:
    session = written(EVERY, CALLED, *steps([LIVE]))
    with pytest.raises(UsageError, match=r"Did you mean 'extra\.weight'"):
        why(session, "extra.wieght")
    assert known_names(session)[:4] == ["body.weight", "head.weight", "extra.weight", "body"]


def test_a_session_without_a_step_is_answered_in_words(written: Any) -> None:
    session = written()
    assert found(session) == []
    assert "no step" in why(session, "body.weight")[0].sentence
