"""transformers' Trainer, Lightning and accelerate: recorded unchanged, with the numbers that they log themselves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import gradwatch
from exactness import check_exact
from gradwatch.records import OptimizerStep
from living_storages import alive_after, without_numbers
from regimes import promise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Record
    from gradwatch import Session
    from gradwatch.records import Detail

EXAMPLES = Path(__file__).parents[1] / "examples"

NUMBER = 8
"""Bytes of a whole number that scales the loss (of processes, of micro-batches): no dispatch mode sees it made."""

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),  # the frameworks' own, of CPUs and small data
    pytest.mark.filterwarnings("ignore::FutureWarning"),  # as above
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # as above
]


@pytest.fixture(autouse=True)
def _nothing_of_the_framework_is_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    accelerate: Any = sys.modules.get("accelerate.state")
    if accelerate is not None:  # settings of the process: the next test has others
        accelerate.AcceleratorState._reset_state(reset_partial_state=True)
        accelerate.GradientState._reset_state()


def gradient_norms(session: Session) -> list[float]:
    """Total norm of each step's gradients as its last backward call left them."""
    rows = (session.gradients_at(step.number) for step in session.steps)
    return [float(np.sqrt((each.norm**2).sum())) for each in rows]


def used_norms(session: Session) -> list[float]:
    """Total norm of the gradients that each optimizer step used."""
    records = session.reader.records(OptimizerStep)
    return [float(np.linalg.norm(np.frombuffer(each.columns["gradient_norm"].data, "<f4"))) for each in records]


def losses_of(session: Session) -> list[Any]:
    return [step.loss for step in session.steps]


def names(session: Session) -> set[str]:
    return {parameter.path for parameter in session.parameters}


# transformers


def gpt2() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes: dict[str, Any] = {"n_layer": 2, "n_embd": 16, "n_head": 2, "n_positions": 8, "vocab_size": 20}
    return GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0, use_cache=False))


def gpt2_loss(model: Any) -> torch.Tensor:
    """Give the loss of a batch like those of `trainer_of`, without a trainer."""
    tokens, labels = torch.randint(0, 20, (2, 8)), torch.randint(0, 20, (2, 8))
    return model(input_ids=tokens, labels=labels, num_items_in_batch=torch.ones(())).loss


def trainer_of(model: Any, **options: Any) -> Any:
    from transformers import Trainer, TrainingArguments

    texts = [{"input_ids": tokens, "labels": tokens} for tokens in torch.randint(0, 20, (24, 8))]
    settings: dict[str, Any] = {
        "per_device_train_batch_size": 2,
        "num_train_epochs": 2,
        "max_grad_norm": 0.5,
        "eval_strategy": "epoch",
        "save_strategy": "no",
        "logging_steps": 1,
        "report_to": [],
        "use_cpu": True,
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }
    arguments = TrainingArguments("trainer", **settings | options)
    return Trainer(model, arguments, train_dataset=texts, eval_dataset=texts[:4])


TRAINERS: dict[str, tuple[Detail, dict[str, Any]]] = {
    "as it comes": ("modules", {}),
    "parameters alone": ("parameters", {"gradient_accumulation_steps": 2}),
    "accumulated, in bf16": ("nodes", {"gradient_accumulation_steps": 2, "bf16": True}),
    "checkpointed": ("modules", {"gradient_accumulation_steps": 2, "gradient_checkpointing": True}),
}


@promise(
    "Programs",
    "transformers Trainer: accumulation, bf16, clipping, evaluation, resuming",
)
@pytest.mark.parametrize("kind", TRAINERS)
def test_a_trainer_is_recorded_with_the_numbers_that_it_logs(record: Record, kind: str) -> None:
    detail, options = TRAINERS[kind]
    logs: list[dict[str, float]] = []

    def program() -> object:
        trainer = trainer_of(gpt2(), **options)
        trainer.train()
        logs[:] = [each for each in trainer.state.log_history if "loss" in each]
        return list(trainer.model.parameters())

    session = check_exact(record, program, detail)
    micro_batches = options.get("gradient_accumulation_steps", 1)
    assert len(session.steps) == len(logs) == 24 // micro_batches
    assert {step.backward_count for step in session.steps} == {micro_batches}
    told = {notice.text.partition(" recomputes")[0] for notice in session.notices}
    assert told == ({"What a checkpoint"} if kind == "checkpointed" else set())
    assert names(session) == {name for name, _ in gpt2().named_parameters()}
    np.testing.assert_allclose(gradient_norms(session), [log["grad_norm"] for log in logs], rtol=1e-5)
    np.testing.assert_allclose(used_norms(session), np.minimum(gradient_norms(session), 0.5), rtol=1e-5)
    if detail == "modules":
        model = gpt2().train()
        if kind == "checkpointed":
            model.gradient_checkpointing_enable()
        alive = alive_after(lambda: gpt2_loss(model))
        generators = 2 * torch.get_rng_state().nbytes if kind == "checkpointed" else 0  # kept by each checkpoint
        assert without_numbers(session.held(1)) == alive + 2 * NUMBER + generators
    if micro_batches == 1:
        np.testing.assert_allclose(losses_of(session), [log["loss"] for log in logs], rtol=1e-5)


