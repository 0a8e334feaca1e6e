"""%gradwatch and %%gradwatch: what they record, show and say, and that nothing of them stays."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
import torch
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import CapturedIO, capture_output
from nbclient import NotebookClient
from traitlets.config import Config

import gradwatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Run = Callable[[str], "Ran"]

SETUP = """
import torch
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
x = torch.ones(16, 4)
def train(steps):
    for _ in range(steps):
        loss = model(x).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return loss
"""


class Ran:
    """What running a cell gave."""

    def __init__(self, result: Any, captured: CapturedIO) -> None:
        self.error = result.error_before_exec or result.error_in_exec
        self.success = result.success
        self.out = re.sub(r"\x1b\[[\d;]*m", "", captured.stdout)
        self.err: str = captured.stderr
        self.shown: list[dict[str, str]] = [output.data for output in captured.outputs if output.data]

    @property
    def html(self) -> str:
        return "".join(data.get("text/html", "") for data in self.shown)

    @property
    def picture(self) -> str:
        return "".join(data.get("image/svg+xml", "") for data in self.shown)

    @property
    def text(self) -> str:
        return "\n".join(data["text/plain"] for data in self.shown if data.keys() & {"text/html", "image/svg+xml"})


@pytest.fixture(scope="module")
def one_shell() -> InteractiveShell:
    """The shell: IPython has one in a process."""
    config = Config()
    config.HistoryManager.enabled = False
    shell = InteractiveShell.instance(config=config)
    shell.colors = "nocolor"
    return shell


@pytest.fixture
def run(one_shell: InteractiveShell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Run a cell in a shell with the magics loaded and a model trained by train(steps)."""
    monkeypatch.chdir(tmp_path)
    one_shell.reset()

    def run(cell: str) -> Ran:
        with capture_output() as captured:
            result = one_shell.run_cell(cell, store_history=True)
        return Ran(result, captured)

    run(SETUP)
    run("%load_ext gradwatch")
    yield run
    run("%unload_ext gradwatch")


# Loading and unloading


def test_loading_is_silent_and_can_be_repeated(run: Run) -> None:
    again = run("%reload_ext gradwatch")
    assert (again.out, again.err, again.shown) == ("", "", [])
    assert run("%gradwatch").out.startswith("%gradwatch watch [MODEL ...]")


def test_unloading_leaves_nothing(one_shell: InteractiveShell, run: Run) -> None:
    run("%unload_ext gradwatch")
    before = everything_in(one_shell)
    assert not any("gradwatch" in name for name in before)
    run("%load_ext gradwatch")
    assert any("gradwatch" in name for name in everything_in(one_shell))
    run("%%gradwatch\ntrain(1)")
    run("%gradwatch watch model")
    scratch = list(Path(one_shell.magics_manager.registry["GradwatchMagics"]._scratch).iterdir())
    assert len(scratch) == 1
    run("%unload_ext gradwatch")
    assert everything_in(one_shell) == before
    assert not scratch[0].parent.exists()
    with gradwatch.open("run.gradwatch") as session:
        assert session.finished


def everything_in(shell: Any) -> list[str]:
    """Names of all magics, completers, hooks and parts of a shell."""
    manager = shell.magics_manager
    return [
        *sorted(f"{kind} {name}" for kind in ("line", "cell") for name in manager.magics[kind]),
        *sorted(manager.registry),
        *sorted(shell.strdispatchers["complete_command"].strs),
        *(type(part).__name__ for part in shell.configurables),
        *(repr(transformer) for transformer in shell.ast_transformers),
        repr(shell.loop_runner),
    ]


def test_without_ipython_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['IPython'] = None; import gradwatch\n"
        "gradwatch.unload_ipython_extension(None)\n"
        "try: gradwatch.load_ipython_extension(None)\n"
        "except gradwatch.GradwatchError as error: print(error)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.startswith("%load_ext gradwatch needs IPython, which is not installed.\n")
    assert out.endswith("pip install gradwatch[notebook]\n")


