"""Each exported format, read back by the tool it is for."""

from __future__ import annotations

import json
import math
import pickle
import pickletools
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gradwatch import cli
from gradwatch import open as open_session
from gradwatch.records import Module, Modules, Parameters, Site, Sites
from gradwatch.reporters.exports.tables import TABLES
from session_factory import (
    Node,
    Saved,
    Storage,
    backward,
    gradients,
    graph,
    held,
    histograms,
    ledger,
    optimizer_step,
    parameter,
    step,
    step_start,
    write_session,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gradwatch import Session

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(GOLDEN / "seed.gradwatch", tmp_path / "run.gradwatch")
    monkeypatch.chdir(tmp_path)


def export(target: str, *options: str, file: str = "run.gradwatch") -> None:
    assert cli.main(["export", file, "--to", target, *options]) == 0


def training_session(path: Path = Path("run.gradwatch")) -> Path:
    """Four steps: a NaN loss in the second, a NaN gradient in the third, nothing recorded of the fourth but its end."""
    sites = Sites([Site(0, "/home/someone/project/train.py", 12, "forward")])
    modules = Modules([Module(0, "model", "", "Net"), Module(1, "model", "layers.0", "Linear")])
    names = Parameters([parameter(0, "layers.0.weight", (2,)), parameter(1, "=head", (2,))])
    nodes = [Node("AccumulateGrad", parameter=0), Node("AddmmBackward0", module=1, site=0), Node("ReluBackward0")]
    saved = [Saved(1, "self", 0, (4, 4)), Saved(2, "result", 1, (4, 4)), Saved(2, "weight", 2, (2,))]
    storages = [Storage(1024), Storage(64), Storage(8, "parameter")]
    shared = [graph(0, nodes, [(2, 0, 1, 0), (1, 0, 0, 0)], [2]), ledger(0, 0, saved, storages)]
    curve = [(0, 1088), (100, 1024), (300, 0)]
    released = [300, 100, -1]
    fine: dict[int, Sequence[float]] = {0: [3.0, 4.0], 1: [1.0, 0.0]}
    flushes: list[list[Any]] = [[sites, modules, names, *shared]]
    bad: dict[int, Sequence[float]] = {0: [math.nan, 4.0], 1: [math.inf, 1.0]}
    for number, tensors in enumerate([fine, fine, bad]):
        loss: dict[str, Any] = {"loss_nonfinite": "nan"} if number == 1 else {"loss": 0.5 - number}
        flushes += [
            [
                gradients(number, tensors),
                histograms(number, {0: [3.0, 4.0], 1: [1.0]}),
                optimizer_step(number, {0: (5.0, 2.0, 0.25), 1: (1.0, 1.0, math.inf)}),
                backward(number, graph=0, ledger=0, held_bytes=1088),
                held(number, curve, released),
                step(number, **loss),
            ]
        ]
    return write_session(path, [*flushes, [step(3, backward_count=0)]])


def parquet(path: str) -> Any:
    return pytest.importorskip("pyarrow.parquet").read_table(path)


def test_parquet_has_the_documented_columns() -> None:
    training_session()
    export("parquet")
    kinds = {"int64": "int64", "float64": "double", "bool": "bool", "text": "string"}
    for table in TABLES:
        schema = parquet(f"run_parquet/{table.name}.parquet").schema
        assert schema.names == [column.name for column in table.columns]
        for column in table.columns:
            field = schema.field(column.name)
            assert str(field.type) == kinds[column.kind], (table.name, column.name)
            assert field.metadata[b"description"].decode() == column.doc


def test_parquet_keeps_nan_and_inf_and_null_apart() -> None:
    training_session()
    export("parquet")
    loss = parquet("run_parquet/steps.parquet").column("loss")
    assert loss.null_count == 1, "the step without a loss"
    assert math.isnan(loss[1].as_py())
    ratios = parquet("run_parquet/optimizer.parquet").column("update_ratio").to_pylist()
    assert ratios == [0.25, math.inf] * 3
    parents = parquet("run_parquet/backwards.parquet").column("parent")
    assert parents.null_count == len(parents)
    assert "=head" in parquet("run_parquet/parameters.parquet").column("name").to_pylist(), "no spreadsheet reads it"


def test_parquet_and_csv_say_the_same() -> None:
    arrow_csv = pytest.importorskip("pyarrow.csv")
    training_session()
    export("parquet")
    export("csv")
    for table in TABLES:
        packed = parquet(f"run_parquet/{table.name}.parquet")
        types = dict(zip(packed.schema.names, packed.schema.types, strict=True))
        convert = arrow_csv.ConvertOptions(column_types=types, null_values=[""], strings_can_be_null=True)
        text = arrow_csv.read_csv(f"run_csv/{table.name}.csv", convert_options=convert)
        for name in packed.schema.names:
            # CSV has one empty cell for no text and for an empty one.
            plain = ["" if cell is None else str(cell).replace("'=", "=") for cell in text.column(name).to_pylist()]
            assert plain == ["" if cell is None else str(cell) for cell in packed.column(name).to_pylist()], table.name


@pytest.fixture
def events() -> Callable[[], Any]:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

    def events() -> Any:
        found = accumulator.EventAccumulator("run_tensorboard", size_guidance={"scalars": 0, "histograms": 0})
        return found.Reload()

    return events


def test_tensorboard_reads_losses_norms_and_held_memory(events: Callable[[], Any]) -> None:
    training_session()
    export("tensorboard")
    found = events()
    assert set(found.Tags()["scalars"]) == {
        "loss",
        "gradient norm/layers.0.weight",
        "gradient norm/=head",
        "gradient NaN and Inf values/layers.0.weight",
        "gradient NaN and Inf values/=head",
        "update ratio/layers.0.weight",
        "update ratio/=head",
        "held for backward/bytes when backward began",
        "held for backward/peak bytes",
    }
    losses = [(event.step, event.value) for event in found.Scalars("loss")]
    assert str(losses) == "[(0, 0.5), (1, nan), (2, -1.5)]"
    norms = [event.value for event in found.Scalars("gradient norm/layers.0.weight")]
    assert norms[:2] == [5.0, 5.0]
    assert math.isnan(norms[2]), "a norm over the finite values would hide the NaN"
    assert [event.value for event in found.Scalars("gradient norm/=head")] == [1.0, 1.0, math.inf]
    assert [event.value for event in found.Scalars("held for backward/peak bytes")] == [1088.0] * 3
    assert found.Scalars("loss")[0].wall_time == pytest.approx((step_start(0) + 900) / 1e9)


def test_tensorboard_reads_histograms(events: Callable[[], Any]) -> None:
    training_session()
    export("tensorboard")
    histogram = events().Histograms("log2 of gradient/layers.0.weight")[0].histogram_value
    assert (histogram.min, histogram.max, histogram.num) == (1, 3, 2)
    assert list(histogram.bucket_limit) == [2, 3], "3 lies in 2^1 to 2^2, 4 in 2^2 to 2^3"
    assert list(histogram.bucket) == [1, 1]


def test_tensorboard_agrees_with_the_session_at_every_step(record: Callable[..., Session], events: Any) -> None:
    session = record(*train())
    export("tensorboard", "-o", "run_tensorboard", file=str(session.path))
    found = events()
    for view in session.parameters:
        series = session.gradient(view.name)
        scalars = found.Scalars(f"gradient norm/{view.name}")
        assert [event.step for event in scalars] == series.steps.tolist()
        assert np.array([event.value for event in scalars], np.float32).tolist() == series.norm.tolist()
        histograms = found.Histograms(f"log2 of gradient/{view.name}")
        assert [event.step for event in histograms] == series.histogram_steps.tolist()
        totals = [event.histogram_value.num for event in histograms]
        assert totals == pytest.approx(series.histogram.sum(axis=1).tolist())


def train() -> tuple[Callable[[], None], Any]:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def program() -> None:
        for _ in range(4):
            model(torch.ones(32, 8)).mean().backward()
            optimizer.step()
            optimizer.zero_grad()

    return program, model


# Perfetto: the JSON trace format's own rules; trace_processor is a binary that is downloaded when it is run.


def trace(path: str = "run.trace.json") -> list[dict[str, Any]]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    content = json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=refuse)
    assert set(content) == {"displayTimeUnit", "traceEvents"}
    return content["traceEvents"]


