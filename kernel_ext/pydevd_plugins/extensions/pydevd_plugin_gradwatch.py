"""Tensors with gradient statistics in the Variables pane of every debugger that is built on pydevd.

pydevd finds this file by its place and name; there is no __init__.py beside it, since the folder is pydevd's own
package, extended. It runs for each variable of each stop, imports nothing until there is a tensor to show, and
never torch. Whatever fails gives way to the plain repr.
"""

from __future__ import annotations

import sys
from typing import Any

from _pydevd_bundle import (  # pyright: ignore[reportMissingImports] # pydevd's, there when it loads this
    pydevd_extension_api as _api,  # pyright: ignore[reportUnknownVariableType] # untyped
)
from _pydevd_bundle import (  # pyright: ignore[reportMissingImports] # as above
    pydevd_resolver as _resolver,  # pyright: ignore[reportUnknownVariableType] # as above
)

_PLAIN = frozenset({"repl", "clipboard"})
"""Contexts in which a person asks for the value itself."""


def _is_tensor_type(kind: object) -> bool:
    """Tensor and Parameter alone: a subclass has a repr of its own."""
    torch: Any = sys.modules.get("torch")
    if torch is None or getattr(torch.__spec__, "_initializing", False):  # a program may stand still inside the import
        return False
    return kind is torch.Tensor or kind is torch.nn.Parameter


def _describe(tensor: Any) -> str | None:
    """The line, or None, for which pydevd takes the plain repr."""
    try:
        from gradwatch.capture.variable_text import describe  # noqa: PLC0415  # loads numpy: only with a tensor at hand

        return describe(tensor)
    except Exception:  # noqa: BLE001 # the user sees the repr then, as without this file
        return None


class TensorText:
    def can_provide(self, type_object: object, type_name: str) -> bool:  # noqa: ARG002  # pydevd's signature
        return _is_tensor_type(type_object)

    def get_str(self, val: object) -> str | None:
        return _describe(val)

    def get_str_in_context(self, val: object, context: str) -> str | None:
        return None if context in _PLAIN else _describe(val)


class TensorChildren:
    def can_provide(self, type_object: object, type_name: str) -> bool:  # noqa: ARG002  # pydevd's signature
        return _is_tensor_type(type_object)

    def get_contents_debug_adapter_protocol(
        self, obj: object, fmt: object = None
    ) -> list[tuple[str, object, str | None]]:
        try:
            from gradwatch.capture.variable_text import children  # noqa: PLC0415  # as above

            return list(children(obj))  # pyright: ignore[reportArgumentType] # a tensor, as can_provide saw
        except Exception:  # noqa: BLE001 # as above
            return _resolver.defaultResolver.get_contents_debug_adapter_protocol(obj, fmt)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] # untyped

    def get_dictionary(self, var: object) -> dict[str, object]:
        return {name: value for name, value, _ in self.get_contents_debug_adapter_protocol(var)}

    def resolve(self, var: object, attribute: str) -> object:
        found = self.get_dictionary(var)
        return found[attribute] if attribute in found else getattr(var, attribute)


_api.StrPresentationProvider.register(TensorText)  # pyright: ignore[reportUnknownMemberType] # untyped
_api.TypeResolveProvider.register(TensorChildren)  # pyright: ignore[reportUnknownMemberType] # untyped
