"""The door for debuggers: one question as JSON, one answer as JSON, on the stopped thread.

A debugger evaluates `gradwatch.debugger.answer(request)` in a stopped frame. Loading this file loads neither
torch nor numpy; what answers is loaded when it is first asked.
"""

from __future__ import annotations

import gc
import json
import sys
import threading
import time
import traceback
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from gradwatch.errors import GradwatchError, UsageError
from gradwatch.json_records import packed, record_from, to_json
from gradwatch.records import Condition, Failure, Notice, Snapshot, Stop

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import FrameType

QUESTIONS = ("snapshot", "values", "conditions", "next node", "multithreading", "enough", "detach")
PARTS = ["gradients", "histograms", "graph", "held"]
MAX_BUDGET_MS = 600_000.0


def answer(request: str) -> str:
    """Answer one question about where the program stands: `records.Snapshot`, `Values`, conditions. Never raises.

    A long answer is deflated where the request says `"packed": true`: a debug adapter and the editor behind it copy
    and parse what travels several times.

    The questions "enough" and "detach" may be asked of the running program: they end the answers being made
    (nobody waits for them any more), and what the first stop attached.
    """
    collects = gc.isenabled()
    gc.disable()  # a collection takes longer than the answer, and would run finalizers of the program's
    try:
        asked = _parsed(request)
        frame = sys._getframe(1)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # the only way to the stopped frame
        text = _as_text(*_answer(asked, frame))
        return packed(text) if asked.get("packed") is True else text
    except Exception as error:  # noqa: BLE001 # whatever failed is told, never raised into the debugger
        return to_json("Failure", _failure(error))
    finally:
        if collects:
            gc.enable()
        _answer_at_once()


def _as_text(kind: str, value: object) -> str:
    """The answer's JSON; that of a snapshot also says what making the text cost."""
    start = time.perf_counter()
    text = to_json(kind, value)
    if kind != "Snapshot":
        return text
    before, mark, after = text.rpartition('"cost_ms":{')
    own = f'"json":{(time.perf_counter() - start) * 1000:.3f}'
    return f"{before}{mark}{own}{'' if after.startswith('}') else ','}{after}"


def _parsed(request: object) -> dict[str, Any]:
    if not isinstance(request, str):
        raise UsageError(f"the request is a {type(request).__name__}; it must be JSON text")
    try:
        asked: Any = json.loads(request)
    except ValueError as error:
        raise UsageError(f"the request is not JSON ({error}): {request[:200]!r}") from None
    if not isinstance(asked, dict):
        raise UsageError(f"the request must be a JSON object, not {request[:200]!r}")
    return cast("dict[str, Any]", asked)


def _answer(asked: dict[str, Any], frame: FrameType) -> tuple[str, object]:
    question = asked.get("question")
    if question == "snapshot":
        return "Snapshot", _snapshot(asked, frame)
    if question not in QUESTIONS:
        raise UsageError(f"the question {question!r} is not known. Ask one of: {', '.join(QUESTIONS)}.")
    if question in ("enough", "detach"):
        return "Conditions", _end(question)
    if not _has_torch():
        raise UsageError("torch is not loaded in this process: there are no tensors and no backward to ask about.")
    if question == "values":
        return "Values", import_module("gradwatch.capture.values").values(asked)
    if question == "multithreading":
        engine_threads = import_module("gradwatch.capture.engine_threads")
        engine_threads.set_multithreading(enabled=bool(asked.get("enabled", True)))
        return "Conditions", import_module("gradwatch.capture.conditions").current()
    given = _conditions(asked.get("conditions")) if question == "conditions" else None
    conditions = import_module("gradwatch.capture.conditions")
    return "Conditions", conditions.next_node() if given is None else conditions.set_conditions(given)


def _conditions(given: Any) -> list[Condition]:
    if not isinstance(given, list):
        raise UsageError(f"conditions must be a list, not {given!r}")
    return [record_from(Condition, each) for each in cast("list[Any]", given)]


