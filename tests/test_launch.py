"""`gradwatch run` promises that the program is untouched: here it runs with and without, compared byte for byte."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

PYTHON = [sys.executable]
GRADWATCH = [sys.executable, "-m", "gradwatch", "run", "-q"]

WITHOUT_TORCH: dict[str, str] = {
    "its own name, path and spec": """
        import sys
        print(__name__, __file__, __spec__, __package__, __doc__, __loader__.__class__, sorted(globals()))
        print(sys.argv, sys.path, sys.orig_argv, sys.flags, sys.warnoptions)
        """,
    "its environment and modules": """
        import os, sys
        print(sorted(os.environ.items()))
        print("sitecustomize" in sys.modules, "gradwatch" in sys.modules, "numpy" in sys.modules)
        print(sorted(sys.path_importer_cache))
        """,
    "an exit code": "import sys; sys.exit(3)",
    "an exit message": "import sys; sys.exit('not today')",
    "an exit with None": "import sys; sys.exit(None)",
    "an exit with a list": "raise SystemExit([1, 2])",
    "a hard exit": "import os; print('lost in the buffer'); os._exit(7)",
    "a signal to itself": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "an exception": """
        def divide(x):
            return x / 0

        divide(1)
        """,
    "chained exceptions": """
        try:
            {}["missing"]
        except KeyError as error:
            raise ValueError("no such thing") from error
        """,
    "an exception while handling one": """
        try:
            1 / 0
        except ZeroDivisionError:
            undefined_name
        """,
    "a syntax error": "x = (1,\nprint('never')\n",
    "a recursion error": """
        import sys
        def depth(n):
            try:
                return depth(n + 1)
            except RecursionError:
                return n
        print(depth(0))
        def again():
            again()
        again()
        """,
    "an exception hook": """
        import sys
        sys.excepthook = lambda kind, value, trace: print("hook", kind, value)
        1 / 0
        """,
    "an exception in a thread": """
        import threading
        thread = threading.Thread(target=lambda: 1 / 0, name="worker")
        thread.start()
        thread.join()
        """,
    "an exception that nobody can catch": """
        class Noisy:
            def __del__(self):
                raise RuntimeError("in del")
        Noisy()
        """,
    "a stack print": """
        import faulthandler, logging, sys, traceback
        def show():
            traceback.print_stack()
            logging.warning("with its stack", stack_info=True)
            faulthandler.dump_traceback(all_threads=False)
            print(sys._getframe(1).f_back)
        show()
        """,
    "warnings": """
        import warnings
        warnings.warn("mind the gap")
        warnings.warn("old", DeprecationWarning)
        warnings.warn("from above", stacklevel=2)
        """,
    "exit handlers": """
        import atexit
        atexit.register(print, "first in, last out")
        atexit.register(lambda: 1 / 0)
        atexit.register(print, "last in, first out")
        """,
    "stdin": """
        import sys
        print(input("name? "), sys.stdin.read())
        """,
    "classes that pickle": """
        import pickle
        class Config: pass
        print(pickle.dumps(Config()), type(pickle.loads(pickle.dumps(Config()))))
        """,
    "spawned workers": """
        import multiprocessing, os
        class Job:
            def __init__(self, x): self.x = x
        def work(job):
            return job.x ** 2, __name__, sorted(name for name in os.environ if "GRADWATCH" in name)
        if __name__ == "__main__":
            with multiprocessing.get_context("spawn").Pool(2) as pool:
                print(pool.map(work, [Job(1), Job(2)]))
        """,
    "forked workers": """
        import multiprocessing, os
        def work(x): return x + 1
        if os.fork() == 0:
            raise SystemExit(0)
        print(os.wait()[1])
        with multiprocessing.get_context("fork").Pool(2) as pool:
            print(pool.map(work, [1, 2]))
        """,
    "a child Python": """
        import os, subprocess, sys
        code = "import os, sys; print(os.environ.get('PYTHONPATH'), sys.path, 'sitecustomize' in sys.modules)"
        subprocess.run([sys.executable, "-c", code], check=True)
        """,
    "a restart of itself": """
        import os, sys
        if len(sys.argv) < 5:
            os.execv(sys.executable, [sys.executable, *sys.argv, "again"])
        print(sys.argv)
        """,
    "a thread that outlives the main one": """
        import threading, time
        threading.Thread(target=lambda: (time.sleep(0.1), print("late"))).start()
        print("main is over")
        """,
    "closed streams": "import sys; sys.stdout.close(); sys.stderr.close()",
    "a torch that is not there": """
        import importlib.util, sys
        sys.path[:] = [entry for entry in sys.path if "site-packages" not in entry]
        print(importlib.util.find_spec("torch"))
        try:
            import torch
        except ImportError as error:
            print(error)
        import torch
        """,
}

BROKEN_TORCH = {
    "ImportError": "raise ImportError('libcuda.so.1: cannot open shared object file')",
    "OSError": "raise OSError('libtorch_cpu.so: cannot enable executable stack')",
    "SyntaxError": "def broken(:\n",
    "KeyboardInterrupt": "raise KeyboardInterrupt",
}

NOT_IN_GRADWATCH = "import sys\nif 'gradwatch' not in sys.orig_argv: "
"""The launcher is a Python too, and runs the user's sitecustomize for itself."""