def check_trace(events: list[dict[str, Any]]) -> None:
    """Check what the format asks of each kind of event, and that slices of one thread nest."""
    needed = {
        "M": {"name", "pid", "tid", "args"},
        "X": {"name", "cat", "pid", "tid", "ts", "dur", "args"},
        "C": {"name", "pid", "ts", "args"},
        "i": {"name", "cat", "pid", "tid", "ts", "s", "args"},
    }
    slices: dict[int, list[tuple[float, float]]] = {}
    named: set[int] = set()
    for event in events:
        assert set(event) == needed[event["ph"]] | {"ph"}, event
        assert all(isinstance(event[key], int) for key in ("pid", "tid") if key in event), event
        assert all(isinstance(event[key], float) and event[key] >= 0 for key in ("ts", "dur") if key in event), event
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "thread_name")
            named.add(event["tid"])
        if event["ph"] == "C":
            assert all(math.isfinite(value) for value in event["args"].values())
        if event["ph"] == "X":
            slices.setdefault(event["tid"], []).append((event["ts"], event["ts"] + event["dur"]))
    assert set(slices) <= named, "every thread has a name"
    for spans in slices.values():
        open_ends: list[float] = []
        for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):
            while open_ends and open_ends[-1] <= start + 1e-6:
                open_ends.pop()
            assert not open_ends or end <= open_ends[-1] + 1e-6, "slices overlap"
            open_ends.append(end)


