"""Steps aside where compiled autograd runs backward: it would compile our hooks, and once more when they have gone.

The graph and what it holds are read before such a call and parameters' gradients after it, both without a hook.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from gradwatch.capture.torch_internals import compiled_autograd
from gradwatch.records import Notice

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradwatch.capture.module_hooks import OutputGradients
    from gradwatch.capture.pack_hooks import PackHooks

NO_GRADIENTS = (
    "Backward ran under compiled autograd, as one compiled function: gradients of module outputs and of nodes are not "
    "observable there. Those of parameters are, and the graph and what it holds."
)
NO_LOCAL = (
    "Backward ran under compiled autograd, as one compiled function: this rank's own gradients, before they are "
    "reduced over the ranks, are not observable there."
)
NO_HOOKS = "this program uses compiled autograd, which would compile the hooks"
HOOKS_ENDED = (
    "Held memory is read at each backward call only: backward ran under compiled autograd, which compiles saved-tensor "
    "hooks. Ours were taken out; the call that showed it was compiled with them."
)


def uses_compiled_autograd() -> bool:
    """Whether a backward call begun now would be compiled, or the program has said that each shall be."""
    config: Any = sys.modules.get("torch._dynamo.config")
    return compiled_autograd() or getattr(config, "compiled_autograd", False) is True


class CompiledBackward:
    """Takes our hooks out of the way of calls under compiled autograd, and says once what is not seen there."""

    def __init__(self, tell: Callable[[Notice], None]) -> None:
        self._tell = tell
        self._told = False

    def begins(self, outputs: OutputGradients | None, packs: PackHooks | None, *, local: bool) -> bool:
        """Whether the call that begins now will be compiled; then none of our hooks is in its graph any more.

        `local`: this rank's own gradients would be read, by hooks that compile to nothing.
        """
        if not compiled_autograd():
            return False
        if outputs is not None:
            outputs.remove()
        if packs is not None:
            packs.stop()
            self._tell(Notice("partial", HOOKS_ENDED))
        if not self._told:
            self._told = True
            if outputs is not None:
                self._tell(Notice("not observable", NO_GRADIENTS))
            if local:
                self._tell(Notice("not observable", NO_LOCAL))
        return True
