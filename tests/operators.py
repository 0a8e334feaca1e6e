"""Programs over torch's own operator and module databases: forward, backward and double backward of each sample."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.common_modules import module_db
from torch.utils._pytree import tree_leaves, tree_map_only

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Importing them calls torch.backends.disable_global_flags(), for the whole process: other tests set such flags.
torch.backends.__dict__["__allow_nonbracketed_mutation_flag"] = True

Outcome = dict[str, object]
"""What each part of a program gave, as digests that can be compared, and the error that ended it."""


@dataclass(frozen=True)
class Case:
    """One sample of one operator or module. `run` makes everything anew, from the same seed."""

    name: str
    run: Callable[[], Outcome]


def operator_cases(dtype: torch.dtype, most: int) -> Iterator[Case]:
    """At most `most` samples of every operator that is differentiable in `dtype` on the CPU."""
    for op in op_db:
        if not op.supports_autograd or dtype not in op.supported_backward_dtypes("cpu"):
            continue
        torch.manual_seed(0)  # samples are drawn
        for at, sample in zip(range(most), op.sample_inputs("cpu", dtype, requires_grad=True), strict=False):
            yield Case(f"{op.formatted_name} {dtype} {at}", _operator_program(op, sample))


def module_cases(dtype: torch.dtype, most: int) -> Iterator[Case]:
    """At most `most` samples of every module of torch.nn, in training."""
    for info in module_db:
        if dtype not in info.dtypes:
            continue
        torch.manual_seed(0)  # samples are drawn
        inputs = info.module_inputs_func(info, device="cpu", dtype=dtype, requires_grad=True, training=True)
        for at, sample in zip(range(most), inputs, strict=False):
            yield Case(f"{info.formatted_name} {dtype} {at}", _module_program(info, sample, dtype))


def _operator_program(op: Any, sample: Any) -> Callable[[], Outcome]:
    def run() -> Outcome:
        given = _fresh((sample.input, sample.args, sample.kwargs))

        def forward() -> object:
            first, arguments, options = given
            return sample.output_process_fn_grad(op(first, *arguments, **options))

        return _differentiated_twice(forward, lambda: _asking(given))

    return run


def _module_program(info: Any, sample: Any, dtype: torch.dtype) -> Callable[[], Outcome]:
    def run() -> Outcome:
        torch.manual_seed(0)
        made = sample.constructor_input
        module = info.module_cls(*_fresh(made.args), **_fresh(made.kwargs)).to(dtype).train()
        arguments, options = _fresh((sample.forward_input.args, sample.forward_input.kwargs))
        return _differentiated_twice(
            lambda: module(*arguments, **options), lambda: [*_asking((arguments, options)), *module.parameters()]
        )

    return run


def _differentiated_twice(forward: Callable[[], object], leaves: Callable[[], list[Tensor]]) -> Outcome:
    torch.manual_seed(0)
    outcome: Outcome = {}
    try:
        results = [result for result in tree_leaves(forward()) if isinstance(result, Tensor)]
        outcome["forward"] = [_bits(result) for result in results]
        roots = [result for result in results if result.requires_grad]
        if not roots:
            return outcome
        asking = leaves()
        gradients: list[Tensor | None] = [
            *torch.autograd.grad(_loss(roots), asking, create_graph=True, allow_unused=True)
        ]
        outcome["gradients"] = [_bits(gradient) for gradient in gradients]
        again = [gradient for gradient in gradients if gradient is not None and gradient.requires_grad]
        _loss([*roots, *again]).backward()
        outcome["second"] = [_bits(leaf.grad) for leaf in asking]
    except Exception as error:  # noqa: BLE001 # whatever an operator raises must stay what it is
        outcome["error"] = (type(error).__name__, re.sub(r"0x[0-9a-f]+", "0x", str(error)))
    return outcome


def _loss(roots: list[Tensor]) -> Tensor:
    """Real, and of a gradient that differs at every element."""
    return torch.stack([(root * root.conj()).real.double().sum() for root in roots]).sum()


def _fresh(given: Any) -> Any:
    return tree_map_only(Tensor, lambda tensor: tensor.detach().clone().requires_grad_(tensor.requires_grad), given)


def _asking(given: object) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(given) if isinstance(leaf, Tensor) and leaf.requires_grad]


def _bits(tensor: Tensor | None) -> object:
    if tensor is None:
        return None
    plain = tensor.detach()
    if plain.is_nested:
        return [_bits(part) for part in plain.unbind()]
    if plain.layout is not torch.strided:
        return str(plain.layout), _bits(plain.to_dense())
    dense = plain.resolve_conj().resolve_neg().contiguous()
    data = hashlib.blake2b(dense.view(-1).view(torch.uint8).numpy().tobytes(), digest_size=16)
    return str(dense.dtype), tuple(dense.shape), data.digest()
