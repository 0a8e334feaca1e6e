"""Every construct that moves between lines: each op must be charged to the line it stands on."""

# The layout of these lines and their odd statements are what is tested.
# fmt: off
# ruff: noqa: ANN001, ANN002, ANN201, ANN202, ANN204, C417, E701, E731, RUF012
# pyright: basic, reportUnusedExpression=false, reportAttributeAccessIssue=false, reportOperatorIssue=false
# pyright: reportCallIssue=false, reportMissingImports=false, reportArgumentType=false
from __future__ import annotations

from contextlib import contextmanager

from clockwork import check, clock, op

clock.start()

one_line = lambda: op("lambda")


def short(): return op("short")


def outer(x):
    op("outer before")
    y = inner(x) or op("outer after call") or inner(x)
    op("outer after")
    return y


def inner(x):
    op("inner")
    return x


def recurse(depth):
    op("recursion down")
    if depth:
        recurse(depth - 1) or op("recursion same line")
    op("recursion up")


def decorate(function):
    op("decorator")

    def wrapped(*args):
        op("wrapped before")
        result = function(*args) or op("wrapped after call")
        op("wrapped after")
        return result

    return wrapped


@decorate
def decorated():
    op("decorated")


@contextmanager
def context():
    op("context enter")
    yield op("context yield")
    op("context exit")


class Manager:
    def __enter__(self):
        return op("manager enter")

    def __exit__(self, *error):
        return op("manager exit") or True


class Body:
    op("class body")
    value = [op("class comprehension") for _ in range(2)]

    @property
    def attribute(self):
        return op("property")

    def __call__(self):
        op("call before")
        return short() or op("call after")


def expressions():
    a = one_line() or op("after lambda") or one_line() or op("after second lambda")
    b = short() or op("after short") or short() or op("after second short")
    c = [op("list comprehension") or short() for _ in range(3)]
    d = {i: op("dict comprehension") for i in range(3)}
    e = any(op("generator expression") for _ in range(3)) or op("after generator expression")
    f = sorted([3, 1, 2], key=lambda v: op("sort key") or v) and op("after sort")
    g = list(map(lambda v: op("map"), range(2))) and op("after map")
    h = Body().attribute or op("after property")
    i = (
        op("first of three lines")
        or op("second of three lines")
        or op("third of three lines")
    )
    for _ in range(3): op("loop on one line")
    while op("while test"):
        pass
    op("if test") if op("ternary") is None else None
    return a, b, c, d, e, f, g, h, i


def blocks():
    with context():
        op("in context")
    with context(), Manager():
        op("in two contexts")
        raise ValueError
    op("after contexts")
    with Manager(): op("with on one line") or short() or op("with on one line, after call")
    match op("match subject"):
        case None:
            op("match case")
    try:
        op("try")
    finally:
        op("finally")
    return op("return")


outer(0)
recurse(3)
decorated()
expressions()
Body()() or op("module level")
blocks()


class Later:
    op("later class body")
    method = short() or op("later class after call")


clock.stop()
check(__file__)
