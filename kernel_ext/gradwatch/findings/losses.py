"""The terms that a loss is summed from, and which of them a node's gradient comes from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradwatch.findings.paths import Paths
    from gradwatch.session.session import Session

SUMMING = ("AddBackward0", "SubBackward0", "MulBackward0", "DivBackward0", "NegBackward0", "StackBackward0")
SCALING = ("MulBackward0", "DivBackward0")
MOST_TERMS = 8


@dataclass(frozen=True, slots=True)
class Term:
    """One term of the loss: the node that made it, the sum it stands in, and the node that scales it (-1: none)."""

    node: int
    sum: int
    scaling: int


class Losses:
    """The loss of a graph with one root, taken apart: a scalar's sums and products are of scalars all the way."""

    def __init__(self, session: Session, paths: Paths) -> None:
        self._session = session
        self._paths = paths

    def _is_of_total(self, node: int) -> bool:
        """Whether a sum stands on the line of the last one, or on one that adds to the same name ("loss += aux")."""
        own, last = self._paths.site(node), self._paths.site(self._paths.roots[0])
        if own < 0 or self._line(own) == self._line(last):
            return True
        return self._assigned(own) != "" and self._assigned(own) == self._assigned(last)

    def _line(self, site: int) -> tuple[str, int]:
        if site < 0:
            return "", -1
        place = self._session.site(site)
        return place.file, place.line

    def _assigned(self, site: int) -> str:
        text = (self._session.sources_by_id.line_text(site) or "") if site >= 0 else ""
        found = re.match(r"\s*([A-Za-z_][\w.]*)\s*[-+]?=[^=]", text)
        return found[1] if found else ""

    @cached_property
    def terms(self) -> list[Term]:
        """What the loss is summed from; empty where it is one thing, or many."""
        if len(self._paths.roots) != 1:
            return []
        found: list[Term] = []
        queue = [(self._paths.roots[0], -1, -1)]
        while queue and len(found) <= MOST_TERMS:
            node, total, scaling = queue.pop(0)
            name, below = self._paths.names[node], self._paths.down(node)
            sums_stack = name == "SumBackward0" and self._paths.names[below[0]] == "StackBackward0" if below else False
            if ((name in SUMMING and below) or sums_stack) and self._is_of_total(node):
                total = node if len(below) > 1 else total
                scaling = node if name in SCALING else scaling
                queue += [(each, total, scaling) for each in below]
            else:
                found.append(Term(node, total, scaling))
        return found if 1 < len(found) <= MOST_TERMS else []

    @cached_property
    def _reached(self) -> list[int]:
        """Of each node which terms (bits) its gradient comes from."""
        bits = [0] * len(self._paths.names)
        for number, term in enumerate(self.terms):
            bits[term.node] |= 1 << number
        for node in range(len(bits) - 1, -1, -1):  # nodes are in forward order: who gives comes before who gets
            for target in self._paths.down(node):
                bits[target] |= bits[node]
        return bits

    def behind(self, node: int) -> int:
        """The one term that a node's gradient comes from alone; -1 where it is none, or several."""
        bits = self._reached[node]
        return bits.bit_length() - 1 if bits and not bits & (bits - 1) else -1

    def name(self, number: int) -> str:
        """What the program calls a term, by its line: "aux" of `aux = mse_loss(...)`; else its op."""
        node = self.terms[number].node
        assigned = self._assigned(self._paths.site(node))
        of_root = self._assigned(self._paths.site(self._paths.roots[0]))
        if assigned and assigned != of_root and not self._shares_line(number):
            return assigned
        return f"the {self._paths.names[node].removesuffix('Backward0')} term"

    def _shares_line(self, number: int) -> bool:
        lines = [self._line(self._paths.site(term.node)) for term in self.terms]
        return lines.count(lines[number]) > 1
