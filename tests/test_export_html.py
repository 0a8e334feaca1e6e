"""A page of a session: it holds the file's bytes and nothing that runs of a stranger's, and a browser replays it."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import gradwatch
from gradwatch import cli
from gradwatch.records import Parameters, Site, Sites, SourceFile, Stop
from gradwatch.reporters.exports import html_page
from gradwatch.reporters.exports.progress import Progress
from gradwatch.reporters.exports.source import Source
from gradwatch.reporters.exports.thinned_session import copy_session
from gradwatch.session.session import Session
from session_factory import (
    START_NS,
    Node,
    Saved,
    Storage,
    backward,
    gradients,
    graph,
    histograms,
    ledger,
    parameter,
    step,
    write_session,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gradwatch.records import Record

TESTS = Path(__file__).parent
GOLDEN = TESTS / "golden"
HOSTILE = "</script><script>document.title='run by a stranger'</script><img src=x onerror=alert(1)>"
BLOCK = re.compile(rb'<script type="application/octet-stream;base64" data-file="([^"]*)">([^<]*)</script>')
BUNDLE = Path(gradwatch.__file__).parent / "static" / "page.js"

MUST_RUN = bool(os.environ.get("GRADWATCH_PAGE"))
"""Set where the page was built: then nothing here may be left out."""

pytestmark = pytest.mark.skipif(
    not BUNDLE.exists() and not MUST_RUN, reason="the page's script is not built: make page"
)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def exported(file: str, *options: str) -> bytes:
    assert cli.main(["export", file, "--to", "html", "-o", "page.html", "--force", *options]) == 0
    return Path("page.html").read_bytes()


def bytes_in(page: bytes) -> bytes:
    return b"".join(base64.b64decode(content, validate=True) for _, content in BLOCK.findall(page))


def long_session(path: Path, steps: int, hot: Iterable[int] = ()) -> Path:
    """Of `steps` steps, each with a graph's gradients; NaN in those of `hot`; a stop at step 5."""
    names = Parameters([parameter(number, f"layers.{number}.weight", (4, 4)) for number in range(20)])
    nodes = [Node("AccumulateGrad", parameter=0), Node("MulBackward0"), Node("SumBackward0")]

    def flushes() -> Iterator[list[Record]]:
        yield [names]
        for number in range(steps):
            values = [float("nan") if number in hot else 1.0 / (1 + number), -2.0]
            records: list[Record] = []
            if number % 10 == 0:
                records += [graph(number // 10, nodes, [(1, 0, 0, 0), (2, 0, 1, 0)], [2])]
                records += [ledger(number // 10, number // 10, [Saved(1, "self", 0, (4,))], [Storage(64)])]
            records += [backward(number, graph=number // 10, ledger=number // 10)]
            records += [gradients(number, dict.fromkeys(range(20), values)), step(number, loss=1.0)]
            records += [histograms(number, {key: [1.0, -2.0] for key in range(20)})]
            if number == 5:
                records += [Stop(1, START_NS, 5, 1, "MainThread", "train.py", 1, "<module>")]
            yield records

    return write_session(path, flushes())


def copied(file: Path, largest: int, steps: range | None = None) -> tuple[Session, int, tuple[str, ...]]:
    """A thinned copy, opened."""
    with Session(file) as session, Progress(session, html_page.READS, steps, "x") as progress:
        done = copy_session(Source(session, steps, progress), Path("thin.gradwatch"), largest)
    return Session("thin.gradwatch"), done.steps, done.notes


def numbers_with_gradients(session: Session) -> list[int]:
    return [view.number for view in session.steps if len(session.gradients_at(view.number))]


def test_the_page_holds_the_sessions_bytes() -> None:
    shutil.copy(GOLDEN / "seed.gradwatch", "run.gradwatch")
    page = exported("run.gradwatch")
    assert bytes_in(page) == Path("run.gradwatch").read_bytes()
    assert b"<title>run.gradwatch \xc2\xb7 gradwatch</title>" in page
    assert {path.name for path in Path().iterdir()} == {"run.gradwatch", "page.html"}


def test_nothing_in_the_page_runs_or_loads_but_what_its_policy_names() -> None:
    shutil.copy(GOLDEN / "seed.gradwatch", "run.gradwatch")
    page = exported("run.gradwatch").decode()
    policy = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert len(policy) == 1
    assert policy[0].startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-inline" not in policy[0]
    assert not re.findall(r"https?:", policy[0])
    markup = re.sub(r"<(script|style)[^>]*>.*?</\1>", "", page, flags=re.DOTALL)
    assert not re.findall(r"(?:src|href)=|\son\w+=", markup)
    assert len(re.findall(r"<script>", page)) == 1


def test_a_strangers_file_name_is_text() -> None:
    name = '"><script>alert(1)<'
    name += "b>.gradwatch"
    shutil.copy(GOLDEN / "seed.gradwatch", name)
    page = exported(name)
    assert b"<script>alert" not in page
    assert bytes_in(page) == Path(name).read_bytes()


def test_no_bundle_is_said_in_words(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(GOLDEN / "seed.gradwatch", "run.gradwatch")
    monkeypatch.setattr(html_page, "_STATIC", Path("nowhere"))
    assert cli.main(["export", "run.gradwatch", "--to", "html"]) == cli.FAILED
    assert "make page" in capsys.readouterr().err
    assert not Path("run.html").exists()


def test_a_session_above_the_limit_keeps_names_and_some_steps_details(tmp_path: Path) -> None:
    path = long_session(tmp_path / "long.gradwatch", 300, hot=(77, 201))
    size = path.stat().st_size
    session, kept, notes = copied(path, size // 2)
    with session, Session(path) as whole:
        assert Path("thin.gradwatch").stat().st_size <= size // 2
        assert session.reader.complete
        assert session.reader.verify() == []
        assert [view.number for view in session.steps] == list(range(300))
        assert session.parameters.names == whole.parameters.names
        details = numbers_with_gradients(session)
        assert len(details) == kept < 300
        assert {0, 5, 77, 201, 299} <= set(details)
        assert max(b - a for a, b in pairwise(details)) < 3 * 300 / kept + 2
        assert session.gradients_at(77).norm.tolist() == whole.gradients_at(77).norm.tolist()
        assert [len(session.graph(number).nodes) for number in details] == [3] * kept
        assert f"Of {kept} of 300 steps the details are in this page" in notes[0]


def test_steps_that_were_asked_for_are_all_there_is(tmp_path: Path) -> None:
    path = long_session(tmp_path / "long.gradwatch", 100)
    session, kept, notes = copied(path, 1 << 30, range(10, 21))
    with session:
        assert [view.number for view in session.steps] == list(range(10, 21))
        assert numbers_with_gradients(session) == list(range(10, 21))
        assert session.gradient("layers.3.weight").steps.tolist() == list(range(10, 21))
        assert kept == 11
        assert session.reader.verify() == []
    assert notes == ("Steps 10 to 20 of 100 are in this page.",)


def test_a_page_of_some_steps_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long_session(tmp_path / "long.gradwatch", 30)
    page = exported("long.gradwatch", "--steps", "3:4").decode()
    assert "Steps 3 to 4 of 30 are in this page." in page
    assert "Steps 3 to 4 of 30 are in this page." in capsys.readouterr().err


# In a browser


def chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return os.environ.get("CHROME_PATH") or next(filter(None, map(shutil.which, names)), None)


@pytest.fixture
def in_browser() -> Any:
    """Opens page.html with no network; gives what test_export_html_reader.mjs tells."""
    browser, node = chromium(), shutil.which("node")
    library = TESTS.parent / "vscode-extension" / "node_modules" / "playwright-core"
    if browser is None or node is None or not library.is_dir():
        why = "reading the page back needs Chromium, Node and vscode-extension/node_modules"
        pytest.fail(why) if MUST_RUN else pytest.skip(why)

    def read(scheme: str = "light") -> dict[str, Any]:
        command = [node, str(TESTS / "test_export_html_reader.mjs"), browser, "page.html", "page.png", scheme]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return read


@pytest.mark.parametrize(("scheme", "background"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(31, 31, 31)")])
def test_a_browser_replays_the_page_without_a_network(in_browser: Any, scheme: str, background: str) -> None:
    shutil.copy(GOLDEN / "seed.gradwatch", "run.gradwatch")
    exported("run.gradwatch")
    told = in_browser(scheme)
    assert told["errors"] == []
    assert told["requests"] == []
    assert (told["before"], told["after"]) == ("step 1", "step 0")
    assert told["background"] == background
    assert told["rows"] >= 2
    assert told["paths"] > 10
    for words in (
        "Replay step 0 of 2",
        "run.gradwatch",
        "2 parameters",
        "5 nodes",
        "held when backward began",
        "loss = y ** 2",
    ):
        assert words in told["text"]


def test_no_text_of_a_strangers_session_becomes_markup(in_browser: Any) -> None:
    nodes = [Node("AccumulateGrad", parameter=0, site=0), Node(HOSTILE, site=0), Node("SumBackward0", site=0)]
    records: list[Record] = [
        SourceFile(HOSTILE, "0" * 64, HOSTILE),
        Sites([Site(0, HOSTILE, 1, HOSTILE)]),
        Parameters([parameter(0, HOSTILE, (2,))]),
        graph(0, nodes, [(1, 0, 0, 0), (2, 0, 1, 0)], [2]),
        ledger(0, 0, [Saved(1, HOSTILE, 0, (2,), 0)], [Storage(64)]),
        backward(0, graph=0, ledger=0),
        gradients(0, {0: [1.0, float("nan")]}),
        step(0, loss=1.0),
        backward(1, graph=0, ledger=0),
        gradients(1, {0: [1.0, 2.0]}),
        step(1, loss=1.0),
    ]
    write_session(Path("run.gradwatch"), [records])
    exported("run.gradwatch")
    told = in_browser()
    assert told["errors"] == []
    assert told["title"] == "run.gradwatch · gradwatch"
    assert HOSTILE in told["text"]
