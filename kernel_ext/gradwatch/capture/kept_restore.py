"""Puts a kept step back: models, optimizers, scalers, generators and switches. The file is a stranger's."""

from __future__ import annotations

import random
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gradwatch.capture.kept_state import AUTOCAST_DEVICES, SCALER_FIELDS, Modes, current_modes, parameter_names
from gradwatch.capture.kept_tree import NotKept, decode
from gradwatch.capture.modules import named_modules
from gradwatch.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from torch import nn

    from gradwatch.capture.kept_files import KeptStep
    from gradwatch.capture.kept_state import KeptModel, KeptOptimizer, KeptTensor, Training

_MOST_THREADS = 4096
_MATMUL = ("highest", "high", "medium")
_SHOWN_PROBLEMS = 5
_DTYPES = {name: getattr(torch, name) for name in ("float16", "bfloat16", "float32", "float64")}


def restore(kept: KeptStep, training: Training) -> None:
    """Put models, optimizers and scalers into the kept state. Raises UsageError by name for what does not fit."""
    _refuse_other_models(kept, training)
    with torch.no_grad():
        for root, state in kept.state.models.items():
            _restore_model(kept, state, training.models[root])
    _restore_optimizers(kept, training)
    _restore_scalers(kept, training)


def batch_of(kept: KeptStep) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The batch as it was handed over; nothing where none was."""
    if kept.state.arguments is None:
        return (), {}
    arguments, named = decode(kept.state.arguments, kept.value), decode(kept.state.named, kept.value)
    if not isinstance(arguments, tuple) or not isinstance(named, dict):
        raise NotKept("the batch is not a list of arguments")
    if not all(isinstance(key, str) for key in named):  # pyright: ignore[reportUnknownVariableType] # JSON
        raise NotKept("the batch is not a list of arguments")
    return arguments, named  # pyright: ignore[reportUnknownVariableType] # JSON


# Models


def _refuse_other_models(kept: KeptStep, training: Training) -> None:
    problems: list[str] = []
    for root, state in kept.state.models.items():
        model = training.models[root]
        problems += _differences("parameter", state.parameters, dict(model.named_parameters()), kept)
        problems += _differences("buffer", state.buffers, dict(model.named_buffers()), kept)
    if problems:
        more = len(problems) - _SHOWN_PROBLEMS
        rest = f"\nand {more} more" if more > 0 else ""
        raise UsageError(
            f"The entry's model is not the one that was kept at step {kept.state.step}:\n"
            + "\n".join(problems[:_SHOWN_PROBLEMS])
            + rest
        )


def _differences(
    what: str, recorded: list[KeptTensor], present: Mapping[str, torch.Tensor], kept: KeptStep
) -> Iterator[str]:
    for each in recorded:
        there, entry = present.get(each.path), kept.entry(each.tensor)
        if there is None:
            yield f"{what} {each.path!r} is missing"
        elif (list(there.shape), there.dtype) != (entry.shape, entry.dtype):
            yield (
                f"{what} {each.path!r} was {entry.shape} {_short(entry.dtype)} "
                f"and is {list(there.shape)} {_short(there.dtype)}"
            )
    known = {each.path for each in recorded}
    for path in present:
        if path not in known:
            yield f"{what} {path!r} was not there"


def _restore_model(kept: KeptStep, state: KeptModel, model: nn.Module) -> None:
    parameters, buffers = dict(model.named_parameters()), dict(model.named_buffers())
    for each in state.parameters:
        parameter = parameters[each.path]
        parameter.copy_(kept.tensor(each.tensor))
        parameter.requires_grad_(each.requires_grad)
        parameter.grad = _gradient(kept, each, parameter)
    for each in state.buffers:
        buffers[each.path].copy_(kept.tensor(each.tensor))
    evaluating = set(state.evaluating)
    for path, module in named_modules(model):
        module.training = path not in evaluating


def _gradient(kept: KeptStep, each: KeptTensor, parameter: torch.Tensor) -> torch.Tensor | None:
    if not each.grad:
        return None
    entry = kept.entry(each.grad)
    if (entry.shape, entry.dtype) != (list(parameter.shape), parameter.dtype):
        raise NotKept(f"the gradient of {each.path!r:.100} is of another shape or dtype")
    return torch.empty_like(parameter, requires_grad=False).copy_(kept.tensor(each.grad))


# Optimizers


def _restore_optimizers(kept: KeptStep, training: Training) -> None:
    names = parameter_names(training.models)
    leaves: dict[str, torch.Tensor] = {
        names[id(p)]: p for model in training.models.values() for p in model.parameters()
    }
    waiting = list(training.optimizers)
    for state in kept.state.optimizers:
        wanted = {name for group in state.groups for name in group.parameters}
        found = next((each for each in waiting if set(_members(each, names)) == wanted), None)
        if found is None:
            raise UsageError(
                f"The entry returns no optimizer of the {len(wanted)} parameters that {state.class_name!r:.60} "
                f"stepped: {', '.join(map(repr, sorted(wanted)[:_SHOWN_PROBLEMS]))}."
            )
        waiting.remove(found)
        _restore_optimizer(kept, state, found, leaves)


def _members(optimizer: torch.optim.Optimizer, names: dict[int, str]) -> list[str]:
    return [names.get(id(parameter), "") for group in optimizer.param_groups for parameter in group["params"]]


def _restore_optimizer(
    kept: KeptStep, state: KeptOptimizer, optimizer: torch.optim.Optimizer, leaves: dict[str, torch.Tensor]
) -> None:
    kind = type(optimizer).__name__
    if kind != state.class_name or len(optimizer.param_groups) != len(state.groups):
        raise UsageError(
            f"The optimizer that was kept is a {state.class_name!r:.60} of {len(state.groups)} groups; "
            f"the entry returns a {kind} of {len(optimizer.param_groups)}."
        )
    devices = {
        f"{root}:{each.path}": each.device for root, model in kept.state.models.items() for each in model.parameters
    }
    for group, recorded in zip(optimizer.param_groups, state.groups, strict=True):
        members = {id(leaves[name]) for name in recorded.parameters}
        if {id(parameter) for parameter in group["params"]} != members:
            raise UsageError(f"The groups of the entry's {kind} do not hold the parameters that the kept one's held.")
        group.update(_table(decode(recorded.options, kept.value)))
        group["params"] = [leaves[name] for name in recorded.parameters]
    optimizer.state.clear()
    for name, values in state.state.items():
        if name not in leaves or name not in devices:
            raise NotKept(f"{kind} has state of {name!r:.100}, which is no parameter")
        optimizer.state[leaves[name]] = _table(decode(values, _beside(kept, leaves[name], devices[name])))


def _beside(kept: KeptStep, leaf: torch.Tensor, was_on: str) -> Any:
    """Load a tensor of the state: where its parameter is now, if it stood on its device then."""

    def load(spelled: dict[str, Any]) -> torch.Tensor:
        return kept.value(spelled, leaf.device if spelled.get("device") == was_on else None)

    return load


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or "params" in value:
        raise NotKept("an optimizer's state is not a table")
    return value  # pyright: ignore[reportUnknownVariableType] # JSON


def _restore_scalers(kept: KeptStep, training: Training) -> None:
    if len(kept.state.scalers) != len(training.scalers):
        kept_count, count = len(kept.state.scalers), len(training.scalers)
        if not count:
            raise UsageError(
                f"{kept_count} GradScaler was in use when the step was kept. "
                "Return it too: model, optimizer, step, scaler."
            )
        raise UsageError(f"{kept_count} GradScalers were kept, and the entry returns {count}.")
    for state, scaler in zip(kept.state.scalers, training.scalers, strict=True):
        values = _table(decode(state, kept.value))
        for name in SCALER_FIELDS:
            if name in values:
                setattr(scaler, name, values[name])


# Generators and switches


def restore_randomness(kept: KeptStep) -> None:
    """Set every generator as it was. Raises NotKept for a state that no generator has."""
    state = kept.state.randomness
    try:
        random.setstate(decode(state.python, kept.value))
        keys, position, has_gauss, gauss = decode(state.numpy, kept.value)
        numpy: tuple[Any, ...] = ("MT19937", np.array(keys, np.uint32), position, has_gauss, gauss)
        np.random.set_state(numpy)  # noqa: NPY002 # the generator that programs seed globally
        torch.set_rng_state(_generator(kept, state.torch, torch.get_rng_state()))
        if state.cuda:
            _restore_cuda(kept, state.cuda)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise NotKept(f"the state of a random generator is damaged: {error}") from error


def _restore_cuda(kept: KeptStep, names: list[str]) -> None:
    count = torch.cuda.device_count()
    if count < len(names):
        raise UsageError(f"The step was kept with {len(names)} CUDA devices; this machine has {count}.")
    for device, name in enumerate(names):
        torch.cuda.set_rng_state(_generator(kept, name, torch.cuda.get_rng_state(device)), device)


def _generator(kept: KeptStep, name: str, like: torch.Tensor) -> torch.Tensor:
    entry = kept.entry(name)
    if (entry.dtype, entry.shape) != (like.dtype, list(like.shape)):
        raise NotKept(f"{name!r:.60} is not the state of a generator")
    return kept.tensor(name)


@contextmanager
def preserved() -> Generator[None]:
    """Give the process back its generators and switches at the end."""
    modes = current_modes()
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002 # as above
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    try:
        yield
    finally:
        _set_switches(modes)
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002 # as above
        torch.set_rng_state(cpu)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)


@contextmanager
def switched(modes: Modes) -> Generator[None]:
    """Run with the recorded switches and autocast. `preserved` gives the switches back."""
    _refuse_odd(modes)
    _set_switches(modes)
    with ExitStack() as stack:
        stack.enter_context(torch.set_grad_enabled(modes.grad_enabled))
        for each in modes.autocast:
            dtype = _DTYPES[each.dtype]
            stack.enter_context(torch.autocast(each.device, dtype, cache_enabled=modes.autocast_cache))
        yield


def _refuse_odd(modes: Modes) -> None:
    names = [modes.default_dtype, *(each.dtype for each in modes.autocast)]
    devices = [each.device for each in modes.autocast]
    fits = all(name in _DTYPES for name in names) and all(device in AUTOCAST_DEVICES for device in devices)
    if not fits or modes.matmul_precision not in _MATMUL or not 1 <= modes.threads <= _MOST_THREADS:
        raise NotKept("a switch of torch has a value that is not known")


def _set_switches(modes: Modes) -> None:
    backends: Any = torch.backends
    torch.set_default_dtype(_DTYPES[modes.default_dtype])
    torch.use_deterministic_algorithms(modes.deterministic, warn_only=modes.deterministic_warn_only)
    kept = {
        "deterministic": modes.cudnn_deterministic,
        "benchmark": modes.cudnn_benchmark,
        "allow_tf32": modes.cudnn_tf32,
    }
    for name, value in kept.items():
        if (
            getattr(backends.cudnn, name) != value
        ):  # after torch.backends.disable_global_flags() setting one is an error
            setattr(backends.cudnn, name, value)
    torch.set_float32_matmul_precision(modes.matmul_precision)
    if torch.get_num_threads() != modes.threads:
        torch.set_num_threads(modes.threads)


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
