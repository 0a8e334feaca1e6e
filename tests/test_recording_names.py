"""Every model, module and parameter that trains is found, and has the name the program gives it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

import gradwatch
from models import gpt, mlp

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Record
    from gradwatch import Session


def node_named(session: Session, name: str, step: int = 0) -> Any:
    return next(node for node in session.graph(step).nodes if node.name == name)


# Names


def test_models_are_named_as_the_program_names_them(record: Record, tmp_path: Path) -> None:
    def program(path: Path) -> None:
        encoder, decoder = nn.Linear(2, 3), nn.Linear(3, 2)
        with gradwatch.watch([encoder, decoder], path):
            decoder(encoder(torch.ones(1, 2))).sum().backward()

    program(tmp_path / "run.gradwatch")
    with gradwatch.open(tmp_path / "run.gradwatch") as session:
        assert session.parameters.names == ["encoder.weight", "encoder.bias", "decoder.weight", "decoder.bias"]


def test_names_given_to_models_are_theirs(record: Record) -> None:
    models = {"left": nn.Linear(2, 3), "right": nn.Linear(3, 2)}
    session = record(lambda: models["right"](models["left"](torch.ones(1, 2))).sum().backward(), models)
    assert session.parameters.names == ["left.weight", "left.bias", "right.weight", "right.bias"]


def test_two_models_of_one_name_stay_apart(record: Record) -> None:
    models = [nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)]

    def program() -> None:
        torch.stack([model(torch.ones(1, 2)).sum() for model in models]).sum().backward()

    session = record(program, models)
    assert len(set(session.parameters.names)) == 2
    assert [len(session.gradient(name)) for name in session.parameters.names] == [1, 1]


def test_without_a_model_everything_that_trains_is_found_and_named(record: Record) -> None:
    class Trainer:
        def __init__(self) -> None:
            self.network = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
            self.temperature = torch.tensor(2.0, requires_grad=True)
            self.optimizer = torch.optim.SGD([*self.network.parameters(), self.temperature], lr=0.1)

        def fit(self) -> None:
            self.optimizer.zero_grad()
            (self.network(torch.ones(4, 2)) / self.temperature).sum().backward()
            self.optimizer.step()

    trainer = Trainer()
    session = record(lambda: [trainer.fit() for _ in range(3)])
    assert sorted(session.parameters.names) == ["0.bias", "0.weight", "2.bias", "2.weight", "temperature"]
    assert {module.root for module in session.modules} == {"network"}
    assert all(len(session.gradient(name)) == 3 for name in session.parameters.names)


@pytest.mark.parametrize("detail", ["parameters", "modules", "nodes"])
def test_a_model_found_on_the_way_has_every_step_at_every_detail(record: Record, detail: str) -> None:
    program = mlp()
    session = record(lambda: [program.step() for _ in range(3)], detail=detail)
    assert len(session.parameters) == len(list(program.model.parameters()))
    assert all(session.gradient(name).steps.tolist() == [0, 1, 2] for name in session.parameters.names)


def test_a_tensor_that_an_optimizer_updates_is_a_parameter(record: Record) -> None:
    def program() -> None:
        image = torch.ones(4, 4, requires_grad=True)
        optimizer = torch.optim.Adam([image], lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            (image**2).sum().backward()
            optimizer.step()

    session = record(program)
    assert session.parameters.names == ["image"]
    assert session.parameters["image"].is_leaf_tensor
    assert session.gradient("image").norm[0] == 8.0
    np.testing.assert_allclose(session.gradient("image").update_ratio[0], 0.1, rtol=1e-4)


def test_a_frozen_layer_has_no_gradient_until_it_is_unfrozen(record: Record) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)  # noqa: FBT003  # torch's own signature

    def program() -> None:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for step in range(4):
            if step == 2:
                model[0].requires_grad_(True)  # noqa: FBT003  # as above
            optimizer.zero_grad()
            model(torch.ones(1, 2)).sum().backward()
            optimizer.step()

    session = record(program, model)
    assert session.gradient("0.weight").steps.tolist() == [2, 3]
    assert session.gradient("1.weight").steps.tolist() == [0, 1, 2, 3]


def test_a_tied_weight_is_one_parameter_of_two_names(record: Record) -> None:
    program = gpt()
    session = record(lambda: [program.step() for _ in range(2)], program.model)
    tied = session.parameters["lm_head.weight"]
    assert session.parameters["transformer.wte.weight"] == tied
    assert {tied.name, *tied.aliases} == {"lm_head.weight", "transformer.wte.weight"}
    assert len(session.gradient("lm_head.weight")) == 2


def test_a_lazy_module_is_recorded_from_its_first_gradient_on(record: Record) -> None:
    model = nn.Sequential(nn.LazyLinear(3), nn.ReLU(), nn.LazyLinear(1))

    def program() -> None:
        for _ in range(2):
            model(torch.ones(4, 2)).sum().backward()

    session = record(program, model)
    assert session.parameters["0.weight"].shape == (3, 2)
    assert session.gradient("0.weight").steps.tolist() == [0, 1]
    assert session.notices == []


def test_a_module_added_later_gets_its_own_path(record: Record) -> None:
    model = nn.Sequential(nn.Linear(2, 2))

    def program() -> None:
        model(torch.ones(1, 2)).sum().backward()
        model.append(nn.Linear(2, 2))
        model(torch.ones(1, 2)).sum().backward()

    session = record(program, model)
    assert session.gradient("1.weight").steps.tolist() == [1]
    assert session.gradient("1").steps.tolist() == [1]


def test_each_call_of_a_shared_module_has_its_output(record: Record) -> None:
    shared = nn.Linear(2, 2, bias=False)

    def program() -> None:
        (3 * shared(shared(torch.ones(1, 2)))).sum().backward()

    session = record(program, {"shared": shared})
    first, second = session.gradient("shared"), session.gradient("shared#2")
    assert second.mean.tolist() == [3.0]
    np.testing.assert_allclose(first.l1, [3 * shared.weight.sum(0).abs().sum().item()], rtol=1e-6)


def test_each_tensor_of_a_modules_output_has_its_gradient(record: Record) -> None:
    class Split(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> dict[str, Any]:
            hidden = self.layer(x)
            return {"left": 2 * hidden, "rest": (3 * hidden, 5 * hidden)}

    model = Split()

    def program() -> None:
        output = model(torch.ones(1, 2))
        (output["left"] + 7 * output["rest"][1]).sum().backward()

    session = record(program, {"model": model})
    assert session.gradient("model.left").mean.tolist() == [1.0]
    assert session.gradient("model.rest[1]").mean.tolist() == [7.0]
    assert session.gradient("layer").mean.tolist() == [2.0 + 35.0]
