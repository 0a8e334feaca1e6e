"""What is needed to run a step again, gathered at its beginning: the shape of `state.json`."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gradwatch.capture.kept_tree import NotKept, TensorsToKeep, encode
from gradwatch.capture.modules import named_modules
from gradwatch.capture.torch_internals import UninitializedTensor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

STEP_FORMAT = "gradwatch.step"
STEP_VERSION = 1
AUTOCAST_DEVICES = ("cpu", "cuda")


@dataclass(frozen=True, slots=True)
class KeptTensor:
    """A parameter or buffer. `tensor` and `grad` name tensors of the file ("" none); shape and dtype stand there."""

    path: str
    tensor: str
    device: str
    requires_grad: bool = False
    grad: str = ""


@dataclass(frozen=True, slots=True)
class KeptModel:
    """A root module: its tensors, and the paths of those modules that were in eval mode."""

    parameters: list[KeptTensor]
    buffers: list[KeptTensor]
    evaluating: list[str]


@dataclass(frozen=True, slots=True)
class KeptGroup:
    """A parameter group: names of parameters as "root:path", and its options."""

    parameters: list[str]
    options: Any


@dataclass(frozen=True, slots=True)
class KeptOptimizer:
    """An optimizer's groups, and its state by parameter."""

    class_name: str
    groups: list[KeptGroup]
    state: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Autocast:
    """Autocast that was on."""

    device: str
    dtype: str


@dataclass(frozen=True, slots=True)
class Modes:
    """Switches of torch that change what a step computes."""

    default_dtype: str
    deterministic: bool
    deterministic_warn_only: bool
    cudnn_deterministic: bool
    cudnn_benchmark: bool
    cudnn_tf32: bool
    matmul_precision: str
    threads: int
    grad_enabled: bool
    autocast: list[Autocast] = field(default_factory=list[Autocast])
    autocast_cache: bool = True


@dataclass(frozen=True, slots=True)
class Randomness:
    """The generators: Python's and numpy's as values, torch's as names of tensors, CUDA's by device."""

    python: Any
    numpy: Any
    torch: str
    cuda: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True)
class KeptState:
    """One kept step. `begun` says when it was taken: as its call began, or after the step before it.

    `arguments` and `named` are the batch, None where none was handed over.
    """

    format: str
    version: int
    step: int
    run_start_ns: int
    run_pid: int
    torch_version: str
    begun: str
    models: dict[str, KeptModel]
    optimizers: list[KeptOptimizer]
    scalers: list[Any]
    modes: Modes
    randomness: Randomness
    arguments: Any = None
    named: Any = None


@dataclass(frozen=True, slots=True)
class Training:
    """What trains: root modules by name, their optimizers, and the gradient scalers in sight."""

    models: Mapping[str, nn.Module]
    optimizers: Sequence[torch.optim.Optimizer]
    scalers: Sequence[torch.amp.GradScaler]  # pyright: ignore[reportPrivateImportUsage] # public in the documentation


def keep_model(root: str, model: nn.Module, tensors: TensorsToKeep) -> KeptModel:
    parameters: list[KeptTensor] = []
    for path, parameter in model.named_parameters():
        name = f"{root}:{path}"
        if isinstance(parameter, UninitializedTensor):
            raise NotKept(f"parameter {name} has no shape yet")
        grad = "" if parameter.grad is None else tensors.add(f"grad {name}", parameter.grad)
        kept = tensors.add(f"parameter {name}", parameter)
        parameters.append(KeptTensor(path, kept, str(parameter.device), parameter.requires_grad, grad))
    buffers = [
        KeptTensor(path, tensors.add(f"buffer {root}:{path}", buffer), str(buffer.device))
        for path, buffer in model.named_buffers()
    ]
    evaluating = [path for path, module in named_modules(model) if not module.training]
    return KeptModel(parameters, buffers, evaluating)


def parameter_names(models: Mapping[str, nn.Module]) -> dict[int, str]:
    """Names of parameters, "root:path", by identity."""
    return {
        id(parameter): f"{root}:{path}"
        for root, model in models.items()
        for path, parameter in model.named_parameters()
    }


def keep_optimizer(optimizer: torch.optim.Optimizer, names: dict[int, str], tensors: TensorsToKeep) -> KeptOptimizer:
    kind = type(optimizer).__name__
    groups: list[KeptGroup] = []
    state: dict[str, Any] = {}
    for number, group in enumerate(optimizer.param_groups):
        options = {key: value for key, value in group.items() if key != "params"}
        spelled = encode(options, f"{kind} group {number}", tensors)
        members: list[str] = []
        for parameter in group["params"]:
            name = names.get(id(parameter))
            if name is None:
                shape = tuple(parameter.shape)
                raise NotKept(f"{kind} steps a tensor of shape {shape} that belongs to no watched model")
            members.append(name)
            if parameter in optimizer.state:
                state[name] = encode(dict(optimizer.state[parameter]), f"{kind} {name}", tensors)
        groups.append(KeptGroup(members, spelled))
    return KeptOptimizer(kind, groups, state)


SCALER_FIELDS = ("_scale", "_growth_tracker", "_growth_factor", "_backoff_factor", "_growth_interval", "_init_scale")
"""What a GradScaler is made of. Its `state_dict` would wait for the device."""


def keep_scaler(scaler: Any, tensors: TensorsToKeep) -> Any:
    values = {name: getattr(scaler, name, None) for name in (*SCALER_FIELDS, "_enabled")}
    return encode(values, "GradScaler", tensors)


def keep_randomness(tensors: TensorsToKeep) -> Randomness:
    state: Any = np.random.get_state(legacy=True)  # noqa: NPY002 # the generator that programs seed globally
    if state[0] != "MT19937":
        raise NotKept(f"numpy's global generator is a {state[0]}")
    numpy = (state[1].tolist(), int(state[2]), int(state[3]), float(state[4]))
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return Randomness(
        python=encode(random.getstate(), "Python's random state", tensors),
        numpy=encode(numpy, "numpy's random state", tensors),
        torch=tensors.add("generator cpu", torch.get_rng_state()),
        cuda=[tensors.add(f"generator cuda:{index}", each) for index, each in enumerate(cuda)],
    )


def current_modes() -> Modes:
    """Read the switches. Not inside `unseen()`, where autocast is off."""
    backends: Any = torch.backends
    return Modes(
        default_dtype=_name(torch.get_default_dtype()),
        deterministic=torch.are_deterministic_algorithms_enabled(),
        deterministic_warn_only=torch.is_deterministic_algorithms_warn_only_enabled(),
        cudnn_deterministic=bool(backends.cudnn.deterministic),
        cudnn_benchmark=bool(backends.cudnn.benchmark),
        cudnn_tf32=bool(backends.cudnn.allow_tf32),
        matmul_precision=torch.get_float32_matmul_precision(),
        threads=torch.get_num_threads(),
        grad_enabled=torch.is_grad_enabled(),
        autocast=[
            Autocast(device, _name(torch.get_autocast_dtype(device)))
            for device in AUTOCAST_DEVICES
            if torch.is_autocast_enabled(device)
        ],
        autocast_cache=torch.is_autocast_cache_enabled(),
    )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
