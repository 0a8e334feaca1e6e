"""The session as users see it: what it is asked it answers from the file, in their words."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gradwatch.errors import SessionDamaged, SessionNotFound, UsageError
from gradwatch.opening import open as open_session
from gradwatch.records import (
    HISTOGRAM_BINS,
    Column,
    Histograms,
    Module,
    ModuleOutput,
    ModuleOutputs,
    Modules,
    Parameters,
    Record,
    Site,
    Sites,
    SourceFile,
)
from make_golden import FILE, GOLDEN, SEED_NODES, seed_names, seed_step
from session_factory import (
    RUN,
    Node,
    Saved,
    Storage,
    backward,
    column,
    gradients,
    graph,
    held,
    histograms,
    ledger,
    optimizer_step,
    parameter,
    session_bytes,
    step,
    write_session,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradwatch.session.session import Session


@pytest.fixture
def seed() -> Iterator[Session]:
    with open_session(GOLDEN / "seed.gradwatch") as session:
        yield session


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Any]:
    opened: list[Session] = []

    def make(*flushes: list[Record], **options: Any) -> Session:
        path = write_session(tmp_path / f"{len(opened)}.gradwatch", flushes, **options)
        opened.append(open_session(path))
        return opened[-1]

    yield make
    for session in opened:
        session.close()


def test_a_session_introduces_itself_in_one_line(seed: Session, make: Any) -> None:
    assert repr(seed) == "<gradwatch session seed.gradwatch: 2 steps, 2 parameters, 1 modules, finished>"
    assert repr(make([step(0)], finish=None)).endswith("not finished>")
    assert seed.run.hostname == "example"
    assert seed.findings == ()


def test_steps_are_found_by_position_slice_and_number(make: Any) -> None:
    session = make([step(number, number / 2) for number in range(5, 9)])
    assert len(session.steps) == 4
    assert session.steps[0].number == 5
    assert session.steps[-1].number == 8
    assert [view.number for view in session.steps[1:3]] == [6, 7]
    assert [view.loss for view in session.steps] == [2.5, 3.0, 3.5, 4.0]
    assert session.step(6).number == 6
    assert session.step(6).duration_ns == 900
    assert session.step(6).cost_ns == 10
    assert session.step(6).source == "optimizer"
    with pytest.raises(IndexError):
        session.steps[4]
    with pytest.raises(UsageError, match=r"There is no step 12 .* It has steps 5 to 8\."):
        session.step(12)


def test_a_loss_that_is_not_finite_is_given_as_what_it_was(make: Any) -> None:
    session = make([step(0, None, loss_nonfinite="nan"), step(1, None, loss_nonfinite="-inf"), step(2, None)])
    assert math.isnan(session.step(0).loss)
    assert session.step(1).loss == -math.inf
    assert session.step(2).loss is None


def test_a_recording_killed_in_its_first_step_shows_that_step_as_cut_short(make: Any) -> None:
    session = make([backward(0, error="RuntimeError: x"), gradients(0, {0: [1.0]})], finish=None)
    (only,) = session.steps
    assert not only.complete
    assert only.loss is None
    assert only.duration_ns == -1
    assert [call.error for call in only.backwards] == ["RuntimeError: x"]
    assert only.start_ns == only.backwards[0].start_ns
    assert session.gradients_at(0).norm.tolist() == [1.0]
    assert "cut short" in repr(only)


def test_a_session_without_steps_says_so(make: Any) -> None:
    session = make()
    assert len(session.steps) == 0
    with pytest.raises(UsageError, match="It has no steps"):
        session.step(0)


def test_backward_calls_tell_their_graph_and_what_they_found_held(seed: Session) -> None:
    (call,) = seed.step(0).backwards
    assert (call.call, call.parent, call.retain_graph, call.unobserved) == ("backward", -1, False, None)
    assert call.graph.id == 0
    assert call.held.total_bytes == 8


def test_names_have_their_root_only_where_there_are_several(make: Any) -> None:
    modules = Modules([Module(0, "net", "", "Net"), Module(1, "net", "a.b", "Linear")])
    one = make([modules, Parameters([parameter(0, "a.b.weight", root="net", module=1)])])
    assert one.modules.names == ["net", "a.b"]
    assert one.parameters["a.b.weight"].module == "a.b"
    two = make([modules, Parameters([parameter(0, "a.b.weight", root="net"), parameter(1, "w", root="critic")])])
    assert two.modules.names == ["net", "net.a.b"]
    assert two.parameters.names == ["net.a.b.weight", "critic.w"]


def test_of_two_entries_with_one_id_the_later_holds(make: Any) -> None:
    first = Parameters([parameter(0, "old", root="net"), parameter(1, "b", root="net")])
    session = make([first, Parameters([parameter(0, "new", [3], root="net")])])
    assert session.parameters.names == ["new", "b"]
    assert session.parameters["new"].shape == (3,)


def test_parameters_tell_what_was_recorded_of_them(make: Any) -> None:
    tied = parameter(0, "weight", [2, 3], aliases=["head.weight"])
    nameless = parameter(1, "", root="", is_leaf_tensor=True)
    session = make([Parameters([tied, nameless, parameter(2, "x", root="", is_leaf_tensor=True)])])
    view = session.parameters["weight"]
    assert (view.shape, view.dtype, view.device, view.numel, view.bytes) == ((2, 3), "float32", "cpu", 6, 24)
    assert session.parameters["head.weight"] is view
    assert session.parameters.names == ["weight", "tensor 1", "x"]
    assert session.parameters[2].is_leaf_tensor


def test_a_mistyped_name_is_met_with_what_is_near(seed: Session, make: Any) -> None:
    session = make([Parameters([parameter(n, f"layers.{n}.weight") for n in range(3)])])
    with pytest.raises(UsageError, match=r"no parameter 'layers.1.wieght'.* Did you mean 'layers.1.weight'"):
        session.parameters["layers.1.wieght"]
    with pytest.raises(UsageError, match=r"no parameter or module 'layers.2.weigth'.*Did you mean"):
        session.gradient("layers.2.weigth")
    with pytest.raises(UsageError, match=r"no module 'encoder' in this session. There is model\."):
        seed.modules["encoder"]


def test_a_gradient_has_one_row_a_step_that_of_the_last_backward_call(make: Any) -> None:
    names = Parameters([parameter(0, "a"), parameter(1, "b")])
    session = make(
        [
            names,
            gradients(0, {0: [3, 4], 1: [1, 0]}, backward=0),
            gradients(0, {0: [6, 8]}, backward=1),
            step(0),
            gradients(1, {1: [2, 0]}, backward=0),
            step(1),
        ]
    )
    a, b = session.gradient("a"), session.gradient("b")
    assert (a.steps.tolist(), a.backward.tolist(), a.norm.tolist()) == ([0], [1], [10])
    assert (b.steps.tolist(), b.backward.tolist(), b.norm.tolist()) == ([0, 1], [0, 0], [1, 2])
    every = session.gradient("a", micro_batches=True)
    assert (every.steps.tolist(), every.backward.tolist(), every.norm.tolist()) == ([0, 0], [0, 1], [5, 10])
    assert b.zero_fraction.tolist() == [0.5, 0.5]
    assert (b.steps.dtype, b.count.dtype, b.norm.dtype) == (np.int64, np.int64, np.float64)


def test_gradients_that_are_not_finite_are_counted_and_told(make: Any) -> None:
    values = [math.nan, math.inf, -math.inf, -3.0, 1e-40, 0.0]
    series = make([Parameters([parameter(0, "a")]), gradients(0, {0: values}), step(0)]).gradient("a")
    assert [column[0] for column in (series.count, series.nan, series.inf, series.zeros, series.subnormals)] == [
        6,
        1,
        2,
        1,
        1,
    ]
    assert (series.min[0], series.abs_max[0]) == (-3.0, 3.0)
    series = make([Parameters([parameter(0, "a")]), gradients(0, {0: [math.nan]}), step(0)]).gradient("a")
    assert np.isnan([series.norm[0], series.min[0], series.mean[0], series.abs_max[0]]).all()


def test_columns_of_float64_keep_what_float32_cannot_hold(make: Any) -> None:
    record = gradients(0, {0: [1.0]})
    wide = replace(record, columns={**record.columns, "l2": column("<f8", [1e300])})
    session = make([Parameters([parameter(0, "a")]), wide, step(0)])
    assert session.gradient("a").norm.tolist() == [1e300]
    assert session.gradients_at(0).norm.tolist() == [1e300]


def test_a_gradient_that_never_came_is_empty(make: Any) -> None:
    series = make([Parameters([parameter(0, "a"), parameter(1, "b")]), gradients(0, {1: [1]}), step(0)]).gradient("a")
    assert len(series) == len(series.norm) == len(series.zero_fraction) == len(series.optimizer_steps) == 0
    assert series.histogram.shape == (0, HISTOGRAM_BINS)
    assert "never reached" in repr(series)


def test_module_outputs_are_asked_for_by_module_call_and_path(make: Any) -> None:
    outputs = [ModuleOutput(0, 1, "", 0), ModuleOutput(1, 1, "", 1), ModuleOutput(2, 2, "[0]", 0)]
    modules = [Module(0, "model", "", "Net"), Module(1, "model", "block", "Block"), Module(2, "model", "lstm", "LSTM")]
    modules.append(Module(3, "model", "idle", "Linear"))
    rows = gradients(0, {0: [1.0], 1: [2.0], 2: [3.0]}, "module")
    session = make([Modules(modules), ModuleOutputs(outputs), rows, step(0)])
    assert [session.gradient(name).norm[0] for name in ("block", "block#2", "lstm[0]")] == [1, 2, 3]
    assert session.gradients_at(0, "module").names == ["block", "block#2", "lstm[0]"]
    with pytest.raises(UsageError, match=r"'lstm' has several outputs: lstm\[0\]"):
        session.gradient("lstm")
    with pytest.raises(UsageError, match="No gradient of the output of module 'idle' was recorded"):
        session.gradient("idle")


def test_a_parameter_goes_before_a_module_of_the_same_name(make: Any) -> None:
    session = make(
        [
            Modules([Module(0, "model", "scale", "Scale")]),
            Parameters([parameter(0, "scale")]),
            ModuleOutputs([ModuleOutput(0, 0, "", 0)]),
            gradients(0, {0: [1.0]}),
            gradients(0, {0: [2.0]}, "module"),
            step(0),
        ]
    )
    assert session.gradient("scale").kind == "parameter"
    assert session.gradient("scale").norm.tolist() == [1.0]


def test_histograms_are_decoded_to_within_their_stated_error(make: Any) -> None:
    counts = np.zeros(HISTOGRAM_BINS)
    counts[:8] = [0, 1, 2, 3, 10, 1000, 123_456, 3e9]
    codes = [1 + round(8 * math.log2(count)) if count else 0 for count in counts]
    record = Histograms(4, 0, "parameter", column("<u4", [0]), Column("|u1", bytes(codes)))
    series = make([Parameters([parameter(0, "a")]), record, step(4)]).gradient("a")
    assert series.histogram_steps.tolist() == [4]
    assert series.histogram.shape == (1, HISTOGRAM_BINS)
    assert np.allclose(series.histogram[0], counts, rtol=0.0451, atol=0)
    assert (series.bin_edges[0], series.bin_edges[-1], len(series.bin_edges)) == (-47, 17, 65)


def test_histograms_follow_the_last_backward_call_too(make: Any) -> None:
    records = [histograms(0, {0: [1.0]}, backward=0), histograms(0, {0: [2.0, 2.0]}, backward=1)]
    session = make([Parameters([parameter(0, "a")]), *records, step(0)])
    assert session.gradient("a").histogram.sum(axis=1).tolist() == [2]
    assert session.gradient("a", micro_batches=True).histogram.sum(axis=1).tolist() == [1, 2]


def test_the_optimizers_columns_have_their_own_steps(make: Any) -> None:
    session = make(
        [
            Parameters([parameter(0, "a")]),
            *[gradients(number, {0: [1.0]}) for number in range(4)],
            optimizer_step(1, {0: (0.5, 2.0, 0.25)}),
            optimizer_step(3, {0: (1.0, 4.0, 0.125)}),
            *[step(number) for number in range(4)],
        ]
    )
    series = session.gradient("a")
    assert series.optimizer_steps.tolist() == [1, 3]
    assert series.gradient_norm_at_step.tolist() == [0.5, 1.0]
    assert series.parameter_norm.tolist() == [2.0, 4.0]
    assert series.update_ratio.tolist() == [0.25, 0.125]


def test_all_gradients_of_a_step_are_read_at_once(make: Any) -> None:
    session = make(
        [
            Parameters([parameter(0, "a"), parameter(1, "b")]),
            gradients(0, {0: [9.0]}),
            gradients(1, {0: [1.0], 1: [2.0]}, backward=0),
            gradients(1, {1: [3.0]}, backward=1),
            step(0),
            step(1),
        ]
    )
    rows = session.gradients_at(1)
    assert (rows.names, rows.norm.tolist(), rows.backward.tolist()) == (["a", "b"], [1.0, 3.0], [0, 1])
    every = session.gradients_at(1, micro_batches=True)
    assert (every.names, every.norm.tolist()) == (["a", "b", "b"], [1.0, 2.0, 3.0])
    assert every.row(2)["l2"] == 3.0
    assert len(session.gradients_at(1, "module")) == 0
    assert session.gradients_at(1, "module").last_calls_only().names == []
    assert [rows.norm.tolist() for rows in session.gradient_records()] == [[9.0], [1.0, 2.0], [3.0]]
    with pytest.raises(UsageError, match="It has steps 0 to 1"):
        session.gradients_at(7)


def test_gradients_of_nodes_are_named_by_their_ops(seed: Session) -> None:
    rows = seed.gradients_at(0, "node")
    assert rows.names == [node.name for node in SEED_NODES]
    assert rows.norm.tolist() == [10, 5, 5, 5, 1]


def test_a_graph_gives_nodes_edges_and_what_they_belong_to(seed: Session) -> None:
    view = seed.graph(step=0)
    product = view.nodes[2]
    assert (product.name, product.module, product.line, product.project_line) == (
        "MulBackward0",
        "model",
        "seed.py:6",
        "seed.py:6",
    )
    assert seed.line_text(product.site) == "y = w * x + b"
    assert view.nodes[0].parameter == "w"
    assert not product.in_backward
    (saved,) = product.saved
    assert (saved.role, saved.shape, saved.dtype, saved.bytes) == ("other", (), "float32", 4)
    assert (saved.storage_bytes, saved.tensor_class, saved.device, saved.line) == (4, "input", "cpu", "seed.py:6")
    assert view.nodes[0].outputs == [((), "float32")]
    assert view.nodes[1].outputs == []
    assert product.gradient is not None
    assert product.gradient["l2"] == 5
    assert view.variant_of is None
    assert repr(product) == "<node 2 MulBackward0 model seed.py:6>"


def test_a_graph_of_100000_nodes_is_walked_without_trouble(make: Any) -> None:
    count = 100_000
    nodes = [Node("AccumulateGrad", parameter=0)] + [Node("AddBackward0")] * (count - 1)
    chain = graph(0, nodes, [(n, 0, n - 1, 0) for n in range(1, count)], [count - 1])
    view = make([Parameters([parameter(0, "w")]), chain, backward(0, graph=0), step(0)]).graph(0)
    assert len(view.nodes) == count
    assert view.nodes[-1].name == "AddBackward0"
    assert sum(edge.source - edge.target for edge in view.edges) == count - 1
    assert sum(node.parameter == "w" for node in view.nodes) == 1


def test_a_graph_that_was_not_recorded_is_refused_with_the_reason(make: Any) -> None:
    session = make(
        [
            backward(0, unobserved="The graph is compiled."),
            step(0),
            step(1, backward_count=0),
            backward(2, 0, graph=5),
            step(2),
        ]
    )
    with pytest.raises(UsageError, match="No graph was recorded for backward call 0 of step 0: The graph is compiled"):
        session.graph(0)
    with pytest.raises(UsageError, match=r"Step 1 has no backward call\."):
        session.graph(1)
    with pytest.raises(UsageError, match="backward calls 0 to 0; there is no call 3"):
        session.graph(2, 3)
    with pytest.raises(SessionDamaged, match="graph 5, which step 2 had, is not in it"):
        session.graph(2)


def test_by_default_the_last_call_with_a_graph_is_shown_and_variants_are_told_apart(make: Any) -> None:
    one = graph(0, [Node("AccumulateGrad"), Node("MulBackward0")], [(1, 0, 0, 0)], [1])
    two = graph(1, [Node("AccumulateGrad"), Node("AddBackward0")], [(1, 0, 0, 0)], [1])
    calls = [backward(0, 0, graph=0), backward(0, 1, graph=1), backward(0, 2), backward(3, 0, graph=0)]
    session = make([one, two, *calls, step(0), step(3)])
    assert session.graph(0).id == 1
    assert session.graph(0).variant_of == 0
    assert session.graph(0, backward=0).id == 0
    assert [(variant.id, variant.steps.tolist()) for variant in session.variants] == [(0, [0, 3]), (1, [0])]


HELD_NAMES: list[Record] = [
    Sites([Site(0, "/home/someone/project/net.py", 3, "f"), Site(1, "/x/site-packages/lib/net.py", 9, "g")]),
    Modules([Module(0, "model", "", "Net"), Module(1, "model", "up", "Linear")]),
    graph(
        0,
        [
            Node("AccumulateGrad"),
            Node("MulBackward0", module=1, site=0),
            Node("SinBackward0", module=0, site=1),
            Node("MulBackward0", module=1, site=0),
        ],
        [(3, 0, 2, 0), (2, 0, 1, 0), (1, 0, 0, 0)],
        [3],
    ),
    # Storage 0 is saved by nodes 2 and 1: node 1, earlier in the forward, is charged for it.
    ledger(
        0,
        0,
        [
            Saved(2, "self", 0, (8,)),
            Saved(1, "result", 0, (8,)),
            Saved(3, "other", 1, (4,), site=1),
            Saved(3, "self", 2, (2,)),
            Saved(-1, "packed", 3, (1,)),
        ],
        [Storage(32), Storage(16, "input"), Storage(8, "parameter"), Storage(100, "not observable")],
    ),
]


def test_held_bytes_are_grouped_by_who_saved_first_and_every_grouping_has_the_same_total(make: Any) -> None:
    session = make([*HELD_NAMES, backward(0, graph=0, ledger=0), step(0)])
    view = session.held(0)
    assert view.total_bytes == 148
    assert view.class_bytes == {
        "activation": 32,
        "parameter": 8,
        "buffer": 0,
        "input": 16,
        "optimizer state": 0,
        "not observable": 100,
    }
    assert view.by("node") == [("(unknown)", 100), ("MulBackward0 #1", 32), ("MulBackward0 #3", 16)]
    assert view.by("line") == [("(unknown line)", 100), ("net.py:3", 32), ("lib/net.py:9", 16)]
    assert view.by("module") == [("(no module)", 100), ("up", 48)]
    assert view.by("role") == [("packed", 100), ("result", 32), ("other", 16)]
    assert view.by("class", classes=("activation", "parameter")) == [("activation", 32), ("parameter", 8)]
    for key in ("module", "line", "op", "node", "dtype", "class", "role", "device"):
        assert sum(size for _, size in view.by(key)) == view.total_bytes
        assert [size for _, size in view.by(key)] == sorted((size for _, size in view.by(key)), reverse=True)


def test_what_held_bytes_cannot_be_grouped_by_is_refused_listing_what_they_can(make: Any) -> None:
    view = make([*HELD_NAMES, backward(0, graph=0, ledger=0), step(0)]).held(0)
    with pytest.raises(UsageError, match=r"by 'layer'. Choose one of: module, line, op, node, dtype, class, role"):
        view.by("layer")
    with pytest.raises(UsageError, match=r"no class of tensor .*weights.*There are: activation, parameter"):
        view.by("line", classes=("weights",))


def test_the_curve_the_releases_and_the_peak_are_those_recorded(make: Any) -> None:
    records = [*HELD_NAMES, backward(0, graph=0, ledger=0)]
    marked = replace(
        held(0, [(0, 148), (50, 100), (90, 0)], [50, 90, -1, 90]),
        on_peak=column("|u1", [1, 1, 0, 0, 0]),
        peak_bytes=148,
    )
    view = make([*records, marked, step(0)]).held(0)
    times, sizes = view.curve
    assert (times.tolist(), sizes.tolist()) == ([0, 50, 90], [148, 100, 0])
    assert view.peak_bytes == 148
    assert view.released is not None
    assert view.released.tolist() == [50, 90, -1, 90]
    assert [saved.op for saved in view.on_peak] == ["SinBackward0", "MulBackward0"]
    assert (view.curve_source, view.release_source) == ("walk", "observed")
    without = make([*records, step(0)]).held(0)
    assert without.peak_bytes is None
    assert without.released is None
    assert len(without.curve[0]) == 0
    assert len(without.on_peak) == 5


def test_without_a_ledger_totals_are_told_and_groupings_refused_with_the_reason(make: Any) -> None:
    session = make(
        [
            backward(0, class_bytes=[10, 20, 30, 40, 50, 60]),
            step(0),
            backward(1, unobserved="Compiled autograd runs this call."),
            step(1),
        ]
    )
    assert session.held(0).total_bytes == 110
    assert session.held(0).class_bytes["buffer"] == 30
    with pytest.raises(UsageError, match=r"not recorded at backward call 0 of step 0. As a file grows"):
        session.held(0).by("line")
    with pytest.raises(UsageError, match="is not observable: Compiled autograd"):
        _ = session.held(1).total_bytes


def test_sources_are_found_by_their_name_and_lines_by_their_site(seed: Session) -> None:
    assert seed.source("seed.py") == seed.source(FILE) == seed.sources[FILE]
    assert seed.line_text(1) == "loss = y ** 2"
    assert seed.site(1).line == 7
    with pytest.raises(UsageError, match=r"no source file 'train.py'"):
        seed.source("train.py")
    with pytest.raises(UsageError, match="no source site 9"):
        seed.site(9)


def test_a_source_name_that_fits_two_files_is_not_guessed(make: Any) -> None:
    session = make([SourceFile("/a/net.py", "", "1"), SourceFile("/b/net.py", "", "2")])
    assert session.source("b/net.py") == "2"
    with pytest.raises(UsageError, match=r"no single source file .*/net.py.*/net.py"):
        session.source("net.py")


def test_lines_are_counted_as_python_counts_them(make: Any) -> None:
    text = "import torch\r\n\x0cdef loss(x):\n    return x.sum()\n"
    session = make([SourceFile("/a/net.py", "", text), Sites([Site(0, "/a/net.py", 3, "loss")])])
    assert session.line_text(0) == "return x.sum()"


def test_a_session_follows_its_recording(tmp_path: Path) -> None:
    path = tmp_path / "live.gradwatch"
    first = session_bytes([seed_names() + seed_step(0, 1.0, 0.5)], finish=None)
    whole = session_bytes([seed_names() + seed_step(0, 1.0, 0.5), seed_step(1, 0.9, 0.45)])
    path.write_bytes(first)
    with open_session(path) as session:
        assert (len(session.steps), session.finish) == (1, None)
        assert not session.refresh()
        with path.open("ab") as file:
            file.write(whole[len(first) :])
        assert session.refresh()
        assert (len(session.steps), session.finished) == (2, True)
        assert session.finish is not None
        assert session.gradient("w").norm.tolist() == [10, 9]
        assert session.graph(1).nodes[0].parameter == "w"


def test_columns_that_do_not_fit_are_damage_and_never_an_index_error(make: Any) -> None:
    good = graph(0, [Node("AccumulateGrad"), Node("MulBackward0")], [(1, 0, 0, 0)], [1])
    for broken in (
        replace(good, name=column("<i4", [0, 7])),
        replace(good, name=column("<i4", [0])),
        replace(good, site=Column("O", bytes(8))),
        replace(good, edge_target=column("<u4", [9])),
    ):
        session = make([broken, backward(0, graph=0), step(0)])
        with pytest.raises(SessionDamaged, match="a column"):
            _ = [session.graph(0).nodes[0].name, session.graph(0).edges[0]]


def test_a_missing_file_is_refused_with_a_way_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(SessionNotFound, match="gradwatch run -o"):
        open_session(tmp_path / "run.gradwatch")


def test_sessions_open_without_torch() -> None:
    program = f"""
import sys
import gradwatch
with gradwatch.open({str(GOLDEN / "seed.gradwatch")!r}) as session:
    assert session.gradient("w").norm[0] == 10
    session.graph(0).nodes[2].saved, session.held(0).by("line")
print(sorted({{name.partition(".")[0] for name in sys.modules}} & {{"torch", "IPython", "rich"}}))
"""
    package = str(Path(__file__).parent.parent / "kernel_ext")
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONPATH": package}
    )
    assert output.stdout.strip() == "[]"


def test_a_run_names_lines_by_where_it_was_started(make: Any) -> None:
    one = graph(0, [Node("MulBackward0", site=0)], [(0, 0, 0, 0)], [0])
    sites = Sites([Site(0, "/elsewhere/net.py", 3, "f")])
    assert make([one, sites, backward(0, graph=0), step(0)]).graph(0).nodes[0].line == "/elsewhere/net.py:3"
    moved = replace(RUN, working_directory="/elsewhere")
    assert make([one, sites, backward(0, graph=0), step(0)], run=moved).graph(0).nodes[0].line == "net.py:3"
