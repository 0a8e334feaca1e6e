"""Programs of every kind: what they do with parameters, modules, threads and control flow is recorded as it is."""

from __future__ import annotations

import asyncio
import copy
import io
import multiprocessing
import os
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize, prune

import gradwatch
from exactness import calls_of, check_exact
from living_storages import without_numbers
from regimes import promise
from trained import DETAILS, Program, holds, norms

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from conftest import Record
    from gradwatch.records import Detail

ROWS, WIDTH = 6, 4
WATCHED = pytest.mark.parametrize("watched", [True, False], ids=["a model", "no model"])


def batch(width: int = WIDTH) -> Tensor:
    return torch.randn(ROWS, width)


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(WIDTH, 5), nn.Tanh(), nn.Linear(5, 3))


def loss_of(model: Any) -> Tensor:
    return model(batch()).square().mean()


# Parameters


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, WIDTH)
        self.head = nn.Linear(WIDTH, 10, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.embedding(tokens))


@promise("Programs", "tied weights")
@WATCHED
@DETAILS
def test_tied_weights_are_one_parameter(record: Record, detail: Detail, *, watched: bool) -> None:
    program = Program(Tied, lambda model: model(torch.randint(0, 10, (ROWS,))).square().mean())
    session = holds(record, program, detail, watched=watched)
    assert session.parameters.names == ["embedding.weight"]
    assert session.parameters[0].aliases == ("head.weight",)


def freeze_in_turns(model: Any, step: int) -> None:
    model[0].requires_grad_(step % 2 == 1)
    model[2].weight.requires_grad = step != 2


@promise("Programs", "parameters frozen and unfrozen on the way")
@WATCHED
@DETAILS
def test_parameters_may_be_frozen_and_unfrozen(record: Record, detail: Detail, *, watched: bool) -> None:
    holds(record, Program(network, loss_of, freeze_in_turns, steps=4), detail, watched=watched)


class MadeInForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.LazyLinear(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        if not hasattr(self, "scale"):
            self.last = nn.Linear(WIDTH, 3)
            self.scale = nn.Parameter(torch.ones(3))
        return self.last(hidden) * self.scale


@promise("Programs", "lazy modules, parameters made in forward")
@WATCHED
@DETAILS
def test_parameters_may_be_made_in_forward(record: Record, detail: Detail, *, watched: bool) -> None:
    holds(record, Program(MadeInForward, loss_of), detail, watched=watched)


def weight_norms() -> nn.Module:
    old: Any = torch.nn.utils.weight_norm
    return nn.Sequential(parametrizations.weight_norm(nn.Linear(WIDTH, 5)), nn.Tanh(), old(nn.Linear(5, 3)))


def spectral_norms() -> nn.Module:
    old: Any = torch.nn.utils.spectral_norm
    return nn.Sequential(parametrizations.spectral_norm(nn.Linear(WIDTH, 5)), nn.Tanh(), old(nn.Linear(5, 3)))


class Symmetric(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight.triu() + weight.triu(1).t()

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight.triu()


def parametrized() -> nn.Module:
    symmetric = nn.Linear(WIDTH, WIDTH)
    parametrize.register_parametrization(symmetric, "weight", Symmetric())
    return nn.Sequential(parametrizations.orthogonal(nn.Linear(WIDTH, WIDTH)), symmetric)


@promise("Programs", "weight norm and spectral norm, old and new, parametrizations")
@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated")
@pytest.mark.parametrize("make", [weight_norms, spectral_norms, parametrized])
@DETAILS
def test_reparametrized_weights_are_recorded_by_their_originals(
    record: Record, make: Callable[[], nn.Module], detail: Detail
) -> None:
    # Spectral norm keeps copies of its vectors, which clones made under no_grad: the buffers' own class is not theirs.
    holds(record, Program(make, loss_of, held=make is not spectral_norms), detail)


@DETAILS
def test_cached_parametrizations_are_computed_once(record: Record, detail: Detail) -> None:
    def forward(model: Any) -> Tensor:
        with parametrize.cached():
            return (model(batch()) + model(model(batch()))).square().mean()

    holds(record, Program(parametrized, forward), detail)


def prune_and_restore(model: Any, step: int) -> None:
    if step == 1:
        prune.l1_unstructured(model[0], "weight", amount=0.3)
    if step == 2:
        prune.remove(model[0], "weight")
        prune.random_structured(model[2], "weight", amount=1, dim=0)


@promise("Programs", "pruning masks")
@WATCHED
@DETAILS
def test_pruned_parameters_have_the_names_they_have_by_then(record: Record, detail: Detail, *, watched: bool) -> None:
    program = Program(network, loss_of, lambda model, step: step == 1 and prune_and_restore(model, 1))
    models: list[nn.Module] = []
    program.make = lambda: models.append(network()) or models[-1]
    torch.manual_seed(1)
    session = record(lambda: program.train(program.make()), detail=detail, held=True) if not watched else None
    if session is None:
        model = program.make()
        session = record(lambda: program.train(model), model, detail=detail, held=True)
    assert sorted(session.parameters.names) == sorted(name for name, _ in models[-1].named_parameters())
    found = session.gradient("0.weight_orig")
    assert found.steps.tolist() == [0, 1, 2]
    assert found.norm[1:].tolist() == pytest.approx([note["0.weight_orig"] for note in program.notes[1:]], rel=1e-5)


def replace_weight(model: Any, step: int) -> None:
    if step == 1:
        model[0].weight = nn.Parameter(torch.full((5, WIDTH), 0.1))


def load_by_assignment(model: Any, step: int) -> None:
    if step == 1:
        model.load_state_dict({name: 0.5 * value for name, value in model.state_dict().items()}, assign=True)


def swap(model: Any, step: int) -> None:
    if step == 1:
        model.zero_grad()
        torch.utils.swap_tensors(model[0].weight, nn.Parameter(torch.full((5, WIDTH), 0.1)))


def replace_data(model: Any, step: int) -> None:
    if step == 1:
        model[0].weight.data = torch.full((5, WIDTH), 0.1)
        model[2].weight.data = model[2].weight.data.t().contiguous().t()


@promise("Programs", "parameters replaced, loaded with assign, swapped, given other data")
@WATCHED
@pytest.mark.parametrize("change", [replace_weight, load_by_assignment, swap, replace_data])
@DETAILS
def test_a_parameter_may_be_replaced(
    record: Record, change: Callable[[Any, int], None], detail: Detail, *, watched: bool
) -> None:
    holds(record, Program(network, loss_of, change), detail, watched=watched)


def _cast(model: Any) -> None:
    torch.__future__.set_swap_module_params_on_conversion(True)  # torch's own signature
    try:
        model.zero_grad()
        model.double()
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)  # as above


@pytest.mark.parametrize("cast", [lambda model: model.double(), _cast], ids=["in place", "by swapping"])
@DETAILS
def test_a_model_that_is_cast_is_recorded_with_its_new_dtype(
    record: Record, cast: Callable[[Any], object], detail: Detail
) -> None:
    program = Program(
        network,
        lambda model: model(batch().to(model[0].weight.dtype)).square().mean(),
        lambda model, step: cast(model) if step == 1 else None,
    )
    session = holds(record, program, detail)
    assert {parameter.dtype for parameter in session.parameters} == {"float64"}


def test_nothing_of_ours_keeps_tensors_from_being_swapped_after_the_recording(tmp_path: Path) -> None:
    model, original = network(), torch.utils.swap_tensors
    with gradwatch.watch(model, tmp_path / "run.gradwatch"):
        loss_of(model).backward()
        assert torch.utils.swap_tensors is not original
    assert torch.utils.swap_tensors is original


@WATCHED
@DETAILS
def test_leaves_whose_address_is_used_again_are_told_apart(record: Record, detail: Detail, *, watched: bool) -> None:
    def forward(model: Any) -> Tensor:
        model(batch().requires_grad_()).sum().backward()  # a leaf of no module, gone at once
        model.zero_grad()
        model[0].weight = nn.Parameter(torch.randn(5, WIDTH))
        return loss_of(model)

    program = Program(network, forward, steps=20, held=False)
    torch.manual_seed(1)
    model = network()
    session = record(lambda: program.train(model), model if watched else None, detail=detail)
    calls = calls_of(session)[1::2]
    names = {parameter.id: parameter.path for parameter in session.parameters}
    for call, note in zip(calls, program.notes, strict=True):
        rows = session.gradients_at(call.step, micro_batches=True).of_backward(call.index)
        found = {names[subject]: norm for subject, norm in zip(rows.subjects.tolist(), rows.norm.tolist(), strict=True)}
        assert found == pytest.approx(note, rel=1e-5)


class Collections(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.several = nn.ParameterList([torch.randn(WIDTH) for _ in range(3)])
        self.named = nn.ParameterDict({name: nn.Parameter(torch.randn(WIDTH)) for name in "ab"})
        self.register_buffer("count", torch.zeros((), dtype=torch.long))
        self.register_buffer("mask", torch.tensor([True, False, True, True]))
        self.register_parameter("none", None)

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        for factor in self.several:
            x = x * factor
        mask: Any = self.mask
        return torch.where(mask, x + self.named["a"], x * self.named["b"])


@promise("Programs", "parameter lists and dicts, integer and bool buffers")
@DETAILS
def test_parameters_in_lists_and_dicts_are_found(record: Record, detail: Detail) -> None:
    holds(record, Program(Collections, loss_of), detail)


class Complex(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(WIDTH, WIDTH, dtype=torch.cfloat))

    def forward(self, x: Tensor) -> Tensor:
        return (x.to(torch.cfloat) @ self.weight).abs()


def _of_dtype(dtype: torch.dtype) -> Program:
    return Program(lambda: network().to(dtype), lambda model: model(batch().to(dtype)).square().mean())


@promise("Programs", "complex, bfloat16, float16 and float64 parameters")
@pytest.mark.parametrize(
    "program",
    [Program(Complex, loss_of), *map(_of_dtype, (torch.bfloat16, torch.float16, torch.float64))],
    ids=["complex64", "bfloat16", "float16", "float64"],
)
@DETAILS
def test_parameters_of_every_floating_dtype_are_recorded(record: Record, program: Program, detail: Detail) -> None:
    holds(record, program, detail)


def test_an_optimizer_of_large_complex_parameters_is_measured(record: Record) -> None:
    weight = torch.full((200, 200), 3 + 4j, requires_grad=True)

    def program() -> None:
        optimizer = torch.optim.SGD([weight], lr=0.1)
        weight.abs().sum().backward()
        optimizer.step()

    session = record(program, detail="parameters")
    assert session.notices == []
    assert session.gradient("weight").update_ratio[0] == pytest.approx(0.1 / 5, rel=1e-3)


@promise("Programs", "empty tensors, 0-dim parameters, batches of none")
@pytest.mark.parametrize(
    "program",
    [
        Program(lambda: nn.Sequential(nn.Linear(WIDTH, 0), nn.Linear(0, 3)), loss_of),
        Program(network, lambda model: model(torch.randn(0, WIDTH)).sum()),
        Program(lambda: nn.ParameterDict({"s": nn.Parameter(torch.tensor(2.0))}), lambda model: model["s"] ** 2),
    ],
    ids=["empty parameters", "empty batch", "0-dim"],
)
@DETAILS
def test_empty_and_0_dim_tensors_are_recorded(record: Record, program: Program, detail: Detail) -> None:
    holds(record, program, detail)


# Modules and graphs


class Recursive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH)
        self.again = self.layer

    def forward(self, x: Tensor, depth: int = 3) -> Tensor:
        return self.again(x) if depth == 0 else self(self.layer(x).tanh(), depth - 1)


@promise("Programs", "modules called recursively, shared, nested 100 deep")
@WATCHED
@pytest.mark.parametrize("make", [Recursive, lambda: nested(100)], ids=["recursive", "nested"])
@DETAILS
def test_modules_may_call_themselves(
    record: Record, make: Callable[[], nn.Module], detail: Detail, *, watched: bool
) -> None:
    holds(record, Program(make, loss_of), detail, watched=watched)


def nested(depth: int) -> nn.Module:
    module: nn.Module = nn.Linear(WIDTH, 3)
    for _ in range(depth):
        module = nn.Sequential(module)
    return module


def test_modules_that_hold_themselves_and_hide_their_parameters_are_recorded(record: Record) -> None:
    class Hiding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(WIDTH, 3)
            self.layer.parent = self

        def named_parameters(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride] # as programs do
            raise NotImplementedError

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x)

    model = Hiding()
    session = record(lambda: loss_of(model).backward(), {"model": model})
    assert session.parameters.names == ["layer.weight", "layer.bias"]
    assert session.notices == []


