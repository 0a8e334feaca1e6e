"""Checkpoints, offloading, saved-tensor hooks: what a recorded program computes, and what its session says is held."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import (
    allow_mutation_on_saved_tensors,
    disable_saved_tensors_hooks,
    register_multi_grad_hook,
    saved_tensors_hooks,
)
from torch.utils.checkpoint import checkpoint

import gradwatch
from debugger_questions import Answer, forget_compilations, read, snapshot
from exactness import calls_of, check_exact, run
from gradwatch.capture.packed import OFFLOADED as OFFLOADED_TEXT
from gradwatch.capture.recomputation import NOT_SEEN
from gradwatch.debugger import answer
from gradwatch.records import Detail, Gradients
from living_storages import alive_after, without_numbers
from regimes import promise
from saved_tensor_programs import (
    ACTIVATION,
    FLOAT,
    FORBIDDEN,
    HOOKED,
    NON_REENTRANT,
    OFFLOADED,
    REENTRANT,
    SELECTIVE,
    SIDE,
    Forward,
    Forwards,
    Kept,
    Model,
    again,
    changed_in_place,
    reenter,
    selecting,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Record
    from gradwatch import Session
    from gradwatch.session.held import HeldView

DETAILS: tuple[Detail, ...] = get_args(Detail)
READ_DETAILS: tuple[Detail, ...] = ("modules", "nodes")
RNG_STATE = torch.get_rng_state().nbytes
WEIGHTS = 2 * SIDE * SIDE * FLOAT

pytestmark = pytest.mark.filterwarnings("ignore:dropout:UserWarning")


def each_of(forwards: Forwards) -> list[tuple[str, Detail]]:
    """Every forward at the details that read what is held, and one at the other."""
    read: list[tuple[str, Detail]] = [(name, detail) for name in forwards for detail in READ_DETAILS]
    return [(next(iter(forwards)), "parameters"), *read]


def training(run: Callable[[Model], Tensor], models: list[Model]) -> Callable[[], object]:
    """Two backward calls on a new model, which is put into `models`: the first finds its modules."""

    def program() -> object:
        torch.manual_seed(1)
        model = Model()
        models[:] = [model]
        losses: list[Tensor] = []
        for _ in range(2):
            model.zero_grad()
            loss = model(run)
            loss.backward()
            losses.append(loss.detach())
        return losses, list(model.parameters())

    return program


def recorded(record: Record, run: Callable[[Model], Tensor], detail: Detail) -> tuple[Session, Model]:
    """The session of that, once the program's bits and every graph were found to be the same."""
    models: list[Model] = []
    session = check_exact(record, training(run, models), detail)
    check_gradients(session, models[0])
    return session, models[0]


def check_gradients(session: Session, model: nn.Module) -> None:
    """The gradients of the last step are those that the model has now."""
    paths = {view.id: view.path for view in session.parameters}
    found: dict[str, float] = {}
    for gradients in session.reader.records_of_step(Gradients, session.steps[-1].number):
        if gradients.subject_kind == "parameter":
            subjects = np.frombuffer(gradients.subjects.data, "<u4").tolist()
            norms = np.frombuffer(gradients.columns["l2"].data, gradients.columns["l2"].dtype).tolist()
            found.update({paths[subject]: norm for subject, norm in zip(subjects, norms, strict=True)})
    leaves = {view.path for view in session.parameters if view.is_leaf_tensor}
    found = {path: norm for path, norm in found.items() if path not in leaves}
    there = {name: each.grad for name, each in model.named_parameters() if each.grad is not None}
    assert found == pytest.approx({name: gradient.double().norm().item() for name, gradient in there.items()}, rel=1e-5)


def held_in(session: Session) -> HeldView:
    """What the program's own call of the last step found held."""
    return session.held(session.steps[-1].number, 0)


def labels_of(held: HeldView) -> set[str]:
    return {label.label for label in held.backward.graph.labels.values()}


def texts_of(held: HeldView) -> set[str]:
    return {label.text for label in held.backward.graph.labels.values()}


