"""Errors that leave a frame, caught near, far, and inside C code where no line follows."""

# The layout of these lines and their odd statements are what is tested.
# fmt: off
# ruff: noqa: ANN001, ANN002, ANN201, ANN204, E701, PERF203
# pyright: basic, reportUnusedExpression=false, reportAttributeAccessIssue=false, reportOperatorIssue=false
# pyright: reportCallIssue=false, reportMissingImports=false, reportArgumentType=false
from __future__ import annotations

import contextlib
import signal

from clockwork import check, clock, op, tags


class Missing:
    def __getattr__(self, name):
        op("getattr before raise")
        raise AttributeError(name)


class Endless:
    def __init__(self):
        self.left = 2

    def __iter__(self):
        return self

    def __next__(self):
        self.left -= 1
        if self.left < 0:
            op("end of iteration")
            raise StopIteration
        return self.left


def deep(depth):
    if depth == 0:
        op("deep raise")
        raise KeyError(depth)
    try:
        deep(depth - 1)
    finally:
        op("deep finally")


def swallowed_in_c():
    getattr(Missing(), "x", None) or op("after getattr with default")
    hasattr(Missing(), "x") or op("after hasattr")
    next(iter(Endless()), None) and op("after next")
    sorted(Endless()) and op("after sorted")


def caught():
    try:
        deep(2)
    except KeyError:
        op("except")
    else:
        raise AssertionError
    with contextlib.suppress(KeyError):
        deep(1)
    op("after suppress")
    for _ in Endless(): op("loop body on one line")
    op("after loop")


class AlarmError(Exception):
    pass


def ring(*_):
    raise AlarmError


def interrupted():
    """An alarm of the program that rings inside a callback must reach the program, every time."""
    signal.signal(signal.SIGALRM, ring)
    rung = 0
    for _ in range(200):
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.0005)
            while True:
                a = 1
                b = a
                a = b
        except AlarmError:
            rung += 1
    assert rung == 200
    op("after alarms")


def to_the_limit(depth=0):
    try:
        return to_the_limit(depth + 1)
    except RecursionError:
        return depth


def descend(depth):
    tags.append(object())
    return depth and descend(depth - 1)


limit = to_the_limit()
clock.start()
swallowed_in_c()
caught()
interrupted()
assert to_the_limit() > 100
op("after the recursion limit")
for spare in (1, 2, 3, 4):  # a callback takes a frame; what it calls beyond that must not fail the program
    descend(limit - spare)
clock.stop()
check(__file__)
