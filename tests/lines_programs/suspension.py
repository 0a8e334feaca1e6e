"""Generators, coroutines and threads of control that take turns: each op at its own line."""

# The layout of these lines and their odd statements are what is tested.
# fmt: off
# ruff: noqa: ANN001, ANN201, E701, RUF015
# pyright: basic, reportUnusedExpression=false, reportAttributeAccessIssue=false, reportOperatorIssue=false
# pyright: reportCallIssue=false, reportMissingImports=false, reportArgumentType=false
from __future__ import annotations

import asyncio
from contextlib import ExitStack, suppress

from clockwork import check, clock, op, tags


def numbers(tag_is_first):
    op("generator start")
    x = yield op("first yield")
    y = (yield 1) or op("after resume on the line")
    try:
        yield op("in try")
    except KeyError:
        op("thrown into")
        yield 2
    finally:
        op("finally of generator")
    yield op("last yield")
    return (x, y, tag_is_first)


def delegating():
    op("before delegation")
    yield from numbers(tag_is_first=False)
    op("after delegation")


def leaving():
    with ExitStack() as stack: yield stack.callback(op, "exit stack")  # op("exit stack")


def interleaved():
    a, b = numbers(tag_is_first=True), numbers(tag_is_first=False)
    next(a) or op("after first next")
    next(b) or op("after next of the other")
    next(a) and op("resumed once")
    next(b) and op("the other resumed once")
    next(a) or op("resumed twice")
    a.throw(KeyError("x")) and op("after throw")
    next(a, None) or op("after the last")
    b.close() or op("after close")
    left = leaving()
    next(left)
    left.close() or op("after close through an exit stack")
    list(delegating())[0] or op("after delegating")


begun = numbers(tag_is_first=True)
next(begun)


async def child(turns):
    op("child start")
    for _ in range(turns):
        await asyncio.sleep(0) or op("after sleep on the line")
        op("child turn")
    return op("child end")


async def stream():
    for _ in range(2):
        await asyncio.sleep(0)
        yield op("async yield")


async def parent():
    await child(1) or op("after await on the line")
    await asyncio.gather(child(3), child(2)) and op("after gather")
    async for item in stream():
        item or op("in async for")
    found = [item async for item in stream()] and op("after async comprehension")
    task = asyncio.create_task(child(50))
    await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return found or op("end of parent")


tags.clear()
clock.start()
next(begun) and op("generator begun before the clock")
next(begun) or op("and again")
interleaved()
asyncio.run(parent()) or op("after run")
clock.stop()
check(__file__)
