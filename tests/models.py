"""Five small training programs that tests and the bench share, each from the same seed, and ways to run them."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import warnings
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable


class Program(NamedTuple):
    """A model, what gives the loss of the next batch, and the optimizer of its parameters."""

    model: nn.Module
    loss: Callable[[], Tensor]
    optimizer: torch.optim.Optimizer

    def step(self) -> float:
        """One training step; returns the loss."""
        self.optimizer.zero_grad()
        loss = self.loss()
        loss.backward()
        self.optimizer.step()
        return loss.item()


def mlp(width: int = 32, depth: int = 3, batch: int = 16) -> Program:
    """Linear layers with ReLU and dropout on noise drawn anew each step."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(width, width), nn.ReLU(), nn.Dropout(0.1)]
    model = nn.Sequential(*layers, nn.Linear(width, 10))

    def loss() -> Tensor:
        return functional.cross_entropy(model(torch.randn(batch, width)), torch.randint(0, 10, (batch,)))

    return Program(model, loss, torch.optim.Adam(model.parameters(), lr=1e-3))


def convnet(channels: int = 8, size: int = 12, batch: int = 4) -> Program:
    """Two convolutions, with batch norm and in-place ReLU, and a linear head."""
    torch.manual_seed(0)
    blocks: list[nn.Module] = []
    for before, after in pairwise((1, channels, 2 * channels)):
        blocks += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
    model = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.1), nn.Linear(2 * channels, 10))

    def loss() -> Tensor:
        return functional.cross_entropy(model(torch.randn(batch, 1, size, size)), torch.randint(0, 10, (batch,)))

    return Program(model, loss, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))


class GptSize(NamedTuple):
    """Sizes of a small GPT: `width` features, `positions` tokens a sequence, `batch` sequences."""

    layers: int = 2
    width: int = 32
    positions: int = 16
    batch: int = 2
    heads: int = 4
    vocabulary: int = 100


def gpt(size: GptSize | None = None) -> Program:
    """Build transformers' GPT-2 with random weights, on random tokens."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # transformers' own
        from transformers import GPT2Config, GPT2LMHeadModel

    size = size or GptSize()
    torch.manual_seed(0)
    config = GPT2Config(
        n_layer=size.layers,
        n_embd=size.width,
        n_head=size.heads,
        n_positions=size.positions,
        vocab_size=size.vocabulary,
        use_cache=False,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = GPT2LMHeadModel(config)
    model.train()

    def loss() -> Tensor:
        tokens = torch.randint(0, size.vocabulary, (size.batch, size.positions))
        return model(input_ids=tokens, labels=tokens).loss

    return Program(model, loss, torch.optim.AdamW(model.parameters(), lr=1e-3))


class _LanguageModel(nn.Module):
    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.lstm = nn.LSTM(width, width, num_layers=2, dropout=0.1, batch_first=True)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.lstm(self.embedding(tokens))[0])


class _CellLanguageModel(nn.Module):
    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.cell = nn.LSTMCell(width, width)
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        embedded = self.embedding(tokens)
        hidden = cell = embedded.new_zeros(embedded.shape[0], embedded.shape[2])
        outputs: list[Tensor] = []
        for position in range(tokens.shape[1]):
            hidden, cell = self.cell(embedded[:, position], (hidden, cell))
            outputs.append(self.head(self.dropout(hidden)))
        return torch.stack(outputs, 1)


def lstm(width: int = 16, length: int = 12, batch: int = 4) -> Program:
    """Build a two-layer nn.LSTM that predicts its own input."""
    torch.manual_seed(0)
    return _language_program(_LanguageModel(50, width), (batch, length))


def lstm_cell(width: int = 16, length: int = 12, batch: int = 4) -> Program:
    """Build the same task with a hand-written loop over nn.LSTMCell."""
    torch.manual_seed(0)
    return _language_program(_CellLanguageModel(50, width), (batch, length))


def _language_program(model: nn.Module, shape: tuple[int, int]) -> Program:
    def loss() -> Tensor:
        tokens = torch.randint(0, 50, shape)
        return functional.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten())

    return Program(model, loss, torch.optim.SGD(model.parameters(), lr=0.1))


PROGRAMS: dict[str, Callable[[], Program]] = {
    "mlp": mlp,
    "convnet": convnet,
    "gpt": gpt,
    "lstm": lstm,
    "lstm_cell": lstm_cell,
}


def fingerprints(program: Program, steps: int = 6) -> list[str]:
    """Train; return one digest a step, of the loss, every gradient, parameter and buffer, and the RNG's state."""
    found: list[str] = []
    for _ in range(steps):
        program.optimizer.zero_grad()
        loss = program.loss()
        loss.backward()
        gradients = [parameter.grad for parameter in program.model.parameters()]
        program.optimizer.step()
        state = [loss, *gradients, *program.model.state_dict().values(), torch.get_rng_state()]
        found.append(sha256(b"".join(_bytes(tensor) for tensor in state)).hexdigest())
    return found


def _bytes(tensor: Tensor | None) -> bytes:
    return b"none" if tensor is None else tensor.detach().contiguous().numpy().tobytes()


def run_alone(script: str, expected_code: int = 0) -> str:
    """Run a script in a process of its own, which may die, and return what it printed."""
    directory = str(Path(__file__).parent)
    script = f"import sys; sys.path.insert(0, {directory!r})\n{textwrap.dedent(script)}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == expected_code, done.stderr
    return done.stdout
