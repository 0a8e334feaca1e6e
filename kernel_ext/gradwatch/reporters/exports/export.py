"""Exports: a session file and a target in, files for another tool out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gradwatch.errors import UsageError
from gradwatch.reporters.exports import html_page, memory_viz, perfetto, tensorboard
from gradwatch.reporters.exports.csv_tables import write_columns, write_csv
from gradwatch.reporters.exports.parquet_tables import require_pyarrow, write_parquet
from gradwatch.reporters.exports.place import place
from gradwatch.reporters.exports.progress import Progress
from gradwatch.reporters.exports.source import Source, steps_asked
from gradwatch.reporters.exports.tables import TABLES
from gradwatch.session.session import Session

if TYPE_CHECKING:
    from gradwatch.reporters.exports.columns import Table
    from gradwatch.reporters.exports.targets import Target

_ENDINGS: dict[Target, str] = {
    "csv": "_csv",
    "parquet": "_parquet",
    "tensorboard": "_tensorboard",
    "perfetto": ".trace.json",
    "memory-viz": ".memory.pickle",
    "html": ".html",
}


@dataclass(frozen=True, slots=True)
class Request:
    """What to export: `steps` as "10:20", `table` the one to write where not all are, `output` where not by name."""

    file: str
    target: Target
    output: str | None = None
    steps: str | None = None
    table: str | None = None
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written, in words, and what the reader must be told beside it."""

    path: Path
    text: str
    notes: tuple[str, ...]


def export(request: Request) -> Exported:
    """Write a session in another tool's format. Raises UsageError, SessionError, or GradwatchError when it fails."""
    if request.table is not None and request.target not in ("csv", "parquet"):
        raise UsageError(f"--table is for csv and parquet; {request.target} has no tables.")
    tables = _tables(request.table)
    if request.target == "parquet":
        require_pyarrow()
    if request.target == "html":
        html_page.require_bundle()
    path = _output(request)
    if path.exists() and Path(request.file).exists() and path.samefile(request.file):
        raise UsageError(f"{path} is the session itself. Name another file with -o.")
    with Session(request.file) as session:
        steps, notes = _steps(request, session)
        what = f"{Path(request.file).name} to {request.target}"
        with (
            place(path, is_folder=_is_folder(request), overwrite=request.overwrite) as beside,
            Progress(session, _reads(request.target, tables), steps, what) as progress,
        ):
            source = Source(session, steps, progress)
            if request.target == "html":
                page = html_page.write_page(source, beside)
                text, notes = f"{page.steps:,} steps, {beside.stat().st_size:,} bytes", (*notes, *page.notes)
            else:
                text = _write(request, source, tables, beside)
        return Exported(path, text, (*notes, *_losses(session, source)))


def _write(request: Request, source: Source, tables: tuple[Table, ...], beside: Path) -> str:
    if request.target == "perfetto":
        return f"{perfetto.write_perfetto(source, beside):,} events"
    if request.target == "memory-viz":
        return f"{memory_viz.write_memory_viz(source, beside):,} storages"
    if request.target == "tensorboard":
        return f"{tensorboard.write_tensorboard(source, beside):,} events"
    write = write_csv if request.target == "csv" else write_parquet
    if request.table is not None:
        return f"{write(source, tables[0], beside):,} rows"
    if request.target == "csv":
        write_columns(tables, beside / "columns.csv")
    rows = sum(write(source, table, beside / f"{table.name}.{request.target}") for table in tables)
    return f"{len(tables)} tables, {rows:,} rows"


def _steps(request: Request, session: Session) -> tuple[range | None, tuple[str, ...]]:
    steps = steps_asked(request.steps, session)
    if steps is not None or request.target != "memory-viz":
        return steps, ()
    fullest = memory_viz.fullest_step(session)
    if fullest is None:
        return range(0), ()
    return fullest, (f"Of step {fullest[0]}, which held most; others with --steps.",)


def _tables(name: str | None) -> tuple[Table, ...]:
    chosen = tuple(table for table in TABLES if name in (None, table.name))
    if not chosen:
        raise UsageError(f"There is no table {name!r}. There are: {', '.join(table.name for table in TABLES)}.")
    return chosen


def _reads(target: Target, tables: tuple[Table, ...]) -> tuple[type, ...]:
    if target == "perfetto":
        return perfetto.READS
    if target == "memory-viz":
        return memory_viz.READS
    if target == "tensorboard":
        return tensorboard.READS
    if target == "html":
        return html_page.READS
    return tuple(kind for table in tables for kind in table.reads)


def _output(request: Request) -> Path:
    if request.output is not None:
        return Path(request.output)
    file = Path(request.file)
    name = file.name.removesuffix(".gradwatch")
    ending = _ENDINGS[request.target] if request.table is None else f".{request.table}.{request.target}"
    return file.with_name(f"{name}{ending}")


def _is_folder(request: Request) -> bool:
    return request.table is None and request.target in ("csv", "parquet", "tensorboard")


def _losses(session: Session, source: Source) -> tuple[str, ...]:
    gaps, damaged = len(session.gaps), source.damaged
    lost = [f"{count:,} {what}" for count, what in ((gaps, "places"), (damaged, "records")) if count]
    return (f"{' and '.join(lost)} of the session could not be read; they are left out.",) if lost else ()