def test_a_trainer_that_resumes_from_its_checkpoint_is_recorded_from_there(record: Record) -> None:
    torch.manual_seed(0)
    trainer_of(gpt2(), num_train_epochs=1, save_strategy="epoch").train()

    def program() -> object:
        trainer = trainer_of(gpt2())
        trainer.train(resume_from_checkpoint="trainer/checkpoint-12")
        assert trainer.state.global_step == 24
        return list(trainer.model.parameters())

    session = check_exact(record, program, "modules")
    assert len(session.steps) == 12
    assert list(session.notices) == []


# Lightning


def regression() -> Any:
    """A LightningModule whose steps use its parts, and that notes the gradients its optimizer used."""
    import lightning

    class Regression(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 1))
            self.unused = nn.Linear(2, 2)
            self.norms: list[float] = []
            self.losses: list[float] = []

        def training_step(self, batch: Any) -> torch.Tensor:
            loss = nn.functional.mse_loss(self.net(batch[0]), batch[1])
            self.losses.append(float(loss))
            return loss

        def validation_step(self, batch: Any) -> None:
            self.log("validation", nn.functional.mse_loss(self.net(batch[0]), batch[1]))

        def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
            gradients = [parameter.grad for parameter in self.net.parameters() if parameter.grad is not None]
            self.norms.append(float(torch.linalg.vector_norm(torch.cat([each.flatten() for each in gradients]))))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=1e-2)

    return Regression()


def adversarial() -> Any:
    """Two optimizers by hand: the discriminator's and the generator's."""
    import lightning

    class Adversarial(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False
            self.generator = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8))
            self.discriminator = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))

        def training_step(self, batch: Any) -> None:
            for optimizer, sign in zip(self.optimizers(), (-1.0, 1.0), strict=True):  # type: ignore[call-overload]
                self.toggle_optimizer(optimizer)
                made = self.generator(torch.randn(len(batch[0]), 4))
                self.manual_backward(sign * (self.discriminator(made) - self.discriminator(batch[0])).mean())
                optimizer.step()
                optimizer.zero_grad()
                self.untoggle_optimizer(optimizer)

        def configure_optimizers(self) -> Any:
            parts = (self.generator, self.discriminator)
            return [torch.optim.SGD(part.parameters(), lr=0.1) for part in parts]

    return Adversarial()


def fit(model: Any, path: str | None = None, **options: Any) -> Any:
    import lightning

    inputs = torch.randn(32, 8)
    batches = DataLoader(TensorDataset(inputs, inputs.sum(1, keepdim=True)), batch_size=4, shuffle=True)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    settings: dict[str, Any] = {"max_epochs": 2, "accelerator": "cpu", "enable_checkpointing": False, **quiet}
    trainer = lightning.Trainer(**settings | options)
    trainer.fit(model, batches, batches, ckpt_path=path)
    return trainer


FITS: dict[str, tuple[Detail, dict[str, Any]]] = {
    "as it comes": ("modules", {}),
    "clipped, accumulated, in bf16": (
        "nodes",
        {"gradient_clip_val": 0.5, "accumulate_grad_batches": 2, "precision": "bf16-mixed"},
    ),
    "in fp16, parameters alone": ("parameters", {"gradient_clip_val": 0.5, "precision": "16-mixed"}),
}


@promise("Programs", "Lightning Trainer: accumulation, mixed precision, clipping, validation, two optimizers, resuming")
@pytest.mark.parametrize("kind", FITS)
def test_a_lightning_trainer_is_recorded_with_the_gradients_that_its_optimizer_used(record: Record, kind: str) -> None:
    detail, options = FITS[kind]
    models: list[Any] = []

    def program() -> object:
        models.append(regression())
        fit(models[-1], **options)
        return list(models[-1].parameters())

    session = check_exact(record, program, detail)
    micro_batches = options.get("accumulate_grad_batches", 1)
    assert len(session.steps) == 16 // micro_batches
    assert {step.backward_count for step in session.steps} == {micro_batches}
    assert list(session.notices) == []
    assert {name for name in names(session) if not name.startswith("unused")} == {
        name for name, _ in regression().named_parameters() if not name.startswith("unused")
    }
    np.testing.assert_allclose(used_norms(session), models[-1].norms[micro_batches - 1 :: micro_batches], rtol=1e-5)
    if not options:
        batch = (4, 8), (4, 1)
        alone = regression()
        alive = alive_after(lambda: alone.training_step([torch.randn(*size) for size in batch]))
        assert without_numbers(session.held(1)) == alive + NUMBER
    losses = np.array(models[-1].losses[micro_batches - 1 :: micro_batches]) / micro_batches
    np.testing.assert_allclose(losses_of(session), losses, rtol=1e-5)


