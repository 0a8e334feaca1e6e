"""Small sessions from hand-made records: no torch, no threads, the same every time."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gradwatch.records import (
    COMPILED_PHASES,
    HISTOGRAM_BINS,
    HISTOGRAM_LOWEST_EXPONENT,
    TENSOR_CLASSES,
    Backward,
    Column,
    CompiledRegion,
    Finish,
    Gradients,
    Graph,
    Held,
    Histograms,
    Ledger,
    OptimizerStep,
    Parameter,
    Record,
    Run,
    Step,
    SubjectKind,
)
from gradwatch.session.chunk_writer import ChunkWriter

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from gradwatch.session.series_writer import SeriesWriter

START_NS = 1_700_000_000_000_000_000
STEP_NS = 1_000_000

RUN = Run(
    format_version=1,
    gradwatch_version="0.1.0",
    detail="nodes",
    start_ns=START_NS,
    hostname="example",
    pid=4242,
    rank=0,
    world_size=1,
    argv=["seed.py"],
    working_directory="/home/someone/project",
    python_version="3.11.9",
    torch_version="2.13.0",
    cuda_version=None,
    platform="Linux",
    devices=["cpu"],
    git_revision=None,
    git_dirty=None,
    line_source="line clock",
)

FINISH = Finish(end_ns=START_NS + 10 * STEP_NS, reason="the program ended", steps=2, cost_ns=20, records_dropped=0)


def column(dtype: str, values: Iterable[float]) -> Column:
    return Column(dtype, np.array(list(values), dtype=dtype).tobytes())


def numbers(column_: Column) -> list[float]:
    return np.frombuffer(column_.data, dtype=column_.dtype).tolist()


def statistics(tensors: Sequence[Sequence[float]]) -> dict[str, Column]:
    """Statistics of some lists of numbers, worked out the slow and plain way."""
    rows = [_statistics_of(values) for values in tensors]
    dtypes = {"count": "<u8", "zeros": "<u8", "nan": "<u8", "inf": "<u8", "subnormals": "<u8"}
    names = [*dtypes, "min", "max", "mean", "l1", "l2"]
    return {name: column(dtypes.get(name, "<f4"), [row[name] for row in rows]) for name in names}


def _statistics_of(values: Sequence[float]) -> dict[str, float]:
    finite = [value for value in values if math.isfinite(value)]
    none = math.nan
    return {
        "count": len(values),
        "zeros": sum(value == 0 for value in values),
        "nan": sum(math.isnan(value) for value in values),
        "inf": sum(math.isinf(value) for value in values),
        "subnormals": sum(0 < abs(value) < 2**-126 for value in values),
        "min": min(finite, default=none),
        "max": max(finite, default=none),
        "mean": sum(finite) / len(finite) if finite else none,
        "l1": sum(map(abs, finite)) if finite else none,
        "l2": math.sqrt(sum(value * value for value in finite)) if finite else none,
    }


def gradients(
    step: int, tensors: Mapping[int, Sequence[float]], kind: SubjectKind = "parameter", backward: int = 0
) -> Gradients:
    return Gradients(step, backward, kind, column("<u4", tensors), statistics(list(tensors.values())))


def histograms(step: int, tensors: dict[int, Sequence[float]], backward: int = 0) -> Histograms:
    codes = np.zeros((len(tensors), HISTOGRAM_BINS), dtype=np.uint8)
    for row, values in enumerate(tensors.values()):
        counts = np.zeros(HISTOGRAM_BINS)
        for value in values:
            exponent = math.floor(math.log2(abs(value))) - HISTOGRAM_LOWEST_EXPONENT
            counts[min(max(exponent, 0), HISTOGRAM_BINS - 1)] += 1
        codes[row] = [1 + round(8 * math.log2(count)) if count else 0 for count in counts]
    return Histograms(step, backward, "parameter", column("<u4", tensors), Column("|u1", codes.tobytes()))


def optimizer_step(step: int, rows: dict[int, tuple[float, float, float]]) -> OptimizerStep:
    """Make one from (gradient norm, parameter norm, update ratio) by parameter id."""
    names = ("gradient_norm", "parameter_norm", "update_ratio")
    columns = {
        name: column("<f4", values) for name, values in zip(names, zip(*rows.values(), strict=True), strict=True)
    }
    return OptimizerStep(step, 0, "SGD", column("<u4", rows), columns)


@dataclass(frozen=True)
class Node:
    name: str
    module: int = -1
    site: int = -1
    parameter: int = -1


def graph(number: int, nodes: Sequence[Node], edges: Sequence[tuple[int, int, int, int]], roots: list[int]) -> Graph:
    """Make a graph; edges are (source, slot, target, input_nr)."""
    names = list(dict.fromkeys(node.name for node in nodes))
    source, slot, target, input_nr = zip(*edges, strict=True)
    sites = column("<i4", [node.site for node in nodes])
    return Graph(
        id=number,
        digest=f"digest-{number}",
        names=names,
        node_count=len(nodes),
        name=column("<i4", [names.index(node.name) for node in nodes]),
        module=column("<i4", [node.module for node in nodes]),
        site=sites,
        project_site=sites,
        parameter=column("<i4", [node.parameter for node in nodes]),
        in_backward=column("|u1", [0] * len(nodes)),
        roots=roots,
        edge_count=len(edges),
        edge_source=column("<u4", source),
        edge_slot=column("<u4", slot),
        edge_target=column("<u4", target),
        edge_input_nr=column("<u4", input_nr),
    )


@dataclass(frozen=True)
class RegionOp:
    """An op of a compiled region; `uses` are those whose results it takes, counted over both phases."""

    name: str
    target: str
    shape: tuple[int, ...] = ()
    site: int = -1
    module: int = -1
    saved: bool = False
    recomputed: bool = False
    forward_op: int = -1
    uses: tuple[int, ...] = ()


def region(number: int, name: str, forward: Sequence[RegionOp], in_backward: Sequence[RegionOp]) -> CompiledRegion:
    """Make a region of float32 tensors, compiled by inductor."""
    ops = [*forward, *in_backward]
    targets = list(dict.fromkeys(op.target for op in ops))
    shapes = list(dict.fromkeys(op.shape for op in ops))
    phases = [COMPILED_PHASES.index("forward")] * len(forward) + [COMPILED_PHASES.index("backward")] * len(in_backward)
    edges = [(source, target) for target, op in enumerate(ops) for source in op.uses]
    sites = column("<i4", [op.site for op in ops])
    return CompiledRegion(
        id=number,
        name=name,
        backend="inductor",
        op_count=len(ops),
        op_names=[op.name for op in ops],
        targets=targets,
        shapes=[list(shape) for shape in shapes],
        dtypes=["float32"],
        target=column("<i4", [targets.index(op.target) for op in ops]),
        phase=column("|u1", phases),
        site=sites,
        project_site=sites,
        module=column("<i4", [op.module for op in ops]),
        shape=column("<i4", [shapes.index(op.shape) for op in ops]),
        dtype=column("<i4", [0] * len(ops)),
        saved=column("|u1", [op.saved for op in ops]),
        recomputed=column("|u1", [op.recomputed for op in ops]),
        forward_op=column("<i4", [op.forward_op for op in ops]),
        edge_count=len(edges),
        edge_source=column("<u4", [source for source, _ in edges]),
        edge_target=column("<u4", [target for _, target in edges]),
    )


@dataclass(frozen=True)
class Saved:
    node: int
    role: str
    storage: int
    shape: tuple[int, ...] = ()
    site: int = -1


@dataclass(frozen=True)
class Storage:
    bytes: int
    tensor_class: str = "activation"


def ledger(number: int, graph_id: int, saved: Sequence[Saved], storages: Sequence[Storage]) -> Ledger:
    """Make a ledger of float32 tensors on the CPU, with one scalar output of node 0."""
    roles = list(dict.fromkeys(row.role for row in saved))
    shapes = list(dict.fromkeys([(), *(row.shape for row in saved)]))
    return Ledger(
        id=number,
        graph=graph_id,
        roles=roles,
        shapes=[list(shape) for shape in shapes],
        dtypes=["float32"],
        devices=["cpu"],
        saved_count=len(saved),
        node=column("<i4", [row.node for row in saved]),
        role=column("<i4", [roles.index(row.role) for row in saved]),
        shape=column("<i4", [shapes.index(row.shape) for row in saved]),
        dtype=column("<i4", [0] * len(saved)),
        storage=column("<i4", [row.storage for row in saved]),
        tensor_bytes=column("<u8", [4 * math.prod(row.shape) for row in saved]),
        site=column("<i4", [row.site for row in saved]),
        recomputed=column("|u1", [0] * len(saved)),
        storage_count=len(storages),
        storage_bytes=column("<u8", [storage.bytes for storage in storages]),
        storage_class=column("|u1", [TENSOR_CLASSES.index(storage.tensor_class) for storage in storages]),  # type: ignore[arg-type]  # tests name classes freely
        storage_device=column("|u1", [0] * len(storages)),
        output_node=column("<i4", [0]),
        output_shape=column("<i4", [0]),
        output_dtype=column("<i4", [0]),
    )


def held(step: int, curve: Sequence[tuple[int, int]], released: Sequence[int], backward: int = 0) -> Held:
    """Make one from (ns, bytes) pairs whose first is the peak; storages die when they are released."""
    return Held(
        step=step,
        backward=backward,
        ledger=0,
        curve_source="walk",
        release_source="observed",
        peak_bytes=curve[0][1],
        peak_ns=curve[0][0],
        curve_ns=column("<i8", [ns for ns, _ in curve]),
        curve_bytes=column("<i8", [size for _, size in curve]),
        released_ns=column("<i8", released),
        died_ns=column("<i8", released),
        on_peak=Column("|u1", b""),
    )


def parameter(number: int, path: str, shape: Sequence[int] = (), **others: Any) -> Parameter:
    numel = math.prod(shape)
    plain = Parameter(
        id=number,
        root="model",
        path=path,
        shape=list(shape),
        dtype="float32",
        device="cpu",
        numel=numel,
        bytes=4 * numel,
        requires_grad=True,
    )
    return replace(plain, **others)


def backward(step: int, index: int = 0, graph: int = -1, ledger: int = -1, **others: Any) -> Backward:
    plain = Backward(
        step=step,
        index=index,
        call="backward",
        parent=-1,
        graph=graph,
        ledger=ledger,
        start_ns=step_start(step) + 100 + index,
        duration_ns=500,
        retain_graph=False,
        create_graph=False,
        has_inputs=False,
        thread=1,
    )
    return replace(plain, **others)


def step(number: int, loss: float | None = None, backward_count: int = 1, **others: Any) -> Step:
    start = step_start(number)
    plain = Step(number, "optimizer", start, start + 900, backward_count, 1, 10, loss)
    return replace(plain, **others)


def step_start(number: int) -> int:
    return START_NS + (number + 1) * STEP_NS


def session_bytes(
    flushes: Iterable[Iterable[Record]],
    run: Run = RUN,
    finish: Finish | None = FINISH,
    series: SeriesWriter | None = None,
) -> bytes:
    """Encode a session: each entry of `flushes` is what one flush writes. Without `finish` it is unfinished."""
    chunks = ChunkWriter(run)
    content = chunks.opening
    time_ns = run.start_ns
    for records in [*flushes, *([[finish]] if finish else [])]:
        for record in records:
            time_ns += 1
            chunks.add(record, time_ns, 0)
            if series is not None:
                for one in series.finish() if record is finish else series.add(record):
                    chunks.add(one, time_ns, 0)
        content += b"".join(chunks.take_chunks(len(content)))
    return content + chunks.tail(len(content)) if finish else content


def write_session(
    path: Path, flushes: Iterable[Iterable[Record]], run: Run = RUN, finish: Finish | None = FINISH
) -> Path:
    path.write_bytes(session_bytes(flushes, run, finish))
    return path
