"""What the README's "Security" promises: no network, nothing evaluated, nothing written but what was asked for."""

from __future__ import annotations

import ast
import json
import os
import re
import stat
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import gradwatch
from gradwatch.errors import SessionExists

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PYTHON = ROOT / "kernel_ext"
TYPESCRIPT = [ROOT / "vscode-extension" / folder for folder in ("src", "shared", "webview")]

# What the sources may use

_REACHING = "socket socketserver ssl http urllib requests httpx aiohttp ftplib smtplib xmlrpc asyncio"
_RUNNING = "pickle marshal shelve dill cloudpickle joblib yaml subprocess multiprocessing pty ctypes"
MODULES = frozenset(f"{_REACHING} {_RUNNING}".split())
CALLS = frozenset({"eval", "exec", "compile", "__import__", "import_module", "system", "popen", "execve", "fdopen"})

PERMITTED = {
    ("build_statistics.py", "subprocess"): "runs the C compiler when the package is built",
    ("capture/environment.py", "socket"): "the host's name",
    ("capture/environment.py", "subprocess"): "git's revision, with fixed arguments",
    ("capture/statistics_cpu.py", "ctypes"): "the package's own statistics kernel",
    ("capture/stop_frame.py", "compile"): "a constant text",
    ("capture/stop_frame.py", "exec"): "a constant text",
    ("cli.py", "subprocess"): "gradwatch demo runs its own program",
    ("debugger.py", "socket"): "an option of the socket that the debugger has open",
    ("findings/all.py", "import_module"): "its own questions, by the names in QUESTIONS",
    ("launch.py", "execve"): "gradwatch run becomes the program that the user named",
    ("launch.py", "subprocess"): "the same, where there is no exec",
    ("notebook/cell.py", "asyncio"): "lays the running loop aside; opens nothing",
    ("notebook/magics.py", "eval"): "the user's own words in a magic",
    ("replay_entry.py", "import_module"): "the user's own --entry",
    ("reporters/exports/memory_viz.py", "pickle"): "writes PyTorch's memory snapshot format; nothing is unpickled",
    ("session/repair.py", "socket"): "the host's name",
    ("trying.py", "subprocess"): "gradwatch try runs the program that the user named",
}


