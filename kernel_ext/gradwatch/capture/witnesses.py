"""What saw the forward run at a stop: a recorder, or what the first stop attached."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from gradwatch.capture.attach import attach, attachment, detach
from gradwatch.capture.attached_debugger import is_attached
from gradwatch.capture.live_graph import Witness

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from gradwatch.capture.late_names import LateNames
    from gradwatch.capture.modules import ModuleTable
    from gradwatch.capture.recorder import Recorder


def running_recorder() -> Recorder | None:
    """The recorder of this process, if one is recording. Loads nothing: one that runs is loaded."""
    recorder: Any = sys.modules.get("gradwatch.capture.recorder")
    return None if recorder is None else recorder.running()


def witness(names: LateNames) -> Witness | None:
    """Modules and lines of nodes, with the module ids of `names`; None where nothing saw the forward."""
    recorder = running_recorder()
    recording = None if recorder is None else recorder._recording
    if recording is not None:
        names.storages_seen(recording.parameters.storages)
        lines, sites = recording.graph.lines, recording.sites
        return Witness(lines, sites, _ids(recording.modules, names), compiled=recording.compiled)
    attached = attachment()
    if attached is None:
        return None
    module = _ids(attached.modules, names)
    return Witness(attached.lines, attached.sites, module, attached.hooks.complete_from, attached.compiled)


def _ids(table: ModuleTable, names: LateNames) -> Callable[[int], int]:
    """What turns a module id of `table` into one of `names`."""
    known = table.by_id()

    def id_of(number: int) -> int:
        if number not in known:
            return -1  # the module is gone
        module, record = known[number]
        return names.module_id(record.root, record.path, module)

    return id_of


def look_from_now_on(frame: FrameType) -> None:
    """Let the steps after this stop be seen: attach while a debugger looks; a recorder that runs sees more."""
    if running_recorder() is not None:
        detach()
    elif is_attached():
        attach(frame)
