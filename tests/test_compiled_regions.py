"""What a compiled node opens into: ops, counted by hand, with lines and modules, what is kept and computed again."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import torch._dynamo
from torch import Tensor, nn

import compiled_programs as programs
from compiled_programs import Waves
from gradwatch.capture import compiled_calls, compiled_graphs
from gradwatch.capture.compiled_graphs import NOT_SEEN, NOT_TOLD, OPENED
from gradwatch.capture.trace import COMPILED
from gradwatch.cli import main
from gradwatch.records import CompiledRegion, Graph

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Record
    from gradwatch import Session


@pytest.fixture(autouse=True)
def _a_fresh_compiler() -> None:
    torch._dynamo.reset()


def waves(x: Tensor) -> Tensor:
    once = x.sin()
    twice = once.cos()
    return twice.sum()


def recorded(record: Record, function: Callable[..., Tensor], *inputs: Tensor, **options: Any) -> Session:
    compiled: Any = torch.compile(function, backend="aot_eager")
    return record(lambda: compiled(*inputs).backward(), **options)


def node_of(session: Session) -> Any:
    (node,) = [node for node in session.graph(0).nodes if node.label is not None]
    return node


def region_of(session: Session) -> Any:
    return node_of(session).region


def test_the_ops_of_a_small_function_are_those_counted_by_hand(record: Record) -> None:
    session = recorded(record, waves, torch.rand(5, requires_grad=True))
    region = region_of(session)
    assert [op.target for op in region.forward] == ["aten.sin.default", "aten.cos.default", "aten.sum.default"]
    assert [op.target for op in region.backward] == [
        "aten.expand.default",  # of the sum
        "aten.sin.default",  # once again, so that nothing but the input is kept
        "aten.sin.default",  # of the cosine
        "aten.neg.default",
        "aten.mul.Tensor",
        "aten.cos.default",  # of the sine
        "aten.mul.Tensor",
    ]
    assert [(op.target, op.shape, op.dtype) for op in region.saved] == [("input", (5,), "float32")]
    assert [(op.name, op.forward_op.name) for op in region.recomputed] == [("sin", "sin")]
    assert session.held(0).by("class") == [("input", 5 * 4)]


def test_ops_know_their_lines_and_what_they_use(record: Record) -> None:
    region = region_of(recorded(record, waves, torch.rand(5, requires_grad=True)))
    first = waves.__code__.co_firstlineno
    assert [int(op.line.rpartition(":")[2]) - first for op in region.forward] == [1, 2, 3]
    by_name = {op.name: op for op in region.backward}
    assert int(by_name["cos_1"].line.rpartition(":")[2]) - first == 1  # the derivative of the sine
    assert [op.name for op in by_name["mul"].uses] == ["expand", "neg"]
    assert all(op.line == op.project_line for op in region.ops)


def test_ops_know_their_modules_and_those_outside_of_any_belong_to_the_compiled_one(record: Record) -> None:
    model = Waves()
    compiled: Any = torch.compile(model, backend="aot_eager")
    session = record(lambda: compiled(torch.rand(3, 4)).sum().backward(), {"net": model})
    modules = {op.target: op.module for op in region_of(session).forward}
    assert modules["aten.relu.default"] == "inner.0"
    assert modules["aten.sin.default"] == "net"
    assert {op.module for op in region_of(session).backward} >= {"first", "inner.0", "last", "net"}


def test_a_function_that_calls_a_watched_model_knows_its_modules(record: Record) -> None:
    model = Waves()
    session = recorded(record, lambda x: model(x).sum(), torch.rand(3, 4), model=model)
    assert {"first", "inner.0", "last"} <= {op.module for op in region_of(session).ops}


def test_what_is_kept_is_what_the_ledger_holds(record: Record) -> None:
    model = Waves()
    session = recorded(record, lambda x: model(x).sum(), torch.rand(3, 4), model=model)
    node = node_of(session)
    kept = sorted((op.shape, op.dtype) for op in node.region.saved)
    assert kept == sorted((each.shape, each.dtype) for each in node.saved)


def test_a_region_stands_before_the_first_graph_that_refers_to_it_and_once(record: Record) -> None:
    model = Waves()
    compiled: Any = torch.compile(model, backend="aot_eager")
    session = record(lambda: [compiled(torch.rand(3, 4)).sum().backward() for _ in range(3)], model)
    assert [region.id for region in session.reader.records(CompiledRegion)] == [0]
    assert all(label.region == 0 for graph in session.reader.records(Graph) for label in graph.labels)


def test_what_was_compiled_before_the_recording_says_so(record: Record) -> None:
    model = Waves()
    compiled: Any = torch.compile(model, backend="aot_eager")
    compiled(torch.rand(3, 4)).sum().backward()
    session = record(lambda: compiled(torch.rand(3, 4)).sum().backward(), model)
    node = node_of(session)
    assert (node.label.label, node.label.text, node.region) == ("compiled", NOT_SEEN, None)
    assert node.module == "model"
    assert node.saved


def test_a_torch_that_does_not_show_its_graphs_is_told(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_graphs, "_PARTITION", "absent")
    session = recorded(record, waves, torch.rand(5, requires_grad=True))
    node = node_of(session)
    assert (node.label.text, node.region) == (NOT_TOLD, None)


def test_a_graph_that_cannot_be_read_costs_the_program_nothing(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_graphs, "region_record", lambda *_: 1 / 0)
    x = torch.rand(5, requires_grad=True)
    session = recorded(record, waves, x)
    assert x.grad is not None
    assert [notice.probe for notice in session.notices if notice.text != COMPILED] == ["compiled region"]


def test_a_wrapper_is_no_module_of_the_program(record: Record) -> None:
    model = Waves()
    compiled: Any = torch.compile(model, backend="aot_eager")
    session = record(lambda: compiled(torch.rand(3, 4)).sum().backward(), model)
    assert {module.class_name for module in session.modules} == {"Waves", "Linear", "Sequential", "ReLU", "Dropout"}
    assert session.modules[0].name == "model"


def test_global_hooks_of_the_program_keep_their_order_around_a_compilation(record: Record) -> None:
    compiled: Any = torch.compile(Waves(), backend="eager")
    table: Any = vars(nn.modules.module)["_global_forward_hooks"]
    keys: list[list[int]] = []

    def program() -> None:
        own = nn.modules.module.register_module_forward_hook(lambda *_: None)
        keys.append(list(table))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own, of the program's own hook
            compiled(torch.rand(3, 4)).sum().backward()
        keys.append(list(table))
        own.remove()

    record(program)
    before, after = keys
    assert len(before) == 2
    assert after == before


def test_stop_gives_back_what_stood_in(record: Record) -> None:
    from torch._dynamo.callback import callback_handler

    asked = nn.modules.module._has_any_global_hook
    partition = graph_compile()._aot_stage2a_partition
    seen: list[bool] = []

    def program() -> None:
        seen.append("run_start_callbacks" in vars(callback_handler))
        compiled: Any = torch.compile(waves, backend="aot_eager")
        compiled(torch.rand(5, requires_grad=True)).backward()

    record(program)
    assert seen == [True]
    assert "run_start_callbacks" not in vars(callback_handler)
    assert "run_end_callbacks" not in vars(callback_handler)
    assert nn.modules.module._has_any_global_hook is asked
    assert graph_compile()._aot_stage2a_partition is partition


def graph_compile() -> Any:
    from torch._functorch._aot_autograd import graph_compile

    return graph_compile


def test_where_nothing_tells_of_compilations_join_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        def compiling_began(self) -> None: ...

        def compiling_ended(self) -> None: ...

    monkeypatch.setattr(sys.modules["torch._dynamo.callback"], "callback_handler", object())
    watcher = Silent()
    assert compiled_calls.join(watcher) == "this torch does not tell when it compiles"
    compiled_calls.leave(watcher)


LATE = """
    import sys
    import torch, gradwatch

    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Tanh())
    own = torch.compile
    with gradwatch.watch(model, sys.argv[1]):
        assert "torch._dynamo" not in sys.modules
        def loss(x):
            return model(x).sin().sum()
        compiled = torch.compile(loss, backend="aot_eager")
        assert torch.compile is own
        compiled(torch.ones(2, 3)).backward()
    from torch._dynamo.utils import counters
    before = dict(counters["stats"])
    compiled(torch.ones(2, 3)).backward()
    assert dict(counters["stats"]) == before, (before, counters["stats"])
