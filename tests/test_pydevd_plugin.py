"""Tensors in the Variables pane: the line that is shown, what unfolds under it, and both in the real debugger."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn

from dap_client import DebugAdapter, line_of
from gradwatch.capture import variable_text
from gradwatch.capture.stop_history import history
from gradwatch.capture.variable_text import children, describe

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent

PROGRAM = """\
import torch

class Own(torch.Tensor):
    def __repr__(self, *arguments, **options):
        return "its own words"

weight = torch.nn.Parameter(torch.ones(3, 4))
loss = (weight * 2).sum()
own = torch.ones(2).as_subclass(Own)
loss.backward()
print("here")  # stop
"""


# The line


def test_a_parameter_shows_its_gradients_norm_and_maximum() -> None:
    weight = nn.Parameter(torch.zeros(2, 2))
    assert describe(weight) == "Parameter [2, 2] float32 cpu | grad None"
    weight.grad = torch.tensor([[3.0, 0.0], [0.0, -4.0]])
    assert describe(weight) == "Parameter [2, 2] float32 cpu | grad norm 5 max 4"
    weight.grad[0, 1] = float("nan")
    assert describe(weight) == "Parameter [2, 2] float32 cpu | grad norm 5 max 4 NaN 1"
    weight.grad[:] = float("inf")
    assert describe(weight) == "Parameter [2, 2] float32 cpu | grad Inf 4"


@pytest.mark.parametrize(
    ("tensor", "line"),
    [
        (torch.tensor(2.5), "Tensor [] float32 cpu = 2.5"),
        (torch.tensor([1, 2]), "Tensor [2] int64 cpu = [1, 2]"),
        (torch.tensor([True]), "Tensor [1] bool cpu = [True]"),
        (torch.ones(3, 3), "Tensor [3, 3] float32 cpu | norm 3 max 1"),
        (torch.ones(2, requires_grad=True) * 2, "Tensor [2] float32 cpu = [2, 2] | MulBackward0"),
        (torch.empty(0, 3), "Tensor [0, 3] float32 cpu | empty"),
        (torch.empty(3, device="meta"), "Tensor [3] float32 meta"),
        (torch.eye(5).to_sparse(), "Tensor [5, 5] float32 cpu sparse_coo"),
    ],
    ids=["scalar", "few", "bool", "plain", "grad_fn", "empty", "meta", "sparse"],
)
def test_every_kind_of_tensor_has_its_line(tensor: Tensor, line: str) -> None:
    assert describe(tensor) == line


def test_of_a_large_tensor_a_sample_is_read_and_marked() -> None:
    tensor = torch.full((1000, 1000), 2.0)
    assert describe(tensor) == "Tensor [1000, 1000] float32 cpu | norm ~2000 max ≥2"
    assert describe(tensor.t()) == describe(tensor)
    with_holes = torch.full((1000, 2000), 2.0)[:, ::2]
    assert describe(with_holes) == describe(tensor)
    nan = describe(torch.full((1000, 1000), float("nan")))
    assert nan == "Tensor [1000, 1000] float32 cpu | NaN ~1,000,000"


def test_an_expanded_tensor_is_read_once() -> None:
    assert describe(torch.ones(10).expand(10**6, 10)) == "Tensor [1000000, 10] float32 cpu | norm 3162 max 1"


def test_what_is_read_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    rows: Any = variable_text._local.rows
    add = rows.add
    monkeypatch.setattr(rows, "add", lambda tensor: read.append(tensor.numel()) or add(tensor))
    for tensor in (torch.zeros(3000, 3000), torch.zeros(3000, 3000)[:, ::3], torch.zeros(3, 400_000)[:, 1:]):
        describe(tensor)
    assert max(read) <= variable_text.RUNS * variable_text.RUN


def test_on_a_device_nothing_is_read_but_what_a_stop_has_read(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = nn.Parameter(torch.zeros(3))
    weight.grad = torch.ones(3)
    monkeypatch.setattr(variable_text, "_can_be_read", lambda _: False)
    assert describe(weight) == "Parameter [3] float32 cpu | grad not read"
    history.begin(object())
    history.note(weight, weight.grad, 1.732, (0, 0, 0, 0))
    assert describe(weight) == "Parameter [3] float32 cpu | grad norm 1.732"
    weight.grad.add_(1)
    assert describe(weight) == "Parameter [3] float32 cpu | grad not read"


def test_the_programs_modes_see_nothing_of_it() -> None:
    from torch.overrides import TorchFunctionMode
    from torch.utils._python_dispatch import TorchDispatchMode

    seen: list[object] = []

    class Functions(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
            seen.append(function)
            return function(*arguments, **(options or {}))

    class Dispatch(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
            seen.append(function)
            return function(*arguments, **(options or {}))

    tensors = [torch.ones(3), torch.ones(600, 600), torch.ones(600, 900)[:, ::2], nn.Parameter(torch.ones(3, 3))]
    with Functions(), Dispatch():
        for tensor in tensors:
            assert describe(tensor)
            assert list(children(tensor))
    assert seen == []


def test_a_functorch_wrapper_and_a_subclass_keep_their_own_repr() -> None:
    lines: list[str | None] = []
    torch.func.grad(lambda x: (lines.append(describe(x)), x.sum())[1])(torch.ones(3))

    class Own(Tensor):
        pass

    lines.append(describe(torch.ones(2).as_subclass(Own)))
    assert lines == [None, None]


def test_the_children_are_the_few_that_help() -> None:
    tensor = torch.arange(200.0).reshape(2, 10, 10).requires_grad_()
    found = {name: (value, expression) for name, value, expression in children(tensor)}
    assert list(found) == ["shape", "dtype", "device", "requires_grad", "grad", "grad_fn", "values[:8]"]
    assert found["shape"] == ((2, 10, 10), ".shape")
    values: Any = found["values[:8]"][0]
    assert (len(values), values[1][:3]) == (8, [10, 11, 12])


# The plugin


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The plugin as pydevd loads it, in this process, without a debugger."""
    from importlib import util

    place = util.find_spec("debugpy")
    assert place
    assert place.origin
    pydevd = Path(place.origin).parent / "_vendored" / "pydevd"
    monkeypatch.syspath_prepend(str(pydevd))
    before = set(sys.modules)
    file = ROOT / "kernel_ext" / "pydevd_plugins" / "extensions" / "pydevd_plugin_gradwatch.py"
    spec = util.spec_from_file_location("plugin_under_test", file)
    assert spec
    assert spec.loader
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    for name in set(sys.modules) - before:
        if name.startswith(("_pydev", "pydevd")):
            del sys.modules[name]


