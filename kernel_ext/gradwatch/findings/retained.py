"""What keeps graphs of past steps alive: from Retained records, which are written at doubling intervals."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from gradwatch.findings.words import counted, size
from gradwatch.records import Finding, Retained

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradwatch.findings.thresholds import Thresholds
    from gradwatch.records import Holder, Severity
    from gradwatch.session.session import Session

UNKNOWN = "unknown"

FEW = 4
"""Steps that are listed; more are told as a range."""


def find(session: Session, thresholds: Thresholds) -> Iterator[Finding]:
    """Each holder that the last look found. Graphs whose number does not grow are a note."""
    records = sorted(session.reader.records(Retained), key=lambda record: record.step)
    if not records:
        return
    last = records[-1]
    growth = growth_of(records)
    is_alarm = growth >= thresholds.retained_growth and last.graphs >= thresholds.retained_graphs
    severity: Severity = "warning" if is_alarm else "note"
    named = [holder for holder in last.holders if holder.chain] or last.holders[:1]
    for holder in named or [None]:
        found = _finding(last, growth, holder, severity)
        yield replace(found, fix=_fix(found, last.name, session.line_text(found.site) if found.site >= 0 else None))


def growth_of(records: list[Retained]) -> float:
    """Graphs more per step, between the last two looks; where there was one, over the steps that made them."""
    last = records[-1]
    if len(records) > 1:
        before = records[-2]
        return max(0.0, (last.graphs - before.graphs) / max(1, last.step - before.step))
    return last.graphs / max(1, last.step - min(last.made, default=last.step)) if last.graphs > 1 else 0.0


def _finding(record: Retained, growth: float, holder: Holder | None, severity: Severity) -> Finding:
    cause = cause_of(record, holder)
    chain = holder.chain if holder is not None else ""
    made_at = record.project_site if record.project_site >= 0 else record.site
    at = holder.site if holder is not None and holder.site >= 0 else made_at
    return Finding(
        kind="retained graph",
        severity=severity,
        title=f"{chain or 'something'} keeps graphs alive",
        sentence=_sentence(record, growth, cause, chain),
        cause=cause,
        steps=[min(record.made, default=record.step), record.step],
        site=at,
        other_site=made_at if made_at != at else -1,
        name=name_in(chain),
        bytes=record.held_bytes,
        evidence=_evidence(record, holder),
        certainty="measured",
    )


def cause_of(record: Retained, holder: Holder | None) -> str:
    """The class of a holder: what a person would look for."""
    if holder is None:
        return UNKNOWN
    by_kind = {"cycle": "create_graph cycle", "module": "attribute", "local": "list"}
    if holder.kind in ("cycle", "traceback", "Out", UNKNOWN):
        return by_kind.get(holder.kind, holder.kind)
    if holder.count * 2 <= record.graphs and not holder.chain.endswith("]"):
        return "accumulated"
    return by_kind.get(holder.kind, holder.kind)


def name_in(chain: str) -> str:
    """The name a person knows: `trainer.losses` of `trainer.losses[37]`, `loss` of `sys.last_traceback: loss`."""
    found = re.search(r"\[", chain)
    return (chain[: found.start()] if found and not chain.startswith("Out") else chain).rpartition(": ")[2]


def _sentence(record: Retained, growth: float, cause: str, chain: str) -> str:
    what = counted(record.graphs, "graph")
    steps = f"of {_steps(record)}" if record.made else "of a past step"
    are = "are" if record.graphs != 1 else "is"
    more = f", {growth:.3g} more each step" if growth > 0 else ""
    holds = f" with {size(record.held_bytes)} saved for backward" if record.held_bytes > 0 else ""
    return f"{what} {steps} {are} still alive at step {record.step}{holds}{more}: {_how(cause, chain, record.name)}."


def _how(cause: str, chain: str, root: str) -> str:
    if cause == UNKNOWN or not chain:
        return "no Python name was found that leads to them; C++ or a frozen object may hold them"
    root = root or "what was computed in each step"
    return {
        "accumulated": f"{chain} was made from {root} of every step",
        "create_graph cycle": f"{chain} was made with create_graph=True, and its graph holds its parameter",
        "traceback": f"the traceback of an exception keeps the frame ({chain})",
        "hook": f"a hook keeps {chain}",
        "closure": f"the closure of a function keeps {chain}",
    }.get(cause, f"{chain} keeps a tensor with its graph")


FIXES = {
    "create_graph cycle": "Set the gradients to None after use (optimizer.zero_grad()), or use torch.autograd.grad",
    "traceback": "Let go of the exception: sys.last_traceback = None; in a notebook: %gradwatch release",
    "Out": "End the cell's last line with a semicolon, or show value.detach(); %reset out frees what is there",
}


def _fix(found: Finding, root: str, line: str | None) -> str:
    cause, name = found.cause, found.name
    if cause in FIXES:
        return FIXES[cause]
    if cause == "accumulated":
        numbers = f"Add up numbers, not tensors: {name} += {root or 'value'}.item()"
        return f"{numbers}; a state carried on: {name} = {name}.detach()"
    stored = re.search(r"([\w.\[\]\"']+\.append)\(([\w.]+)\)", line or "")
    if stored is not None and root:
        return f"Keep the number, not the graph: {stored[1]}({stored[2]}.item())"
    if stored is not None:
        return f"Keep the tensor without its graph: {stored[1]}({stored[2]}.detach())"
    value = f"{root}.item()" if root else "value.detach()"
    return f"Keep {value} in {name}, not the tensor with its graph" if name else "Keep detached tensors: value.detach()"


def _evidence(record: Retained, holder: Holder | None) -> list[str]:
    saved = f", {record.held_bytes:,} bytes saved for backward" if record.held_bytes > 0 else ""
    nodes = f"{counted(record.node_count, 'node')}{saved}, " if record.node_count > 0 else ""  # else none was found
    found = [f"{_made(record)}: {nodes}the last one {record.op}"]
    if record.held_bytes == 0:
        found.append("what they saved is freed, their nodes are not")
    if holder is not None:
        such = f", {holder.count:,} such" if holder.count > 1 else ""
        found.append(f"held as {holder.chain or 'no name'} ({holder.kind}){such}")
    return found


def _made(record: Retained) -> str:
    return f"{'graphs' if record.graphs != 1 else 'graph'} of {_steps(record)}"


def _steps(record: Retained) -> str:
    """The steps that made them, one by one where a few are not all from the first to the last."""
    made = sorted(set(record.made)) or [record.step]
    first, last = made[0], made[-1]
    if first == last:
        return f"step {first}"
    if len(made) <= FEW and len(made) <= last - first:
        return f"steps {', '.join(map(str, made[:-1]))} and {last}"
    return f"steps {first} to {last}"