def test_without_torch_it_says_what_to_install(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    for module in ("gradwatch.closing", "gradwatch.capture.recorder", "gradwatch.capture.late"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    assert "UsageError: Recording needs torch, which is not installed." in run("%gradwatch watch").err
    assert "pip install torch" in run("%gradwatch held x").err


def test_the_help_stands_in_the_docstring_and_behind_each_command(run: Run) -> None:
    assert "%gradwatch held [VARIABLE]" in run("print(get_ipython().find_line_magic('gradwatch').__doc__)").out
    assert run("%gradwatch help").out == run("%gradwatch").out == run("%gradwatch --help").out
    assert "--detail {parameters,modules,nodes}" in run("%gradwatch help watch").out
    assert "usage: %gradwatch held" in run("%gradwatch held -h").out
    assert "--force" in run("%%gradwatch --help\n1/0").out


def test_commands_complete(one_shell: InteractiveShell, run: Run) -> None:
    with provisionalcompleter():
        found = [each.text for each in one_shell.Completer.completions("%gradwatch he", 13)]
    assert {"held", "help"} <= set(found)


# Why


def test_why_answers_while_it_records_and_completes_names(one_shell: InteractiveShell, run: Run) -> None:
    run("%gradwatch watch model")
    run("train(3)")
    shown = run("%gradwatch why 0.weight")
    assert "0.weight: its gradient is finite" in shown.text
    assert "its gradient is finite" in shown.html
    assert "Did you mean" in run("%gradwatch why 0.wieght").err
    run("%gradwatch stop")
    assert run("%gradwatch why").text.startswith("This session")
    with provisionalcompleter():
        found = [each.text for each in one_shell.Completer.completions("%gradwatch why 0.", 17)]
    assert any(each.endswith("weight") for each in found)


# Recording


def test_a_recording_runs_from_watch_to_stop(run: Run) -> None:
    started = run("%gradwatch watch model")
    assert "Recording model to run.gradwatch, detail modules." in started.out
    run("train(3)")
    assert "Recording to run.gradwatch, detail modules: " in run("%gradwatch status").out
    shown = run("%gradwatch show")
    assert shown.text.startswith("3 steps · loss ")
    assert "Recorded 3 steps to run.gradwatch." in run("%gradwatch stop").out
    assert "Nothing is being recorded." in run("%gradwatch status").out
    assert "run.gradwatch" in run("%gradwatch status").out
    with gradwatch.open("run.gradwatch") as session:
        assert session.parameters.names == ["0.weight", "0.bias", "2.weight", "2.bias"]
        assert {module.root for module in session.modules} == {"model"}


def test_options_reach_the_recorder(run: Run) -> None:
    run("%gradwatch watch -o 'my run.gradwatch' --detail parameters")
    run("train(1)")
    run("%gradwatch stop")
    with gradwatch.open("my run.gradwatch") as session:
        assert session.run.detail == "parameters"


def test_several_models_have_the_names_that_were_typed(run: Run) -> None:
    run("first, second = model[0], {'b': model[2]}")
    run("%gradwatch watch first second['b']")
    run("train(1)")
    run("%gradwatch stop")
    with gradwatch.open("run.gradwatch") as session:
        assert session.parameters.names[0] == "first.weight"
        assert len(session.parameters) == 4


def test_a_file_is_never_overwritten_unasked(run: Run, tmp_path: Path) -> None:
    for _ in range(2):
        run("%gradwatch watch model")
        run("%gradwatch stop")
    assert {path.name for path in tmp_path.iterdir()} == {"run.gradwatch", "run-2.gradwatch"}
    refused = run("%gradwatch watch model -o run.gradwatch")
    assert "UsageError: run.gradwatch is there already." in refused.err
    assert run("%gradwatch watch model -o run.gradwatch --force").err == ""


def test_a_recording_from_python_can_be_looked_at_and_stopped(run: Run) -> None:
    run("import gradwatch; recorder = gradwatch.watch(model, 'python.gradwatch')")
    run("train(2)")
    assert run("%gradwatch gradients").text.startswith("Gradients of parameters at step 1")
    assert "Recorded 2 steps to python.gradwatch." in run("%gradwatch stop").out


def test_reports_can_be_asked_for_by_step_and_kind(run: Run) -> None:
    run("%%gradwatch\ntrain(3)")
    assert "at step 1" in run("%gradwatch show --step 1").text
    assert "ReLU" not in run("%gradwatch gradients --kind module --sort norm").text
    assert "by op" in run("%gradwatch held --by op").text
    assert "AddmmBackward0" in run("%gradwatch graph --step 0").text
    run("%gradwatch watch model -o other.gradwatch\ntrain(1)\n%gradwatch stop")
    assert run("%gradwatch open other.gradwatch --step 0").text.startswith("1 step · ")


# Errors


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("%gradwatch bogus", "invalid choice: 'bogus'"),
        ("%gradwatch show --stepp 3", "unrecognized arguments: --stepp 3. See: %gradwatch help"),
        ("%gradwatch watch --detail all", "invalid choice: 'all'"),
        ("%gradwatch open", "the following arguments are required: FILE"),
        ("%gradwatch help bogus", "invalid choice: 'bogus'"),
        ("%gradwatch watch 'model", "a quote is not closed in: watch 'model"),
        ("%gradwatch watch modle", "There is no variable modle. Did you mean model?"),
        ("%gradwatch watch model.nothing", "model.nothing raised AttributeError: "),
        ("%gradwatch watch model[", "model[ is not a Python expression."),
        ("%gradwatch watch x", "model is a Tensor; it must be a torch.nn.Module"),
        ("%gradwatch watch -o nowhere/run.gradwatch", "nowhere"),
        ("%gradwatch stop", "Nothing is being recorded. Begin with: %gradwatch watch model"),
        ("%gradwatch show", "There is no session yet."),
        ("%gradwatch open gone.gradwatch", "There is no file gone.gradwatch."),
        ("%gradwatch open .", "There is no session in .: no file in it ends in .gradwatch."),
        ("%gradwatch panel", "There is no session yet."),
        ("%gradwatch held train", "train is of type function, not a tensor."),
        ("%gradwatch held x", "There is no graph behind x: it does not require grad."),
        ("%gradwatch graph model[0].weight", "model[0].weight is a leaf"),
        ("%gradwatch held x --step 3", "--step is of a session"),
        ("%%gradwatch --detail all\n1", "invalid choice: 'all'"),
        ("%%gradwatch modle\nran = True", "There is no variable modle."),
    ],
)
def test_wrong_use_is_one_sentence_and_no_traceback(run: Run, line: str, message: str) -> None:
    ran = run(line)
    assert ran.err.startswith("UsageError: ")
    assert message in ran.err
    assert "Traceback" not in ran.err + ran.out
    assert not ran.success
    assert "NameError" in run("ran").out


