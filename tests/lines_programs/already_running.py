"""The clock is started deep inside functions that were entered before, stopped, and started again."""

# The layout of these lines and their odd statements are what is tested.
# fmt: off
# ruff: noqa: ANN201
# pyright: basic, reportUnusedExpression=false, reportAttributeAccessIssue=false, reportOperatorIssue=false
# pyright: reportCallIssue=false, reportMissingImports=false, reportArgumentType=false
from __future__ import annotations

import threading

from clockwork import check, clock, op, tags


def training():
    loop() or op("back in training, same line")
    op("training next line")


def loop():
    for step in range(3):
        if step == 1:
            tags.clear()
            clock.start() or op("same line as start")
            op("line after start")
        if step > 0:
            op("in loop")
        step and op("on a line met before")


def plain():
    op("first line of a known function")
    return op("its last line")


tags.append("before any start")
training() or op("back in the module")
plain() or op("after the known function")
clock.stop()

unseen = len(tags)
tags.append("between stop and start")
clock.start() or op("same line as the second start")
plain() or op("after the known function, again")
clock.stop()
assert clock.line_of(threading.get_ident(), unseen) == (-1, -1)
check(__file__)
