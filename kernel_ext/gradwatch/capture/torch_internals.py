"""What capture reads of torch that torch does not export: typed, in one place, checked before use."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import torch

from gradwatch.errors import RecordingError

if TYPE_CHECKING:
    from collections.abc import Callable

OLDEST_TORCH = (2, 10)
"""The first release whose SavedTensor objects tell their `data`, which is what the ledger reads."""


def check_torch() -> None:
    """Raise RecordingError where torch is older than what the recorder reads."""
    major, minor = (int(part) for part in torch.__version__.split(".")[:2])
    if (major, minor) < OLDEST_TORCH:
        oldest = ".".join(map(str, OLDEST_TORCH))
        raise RecordingError(
            f"gradwatch records with torch {oldest} or newer; this is torch {torch.__version__}.\n"
            f"Upgrade with: pip install -U 'torch>={oldest}'. Saved sessions can be read with any torch, or none."
        )


_C: Any = torch._C
_autograd: Any = torch.autograd
_nn_parameter: Any = torch.nn.parameter

sequence_number: Callable[[], int] = getattr(_autograd, "_get_sequence_nr", lambda: -1)
"""The number that autograd gives to the next node of this thread."""

graph_task: Callable[[], int] = getattr(_C, "_current_graph_task_id", lambda: -1)
"""Which run of the engine this thread is inside of; -1: none."""

current_node: Callable[[], Any] = getattr(_C, "_current_autograd_node", lambda: None)
"""The node that the engine is running on this thread."""

dispatch_modes: Callable[[], int] = _C._len_torch_dispatch_stack
"""How many dispatch modes of the program would see an op of ours."""

is_functorch: Callable[[Any], bool] = _C._functorch.is_functorch_wrapped_tensor
"""Whether a tensor is the wrapper of a torch.func transform: it has no storage."""


def dual_level() -> int:
    """How many levels of forward-mode AD are entered, less one; -1: none."""
    return getattr(torch.autograd.forward_ad, "_current_level", -1)


SavedTensor: type = _C._autograd.SavedTensor
"""What a node's `_raw_saved_` field holds."""

hook_stack: Any = _C._autograd
"""The module that keeps the stack of saved-tensor hooks: `_push_`, `_pop_`, `_top_saved_tensors_default_hooks`."""

is_compiling: Callable[[], bool] = torch.compiler.is_compiling
"""Whether the compiler is tracing: hook bodies must then leave at once."""

_tracing_context: Any = getattr(getattr(torch, "_guards", None), "TracingContext", None)


def is_tracing() -> bool:
    """Whether the compiler is at work on this thread: before torch 2.13, AOTAutograd's tracing is not "compiling"."""
    return is_compiling() or (_tracing_context is not None and _tracing_context.try_get() is not None)


_COMPILED_AUTOGRAD = "torch._dynamo.compiled_autograd"


def compiled_autograd() -> bool:
    """Whether a backward call begun now would be compiled instead of run node by node."""
    module: Any = sys.modules.get(_COMPILED_AUTOGRAD)
    return bool(getattr(module, "compiled_autograd_enabled", False))


tracing_state: Callable[[], Any] = _C._get_tracing_state
"""Not None while torch.jit.trace runs: every op of ours would become part of its graph."""

function_modes: Callable[[], int] = _C._len_torch_function_stack
"""How many function modes of the program would see a call of ours."""

UninitializedTensor: type = _nn_parameter.UninitializedTensorMixin
"""A lazy module's parameter before its first forward."""

MODULE_CALL_CODE: Any = getattr(torch.nn.Module, "_call_impl").__code__  # noqa: B009  # untyped in torch
"""The code of the one frame that every running module call has."""


def without_dispatch() -> Any:
    """A context in which the program's dispatch modes see no op."""
    return _C._DisableTorchDispatch()


def without_function() -> Any:
    """A context in which `__torch_function__` of subclasses is not called."""
    return _C.DisableTorchFunctionSubclass()
