"""What findings about held memory say of programs whose bytes are known by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from conftest import Record

ROWS, WIDTH = 1024, 1024
MATRIX = ROWS * WIDTH * 4


def test_bfloat16_is_said_to_free_half_of_the_activations_to_the_byte(record: Record) -> None:
    model = nn.Sequential(nn.Linear(64, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 1))

    def train() -> None:
        model(torch.randn(ROWS, 64)).sum().backward()

    session = record(train, model)
    found = [finding for finding in session.findings if finding.cause == "bf16 saving"]
    assert [finding.bytes for finding in found] == [2 * MATRIX // 2]
    assert found[0].severity == "note"
    assert found[0].certainty == "estimated"


def test_small_programs_are_told_nothing_about_their_memory(record: Record) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1))
    session = record(lambda: model(torch.randn(8, 4)).sum().backward(), model)
    kinds = {finding.kind for finding in session.findings}
    assert not kinds & {"held", "held long", "held by ctx", "saved twice", "saved unused", "what if"}