def test_a_module_that_was_moved_has_the_path_it_has_by_then(record: Record) -> None:
    model = network()

    def program() -> None:
        loss_of(model).backward()
        model[0] = nn.Sequential(model[0], nn.ReLU())
        loss_of(model).backward()

    session = record(program, model)
    assert session.gradient("0.0.weight").steps.tolist() == [0, 1]
    assert {node.module for node in session.graph(1).nodes if node.name == "ReluBackward0"} == {"0.1"}


@promise("Programs", "thousands of parameters")
@DETAILS
def test_a_model_of_ten_thousand_parameters_is_recorded(record: Record, detail: Detail) -> None:
    def forward(model: Any) -> Tensor:
        return torch.stack([weight.square().sum() for weight in model]).sum()

    program = Program(lambda: nn.ParameterList([torch.ones(2) for _ in range(10_000)]), forward, steps=1)
    holds(record, program, detail)


def _chain(model: Any) -> Tensor:
    x = model(batch())
    for _ in range(2000):
        x = x * 1.0001
    return x.sum()


@promise("Programs", "graphs of thousands of nodes, deep and wide")
@pytest.mark.parametrize(
    "forward",
    [_chain, lambda model: torch.stack([model.weight * float(k) for k in range(2000)]).sum()],
    ids=["deep", "wide"],
)
@DETAILS
def test_large_graphs_are_recorded_whole(record: Record, forward: Callable[[Any], Tensor], detail: Detail) -> None:
    holds(record, Program(lambda: nn.Linear(WIDTH, 3), forward, steps=2), detail)


