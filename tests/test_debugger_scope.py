"""What a stopped frame reaches is listed under the user's names, and none of the program's code runs for it."""

from __future__ import annotations

import argparse
import collections
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from debugger_questions import read, snapshot
from gradwatch.capture import scope
from gradwatch.capture.scope import public_names, reach
from gradwatch.debugger import answer

if TYPE_CHECKING:
    import pytest

module_level = torch.ones(2, requires_grad=True)
_private_level = torch.ones(2, requires_grad=True)
unmentioned = torch.ones(2, requires_grad=True)


def never() -> bool:
    return False


def expressions(**names: Any) -> list[str]:
    return [each.expression for each in reach(names, never).all()]


def test_locals_come_first_then_the_globals_that_the_code_names() -> None:
    x = torch.ones(3, requires_grad=True)
    y = (x * module_level.sum()).sum() + _private_level.sum()
    found = read(answer(snapshot()))
    assert y.requires_grad
    assert list(found.variables) == ["x", "y", "module_level", "_private_level"]
    assert found.root == "y"
    assert found.variables["y"].grad_fn == "AddBackward0"
    assert found.variables["y"].number == "8"
    assert found.variables["x"].shape == [3]


def test_globals_that_only_an_inner_function_names_are_reached() -> None:
    def use() -> torch.Tensor:
        return unmentioned

    def stand() -> Any:
        def later() -> torch.Tensor:
            return unmentioned + 1

        return read(answer(snapshot())), later

    assert "unmentioned" in stand()[0].variables
    assert use() is unmentioned


class Pair(NamedTuple):
    first: torch.Tensor
    second: torch.Tensor


@dataclass
class Batch:
    x: torch.Tensor
    rest: list[torch.Tensor] = field(default_factory=list[torch.Tensor])


@dataclass(slots=True)
class Slotted:
    x: torch.Tensor


class Output(collections.OrderedDict[str, torch.Tensor]):
    """As transformers' ModelOutput: items that are attributes too."""

    def __init__(self, **items: torch.Tensor) -> None:
        super().__init__(items)
        self.__dict__.update(items)


def tensor() -> torch.Tensor:
    return torch.ones(2)


def test_containers_and_attributes_are_looked_into_as_a_user_would_write_it() -> None:
    assert expressions(batch={"x": tensor(), 3: [tensor()]}) == ["batch['x']", "batch[3][0]"]
    assert expressions(outputs=(tensor(), [tensor()])) == ["outputs[0]", "outputs[1][0]"]
    assert expressions(pair=Pair(tensor(), tensor())) == ["pair.first", "pair.second"]
    assert expressions(batch=Batch(tensor(), [tensor()])) == ["batch.x", "batch.rest[0]"]
    assert expressions(slotted=Slotted(tensor())) == ["slotted.x"]
    assert expressions(outputs=Output(loss=tensor())) == ["outputs.loss"]
    assert expressions(args=argparse.Namespace(scale=tensor())) == ["args.scale"]


def test_what_a_shorter_name_reaches_is_listed_once_and_found_by_every_name() -> None:
    x = torch.ones(3, requires_grad=True)
    outputs = {"loss": (x * 2).sum()}
    loss = outputs["loss"]
    found = read(answer(snapshot()))
    assert list(found.variables) == ["x", "loss"]
    assert read(answer(snapshot(root="outputs['loss']"))).root == "loss"
    assert loss is outputs["loss"]


class Trainer:
    def __init__(self) -> None:
        self.model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
        self.head = self.model[1]
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self.state = Batch(torch.ones(2))

    def step(self) -> Any:
        return read(answer(snapshot()))


def test_modules_and_optimizers_of_an_object_are_reached_and_inner_modules_are_not_listed() -> None:
    found = Trainer().step()
    assert list(found.variables) == ["self.state.x", "self.model", "self.optimizer"]
    assert found.names == ["self.model.0.weight", "self.model.0.bias", "self.model.1.weight", "self.model.1.bias"]
    assert found.variables["self.model"].parameter_count == 4


def test_names_of_the_interpreter_the_debugger_and_ipython_are_left_out() -> None:
    names = dict.fromkeys(["_", "__", "_1", "_i", "_i3", "_ih", "_oh", "In", "Out", "__name__", ".0", "_pydev_x", "x"])
    assert list(public_names(names)) == ["x"]
    assert list(public_names({"In": 1, "Out": 2, "_weight": 3, "exit": 4})) == ["In", "Out", "_weight", "exit"]


def test_only_parameters_of_optimizers_that_no_module_holds_become_leaves_of_their_own() -> None:
    w = torch.ones(2, requires_grad=True)
    optimizer = torch.optim.SGD([{"params": [w]}, {"params": [nn.Parameter(torch.ones(3))]}], lr=0.1)
    found = read(answer(snapshot()))
    assert found.names == ["w", "optimizer.param_groups[1]['params'][0]"]
    assert len(optimizer.param_groups) == 2


def count_and_raise(*_: Any, **__: Any) -> Any:
    """Whatever Python code may run when somebody looks: it counts."""
    Hostile.calls += 1
    raise RuntimeError("the program's code ran")


def hostile_class(base: Any, *names: str, properties: tuple[str, ...] = ()) -> Any:
    """A subclass of `base` in which each of `names`, and of `properties`, is code of the program's."""
    own: dict[str, Any] = dict.fromkeys(names, count_and_raise)
    return type(f"Hostile{base.__name__}", (base,), {**own, **dict.fromkeys(properties, property(count_and_raise))})