def test_two_optimizers_that_lightning_toggles_share_each_step(record: Record) -> None:
    def program() -> object:
        model = adversarial()
        fit(model, limit_val_batches=0)
        return list(model.parameters())

    session = check_exact(record, program, "modules")
    assert [(step.backward_count, step.optimizer_count) for step in session.steps] == [(2, 2)] * 16
    assert "generator.0.weight" in names(session)
    assert "discriminator.2.bias" in names(session)
    assert list(session.notices) == []


def test_lightning_that_resumes_from_its_checkpoint_is_recorded_from_there(record: Record, tmp_path: Path) -> None:
    torch.manual_seed(0)
    fit(regression(), max_epochs=1).save_checkpoint(tmp_path / "after.ckpt")

    def program() -> object:
        model = regression()
        fit(model, str(tmp_path / "after.ckpt"))
        return list(model.parameters())

    session = check_exact(record, program, "modules")
    assert len(session.steps) == 8
    assert list(session.notices) == []


def test_a_method_that_calls_parts_of_its_model_trains_that_model(record: Record) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Linear(3, 3)
            self.head = nn.Linear(3, 1)

        def loss(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.head(self.encoder(inputs)).mean()

    def program() -> object:
        trained = Model()
        trained.loss(torch.randn(2, 3)).backward()
        return list(trained.parameters())

    session = check_exact(record, program, "modules")
    assert {parameter.root for parameter in session.parameters} == {"trained"}
    assert names(session) == {"encoder.weight", "encoder.bias", "head.weight", "head.bias"}
    assert {"encoder", "head"} <= {module.path for module in session.modules}


# accelerate


@promise("Programs", "accelerate: accumulation, bf16, clipping")
@pytest.mark.parametrize("detail", ["parameters", "modules", "nodes"])
def test_a_loop_of_accelerates_is_recorded(record: Record, detail: Detail) -> None:
    losses: list[float] = []
    models: list[Any] = []

    def program() -> object:
        from accelerate import Accelerator

        accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2, mixed_precision="bf16")
        model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 1))
        plain = torch.optim.AdamW(model.parameters(), lr=1e-2)
        batches = DataLoader(TensorDataset(torch.randn(32, 8), torch.randn(32, 1)), batch_size=4)
        model, optimizer, batches = accelerator.prepare(model, plain, batches)
        losses.clear()
        models.append(model)
        for inputs, targets in [pair for _ in range(2) for pair in batches]:
            with accelerator.accumulate(model):
                loss = nn.functional.mse_loss(model(inputs), targets)
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(model.parameters(), 0.1)
                    losses.append(loss.item() / 2)
                optimizer.step()
                optimizer.zero_grad()
        return list(model.parameters())

    session = check_exact(record, program, detail)
    assert [(step.backward_count, step.optimizer_count) for step in session.steps] == [(2, 1)] * 8
    assert names(session) == {"0.weight", "0.bias", "3.weight", "3.bias"}
    assert list(session.notices) == []
    np.testing.assert_allclose(losses_of(session), losses, rtol=1e-5)
    np.testing.assert_allclose(used_norms(session), np.minimum(gradient_norms(session), 0.1), rtol=1e-4)
    if detail != "parameters":
        alone = models[-1]
        alive = alive_after(lambda: nn.functional.mse_loss(alone(torch.randn(4, 8)), torch.randn(4, 1)))
        assert without_numbers(session.held(1)) == alive + NUMBER


# The examples


@pytest.mark.parametrize("name", ["transformers_trainer", "lightning_trainer", "accelerate_loop"])
def test_an_example_is_short_and_runs_recorded_without_a_change(tmp_path: Path, name: str) -> None:
    example = EXAMPLES / f"{name}.py"
    assert len(example.read_text().splitlines()) <= 40
    path = tmp_path / "run.gradwatch"
    command = [sys.executable, "-m", "gradwatch", "run", "-o", str(path), str(example)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert f"recorded to {path}" in done.stderr
    with gradwatch.open(path) as session:
        assert len(session.steps) == 12
        assert {step.backward_count for step in session.steps} == {2}
        assert {parameter.root for parameter in session.parameters} == {"model"}
        assert list(session.notices) == []
        assert all(call.held_bytes > 0 for step in session.steps for call in step.backwards)


def test_one_line_records_a_part_of_a_program(tmp_path: Path) -> None:
    program = (EXAMPLES / "lightning_trainer.py").read_text()
    line = 'with gradwatch.watch(model, "part.gradwatch"):\n    trainer.fit'
    program = program.replace("\ntrainer.fit", f"\n{line}")
    program = program.replace("\nimport torch", "\nimport gradwatch\nimport torch")
    (tmp_path / "part.py").write_text(program)
    subprocess.run([sys.executable, "part.py"], cwd=tmp_path, capture_output=True, timeout=120, check=True)
    with gradwatch.open(tmp_path / "part.gradwatch") as session:
        assert len(session.steps) == 12
        assert names(session) == {"net.0.weight", "net.0.bias", "net.3.weight", "net.3.bias"}
