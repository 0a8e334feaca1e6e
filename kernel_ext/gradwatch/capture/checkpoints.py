"""What a non-reentrant checkpoint holds in place of its inside: the inputs that it recomputes from.

Its pack hook leaves an empty holder for each saved tensor; the frame with the inputs hangs on the
SavedTensor's unpack hook, as a closure variable (torch/utils/checkpoint.py, `_checkpoint_hook`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKPOINT_MODULE = "torch.utils.checkpoint"


def frame_of(raw: Any) -> Any:
    """The checkpoint's frame behind a SavedTensor, or None where this torch keeps it elsewhere."""
    hook = getattr(raw, "unpack_hook", None)
    names = getattr(getattr(hook, "__code__", None), "co_freevars", ())
    for name, cell in zip(names, getattr(hook, "__closure__", None) or (), strict=False):
        if name == "frame":
            try:
                return cell.cell_contents
            except ValueError:  # an empty cell
                return None
    return None


def inputs_of(frame: Any) -> Iterator[Any]:
    """What a checkpoint's frame holds to recompute from: tensors, or what pack hooks made of them."""
    saver = getattr(getattr(frame, "input_saver", None), "grad_fn", None)  # until torch 2.12
    held: Any = getattr(frame, "saved_args", None) or getattr(saver, "_raw_saved_tensors", None) or ()
    for each in held:
        try:
            data = getattr(each, "data", None)
        except RuntimeError:  # released
            continue
        if data is not None:
            yield data
