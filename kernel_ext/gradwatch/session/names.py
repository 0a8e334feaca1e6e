"""What a session calls its parameters, modules and module outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gradwatch.errors import UsageError
from gradwatch.records import Module, ModuleOutput, ModuleOutputs, Modules, Parameter, Parameters
from gradwatch.session.lookup import NamedSequence, unknown_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gradwatch.session.reader import SessionReader


@dataclass(frozen=True, slots=True)
class ModuleView:
    """A recorded module. The root of a model is called by the root's name."""

    id: int
    name: str
    path: str
    root: str
    class_name: str


@dataclass(frozen=True, slots=True)
class ParameterView:
    """A leaf tensor whose gradient was recorded. `module` is its module's name, None where it has none."""

    id: int
    name: str
    aliases: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    device: str
    numel: int
    bytes: int
    requires_grad: bool
    is_leaf_tensor: bool
    module: str | None
    path: str
    root: str
    tensor_type: str
    local_shape: tuple[int, ...]
    placements: tuple[str, ...]

    @property
    def is_sharded(self) -> bool:
        """Whether the ranks hold different parts of it: its gradient here is this rank's part."""
        return any("Shard" in placement for placement in self.placements)


@dataclass(frozen=True, slots=True)
class Subject:
    """What a row of statistics is about."""

    kind: Literal["parameter", "module", "local"]
    id: int
    name: str


class Names:
    """All names of a session, composed from the records read so far."""

    def __init__(self, reader: SessionReader) -> None:
        modules = {entry.id: entry for record in reader.records(Modules) for entry in record.modules}
        parameters = {entry.id: entry for record in reader.records(Parameters) for entry in record.parameters}
        roots = {entry.root for entry in modules.values()}
        roots |= {entry.root for entry in parameters.values() if not entry.is_leaf_tensor}
        self._with_root = len(roots) > 1
        self.modules = self._module_views(modules.values())
        self._module_names = {view.id: view.name for view in self.modules}
        self.parameters = self._parameter_views(parameters.values())
        self._parameter_names = {view.id: view.name for view in self.parameters}
        outputs = {entry.id: entry for record in reader.records(ModuleOutputs) for entry in record.outputs}
        self._output_names = {entry.id: self._output_name(entry) for entry in outputs.values()}
        self._outputs_by_name = {name: number for number, name in self._output_names.items()}

    def subject_name(self, kind: str, number: int) -> str:
        names = self._parameter_names if kind in ("parameter", "local") else self._output_names
        return names.get(number, f"{kind} {number}")

    def module_name(self, number: int) -> str:
        """Return a module's name; "" when it belongs to none."""
        return self._module_names.get(number, "")

    def parameter_name(self, number: int) -> str | None:
        return self._parameter_names.get(number)

    def subject(self, name: str, *, local: bool = False) -> Subject:
        """Find a parameter, or a module's output, by name. Raises UsageError with near matches."""
        if local or name in self.parameters:
            view = self.parameters[name]
            return Subject("local" if local else "parameter", view.id, view.name)
        if name in self._outputs_by_name:
            return Subject("module", self._outputs_by_name[name], name)
        if name in self.modules:
            raise self._no_such_output(self.modules[name])
        raise unknown_name("parameter or module", name, [*self.parameters.names, *self._outputs_by_name])

    def _no_such_output(self, module: ModuleView) -> UsageError:
        outputs = [name for name in self._outputs_by_name if name.startswith((f"{module.name}[", f"{module.name}."))]
        own = [name for name in outputs if not any(name.startswith(other) for other in self._deeper(module))]
        if own:
            return UsageError(f"Module {module.name!r} has several outputs: {', '.join(own)}. Name one of them.")
        return UsageError(
            f"No gradient of the output of module {module.name!r} was recorded. "
            'Record with detail="modules" or "nodes", and see session.notices.'
        )

    def _deeper(self, module: ModuleView) -> list[str]:
        return [view.name for view in self.modules if view.name.startswith(f"{module.name}.")]

    def _compose(self, root: str, path: str) -> str:
        if not path:
            return root or "(root)"
        return f"{root}.{path}" if self._with_root and root else path

    def _module_views(self, modules: Iterable[Module]) -> NamedSequence[ModuleView]:
        views = [
            ModuleView(entry.id, self._compose(entry.root, entry.path), entry.path, entry.root, entry.class_name)
            for entry in modules
        ]
        # A child may be called as its root is: then the name is the child's, and "" still finds the root.
        root = next((view for view in views if not view.path), None)
        return NamedSequence("module", [view.name for view in views], views, {"": root} if root else {})

    def _parameter_views(self, parameters: Iterable[Parameter]) -> NamedSequence[ParameterView]:
        views: list[ParameterView] = []
        taken: set[str] = set()
        for entry in parameters:
            view = self._parameter_view(entry, taken)
            taken.add(view.name)
            views.append(view)
        aliases = {alias: view for view in views for alias in view.aliases}
        return NamedSequence("parameter", [view.name for view in views], views, aliases)

    def _parameter_view(self, entry: Parameter, taken: set[str]) -> ParameterView:
        name = (entry.path or f"tensor {entry.id}") if entry.is_leaf_tensor else self._compose(entry.root, entry.path)
        return ParameterView(
            id=entry.id,
            name=f"{name} ({entry.id})" if name in taken else name,
            aliases=tuple(self._compose(entry.root, alias) for alias in entry.aliases),
            shape=tuple(entry.shape),
            dtype=entry.dtype,
            device=entry.device,
            numel=entry.numel,
            bytes=entry.bytes,
            requires_grad=entry.requires_grad,
            is_leaf_tensor=entry.is_leaf_tensor,
            module=self._module_names.get(entry.module),
            path=entry.path,
            root=entry.root,
            tensor_type=entry.tensor_type,
            local_shape=tuple(entry.local_shape) if entry.placements else tuple(entry.shape),
            placements=tuple(entry.placements),
        )

    def _output_name(self, entry: ModuleOutput) -> str:
        module = self._module_names.get(entry.module, f"module {entry.module}")
        return f"{module}{f'#{entry.call + 1}' if entry.call else ''}{entry.path}"