def uses(source: str) -> Iterator[str]:
    """Modules and calls of a Python source that could reach out or run what they are given."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]
        elif isinstance(node, ast.Call):
            yield from _called(node)


def _called(call: ast.Call) -> Iterator[str]:
    function = call.func
    if isinstance(function, ast.Name):
        place, name = "", function.id
    elif isinstance(function, ast.Attribute):
        place, name = getattr(function.value, "id", ""), function.attr
    else:
        return
    if place == "torch" and name == "load":
        yield "torch.load"
    elif name == "import_module":
        if not _is_constant(call.args[0]):
            yield name
    elif name in CALLS and place in ("", "os", "builtins"):  # not re.compile, model.eval, platform.system
        yield name


def _is_constant(argument: ast.expr) -> bool:
    """Say whether a name of a module comes from the source itself: a text, a constant, an entry of one."""
    if isinstance(argument, ast.Subscript):
        argument = argument.value
    return isinstance(argument, ast.Constant) or (isinstance(argument, ast.Name) and argument.id.isupper())


def python_uses() -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for path in sorted(PYTHON.rglob("*.py")):
        words = set(uses(path.read_text(encoding="utf-8"))) & (MODULES | CALLS | {"torch.load"})
        found |= {(path.relative_to(PYTHON).as_posix().removeprefix("gradwatch/"), word) for word in words}
    return found


def test_python_sources_use_no_network_no_pickle_and_evaluate_nothing_but_what_is_listed() -> None:
    assert python_uses() == set(PERMITTED)


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("from urllib.request import urlopen", "urllib"),
        ("def f(t):\n    import pickle\n    pickle.loads(t)", "pickle"),
        ("eval(text)", "eval"),
        ("importlib.import_module(name)", "import_module"),
        ("torch.load(path)", "torch.load"),
        ("os.system(text)", "system"),
    ],
)
def test_the_check_of_python_sources_can_fail(source: str, word: str) -> None:
    assert word in set(uses(source))


REACHES_OUT = re.compile(
    r"\beval\(|\bnew Function\b|\b(?:inner|outer)HTML\b|insertAdjacentHTML|dangerouslySetInnerHTML|document\.write"
    r"|\bfetch\(|XMLHttpRequest|\bWebSocket\b|EventSource|sendBeacon|importScripts|openExternal"
    r"""|(?:from|import\(|require\()\s*["'](?:node:)?(?:net|http|https|http2|dgram|tls|dns|child_process|vm)["']"""
)


WRITES_FILES = re.compile(
    r"\b(?:writeFile|appendFile|copyFile|createWriteStream|mkdir|mkdtemp|rmdir|unlink|symlink|truncate)(?:Sync)?\("
    r"|workspace\.fs\.(?:write|delete|rename|copy|create)|applyEdit|WorkspaceEdit"
)
"""None of these at all: the extension only reads, so no path of a session's is ever written."""


PERMITTED_IN_TYPESCRIPT = {
    ("why.ts", 'from "node:child_process"'): "asks the interpreter that the user selected, in a trusted workspace only",
}


def test_typescript_sources_use_no_network_evaluate_nothing_and_write_no_file_but_what_is_listed() -> None:
    files = [path for folder in TYPESCRIPT for path in folder.rglob("*.ts*")]
    assert len(files) > 100
    texts = {path.name: path.read_text("utf-8") for path in files}
    found = {(name, match) for name, text in texts.items() for match in REACHES_OUT.findall(text)}
    found |= {(name, match) for name, text in texts.items() for match in WRITES_FILES.findall(text)}
    assert found == set(PERMITTED_IN_TYPESCRIPT)


@pytest.mark.parametrize(
    ("check", "source"),
    [
        (REACHES_OUT, "box.innerHTML = text"),
        (REACHES_OUT, 'import net from "node:net"'),
        (REACHES_OUT, "await fetch(url)"),
        (WRITES_FILES, "fs.writeFileSync(path, text)"),
        (WRITES_FILES, "await vscode.workspace.fs.delete(uri)"),
    ],
)
def test_the_check_of_typescript_sources_can_fail(check: re.Pattern[str], source: str) -> None:
    assert check.search(source)


# What a process is seen to do

MARKER = "only_the_recorded_text_says_this"

PROGRAM = f"""
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(batch):
        {MARKER} = model(batch).sum()
        {MARKER}.backward()
        optimizer.step()
        optimizer.zero_grad()

    return model, optimizer, step
"""

WATCH = """
import json, os, sys
events = []

def note(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        events.append([event, os.path.abspath(os.fsdecode(arguments[0])), arguments[2]])
    elif event in ("compile", "exec"):
        code = arguments[0]
        text = code if isinstance(code, (str, bytes)) else repr(getattr(code, "co_names", code))
        events.append([event, repr(text), repr(arguments[-1])])
    elif event.startswith(("socket.", "pickle.", "subprocess.", "os.", "shutil.", "marshal.", "urllib.", "http.")):
        events.append([event, *map(str, arguments)])

sys.addaudithook(note)
"""

RECORD = """
import gradwatch, program, torch
model, optimizer, step = program.build()
recorder = gradwatch.watch(model, "out/run.gradwatch", detail="nodes", keep_steps=1)
step = recorder.wrap(step)
for _ in range(3):
    step(torch.ones(2, 4))
recorder.stop()
"""

READ = """
from gradwatch import cli
run = "out/run.gradwatch"
commands = [["show", run], ["gradients", run, "--step", "1"], ["held", run, "--by", "line"]]
commands += [["graph", run, "--step", "1"], ["diff", run, run], ["repair", run]]
for command in commands:
    assert cli.main(command) in (0, None), command
"""

EXPORT = """
from gradwatch import cli
run = "out/run.gradwatch"
exports = {"csv": "tables", "parquet": "columns", "tensorboard": "events", "perfetto": "trace.json",
           "memory-viz": "memory.pickle"}
if PAGE_IS_BUILT:
    exports["html"] = "page.html"
for kind, name in exports.items():
    assert cli.main(["export", run, "--to", kind, "-o", "out/" + name]) in (0, None), kind
""".replace("PAGE_IS_BUILT", str((PYTHON / "gradwatch" / "static" / "page.js").exists()))
# Where it is not, `make test` builds it and exports a page in tests/test_export_html.py.

REPLAY = """
from gradwatch import cli
assert cli.main(["replay", "out/run.gradwatch", "--step", "1", "--entry", "program:build"]) == 0
"""

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def observed(folder: Path, script: str, umask: int = 0o022) -> list[list[Any]]:
    """Run a script in a process of its own, in `folder`; return what Python's audit events tell of it."""
    (folder / "out").mkdir(exist_ok=True)
    ends = "\nimport pathlib\ntold = json.dumps(list(events))\npathlib.Path('events.json').write_text(told)\n"
    text = WATCH + f"os.umask({umask})\nsys.path.insert(0, '.')\n" + textwrap.dedent(script) + ends
    # torch, once it compiled something, says there where its cache is.
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("TORCHINDUCTOR_", "TRITON_"))}
    environment = {**ours, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "TMPDIR": str(folder / "out")}
    command = [sys.executable, "-c", text]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "events.json").read_text())


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Record, read and replay a run whose program says something else by then."""
    pytest.importorskip("safetensors")
    folder = tmp_path_factory.mktemp("observed")
    program = folder / "program.py"
    program.write_text(PROGRAM)
    found: dict[str, Any] = {"folder": folder, "record": observed(folder, RECORD)}
    program.write_text(PROGRAM.replace(MARKER, "loss"))
    before = program.read_bytes(), program.stat().st_mtime_ns
    found["read"] = observed(folder, READ + EXPORT)
    found["replay"] = observed(folder, REPLAY)
    found["untouched"] = before == (program.read_bytes(), program.stat().st_mtime_ns)
    return found


PARTS = ("record", "read", "replay")


def named(events: list[list[Any]], *prefixes: str) -> list[list[Any]]:
    return [event for event in events if event[0].startswith(prefixes)]


@pytest.mark.parametrize("part", PARTS)
def test_no_socket_is_connected_bound_or_made_to_listen(seen: dict[str, Any], part: str) -> None:
    told = {event[0] for event in named(seen[part], "socket.", "urllib.", "http.")}
    assert told <= {"socket.gethostname"}


@pytest.mark.parametrize("part", PARTS)
def test_nothing_is_unpickled(seen: dict[str, Any], part: str) -> None:
    assert named(seen[part], "pickle.find_class") == []


@pytest.mark.parametrize("part", PARTS)
def test_no_program_is_started_but_git_for_the_revision(seen: dict[str, Any], part: str) -> None:
    started = named(seen[part], "subprocess.", "os.exec", "os.spawn", "os.posix_spawn", "os.system")
    programs = {event[1] for event in started} - {"uname"}  # Python's own platform module asks it
    assert programs <= ({"git"} if part != "read" else set())
    assert programs or part != "record"


@pytest.mark.parametrize("part", ["read", "replay"])
def test_no_text_of_a_session_is_compiled_or_run(seen: dict[str, Any], part: str) -> None:
    ran = named(seen[part], "compile", "exec")
    assert ran  # the hook hears of them
    assert [event for event in ran if MARKER in str(event)] == []
    with gradwatch.open(seen["folder"] / "out" / "run.gradwatch") as session:
        assert any(MARKER in text for text in session.sources.values())


@pytest.mark.parametrize("part", PARTS)
def test_nothing_is_written_outside_the_asked_places(seen: dict[str, Any], part: str) -> None:
    allowed = (str(seen["folder"] / "out"), os.devnull)
    written = [event[1] for event in named(seen[part], "open") if isinstance(event[2], int) and event[2] & WRITES]
    assert written
    assert [path for path in written if not path.startswith(allowed)] == []
    moved = named(seen[part], "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate")
    assert [event for event in moved if not _inside(event[1], seen["folder"])] == []


def _inside(path: str, folder: Path) -> bool:
    return (folder / path).is_relative_to(folder / "out")


def test_a_recorded_path_is_never_opened_by_who_reads_the_session(seen: dict[str, Any]) -> None:
    program = str(seen["folder"] / "program.py")
    with gradwatch.open(seen["folder"] / "out" / "run.gradwatch") as session:
        assert program in session.sources
    assert program in {event[1] for event in named(seen["record"], "open")}  # the hook hears of it
    assert program not in {event[1] for event in named(seen["read"], "open")}
    assert seen["untouched"]


# Whose files they are


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_files_and_folders_get_the_users_umask_and_never_a_wider_mode(tmp_path: Path, umask: int) -> None:
    pytest.importorskip("safetensors")
    (tmp_path / "program.py").write_text(PROGRAM)
    events = observed(tmp_path, RECORD + EXPORT, umask)
    made = sorted((tmp_path / "out").rglob("*"))
    assert len([path for path in made if path.is_dir()]) >= 4  # kept steps, exported tables
    assert len(made) >= 12
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in made}
    wanted = {path.name: (0o777 if path.is_dir() else 0o666) & ~umask for path in made}
    assert modes == wanted
    for _, path, mode, *_ in named(events, "os.chmod"):  # those that safetensors made for their owner alone
        assert path.rpartition(".")[2] in ("safetensors", "new")
        assert int(mode) == 0o666 & ~umask


@pytest.mark.parametrize("there", [True, False])
def test_a_link_where_the_file_should_be_is_not_written_through(tmp_path: Path, *, there: bool) -> None:
    target, link = tmp_path / "target", tmp_path / "run.gradwatch"
    if there:
        target.write_text("theirs")
    link.symlink_to(target)
    with pytest.raises(SessionExists):
        gradwatch.watch(None, link)
    assert link.is_symlink()
    assert target.exists() == there
    assert not there or target.read_text() == "theirs"


def test_an_export_does_not_write_through_a_link(tmp_path: Path) -> None:
    golden = next(iter(sorted((Path(__file__).parent / "golden").glob("*.gradwatch"))))
    target, link = tmp_path / "target", tmp_path / "trace.json"
    link.symlink_to(target)
    command = [sys.executable, "-m", "gradwatch", "export", str(golden), "--to", "perfetto", "-o", str(link)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "already there" in done.stderr
    assert not target.exists()
