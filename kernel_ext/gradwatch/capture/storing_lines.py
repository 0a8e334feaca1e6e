"""Finds the statement that stores something under a name, by reading the source: `losses.append(loss)`.

What holds a tensor is found among living objects, which do not tell the line that put it there.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import lru_cache

from gradwatch.capture.sites import source_text

STORES = frozenset({"append", "appendleft", "add", "extend", "insert", "setdefault", "update", "put", "put_nowait"})

MAKES_EMPTY = frozenset(
    {"deque", "list", "dict", "set", "tuple", "defaultdict", "OrderedDict", "zeros", "zeros_like", "tensor", "float"}
)

BY_CALL, BY_ASSIGNMENT = 0, 1


def storing_line(file: str, chain: str) -> int:
    """The line of a file that stores under the name that a chain ends in ("trainer.losses[37]": losses); -1 none."""
    name = last_name(chain)
    if not name:
        return -1
    found = [(rank, line) for stored, rank, line in _stores(file) if stored == name]
    return min(found)[1] if found else -1


def last_name(chain: str) -> str:
    """The last attribute or variable of a chain, without what is looked up in it."""
    plain = re.sub(r"\[[^\]]*\]", "", chain)
    found = re.findall(r"[^\W\d]\w*", plain)
    return found[-1] if found else ""


@lru_cache(maxsize=32)
def _stores(file: str) -> tuple[tuple[str, int, int], ...]:
    """Names that statements of a file store under: with how, and the line."""
    return tuple(found for node in ast.walk(_tree(file)) for found in _stored_by(node))


def _tree(file: str) -> ast.Module:
    try:
        return ast.parse(source_text(file) or "")
    except (SyntaxError, ValueError, RecursionError):  # a notebook cell with magics
        return ast.Module([], [])


def _stored_by(node: ast.AST) -> list[tuple[str, int, int]]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in STORES:
        return [(_name_of(node.func.value), BY_CALL, node.lineno)]
    if isinstance(node, ast.AugAssign):
        return [(_name_of(node.target), BY_CALL, node.lineno)]
    if isinstance(node, ast.Assign) and not _is_empty(node.value):
        return [stored for target in node.targets for stored in _assigned(target)]
    return []


def _assigned(target: ast.expr) -> list[tuple[str, int, int]]:
    if isinstance(target, (ast.Tuple, ast.List)):
        return [stored for each in target.elts for stored in _assigned(each)]
    rank = BY_CALL if isinstance(target, ast.Subscript) else BY_ASSIGNMENT
    return [(_name_of(target), rank, target.lineno)]


def _name_of(target: ast.expr) -> str:
    while isinstance(target, (ast.Subscript, ast.Call, ast.Starred)):
        target = target.func if isinstance(target, ast.Call) else target.value
    if isinstance(target, ast.Attribute):
        return target.attr
    return target.id if isinstance(target, ast.Name) else ""


def _is_empty(value: ast.expr) -> bool:
    """Whether a statement only makes what others fill: `losses = []`, `total = 0.0`, `deque(maxlen=9)`."""
    if isinstance(value, ast.Constant):
        return True
    if isinstance(value, (ast.List, ast.Tuple, ast.Set)):
        return all(_is_empty(each) for each in value.elts)
    if isinstance(value, ast.Dict):
        return all(_is_empty(each) for each in value.values)
    return isinstance(value, ast.Call) and _name_of(value) in MAKES_EMPTY


@dataclass(frozen=True, slots=True)
class InPlace:
    """A statement that writes to what a name stands for. `op` as it is written: "+=", "add_", "[...] ="."""

    name: str
    line: int
    op: str


def writing_lines(file: str, names: set[str], lines: range) -> list[InPlace]:
    """Statements of a file that write in place to one of these names, within lines."""
    return [found for found in _writes(file) if found.name in names and found.line in lines]


def written_at(file: str, line: int) -> str:
    """The name that the statement at a line writes to in place; "" where there is none."""
    return next((found.name for found in _writes(file) if found.line == line), "")


def assigning_lines(file: str, name: str, lines: range) -> list[int]:
    """Lines that give a name another object, of a file, within lines."""
    return [line for stored, rank, line in _stores(file) if (stored, rank) == (name, BY_ASSIGNMENT) and line in lines]


def function_lines(file: str, line: int) -> range:
    """The lines of the innermost function around a line; the whole file where there is none."""
    spans = [span for span in _functions(file) if line in span]
    return min(spans, key=len) if spans else range(1, 1 << 31)


@lru_cache(maxsize=32)
def _functions(file: str) -> tuple[range, ...]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    nodes = (node for node in ast.walk(_tree(file)) if isinstance(node, kinds))
    return tuple(range(node.lineno, (node.end_lineno or node.lineno) + 1) for node in nodes)


@lru_cache(maxsize=32)
def _writes(file: str) -> tuple[InPlace, ...]:
    return tuple(found for node in ast.walk(_tree(file)) if (found := _written_by(node)) is not None)


def _written_by(node: ast.AST) -> InPlace | None:
    if isinstance(node, ast.AugAssign):
        return InPlace(_name_of(node.target), node.lineno, f"{_OPERATORS.get(type(node.op), '')}=")
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
        return InPlace(_name_of(node.targets[0]), node.lineno, "[...] =")
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        name = node.func.attr
        if name.endswith("_") and not name.endswith("__"):
            return InPlace(_name_of(node.func.value), node.lineno, name)
    return None


_OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.Pow: "**",
    ast.MatMult: "@",
}
