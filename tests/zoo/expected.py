"""What a program of the zoo must be told: one planted bug each, or none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradwatch.records import Detail, FindingKind


@dataclass(frozen=True)
class Expected:
    """The finding that a planted bug must give.

    Its line is the one that ends in `# bug` in the program, the second, where it takes two, the one in `# other`.
    `parameters` must all be named by it (of "unreached" and its like: exactly these), `name` be its Python name, and
    `fix` and `says` stand in its fix and its sentence. `also` are kinds of further errors and warnings
    that are true of the program. `raises` is the name of the exception that ends it.
    """

    kind: FindingKind
    cause: str = ""
    parameters: tuple[str, ...] = ()
    name: str = ""
    fix: str = ""
    says: str = ""
    also: tuple[FindingKind, ...] = ()
    raises: str = ""
    detail: Detail = "modules"
    options: dict[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True)
class Silence:
    """A healthy twin: no error and no warning, nor a note of a kind in `but_not`."""

    but_not: tuple[FindingKind, ...] = ()
    detail: Detail = "modules"
    options: dict[str, object] = field(default_factory=dict[str, object])
