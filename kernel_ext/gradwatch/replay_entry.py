"""The entry of a replay: the user's function that builds model, optimizer and step function anew."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from gradwatch.errors import UsageError

if TYPE_CHECKING:
    from gradwatch.capture.kept_state import Training

Entry = str | Callable[[], Any]
"""The function, or "module:function"."""


@dataclass(frozen=True, slots=True)
class Built:
    """What an entry returned."""

    training: Training
    step: Callable[..., object]


def build(entry: Entry, roots: list[str]) -> Built:
    """Call the entry; `roots` are the models' names in the recording. Raises UsageError where it does not fit."""
    name = entry if isinstance(entry, str) else getattr(entry, "__qualname__", str(entry))
    made: Any = (_imported(entry) if isinstance(entry, str) else entry)()
    kind = type(made).__name__
    returned: list[Any] = [*cast("tuple[Any, ...]", made)] if isinstance(made, tuple) else []
    if len(returned) not in (3, 4):
        raise UsageError(
            f"{name} returned {kind}; it must return model, optimizer, step_function "
            "(and a GradScaler where there was one)."
        )
    model, optimizer, step, *scalers = returned
    if not callable(step):
        raise UsageError(f"The third that {name} returned is a {type(step).__name__}; it must be the step function.")
    from torch import nn, optim  # noqa: PLC0415 # only here

    from gradwatch.capture.kept_state import Training  # noqa: PLC0415 # imports torch

    models = _by_root(name, model, roots)
    optimizers = _listed(optimizer)
    if not all(isinstance(each, nn.Module) for each in models.values()):
        raise UsageError(f"The first that {name} returned must be a torch.nn.Module, a list or a dict of them.")
    if not all(isinstance(each, optim.Optimizer) for each in optimizers):
        raise UsageError(f"The second that {name} returned must be a torch.optim.Optimizer, a list of them, or None.")
    return Built(Training(models, optimizers, _listed(scalers[0]) if scalers else []), step)


def _by_root(name: str, model: Any, roots: list[str]) -> dict[str, Any]:
    """The entry's models by the names that the recording gave them: in order, where the entry names none."""
    if isinstance(model, Mapping):
        named = dict(cast("Mapping[str, Any]", model))
        if set(named) == set(roots):
            return {root: named[root] for root in roots}
        raise UsageError(f"{name} returned the models {', '.join(named)}; watched were: {', '.join(map(repr, roots))}.")
    models = _listed(model)
    if len(models) != len(roots):
        watched = ", ".join(map(repr, roots))
        raise UsageError(f"{name} returned {len(models)} models; {len(roots)} were watched: {watched}.")
    return dict(zip(roots, models, strict=True))


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(cast("list[Any]", value)) if isinstance(value, (list, tuple)) else [value]


def _imported(entry: str) -> Callable[[], Any]:
    module, colon, function = entry.partition(":")
    if not (module and colon and function):
        raise UsageError(f"--entry {entry!r} is not module:function, such as train:build.")
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise UsageError(f"There is no module {module!r} here (looked for in {Path.cwd()} and sys.path).") from None
    for part in function.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise UsageError(f"Module {module!r} has no function {function!r}.")
    return found