def test_what_is_no_session_is_said_so(run: Run) -> None:
    Path("text.gradwatch").write_text("no session")
    assert "text.gradwatch is not a gradwatch session" in run("%gradwatch open text.gradwatch").err


def test_an_unknown_step_names_those_that_there_are(run: Run) -> None:
    run("%%gradwatch\ntrain(3)")
    assert "UsageError: There is no step 9 in this session. It has steps 0 to 2." in run("%gradwatch show --step 9").err


def test_a_second_recording_is_refused_and_the_first_goes_on(run: Run) -> None:
    run("%gradwatch watch model")
    refused = "run.gradwatch is being recorded already. End that first: %gradwatch stop"
    assert refused in run("%gradwatch watch model").err
    assert refused in run("%%gradwatch\nran = True").err
    assert "NameError" in run("ran").out
    run("train(1)")
    assert "Recorded 1 step" in run("%gradwatch stop").out


def test_a_recording_without_a_step_says_to_train_first(run: Run) -> None:
    run("%gradwatch watch model")
    assert "no step is over yet" in run("%gradwatch show").err


# Live tensors


def test_what_a_live_tensor_holds_is_shown_with_no_recording(run: Run) -> None:
    run("loss = model(x).mean()")
    held = run("%gradwatch held loss")
    assert held.text.startswith("768 B held through loss now")
    assert "ReluBackward0" in held.text
    assert "768 B" in held.html
    assert "by dtype" in run("%gradwatch held loss --by dtype").text
    assert "Graph behind loss" in run("%gradwatch graph loss").text
    assert "held now" not in run("%gradwatch held model(x).mean()").err


