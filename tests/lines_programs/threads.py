"""Each thread counts for itself, as autograd does; a key that is used again begins anew."""

# The layout of these lines and their odd statements are what is tested.
# fmt: off
# ruff: noqa: ANN001, ANN002, ANN201, ANN204, I001
# pyright: basic, reportUnusedExpression=false, reportAttributeAccessIssue=false, reportOperatorIssue=false
# pyright: reportCallIssue=false, reportMissingImports=false, reportArgumentType=false
from __future__ import annotations

import threading

from clockwork import place, table, truth
from gradwatch.capture.line_clock import LineClock


class Own(threading.local):
    def __init__(self):
        self.tags = []


own = Own()
expected = truth(__file__)
results = {}
clock = LineClock(lambda: len(own.tags), table)


def work(name, turns, barrier):
    op = own.tags.append
    if barrier:
        barrier.wait()
    for _ in range(turns):
        op("one")
        op("two")
        inner(op) or op("after inner")
    results[name] = (threading.get_ident(), own.tags)


def inner(op):
    op("inner")


def check(name):
    key, tags = results[name]
    found = [place(clock.line_of(key, number)[0]) for number in range(len(tags))]
    assert found == [expected[tag] for tag in tags], name


def run(*names_and_turns):
    barrier = threading.Barrier(len(names_and_turns))
    threads = [threading.Thread(target=work, args=(*pair, barrier)) for pair in names_and_turns]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def waiting(entered, go_on):
    op = own.tags.append
    op("before the clock")
    entered.set()
    go_on.wait() and op("line entered before the clock")
    op("next line of the waiting thread")
    inner(op) or op("after inner in the waiting thread")
    results["waiting"] = (threading.get_ident(), own.tags)


entered, go_on = threading.Event(), threading.Event()
early = threading.Thread(target=waiting, args=(entered, go_on))
early.start()
entered.wait()
clock.start()
go_on.set()
early.join()
key, tags = results["waiting"]
found = {tag: place(clock.line_of(key, number)[0]) for number, tag in enumerate(tags)}
assert found["before the clock"] is None
for tag in ("next line of the waiting thread", "inner", "after inner in the waiting thread"):
    assert found[tag] == expected[tag], tag

run(("a", 300), ("b", 50), ("c", 1))
for name in "abc":
    check(name)
for turns in (5, 1, 3):  # most likely under the key of the thread before
    run(("alone", turns))
    check("alone")
clock.stop()
assert clock.failure is None, clock.failure
print("threads right")
