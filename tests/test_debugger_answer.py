"""The door for debuggers: whatever is asked, and wherever, one JSON text comes back."""

from __future__ import annotations

import json
import subprocess
import sys
from textwrap import dedent
from typing import Any

import pytest
import torch
from torch import nn

from debugger_questions import Answer, failure, read, snapshot
from gradwatch.debugger import answer
from gradwatch.errors import UsageError
from gradwatch.json_records import record_from, to_json
from gradwatch.records import Column, Condition, Snapshot, Subject


def run(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", dedent(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("request_text", "words"),
    [
        ("{", "the request is not JSON"),
        ("[]", "must be a JSON object"),
        ('{"question": "why"}', "'why' is not known. Ask one of: snapshot"),
        ("{}", "None is not known"),
        ('{"question": "snapshot", "budget_ms": "soon"}', "budget_ms is 'soon'"),
        ('{"question": "snapshot", "budget_ms": -1}', "budget_ms is -1"),
        ('{"question": "snapshot", "budget_ms": true}', "budget_ms is True"),
        ('{"question": "snapshot", "parts": ["everything"]}', "parts is ['everything']"),
        ('{"question": "snapshot", "parts": "graph"}', "parts is 'graph'"),
        ('{"question": "snapshot", "parts": [["graph"]]}', "parts is [['graph']]"),
        ('{"question": "snapshot", "root": 3}', "root is 3"),
        ('{"question": "snapshot", "frame": "main"}', "frame is 'main'"),
        ('{"question": "conditions", "conditions": {}}', "conditions must be a list"),
        ('{"question": "conditions", "conditions": [{"id": "x", "kind": "node"}]}', "Condition.id is 'x'"),
    ],
)
def test_a_question_that_makes_no_sense_is_answered_in_words(request_text: str, words: str) -> None:
    found = failure(answer(request_text))
    assert words in found.message
    assert found.error == "UsageError"
    assert found.traceback == ""


def test_no_text_at_all_is_answered_too() -> None:
    no_text: Any = None
    assert "a NoneType" in failure(answer(no_text)).message


def test_an_unknown_root_is_answered_with_the_way_out() -> None:
    loss = torch.ones(2, requires_grad=True).sum()
    assert read(answer(snapshot())).root == "loss"
    assert "'losss' is no tensor with a graph" in failure(answer(snapshot(root="losss"))).message
    assert loss.item() == 2


def test_a_failure_of_ours_carries_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Any) -> Snapshot:
        raise RuntimeError("of ours")

    monkeypatch.setattr("gradwatch.capture.stop.snapshot", broken)
    found = failure(answer(snapshot()))
    assert (found.error, found.message) == ("RuntimeError", "of ours")
    assert "in broken" in found.traceback


def test_without_torch_the_program_stays_without_it_and_nothing_heavy_is_loaded() -> None:
    out = run("""
        import sys, json
        from gradwatch.debugger import answer
        def count(words):
            return answer('{"question": "snapshot"}')
        found = json.loads(count([1]))["value"]
        assert found["state"] == "no torch", found
        assert found["stop"]["function"] == "count"
        print(sorted({"torch", "numpy", "msgspec", "mcap"} & set(sys.modules)))
        print(json.loads(answer('{"question": "values"}'))["value"]["message"])
        print(answer('{"question": "enough"}'), answer('{"question": "detach"}'))
    """)
    lines = out.splitlines()
    assert lines[0] == "[]"
    assert "torch is not loaded" in lines[1]
    assert lines[2] == '{"kind":"Conditions","value":[]} {"kind":"Conditions","value":[]}'


def test_a_stop_inside_import_torch_counts_as_without() -> None:
    out = run("""
        import sys, json, types
        from importlib.machinery import ModuleSpec
        half = sys.modules["torch"] = types.ModuleType("torch")
        half.__spec__ = ModuleSpec("torch", None)
        half.__spec__._initializing = True
        from gradwatch.debugger import answer
        print(json.loads(answer('{"question": "snapshot"}'))["value"]["state"])
    """)
    assert out == "no torch"


def test_torch_and_numpy_are_all_it_needs() -> None:
    out = run("""
        import sys
        for name in ("msgspec", "mcap", "zstandard", "rich", "IPython"):
            sys.modules[name] = None
        import json, torch
        from gradwatch.debugger import answer
        model = torch.nn.Linear(2, 1)
        loss = model(torch.ones(3, 2)).sum()
        found = json.loads(answer('{"question": "snapshot"}'))
        print(found["kind"], found["value"]["state"], found["value"]["graph"]["node_count"] > 3)
    """)
    assert out == "Snapshot ready True"


