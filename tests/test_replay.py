"""A kept step runs again: the same gradients and the next parameters to the bit, or the first place that parts."""

from __future__ import annotations

import json
import random
import shutil
import struct
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import gradwatch
from gradwatch.errors import GradwatchError, MissingDependency, SessionError, UsageError
from gradwatch.replay import KeepSteps, kept_steps, replay

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STEPS = 6


class Trained:
    """A model, its optimizer and its step function, from no particular seed."""

    def __init__(self, activation: type[nn.Module] = nn.ReLU, width: int = 16) -> None:
        self.model = nn.Sequential(
            nn.Linear(8, width), nn.BatchNorm1d(width), activation(), nn.Dropout(0.3), nn.Linear(width, 4)
        )
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-2)
        self.scale = 1.0

    def step(self, x: torch.Tensor, labels: dict[str, torch.Tensor]) -> None:
        self.optimizer.zero_grad()
        noise = torch.rand(x.shape) + random.random() + float(np.random.rand())  # noqa: NPY002  # the global one
        loss = functional.cross_entropy(self.model(x + noise), labels["labels"]) * self.scale
        loss.backward()
        self.optimizer.step()

    def entry(self) -> Any:
        return self.model, self.optimizer, self.step

    def weights(self) -> list[torch.Tensor]:
        moments = [value for state in self.optimizer.state.values() for value in state.values()]
        return [tensor.detach().clone() for tensor in [*self.model.state_dict().values(), *moments]]


def batch() -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    return torch.randn(32, 8), {"labels": torch.randint(0, 4, (32,))}


def train(path: Path, keep: KeepSteps | int | None = 1, **options: Any) -> tuple[Trained, list[list[torch.Tensor]]]:
    """Train for a few steps under the recorder; the weights at the beginning of each."""
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002  # as above
    trained, seen = Trained(), []
    with gradwatch.watch({"model": trained.model}, path, keep_steps=keep, **options) as recorder:
        step = recorder.wrap(trained.step)
        for _ in range(STEPS):
            seen.append(trained.weights())
            step(*batch())
            recorder.flush()  # a slow disk leaves steps out
    seen.append(trained.weights())
    return trained, seen


def generators() -> tuple[Any, ...]:
    numpy: Any = np.random.get_state()  # noqa: NPY002  # as above
    return torch.get_rng_state().tolist(), random.getstate(), numpy[1].tolist(), numpy[2:]


def same(some: list[torch.Tensor], others: list[torch.Tensor]) -> bool:
    return len(some) == len(others) and all(torch.equal(a, b) for a, b in zip(some, others, strict=True))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.gradwatch"


def notices(path: Path) -> list[str]:
    with gradwatch.open(path) as session:
        return [notice.text for notice in session.notices]


@pytest.mark.parametrize("detail", ["parameters", "modules", "nodes"])
@pytest.mark.parametrize("step", [0, 3])
def test_a_replayed_step_has_the_same_gradients_and_next_parameters(path: Path, detail: str, step: int) -> None:
    _, weights = train(path, detail=detail)
    torch.manual_seed(99)
    again = Trained()
    result = replay(path, step, again.entry)
    assert result.identical is True
    assert result.parted is None
    assert result.compared["parameter"] == 6
    assert (result.compared["module"] > 0) == (detail != "parameters")
    assert (result.compared["node"] > 0) == (detail == "nodes")
    assert same(again.weights(), weights[step + 1])
    assert "bit-identical" in str(result)
    assert notices(path) == []


def test_training_with_kept_steps_is_bit_identical_to_training_without(tmp_path: Path) -> None:
    _, plain = train(tmp_path / "plain.gradwatch", None)
    after_plain = torch.get_rng_state(), random.getstate()
    _, kept = train(tmp_path / "kept.gradwatch", KeepSteps(every=1, last=2, on_nonfinite=True))
    assert all(same(a, b) for a, b in zip(plain, kept, strict=True))
    assert torch.equal(after_plain[0], torch.get_rng_state())
    assert after_plain[1] == random.getstate()


def test_another_operation_is_told_by_the_node_where_the_graphs_part(path: Path) -> None:
    train(path)
    result = replay(path, 2, Trained(nn.Tanh).entry)
    assert result.identical is False
    assert result.parted is not None
    assert (result.parted.kind, result.parted.was, result.parted.now) == ("graph", "ReluBackward0", "TanhBackward0")
    assert result.parted.module == "2"


