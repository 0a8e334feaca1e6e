"""Variables of a stopped frame as records, and which of them stands for the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from gradwatch.capture.inside import parameters_of
from gradwatch.capture.statistics_layout import PLAIN_TYPES
from gradwatch.capture.torch_internals import is_functorch
from gradwatch.records import Variable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradwatch.capture.late_names import LateNames
    from gradwatch.capture.scope import Reached, Scope


def variables_of(scope: Scope, names: LateNames) -> list[Variable]:
    """A record for each value, in the order of `scope.all()`."""
    return [
        *(tensor_variable(reached, names) for reached in scope.tensors),
        *(_container(reached, "module", names.sizes.get(id(reached.value), 0)) for reached in scope.modules),
        *(_container(reached, "optimizer", len(list(parameters_of(reached.value)))) for reached in scope.optimizers),
    ]


def _container(reached: Reached, kind: Any, count: int) -> Variable:
    return Variable(reached.expression, kind, type(reached.value).__name__, parameter_count=count)


def tensor_variable(reached: Reached, names: LateNames) -> Variable:
    """A tensor's record. What a subclass refuses to tell stays empty."""
    tensor, kind = reached.value, type(reached.value).__name__
    try:
        grad_fn: Any = tensor.grad_fn
        return Variable(
            expression=reached.expression,
            kind="tensor",
            class_name=kind,
            shape=list(tensor.shape),
            dtype=str(tensor.dtype).removeprefix("torch."),
            device=str(tensor.device),
            requires_grad=bool(tensor.requires_grad),
            grad_fn=None if grad_fn is None else node_name(grad_fn),
            sequence=-1 if grad_fn is None else _sequence(grad_fn),
            parameter=names.known_id(tensor),
            number=number_of(tensor),
        )
    except Exception:  # noqa: BLE001 # whatever a subclass raises
        return Variable(reached.expression, "tensor", kind)


def node_name(node: Any) -> str:
    return node.name().removeprefix("torch::autograd::")


def _sequence(node: Any) -> int:
    number = node._sequence_nr()
    return number if number < 1 << 63 else -1  # a leaf's


def number_of(tensor: Any) -> str | None:
    """The value of a plain one-element tensor on the CPU, as text; None for all others, which nobody reads here."""
    if type(tensor) not in PLAIN_TYPES or tensor.layout is not torch.strided or not tensor.is_cpu:
        return None
    if tensor.numel() != 1 or is_functorch(tensor) or tensor.is_quantized or not tensor.untyped_storage().nbytes():
        return None
    value = tensor.detach().item()
    return f"{value:.6g}" if isinstance(value, (float, complex)) else str(value)


def is_leaf(tensor: Any) -> bool:
    """Whether a tensor's gradient would be accumulated into it."""
    try:
        return bool(tensor.requires_grad) and tensor.grad_fn is None
    except Exception:  # noqa: BLE001 # whatever a subclass raises
        return False


def default_root(scope: Scope, variables: Sequence[Variable]) -> int:
    """The latest one-element tensor with a grad_fn, else the latest tensor with one; -1 where there is none."""
    best, rank = -1, (False, -1)
    for index, variable in enumerate(variables[: len(scope.tensors)]):
        if variable.grad_fn is not None:
            is_scalar = all(size == 1 for size in variable.shape)
            if (is_scalar, variable.sequence) > rank:
                best, rank = index, (is_scalar, variable.sequence)
    return best


def root_named(scope: Scope, variables: Sequence[Variable], expression: str) -> int:
    """The index of the tensor that `expression` reaches, -1 where none does."""
    for index, reached in enumerate(scope.tensors):
        if expression == reached.expression or expression in reached.ways:
            return index if variables[index].grad_fn is not None else -1
    return -1
