"""Fuzzes the readers of session files: `python tests/fuzz/run.py --cases 2000 --seed 1`.

Never a crash, a hang, or 512 MB: what is no answer is a GradwatchError. With atheris the cases follow what the code
does; where it cannot be installed the same mutator runs by its seed alone, and the first line says so.
A case that fails is kept in build/fuzz/, and can be asked again: `python tests/fuzz/run.py --file build/fuzz/...`.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
KEPT = HERE.parent.parent / "build" / "fuzz"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=2000, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="which ones (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="number of the first case, where atheris does not choose")
    parser.add_argument("--unguided", action="store_true", help="by seed alone, even where atheris is installed")
    parser.add_argument("--file", type=Path, help="ask this file, and nothing else")
    options = parser.parse_args()
    if sys.platform != "linux":
        print("Left out: fuzzing needs Linux, where a process can be refused memory")
        return 0
    return ask_file(options.file) if options.file else fuzz(options)


def fuzz(options: argparse.Namespace) -> int:
    """Run the cases in another process, and keep the one that ended it."""
    is_guided = not options.unguided and importlib.util.find_spec("atheris") is not None
    how = "guided by coverage (atheris)" if is_guided else "by seed alone, without atheris: no coverage guides them"
    print(f"{options.cases} cases, seed {options.seed}, {how}", flush=True)
    with tempfile.TemporaryDirectory(prefix="gradwatch-fuzz-") as folder:
        work = Path(folder)
        numbers = [f"--cases={options.cases}", f"--seed={options.seed}", f"--first={options.first}"]
        command = [sys.executable, str(HERE / "target.py"), f"--work={work}", *numbers, *["--guided"] * is_guided]
        always_alike = {**os.environ, "PYTHONHASHSEED": "0"}  # one thing less that differs between runs of one seed
        done = subprocess.run(
            command, check=False, env=always_alike, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        lines = done.stdout.splitlines()
        print("\n".join(lines[-60:] if done.returncode else _summary(lines)))
        if done.returncode:
            print(f"A case failed; it is kept: {_keep(work)}")
        return 1 if done.returncode else 0


def ask_file(path: Path) -> int:
    """Ask one file everything, every way, with its traceback where it fails."""
    from questions import ask_everything  # only here
    from seeds import seeds  # as above
    from target import limits  # as above

    with tempfile.TemporaryDirectory(prefix="gradwatch-fuzz-") as folder:
        case, good = Path(folder) / "case.gradwatch", Path(folder) / "good.gradwatch"
        good.write_bytes(seeds()[0])
        for turn in range(28):
            shutil.copyfile(good, case)
            ask_everything(case, good, turn)
        shutil.copyfile(path, case)
        for turn in range(28):
            with limits():
                ask_everything(case, good, turn)
    print(f"{path}: answered, or refused in words")
    return 0


def _keep(work: Path) -> Path:
    KEPT.mkdir(parents=True, exist_ok=True)
    number = work / "number"
    kept = KEPT / f"case-{number.read_text() if number.exists() else 'guided'}.gradwatch"
    shutil.copyfile(work / "case.gradwatch", kept)
    return kept


def _summary(lines: list[str]) -> list[str]:
    """Of libFuzzer's many lines those that count."""
    return [line for line in lines if line.startswith(("stat::number", "stat::new", "stat::peak")) or "cases" in line]


if __name__ == "__main__":
    sys.exit(main())
