"""Puts the tensors that keep graphs alive together by what holds them: a list of losses is one holder, not forty."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

from gradwatch.capture.frame_names import module_of, referrers
from gradwatch.capture.holder_names import HolderNames, attributes_of

if TYPE_CHECKING:
    import torch

    from gradwatch.capture.holder_search import Reach
    from gradwatch.capture.origins import Origins

MAX_SAMPLE = 64
"""Tensors whose referrers are looked for: the collector compares each object's references with each of them."""


class HolderGroups:
    """The groups of one look."""

    def __init__(self, reach: Reach, origins: Origins) -> None:
        self._reach = reach
        self._ours = {id(reach), id(reach.tensors), id(attributes_of(reach))}
        self.names = HolderNames(origins, self._ours)

    def largest(self, most: int) -> list[list[torch.Tensor]]:
        """At most `most` groups: those of containers, the largest first, then tensors that stand alone."""
        sample = self._sample()
        containers = self._containers(sample)
        in_order = sorted(self._reach.tensors, key=lambda tensor: max(self._serials(tensor)))
        self._ours.add(id(in_order))
        groups = [[each for each in in_order if id(each) in held] for held in map(_ids_in, containers)]
        groups = sorted((group for group in groups if group), key=len, reverse=True)
        in_groups = {id(tensor) for group in groups for tensor in group}
        alone = [tensor for tensor in sample if id(tensor) not in in_groups and self._is_held(tensor)]
        told = set[int]().union(*(self._serials(tensor) for group in groups for tensor in group))
        found = [*groups, *([tensor] for tensor in self._upstream(alone, told))]
        return (found or [[tensor] for tensor in self._reach.tensors[-1:]])[:most]

    def _serials(self, tensor: torch.Tensor) -> set[int]:
        return self._reach.serials[id(tensor)]

    def _sample(self) -> list[torch.Tensor]:
        """Those with names first, then gradients, then those that lead to most graphs."""

        def rank(tensor: torch.Tensor) -> tuple[bool, bool, int, int]:
            serials = self._serials(tensor)
            named = self.names.has_name(tensor)
            return not named, id(tensor) not in self._reach.grads, -len(serials), -max(serials)

        return sorted(self._reach.tensors, key=rank)[:MAX_SAMPLE]

    def _containers(self, sample: list[torch.Tensor]) -> list[Any]:
        """Lists and dicts of the program's that hold some of the sample; not the dicts behind attributes or globals."""
        self._ours.update((id(sample), id(self._ours)))
        self._held: set[int] = set()
        found: list[Any] = []
        for thing in referrers(sample):
            if id(thing) in self._ours or not self.names.is_programs(thing):
                continue
            if isinstance(thing, (list, dict, set, tuple)) and not _is_namespace(thing):
                found.append(thing)
            else:
                self._held.update(map(id, gc.get_referents(thing)))
        self._ours.add(id(found))
        return found

    def _is_held(self, tensor: torch.Tensor) -> bool:
        """Whether Python code holds a tensor. Others live because C++ does: autograd saved them."""
        return self.names.has_name(tensor) or id(tensor) in self._held or id(tensor) in self._reach.grads

    def _upstream(self, alone: list[torch.Tensor], told: set[int]) -> list[torch.Tensor]:
        """Of tensors that lead to the same graphs the first: what was computed from it goes when it does."""
        found: list[torch.Tensor] = []
        for tensor in sorted(alone, key=_number):
            if not self._serials(tensor) & told:
                found.append(tensor)
                told |= self._serials(tensor)
        return found


def _number(tensor: torch.Tensor) -> int:
    node = tensor.grad_fn
    return -1 if node is None else node._sequence_nr()  # no public getter


def _ids_in(container: Any) -> set[int]:
    values: Any = container.values() if isinstance(container, dict) else container  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] # whatever the program holds
    return {id(value) for value in list(values)}


def _is_namespace(thing: Any) -> bool:
    if not isinstance(thing, dict):
        return False
    if module_of(thing) is not None:  # pyright: ignore[reportUnknownArgumentType] # likewise
        return True
    return any(attributes_of(owner) is thing for owner in referrers([thing]))
