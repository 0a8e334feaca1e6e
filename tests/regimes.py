"""The promises: what gradwatch observes in each regime of PyTorch. Each stands on the test that holds it.

`python tests/regimes.py` writes the table of them into the README.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

View = Literal["observed", "estimated", "labelled", "partly", "unsupported"]
"""observed: exact. estimated: worked out, and says so. labelled: named, its inside not seen. partly: the note says what
is missing. unsupported: not seen, and the session says so."""

AREAS = ("Autograd", "Programs", "Saved tensors", "torch.func", "torch.compile", "Optimizers", "Distributed", "CUDA")
README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- regimes: written by tests/regimes.py -->\n", "<!-- end of regimes -->\n"

Test = TypeVar("Test", bound="Callable[..., Any]")


@dataclass(frozen=True)
class Promise:
    """What is seen of gradients, graph and held bytes in one regime, and the test that shows it."""

    area: str
    regime: str
    gradients: View
    graph: View
    held: View
    note: str
    test: str


PROMISES: dict[tuple[str, str], Promise] = {}


def promise(  # noqa: PLR0913 # a row of the table
    area: str,
    regime: str,
    *,
    gradients: View = "observed",
    graph: View = "observed",
    held: View = "observed",
    note: str = "",
) -> Callable[[Test], Test]:
    """Say what the decorated test holds. One regime is promised once, in plain words, without a full stop."""

    def hold(test: Test) -> Test:
        name = f"{test.__module__}.{test.__name__}"
        made = Promise(area, regime, gradients, graph, held, note, name)
        assert area in AREAS, area
        assert PROMISES.get((area, regime), made).test == name, f"{regime} is promised twice"
        PROMISES[area, regime] = made
        return test

    return hold


def all_promises() -> list[Promise]:
    """Every promise of every test_regime_*.py, by area and in the order of their tests."""
    for path in sorted(Path(__file__).parent.glob("test_regime_*.py")):
        import_module(path.stem)
    return sorted(PROMISES.values(), key=lambda each: AREAS.index(each.area))


def table() -> str:
    """Write the promises as Markdown."""
    lines = ["| | regime | gradients | graph | held bytes | |", "|---|---|---|---|---|---|"]
    before = ""
    for each in all_promises():
        area = each.area if each.area != before else ""
        before = each.area
        lines.append(f"| {area} | {each.regime} | {each.gradients} | {each.graph} | {each.held} | {each.note} |")
    return "\n".join(lines) + "\n"


def with_table(readme: str) -> str:
    """Replace the table in the README's text."""
    pattern = re.escape(BEGIN) + ".*?" + re.escape(END)
    text, count = re.subn(pattern, lambda _: f"{BEGIN}\n{table()}\n{END}", readme, flags=re.DOTALL)
    assert count == 1, "the README has one table of regimes"
    return text


if __name__ == "__main__":
    sys.modules["regimes"] = sys.modules["__main__"]  # the tests import it by this name
    README.write_text(with_table(README.read_text()))