def test_plain_tensors_and_parameters_alone_are_taken(plugin: Any) -> None:
    class Own(Tensor):
        pass

    text = plugin.TensorText()
    assert [text.can_provide(kind, "") for kind in (Tensor, nn.Parameter, Own, int)] == [True, True, False, False]


def test_while_torch_is_being_imported_nothing_is_taken(plugin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.__spec__, "_initializing", True, raising=False)
    assert not plugin.TensorText().can_provide(Tensor, "Tensor")


@pytest.mark.filterwarnings("ignore:The use of `x.T`")  # pydevd reads every attribute then, as without us
def test_what_fails_gives_way_to_the_plain_repr(plugin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> str:
        raise RuntimeError("on purpose")

    monkeypatch.setattr(variable_text, "describe", fail)
    monkeypatch.setattr(variable_text, "children", fail)
    assert plugin.TensorText().get_str(torch.ones(2)) is None
    assert "is_leaf" in [
        name for name, *_ in plugin.TensorChildren().get_contents_debug_adapter_protocol(torch.ones(2))
    ]


def test_clipboard_and_console_keep_the_plain_repr(plugin: Any) -> None:
    text = plugin.TensorText()
    assert text.get_str_in_context(torch.ones(2), "repl") is None
    assert text.get_str_in_context(torch.ones(2), "clipboard") is None
    assert text.get_str_in_context(torch.tensor(1.0), "hover") == "Tensor [] float32 cpu = 1"


def test_it_loads_neither_torch_nor_gradwatch_by_itself() -> None:
    script = (
        "import debugpy._vendored.force_pydevd, sys\n"
        "from _pydevd_bundle.pydevd_extension_utils import extensions_of_type\n"
        "from _pydevd_bundle.pydevd_extension_api import StrPresentationProvider\n"
        "found = [type(each).__name__ for each in extensions_of_type(StrPresentationProvider)]\n"
        "print('TensorText' in found, 'torch' in sys.modules, 'gradwatch' in sys.modules)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "kernel_ext")}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "True False False\n"


def test_the_debugger_shows_the_line_and_the_children(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    with DebugAdapter() as adapter:
        adapter.launch(program, {program: [line_of(program, "stop")]})
        stopped = adapter.stopped()
        scope = adapter.request("scopes", frameId=stopped.frame)["scopes"][0]
        shown = adapter.request("variables", variablesReference=scope["variablesReference"])["variables"]
        variables = {each["name"]: each for each in shown}
        assert variables["weight"]["value"] == "Parameter [3, 4] float32 cpu | grad norm 6.928 max 2"
        assert variables["loss"]["value"] == "Tensor [] float32 cpu = 24 | SumBackward0"
        assert variables["own"]["value"] == "its own words"
        reference = variables["weight"]["variablesReference"]
        unfolded = adapter.request("variables", variablesReference=reference)["variables"]
        assert [each["name"] for each in unfolded][:5] == ["shape", "dtype", "device", "requires_grad", "grad"]
        assert unfolded[4]["evaluateName"] == "weight.grad"
        assert unfolded[4]["value"] == "Tensor [3, 4] float32 cpu | norm 6.928 max 2"
        plain = adapter.request("evaluate", expression="weight", frameId=stopped.frame, context="clipboard")["result"]
        assert plain.startswith("Parameter containing:\ntensor(")


def test_the_wheel_carries_it_beside_the_package() -> None:
    from hatchling.builders.wheel import WheelBuilder

    files = [each.distribution_path for each in WheelBuilder(str(ROOT)).recurse_included_files()]
    plugin = [name for name in files if name.startswith("pydevd_plugins")]
    assert plugin == ["pydevd_plugins/extensions/pydevd_plugin_gradwatch.py"]  # no __init__.py: it is pydevd's package
