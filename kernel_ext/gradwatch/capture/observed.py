"""Which observers a recording has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradwatch.capture.activations import ModuleActivations
from gradwatch.capture.births import Births
from gradwatch.capture.copies import SavedCopies
from gradwatch.capture.fan_ins import MeasuredFanIns
from gradwatch.capture.faults import Faults
from gradwatch.capture.gradient_noise import NoiseWindows
from gradwatch.capture.module_calls import CountedModuleCalls
from gradwatch.capture.optimizer_members import WrittenMembers
from gradwatch.capture.out_of_memory import OutOfMemoryWatch
from gradwatch.capture.retained import RetainedGraphs
from gradwatch.capture.trace import ForwardTrace
from gradwatch.capture.trial import Trials

if TYPE_CHECKING:
    from gradwatch.capture.observers import Observer
    from gradwatch.records import Detail


def observers_of(detail: Detail) -> list[Observer]:
    """The observers of a recording, in the order in which they are told of events."""
    if detail == "parameters":
        return []
    outputs = ModuleActivations()
    return [
        ForwardTrace(),
        CountedModuleCalls(),
        WrittenMembers(),
        outputs,
        Births(outputs),
        MeasuredFanIns(),
        NoiseWindows(),
        RetainedGraphs(),
        Faults(),
        SavedCopies(),
        OutOfMemoryWatch(),
        Trials(),
    ]
