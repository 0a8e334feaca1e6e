"""Bytes held for backward, against what is known without us: counts by hand, living storages, MemTracker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from gradwatch.capture.recomputation import NOT_SEEN
from gradwatch.errors import UsageError
from gradwatch.records import TENSOR_CLASSES
from gradwatch.session.held import KEYS
from living_storages import alive_after, without_numbers
from models import PROGRAMS, GptSize, gpt, mlp

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Record
    from gradwatch.records import Detail

HELD_DETAILS: tuple[Detail, ...] = ("modules", "nodes")
FLOAT = 4

# Counts by hand


@pytest.mark.parametrize("detail", HELD_DETAILS)
def test_an_mlp_holds_what_its_layers_save(record: Record, detail: Detail) -> None:
    batch, width, depth, classes = 16, 32, 3, 10
    model = nn.Sequential(
        *[layer for _ in range(depth) for layer in (nn.Linear(width, width), nn.ReLU())], nn.Linear(width, classes)
    )
    x, target = torch.randn(batch, width), torch.randint(0, classes, (batch,))
    session = record(lambda: functional.cross_entropy(model(x), target).backward(), model, detail=detail)
    held = session.held(0)
    # A linear layer saves its input, which for all but the first is the result that ReLU saves too;
    # log_softmax its result; nll_loss that result, the target (int64) and the total weight.
    activations = depth * batch * width * FLOAT + batch * classes * FLOAT + batch * 8 + FLOAT
    assert held.class_bytes["activation"] == activations
    assert held.class_bytes["input"] == batch * width * FLOAT
    # and its weight, but the first: its input asks for no gradient.
    assert held.class_bytes["parameter"] == ((depth - 1) * width * width + classes * width) * FLOAT
    assert held.total_bytes == activations + batch * width * FLOAT
    assert dict(held.by("op"))["ReluBackward0"] == depth * batch * width * FLOAT


@pytest.mark.parametrize("detail", HELD_DETAILS)
def test_attention_holds_what_its_products_and_softmax_save(record: Record, detail: Detail) -> None:
    batch, length, width = 2, 24, 16

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inward = nn.Linear(width, 3 * width)
            self.outward = nn.Linear(width, width)

        def forward(self, x: Tensor) -> Tensor:
            query, key, value = self.inward(x).chunk(3, -1)
            weights = (query @ key.transpose(1, 2)).softmax(-1)
            return self.outward(weights @ value)

    model, x = Attention(), torch.randn(batch, length, width)
    session = record(lambda: model(x).sum().backward(), {"model": model}, detail=detail)
    held = session.held(0)
    token_rows = batch * length * width * FLOAT
    assert held.class_bytes["input"] == token_rows
    # Query, key and value are views of one storage; then the weights, and what they gathered.
    assert held.class_bytes["activation"] == 3 * token_rows + batch * length * length * FLOAT + token_rows
    assert dict(held.by("module")) == {
        "model": 3 * token_rows + batch * length * length * FLOAT,
        "inward": token_rows,
        "outward": token_rows,
    }


# Storages that are alive, by a dispatch mode of our own


class _Stash(torch.autograd.Function):
    """Keeps tensors in every way that a ctx offers."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x.sin())
        ctx.attribute = x.exp()
        ctx.several = {"list": [x.cos(), (x.tan(),)]}
        return x * 2

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (saved,) = ctx.saved_tensors
        return gradients[0] * saved * ctx.attribute


SIDE = 64
LAYER = nn.Linear(SIDE, SIDE)
CONVOLUTION = nn.Conv2d(4, 4, 3, padding=1).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
ATTENTION = nn.MultiheadAttention(SIDE, 4, batch_first=True)
NORM = nn.BatchNorm1d(SIDE)
RNG_STATE = torch.get_rng_state().nbytes


def batch() -> Tensor:
    return torch.rand(32, SIDE)


def _copy_slices() -> Tensor:
    y = LAYER(batch()).clone()
    y[:8].mul_(LAYER(batch())[8:16])
    return y.exp().sum()