LOOKS = ("__repr__", "__str__", "__len__", "__iter__", "__bool__", "__eq__", "__hash__", "__getitem__", "__contains__")


class Hostile:
    calls = 0

    def __init__(self) -> None:
        object.__setattr__(self, "hidden", torch.ones(2, requires_grad=True))


Armed = hostile_class(
    *(Hostile, *LOOKS, "__getattribute__", "__getattr__", "__dir__"), properties=("__class__", "shape", "grad_fn")
)
MoreArmed = hostile_class(Armed, properties=("__dict__",))
HostileDict = hostile_class(dict, *LOOKS, "items", "values", "keys", "get")
HostileList = hostile_class(list, *LOOKS)
HostileModule = hostile_class(
    nn.Linear,
    *("__repr__", "__len__", "__iter__", "named_modules", "named_parameters", "parameters", "children", "buffers"),
)


def test_no_code_of_the_program_runs() -> None:
    Hostile.calls = 0
    hostile: Any = Armed()
    more: Any = MoreArmed()
    items = HostileDict(x=torch.ones(2, requires_grad=True))
    many = HostileList([torch.ones(2), hostile])
    model = HostileModule(2, 1)
    text = answer(snapshot())
    assert Hostile.calls == 0
    found = read(text)
    assert set(found.variables) == {"items['x']", "many[0]", "hostile.hidden", "more.hidden", "model"}
    assert "model.weight" in found.names
    del hostile, more, items, many, model


class Meta(type):
    def __getattribute__(cls, name: str) -> Any:
        if name in ("__dict__", "__mro__", "_fields", "__module__"):
            raise RuntimeError("the program's code ran")
        return super().__getattribute__(name)


class OfMeta(metaclass=Meta):
    def __init__(self) -> None:
        self.x = torch.ones(1)


def test_nor_does_that_of_a_metaclass() -> None:
    assert expressions(odd=OfMeta()) == ["odd.x"]


def test_cycles_and_depth_are_bounded() -> None:
    loop: list[Any] = [tensor()]
    loop.append(loop)
    assert expressions(loop=loop) == ["loop[0]"]
    deep: Any = tensor()
    for _ in range(scope.MAX_CONTAINERS):
        deep = [deep]
    assert len(expressions(deep=deep)) == 1
    assert expressions(deep=[deep]) == []


def test_a_module_that_holds_itself_is_read_once() -> None:
    module: Any = nn.Sequential(nn.Linear(2, 2))
    module[0]._modules["back"] = module
    assert read(answer(snapshot())).names == ["module.0.weight", "module.0.bias"]


def test_long_containers_are_read_in_part_and_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scope, "MAX_TENSORS", 3)
    many = [torch.ones(1, requires_grad=True) for _ in range(10)]
    found = read(answer(snapshot()))
    assert len(found.variables) == 3
    assert found.missing("scope") == "the first 3 tensors are listed"
    assert len(many) == 10


def test_where_nothing_requires_grad_the_callers_that_have_something_are_named() -> None:
    def inner(values: torch.Tensor) -> Any:
        return values.numel(), read(answer(snapshot()))

    def outer() -> Any:
        weight = torch.ones(3, requires_grad=True)
        return inner(torch.ones(2)), weight

    (_, found), _ = outer()
    assert found.record.state == "nothing differentiable"
    assert list(found.variables) == ["values"]
    (caller,) = [each for each in found.record.callers if each.function.endswith("outer")]
    assert (caller.depth, caller.tensor_count) == (1, 1)
    assert found.record.graph is None


def test_the_default_root_is_the_latest_scalar_else_the_latest_tensor() -> None:
    x = torch.ones(3, requires_grad=True)
    early = x.sum()
    loss = (x * 2).sum()
    late = x * 3
    assert read(answer(snapshot())).root == "loss"
    del early, loss
    assert read(answer(snapshot())).root == "late"
    del late
    found = read(answer(snapshot()))
    assert (found.root, found.record.graph, found.record.state) == (None, None, "ready")


def test_only_small_numbers_on_the_host_are_read() -> None:
    a, b, c = torch.tensor(2.5), torch.tensor([[3]]), torch.ones(2)
    d = torch.empty((), device="meta")
    e, f = torch.tensor(float("nan")), torch.tensor(1 + 2j)
    freed = torch.ones(1)
    freed.untyped_storage().resize_(0)
    numbers = {name: each.number for name, each in read(answer(snapshot())).variables.items()}
    assert numbers == {"a": "2.5", "b": "3", "c": None, "d": None, "e": "nan", "f": "1+2j", "freed": None}
    del a, b, c, d, e, f, freed


def test_a_shared_module_is_no_tied_weight_and_a_tied_weight_has_both_names() -> None:
    shared = nn.Linear(2, 2)
    model = nn.ModuleDict({"a": shared, "b": shared, "c": nn.Linear(2, 2)})
    model["c"].weight = shared.weight
    by_path = {each.path: each for each in read(answer(snapshot())).record.parameters}
    assert by_path["a.weight"].aliases == ["b.weight", "c.weight"]
    assert by_path["a.bias"].aliases == ["b.bias"]
    other = nn.Sequential(model["c"])
    assert len(other) == 1
