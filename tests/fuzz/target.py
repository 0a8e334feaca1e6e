"""One process of fuzzing, started by run.py: cases one after the other, under a limit of memory and one of time.

Guided, atheris sees which lines of the readers a case reached, and goes on from cases that reached new ones.
"""

from __future__ import annotations

import argparse
import faulthandler
import resource
import sys
import zlib
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator

MEMORY_BYTES = 512 << 20
"""By how much a case may make the address space grow, above that of the process with everything imported.

Address space (RLIMIT_AS) and not memory in use: what is asked for and never touched counts too, and the refusal is a
MemoryError at the line that asked.
"""
SECONDS = 60
"""After so long a case counts as hanging. A machine under load is slow; no case takes a tenth of it on a quiet one."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="an empty folder")
    parser.add_argument("--cases", type=int, required=True)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--guided", action="store_true")
    options = parser.parse_args()
    (guided if options.guided else unguided)(options)


def unguided(options: argparse.Namespace) -> None:
    """Cases by their number: each is the same whatever ran before it."""
    from mutator import mutated  # guided runs import under instrumentation
    from questions import ask_everything  # as above
    from seeds import seeds  # as above

    known = seeds()
    case, good = _files(options.work, known[0])
    _warm_up(case, good, known)
    refused = 0
    for number in range(options.first, options.first + options.cases):
        random = Random(f"{options.seed}:{number}")
        case.write_bytes(mutated(random.choice(known), random, known))
        (options.work / "number").write_text(str(number), encoding="ascii")
        with limits():
            refused += ask_everything(case, good, number) > 0
    print(f"{options.cases} cases, {refused} of them with a question refused in words")


def guided(options: argparse.Namespace) -> None:
    """Let atheris choose: the same seed gives the same run on the same versions of everything."""
    import atheris  # pyright: ignore[reportMissingImports]  # only where it can be installed

    instrument: Any = atheris.instrument_imports  # pyright: ignore[reportAttributeAccessIssue]  # it ships no types
    with instrument(include=["gradwatch"], enable_loader_override=False):
        from mutator import mutated  # under instrumentation
        from questions import ask_everything  # as above
        from seeds import seeds  # as above
    known = seeds()
    case, good = _files(options.work, known[0])
    _warm_up(case, good, known)
    corpus = options.work / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(known):
        (corpus / f"seed-{number}").write_bytes(seed)

    def ask(data: bytes) -> None:
        case.write_bytes(data)
        with limits():
            ask_everything(case, good, zlib.crc32(data))

    def change(data: bytes, largest: int, seed: int) -> bytes:
        return mutated(bytes(data) or known[seed % len(known)], Random(seed), known)[:largest]

    # Time and memory are limited here, and not by libFuzzer, whose limits count its own work too.
    numbers = [
        f"-runs={options.cases}",
        f"-seed={options.seed}",
        "-timeout=86400",
        "-rss_limit_mb=0",
        "-max_len=131072",
    ]
    quiet = ["-print_final_stats=1", "-verbosity=0", f"-artifact_prefix={options.work}/", "-reload=0"]
    atheris.Setup([sys.argv[0], *numbers, *quiet, str(corpus)], ask, custom_mutator=change, internal_libfuzzer=True)
    atheris.Fuzz()


@contextmanager
def limits() -> Generator[None]:
    """Let the address space grow by MEMORY_BYTES, and SECONDS pass, and no more: then the process ends. Linux only."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY_BYTES, hard))
    faulthandler.dump_traceback_later(SECONDS, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def _files(work: Path, seed: bytes) -> tuple[Path, Path]:
    good = work / "good.gradwatch"
    good.write_bytes(seed)
    return work / "case.gradwatch", good


def _warm_up(case: Path, good: Path, known: list[bytes]) -> None:
    """Ask the unchanged sessions first: what is imported late is imported, and none of them may be refused."""
    from questions import ask_everything  # by now under instrumentation, where that is wanted

    for turn, seed in enumerate(known * 4):
        case.write_bytes(seed)
        ask_everything(case, good, turn)


if __name__ == "__main__":
    main()