def _block(x: Tensor) -> Tensor:
    return LAYER(x).exp().sin()


def _image() -> Tensor:
    return torch.rand(2, 4, 8, 8).contiguous(memory_format=torch.channels_last)


def _checkpointed_model(*, use_reentrant: bool) -> Tensor:
    hidden: Any = LAYER(batch())
    for _ in range(3):
        hidden = checkpoint(_block, hidden, use_reentrant=use_reentrant)
    return hidden.square().sum()


def _several_savers() -> Tensor:
    hidden = LAYER(batch())
    return (hidden.sin() * hidden.cos() + hidden.square()).sum()


def _attention() -> Tensor:
    x = torch.rand(2, 16, SIDE)
    return ATTENTION(x, x, x)[0].sum()


CASES: dict[str, Callable[[], Tensor]] = {
    "a transposed weight": lambda: torch.sum((batch() @ LAYER.weight.t()).tanh()),
    "an expanded tensor": lambda: torch.sum(LAYER(batch())[:, :1].expand(32, SIDE) * LAYER(batch())),
    "a slice of a large tensor": lambda: torch.sum(LAYER(batch())[:, :1].exp()),
    "one tensor saved by several": _several_savers,
    "a dropout mask": lambda: torch.sum(functional.dropout(LAYER(batch()), 0.1, training=True)),
    "relu in place": lambda: torch.sum(functional.relu_(LAYER(batch()))),
    "batch norm": lambda: torch.sum(NORM(LAYER(batch())).exp()),
    "a ctx that stashes": lambda: torch.sum(_Stash.apply(LAYER(batch()))),
    "a convolution in channels_last": lambda: torch.sum(CONVOLUTION(_image()).relu()),
    "attention with its weights": _attention,
    "indexing": lambda: torch.sum(LAYER(batch())[torch.arange(3)].exp()),
    "a maximum": lambda: torch.sum(LAYER(batch()).max(1).values),
    "mixed precision": lambda: torch.sum(LAYER(batch()).bfloat16().exp().float()),
    "a complex spectrum": lambda: torch.sum(torch.fft.rfft(LAYER(batch())).abs()),
}


def held_by(record: Record, forward: Callable[[], Tensor], detail: Detail) -> Any:
    """What was held in the second of two steps: the first finds the modules."""
    session = record(lambda: [forward().backward() for _ in range(2)], detail=detail)
    assert [notice for notice in session.notices if notice.text != NOT_SEEN] == []
    return session.held(1)


@pytest.mark.parametrize("detail", HELD_DETAILS)
@pytest.mark.parametrize("name", CASES)
def test_held_bytes_are_those_of_the_storages_alive(record: Record, name: str, detail: Detail) -> None:
    held = held_by(record, CASES[name], detail)
    assert without_numbers(held) == alive_after(CASES[name])
    if detail == "nodes":
        assert held.peak_bytes == held.total_bytes


@pytest.mark.parametrize("detail", HELD_DETAILS)
@pytest.mark.parametrize("name", ["mlp", "convnet", "gpt", "lstm", "lstm_cell"])
def test_held_bytes_of_whole_models_are_those_of_the_storages_alive(record: Record, name: str, detail: Detail) -> None:
    program = PROGRAMS[name]()
    expected = alive_after(program.loss)
    session = record(program.step, program.model, detail=detail)
    assert without_numbers(session.held(0)) == expected


def test_what_an_op_inside_a_view_saved_is_held_at_nodes_and_labelled_at_modules(record: Record) -> None:
    expected = alive_after(_copy_slices)
    assert held_by(record, _copy_slices, "nodes").total_bytes == expected
    walked = held_by(record, _copy_slices, "modules")
    assert walked.total_bytes < expected
    assert "hidden" in {label.label for label in walked.backward.graph.labels.values()}


