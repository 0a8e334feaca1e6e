"""Tool ids, what stop() leaves, and what the clock does when it breaks."""

# The layout of these lines and their odd statements are what is tested.
# fmt: off
# ruff: noqa: ANN001, ANN201, I001, PLC0206, PT017
# pyright: basic, reportUnusedExpression=false, reportAttributeAccessIssue=false, reportOperatorIssue=false
# pyright: reportCallIssue=false, reportMissingImports=false, reportArgumentType=false
from __future__ import annotations

import sys
import threading
from functools import partial
from operator import truediv

from clockwork import clock, op, place, table, tags, truth
from gradwatch.capture.line_clock import LineClock
from gradwatch.capture.sites import SiteTable
from gradwatch.errors import RecordingError

monitoring = sys.monitoring
EVENTS = monitoring.events
lines = truth(__file__)


def here(tag):
    return place(clock.line_of(threading.get_ident(), len(tags) - 1 - tags[::-1].index(tag))[0]) == lines[tag]


def work():
    op("work")
    return [op("in comprehension") for _ in range(2)]


def nothing_is_left():
    free = [tool for tool in range(6) if monitoring.get_tool(tool) is None]
    for tool in (3, 4):
        if tool in free:
            monitoring.use_tool_id(tool, "test")
            assert monitoring.get_events(tool) == 0
            assert not any(monitoring.get_local_events(tool, code) for code in table.codes())
            for event in (EVENTS.LINE, EVENTS.PY_START, EVENTS.PY_RETURN, EVENTS.PY_UNWIND):
                assert monitoring.register_callback(tool, event, None) is None
            monitoring.free_tool_id(tool)
    return free


# A debugger and a coverage tool at work beside it, on the same lines.
seen = {0: [], 1: []}
for tool in seen:
    monitoring.use_tool_id(tool, f"other {tool}")
    monitoring.register_callback(tool, EVENTS.LINE, lambda code, line, tool=tool: seen[tool].append(line))
    monitoring.set_events(tool, EVENTS.LINE)
clock.start()
work() and op("after work")
monitoring.restart_events()
work() and op("after restart by another tool")
clock.stop()
assert here("work")
assert here("in comprehension")
assert here("after work")
assert here("after restart by another tool")
assert all(lines["work"][1] in numbers for numbers in seen.values())
for tool in seen:
    assert monitoring.get_events(tool) == EVENTS.LINE
    monitoring.set_events(tool, 0)
    monitoring.free_tool_id(tool)
assert nothing_is_left() == [0, 1, 2, 3, 4, 5]

# Started again, also by another clock with a table of its own, it sees functions it has seen before.
clock.start()
work()
clock.stop()
assert here("work")
other_table = SiteTable()
other = LineClock(tags.__len__, other_table)
other.start()
number = len(tags)
work()
other.stop()
site = other_table.site(other.line_of(threading.get_ident(), number)[0])
assert other_table.new_sites()[site].line == lines["work"][1]
assert nothing_is_left() == [0, 1, 2, 3, 4, 5]

# It takes 4, else 3, else says who has them.
monitoring.use_tool_id(4, "another")
clock.start()
assert monitoring.get_tool(3) == "gradwatch"
try:
    clock.start()
except RecordingError as error:
    assert "running already" in str(error)
else:
    raise AssertionError
work()
clock.stop()
assert here("work")
monitoring.use_tool_id(3, "a third")
try:
    clock.start()
except RecordingError as error:
    assert "4 by 'another' and 3 by 'a third'" in str(error)
else:
    raise AssertionError
assert not clock.is_running
monitoring.free_tool_id(3)
monitoring.free_tool_id(4)

# A broken counter switches it off; the program does not notice.
broken = LineClock(partial(truediv, 1, 0), table)
try:
    broken.start()
except ZeroDivisionError:
    assert nothing_is_left() == [0, 1, 2, 3, 4, 5], "a start that fails leaves nothing"
else:
    raise AssertionError
late = LineClock(tags.__len__, table)
late.start()
assert late.is_running
late._counter = partial(truediv, 1, 0)
assert work() == [None, None]
assert not late.is_running
assert "ZeroDivisionError" in late.failure
assert monitoring.get_events(4) == 0
late.stop()
assert nothing_is_left() == [0, 1, 2, 3, 4, 5]
late._counter = tags.__len__
late.start()
number = len(tags)
work()
late.stop()
assert late.failure is None
assert place(late.line_of(threading.get_ident(), number)[0]) == lines["work"]

# What is forgotten is unknown, what is kept is not.
thread = threading.get_ident()
clock.start()
start = len(tags)
for _ in range(10):
    work()
clock.stop()
clock.forget(thread, start + 15)
assert clock.line_of(thread, start) == (-1, -1)
assert place(clock.line_of(thread, start + 15)[0]) == lines["work"]
clock.forget(thread + 1, 0)
assert clock.line_of(thread + 1, 0) == (-1, -1)
print("tools right")
