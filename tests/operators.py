"""Programs over torch's own operator and module databases: forward, backward and double backward of each sample."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.common_modules import module_db
from torch.utils._pytree import tree_leaves, tree_map_only

from operator_readings import norm_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from operator_readings import Norm

# Importing them calls torch.backends.disable_global_flags(), for the whole process: other tests set such flags.
torch.backends.__dict__["__allow_nonbracketed_mutation_flag"] = True


class Bits(NamedTuple):
    """A tensor: what it is made of, its values as a digest and as a norm."""

    kind: tuple[str, ...]
    shape: tuple[int, ...]
    digest: bytes
    norm: Norm | None


Outcome = dict[str, object]
"""What each part of a program gave, and the error that ended it."""


class Observer(Protocol):
    """Who is told of each call into autograd just before it, and when it has ended."""

    def begins(self, kind: str, root: Tensor, given: Given) -> None:
        """`root` is what the call starts from."""
        ...

    def ended(self, error: BaseException | None) -> None:
        """The call that began last."""
        ...


@dataclass(frozen=True)
class Given:
    """What a program asks gradients of, and the module or arguments that its parameters are in."""

    leaves: list[Tensor]
    owner: object


@dataclass(frozen=True)
class Case:
    """One sample of one operator or module. `run` makes everything anew, from the same seed."""

    name: str
    run: Callable[[Observer | None], Outcome]

    @property
    def subject(self) -> str:
        return self.name.split(" ", 1)[0]


def operator_cases(dtype: torch.dtype, most: int) -> Iterator[Case]:
    """At most `most` samples of every operator that is differentiable in `dtype` on the CPU."""
    for op in op_db:
        if not op.supports_autograd or dtype not in op.supported_backward_dtypes("cpu"):
            continue
        torch.manual_seed(0)  # samples are drawn
        for at, sample in zip(range(most), op.sample_inputs("cpu", dtype, requires_grad=True), strict=False):
            yield Case(f"{op.formatted_name} {dtype} {at}", _operator_program(op, sample))


def in_place_cases(dtype: torch.dtype, most: int) -> Iterator[Case]:
    """The operators that have a form which writes into its first argument: on what an operation made, and a view."""
    for op in op_db:
        if not op.supports_autograd or dtype not in op.supported_backward_dtypes("cpu") or op.inplace_variant is None:
            continue
        torch.manual_seed(0)  # samples are drawn
        samples = op.sample_inputs("cpu", dtype, requires_grad=True)
        suitable = (sample for sample in samples if isinstance(sample.input, Tensor) and not sample.broadcasts_input)
        for at, sample in zip(range(most), suitable, strict=False):
            for made, make in (("result", _doubled), ("view", _doubled_view)):
                program = _operator_program(_in_place(op.inplace_variant, make), sample)
                yield Case(f"{op.formatted_name}_ {dtype} {at} into a {made}", program)


def module_cases(dtype: torch.dtype, most: int) -> Iterator[Case]:
    """At most `most` samples of every module of torch.nn, in training and, where that differs, in evaluation."""
    for info in module_db:
        if dtype not in info.dtypes:
            continue
        for training in (True, False) if info.train_and_eval_differ else (True,):
            torch.manual_seed(0)  # samples are drawn
            inputs = info.module_inputs_func(info, device="cpu", dtype=dtype, requires_grad=True, training=training)
            mode = "training" if training else "evaluation"
            for at, sample in zip(range(most), inputs, strict=False):
                name = f"{info.formatted_name} {dtype} {at} {mode}"
                yield Case(name, _module_program(info, sample, (dtype, training)))


def error_cases() -> Iterator[Case]:
    """Of every operator that has them: the inputs that it refuses, one program for all."""
    for op in op_db:
        if op.error_inputs_func is not None:
            yield Case(f"{op.formatted_name} refuses", _refusing_program(op))


def module_error_cases(dtype: torch.dtype) -> Iterator[Case]:
    """Inputs that modules refuse."""
    for info in module_db:
        if info.module_error_inputs_func is None or dtype not in info.dtypes:
            continue
        torch.manual_seed(0)
        refused = info.module_error_inputs_func(info, device="cpu", dtype=dtype, requires_grad=True, training=True)
        for at, error in enumerate(refused):
            name = f"{info.formatted_name} refuses {dtype} {at}"
            yield Case(name, _module_program(info, error.module_error_input, (dtype, True)))


def _operator_program(call: Callable[..., object], sample: Any) -> Callable[[Observer | None], Outcome]:
    def run(observer: Observer | None) -> Outcome:
        given = _fresh((sample.input, sample.args, sample.kwargs))

        def forward() -> object:
            first, arguments, options = given
            return sample.output_process_fn_grad(call(first, *arguments, **options))

        return _differentiated_twice(forward, lambda: Given(_asking(given), given), observer)

    return run


def _in_place(call: Callable[..., object], make: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Callable[..., object]:
    def written(first: Tensor, *arguments: Any, **options: Any) -> object:
        base, target = make(first)
        return base, call(target, *arguments, **options)

    return written


def _doubled(first: Tensor) -> tuple[Tensor, Tensor]:
    made = first * 2
    return made, made


def _doubled_view(first: Tensor) -> tuple[Tensor, Tensor]:
    made = first * 2
    return made, made.view_as(made)


def _module_program(info: Any, sample: Any, how: tuple[torch.dtype, bool]) -> Callable[[Observer | None], Outcome]:
    dtype, training = how

    def run(observer: Observer | None) -> Outcome:
        _seed()
        made = sample.constructor_input
        owners: list[nn.Module] = []
        called = sample.forward_input  # None where the constructor refuses
        arguments, options = ((), {}) if called is None else _fresh((called.args, called.kwargs))

        def forward() -> object:
            module = info.module_cls(*_fresh(made.args), **_fresh(made.kwargs)).to(dtype).train(training)
            owners.append(module)
            return module(*arguments, **options)

        def asked() -> Given:
            return Given([*_asking((arguments, options)), *owners[0].parameters()], owners[0])

        return _differentiated_twice(forward, asked, observer)

    return run


def _refusing_program(op: Any) -> Callable[[Observer | None], Outcome]:
    def run(observer: Observer | None) -> Outcome:
        outcome: Outcome = {}
        torch.manual_seed(0)  # samples are drawn
        for at, refused in enumerate(list(op.error_inputs("cpu"))):  # some are changed after they are handed out
            sample = refused.sample_input
            for leaf in tree_leaves((sample.input, sample.args)):
                if isinstance(leaf, Tensor) and leaf.is_leaf and (leaf.is_floating_point() or leaf.is_complex()):
                    leaf.requires_grad_()

            def forward(sample: Any = sample) -> object:
                return op(sample.input, *sample.args, **sample.kwargs)

            def asked(sample: Any = sample) -> Given:
                given = sample.input, sample.args, sample.kwargs
                return Given(_asking(given), given)

            outcome[str(at)] = _differentiated_twice(forward, asked, observer)
        return outcome

    return run


def _seed() -> None:
    torch.default_generator.manual_seed(0)  # torch.manual_seed also asks every kind of device, which takes longer


def _differentiated_twice(
    forward: Callable[[], object], asked: Callable[[], Given], observer: Observer | None
) -> Outcome:
    _seed()
    outcome: Outcome = {}
    try:
        results = [result for result in tree_leaves(forward()) if isinstance(result, Tensor)]
        outcome["forward"] = [bits(result) for result in results]
        roots = [result for result in results if result.requires_grad]
        given = asked()
        if roots and given.leaves:
            _differentiate(roots, given, outcome, observer)
    except Exception as error:  # noqa: BLE001 # whatever an operator raises must stay what it is
        outcome["error"] = (type(error).__name__, re.sub(r"0x[0-9a-f]+", "0x", str(error)))
    outcome["rng"] = hashlib.blake2b(torch.get_rng_state().numpy().tobytes(), digest_size=16).digest()
    return outcome


def _differentiate(roots: list[Tensor], given: Given, outcome: Outcome, observer: Observer | None) -> None:
    first = _loss(roots)
    with _Told(observer, "grad", first, given):
        gradients: list[Tensor | None] = [
            *torch.autograd.grad(first, given.leaves, create_graph=True, allow_unused=True)
        ]
    outcome["gradients"] = [bits(gradient) for gradient in gradients]
    again = [gradient for gradient in gradients if gradient is not None and gradient.requires_grad]
    second = _loss([*roots, *again])
    with _Told(observer, "backward", second, given):
        second.backward()
    outcome["second"] = [bits(leaf.grad) for leaf in given.leaves]


class _Told:
    """Tells the observer of one call."""

    def __init__(self, observer: Observer | None, kind: str, root: Tensor, given: Given) -> None:
        self._observer = observer
        self._call = kind, root, given

    def __enter__(self) -> None:
        if self._observer is not None:
            self._observer.begins(*self._call)

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if self._observer is not None:
            self._observer.ended(error)


def _loss(roots: list[Tensor]) -> Tensor:
    """Real, and of a gradient that differs at every element."""
    dense = [root if root.layout in (torch.strided, torch.jagged) else root.to_dense() for root in roots]
    return torch.stack([(root * root.conj()).real.double().sum() for root in dense]).sum()


def _fresh(given: Any) -> Any:
    return tree_map_only(Tensor, lambda tensor: tensor.detach().clone().requires_grad_(tensor.requires_grad), given)


def _asking(given: object) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(given) if isinstance(leaf, Tensor) and leaf.requires_grad and leaf.is_leaf]


def bits(tensor: Tensor | None) -> object:
    """What tells a tensor from others."""
    if tensor is None:
        return None
    plain = tensor.detach()
    if plain.is_nested:
        return [bits(part) for part in plain.unbind()]
    kind = str(plain.layout), str(plain.dtype)
    dense = (plain if plain.layout is torch.strided else plain.to_dense()).resolve_conj().resolve_neg()
    dense = torch.empty(dense.shape, dtype=dense.dtype).copy_(dense)
    data = hashlib.blake2b(dense.view(-1).view(torch.uint8).numpy().tobytes(), digest_size=16).digest()
    norm = norm_of([dense]) if dense.is_floating_point() or dense.is_complex() else None
    return Bits(kind, tuple(dense.shape), data, norm)
