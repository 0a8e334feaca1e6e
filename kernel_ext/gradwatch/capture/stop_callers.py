"""The frames above a stopped one: who reaches something differentiable, and what their models are called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradwatch.capture.inside import submodules, tensors_of
from gradwatch.capture.origins import PROJECT, Origins
from gradwatch.capture.scope import public_names, reach
from gradwatch.capture.stopped_frame import frame_locals, names_of, standing_above
from gradwatch.records import Caller

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from gradwatch.capture.budget import Budget
    from gradwatch.capture.late_names import LateNames
    from gradwatch.capture.scope import Scope
    from gradwatch.capture.stopped_frame import Standing

MAX_FRAMES = 50


def callers_of(standing: Standing, budget: Budget) -> list[Caller]:
    """The user's frames above the stopped one that reach tensors which require grad. `depth` counts all frames."""
    found: list[Caller] = []
    for depth, caller, scope in _scopes_above(standing.frame, budget):
        count = _differentiable(scope)
        if count:
            code = caller.f_code
            name = str(getattr(code, "co_qualname", code.co_name))
            found.append(Caller(depth, name, code.co_filename, caller.f_lineno or 0, count))
    return found


def name_from_callers(frame: FrameType | None, names: LateNames, budget: Budget) -> None:
    """Name modules, and leaves, as frames from `frame` outwards do: the nearest name holds."""
    if frame is None:
        return
    for _, _, scope in _scopes_above(frame, budget, including=True):
        for reached in scope.modules:
            names.add_root(reached.expression, reached.value)
        for reached in scope.tensors:
            names.name_tensor(reached.expression, reached.value)


def _scopes_above(
    frame: FrameType, budget: Budget, *, including: bool = False
) -> Iterator[tuple[int, FrameType, Scope]]:
    origins = Origins()
    for depth, standing in enumerate(standing_above(frame)):
        if depth > MAX_FRAMES or budget.is_over():
            return
        caller = standing.frame
        if (depth or including) and origins[caller.f_code.co_filename] == PROJECT:
            with frame_locals(standing) as local:
                names = public_names(names_of(caller, local))
            yield depth, caller, reach(names, budget.is_over)


def _differentiable(scope: Scope) -> int:
    tensors: dict[int, Any] = {id(reached.value): reached.value for reached in scope.tensors}
    for reached in scope.modules:
        for _, module in submodules(reached.value):
            tensors.update((id(tensor), tensor) for _, tensor in tensors_of(module, "_parameters"))
    return sum(_requires_grad(tensor) for tensor in tensors.values())


def _requires_grad(tensor: Any) -> bool:
    try:
        return bool(tensor.requires_grad)
    except Exception:  # noqa: BLE001 # whatever a subclass raises
        return False
