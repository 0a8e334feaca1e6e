"""Places in the user's source: whose code it is, which call it is, and the text it stands in."""

from __future__ import annotations

import hashlib
import importlib
import linecache
import os
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gradwatch.capture.lines import CallSites
from gradwatch.capture.origins import LIBRARY, MACHINERY, PROJECT, Origins
from gradwatch.capture.sites import LINE, LINE_OF_INSTRUCTION, MAX_SOURCE_BYTES, UNKNOWN, SiteTable

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType

    from gradwatch.records import Site

torch = pytest.importorskip("torch")


def code_of(text: str, filename: str) -> CodeType:
    return compile(text, filename, "exec")


def only_site(table: SiteTable, key: int) -> Site:
    table.site(key)
    [site] = table.new_sites()
    return site


def function_in(path: Path, text: str, **names: object) -> Callable[..., tuple[int, int]]:
    """Write a file, run it as Python would, and return its function `f`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    namespace: dict[str, Any] = dict(names)
    exec(code_of(text, str(path)), namespace)
    return namespace["f"]


def test_torch_the_standard_library_and_gradwatch_are_machinery() -> None:
    origins = Origins()
    for file in (
        torch.nn.Module.__call__.__code__.co_filename,
        linecache.__file__,
        os.__file__,
        __import__("json").__file__,
    ):
        assert origins[str(file)] == MACHINERY, file
    assert origins["<frozen importlib._bootstrap>"] == MACHINERY
    assert origins["<eval_with_key>.7"] == MACHINERY
    assert origins["/tmp/torchinductor_me/ab/cabc.py"] == MACHINERY
    assert origins[SiteTable.site.__code__.co_filename] == MACHINERY


@pytest.mark.parametrize("package", ["IPython", "ipykernel", "debugpy", "_pydevd_bundle", "torch", "triton"])
def test_notebook_debugger_and_torch_packages_are_machinery_in_any_environment(package: str) -> None:
    assert Origins()[f"/home/me/project/.venv/lib/python3.12/site-packages/{package}/x/y.py"] == MACHINERY


@pytest.mark.parametrize(
    "file",
    [
        "/home/me/project/.venv/lib/python3.12/site-packages/transformers/models/gpt2.py",
        "/usr/lib/python3/dist-packages/einops/einops.py",
        "/home/me/.local/lib/python3.12/site-packages/thing-1.0-py3.12.egg/thing/layers.py",
        "/usr/lib/python3/site-packages/one_file.py",
    ],
)
def test_installed_packages_are_libraries(file: str) -> None:
    assert Origins()[file] == LIBRARY


@pytest.mark.parametrize(
    "file",
    [
        "/home/me/project/train.py",
        "/home/me/IPython/notes/train.py",
        "/home/me/torch/experiments/train.py",
        "/home/me/site-packages.py",
        "/home/me/app.zip/app/train.py",
        "train.py",
        "/tmp/ipykernel_123/4567.py",
        "<ipython-input-3-abcdef>",
        "<stdin>",
        "<string>",
        "<python-input-0>",
        "<console>",
        "<doctest manual[3]>",
    ],
)
def test_everything_else_is_the_users_project(file: str) -> None:
    assert Origins()[file] == PROJECT


def test_a_link_from_site_packages_into_the_working_directory_is_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, installed = tmp_path / "project", tmp_path / "venv" / "site-packages"
    (project / "mine").mkdir(parents=True)
    (tmp_path / "cache" / "theirs").mkdir(parents=True)
    installed.mkdir(parents=True)
    (installed / "mine").symlink_to(project / "mine")
    (installed / "theirs").symlink_to(tmp_path / "cache" / "theirs")
    monkeypatch.chdir(project)
    origins = Origins()
    assert origins[str(installed / "mine" / "model.py")] == PROJECT
    assert origins[str(installed / "theirs" / "model.py")] == LIBRARY


def test_a_source_build_of_torch_outside_site_packages_is_machinery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").touch()
    monkeypatch.setattr(torch, "__file__", str(tmp_path / "torch" / "__init__.py"))
    assert Origins()[str(tmp_path / "torch" / "nn" / "module.py")] == MACHINERY
    assert Origins()[str(tmp_path / "torchish" / "module.py")] == PROJECT


def test_a_module_call_is_charged_to_the_users_line_and_columns(tmp_path: Path) -> None:
    table = SiteTable()
    sites = CallSites(table)

    class Here(torch.nn.Module):
        def forward(self, _: object) -> tuple[int, int]:
            return sites.at(sys._getframe(1))

    text = "def f(x):\n    y = 1; return [y, layer(x)][1]\n"
    f = function_in(tmp_path / "train.py", text, layer=Here())
    user, project = f(torch.ones(1))
    assert user == project
    site = only_site(table, user)
    assert (site.file, site.line, site.function) == (str(tmp_path / "train.py"), 2, "f")
    columns = (site.column, site.end_line, site.end_column)
    assert columns == ((22, 2, 30) if sys.version_info >= (3, 11) else (-1, -1, -1))


def test_a_call_over_several_lines_keeps_where_it_ends(tmp_path: Path) -> None:
    table = SiteTable()
    sites = CallSites(table)
    f = function_in(
        tmp_path / "train.py", "def f():\n    return (0,\n      here(\n      ))[1]\n", here=lambda: sites.here(1)
    )
    site = only_site(table, f()[1])
    assert (site.line, site.end_line) == ((3, 4) if sys.version_info >= (3, 11) else (3, -1))


def test_a_call_in_a_library_keeps_the_librarys_line_and_the_projects(tmp_path: Path) -> None:
    table = SiteTable()
    here = CallSites(table).here
    library = function_in(tmp_path / "site-packages" / "lib" / "a.py", "def f(): return here(0)\n", here=here)
    f = function_in(tmp_path / "train.py", "\n\ndef f(): return library()\n", library=library)
    user, project = f()
    assert table.site_ids(np.array([user, project, UNKNOWN])).tolist() == [0, 1, UNKNOWN]
    assert [(Path(site.file).name, site.line) for site in table.new_sites()] == [("a.py", 1), ("train.py", 3)]


def test_a_stack_without_user_code_has_no_place() -> None:
    assert CallSites(SiteTable()).at(None) == (UNKNOWN, UNKNOWN)
    assert SiteTable().site(UNKNOWN) == UNKNOWN


def test_two_ways_to_one_line_are_one_site(tmp_path: Path) -> None:
    table = SiteTable()
    code = code_of("a = 1\nb = 2\n", str(tmp_path / "x.py"))
    offset = next(start for start, _, line in code.co_lines() if line == 2)
    key = table.code_key(code)
    assert table.site(key + LINE + 2) == table.site(key + LINE_OF_INSTRUCTION + offset) == 0
    assert table.site(key + LINE + 1) == 1
    assert [site.line for site in table.new_sites()] == [2, 1]
    assert table.new_sites() == []


def test_code_made_again_and_again_is_numbered_once_and_let_go() -> None:
    table = SiteTable()
    keys = {table.code_key(code_of("x + 1", "<string>")) for _ in range(100)}
    assert len(keys) == 1
    assert len(table.codes()) == 1
    assert len(table.project_keys) == 1


def test_equal_code_in_two_files_is_two_places() -> None:
    table = SiteTable()
    first, second = code_of("x + 1", "/home/me/a.py"), code_of("x + 1", "/home/me/b.py")
    assert table.site(table.code_key(first) + 1) != table.site(table.code_key(second) + 1)


def test_raw_keys_fit_an_int64() -> None:
    table = SiteTable()
    keys = [table.code_key(code_of(f"x + {number}", "<string>")) for number in range(3)]
    assert np.array(keys, dtype=np.int64).tolist() == keys
    assert keys[2] << 25 < 2**63, "room for 2**29 code objects"


def test_a_files_text_is_handed_out_once_with_its_first_site(tmp_path: Path) -> None:
    file = tmp_path / "train.py"
    file.write_bytes("# -*- coding: latin-1 -*-\nä = 1\n".encode("latin-1"))
    table = SiteTable()
    key = table.code_key(code_of("a = 1\nb = 2\n", str(file)))
    assert table.new_sources() == []
    table.site(key + 1)
    [source] = table.new_sources()
    assert source.path == str(file)
    assert source.text == "# -*- coding: latin-1 -*-\nä = 1\n"
    assert source.sha256 == hashlib.sha256(source.text.encode()).hexdigest()
    table.site(key + 2)
    assert table.new_sources() == []


def test_a_notebook_cells_text_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    text, name = "w = 1\nloss = w\n", "/tmp/ipykernel_99/1.py"
    monkeypatch.setitem(linecache.cache, name, (len(text), None, text.splitlines(keepends=True), name))
    table = SiteTable()
    table.site(table.code_key(code_of(text, name)) + 2)
    assert [(source.path, source.text) for source in table.new_sources()] == [(name, text)]


def test_a_real_cell_of_ipython_is_the_users_and_its_text_is_kept() -> None:
    shell_class = pytest.importorskip("IPython.core.interactiveshell").InteractiveShell
    shell = shell_class()
    table = SiteTable()
    shell.user_ns["here"] = CallSites(table).here
    shell.run_cell("x = 1\nfound = here(0)")
    site = only_site(table, shell.user_ns["found"][0])
    assert site.line == 2
    [source] = table.new_sources()
    assert source.text.rstrip() == "x = 1\nfound = here(0)"


def test_a_module_inside_a_zip_archive_has_its_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "app.zip"
    with zipfile.ZipFile(archive, "w") as written:
        written.writestr("zipped_app.py", "def f():\n    return 1\n")
    monkeypatch.syspath_prepend(str(archive))
    module = importlib.import_module("zipped_app")
    table = SiteTable()
    table.site(table.code_key(module.f.__code__) + 2)
    [source] = table.new_sources()
    assert source.text == "def f():\n    return 1\n"


@pytest.mark.parametrize("content", [b"x" * (MAX_SOURCE_BYTES + 1), b"\xff\xfe\x00 no text", b""])
def test_files_too_large_or_not_text_are_left_out(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "odd.py"
    file.write_bytes(content)
    table = SiteTable()
    assert table.site(table.code_key(code_of("a = 1", str(file))) + 1) == 0
    assert table.new_sources() == []


def test_a_relative_file_keeps_its_place_after_a_change_of_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table = SiteTable()
    monkeypatch.chdir("/")
    assert only_site(table, table.code_key(code_of("a = 1", "train.py")) + 1).file == str(tmp_path / "train.py")