class _Doubled(torch.autograd.Function):
    """A hook cannot be used: at "nodes" it would run after ours. The graph is the same in both, its values not."""

    factor = 1.0

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return gradients[0] * _Doubled.factor


class _InTheMiddle(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _Doubled.apply(x)  # type: ignore[no-any-return]


def _with_a_middle() -> Trained:
    trained = Trained()
    trained.model[2] = _InTheMiddle()
    return trained


@pytest.mark.parametrize(
    ("detail", "expected"),
    [
        ("nodes", ("node", "NativeBatchNormBackward0", "1")),
        ("modules", ("module", "1", "1")),
        ("parameters", ("parameter", "1.bias", "")),
    ],
)
def test_a_gradient_that_parts_is_told_by_the_first_in_backwards_order(
    path: Path, monkeypatch: pytest.MonkeyPatch, detail: Any, expected: tuple[str, str, str]
) -> None:
    trained = _with_a_middle()
    with gradwatch.watch(trained.model, path, keep_steps=1, detail=detail) as recorder:
        step = recorder.wrap(trained.step)
        for _ in range(3):
            step(*batch())
    monkeypatch.setattr(_Doubled, "factor", 2.0)
    result = replay(path, 2, _with_a_middle().entry)
    assert result.identical is False
    assert result.parted is not None
    assert (result.parted.kind, result.parted.name, result.parted.module) == expected
    assert result.parted.now != result.parted.was
    assert "parts at" in str(result)


def test_a_program_that_may_not_set_torchs_backend_flags_can_replay(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, _ = train(path)
    monkeypatch.setitem(vars(torch.backends), "__allow_nonbracketed_mutation_flag", value=False)
    assert replay(path, 1, trained.entry).identical is True


def test_a_tolerance_lets_a_small_difference_pass(path: Path) -> None:
    scale = [1.0]

    def build() -> Any:
        model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

        def step(x: torch.Tensor, labels: dict[str, torch.Tensor]) -> None:
            optimizer.zero_grad()
            (functional.cross_entropy(model(x), labels["labels"]) * scale[0]).backward()
            optimizer.step()

        return model, optimizer, step

    model, _, train_step = build()
    with gradwatch.watch(model, path, keep_steps=1) as recorder:
        recorder.wrap(train_step)(*batch())
    scale[0] = 1.00001
    parted = replay(path, 0, build).parted
    assert parted is not None
    assert parted.kind == "module"
    assert parted.name == "2"
    assert replay(path, 0, build, tolerance=1e-3).identical is True
    assert replay(path, 0, build, tolerance=1e-7).identical is False


def test_the_process_has_its_generators_and_switches_back(path: Path) -> None:
    train(path)
    entry = Trained().entry
    torch.manual_seed(5)
    before = generators()
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    try:
        replay(path, 1, entry)
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(mode=False)
    assert generators() == before


def test_autocast_frozen_layers_and_eval_mode_come_back(path: Path) -> None:
    trained = Trained()
    with gradwatch.watch(trained.model, path, keep_steps=1) as recorder:
        step = recorder.wrap(trained.step)
        step(*batch())
        trained.model[1].eval()
        next(trained.model.parameters()).requires_grad = False
        with torch.autocast("cpu", torch.bfloat16):
            step(*batch())
    again = Trained()
    assert replay(path, 1, again.entry).identical is True
    assert not again.model[1].training
    assert not again.model[0].weight.requires_grad
    assert replay(path, 0, again.entry).identical is True


def test_a_step_that_begins_at_recorder_step_keeps_its_batch(path: Path) -> None:
    trained = Trained()
    scheduler = torch.optim.lr_scheduler.StepLR(trained.optimizer, 1, 0.5)
    weights: list[list[torch.Tensor]] = []
    with gradwatch.watch(trained.model, path, keep_steps=2) as recorder:
        for _ in range(4):
            x, labels = batch()
            recorder.step(x, labels)
            trained.step(x, labels)
            weights.append(trained.weights())
            scheduler.step()
    assert kept_steps(path) == [0, 2]
    again = Trained()
    result = replay(path, 2, again.entry)
    assert result.identical is True
    assert result.begun == "call"
    assert same(again.weights(), weights[2])


def _gan() -> Any:
    models = {"g": nn.Linear(4, 8), "d": nn.Linear(8, 1)}
    optimizers = [torch.optim.Adam(model.parameters()) for model in models.values()]
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0, growth_interval=2)

    def step(noise: torch.Tensor) -> None:
        for model, optimizer in zip(models.values(), optimizers, strict=True):
            optimizer.zero_grad()
            scaler.scale(models["d"](models["g"](noise)).square().mean()).backward()
            scaler.step(optimizer)
            assert model is not None
        scaler.update()

    return models, optimizers[::-1], step, scaler


def test_several_models_optimizers_and_a_scaler_are_restored_by_name(path: Path) -> None:
    models, optimizers, train_step, scaler = _gan()
    with gradwatch.watch(models, path, keep_steps=3) as recorder:
        step = recorder.wrap(train_step)
        for _ in range(4):
            step(torch.randn(6, 4))
    after = [value.clone() for model in models.values() for value in model.state_dict().values()]
    del optimizers
    made = _gan()
    result = replay(path, 3, lambda: made)
    assert result.identical is True
    assert same([value for model in made[0].values() for value in model.state_dict().values()], after)
    assert made[3].get_scale() == scaler.get_scale() == 256.0
    with pytest.raises(UsageError, match="1 GradScaler was in use"):
        replay(path, 3, lambda: made[:3])
    with pytest.raises(UsageError, match="returned the models g, x; watched were: 'g', 'd'"):
        replay(path, 3, lambda: ({"g": made[0]["g"], "x": made[0]["d"]}, *made[1:]))


def test_without_a_word_of_the_program_steps_are_kept_between_them_and_say_so(path: Path) -> None:
    trained = Trained()

    def step() -> None:
        trained.step(*batch())

    with gradwatch.watch(trained.model, path, keep_steps=1):
        for _ in range(4):
            step()
    assert kept_steps(path)[:1] == [0]
    assert 1 not in kept_steps(path)  # its beginning was seen only when it was over
    again = Trained()
    result = replay(path, 3, lambda: (again.model, again.optimizer, lambda: again.step(*batch())))
    assert result.identical is True
    assert "recorder.wrap" in result.notes[0]


def test_the_ring_keeps_the_newest_and_every_kth_stays(path: Path) -> None:
    train(path, KeepSteps(every=4, last=2))
    assert kept_steps(path) == [0, 3, 4, 5]


def test_a_nonfinite_gradient_pins_the_ring(path: Path) -> None:
    trained = Trained()
    with gradwatch.watch(trained.model, path, keep_steps=KeepSteps(last=2, on_nonfinite=True)) as recorder:
        step = recorder.wrap(trained.step)
        for number in range(8):
            x, labels = batch()
            step(x * (torch.inf if number == 3 else 1), labels)
    assert kept_steps(path) == [2, 3, 6, 7]
    assert replay(path, 3, Trained().entry).identical is True


def test_a_batch_that_cannot_be_kept_costs_that_step_alone(path: Path) -> None:
    trained = Trained()

    def step(x: torch.Tensor, labels: dict[str, torch.Tensor], extra: object = None) -> None:
        trained.step(x, labels)

    with gradwatch.watch(trained.model, path, keep_steps=1) as recorder:
        wrapped = recorder.wrap(step)
        wrapped(*batch())
        wrapped(*batch(), extra={"config": object()})
        wrapped(*batch(), extra=[1, (2.5, float("inf"), None, "text", True)])
    assert kept_steps(path) == [0, 2]
    assert [text for text in notices(path) if "arguments['extra']['config'] is a object" in text]
    got: list[Any] = []

    def again(x: torch.Tensor, labels: dict[str, torch.Tensor], extra: object = None) -> None:
        got.append(extra)
        other.step(x, labels)

    other = Trained()
    assert replay(path, 2, lambda: (other.model, other.optimizer, again)).identical is True
    assert got == [[1, (2.5, float("inf"), None, "text", True)]]


def test_a_full_disk_is_a_notice_and_training_goes_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    train(path)
    assert kept_steps(path) == []
    assert [text for text in notices(path) if "was not kept: no space left on device" in text]
    with gradwatch.open(path) as session:
        assert len(session.steps) == STEPS
    assert not path.with_name("run.gradwatch.steps").exists()


def test_the_budget_bounds_what_is_kept(path: Path) -> None:
    train(path, KeepSteps(every=1, budget_bytes=40_000))
    assert 0 < len(kept_steps(path)) < STEPS
    assert [text for text in notices(path) if "of a budget of 40,000" in text]


def test_an_overwritten_session_leaves_no_steps_behind(path: Path) -> None:
    train(path)
    train(path, KeepSteps(every=5), overwrite=True)
    assert kept_steps(path) == [0, 5]


def test_steps_of_another_recording_are_refused(path: Path, tmp_path: Path) -> None:
    train(path)
    other = tmp_path / "other.gradwatch"
    train(other, None)
    path.with_name("run.gradwatch.steps").rename(tmp_path / "other.gradwatch.steps")
    with pytest.raises(UsageError, match="is of another recording"):
        replay(other, 1, Trained().entry)


def test_no_safetensors_is_said_before_anything_is_recorded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = __import__("importlib.util").util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "safetensors" else find(name))
    with pytest.raises(MissingDependency, match=r"gradwatch\[replay\]"):
        gradwatch.watch(Trained().model, path, keep_steps=1)
    assert not path.exists()


