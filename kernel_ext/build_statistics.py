"""Compiles the statistics kernel: as the wheel's build hook, or in place when run as a script.

The kernel is plain C with no ties to Python or torch, so one wheel serves every Python of a platform
(py3-none-<platform>). Without a C compiler the wheel is pure and gradwatch computes in torch instead.
Without the notebook's page there is no wheel.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run as a script, where hatchling need not be installed
    BuildHookInterface = object

if TYPE_CHECKING:
    from collections.abc import Sequence

CAPTURE = Path(__file__).resolve().parent / "gradwatch" / "capture"
SOURCE = CAPTURE / "statistics_kernel.c"
SUFFIX = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")
LIBRARY = CAPTURE / f"_statistics{SUFFIX}"

# Floats are looked at as bits. Sums must not be reordered or fused, so that every machine gets the same ones;
# -ffast-math in a shared object would also turn denormals off for the whole process. Nobody looks at errno.
GNU_FLAGS = [
    *("-O3", "-std=c11", "-fvisibility=hidden", "-fno-strict-aliasing"),
    *("-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"),
]
MSVC_FLAGS = ["/nologo", "/O2", "/std:c11", "/fp:precise", "/LD"]


PAGE = CAPTURE.parent / "static"
"""The notebook's page, which Node builds."""


class NoCompiler(Exception):
    """No C compiler was found, or it failed: the message says which."""


def find_compiler() -> list[str]:
    """Return the command of a C compiler: $CC, else the first of cc, gcc, clang, cl that is there."""
    chosen = os.environ.get("CC", "").split()
    if chosen:
        return chosen
    for name in ("cc", "gcc", "clang", "cl"):
        path = shutil.which(name)
        if path:
            return [path]
    raise NoCompiler("no C compiler was found (looked for $CC, cc, gcc, clang, cl)")


def compile_command(compiler: Sequence[str], output: Path) -> list[str]:
    if Path(compiler[0]).stem.lower() == "cl":
        return [*compiler, *MSVC_FLAGS, str(SOURCE), f"/Fe:{output}", f"/Fo:{output.with_suffix('.obj')}"]
    shared = ["-dynamiclib"] if sys.platform == "darwin" else ["-shared"]
    position = [] if sys.platform == "win32" else ["-fPIC"]
    libraries = [] if sys.platform == "win32" else ["-lm"]
    architectures = os.environ.get("ARCHFLAGS", "").split() if sys.platform == "darwin" else []
    return [*compiler, *GNU_FLAGS, *shared, *position, *architectures, str(SOURCE), "-o", str(output), *libraries]


def build(library: Path = LIBRARY) -> Path:
    """Compile the kernel to `library` and return it. A process that has the old one loaded keeps it.

    Raises NoCompiler when there is no compiler or it fails.
    """
    with tempfile.TemporaryDirectory(prefix="gradwatch-build-") as directory:
        output = Path(directory) / library.name
        command = compile_command(find_compiler(), output)
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - the user's own compiler
        except OSError as error:
            raise NoCompiler(f"{command[0]} could not be started: {error}") from error
        if done.returncode or not output.exists():
            raise NoCompiler(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
        beside = library.with_name(f"{library.name}.{os.getpid()}")
        shutil.copyfile(output, beside)
        beside.replace(library)
    return library


def wheel_tag() -> str:
    name = sysconfig.get_platform()
    if name.startswith("macosx"):  # tags know macOS 11 and later by major version alone
        _, version, machine = name.split("-")
        target = os.environ.get("MACOSX_DEPLOYMENT_TARGET", version)
        major, minor = [*target.split("."), "0"][:2]
        name = f"macosx_{major}_{minor if int(major) < 11 else 0}_{machine}"
    return f"py3-none-{name.replace('-', '_').replace('.', '_')}"


def require_page() -> None:
    """Refuse to build a wheel whose notebooks would have no panel. Raises FileNotFoundError."""
    for name in ("widget.js", "widget.css"):
        if not (PAGE / name).is_file():
            raise FileNotFoundError(f"{PAGE / name} is not there. Build it first, with Node: make widget")


class StatisticsBuildHook(BuildHookInterface):  # pyright: ignore[reportUntypedBaseClass, reportGeneralTypeIssues] - object where hatchling is absent
    """Hatchling's hook: adds the compiled kernel to a wheel and names its platform."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile in place (`version` is "standard" or "editable") and enter the library in `build_data`."""
        if version != "editable":
            require_page()
        try:
            library = build()
        except NoCompiler as reason:
            LIBRARY.unlink(missing_ok=True)  # one left by another build would land in a wheel called pure
            print(f"gradwatch: statistics will be computed in torch, more slowly: {reason}", file=sys.stderr)
            return
        if version == "editable":
            return  # it lies where it is imported from
        build_data["pure_python"] = False
        build_data["tag"] = wheel_tag()
        build_data["force_include"][str(library)] = f"gradwatch/capture/{library.name}"


def main() -> int:
    try:
        library = build()
    except NoCompiler as reason:
        print(f"{reason}\ngradwatch works without the kernel, more slowly.", file=sys.stderr)
        return 1
    print(f"{library} ({platform.machine()})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
