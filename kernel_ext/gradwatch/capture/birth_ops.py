"""What each op can do to finite values: which backward can turn them into NaN or Inf, and which forward passes them on.

Names are those of autograd's nodes without "Backward0".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

_SUFFIX = re.compile(r"Backward\d*$")

SINGULAR: dict[str, str] = {
    "Sqrt": "divides by the root, which is 0 at 0",
    "Rsqrt": "divides by the root's cube",
    "Reciprocal": "divides by the square",
    "Div": "divides by the divisor and its square",
    "Pow": "has base ** (exponent - 1), and log(base)",
    "Log": "divides by the argument",
    "Log2": "divides by the argument",
    "Log10": "divides by the argument",
    "Log1P": "divides by 1 + the argument",
    "Logit": "divides by x * (1 - x)",
    "Xlogy": "divides by, and takes the logarithm of, the argument",
    "Acos": "divides by sqrt(1 - x * x)",
    "Asin": "divides by sqrt(1 - x * x)",
    "Acosh": "divides by sqrt(x * x - 1)",
    "Atanh": "divides by 1 - x * x",
    "Atan2": "divides by x * x + y * y",
    "Hypot": "divides by the result",
    "Angle": "divides by the square of the absolute value",
    "Norm": "divides by the norm",
    "LinalgVectorNorm": "divides by the norm",
    "Cdist": "divides by the distance",
    "Std": "divides by the deviation",
    "Var": "divides by the number of values less the correction",
    "StdMean": "divides by the deviation",
    "VarMean": "divides by the number of values less the correction",
    "NativeLayerNorm": "multiplies by the reciprocal deviation",
    "NativeBatchNorm": "multiplies by the reciprocal deviation",
    "CudnnBatchNorm": "multiplies by the reciprocal deviation",
    "NativeGroupNorm": "multiplies by the reciprocal deviation",
    "FusedRmsNorm": "multiplies by the reciprocal mean square",
    "BinaryCrossEntropy": "divides by x * (1 - x)",
    "Softmax": "multiplies by its result, NaN where a whole row is masked",
    "LogSoftmax": "takes exp of its result, NaN where a whole row is masked",
    "Logsumexp": "takes exp of a difference of infinities",
    "Erfinv": "takes exp of the result's square",
    "Lgamma": "has poles",
    "Digamma": "has poles",
    "Prod": "divides by the elements",
    "Cumprod": "divides by the elements",
    "LinalgEigh": "divides by differences of eigenvalues",
    "LinalgEig": "divides by differences of eigenvalues",
    "LinalgSvd": "divides by differences of singular values",
    "LinalgQr": "solves with a triangle that may be singular",
    "LinalgInvEx": "multiplies by the inverse twice",
    "LinalgSolveEx": "solves with a matrix that may be singular",
    "LinalgCholeskyEx": "solves with a triangle that may be singular",
    "LinalgDet": "solves with a matrix that may be singular",
    "LinalgSlogdet": "solves with a matrix that may be singular",
}
"""Backwards that are infinite at finite arguments, with the reason."""

ATTENTION = "ScaledDotProduct"
"""How the nodes of fused attention begin: NaN where a whole row is masked."""

OVERFLOWING: dict[str, str] = {
    "Exp": "multiplies by its result, which may be Inf",
    "Exp2": "multiplies by its result, which may be Inf",
    "Expm1": "multiplies by its result, which may be Inf",
    "Sinh": "multiplies by a cosh that may be Inf",
    "Cosh": "multiplies by a sinh that may be Inf",
    "Tan": "multiplies by the result's square",
    "Mul": "multiplies by an operand that may be Inf",
}
"""Backwards that multiply by what may be Inf already: 0 times Inf is NaN."""

ONLY_ON_DETAIL = frozenset({"Mul"})
"""The most frequent op: hooked with the step's details, and where this step's forward had something not finite."""

HALF_ONLY = frozenset({"Mm", "Addmm", "Bmm", "Baddbmm", "Convolution", "ToCopy", "Sum"})
"""Overflow where the gradient has half precision, whose largest value is 65504; of other dtypes they are left alone."""

MASKS = frozenset(
    {"MaskedFill", "Where", "Add", "Sub", "IndexPut", "CopySlices", "Scatter", "MaskedScatter", "IndexFill", "Fill"}
)
"""Ops whose Inf was put there on purpose (a mask), where what they were given was finite."""

PASSING = frozenset(
    {"View", "T", "Transpose", "Permute", "UnsafeView", "ReshapeAlias", "Expand", "Unsqueeze", "Squeeze", "Clone"}
    | {"Neg", "Alias", "Contiguous", "Unflatten", "AsStrided", "Flip", "Abs"}
)
"""Ops whose result is finite if and only if what they were given is (slices and selections are not: they leave out)."""

SELECTING = frozenset({"Where", "MaskedFill", "Index", "Gather", "Slice", "Select", "Clamp", "MaskedSelect", "Mul"})
"""Ops after which some values count for nothing: their gradient is 0."""

SLOTS: dict[str, dict[str, int]] = {
    "Addmm": {"mat1": 1, "mat2": 2},
    "Baddbmm": {"batch1": 1, "batch2": 2},
}
COMMON_SLOTS = {"self": 0, "input": 0, "other": 1, "mat2": 1, "exponent": 1, "weight": 1, "target": 1}
"""Which of next_functions made what is saved under a role, where the saved tensor itself does not tell."""

RESULTS = ("result", "result0", "output", "out")
"""Roles under which an op saves what it returned."""

_torch: Any = torch
RECOMPUTED: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "Log": (_torch.log, ("self",)),
    "Log2": (_torch.log2, ("self",)),
    "Log10": (_torch.log10, ("self",)),
    "Log1P": (_torch.log1p, ("self",)),
    "Acos": (_torch.acos, ("self",)),
    "Asin": (_torch.asin, ("self",)),
    "Acosh": (_torch.acosh, ("self",)),
    "Atanh": (_torch.atanh, ("self",)),
    "Atan2": (_torch.atan2, ("self", "other")),
    "Mul": (_torch.mul, ("self", "other")),
    "Pow": (_torch.pow, ("self",)),
    "Div": (_torch.div, ("self", "other")),
    "Mm": (_torch.mm, ("self", "mat2")),
    "Bmm": (_torch.bmm, ("self", "mat2")),
    "NanToNum": (_torch.nan_to_num, ("self",)),
}
"""Ops whose result can be had again from what they saved, where nobody saved it."""


def plain_name(name: str) -> str:
    """The name of an op's node without torch's suffix."""
    return _SUFFIX.sub("", name)


class HookedKinds:
    """Which node types are hooked, learnt by type: 0 never, 1 always, 2 with details, 3 in half precision."""

    def __init__(self) -> None:
        self._known: dict[type, int] = {}

    def of(self, node: Any) -> int:
        kind: type = node.__class__
        found = self._known.get(kind)
        if found is None:
            found = self._known[kind] = _hooked(node, kind)
        return found


def _hooked(node: Any, kind: type) -> int:
    if issubclass(kind, torch.autograd.function.BackwardCFunction):
        return 1  # whatever the program's own backward does
    name = plain_name(node.name())
    if name in ONLY_ON_DETAIL:
        return 2
    if name in HALF_ONLY:
        return 3
    return int(name in SINGULAR or name in OVERFLOWING or name.startswith(ATTENTION))


def has_half_gradient(node: Any) -> bool:
    """Whether the gradient that a node is given has half precision."""
    metadata: Any = getattr(node, "_input_metadata", ())
    return any(each.dtype in (torch.float16, torch.bfloat16) for each in metadata)