def check_forward(record: Record, forward: Forward, detail: Detail) -> Session:
    """Everything that every forward must hold; returns its session."""
    session, model = recorded(record, forward.run, detail)
    leaves = [view.path for view in session.parameters if view.is_leaf_tensor]
    assert len(leaves) <= ("segments" in forward.run.__name__), "no tensor of a checkpoint's is taken for a parameter"
    if detail != "parameters":
        held = held_in(session)
        assert without_numbers(held) == alive_after(lambda: model(forward.run)) + forward.rng_states * RNG_STATE
        assert held.total_bytes == held.backward.held_bytes
        assert held.peak_bytes is not None
        assert held.peak_bytes >= held.total_bytes
        assert labels_of(held) == forward.labels
    told = [notice.text for notice in session.notices]
    unseen = "checkpointed" in forward.labels and detail == "modules"
    assert told == ([NOT_SEEN] if unseen else [])
    return session


# Checkpoints

IN_CURVE = "held bytes are exact; at modules their curve leaves out what backward recomputes, and a notice says so"


@promise(
    "Saved tensors",
    "checkpoint, reentrant",
    held="partly",
    note=f"its inside is the graph of a call of its own; {IN_CURVE}",
)
@pytest.mark.parametrize(("name", "detail"), each_of(REENTRANT))
def test_a_reentrant_checkpoint_trains_as_alone_and_holds_what_it_recomputes_from(
    record: Record, name: str, detail: Detail
) -> None:
    session = check_forward(record, REENTRANT[name], detail)
    if detail == "parameters":
        return
    inner = [call for call in session.steps[-1].backwards if call.parent >= 0]
    assert inner
    for call in inner:
        # Inputs of a checkpoint were there before: what its own nodes saved is new.
        made = [each for each in call.held.saved if not each.role.startswith(("checkpoint", "tensors", "ctx"))]
        assert all(each.recomputed for each in made)
    assert not any(each.recomputed for each in held_in(session).saved)


@promise("Saved tensors", "checkpoint, non-reentrant", held="partly", note=f"its nodes are labelled; {IN_CURVE}")
@pytest.mark.parametrize(("name", "detail"), each_of(NON_REENTRANT))
def test_a_checkpoint_trains_as_alone_and_holds_what_it_recomputes_from(
    record: Record, name: str, detail: Detail
) -> None:
    check_forward(record, NON_REENTRANT[name], detail)


@promise("Saved tensors", "checkpoint, selective", held="partly", note=f"its nodes are labelled; {IN_CURVE}")
@pytest.mark.parametrize(("name", "detail"), each_of(SELECTIVE))
def test_a_selective_checkpoint_holds_what_its_policy_saves(record: Record, name: str, detail: Detail) -> None:
    session = check_forward(record, SELECTIVE[name], detail)
    if detail != "parameters" and name == "ops_that_are_saved":
        assert by_role(held_in(session))["checkpoint policy"] == 2 * ACTIVATION  # the results of its two layers


def by_role(held: HeldView) -> dict[str, int]:
    """Bytes by role, of storages that no row before it has."""
    found: dict[str, int] = {}
    seen: set[int] = set()
    for each in held.saved:
        if each.storage not in seen and each.tensor_class != "parameter":
            found[each.role] = found.get(each.role, 0) + each.storage_bytes
        seen.add(each.storage)
    return found


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_at_nodes_the_curve_has_what_a_checkpoint_recomputes(record: Record, *, use_reentrant: bool) -> None:
    def forward(model: Model) -> Tensor:
        x: Any = model.hidden()
        for _ in range(3):
            x = checkpoint(model.block, x, use_reentrant=use_reentrant)
        return x.sum()

    session, _ = recorded(record, forward, "nodes")
    held = held_in(session)
    # The batch, the input of each block and the states of the RNG.
    assert held.total_bytes == 4 * ACTIVATION + 3 * RNG_STATE
    # The first block that is recomputed saves its tanh, what dropout multiplied that by, and what sin was given.
    assert held.peak_bytes == held.total_bytes + 3 * ACTIVATION
    assert held.peak_ns is not None
    assert held.peak_ns > 0
    assert held.curve[1][-1] == 0