"""


def test_a_program_that_first_compiles_while_recorded_opens_and_is_not_compiled_again(tmp_path: Path) -> None:
    program = tmp_path / "late.py"
    program.write_text(textwrap.dedent(LATE))
    path = tmp_path / "late.gradwatch"
    done = subprocess.run([sys.executable, program, path], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    from gradwatch import open as open_session

    with open_session(path) as session:
        node = node_of(session)
        assert node.label.text == OPENED
        assert "0" in {op.module for op in node.region.ops}


def test_the_graph_report_lists_a_region_by_line(record: Record, capsys: pytest.CaptureFixture[str]) -> None:
    session = recorded(record, waves, torch.rand(5, requires_grad=True))
    assert main(["graph", str(session.path)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "by aot_eager: 3 ops forward, 7 backward · 1 result kept for backward, 1 op recomputed" in text
    assert "once = x.sin()" in text
    assert main(["graph", str(session.path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    (region,) = report["regions"]
    assert [node["region"] for node in report["nodes"] if node["label"]] == [region["region"]]
    assert [line["recomputed"] for line in region["lines"]] == [["sin"], [], []]
    assert [op["name"] for op in region["ops"] if op["saved"]] == ["primals_1"]
    assert np.all([op["forward_op"] is not None for op in region["ops"] if op["recomputed"]])


def test_programs_are_what_their_names_say() -> None:
    counts = {make.__name__: programs.train(make).compiles for make in (programs.wrapped, programs.broken)}
    assert counts == {"wrapped": 1, "broken": 2}
