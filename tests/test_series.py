"""Series and Totals: written beside the records of the steps, and saying what these say."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import gradwatch
from gradwatch.errors import SessionDamaged
from gradwatch.records import SERIES_STATISTICS, Column, Gradients, Notice, Parameters, Series, Step, Totals
from gradwatch.session.columns import as_array
from gradwatch.session.reader import LATE_STEPS, SessionReader
from gradwatch.session.repair import repair
from gradwatch.session.series_writer import STRETCH_STEPS, SeriesWriter
from gradwatch.session.session import Session
from gradwatch.session.writer import SessionWriter
from session_factory import FINISH, RUN, START_NS, backward, column, gradients, parameter, session_bytes, step

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from gradwatch.records import Record

COLUMNS = ("norm", "min", "max")


def long_run(steps: Sequence[int], ids_at: Any = lambda _: (0, 1)) -> list[list[Record]]:
    random = np.random.default_rng(1)
    return [
        [backward(at), gradients(at, {number: random.normal(0, 1, 3).tolist() for number in ids_at(at)}), step(at, 0.5)]
        for at in steps
    ]


def names(count: int) -> Parameters:
    return Parameters([parameter(number, f"p{number}", [3]) for number in range(count)])


def written(path: Path, steps: Iterable[Iterable[Record]], *, count: int = 2) -> Path:
    writer = writing(path, steps, count)
    writer.close(FINISH)
    assert writer.failed is None
    return path


def writing(path: Path, steps: Iterable[Iterable[Record]], count: int = 2) -> SessionWriter:
    writer = SessionWriter(path, RUN)
    writer.write(names(count), time_ns=START_NS)
    for records in steps:
        for record in records:
            assert writer.write(record, time_ns=START_NS)
        writer.end_step()
    assert writer.flush()
    return writer


def same_as_records(session: Session) -> None:
    """Compare bit by bit, over all parameters, what series say with what the records of the steps say."""
    for each in session.parameters:
        curve = session.gradient(each.name)
        records = session.gradient(each.name, micro_batches=True)
        last = np.append(records.steps[1:] != records.steps[:-1], True)[: len(records)]
        assert curve.steps.tolist() == records.steps[last].tolist()
        for name in COLUMNS:
            assert getattr(curve, name).tobytes() == getattr(records, name)[last].tobytes(), f"{name} of {each.name}"


def stretches(session: Session) -> list[tuple[int, int]]:
    return sorted({(record.first, record.step) for record in session.reader.records(Series)})


def test_a_long_recording_has_series_that_say_what_its_records_say(tmp_path: Path) -> None:
    with Session(written(tmp_path / "a.gradwatch", long_run(range(2 * STRETCH_STEPS + 40)))) as session:
        assert stretches(session) == [(0, 255), (256, 511), (512, 551)]
        assert [record.step for record in session.reader.records(Totals)] == [255, 511, 551]
        same_as_records(session)
        assert session.reader.gaps == []


def test_a_recording_that_runs_has_series_of_whole_stretches_and_loses_nothing(tmp_path: Path) -> None:
    writer = writing(tmp_path / "a.gradwatch", long_run(range(300)))
    with Session(writer.path) as session:
        assert not session.finished
        assert stretches(session) == [(0, 255)]
        same_as_records(session)
        assert len(session.gradient("p0")) == 300
    writer.close(FINISH)


def test_each_part_of_a_stretch_is_a_chunk_of_its_own(tmp_path: Path) -> None:
    path = written(tmp_path / "a.gradwatch", long_run(range(10), lambda _: range(100)), count=100)
    with SessionReader(path) as reader:
        assert reader.count(Series) == 2 * len(SERIES_STATISTICS)
        assert [record.part for record in reader.records(Series)] == list(range(8))
        assert [len(record.subjects.data) // 4 for record in reader.records(Series)] == [64, 36] * 4


def test_parameters_that_come_late_and_steps_far_apart_are_all_in_series(tmp_path: Path) -> None:
    """They are wide, then wider: the order of parts changes twice."""
    steps = [*range(0, 600, 2), *range(1000, 1300), 5000]
    count = {0: 2, 1: 70, 2: 1100}
    path = tmp_path / "a.gradwatch"
    ids = lambda at: range(count[(at > 400) + (at > 1100)])  # noqa: E731  # short
    with Session(written(path, long_run(steps, ids), count=1100)) as session:
        layouts = [(record.width, record.parts) for record in session.reader.records(Series) if record.part == 0]
        assert sorted(set(layouts)) == [(64, 8), (128, 36)]
        for name in ("p0", "p1", "p69", "p70", "p1099"):
            series, records = session.gradient(name), session.gradient(name, micro_batches=True)
            assert series.steps.tolist() == records.steps.tolist()
            assert series.norm.tobytes() == records.norm.tobytes()


def test_a_record_that_comes_two_steps_late_is_in_its_step() -> None:
    writer = SeriesWriter(stretch_steps=4)
    given: list[Record] = []
    for at in range(12):
        if at >= LATE_STEPS:
            given += writer.add(gradients(at - LATE_STEPS, {0: [at - LATE_STEPS]}))
        given += writer.add(step(at))
    norms = [record for record in [*given, *writer.finish()] if isinstance(record, Series) and record.statistic == "l2"]
    steps = [number for record in norms for number in np.frombuffer(record.steps.data, "<u4").tolist()]
    assert steps == list(range(10))
    assert [number for record in norms for number in np.frombuffer(record.values.data, "<f4").tolist()] == steps


def test_of_several_calls_the_last_that_reached_a_parameter_counts_in_whatever_order_they_come() -> None:
    writer = SeriesWriter()
    for call in (2, 0, 1):
        writer.add(gradients(0, {0: [call + 1.0], **({1: [7.0]} if call == 0 else {})}, backward=call))
    found = {record.statistic: record for record in writer.finish() if isinstance(record, Series)}
    assert np.frombuffer(found["l2"].values.data, "<f4").tolist() == [3, 7]


def test_a_stretch_of_many_parameters_ends_before_it_takes_much_memory() -> None:
    writer = SeriesWriter(stretch_bytes=100_000)
    records = [record for at in range(60) for record in writer.add(gradients(at, {n: [1.0] for n in range(400)}))]
    ends = [record.step for record in records if isinstance(record, Totals)]
    assert ends
    assert max(np.diff(ends), default=0) <= 10
    total = sum(len(part.data) for one in writer._steps.values() for g in one.gradients for part in g.columns.values())
    assert total == writer._bytes < 150_000


def test_many_calls_of_a_step_take_no_more_memory_than_one() -> None:
    writer = SeriesWriter()
    for call in range(100):
        writer.add(gradients(0, {0: [float(call)], 1: [1.0]}, backward=call))
        writer.add(gradients(1, {call % 2: [float(call)]}, backward=call))
    assert len(writer._steps[0].gradients) == 1
    assert writer._bytes == 28 * (2 + 100)
    found = next(record for record in writer.finish() if isinstance(record, Series))
    assert np.frombuffer(found.values.data, "<f4").reshape(2, 2).tolist() == [[99, 98], [1, 99]]


def test_a_number_beyond_float32_widens_only_the_part_that_has_it() -> None:
    wide = gradients(0, {0: [1.0], 64: [2.0]})
    big = replace(wide, columns={**wide.columns, "l2": column("<f8", [1.0, 1e300]), "max": column("<f8", [0.1, 1])})
    writer = SeriesWriter()
    writer.add(big)
    parts = [record for record in writer.finish() if isinstance(record, Series)]
    assert [record.values.dtype for record in parts] == ["<f4", "<f8", "<f4", "<f4", "<f8", "<f4", "<f4", "<f4"]
    assert np.frombuffer(parts[1].values.data, "<f8").tolist() == [1e300]


def test_totals_hold_what_the_records_of_a_step_hold() -> None:
    writer = SeriesWriter()
    calls = [(0, -1, 50), (0, -1, 70), (1, 0, 20), (0, -1, 10)]
    for index, (graph, parent, held) in enumerate(calls):
        writer.add(backward(0, index, graph=graph, parent=parent, held_bytes=held))
    writer.add(gradients(0, {0: [3.0], 1: [4.0, math.nan], 2: [math.inf]}))
    writer.add(step(0, loss_nonfinite="inf", interrupted="ValueError: no"))
    writer.add(backward(1))
    (totals,) = [record for record in writer.finish() if isinstance(record, Totals)]

    def values(name: str) -> list[float]:
        part: Column = getattr(totals, name)
        return np.frombuffer(part.data, part.dtype).tolist()

    assert values("steps") == [0, 1]
    assert values("ended") == [1, 0]
    assert values("end_ns") == [step(0).end_ns, -1]
    assert values("cost_ns") == [10, -1]
    assert repr(values("loss")) == "[inf, nan]"
    assert values("loss_seen") == [1, 0]
    assert repr(values("gradient_norm")) == "[5.0, nan]"
    assert values("nonfinite") == [2, -1]
    assert [*zip(*map(values, ("call_step", "call_graph", "call_inside", "call_held_bytes")), strict=True)] == [
        (0, 0, 0, 70),
        (0, 1, 1, 20),
        (0, 0, 0, 10),
        (1, -1, 0, -1),
    ]
    assert totals.interrupted == {"0": "ValueError: no"}


def test_squares_beyond_the_largest_number_give_a_norm_all_the_same() -> None:
    writer = SeriesWriter()
    plain = gradients(0, {0: [1.0], 1: [1.0]})
    writer.add(replace(plain, columns={**plain.columns, "l2": column("<f8", [3e200, 4e200])}))
    (totals,) = [record for record in writer.finish() if isinstance(record, Totals)]
    assert np.frombuffer(totals.gradient_norm.data, "<f8").tolist() == [pytest.approx(5e200)]


def test_gradients_of_stops_modules_and_nodes_are_not_in_series() -> None:
    writer = SeriesWriter()
    for record in (gradients(0, {0: [1.0]}, "module"), gradients(0, {0: [1.0]}, "node")):
        writer.add(record)
    writer.add(replace(gradients(0, {0: [1.0]}, backward=-1), stop=1))
    assert writer.finish() == []


def test_series_end_where_a_record_lacks_what_they_hold(tmp_path: Path) -> None:
    steps = long_run(range(300))
    lacking = steps[270][1]
    assert isinstance(lacking, Gradients)
    steps[270][1] = replace(lacking, columns={"l2": lacking.columns["l2"]})
    with Session(written(tmp_path / "a.gradwatch", steps)) as session:
        assert stretches(session) == [(0, 255)]
        same_as_records(session)
        assert session.notices == []


def test_a_fault_in_writing_series_is_told_and_costs_only_them(tmp_path: Path) -> None:
    steps = long_run(range(300))
    plain = steps[3][1]
    assert isinstance(plain, Gradients)
    steps[3][1] = replace(plain, columns={**plain.columns, "l2": Column("<f4", b"odd")})
    with SessionReader(written(tmp_path / "a.gradwatch", steps)) as reader:
        assert list(reader.records(Series)) == []
        (notice,) = reader.records(Notice)
        assert len(list(reader.records(Step))) == 300
    assert notice.kind == "recorder"
    assert "Curves are read from each step's records" in notice.text


def test_a_file_cut_anywhere_and_one_repaired_say_what_their_records_say(tmp_path: Path) -> None:
    steps = [[names(2), *long_run([0])[0]], *long_run(range(1, 14))]
    whole = session_bytes(steps, finish=None, series=SeriesWriter(4))
    path = tmp_path / "a.gradwatch"
    seen: set[int] = set()
    for length in range(len(session_bytes(steps[:1], finish=None)), len(whole) + 1, 131):
        path.write_bytes(whole[:length])
        with Session(path) as session:
            same_as_records(session)
            seen.add(len(stretches(session)))
        repair(path)
        with Session(path) as session:
            assert session.reader.complete
            same_as_records(session)
    assert seen == {0, 1, 2}


def test_a_curve_is_whole_wherever_a_byte_of_its_series_is_broken(tmp_path: Path) -> None:
    steps = [[names(2), *long_run([0])[0]], *long_run(range(1, 14))]
    whole = session_bytes(steps, series=SeriesWriter(4))
    path = tmp_path / "a.gradwatch"
    path.write_bytes(whole)
    with SessionReader(path) as reader:
        channel = reader._channel(Series)
        places = [reader.index.entry(channel, at) for at in range(reader.count(Series))]
    for place in places:
        broken = bytearray(whole)
        broken[place.offset + place.length - 5] ^= 0xFF
        path.write_bytes(broken)
        with Session(path) as session:
            same_as_records(session)


def test_a_curve_keeps_the_steps_whose_own_records_are_damaged(tmp_path: Path) -> None:
    whole = session_bytes([[names(2), *long_run([0])[0]], *long_run(range(1, 9))], series=SeriesWriter(4))
    path = tmp_path / "a.gradwatch"
    path.write_bytes(whole)
    with Session(path) as session:
        norm = session.gradient("p0").norm.tolist()
        place = session.reader.index.entry(session.reader._channel(Gradients), 3)
    broken = bytearray(whole)
    broken[place.offset + place.length - 5] ^= 0xFF
    path.write_bytes(broken)
    with Session(path) as session:
        curve = session.gradient("p0")
        assert curve.norm.tolist() == curve.columns["l2"].tolist() == norm
        assert curve.count.tolist() == [3, 3, 3, -1, 3, 3, 3, 3, 3]
        assert curve.backward.tolist() == [0, 0, 0, -1, 0, 0, 0, 0, 0]
        assert np.isnan(curve.mean).tolist() == [at == 3 for at in range(9)]


def test_a_curve_that_was_asked_for_is_there_after_the_session_was_closed(tmp_path: Path) -> None:
    path = written(tmp_path / "a.gradwatch", long_run(range(20)))
    with Session(path) as session:
        curve = session.gradient("p0")
    with Session(path) as session:
        again = session.gradient("p0", micro_batches=True)
    assert curve.norm.tolist() == again.norm.tolist()
    assert curve.mean.tolist() == again.mean.tolist()
    assert curve.backward.tolist() == [0] * 20


def test_a_curve_has_no_more_rows_than_when_it_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.gradwatch"
    whole = session_bytes([[names(2), *long_run([0])[0]], *long_run(range(1, 14))], finish=None, series=SeriesWriter(4))
    cut = session_bytes([[names(2), *long_run([0])[0]], *long_run(range(1, 9))], finish=None, series=SeriesWriter(4))
    path.write_bytes(cut)
    with Session(path) as session:
        curve = session.gradient("p0")
        path.write_bytes(whole)
        session.refresh()
        assert len(curve.mean) == len(curve.norm) == len(curve.steps) == 9
        assert len(session.gradient("p0").norm) == 14


@pytest.mark.parametrize("count", [column("<u8", [1 << 63]), column("<f4", [math.nan])])
def test_a_count_that_no_tensor_can_have_is_refused_in_words(tmp_path: Path, count: Column) -> None:
    plain = gradients(0, {0: [1.0]})
    path = tmp_path / "a.gradwatch"
    path.write_bytes(session_bytes([[names(1), replace(plain, columns={**plain.columns, "zeros": count})]]))
    with Session(path) as session, pytest.raises(SessionDamaged, match="a column zeros counts"):
        session.gradient("p0")


def test_a_recorder_writes_series_of_what_it_records(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with gradwatch.watch(model, tmp_path / "a.gradwatch", detail="parameters"):
        for _ in range(5):
            for _ in range(2):
                model(torch.randn(2, 3)).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    with Session(tmp_path / "a.gradwatch") as session:
        assert stretches(session) == [(0, 4)]
        same_as_records(session)
        (totals,) = session.reader.records(Totals)
        found = as_array(totals.gradient_norm, session.path).tolist()
        for number, norm in enumerate(found):
            assert norm == pytest.approx(math.hypot(*session.gradients_at(number).norm.tolist()))
