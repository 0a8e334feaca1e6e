"""Asks the debugger's door in tests: questions as text, answers as records with numpy columns."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gradwatch.json_records import record_from
from gradwatch.records import GRADIENT_STATES, NODE_STATES, Failure, Snapshot

if TYPE_CHECKING:
    import pytest
    from numpy.typing import NDArray

    from gradwatch.records import Column, GradientStates, Graph, Variable


def snapshot(**fields: Any) -> str:
    """The text of a snapshot question, with time enough for a busy machine."""
    return json.dumps({"question": "snapshot", "budget_ms": 60_000, **fields})


def read(answer: str) -> Answer:
    """A snapshot that was answered; a failure is an AssertionError with its text."""
    parsed = json.loads(answer)
    assert parsed["kind"] == "Snapshot", parsed["value"]
    return Answer(record_from(Snapshot, parsed["value"]))


def failure(answer: str) -> Failure:
    parsed = json.loads(answer)
    assert parsed["kind"] == "Failure", answer[:500]
    return record_from(Failure, parsed["value"])


def array(column: Column) -> NDArray[Any]:
    return np.frombuffer(column.data, column.dtype)


def forget_compilations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process look like one that never compiled: other tests have, and that is seen for its whole life."""
    if "torch._dynamo.utils" in sys.modules:
        monkeypatch.setattr("torch._dynamo.utils.counters", {})


@dataclass(frozen=True)
class Answer:
    """A snapshot by names instead of ids."""

    record: Snapshot

    @property
    def variables(self) -> dict[str, Variable]:
        return {each.expression: each for each in self.record.variables}

    @property
    def root(self) -> str | None:
        return self.record.variables[self.record.root].expression if self.record.root >= 0 else None

    @cached_property
    def names(self) -> list[str]:
        return [".".join(part for part in (each.root, each.path) if part) for each in self.record.parameters]

    @property
    def states(self) -> dict[str, str]:
        return {name: GRADIENT_STATES[state] for name, state in self._of("state").items()}

    def _of(self, column: str) -> dict[str, Any]:
        states: GradientStates | None = self.record.states
        assert states is not None
        ids = array(states.subjects).tolist()
        return {self.names[i]: value for i, value in zip(ids, array(getattr(states, column)).tolist(), strict=True)}

    @property
    def changed(self) -> set[str]:
        return {name for name, changed in self._of("changed").items() if changed}

    @property
    def pending(self) -> set[str]:
        return {name for name, pending in self._of("pending").items() if pending}

    @property
    def stale(self) -> dict[str, int]:
        return self._of("stale")

    @property
    def previous_norm(self) -> dict[str, float]:
        return self._of("previous_norm")

    def statistic(self, name: str) -> dict[str, float]:
        """A column of the statistics by parameter; those that were not read are left out."""
        found: dict[str, float] = {}
        for each in self.record.gradients:
            if each.subject_kind != "parameter":
                continue
            ids = array(each.subjects).tolist()
            found.update(zip((self.names[i] for i in ids), array(each.columns[name]).tolist(), strict=True))
        return found

    def of_running_node(self, name: str) -> list[float]:
        """A column of the statistics of what reached the running node, and of what it made, as far as known."""
        rows = [each for each in self.record.gradients if each.subject_kind == "node"]
        assert all(array(each.subjects).tolist() == [self.record.stop.running] for each in rows)
        return [array(each.columns[name]).tolist()[0] for each in rows]

    @property
    def graph(self) -> Graph:
        assert self.record.graph is not None
        return self.record.graph

    @property
    def node_names(self) -> list[str]:
        return [self.graph.names[i] for i in array(self.graph.name).tolist()]

    @property
    def node_modules(self) -> list[str]:
        """The module path of each node; "-" where it is not known."""
        modules = {each.id: each.path for each in self.record.modules}
        return ["-" if i < 0 else modules[i] for i in array(self.graph.module).tolist()]

    @property
    def node_lines(self) -> list[str]:
        """The text of each node's line; "" where it is not known."""
        return ["" if i < 0 else self.record.site_texts[i] for i in array(self.graph.site).tolist()]

    @property
    def node_states(self) -> list[str]:
        assert self.record.stop.node_states is not None
        return [NODE_STATES[i] for i in array(self.record.stop.node_states).tolist()]

    def missing(self, part: str) -> str:
        """Why a part is not there, "" where it is."""
        return "; ".join(each.reason for each in self.record.missing if each.part == part)
