"""What a non-reentrant checkpoint recomputes during backward, for the curve at `nodes`.

While it recomputes, its own pair of saved-tensor hooks is on top and alone is called: each tensor is kept in the
checkpoint's frame until the node that needs it takes it (torch/utils/checkpoint.py, `_recomputation_hook`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.utils import checkpoint

from gradwatch.capture.checkpoints import cells_of
from gradwatch.capture.torch_internals import current_node, is_compiling

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    Pack = Callable[[torch.Tensor], object]
    Saved = Callable[[torch.Tensor, object], None]

NOT_SEEN = (
    "What a checkpoint recomputes during backward is not in the curve of held memory, whose peak may be higher than "
    "shown. At detail='nodes' it is."
)
"""What a recording must say that cannot see it."""


REENTRANT_NODE = "CheckpointFunctionBackward"


def runs_a_checkpoint() -> bool:
    """Whether the engine runs a reentrant checkpoint's node on this thread, which recomputes and calls backward."""
    node = current_node()
    return node is not None and node.name() == REENTRANT_NODE


class Recomputation:
    """Tells `saved` of each tensor that a checkpoint recomputes, with an object that lives as long as it is kept."""

    def __init__(self, saved: Saved) -> None:
        self._saved = saved
        self._hooks: Any = None

    def start(self) -> bool:
        """Stand in for the entry of the checkpoint's hooks. False where this torch has none of that name."""
        hooks: Any = getattr(checkpoint, "_recomputation_hook", None)
        if hooks is None or "__enter__" in vars(hooks) or not hasattr(hooks, "__enter__"):
            return False
        original = hooks.__enter__
        saved = self._saved

        def __enter__(hook: Any) -> Any:  # noqa: N807 # what it stands in for
            if not is_compiling():
                hook.pack_hook = _seen_by(saved, hook.pack_hook)
            return original(hook)

        hooks.__enter__ = __enter__
        self._hooks = hooks
        return True

    def stop(self) -> None:
        if self._hooks is not None:
            del self._hooks.__enter__
            self._hooks = None


def _seen_by(saved: Saved, pack: Pack) -> Pack:
    """The checkpoint's pack hook, after each of whose calls `saved` is told of what it kept."""
    cells = cells_of(pack)
    if "target_frame_ref" not in cells:  # it is wrapped, so that dynamo leaves it alone
        cells = cells_of(getattr(pack, "__wrapped__", None) or cells.get("fn"))
    if not {"target_frame_ref", "gid"} <= cells.keys():
        return pack
    frame_ref, group = cells["target_frame_ref"], cells["gid"]

    def pack_hook(tensor: torch.Tensor) -> object:
        try:
            return pack(tensor)
        finally:  # with the last tensor it needs, the checkpoint stops by raising
            _tell(saved, frame_ref(), group)

    return pack_hook


def _tell(saved: Saved, frame: Any, group: Any) -> None:
    try:
        holder = frame.weak_holders[frame.recomp_counter[group] - 1]()
        handle = None if holder is None else holder.handles.get(group)
        tensor = None if handle is None else frame.recomputed[group].get(handle)
    except (AttributeError, IndexError, KeyError, TypeError):  # this torch keeps them elsewhere
        return
    if tensor is not None:
        saved(tensor, handle)