@pytest.mark.parametrize("keep", [0, -1, True, "1", KeepSteps()])
def test_an_unfit_keep_steps_is_refused(path: Path, keep: Any) -> None:
    with pytest.raises(UsageError, match="keep"):
        gradwatch.watch(Trained().model, path, keep_steps=keep)


# Gradients, value by value

EXACT = KeepSteps(every=2, gradients=True)


def gradients_file(path: Path, step: int = 2) -> Path:
    return path.with_name("run.gradwatch.steps") / f"step-{step:06d}" / "gradients.safetensors"


def test_kept_gradients_are_what_the_optimizer_was_given_and_are_compared_value_by_value(path: Path) -> None:
    train(path, EXACT)
    from safetensors.torch import load_file

    again = Trained()
    given: dict[str, torch.Tensor] = {}

    def look(*_: object) -> None:
        given.update(
            {f"model:{name}": p.grad.clone() for name, p in again.model.named_parameters() if p.grad is not None}
        )

    again.optimizer.register_step_pre_hook(look)
    result = replay(path, 2, again.entry)
    kept = load_file(gradients_file(path))
    assert kept.keys() == given.keys()
    assert all(torch.equal(kept[name], given[name]) for name in kept)
    assert result.identical is True
    assert result.values == sum(tensor.numel() for tensor in kept.values()) > 0
    assert f"all {result.values} values of the gradients that the optimizer was given are bit-identical" in str(result)
    assert result.report()["values"] == result.values


