# ruff: noqa: INP001  # a text that the extension sends, not a module of a package
"""Runs in the debugged program, by exec: makes the extension's copy of gradwatch importable in this process.

Given `folder` (where the copy lies, if this machine sees it) and `sources` (null, or base64 of zlib of a JSON
object from path to text). Leaves `report`: {"done", "needs_sources", "reason"} as JSON. Writes no file.
"""

import base64
import importlib
import importlib.util
import json
import os
import sys
import zlib
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType


class ShippedSources:
    """Finds and loads the modules of the copy from memory; tracebacks and inspect read their text from here."""

    def __init__(self, root: str, texts: dict[str, str]) -> None:
        self.root, self.texts = root, texts

    def location(self, name: str) -> str | None:
        stem = name.replace(".", "/")
        return next((path for path in (f"{stem}/__init__.py", f"{stem}.py") if path in self.texts), None)

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,  # noqa: ARG002  # the import system's signature
        target: ModuleType | None = None,  # noqa: ARG002  # likewise
    ) -> ModuleSpec | None:
        location = self.location(name)
        if location is None:
            return None
        package = location.endswith("/__init__.py")
        origin = f"{self.root}/{location}"
        spec = importlib.util.spec_from_loader(name, self, origin=origin, is_package=package)
        spec.has_location = True
        if package:
            spec.submodule_search_locations = [origin.rpartition("/")[0]]
        return spec

    def create_module(self, spec: ModuleSpec) -> None:
        """The default module will do."""

    def exec_module(self, module: ModuleType) -> None:
        source = self.get_source(module.__name__)
        exec(compile(source, module.__spec__.origin, "exec", dont_inherit=True), module.__dict__)  # noqa: S102  # a loader

    def get_source(self, name: str) -> str:
        return self.texts[self.location(name)]

    def is_package(self, name: str) -> bool:
        return self.location(name).endswith("/__init__.py")


def install(folder: str, sources: str | None) -> dict[str, object]:
    if importable():
        return {"done": True}
    if os.path.isfile(os.path.join(folder, "gradwatch", "debugger.py")):  # noqa: PTH113, PTH118  # pathlib may not be loaded
        if folder not in sys.path:
            sys.path.append(folder)
    elif sources is None:
        return {"done": False, "needs_sources": True}
    else:
        texts = json.loads(zlib.decompress(base64.b64decode(sources)))
        sys.meta_path.append(ShippedSources(folder, texts))
    importlib.invalidate_caches()
    return {"done": True} if importable() else {"done": False, "reason": in_the_way()}


def importable() -> bool:
    """Also forgets a folder that happens to be called gradwatch and was imported as a namespace package."""
    found = sys.modules.get("gradwatch")
    if found is not None and getattr(found, "__file__", None) is None:
        del sys.modules["gradwatch"]
    try:
        return importlib.util.find_spec("gradwatch.debugger") is not None
    except (ImportError, ValueError):
        return False


def in_the_way() -> str:
    found = sys.modules.get("gradwatch")
    version, file = getattr(found, "__version__", ""), getattr(found, "__file__", "an unknown place")
    found_first = f"gradwatch {version} at {file} is found first and has no debugger"
    return f"{found_first}: upgrade it with pip install --upgrade gradwatch"


try:
    report = json.dumps(install(folder, sources))  # noqa: F821  # given by the caller
except Exception as error:  # noqa: BLE001  # the program must not see it
    report = json.dumps({"done": False, "reason": f"{type(error).__name__}: {error}"})
