"""What a non-reentrant checkpoint holds in place of its inside: what it recomputes from.

Its pack hook leaves an empty holder for each saved tensor; the frame with the inputs hangs on the
SavedTensor's unpack hook, as a closure variable (torch/utils/checkpoint.py, `_checkpoint_hook`). Nothing here
calls a hook: reading never recomputes.
"""

from __future__ import annotations

from functools import partial
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from gradwatch.capture.nested_tensors import tensors_within

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

CHECKPOINT_MODULE = "torch.utils.checkpoint"

INSIDE = "inside a checkpoint: recomputed in backward; until then it holds only what it recomputes from"
INSIDE_SELECTIVE = (
    "inside a selective checkpoint: what its policy saves is held with what it recomputes from; "
    "the rest is recomputed in backward"
)
INSIDE_UNKNOWN = "inside a checkpoint: recomputed in backward; what it holds until then is not observable on this torch"

RECOMPUTED = "recomputed"
"""The role of tensors that a checkpoint has recomputed and backward has not used yet."""

CHECKPOINTED_FUNCTION = "run_function"
"""The attribute in which a reentrant checkpoint's ctx keeps the function that it runs again."""

_MAX_FUNCTIONS = 3
"""Functions that hold functions are followed so far: a partial of a bound method of a wrapper."""


def frame_of(raw: Any) -> Any:
    """The checkpoint's frame behind a SavedTensor, or None where this torch keeps it elsewhere."""
    hook = getattr(raw, "unpack_hook", None)
    cells = cells_of(hook)
    if "frame" not in cells and "unpack_hook" in cells:  # with debug=True another function stands around it
        cells = cells_of(cells["unpack_hook"])
    return cells.get("frame")


def cells_of(function: Any) -> dict[str, Any]:
    """What a function's closure holds, by name."""
    names = getattr(getattr(function, "__code__", None), "co_freevars", ())
    found: dict[str, Any] = {}
    for name, cell in zip(names, getattr(function, "__closure__", None) or (), strict=False):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # noqa: PERF203  # an empty cell
            continue
    return found


def text_of(frame: Any) -> str:
    """What to say of a node whose saved tensors a checkpoint recomputes."""
    if frame is None:
        return INSIDE_UNKNOWN
    return INSIDE_SELECTIVE if _policy_storage(frame) else INSIDE


def held_by(frame: Any) -> Iterator[tuple[str, Any]]:
    """Roles, and what a frame keeps under them: SavedTensor objects, or values that may have tensors in them."""
    saver = getattr(getattr(frame, "input_saver", None), "grad_fn", None)  # until torch 2.12
    for each in getattr(frame, "saved_args", None) or _raw_saved(saver):
        yield "checkpoint input", each
    yield "checkpoint input", list(cells_of(getattr(saver, "get_args", None)).values())
    cells = cells_of(getattr(frame, "recompute_fn", None))
    yield "checkpoint input", cells.get("kwargs")
    yield "checkpoint function", list(captured(cells.get("fn")))
    yield "checkpoint rng state", [cells.get("fwd_cpu_state"), cells.get("fwd_device_states")]
    yield "checkpoint policy", list(_values(_policy_storage(frame)))
    for table in list(getattr(frame, "recomputed", {}).values()):
        yield RECOMPUTED, list(table.values())


def captured(function: Any, depth: int = 0) -> Iterator[torch.Tensor]:
    """Tensors that a function keeps alive: in its closure, or bound to it by functools.partial."""
    if isinstance(function, partial):
        held: list[Any] = [function.func, *function.args, *function.keywords.values()]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] # whatever was bound
    elif isinstance(function, FunctionType):
        held = list(cells_of(function).values())
    elif isinstance(function, MethodType):
        held = [function.__func__]
    else:
        return
    for value in held:
        yield from tensors_within(value)
        if depth < _MAX_FUNCTIONS:
            yield from captured(value, depth + 1)


def _raw_saved(saver: Any) -> tuple[Any, ...]:
    try:
        return getattr(saver, "_raw_saved_tensors", None) or ()
    except RuntimeError:  # released
        return ()


def _policy_storage(frame: Any) -> Any:
    """Results that a policy saved, by operator, as create_selective_checkpoint_contexts keeps them."""
    context = cells_of(getattr(frame, "recompute_fn", None)).get("recompute_context")
    storage = getattr(context, "__dict__", {}).get("storage")
    return storage if isinstance(storage, dict) else None  # pyright: ignore[reportUnknownVariableType] # torch's own


def _values(stored: Any) -> Iterator[Any]:
    """What stands in the wrappers that guard a policy's results against changes."""
    kind: type = stored.__class__
    if issubclass(kind, (dict, list, tuple)):
        for each in list(stored.values() if issubclass(kind, dict) else stored):
            yield from _values(each)
    elif kind.__name__ == "_VersionWrapper":
        yield stored.val