def test_while_recording_a_live_tensor_has_its_modules_and_lines(run: Run) -> None:
    run("%gradwatch watch model --detail nodes")
    run("def forward():\n    return model(x).mean()\nloss = forward()")
    held = run("%gradwatch held loss").text
    assert re.search(r"In\[\d+\]:2 +return model\(x\).mean\(\)", held)
    assert "without a recorder" not in held


def test_a_local_variable_of_a_function_is_found(run: Run) -> None:
    run("def f():\n    inner = model(x).mean()\n    %gradwatch held inner")
    assert run("f()").text.startswith("768 B held through inner now")


# Cells


def test_a_cell_is_recorded_and_shown_under_it(run: Run) -> None:
    ran = run("%%gradwatch\ntrain(3)\n'value'")
    assert ran.success
    bundle = ran.shown[-1]
    assert set(bundle) == {"image/svg+xml", "text/plain"}
    assert bundle["text/plain"].startswith("3 steps · loss ")
    assert "768 B held for backward" in bundle["text/plain"]
    assert bundle["image/svg+xml"].startswith("<svg ")
    assert run("%gradwatch status").out.startswith("Nothing is being recorded.")


def test_only_the_cell_is_recorded(run: Run) -> None:
    run("train(2)")
    run("%%gradwatch -o cell.gradwatch\ntrain(3)")
    run("train(2)")
    with gradwatch.open("cell.gradwatch") as session:
        assert len(session.steps) == 3


