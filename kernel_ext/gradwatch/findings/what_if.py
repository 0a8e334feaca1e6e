"""What would lower the peak of held memory, and by how much; and what a trial of it measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradwatch.findings import words
from gradwatch.findings.memory_changes import changes_at
from gradwatch.findings.peak import peak_of
from gradwatch.records import Finding, Trial

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradwatch.findings.memory_changes import Change
    from gradwatch.findings.peak import Peak
    from gradwatch.findings.thresholds import Thresholds
    from gradwatch.session.session import Session

_DONE = {
    "checkpoint": "checkpointing {0}",
    "bf16 saving": "saving activations in bfloat16",
    "save_on_cpu": "saving activations in the CPU's memory",
    "in-place activation": "computing {0} in place",
    "fused attention": "fused attention in {0}",
}


def find(session: Session, thresholds: Thresholds) -> Iterator[Finding]:
    """Trials first: they were measured. Then the changes of each kind that free most."""
    for trial in session.reader.records(Trial):
        yield tried(trial)
    peak = peak_of(session)
    if peak is None or peak.total < thresholds.what_if_bytes:
        return
    shown: dict[str, int] = {}
    for change in changes_at(peak):
        count = shown[change.kind] = shown.get(change.kind, 0) + 1
        if count <= thresholds.what_if_shown and change.frees >= thresholds.what_if_share * peak.total:
            yield estimated(peak, change)


def doing(kind: str, target: str) -> str:
    """A change in words: "checkpointing blocks.*"."""
    return _DONE[kind].format(target or "the model")


def estimated(peak: Peak, change: Change) -> Finding:
    """What one change would do at the peak."""
    what = doing(change.kind, change.target)
    cost = ""
    if change.kind == "checkpoint":
        time = "its forward again" if change.recompute_ns < 0 else words.duration(change.recompute_ns)
        cost = f" for {time} more per step" if change.recompute_ns >= 0 else f" for {time} in each backward"
    share = words.percent(change.frees / max(1, peak.total))
    what_is = f"{what[0].upper()}{what[1:]} would free {words.size(change.frees)} ({share})"
    call = f"backward call {peak.backward} of step {peak.step}"
    return Finding(
        kind="what if",
        severity="note",
        title=f"{what} frees {words.size(change.frees)}",
        sentence=f"{what_is} of the {words.size(peak.total)} held at the peak{cost}.",
        cause=change.kind,
        fix=change.fix,
        steps=[peak.step, peak.step],
        backward=peak.backward,
        graph=peak.graph_id,
        nodes=list(change.nodes),
        modules=list(change.modules),
        site=peak.site(change.nodes[0]) if change.nodes else -1,
        name=change.target,
        bytes=change.frees,
        evidence=[f"{peak.total} bytes held when {call} began", *change.evidence],
        certainty="estimated",
    )


def tried(trial: Trial) -> Finding:
    """What one trial measured."""
    what = doing(trial.change, trial.target)
    same = {True: "the gradients are the same", False: "the gradients differ", None: ""}[trial.same_gradients]
    note = "; ".join(part for part in (same, trial.note) if part)
    freed = trial.before_peak - trial.after_peak if min(trial.before_peak, trial.after_peak) >= 0 else -1
    times = f"{words.duration(trial.before_step_ns)} to {words.duration(trial.after_step_ns)}"
    peaks = f"{words.size(trial.before_peak)} to {words.size(trial.after_peak)}"
    sentence = f"Tried in step {trial.after_step}, {what} took the held peak from {peaks} and the step from {times}"
    return Finding(
        kind="what if",
        severity="note",
        title=f"tried: {what}",
        sentence=f"{sentence}{f'; {note}' if note else ''}.",
        cause=trial.change,
        steps=[trial.before_step, trial.after_step],
        modules=trial.modules,
        name=trial.target,
        bytes=freed,
        evidence=[f"step {trial.before_step} without it, step {trial.after_step} with it"],
        certainty="measured",
    )