def test_enough_ends_an_answer_that_is_being_made(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Linear(2, 2)
    model(torch.ones(1, 2)).sum().backward()
    from gradwatch.capture.stop_gradients import GradientReader

    read_gradients = GradientReader.read

    def called_off(*arguments: Any, **options: Any) -> Any:
        assert json.loads(answer('{"question": "enough"}'))["kind"] == "Conditions"
        return read_gradients(*arguments, **options)

    monkeypatch.setattr(GradientReader, "read", called_off)
    found = read(answer(snapshot()))
    assert found.states == {"model.weight": "unread", "model.bias": "unread"}
    assert found.missing("gradients") == "the time budget ended"
    monkeypatch.undo()
    assert read(answer(snapshot())).states == {"model.weight": "present", "model.bias": "present"}


def stopped_in(depth: int, weight: torch.Tensor, where: dict[str, Any]) -> Answer:
    mine = weight * depth
    if depth:
        return stopped_in(depth - 1, weight, where)
    up = where.pop("up", 0)
    question = snapshot(**where)
    assert mine.numel() == 1
    # As pydevd does: globals and locals of the frame in one dictionary.
    frame = sys._getframe(up)
    expression = f"__import__('gradwatch.debugger').debugger.answer({question!r})"
    return read(evaluate_like_pydevd(expression, {**frame.f_globals, **frame.f_locals, "globals": globals}))


def pydevd_s_evaluate() -> Any:
    """A function that evaluates as pydevd's does, in a file named like its own."""
    namespace: dict[str, Any] = {}
    text = "def evaluate(code, names):\n    return eval(code, names)\n"
    exec(compile(text, "/x/_pydevd_bundle/pydevd_vars.py", "exec"), namespace)
    return namespace["evaluate"]


evaluate_like_pydevd = pydevd_s_evaluate()


def test_the_stopped_frame_is_found_behind_a_debugger_s_evaluation() -> None:
    found = stopped_in(0, torch.ones(1, requires_grad=True), {})
    assert found.record.stop.function == "stopped_in"
    assert {"mine", "weight"} <= set(found.variables)
    assert "answer" not in found.variables


def test_of_a_recursion_the_frame_is_the_one_that_was_asked() -> None:
    weight = torch.ones(1, requires_grad=True)
    line = stopped_in.__code__.co_firstlineno + 3
    where = {"frame": {"file": "/elsewhere/test_debugger_answer.py", "line": line, "function": "stopped_in"}}
    found = stopped_in(3, weight, {**where, "up": 2})
    assert found.variables["mine"].number == "2"
    assert found.record.stop.line == line


def test_a_frame_that_cannot_be_found_falls_back_to_the_innermost() -> None:
    where = {"frame": {"file": "other.py", "line": 3, "function": "main"}}
    assert stopped_in(0, torch.ones(1, requires_grad=True), where).record.stop.function == "stopped_in"


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="reading locals leaves nothing behind there")
def test_a_frame_s_variables_are_not_kept_alive() -> None:
    import weakref

    def look() -> weakref.ref[torch.Tensor]:
        tensor = torch.ones(3, requires_grad=True)
        assert "tensor" in read(answer(snapshot())).variables
        ref = weakref.ref(tensor)
        del tensor
        return ref

    assert look()() is None


def test_finalizers_of_the_program_do_not_run_while_it_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    import gc

    seen: list[bool] = []
    monkeypatch.setattr("gradwatch.capture.stop.snapshot", lambda _: seen.append(gc.isenabled()))
    answer(snapshot())
    assert (seen, gc.isenabled()) == ([False], True)
    gc.disable()
    try:
        answer(snapshot())
        assert not gc.isenabled()  # the program's own choice
    finally:
        gc.enable()


def test_what_an_answer_cost_is_told_by_part() -> None:
    loss = nn.Linear(2, 2)(torch.ones(1, 2)).sum()
    cost = read(answer(snapshot())).record.cost_ms
    assert set(cost) == {"json", "scope", "graph", "held", "gradients", "findings"}
    assert min(cost.values()) > 0
    del loss


def test_of_records_that_come_by_the_thousand_what_says_nothing_is_left_out() -> None:
    model = nn.Linear(2, 2)
    (weight, _) = json.loads(answer(snapshot()))["value"]["parameters"]
    assert "aliases" not in weight
    assert weight["path"] == "weight"
    assert model.training


def test_records_come_back_from_their_json() -> None:
    condition = Condition(3, "norm exceeds", limit=2.5, line="a.py:3")
    plain = json.loads(to_json("Conditions", [condition]))["value"][0]
    assert record_from(Condition, {**plain, "of a later version": 1}) == condition
    text = to_json("Column", {"column": Column("<f4", b"\x00\xff"), "number": float("nan"), "inf": [float("inf")]})
    assert json.loads(text)["value"] == {"column": {"dtype": "<f4", "data": "AP8="}, "number": None, "inf": [None]}


@pytest.mark.parametrize(
    ("plain", "words"),
    [
        ([], "a Subject is an object"),
        ({"stop": 1}, "lacks the field 'field'"),
        ({"stop": 1, "field": "colour"}, "Subject.field is 'colour'; it must be one of 'value', 'grad'"),
        ({"stop": True, "field": "grad"}, "Subject.stop is True; it must be of type int"),
        ({"stop": 1.5, "field": "grad"}, "Subject.stop is 1.5"),
    ],
)
def test_json_that_is_no_record_is_refused_in_words(plain: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words.replace("[", r"\[")):
        record_from(Subject, plain)


def test_text_that_is_no_valid_unicode_can_be_told() -> None:
    assert json.loads(to_json("Failure", {"file": "a\udcff.py"}))["value"]["file"] == "a\udcff.py"


def test_pydevd_s_socket_sends_small_answers_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket
    import types

    with socket.socket() as sock:
        pydevd: Any = types.ModuleType("pydevd")
        pydevd.get_global_debugger = lambda: types.SimpleNamespace(writer=types.SimpleNamespace(sock=sock))
        monkeypatch.setitem(sys.modules, "pydevd", pydevd)
        answer("{}")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        pydevd.get_global_debugger = lambda: None
        assert failure(answer("{}"))
