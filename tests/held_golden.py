"""What `gradwatch.session` counts as held in the golden snapshots: the numbers that the panel must show too.

`python tests/held_golden.py` writes tests/golden/held/*.json anew, one for each snapshot with a ledger.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

import gradwatch
from gradwatch.records import Modules, Parameters, Sites, Snapshot
from session_factory import session_bytes, step

SNAPSHOTS = Path(__file__).parent / "golden" / "snapshots"
HELD = Path(__file__).parent / "golden" / "held"
GROUPINGS = ("line", "module", "op", "dtype")


@dataclass
class Answer:
    kind: str
    value: msgspec.Raw


def snapshot_of(path: Path) -> Snapshot | None:
    """The snapshot that a debuggee's answer holds; None for another kind of answer."""
    answer = msgspec.json.decode(path.read_bytes(), type=Answer)
    return msgspec.json.decode(answer.value, type=Snapshot) if answer.kind == "Snapshot" else None


def held_numbers(snapshot: Snapshot) -> dict[str, Any] | None:
    """Total, classes and groups of the ledger, as a session with the same records answers them; None without one."""
    graph, ledger, backward = snapshot.graph, snapshot.ledger, snapshot.backward
    if graph is None or ledger is None or backward is None:
        return None
    call = replace(backward, step=0, index=0, graph=graph.id, ledger=ledger.id)
    records = [
        Modules(snapshot.modules),
        Parameters(snapshot.parameters),
        Sites(snapshot.sites),
        graph,
        ledger,
        call,
        step(0),
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "snapshot.gradwatch"
        path.write_bytes(session_bytes([records], snapshot.run))
        with gradwatch.open(path) as session:
            held = session.held(0)
            return {
                "total": held.total_bytes,
                "classes": held.class_bytes,
                "by": {key: held.by(key) for key in GROUPINGS},
            }


def golden_numbers() -> dict[str, str]:
    """The text of every golden file, by its name."""
    texts: dict[str, str] = {}
    for path in sorted(SNAPSHOTS.glob("*.json")):
        snapshot = snapshot_of(path)
        numbers = None if snapshot is None else held_numbers(snapshot)
        if numbers is not None:
            texts[path.name] = json.dumps(numbers, indent=1, ensure_ascii=False) + "\n"
    return texts


if __name__ == "__main__":
    HELD.mkdir(exist_ok=True)
    for old in HELD.glob("*.json"):
        old.unlink()
    for name, text in golden_numbers().items():
        (HELD / name).write_text(text, encoding="utf-8")
        sys.stdout.write(f"{HELD / name}\n")