def test_the_file_of_a_cell_is_kept_until_the_next_one(one_shell: InteractiveShell, run: Run, tmp_path: Path) -> None:
    run("%%gradwatch\ntrain(1)")
    run("%%gradwatch\ntrain(2)")
    assert run("%gradwatch show").text.startswith("2 steps")
    assert len(list(one_shell.magics_manager.registry["GradwatchMagics"]._scratch.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_cell_keeps_its_strings_its_value_and_its_number(one_shell: InteractiveShell, run: Run) -> None:
    number = one_shell.execution_count
    ran = run('%%gradwatch\ntext = """a\n   b"""\ntrain(1)\nlen(text)')
    assert one_shell.execution_count == number + 1
    assert one_shell.user_ns["text"] == "a\n   b"
    assert one_shell.user_ns["Out"][number] == 6
    assert ran.success
    assert run(f"_{number}").error is None


def test_lines_are_numbered_as_the_editor_shows_them(one_shell: InteractiveShell, run: Run) -> None:
    number = one_shell.execution_count
    ran = run("%%gradwatch -o lines.gradwatch --detail nodes\n\n\nloss = model(x).mean()\nloss.backward()")
    assert f"In[{number}]:4  loss = model(x).mean()" in ran.text
    assert f"In[{number}]:4" in ran.picture
    failed = run("%%gradwatch\n\nx = 1\n1 / 0")
    assert "----> 4 1 / 0" in failed.out


def test_an_indented_cell_runs_as_it_does_without_the_magic(run: Run) -> None:
    assert run("%%gradwatch\n    train(1)\n    y = 1").success


def test_an_error_is_shown_once_fails_the_cell_and_what_was_trained_is_shown(run: Run) -> None:
    ran = run("%%gradwatch\ntrain(2)\nraise KeyError('mine')")
    assert isinstance(ran.error, KeyError)
    assert not ran.success
    assert ran.out.count("KeyError: 'mine'") == 1
    assert ran.text.startswith("2 steps")
    assert run("%gradwatch status").out.startswith("Nothing is being recorded.")


def test_an_interrupt_ends_the_cell_and_its_recording(run: Run) -> None:
    ran = run("%%gradwatch\ntrain(1)\nraise KeyboardInterrupt")
    assert isinstance(ran.error, KeyboardInterrupt)
    assert ran.text.startswith("1 step ")


def test_a_syntax_error_is_shown_once_with_its_line(run: Run) -> None:
    ran = run("%%gradwatch\ny = 1\ndef f(:\n    pass")
    assert isinstance(ran.error, SyntaxError)
    assert (ran.out + ran.err).count("SyntaxError") == 1
    assert "line 3" in ran.out + ran.err
    assert ran.shown == []


def test_a_cell_that_awaits_is_recorded(run: Run) -> None:
    ran = run("%%gradwatch\nimport asyncio\nawait asyncio.sleep(0)\ntrain(1)\nawait asyncio.sleep(0)")
    assert ran.success
    assert ran.text.startswith("1 step ")


def test_other_magics_work_inside(run: Run) -> None:
    assert run("%%gradwatch\n%%time\ntrain(1)").text.startswith("1 step ")
    assert run("%%gradwatch\n%time train(1)").text.startswith("1 step ")
    inner = run("%%gradwatch\n%%gradwatch\ntrain(1)")
    assert "is being recorded already" in inner.err


def test_a_cell_in_which_nothing_trained_says_so(run: Run) -> None:
    ran = run("%%gradwatch\ny = 1")
    assert ran.text == (
        "Nothing trained in this cell: no backward() call was seen.\n"
        "Run the training loop in the cell. What child processes train is not seen. "
        "What a live graph holds: %gradwatch held loss"
    )
    assert "Nothing trained in this cell" in ran.picture


def test_training_in_a_cell_is_bit_identical(run: Run, one_shell: InteractiveShell) -> None:
    run(SETUP)
    run("train(3)")
    plain = [parameter.clone() for parameter in one_shell.user_ns["model"].parameters()]
    run(SETUP)
    run("%%gradwatch --detail nodes\ntrain(3)")
    recorded = list(one_shell.user_ns["model"].parameters())
    assert all(torch.equal(a, b) for a, b in zip(plain, recorded, strict=True))


# Panels


def test_without_a_notebook_a_session_is_shown_as_text_and_picture(run: Run) -> None:
    run("%gradwatch watch model")
    assert "is being recorded. No step is over yet" in run("%gradwatch panel").text
    run("train(2)")
    assert run("%gradwatch panel").text.startswith("2 steps · loss ")
    run("%gradwatch stop")
    run("%gradwatch watch model -o other.gradwatch\ntrain(1)\n%gradwatch stop")
    opened = run("%gradwatch open run.gradwatch other.gradwatch")
    assert opened.text.startswith("2 steps · loss ")
    assert "Compare: gradwatch diff run.gradwatch other.gradwatch" in opened.text
    assert "at step 0" in run("%gradwatch open run.gradwatch --step 0").text
    assert run("%gradwatch open .").text.startswith("1 step · "), "the first rank of a folder"


def test_what_cannot_be_compared_with_is_said_before_anything_is_shown(run: Run) -> None:
    run("%gradwatch watch model\ntrain(1)\n%gradwatch stop")
    refused = run("%gradwatch open run.gradwatch gone.gradwatch")
    assert "There is no file gone.gradwatch." in refused.err
    assert refused.shown == []


def test_a_notebook_without_anywidget_says_once_what_to_install(
    run: Run, one_shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_shell, "kernel", "a kernel", raising=False)
    monkeypatch.setitem(sys.modules, "anywidget", None)
    monkeypatch.delitem(sys.modules, "gradwatch.widget", raising=False)
    first, second = run("%%gradwatch\ntrain(1)"), run("%%gradwatch\ntrain(1)")
    assert "The panel in a notebook needs anywidget, which is not installed." in first.out
    assert "pip install gradwatch[notebook]" in first.out
    assert "anywidget" not in second.out
    assert second.text.startswith("1 step ")


def test_a_front_end_that_fails_costs_the_panel_only(
    run: Run, one_shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gradwatch import widget

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no comm")

    monkeypatch.setattr(one_shell, "kernel", "a kernel", raising=False)
    monkeypatch.setattr(widget, "SessionWidget", fail)
    ran = run("%%gradwatch\ntrain(2)")
    assert ran.success
    assert "The panel could not be shown: RuntimeError: no comm" in ran.out
    assert ran.text.startswith("2 steps ")


# A real notebook, on a real kernel


PAGE_OF_A_TEST = """
import pathlib, gradwatch.widget
gradwatch.widget.STATIC = pathlib.Path("page")
gradwatch.widget.STATIC.mkdir()
for name in ("widget.js", "widget.css"):
    (gradwatch.widget.STATIC / name).write_text("")
"""

WIDGET = "application/vnd.jupyter.widget-view+json"
SVG = "image/svg+xml"


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Any:
    cells = [
        f"%load_ext gradwatch{SETUP}{PAGE_OF_A_TEST}",
        "%%gradwatch --detail nodes\ntext = '''a\n  b'''\nloss = train(3)\nloss",
        "%%gradwatch\n\n1 / 0",
        "%%gradwatch\nimport asyncio\nawait asyncio.sleep(0)\ntrain(1)\n'awaited'",
        "await asyncio.sleep(0)\n'the loop goes on'",
        "loss = model(x).mean()\n%gradwatch held loss",
        "%gradwatch bogus",
        "%gradwatch watch model -o long.gradwatch\n%gradwatch panel",
        "train(2)\n%gradwatch stop",
        "%gradwatch open long.gradwatch",
        "%unload_ext gradwatch",
        "%gradwatch",
    ]
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    resources = {"metadata": {"path": str(tmp_path_factory.mktemp("notebook"))}}
    NotebookClient(made, timeout=120, kernel_name="python3", allow_errors=True, resources=resources).execute()
    return made


def outputs(notebook: Any, cell: int, kind: str) -> list[Any]:
    return [output for output in notebook.cells[cell].outputs if output.output_type == kind]


def test_a_notebook_cell_has_a_panel_its_value_and_a_picture(notebook: Any) -> None:
    panel, value, picture = notebook.cells[1].outputs
    assert set(panel.data) == {WIDGET, "text/plain"}
    assert panel.data["text/plain"].startswith("gradwatch panel of ")
    assert value.output_type == "execute_result"
    assert value.execution_count == notebook.cells[1].execution_count == 2
    assert set(picture.data) == {SVG, "text/plain"}, "a picture beside a widget in one output is never exported"
    assert picture.data["text/plain"].startswith("3 steps · loss ")
    assert re.search(r"In\[1\]:\d+ +loss = model\(x\)\.mean\(\)", picture.data["text/plain"])


def test_a_notebook_error_comes_once_with_the_lines_of_the_cell(notebook: Any) -> None:
    (error,) = outputs(notebook, 2, "error")
    traceback = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(error.traceback))
    assert error.ename == "ZeroDivisionError"
    assert "Cell In[3], line 3" in traceback
    assert "----> 3 1 / 0" in traceback


def test_where_nothing_was_trained_that_stands_in_place_of_the_panel(notebook: Any) -> None:
    (shown,) = outputs(notebook, 2, "display_data")
    assert set(shown.data) == {SVG, "text/plain"}
    assert shown.data["text/plain"].startswith("Nothing trained in this cell")


def test_a_notebook_cell_with_await_is_recorded_and_the_kernel_goes_on(notebook: Any) -> None:
    assert outputs(notebook, 3, "execute_result")[0].data["text/plain"] == "'awaited'"
    assert outputs(notebook, 3, "display_data")[-1].data["text/plain"].startswith("1 step ")
    assert outputs(notebook, 4, "execute_result")[0].data["text/plain"] == "'the loop goes on'"


def test_the_picture_under_a_panel_is_renewed_when_its_recording_ends(notebook: Any) -> None:
    panel, picture = outputs(notebook, 7, "display_data")
    assert WIDGET in panel.data
    assert picture.data["text/plain"].startswith("2 steps · loss ")


def test_a_session_is_opened_as_panel_and_picture(notebook: Any) -> None:
    panel, picture = outputs(notebook, 9, "display_data")
    assert panel.data["text/plain"] == "gradwatch panel of long.gradwatch"
    assert picture.data["text/plain"].startswith("2 steps · loss ")


def test_an_exported_notebook_shows_the_pictures(notebook: Any) -> None:
    from nbconvert import HTMLExporter

    page, _ = HTMLExporter().from_notebook_node(notebook)
    pictures = [base64.b64decode(each).decode() for each in re.findall(r"data:image/svg\+xml;base64,([^\"]+)", page)]
    ours = [each for each in pictures if "gradwatch-picture" in each]
    assert len(ours) == 5
    assert "Held for backward by line" in ours[0]


def test_a_notebook_shows_what_a_live_tensor_holds(notebook: Any) -> None:
    assert outputs(notebook, 5, "display_data")[0].data["text/plain"].startswith("768 B held through loss now")


def test_wrong_use_in_a_notebook_is_a_line_and_unloading_takes_the_magic_away(notebook: Any) -> None:
    assert outputs(notebook, 6, "error") == []
    assert outputs(notebook, 6, "stream")[0].text.startswith("UsageError: ")
    assert notebook.cells[10].outputs == []
    assert "`%gradwatch` not found" in outputs(notebook, 11, "stream")[0].text


def test_a_failing_cell_stops_a_notebook_as_it_does_without_the_magic(tmp_path: Path) -> None:
    from nbclient.exceptions import CellExecutionError

    cells = ["%load_ext gradwatch", "%%gradwatch\n1 / 0", "print('not reached')"]
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        NotebookClient(
            made, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
        ).execute()
    assert made.cells[2].outputs == []


# The ledger of cells


def test_memory_names_the_variables_and_the_cells_that_bound_them(run: Run) -> None:
    run("losses = []\nfor _ in range(3):\n    losses.append(model(x).mean())")
    told = run("%gradwatch memory").out
    row = next(line for line in told.splitlines() if line.startswith("losses"))
    assert re.search(r"In\[\d+\] +3 +12 B +3 ", row)
    run("losses = None")
    assert "losses" not in run("%gradwatch memory").out


def test_an_exception_keeps_tensors_until_they_are_released(run: Run) -> None:
    run("%gradwatch release")  # of what other tests left
    run("def fails():\n    kept = torch.zeros(1000)\n    raise ValueError('on purpose')")
    assert not run("fails()").success
    assert "keeps 1 tensor that no variable does, 3.91 KiB" in run("%gradwatch memory").out
    assert "3.91 KiB freed" in run("%gradwatch release").out
    assert "keeps" not in run("%gradwatch memory").out
    assert "nothing to release" in run("%gradwatch release").out


def test_the_ledger_listens_only_while_the_extension_is_loaded(one_shell: InteractiveShell, run: Run) -> None:
    def listeners() -> int:
        callbacks: Any = one_shell.events.callbacks
        return sum(len(callbacks[event]) for event in ("pre_run_cell", "post_run_cell"))

    loaded = listeners()
    run("%unload_ext gradwatch")
    assert listeners() == loaded - 2
    run("%load_ext gradwatch")
    assert listeners() == loaded