def test_the_trace_keeps_the_formats_rules(record: Callable[..., Session]) -> None:
    training_session()
    export("perfetto")
    check_trace(trace())
    session = record(*train(), detail="nodes")
    export("perfetto", "-o", "real.json", file=str(session.path))
    check_trace(trace("real.json"))


def test_the_trace_check_can_fail() -> None:
    events = [
        {"ph": "M", "name": "thread_name", "pid": 1, "tid": 1, "args": {"name": "steps"}},
        *(
            {"ph": "X", "name": "s", "cat": "c", "pid": 1, "tid": 1, "ts": start, "dur": 2.0, "args": {}}
            for start in (0.0, 1.0)
        ),
    ]
    with pytest.raises(AssertionError, match="overlap"):
        check_trace(events)


def test_the_trace_shows_steps_calls_and_held_memory() -> None:
    training_session()
    export("perfetto")
    events = trace()
    slices = {event["name"]: event for event in events if event["ph"] == "X"}
    assert {"step 0", "step 1", "step 2", "step 3", "backward()", "layers.0"} <= set(slices)
    assert (slices["step 0"]["ts"], slices["step 0"]["dur"]) == (1000.0, 0.9)
    assert slices["layers.0"]["args"]["bytes"] == 1024
    bytes_held = [event["args"]["bytes"] for event in events if event["name"] == "held for backward"]
    assert bytes_held == [1088, 1024, 0] * 3
    first = next(event for event in events if event["name"] == "held for backward")
    assert first["ts"] == pytest.approx(1000.1)


def test_the_trace_says_what_is_not_finite() -> None:
    training_session()
    export("perfetto")
    events = trace()
    marks = {event["name"]: event["args"] for event in events if event["ph"] == "i"}
    assert set(marks) == {"loss is NaN", "gradient norm is NaN", "gradients of 2 parameters are not finite"}
    assert marks["gradients of 2 parameters are not finite"]["first"] == "layers.0.weight, =head"
    assert next(event for event in events if event["name"] == "step 1")["args"]["loss"] == "NaN"
    assert [event["args"]["loss"] for event in events if event["ph"] == "C" and event["name"] == "loss"] == [0.5, -1.5]


# torch's memory snapshot


