"""The pytest plugin: it costs nothing where it is not used, and a failed test keeps its session and says where."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

import gradwatch

pytest_plugins = ["pytester"]

PACKAGE = Path(gradwatch.__file__).parent

PROGRAM = """
import torch
from torch import nn

def train(model, steps=2):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(steps):
        model(torch.ones(3, 4)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("PYTHONPATH", str(PACKAGE.parent))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # so that the plugin loads once, however it is installed
    return Run(pytester)


class Run:
    """Runs a test file in a pytest of its own, with the plugin."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self._pytester = pytester
        self.folder = pytester.path

    def __call__(self, test: str, *options: str) -> pytest.RunResult:
        self._pytester.makepyfile(PROGRAM + test)
        return self.file("--basetemp=temp", *options)

    def file(self, *options: str) -> pytest.RunResult:
        return self._pytester.runpytest_subprocess("-p", "gradwatch.pytest_plugin", *options)

    def sessions(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "temp").rglob("*.gradwatch"))


PASSES = """
def test_all_is_reached(gradwatch_session):
    model = net()
    with gradwatch_session(model) as recording:
        train(model)
    recording.expect().gradients_reach("*").no_nonfinite().same_gradients_as(recording.path, rtol=0, atol=0)
    with recording.open() as session:
        assert len(session.steps) == 2
"""

FAILS = """
def test_all_is_reached(gradwatch_session):
    model = net()
    with gradwatch_session(model) as recording:
        train(model[:2])
    recording.expect().gradients_reach("*")
"""


def test_a_test_that_passes_leaves_no_session(run: Run) -> None:
    result = run(PASSES)
    result.assert_outcomes(passed=1)
    assert run.sessions() == []
    assert "gradwatch show" not in result.stdout.str()


def test_a_failed_expectation_keeps_the_session_and_says_where(run: Run) -> None:
    result = run(FAILS)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            ">   *recording.expect().gradients_reach(*",
            "E   *ExpectationFailed: Gradients do not reach 2 of 4 parameters that match '*'.",
            "E         model.2.weight: no gradient in 2 steps",
            "E         model.2.bias: no gradient in 2 steps",
            "*- gradwatch -*",
            "gradwatch show *run.gradwatch",
        ]
    )
    assert "expectations.py" not in result.stdout.str()
    shown = re.findall(r"^gradwatch show (.*)$", result.stdout.str(), re.MULTILINE)
    assert len(shown) == 1
    with gradwatch.open(shown[0]) as session:
        assert len(session.steps) == 2


def test_any_failure_keeps_the_session_also_one_inside_the_block(run: Run) -> None:
    result = run(
        """
def test_training_breaks(gradwatch_session):
    model = net()
    with gradwatch_session(model):
        train(model)
        assert 1 == 2

def test_two_recordings(gradwatch_session):
    model = net()
    for _ in range(2):
        with gradwatch_session(model, detail="nodes"):
            train(model)
    assert 1 == 2
"""
    )
    result.assert_outcomes(failed=2)
    assert run.sessions() == ["run.gradwatch", "run.gradwatch", "run2.gradwatch"]
    assert result.stdout.str().count("gradwatch show ") == 3


def test_a_recording_without_a_block_ends_with_its_test(run: Run) -> None:
    result = run(
        """
def test_without_a_block(gradwatch_session):
    model = net()
    recording = gradwatch_session(model)
    train(model)
    recording.stop()
    recording.expect().gradients_reach("*")
    gradwatch_session(model)

def test_the_next_can_record(gradwatch_session):
    with gradwatch_session(net()) as recording:
        pass
    assert recording.path.exists()
"""
    )
    result.assert_outcomes(passed=2)


def test_failed_tests_sessions_are_copied_to_a_folder_for_ci(run: Run) -> None:
    file = "test_failed_tests_sessions_are_copied_to_a_folder_for_ci"
    run(FAILS, "--gradwatch-dir=kept/sessions", "--override-ini=tmp_path_retention_policy=none").assert_outcomes(
        failed=1
    )
    kept = [path.name for path in (run.folder / "kept" / "sessions").iterdir()]
    assert kept == [f"{file}.py-test_all_is_reached.run.gradwatch"]
    with gradwatch.open(run.folder / "kept" / "sessions" / kept[0]) as session:
        assert session.finish is not None


def test_the_plugin_loads_nothing_heavy(run: Run) -> None:
    run.folder.joinpath("test_light.py").write_text(
        "import sys\n\ndef test_light():\n"
        "    assert 'gradwatch.pytest_plugin' in sys.modules\n"
        "    assert not {'torch', 'numpy', 'msgspec', 'mcap'} & set(sys.modules)\n"
    )
    run.file("test_light.py").assert_outcomes(passed=1)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib")
def test_pytest_finds_the_plugin_where_gradwatch_is_installed() -> None:
    import tomllib

    project = tomllib.loads((PACKAGE.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"gradwatch": "gradwatch.pytest_plugin"}