@pytest.mark.parametrize("detail", HELD_DETAILS)
def test_a_reentrant_checkpoint_holds_its_input_and_the_rng_state(record: Record, detail: Detail) -> None:
    def forward() -> Tensor:
        return _checkpointed_model(use_reentrant=True)

    held = held_by(record, forward, detail)
    # The state of the RNG is copied without an op: the dispatch mode does not see it.
    assert held.total_bytes == alive_after(forward) + 3 * RNG_STATE


@pytest.mark.filterwarnings("ignore:Sparse CS")  # torch's own: these layouts are in beta
@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr, torch.sparse_csc])
@pytest.mark.parametrize("detail", HELD_DETAILS)
def test_a_sparse_tensor_that_is_saved_holds_its_parts(record: Record, detail: Detail, layout: torch.layout) -> None:
    rows, columns, width, present = 8, 12, 4, 8
    matrix = torch.eye(rows, columns).to_sparse(layout=layout).clone()  # each part in a storage of its own size
    weight = nn.Parameter(torch.randn(columns, width))
    session = record(lambda: (matrix @ weight).sum().backward(), detail=detail)
    index_bytes = {
        torch.sparse_coo: 2 * present * 8,
        torch.sparse_csr: (rows + 1 + present) * 8,
        torch.sparse_csc: (columns + 1 + present) * 8,
    }[layout]
    assert session.held(0).total_bytes == index_bytes + present * FLOAT
    assert not [notice for notice in session.notices if notice.kind == "probe stopped"]


@pytest.mark.parametrize("detail", HELD_DETAILS)
def test_a_checkpoint_holds_its_input(record: Record, detail: Detail) -> None:
    def forward() -> Tensor:
        return _checkpointed_model(use_reentrant=False)

    held = held_by(record, forward, detail)
    assert held.total_bytes == alive_after(forward) + 3 * RNG_STATE
    assert "checkpointed" in {label.label for label in held.backward.graph.labels.values()}


def test_memtracker_says_the_same_of_a_small_gpt_within_a_thousandth(record: Record) -> None:
    from torch.distributed._tools.mem_tracker import MemTracker, _MemRefType

    program = gpt(GptSize(layers=3, width=64, positions=64, batch=4))
    session = record(program.step, program.model)
    tracker = MemTracker()
    tracker.track_external(program.model)
    with tracker:
        loss = program.loss()
        (snapshot,) = tracker.get_tracker_snapshot("current").values()
        loss.backward()
    assert session.held(0).total_bytes == pytest.approx(snapshot[_MemRefType.ACT], rel=1e-3)


# Classes and groups


def test_parameters_buffers_inputs_and_activations_are_told_apart(record: Record) -> None:
    class Masked(nn.Module):
        mask: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.rand(3, 3))
            self.register_buffer("mask", torch.ones(3, 5))

        def forward(self, x: Tensor, *, scale: Tensor) -> Tensor:
            return ((x @ self.weight).exp() * scale) @ self.mask

    model, x, scale = Masked(), torch.rand(4, 3), torch.rand(4, 3)
    session = record(lambda: model(x, scale=scale).sum().backward(), model)
    held = session.held(0)
    assert held.class_bytes == {
        "activation": 4 * 3 * FLOAT,  # the result of exp
        "parameter": 0,  # x asks for no gradient, so the weight is not needed
        "buffer": 3 * 5 * FLOAT,
        "input": 2 * 4 * 3 * FLOAT,
        "optimizer state": 0,
        "not observable": 0,
    }


@pytest.mark.parametrize("detail", HELD_DETAILS)
@pytest.mark.parametrize("key", KEYS)
def test_every_grouping_sums_to_the_same_bytes(record: Record, key: str, detail: Detail) -> None:
    program = gpt()
    session = record(program.step, program.model, detail=detail)
    held = session.held(0)
    groups = held.by(key)
    assert sum(size for _, size in groups) == held.total_bytes == session.steps[0].backwards[0].held_bytes
    assert [size for _, size in groups] == sorted((size for _, size in groups), reverse=True)
    everything = held.by(key, TENSOR_CLASSES)
    assert sum(size for _, size in everything) == sum(held.class_bytes.values())


