"""The promises: what gradwatch observes in each regime of PyTorch. Each stands on the test that holds it.

`python tests/regimes.py` writes the table of them into the README.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from importlib import import_module
from inspect import unwrap
from pathlib import Path
from textwrap import TextWrapper, fill
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
    line: int


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
        line = unwrap(test).__code__.co_firstlineno
        made = Promise(area, regime, gradients, graph, held, note, name, line)
        assert area in AREAS, area
        assert PROMISES.get((area, regime), made).test == name, f"{regime} is promised twice"
        PROMISES[area, regime] = made
        return test

    return hold


def all_promises() -> list[Promise]:
    """Every promise of every test_regime_*.py, by area and in the order of their tests."""
    for path in sorted(Path(__file__).parent.glob("test_regime_*.py")):
        import_module(path.stem)
    return sorted(PROMISES.values(), key=lambda each: (AREAS.index(each.area), each.test.partition(".")[0], each.line))


UNTRIED = ("CUDA",)
"""Areas whose tests, marked `gpu`, are written but have not run on a device."""


def table() -> str:
    """Write the promises as Markdown: a list of what is observed whole, then a table of all that needs a word."""
    return f"{_observed()}\nThese need a word:\n\n{_with_limits()}\n{_untried()}"


def _observed() -> str:
    whole = [each for each in all_promises() if _needs_no_word(each) and each.area not in UNTRIED]
    areas = {area: [each.regime for each in whole if each.area == area] for area in AREAS}
    entries = (f"- *{area}*: {' · '.join(regimes)}" for area, regimes in areas.items() if regimes)
    text = "".join(f"{_WRAPPED.fill(entry)}\n" for entry in entries)
    summary = f"Gradients, graph and held bytes are all seen, exactly, in {len(whole)} regimes"
    return f"<details><summary>{summary}</summary>\n\n{text}\n</details>\n"


_WRAPPED = TextWrapper(width=120, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _with_limits() -> str:
    lines = ["| | seen | |", "|---|---|---|"]
    before = ""
    for each in all_promises():
        if _needs_no_word(each) or each.area in UNTRIED:
            continue
        if each.area != before:
            lines.append(f"| *{each.area}* | | |")
            before = each.area
        lines.append(f"| {each.regime} | {_seen(each)} | {each.note} |")
    return "\n".join(lines) + "\n"


def _untried() -> str:
    """List what is promised nobody yet."""
    regimes = [each.regime for each in all_promises() if each.area in UNTRIED]
    text = (
        "On CUDA, tests marked `gpu` are written for what follows. They have not run on a device yet, so none of it is"
    )
    return fill(f"{text} promised: {' · '.join(regimes)}.", width=120, break_on_hyphens=False) + "\n"


def _needs_no_word(each: Promise) -> bool:
    return _seen(each) == "all" and not each.note


def _seen(each: Promise) -> str:
    views = {"gradients": each.gradients, "graph": each.graph, "held": each.held}
    if len(set(views.values())) == 1:
        return {"observed": "all", "unsupported": "nothing"}.get(each.gradients, each.gradients)
    words = {name: "not" if view == "unsupported" else view for name, view in views.items() if view != "observed"}
    return ", ".join(f"{name} {word}" for name, word in words.items())


def with_table(readme: str) -> str:
    """Replace the table in the README's text."""
    pattern = re.escape(BEGIN) + ".*?" + re.escape(END)
    text, count = re.subn(pattern, lambda _: f"{BEGIN}\n{table()}\n{END}", readme, flags=re.DOTALL)
    assert count == 1, "the README has one table of regimes"
    return text


if __name__ == "__main__":
    sys.modules["regimes"] = sys.modules["__main__"]  # the tests import it by this name
    README.write_text(with_table(README.read_text()))
