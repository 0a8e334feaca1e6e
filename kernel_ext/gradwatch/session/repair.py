"""Makes an unfinished session file into one that every MCAP reader opens, without losing a whole record.

Order matters: damaged stretches are marked, the torn tail is cut off, then summary and footer are
appended in one write. Killed in between, the file is as readable as before and can be repaired again.
"""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gradwatch.errors import SessionDamaged, UsageError
from gradwatch.records import Notice
from gradwatch.session.chunk_index import ChunkIndex
from gradwatch.session.container import CHANNEL_IDS, DAMAGED_CHUNK, RECORD_HEAD, Entry, encode_chunk, encode_tail
from gradwatch.session.encoding import encode
from gradwatch.session.reader import SessionReader

if TYPE_CHECKING:
    from pathlib import Path

    from gradwatch.records import Run


@dataclass(frozen=True, slots=True)
class RepairResult:
    """How many whole chunks the file has, and how many bytes of a torn tail were dropped."""

    chunks: int
    bytes_dropped: int
    was_finished: bool


def repair(path: str | Path, *, force: bool = False) -> RepairResult:
    """Cut off the torn tail of a session file and write its summary and footer. A finished file is left as it is.

    Chunks that do not unpack stay where they are, marked so that readers step over them. Raises UsageError
    while the process that records it is alive on this machine, unless `force`; SessionDamaged when the file
    cannot be written; and what opening a session raises.
    """
    reader = SessionReader(path)
    try:
        if reader.complete:
            return RepairResult(len(reader.index), 0, was_finished=True)
        if not force:
            _refuse_while_recorded(reader.path, reader.run)
        return _finish(reader)
    except OSError as error:
        raise SessionDamaged(path, f"it cannot be repaired ({error.strerror})") from error
    finally:
        reader.close()


def _finish(reader: SessionReader) -> RepairResult:
    damaged, whole = _sort_out(reader)
    short = [length for _, length in damaged if length < RECORD_HEAD.size]
    if short:
        raise SessionDamaged(reader.path, f"{short[0]} bytes that are no record stand there, too few to be marked")
    end = reader.end_of_records
    chunks, dropped = len(whole), reader.source.size() - end
    tail = _notice(end, whole, len(damaged), dropped) if damaged or (dropped and not reader.finished) else b""
    tail += encode_tail(end + len(tail), whole, reader.head)
    with reader.path.open("r+b", buffering=0) as file:
        for start, length in damaged:
            file.seek(start)
            file.write(RECORD_HEAD.pack(DAMAGED_CHUNK, length - RECORD_HEAD.size))
        file.truncate(end)
        file.seek(end)
        file.write(tail)
        os.fsync(file.fileno())
    return RepairResult(chunks, dropped, was_finished=False)


def _notice(offset: int, index: ChunkIndex, damaged: int, dropped: int) -> bytes:
    """Encode, and index, a chunk that tells readers what the repair left out."""
    text = f"This file was repaired: {damaged} damaged stretches left out, {dropped} bytes cut off its end."
    notice = encode(Notice(kind="recorder", text=text, probe="repair"))
    last_ns = max((entry.end_ns for _, entry in index.in_file_order()), default=0)
    chunk, place = encode_chunk(CHANNEL_IDS["/notices"], [Entry(last_ns, 0, notice)])
    index.add(CHANNEL_IDS["/notices"], replace(place, offset=offset))
    return chunk


def _sort_out(reader: SessionReader) -> tuple[list[tuple[int, int]], ChunkIndex]:
    """Unpack every chunk: return the stretches (offset, length) that are damaged, and the chunks that are whole."""
    damaged = reader.skipped
    marked = [range(start, start + length) for start, length in damaged]
    whole = ChunkIndex()
    for channel, entry in reader.index.in_file_order():
        if any(entry.offset in stretch for stretch in marked):
            continue
        if reader.read_chunk(entry) is None:
            damaged.append((entry.offset, entry.length))
        else:
            whole.add(channel, entry)
    return damaged, whole


def _refuse_while_recorded(path: Path, run: Run) -> None:
    if run.hostname == socket.gethostname() and _is_running(run.pid):
        raise UsageError(
            f"{path} is still being recorded by process {run.pid}: repairing it now would cut its records.\n"
            "Wait for it to end. If that process is another one, repair with force=True (--force)."
        )


def _is_running(pid: int) -> bool:
    if pid <= 0 or sys.platform == "win32":
        return False  # on Windows there is no asking without a handle: the open file refuses to be cut instead
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