def test_a_no_grad_block_holds_nothing(record: Record) -> None:
    teacher, student = nn.Linear(8, 8), nn.Linear(8, 8)
    x = torch.rand(4, 8)

    def program() -> None:
        with torch.no_grad():
            target = teacher(x).exp().sin()
        (student(x) - target).abs().sum().backward()

    session = record(program, {"teacher": teacher, "student": student})
    held = session.held(0)
    assert "teacher" not in dict(held.by("module"))
    # abs saves the difference, the linear layer its input; the target itself is not needed.
    assert held.class_bytes["activation"] == held.class_bytes["input"] == 4 * 8 * FLOAT
    no_grad = record(torch.no_grad()(lambda: student(x).exp()), student)
    assert len(no_grad.steps) == 0


# The curve, release and death


@pytest.mark.parametrize("detail", HELD_DETAILS)
def test_everything_is_released_and_dies_in_an_ordinary_backward(record: Record, detail: Detail) -> None:
    program = mlp()
    session = record(lambda: [program.step() for _ in range(2)], program.model, detail=detail)
    held = session.held(1)
    assert held.released is not None
    assert held.died is not None
    alive_by_right = {each.storage for each in held.saved if each.tensor_class == "parameter"}
    for storage, (released, died) in enumerate(zip(held.released.tolist(), held.died.tolist(), strict=True)):
        assert 0 <= released <= held.backward.duration_ns
        assert (died == -1) == (storage in alive_by_right)
    _, curve = held.curve
    assert curve.max() == held.peak_bytes == held.total_bytes
    assert curve[-1] == 0


@pytest.mark.parametrize("detail", HELD_DETAILS)
def test_what_the_program_still_holds_outlives_its_release(record: Record, detail: Detail) -> None:
    layer = nn.Linear(8, 8)
    kept: list[Tensor] = []

    def program() -> None:
        hidden = layer(torch.ones(4, 8)).exp()
        kept.append(hidden)
        (hidden * 3).tanh().sum().backward()

    session = record(program, layer, detail=detail)
    held = session.held(0)
    assert held.released is not None
    assert held.died is not None
    of_op = {each.op: each.storage for each in held.saved}
    assert held.released[of_op["ExpBackward0"]] >= 0
    assert held.died[of_op["ExpBackward0"]] == -1
    assert held.released[of_op["TanhBackward0"]] >= 0
    assert held.died[of_op["TanhBackward0"]] >= 0
    assert held.curve[1][-1] == 0


@pytest.mark.parametrize("detail", HELD_DETAILS)
def test_a_retained_graph_releases_nothing_until_its_last_run(record: Record, detail: Detail) -> None:
    layer = nn.Linear(8, 8)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)

    def program() -> None:
        loss = layer(torch.ones(4, 8)).exp().sum()
        loss.backward(retain_graph=True)
        loss.backward()
        optimizer.step()

    session = record(program, layer, detail=detail)
    first, second = (session.held(0, backward) for backward in (0, 1))
    assert first.total_bytes == second.total_bytes == 2 * 4 * 8 * FLOAT
    assert first.released is not None
    assert second.released is not None
    assert set(first.released.tolist()) == {-1}
    assert first.curve[1][-1] == first.total_bytes
    assert second.released.min() >= 0
    assert second.curve[1][-1] == 0


def test_the_curve_at_nodes_shows_what_was_dropped_before_backward(record: Record) -> None:
    layer = nn.Linear(SIDE, SIDE)

    def program() -> None:
        for _ in range(2):
            loss = layer(torch.ones(4, SIDE)).exp().sum()
            for _ in range(3):
                aside = layer(torch.ones(1000, SIDE)).exp()
                del aside
            loss.backward()

    session = record(program, layer, detail="nodes")
    held = session.held(1)
    times, curve = held.curve
    small, large = 2 * 4 * SIDE * FLOAT, 2 * 1000 * SIDE * FLOAT
    assert held.curve_source == "hooks"
    assert held.total_bytes == small
    assert held.peak_bytes == small + large
    assert held.peak_ns is not None
    assert held.peak_ns < 0  # before the call began
    before_the_call = curve[times < 0]
    assert before_the_call[-1] == small
    assert before_the_call.max() == small + large
    assert {each.op for each in held.on_peak if each.tensor_class != "parameter"} == {"AddmmBackward0", "ExpBackward0"}


