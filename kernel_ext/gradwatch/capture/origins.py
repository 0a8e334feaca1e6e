"""Whose code a frame runs: the user's project, a library, or machinery that no report should name.

First step of source lines: the line clock and the call sites ask it for every frame they meet.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
from pathlib import Path

MACHINERY = 0
"""torch, the standard library, gradwatch, notebook and debugger internals, generated wrappers."""
LIBRARY = 1
"""Installed packages (in site-packages or dist-packages): user code, but not the user's project."""
PROJECT = 2
"""Everything else: the user's own files, notebook cells, code typed at a prompt or passed with -c."""

_SITE_DIRECTORIES = ("site-packages", "dist-packages")
_TORCH_PACKAGES = ("torch", "torchgen", "functorch", "triton")
_TOOL_PACKAGES = (
    "IPython",
    "ipykernel",
    "traitlets",
    "tornado",
    "jupyter_client",
    "debugpy",
    "pydevd",
    "pydevd_file_utils",
    "pydevd_plugins",
    "pydevd_tracing",
    "pydevconsole",
    "pydev_ipython",
    "_pydev_bundle",
    "_pydev_runfiles",
    "_pydevd_bundle",
    "_pydevd_frame_eval",
    "_pydevd_sys_monitoring",
    "coverage",
)
_MACHINERY_NAMES = (
    "<frozen ",
    "<eval_with_key>",  # torch.fx and AOTAutograd
    "<attrs generated ",
    "<__array_function__ ",
    "<decorator-gen-",
    "<makefun-gen-",
    "<@beartype(",
)
_GENERATED_DIRECTORY = "torchinductor_"


class Origins(dict[str, int]):
    """Maps `co_filename` to MACHINERY, LIBRARY or PROJECT; looks a name up once, then is a plain dict.

    Keyed by name and not by code object: a name's hash is kept in the string, and no code is held alive.
    Relative names are taken from the working directory at the time this was made.
    """

    def __init__(self) -> None:
        super().__init__()
        self._directory = os.getcwd()  # noqa: PTH109  frames carry plain strings, so this file works on them
        self._tools: dict[str, str] = {}
        self._gradwatch = _directory_form(str(Path(__file__).parent.parent))
        self._standard_library = _standard_library_roots()
        self._project_roots = [_directory_form(os.path.realpath(self._directory))]

    def __missing__(self, filename: str) -> int:
        origin = self[filename] = self._classify(filename)
        return origin

    def absolute(self, filename: str) -> str:
        """Return the absolute path of a file; names in angle brackets stay as they are."""
        if _is_pseudo_name(filename):
            return filename
        return os.path.normpath(os.path.join(self._directory, filename))  # noqa: PTH118  as above

    def _classify(self, filename: str) -> int:
        if _is_pseudo_name(filename):
            return MACHINERY if filename.startswith(_MACHINERY_NAMES) else PROJECT
        path = os.path.normcase(self.absolute(filename))
        real = os.path.realpath(path)
        if self._is_machinery(path) or self._is_machinery(real):
            return MACHINERY
        return LIBRARY if self._is_installed(path, real) else PROJECT

    def _is_machinery(self, path: str) -> bool:
        if path.startswith(self._gradwatch) or f"{os.sep}{_GENERATED_DIRECTORY}" in path:
            return True
        package = _installed_package(path)
        if package is None:
            return path.startswith((*self._standard_library, *self._tool_roots()))
        return package in _TOOL_PACKAGES or package in _TORCH_PACKAGES

    def _is_installed(self, path: str, real: str) -> bool:
        """Return whether a file is installed; a link from site-packages into the project is not."""
        if _installed_package(path) is None:
            return False
        return _installed_package(real) is not None or not real.startswith(tuple(self._project_roots))

    def _tool_roots(self) -> tuple[str, ...]:
        """Directories of torch and the tools that lie outside site-packages: source builds, IDE bundles.

        A tool may be loaded later (a debugger that attaches), so the loaded modules are asked each time.
        """
        for name in _TOOL_PACKAGES + _TORCH_PACKAGES:
            if name not in self._tools and (root := _loaded_root(name)):
                self._tools[name] = root
        if "torch" not in self._tools:
            self._tools["torch"] = _findable_root("torch") or _directory_form(self._gradwatch)
        return tuple(self._tools.values())


def _is_pseudo_name(filename: str) -> bool:
    return filename.startswith("<") and filename.rstrip("0123456789").endswith((">", ">."))


def _directory_form(path: str) -> str:
    return os.path.normcase(os.path.normpath(path)).rstrip(os.sep) + os.sep


def _installed_package(path: str) -> str | None:
    """Return the name below the last site-packages directory in a path, None outside of one."""
    parts = Path(path).parts
    places = [index for index, part in enumerate(parts[:-1]) if part.lower() in _SITE_DIRECTORIES]
    return parts[places[-1] + 1].removesuffix(".py") if places else None


def _standard_library_roots() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    named = [paths["stdlib"], paths["platstdlib"], str(Path(os.__file__).parent)]
    zipped = f"python{sys.version_info.major}{sys.version_info.minor}.zip"
    named += [entry for entry in sys.path if Path(entry).name == zipped]
    return tuple({_directory_form(form) for path in named for form in (path, os.path.realpath(path))})


def _loaded_root(name: str) -> str | None:
    return _root_of(getattr(sys.modules.get(name), "__file__", None))


def _findable_root(name: str) -> str | None:
    """Return where a package would be imported from, without importing it."""
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):  # a parent that fails, or a module made by hand without a spec
        return None
    return _root_of(found.origin) if found else None


def _root_of(file: str | None) -> str | None:
    """Return what paths of a package begin with: its directory, or the file of a lone module."""
    if not file:
        return None
    if Path(file).name.startswith("__init__."):
        return _directory_form(os.path.realpath(Path(file).parent))
    return os.path.normcase(os.path.realpath(file))