def test_one_bit_of_one_value_parts_though_statistics_agree(path: Path) -> None:
    train(path, EXACT)
    from safetensors.torch import load_file, save_file

    kept = load_file(gradients_file(path))
    flat = kept["model:4.weight"].view(-1)
    flat[[5, 6]] = flat[[6, 5]]  # the same values at other places: no statistic sees it
    save_file(kept, gradients_file(path))
    result = replay(path, 2, Trained().entry)
    assert result.identical is False
    assert result.parted is not None
    assert (result.parted.name, result.parted.what) == ("4.weight", "element [0, 5]")
    assert result.parted.was == float(flat[5])
    assert replay(path, 2, Trained().entry, tolerance=10.0).identical is True


def test_without_kept_gradients_only_statistics_are_said_to_be_the_same(path: Path) -> None:
    train(path)
    result = replay(path, 2, Trained().entry)
    assert result.values == 0
    assert "the recorded statistics of the gradients of" in str(result)
    assert "values of the gradients" not in str(result)


def test_gradients_of_steps_that_go_from_the_ring_go_with_them(path: Path) -> None:
    train(path, KeepSteps(last=2, gradients=True))
    steps = path.with_name("run.gradwatch.steps")
    assert {each.parent.name for each in steps.rglob("gradients.safetensors")} == {
        each.name for each in steps.iterdir()
    }
    assert len(kept_steps(path)) == 2