OPCODES_OF_THE_PAGE = {
    *("PROTO", "FRAME", "MEMOIZE", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "APPEND", "APPENDS"),
    *("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "SETITEM", "SETITEMS", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "SHORT_BINUNICODE", "BINUNICODE", "BINGET"),
    *("LONG_BINGET", "BINPUT", "LONG_BINPUT", "LIST", "DICT"),
}
"""What MemoryViz.js of torch, which draws the page, takes apart; it refuses any other."""


def snapshot(path: str = "run.memory.pickle") -> dict[str, Any]:
    content = Path(path).read_bytes()
    used = {opcode.name for opcode, _, _ in pickletools.genops(content)}
    assert used <= OPCODES_OF_THE_PAGE
    assert content[:2] == b"\x80\x04", "the page reads protocols 2 to 4"
    return pickle.loads(content)


def memory_viz() -> Any:
    pytest.importorskip("torch")
    from torch.cuda import _memory_viz

    return _memory_viz


def test_torch_reads_the_snapshot_of_one_step() -> None:
    training_session()
    export("memory-viz", "--steps", "1")
    found = snapshot()
    text = memory_viz().trace(found)
    assert "7 entries" in text
    assert "[0:1.0KiB]" in text
    ((segment, *events),) = found["device_traces"]
    assert segment["action"] == "segment_alloc"
    assert [event["action"] for event in events[:2]] == ["alloc", "alloc"]
    assert [(event["size"], event["action"]) for event in events[2:]] == [
        (64, "free_requested"),
        (64, "free_completed"),
        (1024, "free_requested"),
        (1024, "free_completed"),
    ]
    frame = events[0]["frames"][0]
    assert (frame["filename"], frame["line"], frame["name"]) == ("/home/someone/project/train.py", 12, "forward")
    assert events[0]["frames"][1]["filename"] == "layers.0"
    assert "AddmmBackward0 saved self: float32 [4, 4], activation, cpu" in events[0]["frames"][1]["name"]


def test_torch_adds_up_the_segments(record: Callable[..., Session]) -> None:
    session = record(*train(), detail="nodes")
    export("memory-viz", "--steps", "0:", "-o", "real.pickle", file=str(session.path))
    found = snapshot("real.pickle")
    assert "segments: 1" in memory_viz().segsum(found)
    assert "TOTAL MEM" in memory_viz().trace(found)
    assert "snapshot.pickle" in memory_viz().trace_plot(found)
    sizes = [event["size"] for event in found["device_traces"][0] if event["action"] == "alloc"]
    with open_session(session.path) as opened:
        assert sum(sizes) == sum(opened.held(number).total_bytes for number in range(4))


def test_no_two_storages_lie_at_one_place(record: Callable[..., Session]) -> None:
    session = record(*train())
    export("memory-viz", "--steps", "0:", "-o", "real.pickle", file=str(session.path))
    found = snapshot("real.pickle")
    (segment,) = found["segments"]
    alive: dict[int, int] = {}
    for event in found["device_traces"][0]:
        start, size = event["addr"], event["size"]
        if event["action"] == "alloc":
            assert all(start + size <= other or other + length <= start for other, length in alive.items())
            assert segment["address"] <= start <= start + size <= segment["address"] + segment["total_size"]
            alive[start] = size
        elif event["action"] == "free_completed":
            assert alive.pop(start) == size


def test_what_a_call_did_not_release_stays_until_the_next_call() -> None:
    names = Parameters([parameter(0, "w")])
    nodes = [Node("AccumulateGrad", parameter=0), Node("MulBackward0")]
    shared = [graph(0, nodes, [(1, 0, 0, 0)], [1]), ledger(0, 0, [Saved(1, "self", 0)], [Storage(4096)])]
    calls = [backward(0, index, graph=0, ledger=0, held_bytes=4096, start_ns=1000 * index) for index in (0, 1)]
    kept = [held(0, [(0, 4096)], [-1], backward=index) for index in (0, 1)]
    write_session(Path("kept.gradwatch"), [[names, *shared, *calls, *kept, step(0)]])
    export("memory-viz", file="kept.gradwatch")
    found = snapshot("kept.memory.pickle")
    actions = [event["action"] for event in found["device_traces"][0]]
    assert actions == ["segment_alloc", "alloc", "free_requested", "free_completed", "alloc"]
    assert [block["state"] for block in found["segments"][0]["blocks"]] == ["active_allocated"]
    assert "4.0KiB allocated" in memory_viz().segsum(found) or "total_allocated: 4.0KiB" in memory_viz().segsum(found)


def test_without_steps_it_is_the_one_that_held_most(capsys: pytest.CaptureFixture[str]) -> None:
    training_session()
    export("memory-viz")
    assert "Of step 0, which held most; others with --steps." in capsys.readouterr().err


def test_a_session_that_recorded_no_held_memory_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    write_session(Path("bare.gradwatch"), [[backward(0), step(0, loss=1.0)]])
    assert cli.main(["export", "bare.gradwatch", "--to", "memory-viz"]) == 2
    assert "was not recorded" in capsys.readouterr().err
    assert not Path("bare.memory.pickle").exists()


def test_a_claim_of_more_bytes_than_there_are_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    nodes = [Node("AccumulateGrad", parameter=0), Node("MulBackward0")]
    shared = [graph(0, nodes, [(1, 0, 0, 0)], [1]), ledger(0, 0, [Saved(1, "self", 0)], [Storage(1 << 60)])]
    call = backward(0, graph=0, ledger=0, held_bytes=1)
    write_session(Path("huge.gradwatch"), [[*shared, call, held(0, [(0, 1)], [5]), step(0)]])
    assert cli.main(["export", "huge.gradwatch", "--to", "memory-viz"]) == 2
    assert "it claims that" in capsys.readouterr().err
    assert not Path("huge.memory.pickle").exists()