def test_a_saved_tensor_has_its_shape_role_and_line(record: Record) -> None:
    layer = nn.Linear(8, 6)
    x = torch.rand(4, 8)

    def program() -> None:
        layer(x).exp().sum().backward()

    session = record(program, layer, detail="nodes")
    saved = {(each.op, each.role): each for each in session.held(0).saved}
    of_layer = saved["AddmmBackward0", "mat1"]
    assert (of_layer.shape, of_layer.dtype, of_layer.tensor_class) == ((4, 8), "float32", "input")
    result = saved["ExpBackward0", "result"]
    assert (result.shape, result.bytes, result.storage_bytes) == ((4, 6), 4 * 6 * FLOAT, 4 * 6 * FLOAT)
    assert result.line is not None
    assert "test_held_exactness.py:" in result.line


# What cannot be seen is said


@pytest.mark.parametrize("detail", HELD_DETAILS)
def test_offloaded_tensors_are_counted_where_they_are_and_labelled(record: Record, detail: Detail) -> None:
    def forward() -> Tensor:
        with torch.autograd.graph.save_on_cpu():
            return LAYER(batch()).exp().sum()

    held = held_by(record, forward, detail)
    assert held.total_bytes == 2 * 32 * SIDE * FLOAT
    assert "offloaded" in {label.label for label in held.backward.graph.labels.values()}


@pytest.mark.parametrize("detail", HELD_DETAILS)
def test_what_the_programs_own_hooks_keep_is_counted_or_labelled(record: Record, detail: Detail) -> None:
    def forward() -> Tensor:
        with torch.autograd.graph.saved_tensors_hooks(lambda t: {"kept": t.half()}, lambda kept: kept["kept"].float()):
            return LAYER(batch()).exp().sum()

    held = held_by(record, forward, detail)
    assert held.class_bytes["activation"] >= 32 * SIDE * 2
    assert "user hooks" in {label.label for label in held.backward.graph.labels.values()}


def test_a_functorch_transform_is_named_as_not_observable(record: Record) -> None:
    x = torch.rand(3)
    session = record(lambda: torch.func.grad(lambda value: value.exp().sum())(x))
    for step in session.steps:
        for call in step.backwards:
            assert call.held_bytes == -1
            assert "functorch" in (call.unobserved or "")
            with pytest.raises(UsageError, match="not observable: inside a functorch transform"):
                _ = call.held.total_bytes


def test_a_compiled_region_is_labelled_and_its_saved_tensors_counted(record: Record) -> None:
    torch._dynamo.reset()
    layer = nn.Linear(SIDE, SIDE)
    compiled: Any = torch.compile(lambda x: layer(x).exp().sum(), backend="aot_eager")
    x = torch.rand(32, SIDE)
    compiled(x).backward()  # not while it is traced
    session = record(lambda: compiled(x).backward())
    held = session.held(0)
    assert "compiled" in {label.label for label in session.graph(0).labels.values()}
    assert held.total_bytes == 2 * 32 * SIDE * FLOAT


def test_a_reentrant_checkpoint_runs_a_call_inside_the_call(record: Record) -> None:
    session = record(lambda: [_checkpointed_model(use_reentrant=True).backward() for _ in range(2)])
    assert [step.backward_count for step in session.steps] == [4, 4]
    outer, *inner = session.steps[1].backwards
    assert outer.parent == -1
    assert {call.parent for call in inner} == {outer.index}
    recomputed = [each for call in inner for each in call.held.saved]
    assert recomputed
    assert all(each.recomputed for each in recomputed if each.op == "ExpBackward0")
