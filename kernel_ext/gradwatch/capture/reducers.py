"""The modules that reduce gradients over ranks (DDP, FSDP), and the leaves where each is still this rank's own.

DDP's leaves are the parameters. FSDP (version 2) shards them: backward reaches an unsharded stand-in, made from the
shards of all ranks, and sets `.grad` on this rank's shard itself. FSDP (version 1) has one flat leaf for many.
"""

from __future__ import annotations

import gc
import sys
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from gradwatch.capture.modules import named_modules

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import nn

_DDP = ("torch.nn.parallel.distributed", "DistributedDataParallel")
_FSDP = ("torch.distributed.fsdp", "FSDPModule")
_FLAT_FSDP = ("torch.distributed.fsdp", "FullyShardedDataParallel")

DISTRIBUTED = "torch.distributed.distributed_c10d"


def is_distributed() -> bool:
    """Whether this process belongs to a process group. Imports nothing."""
    module: Any = sys.modules.get(DISTRIBUTED)
    return module is not None and module.is_initialized()


_UNSHARDED = ("_full_param_padded", "_full_prec_full_param_padded")
"""Where a flat parameter keeps what it gathered from all ranks."""


@dataclass(slots=True, eq=False)
class Reducer:
    """A module that reduces the gradients of its parameters. `is_flat`: FSDP version 1."""

    module: weakref.ref[nn.Module]
    is_sharding: bool
    is_flat: bool

    def leaves(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Pairs of a parameter and the leaf that backward reaches for it, as they are now."""
        module: Any = self.module()
        if module is None:
            return
        if self.is_sharding:
            yield from unsharded_leaves(module)
        elif self.is_flat:
            flat = getattr(getattr(module, "_handle", None), "flat_param", None)
            if flat is not None:
                yield flat, flat
        else:
            reduced: Iterable[torch.Tensor] = getattr(module, "_module_parameters", None) or _parameters(module)
            yield from ((leaf, leaf) for leaf in reduced)


def is_wrapper(module: object) -> bool:
    """Whether this is one of the modules that are put around a model."""
    kinds = (_loaded(_DDP), _loaded(_FLAT_FSDP))
    return any(kind is not None and issubclass(type(module), kind) for kind in kinds)


def gathered(flat: torch.Tensor) -> list[torch.Tensor]:
    """What FSDP version 1 gathered from all ranks for a flat parameter: the graph saves views of it."""
    found = (getattr(flat, name, None) for name in _UNSHARDED)
    return [tensor for tensor in found if isinstance(tensor, torch.Tensor)]


def reducers() -> list[Reducer]:
    """Every reducing module of the process. Looks at all objects (about 50 ms), so not once a step."""
    kinds = {kind: loaded for kind in (_DDP, _FSDP, _FLAT_FSDP) if (loaded := _loaded(kind)) is not None}
    if not kinds:
        return []
    wanted = tuple(kinds.values())
    # By type alone: isinstance would ask a proxy of the program for its __class__.
    modules = [thing for thing in gc.get_objects() if issubclass(type(thing), wanted)]
    sharding, flat = kinds.get(_FSDP, ()), kinds.get(_FLAT_FSDP, ())
    return [
        Reducer(weakref.ref(module), issubclass(type(module), sharding), issubclass(type(module), flat))
        for module in modules
    ]


def unsharded_leaves(module: Any) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Of one FSDP module: each sharded parameter, with its unsharded stand-in once there is one."""
    for group in _groups(module):
        for entry in getattr(group, "fsdp_params", ()):
            parameter, unsharded = getattr(entry, "sharded_param", None), getattr(entry, "_unsharded_param", None)
            if parameter is not None and unsharded is not None:
                yield parameter, unsharded


def _groups(module: Any) -> list[Any]:
    """FSDP has no public way to them. Where a torch keeps them elsewhere no local gradients of theirs are seen."""
    try:
        state = module._get_fsdp_state()
    except Exception:  # noqa: BLE001 # a copy of a sharded module has no state, and raises
        return []
    groups = getattr(state, "_fsdp_param_groups", None)
    return [getattr(state, "_fsdp_param_group", None)] if groups is None else list(groups)  # one before torch 2.13


def unsharded_in(root: nn.Module) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Each sharded parameter in `root`, whose `.grad` the optimizer uses, with its unsharded stand-in."""
    kind = _loaded(_FSDP)
    if kind is None:
        return []
    sharding = (module for _, module in named_modules(root) if issubclass(type(module), kind))
    return [pair for module in sharding for pair in unsharded_leaves(module)]


def _parameters(module: nn.Module) -> Iterator[torch.Tensor]:
    """Parameters of a module and all in it, without asking what a program may override."""
    for _, inner in named_modules(module):
        yield from (parameter for parameter in inner._parameters.values() if parameter is not None)


def _loaded(kind: tuple[str, str]) -> Any:
    return getattr(sys.modules.get(kind[0]), kind[1], None)
