"""The question "values": a window of a tensor at a stop, and the search for the first value that is not finite."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gradwatch.capture import conditions, nonfinite_search, shown
from gradwatch.capture.budget import Budget
from gradwatch.capture.values import MAX_VALUES, narrowed, tensor_of, values
from gradwatch.errors import UsageError
from gradwatch.records import Condition, Subject, Values

STOP = 7


def ask(tensor: Tensor, field: str = "value", **window: Any) -> Values:
    """What is answered about `tensor` as the only variable shown."""
    shown.remember(STOP, [], [tensor], None)
    subject = {"stop": STOP, "field": field, "variable": 0}
    return values({"question": "values", "subject": subject, **window})


def numbers(answer: Values) -> np.ndarray[Any, Any]:
    flat = np.frombuffer(answer.values.data, answer.values.dtype)
    return flat.reshape(answer.rows, answer.columns)


def test_a_window_of_the_last_two_dimensions() -> None:
    tensor = torch.arange(2 * 3 * 4 * 5, dtype=torch.float32).reshape(2, 3, 4, 5)
    answer = ask(tensor, index=[1, 2], row=1, column=2, rows=2, columns=2)
    assert numbers(answer).tolist() == tensor[1, 2, 1:3, 2:4].tolist()
    assert (answer.shape, answer.dtype, answer.device, answer.index) == ([2, 3, 4, 5], "float32", "cpu", [1, 2])
    assert answer.values.dtype == "<f4"
    assert answer.missing == []


def test_a_vector_is_one_row_and_a_scalar_one_value() -> None:
    vector = ask(torch.arange(5.0), column=1, columns=3)
    assert numbers(vector).tolist() == [[1, 2, 3]]
    scalar = ask(torch.tensor(2.5))
    assert numbers(scalar).tolist() == [[2.5]]


def test_what_lies_outside_is_moved_inside() -> None:
    tensor = torch.arange(24.0).reshape(2, 3, 4)
    answer = ask(tensor, index=[9, 9], row=99, column=-5, rows=50, columns=50)
    assert (answer.index, answer.row, answer.column, answer.rows, answer.columns) == ([1], 2, 0, 1, 4)
    assert numbers(answer).tolist() == [tensor[1, 2].tolist()]


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 4)])
def test_an_empty_tensor_gives_no_values(shape: tuple[int, ...]) -> None:
    answer = ask(torch.empty(shape), find_nonfinite=True)
    assert answer.rows * answer.columns == 0
    assert answer.values.data == b""
    assert answer.first_nonfinite is None


def test_at_most_4096_values_come_at_once() -> None:
    answer = ask(torch.zeros(5000, 5000), rows=5000, columns=100)
    assert answer.rows * answer.columns <= MAX_VALUES
    assert (answer.rows, answer.columns) == (40, 100)
    assert ask(torch.zeros(5000, 5000), rows=10, columns=5000).columns == 4096


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        (torch.tensor([[True, False]]), [[1, 0]]),
        (torch.tensor([[1, -2]], dtype=torch.int16), [[1, -2]]),
        (torch.tensor([[1.5, -2]], dtype=torch.bfloat16), [[1.5, -2]]),
        (torch.tensor([[1.5, -2]]).to(torch.float8_e4m3fn), [[1.5, -2]]),
        (torch.tensor([[1, 2], [3, 4.0]]).t()[1:], [[2, 4]]),
        (torch.tensor([[3 + 4j, 0]]).conj().imag, [[-4, 0]]),
        (torch.tensor([[1.0, 2.0]], requires_grad=True), [[1, 2]]),
    ],
    ids=["bool", "int16", "bfloat16", "float8", "strided", "negated", "requires grad"],
)
def test_every_kind_of_number_is_read(tensor: Tensor, expected: list[list[float]]) -> None:
    assert numbers(ask(tensor)).tolist() == expected


def test_complex_values_are_magnitudes_and_say_so() -> None:
    answer = ask(torch.tensor([[3 + 4j]]).conj())
    assert numbers(answer).tolist() == [[5]]
    assert [each.reason for each in answer.missing] == ["complex: magnitudes are shown"]


def test_quantized_values_are_dequantized_and_say_so() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says once a process that quantized tensors are deprecated
        tensor = torch.quantize_per_tensor(torch.tensor([[0.5, 1.0]]), 0.5, 0, torch.quint8)
    answer = ask(tensor)
    assert numbers(answer).tolist() == [[0.5, 1.0]]
    assert "dequantized" in answer.missing[0].reason


def test_values_that_float32_would_change_come_as_float64() -> None:
    assert narrowed(np.array([1e300, 1.0])).tolist() == [1e300, 1.0]
    assert narrowed(np.array([1e-300])).tolist() == [1e-300]
    assert narrowed(np.array([2**24 + 1])).tolist() == [2**24 + 1]
    assert narrowed(np.array([np.inf, np.nan, 0.1])).dtype == "<f4"
    assert ask(torch.tensor([1e300], dtype=torch.float64)).values.dtype == "<f8"


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        (torch.eye(3).to_sparse(), "layout is sparse_coo"),
        (torch.empty(3, device="meta"), "meta device"),
        (torch.nested.as_nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged), "cannot be shown"),
    ],
    ids=["sparse", "meta", "nested"],
)
def test_what_has_no_plain_values_is_refused_with_the_way_to_see_them(tensor: Tensor, reason: str) -> None:
    with pytest.raises(UsageError, match=reason) as refused:
        ask(tensor)
    assert "To see them, " in str(refused.value)


def test_a_fake_tensor_is_refused() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        fake = torch.ones(3)
    with pytest.raises(UsageError, match="fake tensor"):
        ask(fake)


def test_a_dtensor_shows_this_ranks_shard_and_says_so() -> None:
    import torch.distributed
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    dist: Any = torch.distributed
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        tensor = distribute_tensor(torch.arange(6.0).reshape(2, 3), init_device_mesh("cpu", (1,)), [Shard(0)])
        answer = ask(tensor)
    finally:
        dist.destroy_process_group()
    assert numbers(answer).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert answer.missing[0].reason == "DTensor: the local part on this rank, of [2, 3] in all"


# Which tensor


def test_parameters_and_their_gradients() -> None:
    model = nn.Linear(2, 1)
    shown.remember(STOP, list(model.parameters()), [], None)
    weight = Subject(STOP, "value", parameter=0)
    grad = Subject(STOP, "grad", parameter=0)
    assert tensor_of(weight) is model.weight
    with pytest.raises(UsageError, match=r"\.grad of this parameter is None"):
        tensor_of(grad)
    model(torch.ones(1, 2)).sum().backward()
    assert tensor_of(grad) is model.weight.grad


def test_a_grad_that_autograd_does_not_keep_is_told_apart_from_none() -> None:
    with pytest.raises(UsageError, match="no leaf"):
        ask(torch.ones(2, requires_grad=True) * 2, "grad")


def test_saved_tensors_by_node_and_role() -> None:
    root = torch.tensor([1.0, 4.0], requires_grad=True).sqrt().sum()
    shown.remember(STOP, [], [root], root)
    sqrt = next(i for i in range(9) if "Sqrt" in str(shown.node(STOP, i)))
    assert tensor_of(Subject(STOP, "saved", node=sqrt, role="result")).tolist() == [1, 2]
    root.backward()
    with pytest.raises(UsageError, match="holds no saved tensor 'result' now"):
        tensor_of(Subject(STOP, "saved", node=sqrt, role="result"))


def test_tensors_on_the_ctx_of_a_custom_function_count_by_position() -> None:
    class Keeps(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.kept = [torch.zeros(1), torch.ones(1)]
            return x.clone()

    root = Keeps.apply(torch.ones(1, requires_grad=True)).sum()
    shown.remember(STOP, [], [root], root)
    node = next(i for i in range(9) if "Keeps" in str(shown.node(STOP, i)))
    assert tensor_of(Subject(STOP, "saved", node=node, role="ctx.kept", position=1)).tolist() == [1]


def test_the_gradient_of_the_running_node() -> None:
    root = torch.tensor([1.0, 4.0], requires_grad=True).exp().sum()
    found: list[list[float]] = []
    refused: list[str] = []

    def stop(paused: dict[str, Any]) -> None:
        shown.remember(STOP, [], [root], root)
        place = next(i for i in range(9) if shown.node(STOP, i) is paused["node"])
        found.append(tensor_of(Subject(STOP, "grad output", node=place)).tolist())
        with pytest.raises(UsageError) as error:
            tensor_of(Subject(STOP, "grad output", node=place + 1))
        refused.append(str(error.value))

    before = conditions.pause_with(stop)
    try:
        conditions.set_conditions([Condition(0, "node", name="ExpBackward0")])
        root.backward()
    finally:
        conditions.set_conditions([])
        conditions.pause_with(before)
    assert found == [[1, 1]]
    assert refused == [
        "The gradient of SumBackward0 is known only while backward stands at it. Choose Break at This Node."
    ]


def test_a_question_about_an_earlier_stop_is_refused_in_words() -> None:
    ask(torch.ones(1))
    with pytest.raises(UsageError, match="stop 6 is no longer there"):
        tensor_of(Subject(6, "value", variable=0))


def test_a_question_without_a_subject_is_refused() -> None:
    with pytest.raises(UsageError, match="names no tensor"):
        values({"question": "values", "subject": {"stop": 1}})
    with pytest.raises(UsageError, match="names no tensor"):
        values({"question": "values"})


# The first value that is not finite


@pytest.mark.parametrize("where", [(0, 0, 0), (1, 2, 3), (4, 5, 6)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.complex64])
def test_the_first_nonfinite_value_is_found_by_its_full_index(where: tuple[int, ...], dtype: torch.dtype) -> None:
    tensor = torch.zeros(5, 6, 7, dtype=dtype)
    tensor[where] = float("nan")
    tensor[4, 5, 6] = float("inf")
    assert ask(tensor, find_nonfinite=True).first_nonfinite == list(where)
    assert ask(tensor).first_nonfinite is None  # it was not asked for


def test_blocks_stay_in_order_and_within_their_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = torch.arange(7 * 5 * 11.0).reshape(7, 5, 11).transpose(0, 2)
    for limit in (1, 4, 30, 1000):
        found = [(start, block) for start, block in nonfinite_search.blocks(tensor, limit)]
        assert all(block.numel() <= limit for _, block in found)
        assert torch.equal(torch.cat([block.reshape(-1) for _, block in found]), tensor.reshape(-1))
        assert all(tensor[tuple(start)] == block.reshape(-1)[0] for start, block in found)
    monkeypatch.setattr(nonfinite_search, "BLOCK_BYTES", 64)
    tensor[3, 4, 5] = float("inf")
    assert ask(tensor, find_nonfinite=True).first_nonfinite == [3, 4, 5]


def test_integers_have_no_nonfinite_value() -> None:
    answer = ask(torch.arange(10), find_nonfinite=True)
    assert answer.first_nonfinite is None
    assert answer.missing == []


def test_a_search_that_runs_out_of_time_says_how_far_it_came() -> None:
    tensor = torch.zeros(1 << 20)
    tensor[-1] = float("nan")
    budget = Budget(0)
    assert nonfinite_search.first_nonfinite(tensor, budget) is None
    assert (budget.missing[0].part, budget.missing[0].done, budget.missing[0].total) == ("values", 0, 1 << 20)