@dataclass(frozen=True)
class Run:
    command: list[str]
    directory: Path
    environment: dict[str, str] = field(default_factory=dict[str, str])

    def under(self, start: list[str]) -> tuple[bytes, bytes, int]:
        ended = subprocess.run(
            [*start, *self.command],
            cwd=self.directory,
            env={**os.environ, **self.environment},
            input=b"Ada\nLovelace\n",
            capture_output=True,
            timeout=60,
            check=False,
        )
        return _without_addresses(ended.stdout), _without_addresses(ended.stderr), ended.returncode

    def assert_same(self, plain: list[str] | None = None, watched: list[str] | None = None) -> tuple[bytes, bytes, int]:
        expected = self.under(plain or PYTHON)
        assert self.under(watched or GRADWATCH) == expected
        return expected


def _without_addresses(output: bytes) -> bytes:
    """Mask what differs from run to run anyway: where objects lie in memory."""
    return re.sub(rb"0x[0-9a-f]{6,}", b"0x...", output)


def program(directory: Path, text: str, name: str = "train.py") -> str:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dedent(text).lstrip("\n"), encoding="utf-8")
    return name


@pytest.mark.parametrize("what", WITHOUT_TORCH)
def test_a_program_keeps(what: str, tmp_path: Path) -> None:
    name = program(tmp_path, WITHOUT_TORCH[what])
    out, err, code = Run([name, "--lr", "0.1", "-q"], tmp_path).assert_same()
    assert out or err or code or what in ("an exit with None", "closed streams"), "the program did nothing to compare"
    assert list(tmp_path.glob("*.gradwatch")) == []


@pytest.mark.parametrize(
    "arguments", [["-h"], ["--version"], ["-m", "x"], ["-o", "x"], ["--"], ["--", "-a"], ["--detail=?"]]
)
def test_what_follows_the_program_is_the_programs(arguments: list[str], tmp_path: Path) -> None:
    name = program(tmp_path, "import sys; print(sys.argv)")
    out, _, _ = Run([name, *arguments], tmp_path).assert_same()
    assert out.decode().strip() == str([name, *arguments])


@pytest.mark.parametrize(
    "options", [["-u"], ["-O"], ["-W", "error"], ["-X", "dev"], ["-B", "-X", "utf8"], ["-bb"], ["-P"]]
)
def test_options_of_the_interpreter_reach_the_program(options: list[str], tmp_path: Path) -> None:
    if options == ["-P"] and sys.version_info < (3, 11):
        pytest.skip("-P came with Python 3.11")
    name = program(tmp_path, "import sys, warnings; print(sys.flags, sys.orig_argv, sys.path); warnings.warn('now')")
    Run([name], tmp_path).assert_same([*PYTHON, *options], [*PYTHON, *options, *GRADWATCH[1:]])
    if options[-1] != "utf8":
        joined = [*PYTHON, *options[:-1], options[-1] + "m", *GRADWATCH[2:]]
        if options[0] in ("-u", "-O", "-P"):
            Run([name], tmp_path).assert_same([*PYTHON, *options], joined)


def test_a_missing_program_is_told_as_python_tells_it(tmp_path: Path) -> None:
    _, err, code = Run(["nowhere.py"], tmp_path).assert_same()
    assert b"can't open file" in err
    assert code == 2


def test_directories_and_zip_files_run_as_python_runs_them(tmp_path: Path) -> None:
    program(tmp_path, "import sys; print(__file__, __spec__, sys.path[0], sys.argv)", "folder/__main__.py")
    Run(["folder", "x"], tmp_path).assert_same()
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as packed:
        packed.write(tmp_path / "folder" / "__main__.py", "__main__.py")
    Run(["packed.zip", "x"], tmp_path).assert_same()


@pytest.mark.parametrize("module", ["package", "package.train", "package.nothing", "nothing", "package.broken"])
def test_a_module_runs_as_under_python_m(module: str, tmp_path: Path) -> None:
    program(tmp_path, "print('package is imported')", "package/__init__.py")
    program(tmp_path, "from .train import name; print(name, __spec__, __file__)", "package/__main__.py")
    program(tmp_path, "import sys; name = __name__; print(name, __package__, sys.argv, sys.path)", "package/train.py")
    program(tmp_path, "1 / 0", "package/broken.py")
    Run(["-m", module, "-m", "x"], tmp_path).assert_same()


