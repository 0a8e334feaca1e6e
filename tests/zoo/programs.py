"""Finds, runs and records the programs of the zoo: each a file with EXPECTED and `train()`."""

from __future__ import annotations

import gc
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.expected import Expected, Silence

ZOO = Path(__file__).parent


@dataclass(frozen=True)
class Animal:
    """One program, by the name of its file."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.stem

    def line(self, mark: str) -> int | None:
        """The number of the line that ends in a mark ("# bug"), None where none does. Raises where several do."""
        lines = self.path.read_text(encoding="utf-8").splitlines()
        marked = [number for number, line in enumerate(lines, 1) if line.rstrip().endswith(mark)]
        assert len(marked) <= 1, f"{self.path.name} marks several lines with {mark}"
        return marked[0] if marked else None


def animals(cage: str) -> list[Animal]:
    """The programs in `bugs` or in `healthy`, by name."""
    return [Animal(path) for path in sorted((ZOO / cage).glob("*.py"))]


def load(animal: Animal) -> Any:
    """Load a program's file anew: it has EXPECTED and train()."""
    spec = importlib.util.spec_from_file_location(f"zoo_{animal.name}", animal.path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # pickles and pytest's assertions look it up
    spec.loader.exec_module(module)
    return module


def record(animal: Animal, path: Path) -> Expected | Silence:
    """Run a program as `gradwatch run` would: recorded from before it makes its model. Returns what it expects."""
    from gradwatch import watch

    module = load(animal)
    expected = module.EXPECTED
    raises = getattr(expected, "raises", "")
    try:
        with watch(None, path, detail=expected.detail, **expected.options):
            module.train()
    except Exception as error:
        if type(error).__name__ != raises:
            raise
        error.__traceback__ = None  # its frames hold the program's tensors
    else:
        assert not raises, f"{animal.name} did not raise {raises}"
    finally:
        sys.modules.pop(module.__name__, None)
        gc.collect()
    return expected