def test_gradients_that_no_optimizer_was_given_are_said_to_be_missing(path: Path) -> None:
    trained = Trained()

    def step(x: torch.Tensor, labels: dict[str, torch.Tensor]) -> None:
        trained.optimizer.zero_grad()
        functional.cross_entropy(trained.model(x), labels["labels"]).backward()

    with gradwatch.watch(trained.model, path, keep_steps=KeepSteps(every=1, gradients=True)) as recorder:
        wrapped = recorder.wrap(step)
        wrapped(*batch())
    assert kept_steps(path) == [0]
    assert not gradients_file(path, 0).exists()
    assert [text for text in notices(path) if text.startswith("Gradients of step 0 were not kept: 1 optimizers")]
    assert not trained.optimizer._optimizer_step_pre_hooks


@pytest.mark.parametrize("data", [b"", b"\xff" * 64, struct.pack("<Q", 1 << 60) + b"{}"])
def test_a_strangers_gradients_are_refused_in_words(path: Path, data: bytes) -> None:
    train(path, EXACT)
    gradients_file(path).write_bytes(data)
    with pytest.raises(SessionError, match=r"Step 2, kept beside .* gradients.safetensors is damaged"):
        replay(path, 2, Trained().entry)


# Entries that do not fit


def _wrong_shape() -> Any:
    return Trained(width=17).entry()


def _another_optimizer() -> Any:
    trained = Trained()
    return trained.model, torch.optim.SGD(trained.model.parameters()), trained.step


