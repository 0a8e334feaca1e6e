"""What `gradwatch why` says of the symptoms in examples/: into docstrings, and as pictures into examples/pictures.

Run `python tests/pictures.py` after a sentence has changed.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from rich.console import Console

import gradwatch
from gradwatch.reporters.content import why_report
from gradwatch.reporters.terminal_findings import why

if TYPE_CHECKING:
    from gradwatch.records import Finding

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
PICTURES = EXAMPLES / "pictures"
SYMPTOMS = {
    "unused_parameter": "unreached",
    "nan_in_masked_softmax": "nan",
    "growing_memory": "retained graph",
    "dead_relu": "dead units",
    "overwritten_in_place": "in-place",
}
"""Programs by name, with the kind of finding that explains each."""

RAISES = {"overwritten_in_place"}
WIDTH = 100
_MARK = "gradwatch why says, of line "
_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


@dataclass(frozen=True)
class Symptom:
    """A recorded program: its finding, that one's line, and the report as a picture."""

    name: str
    finding: Finding
    line: int
    picture: str

    @property
    def told(self) -> str:
        """What its docstring says of it."""
        said = f"{self.finding.title}. {self.finding.sentence} Fix: {self.finding.fix}".rstrip(".")
        return f"{_MARK}{self.line}:\n{fill(said, 116, initial_indent='    ', subsequent_indent='    ')}.\n"


def recorded(name: str, folder: Path) -> Symptom:
    """Run a program as `gradwatch run` does, and read what it was told."""
    path = folder / f"{name}.gradwatch"
    program = EXAMPLES / f"{name}.py"
    command = [sys.executable, "-m", "gradwatch", "run", "--force", "-o", str(path), str(program.relative_to(ROOT))]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert (run.returncode != 0) == (name in RAISES), run.stderr
    with gradwatch.open(path) as session:
        finding = next(each for each in session.findings if each.kind == SYMPTOMS[name])
        site = session.site(finding.site)
        assert site.file == str(program), "the line to change is in the program itself"
        return Symptom(name, finding, site.line, _picture(session, name))


def _picture(session: gradwatch.Session, name: str) -> str:
    """Draw the report as SVG. Fonts are the reader's own: a picture loads nothing."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(why(why_report(session, None, None), WIDTH))
    return _FONTS.sub("", console.export_svg(title=f"gradwatch why {name}.gradwatch", unique_id=name.replace("_", "-")))


def with_told(source: str, symptom: Symptom) -> str:
    """Replace what a program's docstring says of its finding."""
    text, count = re.subn(f'{_MARK}.*?"""\n', lambda _: f'{symptom.told}"""\n', source, count=1, flags=re.DOTALL)
    assert count == 1, f"{symptom.name} says what is found in it"
    return text


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in SYMPTOMS:
            program = EXAMPLES / f"{name}.py"
            symptom = _written(program, Path(folder))
            (PICTURES / f"{name}.svg").write_text(symptom.picture, encoding="utf-8")


def _written(program: Path, folder: Path) -> Symptom:
    """Write a docstring until it holds: a longer one moves the line that it names."""
    while True:
        symptom = recorded(program.stem, folder)
        before = program.read_text(encoding="utf-8")
        after = with_told(before, symptom)
        if after == before:
            return symptom
        program.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main()