@pytest.mark.parametrize("detail", READ_DETAILS)
def test_what_a_checkpoint_recomputed_for_a_part_of_backward_is_held_until_the_rest(
    record: Record, detail: Detail
) -> None:
    def forward(model: Model) -> Tensor:
        x = model.hidden()
        first, second = again(lambda x: (x.exp(), x.sin().cos()), x)
        torch.autograd.grad(first.sum(), x, retain_graph=True)  # recomputes both, and uses one
        return (first + second).sum()

    session, _ = recorded(record, forward, detail)
    held = next(call.held for call in calls_of(session)[::-1] if call.call == "backward")
    # Of what cosine was given there is a tensor already.
    assert by_role(held) == {
        "mat1": ACTIVATION,
        "checkpoint input": ACTIVATION,
        "checkpoint rng state": RNG_STATE,
        "recomputed": ACTIVATION,
    }
    assert {each.role for each in held.saved if each.recomputed} == {"recomputed"}


def test_a_retained_graph_counts_once_in_the_curve_of_its_second_call(record: Record) -> None:
    def forward(model: Model) -> Tensor:
        loss = model.block(model.hidden()).sum()
        loss.backward(retain_graph=True)
        return loss

    session, _ = recorded(record, forward, "nodes")
    for step in session.steps[1:]:
        held = step.backwards[0].held
        assert held.peak_bytes == held.total_bytes


# What the program does with saved tensors itself


@promise("Saved tensors", "save_on_cpu", note="its nodes are labelled; its releases are estimated at nodes too")
@pytest.mark.parametrize(("name", "detail"), each_of(OFFLOADED))
def test_what_is_offloaded_is_counted_where_it_is(record: Record, name: str, detail: Detail) -> None:
    session = check_forward(record, OFFLOADED[name], detail)
    if detail != "parameters":
        assert OFFLOADED_TEXT in texts_of(held_in(session))


