"""A long answer travels deflated where the request asks for it, and says the same."""

from __future__ import annotations

import base64
import json
import zlib

import torch

from gradwatch.debugger import answer
from gradwatch.json_records import PACKED, PACKED_FROM, packed


def test_a_long_answer_is_deflated_on_request_and_says_the_same() -> None:
    many = [torch.ones(2, requires_grad=True) for _ in range(500)]
    loss = torch.stack(many).sum()
    asked = {"question": "snapshot", "budget_ms": 20_000, "stop": 1}
    plain = json.loads(answer(json.dumps(asked)))
    text = answer(json.dumps({**asked, "packed": True}))
    assert text.startswith(PACKED)
    unpacked = json.loads(zlib.decompress(base64.b64decode(text.removeprefix(PACKED))))
    assert unpacked["value"]["parameters"] == plain["value"]["parameters"]
    assert unpacked["value"]["variables"] == plain["value"]["variables"]
    assert loss.grad_fn is not None


def test_a_short_answer_stays_plain() -> None:
    assert packed("x" * (PACKED_FROM - 1)) == "x" * (PACKED_FROM - 1)
    assert json.loads(answer('{"question": "weather", "packed": true}'))["kind"] == "Failure"