class PackedRnns(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(WIDTH, 3, 2, bidirectional=True, dropout=0.1)
        self.gru = nn.GRU(6, 3, batch_first=True)
        self.rnn = nn.RNN(3, 2)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
        out, _ = self.lstm(packed)
        padded, _ = nn.utils.rnn.pad_packed_sequence(out)
        return self.rnn(self.gru(padded)[0])[0].sum() + out.data.square().sum()


@promise("Programs", "LSTM, GRU and RNN on packed sequences, bidirectional")
@DETAILS
def test_recurrent_modules_on_packed_sequences_are_recorded(record: Record, detail: Detail) -> None:
    lengths = torch.tensor([3, 5, 2])
    program = Program(PackedRnns, lambda model: model(torch.randn(5, 3, WIDTH), lengths), held=False)
    session = holds(record, program, detail)
    if detail != "parameters":
        assert session.held(2).total_bytes > 0


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(8, 24)
        self.attention = nn.MultiheadAttention(8, 2, dropout=0.1, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.project(x).view(2, 5, 3, 2, 4).permute(2, 0, 3, 1, 4)
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + (mixed + functional.scaled_dot_product_attention(q, k, v)).transpose(1, 2).reshape(2, 5, 8)
        return self.attention(x, x, x)[0]


@promise("Programs", "attention, embedding bags, sparse embeddings")
@pytest.mark.parametrize(
    "program",
    [
        Program(Attention, lambda model: model(torch.randn(2, 5, 8)).square().mean()),
        Program(
            lambda: nn.EmbeddingBag(10, WIDTH, mode="max"),
            lambda model: model(torch.arange(6) + 2, torch.arange(2) * 4).square().sum(),
        ),
        Program(lambda: nn.Embedding(10, WIDTH, sparse=True), lambda model: model(torch.arange(4) // 2).square().sum()),
    ],
    ids=["attention", "embedding bag", "sparse embedding"],
)
@DETAILS
def test_attention_and_embeddings_are_recorded(record: Record, program: Program, detail: Detail) -> None:
    holds(record, program, detail)


# Tensors that are no plain tensors


class Marked(Tensor):
    """A subclass that does nothing but stay itself."""


@promise("Programs", "plain subclasses of Tensor, in batches and parameters")
@DETAILS
def test_subclasses_of_tensor_are_recorded(record: Record, detail: Detail) -> None:
    def make() -> nn.Module:
        model: Any = network()
        model[0].weight = nn.Parameter(model[0].weight.detach().as_subclass(Marked))
        return model

    def forward(model: Any) -> Tensor:
        return model(batch().as_subclass(Marked)).square().mean()

    session = holds(record, Program(make, forward, held=False), detail)
    assert session.notices == []


def test_a_subclass_is_not_asked_anything_by_us(record: Record) -> None:
    class Strict(Tensor):
        asked: ClassVar[list[str]] = []

        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            cls.asked.append(func.__name__)
            return super().__torch_function__(func, types, args, kwargs or {})

    model = network()

    def program() -> list[str]:
        Strict.asked = []
        model(batch().as_subclass(Strict)).square().mean().backward()
        return Strict.asked

    alone = program()
    found: list[list[str]] = []
    session = record(lambda: found.append(program()), model)
    assert found == [alone]
    assert session.notices == []


def _nested_jagged() -> Tensor:
    return torch.nested.nested_tensor([torch.randn(2, WIDTH), torch.randn(3, WIDTH)], layout=torch.jagged)


def _loss_of_nested(model: Any) -> Tensor:
    return model(_nested_jagged()).values().square().mean()


@promise("Programs", "nested (jagged) tensors")
@DETAILS
def test_nested_tensors_are_recorded(record: Record, detail: Detail) -> None:
    session = holds(record, Program(lambda: nn.Linear(WIDTH, 3), _loss_of_nested, held=False), detail)
    assert session.notices == []
    if detail != "parameters":
        rows, size = 5, 4
        # Linear saves its batch and its weight, square its result.
        saved = {each.storage: each.storage_bytes for each in session.held(2).saved if each.dtype == "float32"}
        expected = [WIDTH * 3 * size, rows * 3 * size, rows * WIDTH * size]
        assert sorted(each for each in saved.values() if each) == expected


def test_a_nested_leaf_has_its_gradient_and_a_shape(record: Record) -> None:
    def program() -> None:
        nested_leaf = _nested_jagged().requires_grad_()
        (nested_leaf * 3).values().sum().backward()

    session = record(program)
    leaf = session.parameters["nested_leaf"]
    assert leaf.shape == (2, -1, WIDTH)
    assert session.gradient("nested_leaf").norm.tolist() == pytest.approx([(5 * WIDTH * 9) ** 0.5])


@promise("Programs", "meta tensors", gradients="unsupported", note="no values; notice per parameter")
@DETAILS
def test_a_model_on_meta_has_a_graph_and_says_that_it_has_no_values(record: Record, detail: Detail) -> None:
    def program() -> object:
        model = network().to("meta")
        model(torch.randn(ROWS, WIDTH, device="meta")).sum().backward()
        return list(model.parameters())

    session = check_exact(record, program, detail)
    assert {notice.kind for notice in session.notices} == {"not observable"}
    assert len(session.notices) == len(session.parameters) == 4
    if detail != "parameters":
        size = 4
        assert without_numbers(session.held(0)) == (ROWS * WIDTH + ROWS * 5) * size


@promise("Programs", "models made on meta and filled later")
@DETAILS
def test_a_model_made_on_meta_is_recorded_once_it_is_filled(record: Record, detail: Detail) -> None:
    def fill(model: Any, step: int) -> None:
        if step == 0:
            model.to_empty(device="cpu")
            for parameter in model.parameters():
                nn.init.constant_(parameter, 0.1)

    holds(record, Program(lambda: network().to("meta"), loss_of, fill), detail)


@promise(
    "Programs",
    "FakeTensorMode",
    gradients="unsupported",
    graph="unsupported",
    held="unsupported",
    note="backward.unobserved says that there is no real graph",
)
@DETAILS
def test_fake_tensors_are_told_apart_and_training_goes_on(record: Record, detail: Detail) -> None:
    from torch._subclasses import FakeTensorMode

    def program() -> object:
        with FakeTensorMode():
            fake = network()
            loss_of(fake).backward()
        model = network()
        loss_of(model).backward()
        return list(model.parameters())

    session = check_exact(record, program, detail)
    first, second = calls_of(session)
    assert second.unobserved is None
    if detail != "parameters":
        assert first.unobserved is not None
        assert first.graph_id == -1


# Other ways to make a model


@promise(
    "Programs",
    "torch.jit.script, torch.jit.trace",
    graph="labelled",
    held="partly",
    note="an optimized TorchScript graph is one node; what it saved is counted at nodes, labelled at modules",
)
@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize("detail", ["modules", "nodes"])
def test_a_scripted_model_is_one_labelled_node_once_it_is_optimized(record: Record, detail: Detail) -> None:
    model = torch.jit.script(network())
    notes: list[dict[str, float]] = []

    def program() -> None:
        for _ in range(4):
            model.zero_grad()
            loss_of(model).backward()
            notes.append(norms(model))

    session = record(program, model, detail=detail)
    for step, note in enumerate(notes):
        for name, norm in note.items():
            assert session.gradient(name).norm[step] == pytest.approx(norm, rel=1e-5)
    eager, optimized = session.held(0), session.held(3)
    labels = {node.name: node.label.label for node in session.graph(3).nodes if node.label is not None}
    assert labels == {"DifferentiableGraphBackward": "hidden"}
    if detail == "nodes":
        assert optimized.total_bytes == eager.total_bytes
    else:
        assert optimized.total_bytes < eager.total_bytes


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@promise("Programs", "torch.export and torch.fx modules")
@pytest.mark.parametrize(
    "convert",
    [
        torch.fx.symbolic_trace,
        lambda model: torch.export.export(model, (torch.ones(ROWS, WIDTH),)).module(),
    ],
    ids=["fx", "export"],
)
@DETAILS
def test_converted_models_are_recorded(record: Record, convert: Callable[[nn.Module], Any], detail: Detail) -> None:
    holds(record, Program(lambda: convert(network()), loss_of), detail)


@promise("Programs", "training without any module")
@DETAILS
def test_training_without_modules_is_recorded(record: Record, detail: Detail) -> None:
    def program() -> object:
        weight, bias = torch.randn(WIDTH, 3, requires_grad=True), torch.zeros(3, requires_grad=True)
        losses: list[Tensor] = []
        for _ in range(3):
            loss = (torch.randn(ROWS, WIDTH) @ weight + bias).square().sum()
            loss.backward()
            losses.append(loss.detach())
            for name, leaf in (("weight", weight), ("bias", bias)):
                gradient: Any = leaf.grad
                norms_of[name].append(float(gradient.double().norm()))
                leaf.data.sub_(0.01 * gradient)
                leaf.grad = None
        return losses, weight, bias

    norms_of: dict[str, list[float]] = {"weight": [], "bias": []}
    session = check_exact(record, program, detail)
    assert sorted(session.parameters.names) == ["bias", "weight"]
    for name, expected in norms_of.items():
        assert session.gradient(name).norm.tolist() == pytest.approx(expected[3:], rel=1e-5)
    if detail != "parameters":
        size = 4
        assert without_numbers(session.held(2)) == (ROWS * WIDTH + ROWS * 3) * size


@DETAILS
def test_copies_and_files_of_a_recorded_model_are_those_of_an_unrecorded_one(record: Record, detail: Detail) -> None:
    def program() -> object:
        torch.manual_seed(0)
        model: Any = network()
        model[0].weight.register_post_accumulate_grad_hook(lambda _: None)
        loss_of(model).backward()
        copied, file = copy.deepcopy(model), io.BytesIO()
        torch.save(copied, file)
        names = [name for name, _ in model.named_parameters()]
        own = [sorted(vars(module)) for module in model.modules()]
        hooks = [getattr(parameter, "_post_accumulate_grad_hooks", None) for parameter in copied.parameters()]
        visited: list[str] = []
        model.apply(lambda module: visited.append(type(module).__name__))
        loss_of(copied).backward()
        return file.getvalue(), names, own, hooks, visited, dict(copied.named_parameters())

    check_exact(record, program, detail)


# Threads, coroutines and generators


def on_a_thread(body: Callable[[], object]) -> None:
    """Run on a thread of its own; what it raises is raised here."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(body).result()


def _forward_elsewhere(model: Any) -> Tensor:
    losses: list[Tensor] = []
    thread = threading.Thread(target=lambda: losses.append(loss_of(model)))
    thread.start()
    thread.join()
    return losses[0]


@promise("Programs", "forward on one thread, backward on another")
@WATCHED
@DETAILS
def test_a_graph_may_be_made_on_one_thread_and_run_on_another(record: Record, detail: Detail, *, watched: bool) -> None:
    holds(record, Program(network, _forward_elsewhere, held=False), detail, watched=watched)


def _replicas(model: Any) -> Tensor:
    batches = [batch() for _ in range(3)]
    with ThreadPoolExecutor(1) as pool:
        losses = list(pool.map(lambda part: model(part).square().mean(), batches))
    return torch.stack(losses).sum()


@promise("Programs", "data parallelism by hand, over a pool of threads")
@DETAILS
def test_parts_of_a_batch_may_run_on_a_pool(record: Record, detail: Detail) -> None:
    session = holds(record, Program(network, _replicas, held=False), detail)
    if detail != "parameters":
        size, parts = 4, 3
        batch_and_tanh_and_output = ROWS * (WIDTH + 5 + 3) * size
        assert without_numbers(session.held(2)) == parts * batch_and_tanh_and_output


@promise("Programs", "asyncio tasks that interleave forward and backward")
@DETAILS
def test_tasks_may_take_turns(record: Record, detail: Detail) -> None:
    def program() -> object:
        models = [network(), network()]

        async def train(model: nn.Sequential) -> list[Tensor]:
            losses: list[Tensor] = []
            for _ in range(3):
                hidden = model[0](batch())
                await asyncio.sleep(0)
                loss = model[2](model[1](hidden)).sum()
                await asyncio.sleep(0)
                loss.backward()
                losses.append(loss.detach())
            return losses

        async def both() -> object:
            return await asyncio.gather(*map(train, models))

        return asyncio.run(both()), [dict(model.named_parameters()) for model in models]

    session = check_exact(record, program, detail)
    assert len(calls_of(session)) == 6


@promise("Programs", "training loops in generators")
@DETAILS
def test_a_generator_may_train(record: Record, detail: Detail) -> None:
    def program() -> object:
        model = network()

        def steps() -> Generator[Tensor]:
            while True:
                loss = loss_of(model)
                yield loss.detach()
                loss.backward()

        running = [steps() for _ in range(2)]
        losses = [next(each) for _ in range(3) for each in running]
        for each in running:
            each.close()
        return losses, dict(model.named_parameters())

    session = check_exact(record, program, detail)
    assert len(calls_of(session)) == 4


# Processes


TRAINS_IN_CHILDREN = """
    import multiprocessing, sys
    import torch
    from torch.utils.data import DataLoader
    import gradwatch

    class Squares(torch.utils.data.Dataset):
        def __len__(self): return 8
        def __getitem__(self, at): return torch.full((4,), float(at)).requires_grad_().square().detach()

    def train(path, model, loader=None):
        with gradwatch.watch(model, path):
            for batch in loader or [torch.ones(2, 4)] * 2:
                model(batch).sum().backward()

    def child(path):
        torch.manual_seed(1)
        train(path, torch.nn.Linear(4, 3))

    if __name__ == "__main__":
        torch.set_num_threads(1)
        method, directory = sys.argv[1], sys.argv[2]
        model = torch.nn.Linear(4, 3)
        with gradwatch.watch(model, f"{directory}/parent.gradwatch"):
            workers = dict(num_workers=2, multiprocessing_context=method, persistent_workers=True)
            for batch in DataLoader(Squares(), 4, **workers):
                model(batch).sum().backward()
            process = multiprocessing.get_context(method).Process(target=child, args=(f"{directory}/child.gradwatch",))
            process.start()
            process.join(60)
            assert process.exitcode == 0, process.exitcode
            model(torch.ones(1, 4)).sum().backward()
"""


@promise("Programs", "child processes by fork and spawn that record by themselves, DataLoader workers")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_children_record_by_themselves_and_workers_are_left_alone(tmp_path: Path, method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"there is no {method} here")
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(TRAINS_IN_CHILDREN))
    done = subprocess.run(
        [sys.executable, str(script), method, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    with gradwatch.open(tmp_path / "parent.gradwatch") as parent, gradwatch.open(tmp_path / "child.gradwatch") as child:
        size, rows = 4, (4, 4, 1)
        assert [call.held_bytes for call in calls_of(parent)] == [each * WIDTH * size for each in rows]
        assert parent.gradient("bias").norm.tolist() == pytest.approx([4 * 3**0.5, 8 * 3**0.5, 9 * 3**0.5])
        assert child.gradient("bias").norm.tolist() == pytest.approx([2 * 3**0.5, 4 * 3**0.5])
        assert {parent.run.pid} != {child.run.pid}
        assert [*parent.notices, *child.notices] == []
        assert sorted(path.name for path in tmp_path.glob("*.gradwatch")) == ["child.gradwatch", "parent.gradwatch"]
