"""Gradient noise against signal over steps: whether a larger batch would help. Never an alarm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gradwatch.findings.words import names as listed_names
from gradwatch.findings.words import number
from gradwatch.records import Finding, GradientNoise
from gradwatch.session.columns import as_array

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradwatch.findings.thresholds import Thresholds
    from gradwatch.session.session import Session

SHOWN = 0.1
"""Of a mean's own noise: a signal of less is not told from none. Many elements average that noise, but not freely."""


def find(session: Session, thresholds: Thresholds) -> Iterator[Finding]:
    """One note, of the last window whose noise is far above its signal."""
    noisy = [(record, *_sums(session, record)) for record in session.reader.records(GradientNoise)]
    if not noisy:
        return
    record, signal, noise = noisy[-1]
    # A mean over n steps shows no signal far below its own noise: then there are at least so many batches.
    floor = noise / record.window * SHOWN
    hidden = signal < floor
    batches = noise / max(signal, floor) if noise > 0 else 0.0
    if batches < thresholds.noise:
        return
    names = _noisiest(session, record)
    least = "at least " if hidden else ""
    yield Finding(
        kind="noise",
        severity="note",
        title="Gradients are mostly noise",
        sentence=(
            f"Over {record.window} steps the gradient's variance is {least}{number(batches)} times the square of its "
            f"mean, most of it in {listed_names(names)}."
        ),
        cause="below the noise" if hidden else "noise",
        fix=(
            f"Average more samples a step: batches {least}{number(batches)} times as large, or so many accumulated, "
            "would make noise and signal equal. A low learning rate averages noise too."
        ),
        steps=[max(0, record.step - record.window + 1), record.step],
        parameters=as_array(record.subjects, session.path).tolist(),
        evidence=[
            f"window that ends at step {each.step}: signal {number(a)}, noise {number(b)}" for each, a, b in noisy[-4:]
        ],
        certainty="estimated",
    )


def _sums(session: Session, record: GradientNoise) -> tuple[float, float]:
    signal, noise = (as_array(each, session.path).astype(float) for each in (record.signal, record.noise))
    return float(signal.sum()), float(noise.sum())


def _noisiest(session: Session, record: GradientNoise) -> list[str]:
    noise = as_array(record.noise, session.path).astype(float)
    subjects = as_array(record.subjects, session.path, len(noise)).tolist()
    return [session.names.parameter_name(subjects[at]) or "" for at in np.argsort(-noise)[:3]]
