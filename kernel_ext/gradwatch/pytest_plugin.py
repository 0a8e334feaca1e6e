"""The pytest plugin: a test records what it trains, and a failed one says where its session file is.

Loaded by every pytest that finds gradwatch installed, so it imports nothing but pytest. torch loads when a test
records.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from typing_extensions import Self

    from gradwatch import Recorder, Session
    from gradwatch.expectations import Expectation

    GradwatchSession = Callable[..., "Recording"]

_RECORDED = pytest.StashKey["list[Recording]"]()
_FAILED = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gradwatch")
    group.addoption(
        "--gradwatch-dir",
        metavar="DIR",
        help="where to copy the session files of failed tests to, such as what CI keeps (default: left in tmp_path)",
    )


class Recording:
    """One recording of a test: enter it to record, then ask it. `path` is its session file."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    @property
    def path(self) -> Path:
        return self.recorder.path

    def expect(self) -> Expectation:
        """Expect something of what was recorded so far: `gradwatch.expect` of this recording."""
        from gradwatch.expectations import expect  # noqa: PLC0415 # nothing heavy loads before a test asks

        return expect(self.recorder)

    def open(self) -> Session:
        """Open what was recorded so far. Close it, or use it in a `with` block."""
        from gradwatch.opening import open as open_session  # noqa: PLC0415 # as above

        self.recorder.flush()
        return open_session(self.path)

    def stop(self) -> None:
        """End the recording. Leaving its block does this too."""
        self.recorder.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:  # noqa: PYI036 # handed on
        self.recorder.__exit__(*error)

    def __repr__(self) -> str:
        return f"<gradwatch recording {self.path}>"


@pytest.fixture
def gradwatch_session(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GradwatchSession]:
    """Record what a block trains.

        with gradwatch_session(model) as recording:
            train(model)
        recording.expect().gradients_reach("encoder.*").no_nonfinite()

    The arguments are those of `gradwatch.watch`, without the path: the file is in tmp_path, and stays there when the
    test fails.
    """
    item: pytest.Item = request.node
    recorded = item.stash.setdefault(_RECORDED, [])

    def record(model: Any = None, **options: Any) -> Recording:
        import gradwatch  # noqa: PLC0415 # torch loads here

        path = tmp_path / ("run.gradwatch" if not recorded else f"run{len(recorded) + 1}.gradwatch")
        recorded.append(Recording(gradwatch.watch(model, path, **options)))
        return recorded[-1]

    yield record
    for recording in recorded:
        recording.stop()
        if not item.stash.get(_FAILED, False):
            recording.path.unlink(missing_ok=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    recorded = item.stash.get(_RECORDED, None)
    if report.failed and recorded:
        item.stash[_FAILED] = True
        paths = [_kept(recording, item) for recording in recorded]
        report.sections.append(("gradwatch", "\n".join(f"gradwatch show {path}" for path in paths)))
    return report


def _kept(recording: Recording, item: pytest.Item) -> Path:
    """Where the file of a failed test is: copied to --gradwatch-dir, if that is given."""
    folder = item.config.getoption("--gradwatch-dir")
    if folder is None:
        return recording.path
    recording.stop()
    test = re.sub(r"[^\w.=-]+", "-", item.nodeid).strip("-")
    target = Path(folder) / f"{test}.{recording.path.name}"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(recording.path, target)
    return target