def test_the_users_own_sitecustomize_runs(tmp_path: Path) -> None:
    program(tmp_path, NOT_IN_GRADWATCH + "print('customized', __file__)", "site/sitecustomize.py")
    name = program(tmp_path, "import os, sitecustomize, sys; print(sitecustomize, os.environ['PYTHONPATH'], sys.path)")
    environment = {"PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")])}
    out, _, _ = Run([name], tmp_path, environment).assert_same()
    assert out.startswith(b"customized")


def test_a_sitecustomize_that_fails_is_told_as_python_tells_it(tmp_path: Path) -> None:
    program(tmp_path, NOT_IN_GRADWATCH + "raise ValueError('half configured')", "site/sitecustomize.py")
    name = program(tmp_path, "print('runs on')")
    environment = {"PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")])}
    out, err, _ = Run([name], tmp_path, environment).assert_same()
    assert b"half configured" in err
    assert out == b"runs on\n"


@pytest.mark.parametrize("error", BROKEN_TORCH)
def test_a_torch_that_does_not_load_fails_with_its_own_traceback(error: str, tmp_path: Path) -> None:
    program(tmp_path, BROKEN_TORCH[error], "torch/__init__.py")
    _, err, code = Run([program(tmp_path, "import torch")], tmp_path).assert_same()
    assert error.encode() in err
    assert code != 0


@pytest.mark.skipif(os.name == "nt", reason="signals as on Unix")
@pytest.mark.parametrize(
    "text",
    [
        "import time; print('ready', flush=True); time.sleep(30)",
        """
    import signal, sys, time
    signal.signal(signal.SIGINT, lambda *_: sys.exit('stopped by hand'))
    print('ready', flush=True)
    time.sleep(30)
    """,
    ],
)
def test_ctrl_c_ends_the_program_as_it_ends_without_us(text: str, tmp_path: Path) -> None:
    name = program(tmp_path, text)
    # The signal may arrive on the way from print to sleep: without columns both read the same.
    environment = {**os.environ, "PYTHONNODEBUGRANGES": "1"}

    def interrupted(start: list[str]) -> tuple[bytes, bytes, int]:
        running = subprocess.Popen(
            [*start, name], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert running.stdout is not None
        assert running.stdout.readline() == b"ready\n"
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=30)
        return out, err, running.returncode

    expected = interrupted(PYTHON)
    assert interrupted(GRADWATCH) == expected
    assert expected[2] in (-signal.SIGINT, 1)


def test_torch_is_left_as_it_is_and_loads_when_the_program_wants_it(tmp_path: Path) -> None:
    program(tmp_path, "print('torch loads')", "torch/__init__.py")
    text = """
        import importlib.util, sys
        before = list(map(str, sys.meta_path))
        spec = importlib.util.find_spec("torch")
        print("the program is first", "torch" in sys.modules)
        import torch
        print(type(torch.__spec__), torch.__loader__, torch.__spec__, len(sys.meta_path))
        """
    name = program(tmp_path, text)
    # The stand-in has nothing to record: that is said, and changes nothing.
    (plain, _, _), (out, err, code) = Run([name], tmp_path).under(PYTHON), Run([name], tmp_path).under(GRADWATCH)
    assert (out, code) == (plain, 0)
    assert err.count(b"\n") == 1
    assert err.startswith(b"gradwatch: nothing is recorded: ")


TRAINING = """
    import os, sys
    os.environ["OMP_NUM_THREADS"] = "1"
    assert "torch" not in sys.modules
    import torch
    print("threads", torch.get_num_threads())
    model = torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.ones(2, 3)).sum().backward()
        optimizer.step()
    import atexit
    atexit.register(print, "the program's last word")
    """


def test_a_training_program_is_recorded_without_a_change(tmp_path: Path) -> None:
    from gradwatch import open as open_session

    name = program(tmp_path, TRAINING)
    run = Run([name], tmp_path)
    out, err, code = run.under([sys.executable, "-m", "gradwatch", "run"])
    assert (out, code) == (b"threads 1\nthe program's last word\n", 0)
    assert err == b"gradwatch: recorded to train.gradwatch. Look at it with: gradwatch show train.gradwatch\n"
    with open_session(tmp_path / "train.gradwatch") as session:
        assert [step.number for step in session.steps] == [0, 1, 2]
        assert sorted(session.parameters.names) == ["bias", "weight"]
        assert session.run.argv == [name]
        assert session.finish is not None


