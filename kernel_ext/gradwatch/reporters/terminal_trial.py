"""One trial of a change, before and after: as text for the terminal and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from gradwatch.reporters import numbers

if TYPE_CHECKING:
    from gradwatch.records import Trial
    from gradwatch.session.session import Session


class TrialReport(TypedDict):
    """What `gradwatch try --json` prints. Bytes and nanoseconds; None where it is not known."""

    change: str
    target: str
    modules: list[str]
    before_step: int
    after_step: int
    before_peak_bytes: int | None
    after_peak_bytes: int | None
    before_step_ns: int | None
    after_step_ns: int | None
    same_gradients: bool | None
    note: str
    session: str


def trial_report(session: Session, trial: Trial) -> TrialReport:
    """What a trial measured, its modules by name."""
    return TrialReport(
        change=trial.change,
        target=trial.target,
        modules=[session.names.module_name(number) for number in trial.modules],
        before_step=trial.before_step,
        after_step=trial.after_step,
        before_peak_bytes=_known(trial.before_peak),
        after_peak_bytes=_known(trial.after_peak),
        before_step_ns=_known(trial.before_step_ns),
        after_step_ns=_known(trial.after_step_ns),
        same_gradients=trial.same_gradients,
        note=trial.note,
        session=str(session.path),
    )


def trial_text(report: TrialReport) -> str:
    """Lay out one trial as a small table."""
    modules = numbers.counted(len(report["modules"]), "module")
    what = f"{report['change']} {report['target']}" if report["target"] != "*" else report["change"]
    head = f"Tried: {what}{f' ({modules})' if report['modules'] else ''}\n"
    peaks = (report["before_peak_bytes"], report["after_peak_bytes"])
    times = (report["before_step_ns"], report["after_step_ns"])
    steps = (f"step {report['before_step']}", f"step {report['after_step']}")
    rows = [
        ("", *steps, ""),
        ("held for backward", *(numbers.size(each) for each in peaks), _ratio(*peaks)),
        ("step time", *(numbers.duration(each) for each in times), _ratio(*times)),
    ]
    lines = [f"  {name:<18}{before:>12}{after:>12}  {ratio}".rstrip() for name, before, after, ratio in rows]
    end = f"The program was ended after step {report['after_step']}. Session: {report['session']}"
    return "\n".join([head, *lines, "", _gradients(report), end, ""])


def _gradients(report: TrialReport) -> str:
    said = {
        True: "Gradients: the same, to the last bit.",
        False: "Gradients: not the same.",
        None: "Gradients: not compared, for the two steps had other batches, parameters or random numbers.",
    }[report["same_gradients"]]
    return f"{said} {report['note'][:1].upper()}{report['note'][1:]}.".rstrip(" .") + "."


def _ratio(before: int | None, after: int | None) -> str:
    return "" if not before or after is None or after <= 0 else numbers.ratio(after / before)


def _known(value: int) -> int | None:
    return value if value >= 0 else None