def _end(question: str) -> list[Condition]:
    """End the answers being made, or what the first stop attached. Asked while the program runs: loads nothing."""
    name, function = ("budget", "call_off") if question == "enough" else ("attach", "detach")
    module: Any = sys.modules.get(f"gradwatch.capture.{name}")
    if module is not None:
        getattr(module, function)()
    return []


def _has_torch() -> bool:
    """Whether torch is loaded to its end: a program may stand still inside `import torch`."""
    torch = sys.modules.get("torch")
    spec: Any = getattr(torch, "__spec__", None)
    return torch is not None and not getattr(spec, "_initializing", False)


def _snapshot(asked: Mapping[str, Any], frame: FrameType) -> Snapshot:
    budget = asked.get("budget_ms", 2000)
    if not isinstance(budget, (int, float)) or isinstance(budget, bool) or not 0 <= budget <= MAX_BUDGET_MS:
        raise UsageError(f"budget_ms is {budget!r}; it must be a number of milliseconds, at most {MAX_BUDGET_MS:.0f}")
    parts: Any = asked.get("parts", PARTS)
    if not isinstance(parts, list) or not all(part in PARTS for part in cast("list[Any]", parts)):
        raise UsageError(f"parts is {parts!r}; it must be a list of some of: {', '.join(PARTS)}")
    root, where = asked.get("root"), asked.get("frame")
    if root is not None and not isinstance(root, str):
        raise UsageError(f"root is {root!r}; it must be an expression as text, or null")
    if where is not None and not isinstance(where, dict):
        raise UsageError(f"frame is {where!r}; it must be an object with file, line and function, or null")
    from gradwatch.capture.stopped_frame import stopped_frame  # noqa: PLC0415  # loading this file loads nothing more

    stopped = stopped_frame(frame, cast("dict[str, Any] | None", where))
    if not _has_torch():
        return _without_torch(stopped.frame)
    from gradwatch.capture.budget import Budget  # noqa: PLC0415  # likewise
    from gradwatch.capture.stop import Question, snapshot  # noqa: PLC0415  # loads torch

    wanted = frozenset(cast("list[str]", parts))
    return _with_findings(snapshot(Question(stopped, wanted, root, asked.get("stop"), Budget(float(budget)))))


def _with_findings(answer: Snapshot) -> Snapshot:
    """What is wrong at this stop. Without it the answer is whole."""
    from gradwatch.findings.at_stop import findings_at  # noqa: PLC0415  # likewise

    start = time.perf_counter()
    try:
        found = findings_at(answer)
    except Exception as error:  # noqa: BLE001 # a defect of ours: it is told beside the values
        text = f"What is wrong here could not be found: {type(error).__name__}: {error}"
        notice = Notice("recorder", text, probe="findings", traceback=traceback.format_exc())
        return replace(answer, notices=[*answer.notices, notice])
    cost = {**answer.cost_ms, "findings": (time.perf_counter() - start) * 1000}
    return replace(answer, findings=found, cost_ms=cost)


def _without_torch(frame: FrameType) -> Snapshot:
    from gradwatch.capture.environment import run_record  # noqa: PLC0415  # likewise

    code = frame.f_code
    stop = Stop(
        number=0,
        time_ns=time.time_ns(),
        step=-1,
        thread=threading.get_ident(),
        thread_name="",
        file=code.co_filename,
        line=frame.f_lineno or 0,
        function=str(getattr(code, "co_qualname", code.co_name)),
    )
    return Snapshot("no torch", run_record("modules", line_clock=False, asks_programs=False), stop)


def _failure(error: Exception) -> Failure:
    text = "" if isinstance(error, GradwatchError) else "".join(traceback.format_exception(error))
    return Failure(type(error).__name__, str(error) or type(error).__name__, text)


def _answer_at_once() -> None:
    """Let pydevd's socket send small answers at once: waiting for more to send costs 44 ms an answer."""
    pydevd: Any = sys.modules.get("pydevd")
    if pydevd is None:
        return
    try:
        import socket  # noqa: PLC0415  # pydevd has it loaded

        writer = pydevd.get_global_debugger().writer
        writer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except Exception:  # noqa: BLE001, S110 # not that version, or not a socket: answers take longer
        pass
