"""Installed libraries, generated code, notebook cells: the innermost user line and the project's line."""

# The layout of these lines and their odd statements are what is tested.
# fmt: off
# ruff: noqa: ANN201, E402
# pyright: basic, reportUnusedExpression=false, reportAttributeAccessIssue=false, reportOperatorIssue=false
# pyright: reportCallIssue=false, reportMissingImports=false, reportArgumentType=false
from __future__ import annotations

import sys
import tempfile
import threading
from pathlib import Path

from clockwork import clock, op, place, table, tags, truth

LIBRARY = """
from clockwork import op

def layer(callback=None):
    op("library start")
    again()
    if callback:
        callback() or op("library after callback")
    return op("library end")

def again():
    op("deeper in library")

def stream():
    for _ in range(2):
        yield op("library generator")
"""
CELL = """
op("cell")
def cell_function():
    op("cell function")
    return op("cell function end")
"""
temporary = tempfile.TemporaryDirectory()
folder = Path(temporary.name) / "venv" / "lib" / "site-packages"
folder.mkdir(parents=True)
library_file = folder / "someones_layers.py"
library_file.write_text(LIBRARY)
sys.path.insert(0, str(folder))

import someones_layers


def callback():
    op("project callback")


def training():
    someones_layers.layer() or op("plain")
    someones_layers.layer(callback) or op("with callback")
    stream = someones_layers.stream()
    next(stream) or op("begun")
    next(stream) or op("resumed")


clock.start()
training()
namespace = {"op": op}
exec(compile(CELL, "/tmp/ipykernel_77/123.py", "exec"), namespace)
namespace["cell_function"]() or op("after cell function")
for _ in range(20):
    eval(compile("tags.append('evaluated')", "<string>", "eval"))
numbered = len(table.codes())
for _ in range(20):
    eval(compile("tags.append('evaluated')", "<string>", "eval"))
assert len(table.codes()) == numbered, "equal code objects must not pile up"
clock.stop()
assert clock.failure is None, clock.failure

EXPECTED = """
library start: plain
deeper in library: plain
library end: plain
plain: plain
library start: with callback
deeper in library: with callback
project callback: project callback
library after callback: with callback
library end: with callback
with callback: with callback
library generator: begun
begun: begun
library generator: resumed
resumed: resumed
cell: cell
cell function: cell function
cell function end: cell function end
after cell function: after cell function
"""
texts = {str(library_file): LIBRARY, "/tmp/ipykernel_77/123.py": CELL, __file__: None}
lines = {}
for file, text in texts.items():
    lines = truth(file, text) | lines
made = tags[: tags.index("evaluated")]
assert made == [line.split(": ")[0] for line in EXPECTED.split("\n") if line]
for number, line in enumerate(EXPECTED.strip().split("\n")):
    user, project = line.split(": ")
    found = tuple(map(place, clock.line_of(threading.get_ident(), number)))
    assert found == (lines[user], lines[project]), (line, found, lines[user], lines[project])
assert place(clock.line_of(threading.get_ident(), len(made))[0]) == ("<string>", 1)
print("libraries right")
