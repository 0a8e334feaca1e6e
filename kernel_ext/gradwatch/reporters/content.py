"""Session -> the content of each report, in the shapes of json.py. Terminal, JSON and HTML only lay it out."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Literal

import numpy as np

from gradwatch.errors import UsageError
from gradwatch.findings.why import everything, why
from gradwatch.records import Backward
from gradwatch.reporters.findings import finding_rows
from gradwatch.reporters.gradient_rows import SORTS, Curves, gradient_table, trouble_only
from gradwatch.reporters.graph_rows import edge_rows, graph_if_recorded, graph_summary, node_rows
from gradwatch.reporters.held_rows import held_if_recorded, held_summary
from gradwatch.reporters.json import REPORT_FORMAT, REPORT_VERSION
from gradwatch.reporters.places import Quotes
from gradwatch.reporters.region_rows import region_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradwatch.records import SubjectKind
    from gradwatch.reporters import json as shapes
    from gradwatch.session.session import Session
    from gradwatch.session.steps import BackwardView, StepView

SHOWN_HELD_KEYS: tuple[shapes.HeldKey, ...] = ("line", "module")


def show_report(session: Session, step: int | None = None) -> shapes.ShowReport:
    """Say what `gradwatch show` says. `step` None is the last one. Raises UsageError for an unknown step."""
    view = _step(session, step) if step is not None or len(session.steps) else None
    table = gradient_table(session, view.number, "parameter") if view else None
    call = _walked_call(session, view, look_back=step is None) if view else None
    return {
        **_report(session, "show"),
        "findings": finding_rows(session, everything(session)),
        "step": view.number if view else None,
        "steps": table.steps if table else [],
        "loss": _series(session, lambda step: step.loss),
        "loss_scale": _series(session, lambda step: step.loss_scale),
        "skipped_steps": [step.number for step in session.steps if step.skipped],
        "gradient_norm": table.total if table else {"steps": [], "values": []},
        "gradients": table.rows if table else [],
        "held": held_if_recorded(session, call, SHOWN_HELD_KEYS) if call else None,
        "graph": graph_if_recorded(session, call) if call else None,
        "notices": _notices(session),
    }


def why_report(session: Session, name: str | None, step: int | None = None) -> shapes.WhyReport:
    """Say what `gradwatch why` says; `name` None: of all. Raises UsageError for an unknown name or step."""
    found = everything(session, step) if name is None else why(session, name, step)
    return {**_report(session, "why"), "name": name, "step": step, "findings": finding_rows(session, found)}


def gradients_report(  # noqa: PLR0913 # the command's own options
    session: Session,
    step: int | None,
    kind: SubjectKind,
    sort: shapes.Sort = "model",
    *,
    only_trouble: bool = False,
    backward: int | None = None,
) -> shapes.GradientsReport:
    """Say what `gradwatch gradients` says. `sort` is a key of SORTS. Raises UsageError for an unknown step or call."""
    call = None if backward is None else _call(session, step, backward)
    view = _step(session, step)
    table = gradient_table(session, view.number, kind, None if call is None else call.index)
    rows = sorted(table.rows, key=SORTS[sort])
    return {
        **_report(session, "gradients"),
        "step": view.number,
        "kind": kind,
        "only_trouble": only_trouble,
        "steps": table.steps,
        "gradients": trouble_only(rows) if only_trouble else rows,
    }


def held_report(
    session: Session, step: int | None, key: shapes.HeldKey, backward: int | None = None
) -> shapes.HeldReport:
    """Say what `gradwatch held` says. Raises UsageError for an unknown step or call, or where it was not recorded."""
    call = _call(session, step, backward)
    return {**_report(session, "held"), "held": held_summary(session, call, (key,))}


def graph_report(session: Session, step: int | None, backward: int | None = None) -> shapes.GraphReport:
    """Say what `gradwatch graph` says. Raises UsageError as `held_report` does."""
    graph = _call(session, step, backward).graph
    rows = node_rows(session, graph)
    summary = graph_summary(session, graph, rows)
    return {
        **_report(session, "graph"),
        "graph": summary,
        "nodes": rows,
        "edges": edge_rows(graph),
        "regions": region_rows(Quotes(session), graph),
    }


def _report(session: Session, command: Literal["show", "gradients", "held", "graph", "why"]) -> shapes.Report:
    return {"format": REPORT_FORMAT, "version": REPORT_VERSION, "command": command, "session": _head(session)}


def _step(session: Session, number: int | None) -> StepView:
    """Return the step of that number; for None the last one that was not cut short."""
    if number is not None:
        return session.step(number)
    if not len(session.steps):
        raise UsageError(f"{session.path} holds no step: the recording ended before the first one was over.")
    last = session.steps[-1]
    return last if last.complete or len(session.steps) == 1 else session.steps[-2]


def _call(session: Session, step: int | None, backward: int | None) -> BackwardView:
    view = _step(session, step)
    calls = view.backwards
    if backward is None:
        call = _walked_call(session, view, look_back=step is None)
        if call is None:
            raise UsageError(f"Step {view.number} has no backward call.")
        return call
    for call in calls:
        if call.index == backward:
            return call
    there = f"backward calls 0 to {calls[-1].index}" if calls else "no backward call"
    raise UsageError(f"Step {view.number} has {there}; there is no call {backward}.")


def _walked_call(session: Session, step: StepView, *, look_back: bool) -> BackwardView | None:
    """Return the step's call that held most; with `look_back` the session's last one whose ledger was recorded.

    As a file grows, ledgers are recorded every few steps only.
    """
    calls = sorted(step.backwards, key=lambda call: (call.ledger_id >= 0, call.held_bytes), reverse=True)
    if look_back and not (calls and calls[0].ledger_id >= 0):
        recorded = [(call.step, call.index) for call in session.reader.records(Backward) if call.ledger >= 0]
        if recorded:
            number, index = recorded[-1]
            found = (call for call in session.step(number).backwards if call.index == index)
            return next(found, calls[0] if calls else None)
    return calls[0] if calls else None


def _head(session: Session) -> shapes.SessionHead:
    run, finish, steps = session.run, session.finish, session.steps
    last = steps[-1] if len(steps) else None
    end_ns = finish.end_ns if finish else max((step.end_ns for step in steps), default=run.start_ns)
    duration_ns = max(0, end_ns - run.start_ns)
    cost_ns = finish.cost_ns if finish else sum(step.cost_ns for step in steps if step.complete)
    return {
        "path": str(session.path),
        "gradwatch_version": run.gradwatch_version,
        "format_version": run.format_version,
        "detail": run.detail,
        "started": datetime.fromtimestamp(run.start_ns / 1e9, tz=timezone.utc).isoformat(timespec="seconds"),
        "hostname": run.hostname,
        "pid": run.pid,
        "rank": run.rank,
        "world_size": run.world_size,
        "argv": list(run.argv),
        "working_directory": run.working_directory,
        "python_version": run.python_version,
        "torch_version": run.torch_version,
        "cuda_version": run.cuda_version,
        "devices": list(run.devices),
        "git_revision": run.git_revision,
        "git_dirty": run.git_dirty,
        "line_source": run.line_source,
        "steps": len(steps),
        "first_step": steps[0].number if last else None,
        "last_step": last.number if last else None,
        "step_source": last.source if last else None,
        "duration_seconds": duration_ns / 1e9,
        "cost_seconds": cost_ns / 1e9,
        "cost_fraction": cost_ns / duration_ns if duration_ns else None,
        "finish_reason": finish.reason if finish else None,
        "gaps": len(session.gaps),
    }


def _series(session: Session, value_of: Callable[[StepView], float | None]) -> shapes.Series:
    curves = Curves([step.number for step in session.steps])
    for step in session.steps:
        value = value_of(step)
        if value is not None:
            curves.add(step.number, np.zeros(1, dtype=np.int64), np.array([value]))
    return {"steps": curves.steps, "values": curves.of(0)}


def _notices(session: Session) -> list[shapes.NoticeRow]:
    """Return each thing said once, with the step at which it was said first."""
    rows: dict[tuple[str, str, str | None], shapes.NoticeRow] = {}
    for notice in session.notices:
        row = rows.setdefault(
            (notice.kind, notice.text, notice.probe),
            {
                "kind": notice.kind,
                "text": notice.text,
                "step": notice.step if notice.step >= 0 else None,
                "probe": notice.probe,
                "count": 0,
            },
        )
        row["count"] += 1
    return list(rows.values())
