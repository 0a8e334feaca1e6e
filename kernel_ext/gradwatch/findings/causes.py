"""Why an op turned finite values into NaN or Inf: the class of a birth, with its fix; from its operands alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradwatch.findings import words

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradwatch.records import Birth, Operand

HALF = ("float16", "bfloat16")
LARGEST_HALF = 65504.0
LOGS = ("Log", "Log2", "Log10", "Log1P", "Xlogy", "Logit")
NORMS = ("Norm", "LinalgVectorNorm", "Cdist", "Hypot")
INVERSE = {"Acos": "acos", "Asin": "asin", "Acosh": "acosh", "Atanh": "atanh"}
EXPONENTIAL = ("Exp", "Exp2", "Expm1", "Sinh", "Cosh")
SPREADS = ("Std", "Var", "StdMean", "VarMean", "NativeLayerNorm", "NativeBatchNorm", "CudnnBatchNorm")
GROUPED = ("NativeGroupNorm", "FusedRmsNorm")
PRODUCTS = ("Mm", "Addmm", "Bmm", "Baddbmm", "Convolution", "Mul", "ToCopy", "Sum", "Add", "Sub", "Pow", "Div", "Mean")


@dataclass(frozen=True, slots=True)
class Cause:
    """A class of births: `because` completes "X was born in op: ...", `fix` says what to type."""

    name: str
    because: str
    fix: str


def cause_of(birth: Birth) -> Cause:
    """The class of a birth."""
    return (
        _before(birth)
        or _masked(birth)
        or _rows_masked(birth)
        or _overflow(birth)
        or _by_op(birth)
        or _custom(birth)
        or Cause("unknown", "its operands do not say why", "Look at this op's inputs at that step.")
    )


def _before(birth: Birth) -> Cause | None:
    if birth.source == "input":
        return Cause(
            "in the input",
            "it was in the data already",
            "Check the batch before the model: `assert torch.isfinite(batch).all()`; drop or fill such values.",
        )
    if birth.source == "seed":
        return Cause(
            "in the seed gradient",
            "it was there before backward began",
            "Check what is passed as `gradient=` (or `grad_outputs=`).",
        )
    if birth.source == "parameter":
        return Cause(
            "in a parameter",
            "it was in the parameter already",
            "Find the update or the checkpoint file that put it there: lower the learning rate, clip gradients "
            "(`torch.nn.utils.clip_grad_norm_`), or check what was loaded.",
        )
    return None


def _masked(birth: Birth) -> Cause | None:
    made = operand(birth, "grad input")
    if birth.phase != "backward" or made is None or _is_custom(birth):
        return None
    dropped, bad = made.facts.get("given 0", -1.0), made.nan + made.inf
    if dropped <= 0 or dropped < bad or not made.facts.get("selected"):
        return None
    op = birth.op.lower()
    return Cause(
        "masked where",
        f"a later where or mask drops {words.counted(bad, 'value')} whose slope is infinite, and 0 times Inf is NaN",
        f"Put a safe value before the {op}: `safe = torch.where(mask, x, 1.0)`, then "
        f"`torch.where(mask, {op}(safe), 0)`.",
    )


def _rows_masked(birth: Birth) -> Cause | None:
    if birth.op not in ("Softmax", "LogSoftmax", "Logsumexp", "SafeSoftmax") and not birth.op.startswith("ScaledDot"):
        return None
    rows = max((each.facts.get("rows all -inf", 0.0) for each in birth.operands), default=0.0)
    if birth.phase == "forward" and not birth.nan and not rows:
        return None
    if operand(birth, "self") is not None and not rows:
        return None
    return Cause(
        "fully masked softmax row",
        "a row of its input is -inf throughout, so that it divides 0 by 0",
        "Leave every row at least one value, or mask with `torch.finfo(x.dtype).min` instead of -inf and set such rows "
        "to 0 after the softmax.",
    )


def _overflow(birth: Birth) -> Cause | None:
    halves = [each for each in birth.operands if each.dtype in HALF]
    if not halves or not (birth.inf or birth.phase == "backward") or birth.op not in (*PRODUCTS, *EXPONENTIAL):
        return None
    if birth.op in ("Div", "Pow") and any(each.zeros for each in birth.operands if each.role in ("other", "self")):
        return None
    largest = max((abs(value) for each in halves for value in (each.min, each.max) if math.isfinite(value)), default=0)
    what = f"operands up to {words.number(largest)} give" if largest else "it is"
    return Cause(
        "overflow in half precision",
        f"{what} more than {halves[0].dtype} holds",
        "Run this op in float32 (`with torch.autocast(device, enabled=False)`), scale its inputs down, or use "
        "bfloat16.",
    )


def _by_op(birth: Birth) -> Cause | None:
    for ops, cause in BY_OP:
        if birth.op in ops:
            return cause(birth)
    return _product(birth)


def _log(birth: Birth) -> Cause:
    given = operand(birth, "self") or operand(birth, "other")
    if given is not None and given.facts.get("negative"):
        many = words.counted(int(given.facts["negative"]), "value")
        return Cause(
            "log of a negative",
            f"{many} of its argument are negative (the least is {words.number(given.min)})",
            "Make the argument positive (`softplus`, `exp`), or `torch.log(x.clamp(min=eps))`.",
        )
    zeros = "" if given is None else f"{words.counted(given.zeros, 'value')} of its argument "
    verb = "is" if given is not None and given.zeros == 1 else "are"
    return Cause(
        "log of 0",
        f"{zeros}{verb} exactly 0" if zeros else "its argument is 0",
        "`torch.log_softmax` or `logsigmoid` instead of the log of a probability, `torch.xlogy(p, p)` for p log p, or "
        "`torch.log(x.clamp(min=eps))`.",
    )


def _root(birth: Birth) -> Cause:
    given, made = operand(birth, "self"), operand(birth, "grad input")
    if birth.phase == "forward" and given is not None and given.facts.get("negative"):
        return Cause("sqrt of a negative", "its argument is negative", "`torch.sqrt(x.clamp(min=eps))`.")
    if made is not None and made.facts.get("of squares"):
        return _norm(birth)
    zeros = operand(birth, "result")
    many = (
        f"{words.counted(zeros.zeros, 'value')} of its result " if zeros is not None and zeros.zeros else "its result "
    )
    return Cause(
        "sqrt at 0",
        f"{many}{'is' if zeros is None or zeros.zeros == 1 else 'are'} 0, where the slope of a root is infinite",
        "`torch.sqrt(x + eps)` or `torch.sqrt(x.clamp(min=eps))`.",
    )


def _norm(birth: Birth) -> Cause:
    what = birth.op.lower() if birth.op in NORMS else "the root of a sum of squares"
    return Cause(
        "norm at 0",
        f"{what} has no slope at a vector of zeros",
        "Add an eps under the root: `(x.square().sum(-1) + eps).sqrt()`, or use `torch.linalg.vector_norm`, whose "
        "gradient at 0 is 0.",
    )


def _power(birth: Birth) -> Cause:
    made = operand(birth, "grad input")
    given = operand(birth, "self")
    exponent = made.facts.get("exponent") if made is not None else None
    if given is not None and given.facts.get("negative") and birth.phase == "forward" and birth.nan:
        return Cause("pow of a negative", "a negative base has a fractional exponent", "`x.clamp(min=eps) ** p`.")
    power = "" if exponent is None else f" {words.number(exponent)}"
    zeros = "" if given is None or not given.zeros else f" in {words.counted(given.zeros, 'value')}"
    return Cause(
        "pow at 0",
        f"the base is 0{zeros}, and the slope of x to the power{power} is infinite there",
        "`(x + eps) ** p` or `x.clamp(min=eps) ** p`.",
    )


def _inverse(birth: Birth) -> Cause:
    op = INVERSE[birth.op]
    given = operand(birth, "self")
    beyond = given is not None and given.facts.get("beyond one") and op != "acosh"
    where = "is beyond 1" if beyond else "is exactly 1 or -1"
    many = "" if given is None else int(given.facts.get("beyond one" if beyond else "ones", 0))
    times = f" in {words.counted(many, 'value')}" if many else ""
    slope = "" if beyond else ", where the slope is infinite"
    return Cause(f"{op} at 1", f"its argument {where}{times}{slope}", f"`torch.{op}(x.clamp(-1 + eps, 1 - eps))`.")


def _exponential(birth: Birth) -> Cause:
    given = operand(birth, "self")
    largest = "" if given is None else f" (up to {words.number(given.max)})"
    return Cause(
        "exp overflow",
        f"its argument{largest} is too large (exp passes the largest float32 at 88.7)",
        "`torch.softmax`, `torch.logsumexp` or `log_softmax` instead of exp by hand; else subtract the maximum, or "
        "`x.clamp(max=80)`.",
    )


def _division(birth: Birth) -> Cause:
    made = operand(birth, "grad input")
    divisor = operand(birth, "other")
    spread = any(each.facts.get("of spread") for each in birth.operands) or (made and made.facts.get("of spread"))
    if spread:
        return _spread(birth)
    many = "" if divisor is None or not divisor.zeros else f" in {words.counted(divisor.zeros, 'value')}"
    return Cause(
        "division by zero",
        f"the divisor is 0{many}",
        "Add an eps to the divisor: `x / (y + eps)`, or `x / y.clamp(min=eps)`.",
    )


def _spread(birth: Birth) -> Cause:  # noqa: ARG001 # as the others of BY_OP
    return Cause(
        "division by a tiny deviation",
        "a row of equal values has deviation 0",
        "Add an eps: `(x - mean) / (std + eps)`, or `torch.sqrt(var + eps)`.",
    )


def _product(birth: Birth) -> Cause | None:
    if any(each.inf for each in birth.operands if each.role in ("self", "other")):
        return Cause(
            "0 * inf", "one operand is Inf and the other is 0", "Keep the factor finite: clamp it before the product."
        )
    return None


def _is_custom(birth: Birth) -> bool:
    return any(each.facts.get("custom") for each in birth.operands)


def _custom(birth: Birth) -> Cause | None:
    if not _is_custom(birth):
        return None
    return Cause(
        "custom Function",
        f"the backward of the custom Function {birth.op} made it of finite gradients",
        f"Check {birth.op}.backward at the values that it saved: `torch.autograd.gradcheck` with such inputs.",
    )


def operand(birth: Birth, role: str) -> Operand | None:
    """The first operand of a role."""
    return next((each for each in birth.operands if each.role == role), None)


def _atan2(birth: Birth) -> Cause:  # noqa: ARG001 # as the others of BY_OP
    return Cause("atan2 at 0", "both arguments are 0", "Keep them apart from 0: `torch.atan2(y, x + eps)`.")


BY_OP: tuple[tuple[tuple[str, ...], Callable[[Birth], Cause | None]], ...] = (
    (LOGS, _log),
    (("Sqrt", "Rsqrt"), _root),
    (("Pow",), _power),
    (NORMS, _norm),
    (tuple(INVERSE), _inverse),
    (EXPONENTIAL, _exponential),
    (("Div", "Reciprocal"), _division),
    ((*SPREADS, *GROUPED), _spread),
    (("Atan2",), _atan2),
)
"""What explains a birth in which ops."""
