"""The symptoms in examples/: each is explained as its docstring says, and its picture shows it."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

import pytest

from pictures import EXAMPLES, PICTURES, SYMPTOMS, recorded, with_told

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("unused_parameter", "nan_in_masked_softmax", "growing_memory", "dead_relu", "overwritten_in_place")


@pytest.mark.parametrize("name", NAMES)
def test_a_symptom_is_explained_as_its_docstring_says(name: str, tmp_path: Path) -> None:
    symptom = recorded(name, tmp_path)
    source = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    assert with_told(source, symptom) == source, "examples/ are out of date. Run: python tests/pictures.py"
    shown = _text(PICTURES / f"{name}.svg")
    assert symptom.finding.title in shown, "the pictures are out of date. Run: python tests/pictures.py"
    assert f"examples/{name}.py:{symptom.line}" in shown


def test_there_is_a_picture_of_each_symptom_and_it_loads_nothing() -> None:
    assert sorted(SYMPTOMS) == sorted(NAMES)
    assert sorted(path.stem for path in PICTURES.glob("*.svg")) == sorted(SYMPTOMS)
    for path in PICTURES.glob("*.svg"):
        addresses = set(re.findall(r"https?://[^\s\"')]+", path.read_text(encoding="utf-8")))
        assert addresses <= {"http://www.w3.org/2000/svg", "https://www.textualize.io"}, path.name


def _text(picture: Path) -> str:
    """The text of a picture: each line of it is one element, and parts in another colour are of their own."""
    elements = re.findall(r"<text[^>]*>(.*?)</text>", picture.read_text(encoding="utf-8"))
    return html.unescape("".join(elements)).replace("\N{NO-BREAK SPACE}", " ")