@promise(
    "Saved tensors",
    "saved_tensors_hooks of the program",
    held="partly",
    note="its nodes are labelled; tensors in containers and attributes of what was packed are counted, others not",
)
@pytest.mark.parametrize(("name", "detail"), each_of(HOOKED))
def test_what_the_programs_hooks_keep_is_counted_and_labelled(
    record: Record, name: str, detail: Detail, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    session = check_forward(record, HOOKED[name], detail)
    if detail == "parameters":
        return
    held = held_in(session)
    if name == "that_keep_a_file":
        assert held.total_bytes == 0
        assert texts_of(held) == {"saved through the program's own hooks as str; what that stands for is not counted"}


@pytest.mark.parametrize("detail", READ_DETAILS)
def test_hooks_that_pack_nothing_are_labelled_and_never_called_by_us(record: Record, detail: Detail) -> None:
    unpacked: list[int] = []

    def forward(model: Model) -> Tensor:
        kept: list[Tensor] = []

        def unpack(_: None) -> Tensor:
            unpacked.append(1)
            return kept[0]

        x = model.hidden()
        with saved_tensors_hooks(lambda t: kept.append(t.detach()), unpack):
            x = x.exp()
        return x.sum()

    session, _ = recorded(record, forward, detail)
    held = held_in(session)
    assert len(unpacked) == 4  # two calls alone, two recorded
    assert texts_of(held) == {"saved through the program's own hooks as NoneType; what that stands for is not counted"}
    assert held.total_bytes == ACTIVATION


@promise(
    "Saved tensors",
    "recording begun or ended inside the program's hooks",
    note="begun inside: held memory is read when backward begins, at nodes too, and a notice says so",
)
@pytest.mark.parametrize("detail", READ_DETAILS)
def test_a_recording_may_begin_and_end_inside_hooks_of_the_program(tmp_path: Path, detail: Detail) -> None:
    packed: list[int] = []
    model = Model()

    def forward(model: Model) -> Tensor:
        return model.block(model.hidden()).sum()

    def hooks() -> saved_tensors_hooks:
        return saved_tensors_hooks(lambda t: (packed.append(1), t.clone())[1], lambda t: t)

    def hooked(model: Model) -> Tensor:
        with hooks():
            return forward(model)

    def program(paths: list[Path]) -> object:
        """Every recording sees a loss of each kind; between and after them nothing is recorded."""
        model.zero_grad()
        losses: list[Tensor] = []

        def train() -> None:
            losses.append(model(forward))
            losses[-1].backward()

        with hooks():
            train()
            recorder = gradwatch.watch(model, paths[0], detail=detail) if paths else None
            train()
        train()
        if recorder is not None:
            recorder.stop()
        train()
        recorder = gradwatch.watch(model, paths[1], detail=detail) if paths else None
        train()
        with hooks():
            train()
            if recorder is not None:
                recorder.stop()
            train()
        train()
        return losses, list(model.parameters())

    alone = run(lambda: program([]))
    called = len(packed)
    paths = [tmp_path / "begun.gradwatch", tmp_path / "ended.gradwatch"]
    found = run(lambda: program(paths))
    assert (found.results, found.rng, found.graphs) == (alone.results, alone.rng, alone.graphs)
    assert len(packed) == 2 * called
    sizes = {True: alive_after(lambda: model(hooked)), False: alive_after(lambda: model(forward))}
    for path, is_hooked in zip(paths, ([True, False], [False, True]), strict=True):
        with gradwatch.open(path) as session:
            calls = calls_of(session)
            assert [without_numbers(call.held) for call in calls] == [sizes[each] for each in is_hooked]
            assert [labels_of(call.held) == {"user hooks"} for call in calls] == is_hooked
            told = [notice.text for notice in session.notices]
            assert (told != []) == (detail == "nodes" and path == paths[0])


@promise("Saved tensors", "allow_mutation_on_saved_tensors", note="its nodes are labelled")
@pytest.mark.parametrize("detail", DETAILS)
def test_saved_tensors_may_be_changed_where_the_program_allows_it(record: Record, detail: Detail) -> None:
    def program() -> object:
        torch.manual_seed(1)
        model = Model()
        with allow_mutation_on_saved_tensors():
            for _ in range(2):
                model.zero_grad()
                model(changed_in_place).backward()
        return list(model.parameters())

    session = check_exact(record, program, detail)
    if detail == "parameters":
        return
    held = held_in(session)
    # The batch, a copy of the exponential from before it was doubled, what sin was given, both factors of the product
    # and their product; and the number by which it was doubled.
    assert held.total_bytes == 6 * ACTIVATION + 8
    assert labels_of(held) == {"user hooks", "hidden"}  # an op was done in place on a view
    assert texts_of(held) >= {"saved under allow_mutation_on_saved_tensors: copied before it is changed in place"}


@promise("Saved tensors", "disable_saved_tensors_hooks")
@pytest.mark.parametrize(("name", "detail"), each_of(FORBIDDEN))
def test_where_hooks_are_forbidden_nothing_changes_and_all_is_seen(record: Record, name: str, detail: Detail) -> None:
    check_forward(record, FORBIDDEN[name], detail)


def hooked_one(model: Model) -> Tensor:
    y = model.hidden().sin()
    saved: Any = y.grad_fn
    saved._raw_saved_self.register_hooks(lambda t: t * 2, lambda t: t / 2)
    return y.sum()


@promise(
    "Saved tensors",
    "hooks on one saved tensor (register_hooks)",
    held="partly",
    note="at parameters and modules; at nodes register_hooks raises, for a saved tensor takes one pair",
)
@pytest.mark.parametrize("detail", ["parameters", "modules"])
def test_hooks_on_one_saved_tensor_are_labelled(record: Record, detail: Detail) -> None:
    session, model = recorded(record, hooked_one, detail)
    if detail == "modules":
        held = held_in(session)
        assert held.total_bytes == alive_after(lambda: model(hooked_one)) == 2 * ACTIVATION
        assert texts_of(held) == {"saved through the program's own hooks as Tensor"}


@pytest.mark.parametrize("detail", DETAILS)
def test_hooks_on_nodes_and_on_several_gradients_run_as_alone(record: Record, detail: Detail) -> None:
    seen: list[object] = []

    def forward(model: Model) -> Tensor:
        x = model.hidden()
        y = again(model.block, x)
        hidden: Any = y.grad_fn
        hidden.register_hook(lambda *gradients: seen.append(("after", len(gradients))))
        hidden.register_prehook(lambda gradients: (gradients[0] * 2,))
        register_multi_grad_hook((x, y), lambda gradients: seen.append(("all", len(gradients))))
        register_multi_grad_hook((x, y), lambda gradient: seen.append(("any", tuple(gradient.shape))), mode="any")
        return y.sum()

    recorded(record, forward, detail)
    assert len(seen) == 4 * 3
    assert seen[:6] == seen[6:]


# Errors

ERRORS: dict[str, Callable[[Model], Tensor]] = {}


def error(run: Callable[[Model], Tensor]) -> Callable[[Model], Tensor]:
    ERRORS[run.__name__] = run
    return run


class Unsteady:
    """Another computation at each call."""

    def __init__(self, *runs: Callable[[Tensor], Tensor]) -> None:
        self._runs = list(runs)

    def __call__(self, x: Tensor) -> Tensor:
        return self._runs.pop(0)(x) if len(self._runs) > 1 else self._runs[0](x)


@error
def a_checkpoint_that_saves_less(model: Model) -> Tensor:
    return again(Unsteady(lambda x: x.exp().sin(), lambda x: x.exp()), model.hidden()).sum()


@error
def a_checkpoint_that_saves_more(model: Model) -> Tensor:
    unsteady = Unsteady(lambda x: x.exp(), lambda x: x.exp().sin())
    return again(unsteady, model.hidden(), early_stop=False).sum()


@error
def a_checkpoint_with_another_shape(model: Model) -> Tensor:
    return again(Unsteady(lambda x: x.exp().sin(), lambda x: x[:3].exp().sin()), model.hidden()).sum()


@error
def a_recomputation_that_raises(model: Model) -> Tensor:
    def raises(_: Tensor) -> Tensor:
        raise ValueError("not again")

    return again(Unsteady(lambda x: x.exp(), raises), model.hidden()).sum()


@error
def a_reentrant_recomputation_that_raises(model: Model) -> Tensor:
    def raises(_: Tensor) -> Tensor:
        raise ValueError("not again")

    return reenter(Unsteady(lambda x: x.exp(), raises), model.hidden()).sum()


@error
def a_reentrant_checkpoint_asked_for_one_gradient(model: Model) -> Tensor:
    x = model.hidden()
    return torch.autograd.grad(reenter(model.block, x).sum(), x)[0].sum()


@error
def a_changed_input_of_a_checkpoint(model: Model) -> Tensor:
    x = model.hidden()
    y = again(lambda x: model.second(x.exp()), x)
    x.mul_(2.0)
    return y.sum()


@error
def a_changed_input_of_a_reentrant_checkpoint(model: Model) -> Tensor:
    x = model.hidden().exp()
    y = reenter(model.block, x)
    x.mul_(2.0)
    return y.sum()


@error
def a_changed_result_that_a_policy_saved(model: Model) -> Tensor:
    def changing(x: Tensor) -> Tensor:
        y = model.second(x)
        y.mul_(2.0)
        return y.exp()

    return again(changing, model.hidden(), context_fn=selecting([torch.ops.aten.addmm.default])).sum()


@error
def a_selective_checkpoint_run_twice(model: Model) -> Tensor:
    loss = again(model.block, model.hidden(), context_fn=selecting([torch.ops.aten.addmm.default])).sum()
    loss.backward(retain_graph=True)
    return loss


@error
def a_checkpoint_run_twice(model: Model) -> Tensor:
    loss = again(model.block, model.hidden()).sum()
    loss.backward()
    return loss


@error
def a_changed_tensor_after_hooks_of_the_program(model: Model) -> Tensor:
    with saved_tensors_hooks(lambda t: t, lambda t: t):
        x = model.second(model.hidden())
    y = x.exp()
    z = y.sin()
    y.add_(1)
    return (z * x).sum()


@error
def a_pack_hook_that_raises(model: Model) -> Tensor:
    def pack(_: Tensor) -> Tensor:
        raise ValueError("cannot pack")

    with saved_tensors_hooks(pack, lambda t: t):
        return model.hidden().exp().sum()


@error
def an_unpack_hook_that_raises(model: Model) -> Tensor:
    def unpack(_: object) -> Tensor:
        raise ValueError("cannot unpack")

    with saved_tensors_hooks(Kept, unpack):
        return model.hidden().exp().sum()


@error
def an_unpack_hook_that_gives_no_tensor(model: Model) -> Tensor:
    with saved_tensors_hooks(Kept, lambda kept: kept):
        return model.hidden().exp().sum()


@error
def a_pack_hook_that_changes_its_tensor(model: Model) -> Tensor:
    with saved_tensors_hooks(lambda t: t.detach().mul_(2.0), lambda t: t):
        return (model.hidden() + 0).exp().sum()


@error
def hooks_where_they_are_forbidden(model: Model) -> Tensor:
    with disable_saved_tensors_hooks("not here"):
        return again(model.block, model.hidden()).sum()


@error
def hooks_forbidden_inside_hooks(model: Model) -> Tensor:
    with saved_tensors_hooks(lambda t: t, lambda t: t), disable_saved_tensors_hooks("not here"):
        return model.hidden().exp().sum()


@error
def a_changed_tensor_outside_of_the_context_that_allows_it(model: Model) -> Tensor:
    with allow_mutation_on_saved_tensors():
        x = model.hidden()
        y = x.exp()
        y.mul_(2.0)
    return y.sum()


@promise("Saved tensors", "errors in checkpoints and hooks, in-place changes")
@pytest.mark.parametrize("detail", READ_DETAILS)
@pytest.mark.parametrize("name", ERRORS)
def test_what_raises_alone_raises_the_same_recorded(record: Record, name: str, detail: Detail) -> None:
    models: list[Model] = []
    program = training(ERRORS[name], models)
    alone: Any = run(program).results
    assert alone[0] in ("RuntimeError", "CheckpointError", "ValueError", "TypeError", "AssertionError"), "it must raise"
    session = check_exact(record, program, detail)
    calls = [call for call in calls_of(session) if call.parent < 0]
    if not calls:
        return  # it was raised in the forward
    assert calls[-1].error == alone[0]
    if len(calls) == 1 and calls[0].call == "backward":
        states = without_numbers(calls[0].held) - alive_after(lambda: models[0](ERRORS[name]))
        assert states in (0, RNG_STATE)


# At a stop


def counting(runs: list[str], name: str, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def counted(value: Any) -> Any:
        runs.append(name)
        return function(value)

    return counted


def test_a_question_at_a_stop_neither_recomputes_nor_unpacks(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_compilations(monkeypatch)
    runs: list[str] = []
    asked: list[Answer] = []

    def ask(loss: Tensor) -> None:
        before = len(runs)
        asked.append(read(answer(snapshot())))
        assert asked[-1].root == "loss"
        assert len(runs) == before
        assert loss.requires_grad

    def program(ask: Callable[[Tensor], object]) -> object:
        torch.manual_seed(1)
        model, nothing = Model(), list[Tensor]()
        x = again(counting(runs, "again", model.block), model.hidden())
        x = reenter(counting(runs, "reentered", model.block), x)
        with saved_tensors_hooks(counting(runs, "packed", Kept), counting(runs, "unpacked", lambda kept: kept.tensor)):
            x = x.exp()
        with saved_tensors_hooks(lambda t: nothing.append(t.detach()), counting(runs, "nothing", lambda _: nothing[0])):
            x = x.sin()
        with saved_tensors_hooks(lambda t: (ask_inside(), t)[1], lambda t: t):
            loss = (x * x).sum()
        ask(loss)
        loss.backward(retain_graph=True)
        ask(loss)
        loss.backward()
        return list(model.parameters()), torch.get_rng_state()

    def ask_inside() -> None:
        runs.append("asked inside of a pack hook")
        if asked:
            answer(snapshot())

    alone = run(lambda: program(lambda _: None))
    expected = list(runs)
    runs.clear()
    found = run(lambda: program(ask))
    assert found.results == alone.results
    assert runs == expected
    held = [each.record.backward.held_bytes for each in asked if each.record.backward is not None]
    # The batch, the inputs of both checkpoints with the RNG's states, the exponential, and a factor of the product.
    assert held == [5 * ACTIVATION + 2 * RNG_STATE] * 2


def test_a_question_within_a_recomputation_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_compilations(monkeypatch)
    answers: list[Answer] = []

    def program(*, ask: bool) -> object:
        torch.manual_seed(1)
        model, calls = Model(), list[int]()

        def stopping(x: Tensor) -> Tensor:
            y = model.block(x)
            calls.append(1)
            if ask:
                answers.append(read(answer(snapshot())))
            return y.exp()

        loss = again(stopping, model.hidden()).sum() + reenter(stopping, model.hidden()).sum()
        loss.backward()
        return list(model.parameters()), calls, torch.get_rng_state()

    alone = run(lambda: program(ask=False))
    assert run(lambda: program(ask=True)).results == alone.results
    assert len(answers) == 4
    assert [each.record.stop.in_backward for each in answers] == [False, False, True, True]
