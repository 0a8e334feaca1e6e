"""What conditions need to know of earlier snapshots: which tensor or module a name meant, which graph a digest.

Whoever makes a snapshot fills this. Nothing is held alive.
"""

from __future__ import annotations

import weakref
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch
    from torch import nn

    from gradwatch.capture.graph import Walk

MAX_STRUCTURES = 256
"""Graph digests whose structure is remembered; a condition on an older one is matched by name."""

_parameters: dict[str, weakref.ref[torch.Tensor]] = {}
_modules: dict[str, weakref.ref[nn.Module]] = {}
_structures: dict[str, bytes] = {}


def full_name(root: str, path: str) -> str:
    """How a module or parameter is called in conditions: "root.path", without an empty half."""
    return ".".join(part for part in (root, path) if part)


def remember_names(parameters: Mapping[str, torch.Tensor], modules: Mapping[str, nn.Module]) -> None:
    """Tell what the latest snapshot shows under each full name. It replaces what was told before."""
    _parameters.clear()
    _modules.clear()
    _parameters.update({name: weakref.ref(tensor) for name, tensor in parameters.items()})
    _modules.update({name: weakref.ref(module) for name, module in modules.items()})


def remember_structure(graph_digest: str, walked: Walk) -> None:
    """Tell that the graph shown as `graph_digest` is `walked`, so that conditions on its nodes find them."""
    _structures.pop(graph_digest, None)
    while len(_structures) >= MAX_STRUCTURES:
        del _structures[next(iter(_structures))]
    _structures[graph_digest] = structure(walked)


def parameter(name: str) -> torch.Tensor | None:
    """The leaf that the latest snapshot showed under this name, where it is still there."""
    reference = _parameters.get(name)
    return None if reference is None else reference()


def modules() -> Iterator[tuple[str, nn.Module]]:
    """The modules that the latest snapshot showed, where they are still there."""
    for name, reference in list(_modules.items()):
        module = reference()
        if module is not None:
            yield name, module


def structure_of(graph_digest: str) -> bytes | None:
    return _structures.get(graph_digest)


def structure(walked: Walk) -> bytes:
    """A digest of a graph's names and edges alone: `Graph.digest` also holds ids, which differ by snapshot."""
    edges = np.stack([walked.edge_source, walked.edge_slot, walked.edge_target, walked.edge_input_nr])
    return blake2b("\0".join(walked.names).encode() + edges.tobytes(), digest_size=16).digest()
