"""What `gradwatch.session` says about each golden session: TypeScript must read the same words out of the same files.

`python tests/golden_answers.py` writes tests/golden/answers/*.json anew: one for each session, and one about the seed
session with a byte flipped, or cut short, at many places.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import gradwatch
from gradwatch.errors import SessionError, UsageError
from gradwatch.records import STATISTIC_DTYPES

if TYPE_CHECKING:
    from gradwatch.session.session import Session

GOLDEN = Path(__file__).parent / "golden"
ANSWERS = GOLDEN / "answers"
DAMAGE_EVERY = 97
"""Bytes between the places where the seed session is damaged; a prime, so that it meets every kind of place."""
GROUPINGS = ("line", "module", "op", "dtype")


def plain(value: float | None) -> float | str | None:
    """JSON has no NaN and no infinity: they are texts."""
    return value if value is None or math.isfinite(value) else str(value)


def answers_about(session: Session) -> dict[str, Any]:
    return {
        "finished": session.finished,
        "finish": session.finish.reason if session.finish else None,
        "start_ns": str(session.run.start_ns),
        "steps": [_step(session, view.number) for view in session.steps],
        "parameters": session.parameters.names,
        "modules": session.modules.names,
        "outputs": _outputs(session),
        "curves": {name: _curve(session, name) for name in [*session.parameters.names, *_outputs(session)]},
        "variants": [[variant.id, variant.steps.tolist()] for variant in session.variants],
        "notices": [notice.text for notice in session.notices],
        "stops": [stop.number for stop in session.stops],
        "sources": {path: len(text) for path, text in session.sources.items()},
        "gaps": [[gap.topic, gap.offset] for gap in session.reader.verify()],
    }


def _outputs(session: Session) -> list[str]:
    return list(session.names._outputs_by_name)


def _step(session: Session, number: int) -> dict[str, Any]:
    view = session.step(number)
    return {
        "number": number,
        "complete": view.complete,
        "loss": plain(view.loss),
        "start_ns": str(view.start_ns) if view.complete else None,
        "calls": [[call.index, call.graph_id, call.ledger_id] for call in view.backwards],
        "rows": _rows(session, number),
        "graph": _graph(session, number),
        "held": _held(session, number),
    }


def _rows(session: Session, number: int) -> dict[str, float | str | None]:
    rows = session.gradients_at(number)
    return {name: plain(norm) for name, norm in zip(rows.names, rows.norm.tolist(), strict=True)}


def _graph(session: Session, number: int) -> dict[str, Any] | None:
    try:
        graph = session.graph(number)
    except UsageError:
        return None
    return {"id": graph.id, "nodes": [node.name for node in graph.nodes], "edges": len(graph.edges)}


def _held(session: Session, number: int) -> dict[str, Any] | None:
    try:
        held = session.held(number)
        return {
            "total": held.total_bytes,
            "classes": held.class_bytes,
            "by": {key: held.by(key) for key in GROUPINGS},
            "peak": held.peak_bytes,
        }
    except UsageError:
        return None


def _curve(session: Session, name: str) -> dict[str, Any]:
    """Steps, calls and every statistic; None for a count that was not recorded."""
    curve = session.gradient(name)
    columns = {key: [plain(value) for value in curve.columns[key].tolist()] for key in STATISTIC_DTYPES}
    return {"steps": curve.steps.tolist(), "backward": curve.backward.tolist(), **columns}


def damage_answers(content: bytes) -> dict[str, list[Any]]:
    """What is said about the session with the byte at each place flipped, and about its bytes before each place."""
    places = range(0, len(content), DAMAGE_EVERY)
    flipped = [content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :] for at in places]
    return {
        "flips": [_about_damaged(one) for one in flipped],
        "cuts": [_about_damaged(content[:at]) for at in places],
    }


def _about_damaged(content: bytes) -> dict[str, Any] | str:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "damaged.gradwatch"
        path.write_bytes(content)
        try:
            with gradwatch.open(path) as session:
                return {
                    "steps": [[view.number, view.complete, plain(view.loss)] for view in session.steps],
                    "w": session.gradient("w").norm.tolist() if "w" in session.parameters else None,
                    "gaps": [[gap.topic, gap.offset] for gap in session.reader.verify()],
                }
        except SessionError as error:
            return type(error).__name__


def golden_answers() -> dict[str, str]:
    """The text of every golden file, by its name."""
    texts: dict[str, str] = {}
    for path in sorted(GOLDEN.glob("*.gradwatch")):
        with gradwatch.open(path) as session:
            texts[f"{path.stem}.json"] = json.dumps(answers_about(session), indent=1, ensure_ascii=False) + "\n"
    damage = damage_answers((GOLDEN / "seed.gradwatch").read_bytes())
    texts["damage.json"] = json.dumps(damage, ensure_ascii=False) + "\n"
    return texts


if __name__ == "__main__":
    ANSWERS.mkdir(exist_ok=True)
    for old in ANSWERS.glob("*.json"):
        old.unlink()
    for name, text in golden_answers().items():
        (ANSWERS / name).write_text(text, encoding="utf-8")
        sys.stdout.write(f"{ANSWERS / name}\n")
