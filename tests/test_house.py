"""The rules of the house, as tests: layers, torch-free rooms, the public door, the contract's other half."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import gradwatch

PACKAGE = Path(gradwatch.__file__).parent
ROOT = PACKAGE.parent.parent

ROOMS = ("session", "findings", "reporters", "capture")
MAY_USE = {
    "session": {"errors", "records", "_version", "session"},
    "findings": {"errors", "records", "session", "findings"},
    "reporters": {"errors", "records", "_version", "session", "findings", "reporters"},
    "capture": {"errors", "records", "_version", "session.writer", "capture"},
}
LATE = {"capture/late.py": {"session"}}
"""capture/late.py answers without a recorder: it gives back what a session gives."""


def imported_names(path: Path) -> set[str]:
    """Dotted names under gradwatch that a file imports, at any place in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("gradwatch"):
            inner = node.module.removeprefix("gradwatch").lstrip(".")
            names |= {inner} if inner else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {a.name.removeprefix("gradwatch.") for a in node.names if a.name.startswith("gradwatch.")}
    return names


def is_allowed(name: str, allowed: set[str]) -> bool:
    return any(name == each or name.startswith(each + ".") for each in allowed)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_the_rooms_before_it(room: str) -> None:
    for path in sorted((PACKAGE / room).rglob("*.py")):
        relative = path.relative_to(PACKAGE).as_posix()
        allowed = MAY_USE[room] | LATE.get(relative, set())
        outside = {name for name in imported_names(path) if not is_allowed(name, allowed)}
        assert not outside, f"{relative} imports {sorted(outside)}"


def test_the_layer_check_sees_a_forbidden_import(tmp_path: Path) -> None:
    offender = tmp_path / "offender.py"
    offender.write_text("from gradwatch.capture.recorder import watch\nimport gradwatch.reporters.json\n")
    outside = {name for name in imported_names(offender) if not is_allowed(name, MAY_USE["session"])}
    assert outside == {"capture.recorder", "reporters.json"}


def test_the_contract_needs_the_standard_library_only() -> None:
    for name in ("records.py", "errors.py"):
        tree = ast.parse((PACKAGE / name).read_text(encoding="utf-8"))
        modules = {
            node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module
        }
        modules |= {a.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
        assert modules <= set(sys.stdlib_module_names)


def loaded_after(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after running `code`."""
    script = f"{code}\nimport sys\nprint('\\n'.join(sorted({{name.split('.')[0] for name in sys.modules}})))"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(out.stdout.split())


@pytest.mark.parametrize(
    "module", ["gradwatch.session.session", "gradwatch.findings", "gradwatch.reporters.terminal", "gradwatch.cli"]
)
def test_rooms_that_read_load_neither_torch_nor_ipython(module: str) -> None:
    assert not loaded_after(f"import {module}") & {"torch", "IPython", "pandas", "matplotlib"}


def test_importing_gradwatch_loads_nothing_heavy() -> None:
    assert not loaded_after("import gradwatch") & {"torch", "IPython", "numpy", "msgspec", "mcap", "rich"}


def test_the_import_check_can_fail() -> None:
    assert "numpy" in loaded_after("import numpy")


def test_the_public_door_is_exactly_all() -> None:
    assert sorted(gradwatch.__all__) == dir(gradwatch)
    for name in gradwatch.__all__:
        assert getattr(gradwatch, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Manager'"):
        gradwatch.Manager  # noqa: B018  # the access is the test


def test_the_typescript_types_are_those_of_the_contract() -> None:
    code = (
        "import sys; sys.path.insert(0, 'kernel_ext'); import generate_typescript as g; print(g.typescript(), end='')"
    )
    text = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    on_disk = (ROOT / "vscode-extension" / "shared" / "session.ts").read_text(encoding="utf-8")
    assert on_disk == text, "session.ts is out of date. Run: make contract"


def test_examples_are_short_and_each_is_run_by_a_test() -> None:
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("test_*.py"))
    examples = sorted((ROOT / "examples").glob("*.py"))
    assert len(examples) >= 4
    for example in examples:
        assert len(example.read_text(encoding="utf-8").splitlines()) <= 40, example.name
        assert example.stem in tests, f"no test runs {example.name}"