def _part_of_the_parameters() -> Any:
    trained = Trained()
    return trained.model, torch.optim.Adam(trained.model[0].parameters()), trained.step


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (_wrong_shape, r"'0.weight' was \[16, 8\] float32 and is \[17, 8\] float32"),
        (_another_optimizer, "is a 'Adam' of 1 groups; the entry returns a SGD of 1"),
        (_part_of_the_parameters, "returns no optimizer of the 6 parameters"),
        (lambda: None, "it must return model, optimizer, step_function"),
        (lambda: (Trained().model, None, 3), "must be the step function"),
        (lambda: ([], None, print), "returned 0 models; 1 were watched"),
        ("nowhere:build", "There is no module 'nowhere'"),
        ("json:nothing", "has no function 'nothing'"),
        ("json", "is not module:function"),
    ],
)
def test_an_entry_that_does_not_fit_is_told_by_name(kept: Path, entry: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        replay(kept / "run.gradwatch", 2, entry)


def test_a_step_that_was_not_kept_names_those_that_were(path: Path) -> None:
    train(path, 3)
    with pytest.raises(UsageError, match=r"Step 2 was not kept. Kept are: 0, 3"):
        replay(path, 2, Trained().entry)


# A stranger's files


def _state(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        state = json.loads((folder / "state.json").read_text())
        change(state)
        (folder / "state.json").write_text(json.dumps(state))

    return spoil


def _header(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        data = (folder / "tensors.safetensors").read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + length])
        change(header)
        text = json.dumps(header).encode()
        (folder / "tensors.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])

    return spoil


def _deep(state: dict[str, Any]) -> None:
    value: Any = None
    for _ in range(200):
        value = {"list": [value]}
    state["arguments"] = {"tuple": [value]}


def _raw(name: str, data: bytes) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / name).write_bytes(data)

    return spoil


HOSTILE: dict[str, Callable[[Path], None]] = {
    "no json": _raw("state.json", b"\x80\x04pickle"),
    "deep json": _raw("state.json", b"[" * 200_000),
    "large json": _raw("state.json", b" " * ((16 << 20) + 1)),
    "another format": _state(lambda s: s.update(format="x")),
    "another version": _state(lambda s: s.update(version=2)),
    "no models": _state(lambda s: s.pop("models")),
    "a number for a list": _state(lambda s: s.update(optimizers=1)),
    "deep tree": _state(_deep),
    "a class by name": _state(lambda s: s.update(arguments={"tuple": [{"os.system": ["echo"]}]})),
    "a tensor that is not there": _state(lambda s: s.update(arguments={"tuple": [{"tensor": "x", "device": "cpu"}]})),
    "strides beyond the tensor": _state(lambda s: s["arguments"]["tuple"][0].update(stride=[1 << 40, 1])),
    "negative strides": _state(lambda s: s["arguments"]["tuple"][0].update(stride=[-8, 1])),
    "a device that is not there": _state(lambda s: s["arguments"]["tuple"][0].update(device="cuda:77")),
    "no device": _state(lambda s: s["arguments"]["tuple"][0].update(device="../../etc")),
    "python's generator": _state(lambda s: s["randomness"].update(python={"tuple": [3, {"tuple": [1]}, None]})),
    "numpy's generator": _state(lambda s: s["randomness"].update(numpy=None)),
    "torch's generator": _state(lambda s: s["randomness"].update(torch="buffer model:1.running_mean")),
    "threads": _state(lambda s: s["modes"].update(threads=1 << 30)),
    "a dtype": _state(lambda s: s["modes"].update(default_dtype="load")),
    "an empty file of tensors": _raw("tensors.safetensors", b""),
    "a header beyond the file": _raw("tensors.safetensors", struct.pack("<Q", 1 << 60) + b"{}"),
    "a shape beyond the file": _header(lambda h: next(iter(h.values())).update(shape=[1 << 40])),
    "a negative shape": _header(lambda h: next(iter(h.values())).update(shape=[-1, -4])),
    "offsets beyond the file": _header(lambda h: next(iter(h.values())).update(data_offsets=[0, 1 << 50])),
    "a dtype nobody has": _header(lambda h: next(iter(h.values())).update(dtype="PICKLE")),
    "a gradient of another shape": _state(
        lambda s: s["models"]["model"]["parameters"][0].update(grad="buffer model:1.running_mean")
    ),
    "entries of nothing": _header(lambda h: h.update(dict.fromkeys(h))),
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept")
    train(folder / "run.gradwatch")
    return folder


@pytest.mark.parametrize("what", HOSTILE)
def test_a_strangers_kept_step_is_refused_in_words(kept: Path, path: Path, what: str) -> None:
    shutil.copytree(kept, path.parent, dirs_exist_ok=True)
    HOSTILE[what](path.with_name("run.gradwatch.steps") / "step-000002")
    with pytest.raises(GradwatchError) as refused:
        replay(path, 2, Trained().entry)
    assert isinstance(refused.value, (SessionError, UsageError))
    assert "Step 2, kept beside" in str(refused.value)
    assert "Traceback" not in str(refused.value)


def test_conditions_stop_the_replay_and_are_gone_after_it(path: Path) -> None:
    from gradwatch.capture import conditions
    from gradwatch.records import Condition

    train(path)
    stops: list[dict[str, Any]] = []
    before = conditions.pause_with(stops.append)
    try:
        wanted = [Condition(id=0, kind="norm exceeds", limit=1e-12)]
        assert replay(path, 2, Trained().entry, conditions=wanted).identical is True
    finally:
        conditions.pause_with(before)
    assert stops
    assert "grad_outputs" in stops[0]
    assert conditions.current() == []


# The command

PROGRAM = """
import sys
import torch
from torch import nn

def build(activation=nn.ReLU):
    model = nn.Sequential(nn.Linear(4, 8), activation(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    def step(x):
        optimizer.zero_grad()
        model(x).mean().backward()
        optimizer.step()
    return model, optimizer, step

def other():
    return build(nn.GELU)

def fails():
    raise LookupError("no data here")

if __name__ == "__main__":
    import gradwatch
    model, optimizer, step = build()
    with gradwatch.watch(model, "run.gradwatch", keep_steps=2) as recorder:
        step = recorder.wrap(step)
        for _ in range(3):
            step(torch.randn(5, 4))
"""


def test_the_command_answers_with_its_exit_code(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(PROGRAM)
    subprocess.run([sys.executable, "train.py"], cwd=tmp_path, check=True, timeout=120)

    def command(entry: str, *options: str, step: int = 2) -> subprocess.CompletedProcess[str]:
        words = ["replay", "run.gradwatch", "--step", str(step), "--entry", entry, *options]
        line = [sys.executable, "-m", "gradwatch", *words]
        return subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)

    good = command("train:build", "--exact")
    assert (good.returncode, good.stderr) == (0, "")
    assert "bit-identical" in good.stdout
    assert (tmp_path / "run.replay-2.gradwatch").exists()
    parted = command("train:other", "--json")
    assert parted.returncode == 1
    assert json.loads(parted.stdout)["parted"]["was"] == "ReluBackward0"
    failed = command("train:fails")
    assert failed.returncode == 2
    assert "LookupError: no data here" in failed.stderr
    missing = command("train:build", step=1)
    assert missing.returncode == 2
    assert missing.stderr.startswith("gradwatch: Step 1 was not kept. Kept are: 0, 2")