def test_a_recording_outlives_the_programs_failure(tmp_path: Path) -> None:
    from gradwatch import open as open_session

    run = Run([program(tmp_path, dedent(TRAINING) + "raise RuntimeError('out of memory')\n")], tmp_path)
    expected = run.assert_same()
    assert expected[2] == 1
    with open_session(tmp_path / "train.gradwatch") as session:
        assert len(session.steps) == 3
        assert session.finish is not None


def test_a_recording_that_cannot_start_is_told_once_and_the_program_runs_on(tmp_path: Path) -> None:
    run = Run([program(tmp_path, TRAINING)], tmp_path)
    out, err, code = run.under([*GRADWATCH, "-o", "no/such/folder/x.gradwatch"])
    assert (out, code) == (b"threads 1\nthe program's last word\n", 0)
    assert err.count(b"gradwatch: nothing is recorded: ") == 1
    assert b"x.gradwatch" in err


def test_a_program_without_torch_leaves_no_file_and_is_told_so(tmp_path: Path) -> None:
    run = Run([program(tmp_path, "print('hello')")], tmp_path)
    out, err, code = run.under([sys.executable, "-m", "gradwatch", "run"])
    assert (out, code) == (b"hello\n", 0)
    assert err == b"gradwatch: train.py did not import torch, so nothing was recorded.\n"
    assert list(tmp_path.glob("*.gradwatch")) == []


def test_a_session_that_is_there_stops_the_program_before_it_starts(tmp_path: Path) -> None:
    (tmp_path / "train.gradwatch").write_text("precious")
    run = Run([program(tmp_path, "print('hello')")], tmp_path)
    out, err, code = run.under(GRADWATCH)
    assert (out, code) == (b"", 2)
    assert b"train.gradwatch is already there" in err
    assert b"--force" in err
    assert run.under([*GRADWATCH, "--force"]) == (b"hello\n", b"", 0)
    assert (tmp_path / "train.gradwatch").read_text() == "precious", "nothing was recorded that could replace it"


@pytest.mark.parametrize("option", ["-I", "-E", "-S"])
def test_an_interpreter_that_ignores_its_environment_is_refused_in_words(option: str, tmp_path: Path) -> None:
    name = program(tmp_path, "print('hello')")
    start = "import sys; sys.path[:0] = sys.argv.pop(1).split('|'); from gradwatch.cli import main; sys.exit(main())"
    run = Run([option, "-c", start, "|".join(sys.path), "run", name], tmp_path)
    out, err, code = run.under(PYTHON)
    assert (out, code) == (b"", 2)
    assert option.encode() in err
    assert b"gradwatch.watch" in err


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        (["train.py"], {}, "train.gradwatch"),
        (["sub/train.v2.py"], {}, "train.v2.gradwatch"),
        (["-m", "package.train"], {}, "train.gradwatch"),
        (["train.py"], {"RANK": "3", "WORLD_SIZE": "8"}, "train.rank3.gradwatch"),
        (["-o", "out/a.gradwatch", "train.py"], {"RANK": "0", "WORLD_SIZE": "2"}, "out/a.rank0.gradwatch"),
        (["-o", "rank-0/a.rank0.gradwatch", "train.py"], {"RANK": "0", "WORLD_SIZE": "2"}, "rank-0/a.rank0.gradwatch"),
        (["-o", "crank1.gradwatch", "train.py"], {"RANK": "1", "WORLD_SIZE": "2"}, "crank1.rank1.gradwatch"),
        (["-o", "a.rank10.gradwatch", "train.py"], {"RANK": "1", "WORLD_SIZE": "12"}, "a.rank10.rank1.gradwatch"),
        (["train.py"], {"RANK": "0", "WORLD_SIZE": "1"}, "train.gradwatch"),
        (["-o", "a", "train.py"], {"RANK": "0"}, "a"),
        (
            ["train.py"],
            {"RANK": "1", "WORLD_SIZE": "2", "TORCHELASTIC_RESTART_COUNT": "2"},
            "train.rank1.restart2.gradwatch",
        ),
        (["train.py"], {"RANK": "1", "WORLD_SIZE": "2", "TORCHELASTIC_RESTART_COUNT": "0"}, "train.rank1.gradwatch"),
    ],
)
def test_the_session_is_named_after_program_and_rank(
    arguments: list[str], environment: dict[str, str], expected: str
) -> None:
    from gradwatch import launch
    from gradwatch.cli import parser

    options = parser().parse_args(["run", *arguments])
    name, *rest = options.program
    request = launch.Request(launch.Program(name, tuple(rest), is_module=options.is_module), options.output)
    assert launch.session_path(request, environment) == expected
